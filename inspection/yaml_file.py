"""YAML read into a pydantic model, with errors that name path, line, value and the nearest known key."""

from __future__ import annotations

import difflib
import hashlib
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from inspection.errors import ConfigError

M = TypeVar("M", bound=BaseModel)

MAX_BYTES = 1 << 20


def read_yaml(path: Path, model: type[M]) -> M:
    """Read a YAML file strictly. Raises ConfigError as `read_hashed` does."""
    return read_hashed(path, model)[0]


def read_hashed(path: Path, model: type[M]) -> tuple[M, str]:
    """Read a YAML file strictly, once: what it says, and the sha256 of the very bytes that say so.

    Raises:
        ConfigError: unreadable, not YAML, or not what the model asks; the message lists every fault
            with its line.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(
                f"{path} is larger than {MAX_BYTES >> 20} MiB; that is no settings file"
            )
        data = path.read_bytes()
        text = data.decode("utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        _refuse_aliases_and_doubles(path, node)
        told = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} cannot be read: {error}; check the path and its encoding (UTF-8)"
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    try:
        return model.model_validate(told), hashlib.sha256(data).hexdigest()
    except ValidationError as error:
        faults = "\n".join(f"  {_explain(node, fault, model)}" for fault in error.errors())
        raise ConfigError(f"{path} is not valid:\n{faults}") from error


def _explain(node: Any, fault: Any, model: type[BaseModel]) -> str:
    loc = [part for part in fault["loc"] if isinstance(part, (str, int))]
    where = ".".join(str(part) for part in loc) or "(top)"
    message = fault["msg"]
    if fault["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(loc[-1]), _known_keys(model, loc[:-1]), n=1)
        message = "unknown key" + (f"; did you mean {near[0]!r}?" if near else "; remove it")
    elif fault["type"] == "missing":
        message = "is missing; add it"
    value = fault.get("input")
    shown = (
        "" if isinstance(value, (dict, list)) or fault["type"] == "missing" else f" (is {value!r})"
    )
    return f"line {_line(node, loc)}: {where}: {message}{shown}"


def _line(node: Any, loc: list[str | int]) -> int:
    line = node.start_mark.line + 1 if node is not None else 1
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            pair = next((p for p in node.value if p[0].value == str(part)), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif (
            isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value)
        ):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line


def _known_keys(model: Any, loc: list[str | int]) -> list[str]:
    for part in loc:
        fields = getattr(model, "model_fields", {})
        model = fields[part].annotation if part in fields else None
    return list(getattr(model, "model_fields", {}))


def _refuse_aliases_and_doubles(path: Path, node: Any, seen: set[int] | None = None) -> None:
    seen = set() if seen is None else seen
    if not isinstance(node, (yaml.MappingNode, yaml.SequenceNode)):
        return
    if id(node) in seen:
        raise ConfigError(
            f"{path}: line {node.start_mark.line + 1}: aliases (*) are not allowed; write it out"
        )
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for child in node.value:
            _refuse_aliases_and_doubles(path, child, seen)
        return
    keys: set[str] = set()
    for key, value in node.value:
        if key.value in keys:
            raise ConfigError(
                f"{path}: line {key.start_mark.line + 1}: {key.value!r} is given twice; keep one"
            )
        keys.add(key.value)
        _refuse_aliases_and_doubles(path, value, seen)
