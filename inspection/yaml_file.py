"""YAML read into a pydantic model, with errors that name path, line, value and the nearest known key.

    text ─▶ nodes (with their lines) ─▶ plain values ─▶ model

Dates are text: a part may be called 8521-30-41, and no setting is a date. Whatever a file holds, it is
read or it is a ConfigError: one bad file must not stop who reads all files of a folder.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError

from inspection.errors import ConfigError

M = TypeVar("M", bound=BaseModel)

MAX_BYTES = 1 << 20
DEEPEST = 50
"""Levels of a settings file; our own have six."""

_DATE = "tag:yaml.org,2002:timestamp"


class _Loader(yaml.SafeLoader):
    """Plain values only, no dates; every fault has a line."""

    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Raises ComposerError where the file is nested too deeply."""
        self._depth += 1
        if self._depth > DEEPEST:
            raise ComposerError(
                None, None, f"is nested deeper than {DEEPEST} levels", self.peek_event().start_mark
            )
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """Raises ConstructorError for what is not of its tag: a number with no digits, `!!bool maybe`."""
        try:
            return super().construct_object(node, deep=deep)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            problem = f"{node.value!r} is no {node.tag.rpartition(':')[2]} ({error}); put quotes around it"
            raise ConstructorError(None, None, problem, node.start_mark) from error


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in known if tag != _DATE]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load_text(text: str) -> Any:
    """Return the plain values that `read_yaml` would check. Raises YAMLError."""
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - it is a safe one


def read_yaml(path: Path, model: type[M], context: object = None) -> M:
    """Read a YAML file strictly. Raises ConfigError as `read_hashed` does."""
    return read_hashed(path, model, context)[0]


def read_hashed(path: Path, model: type[M], context: object = None) -> tuple[M, str]:
    """Read a YAML file strictly, once: what it says, and the sha256 of the very bytes that say so.

    Args:
        path: the file.
        model: what it must be.
        context: for the model's own checks.

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
        node = yaml.compose(text, Loader=_Loader)
        _refuse_aliases_and_doubles(path, node)
        told = load_text(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} cannot be read: {error}; check the path and its encoding (UTF-8)"
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    try:
        read = model.model_validate(told, context=context)
    except ValidationError as error:
        faults = "\n".join(f"  {_explain(node, fault, model)}" for fault in error.errors())
        raise ConfigError(f"{path} is not valid:\n{faults}") from error
    for loc in _words_as_numbers(told, read, []):
        where = ".".join(str(part) for part in loc)
        word = _find(node, loc)[1].value
        raise ConfigError(
            f"{path} is not valid:\n  line {_line(node, loc)}: {where}: {word} is no number; write a number"
        )
    return read, hashlib.sha256(data).hexdigest()


def _words_as_numbers(told: Any, read: Any, loc: list[str | int]) -> Iterator[list[str | int]]:
    """Return where the file says yes, no, true or false and the model has made a number of it."""
    if isinstance(told, bool):
        if isinstance(read, (int, float)) and not isinstance(read, bool):
            yield loc
    elif isinstance(told, dict):
        values: Any = vars(read) if isinstance(read, BaseModel) else read
        for key in told if isinstance(values, dict) else []:
            if key in values:
                yield from _words_as_numbers(told[key], values[key], [*loc, key])
    elif isinstance(told, list) and isinstance(read, (list, tuple)) and len(told) == len(read):
        for index, (one, other) in enumerate(zip(told, read, strict=True)):
            yield from _words_as_numbers(one, other, [*loc, index])


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
    if fault["type"] == "string_type" and isinstance(value, (bool, int, float)):
        message, value = "is to be a text; put quotes around it", _find(node, loc)[1].value
    shown = (
        "" if isinstance(value, (dict, list)) or fault["type"] == "missing" else f" (is {value!r})"
    )
    return f"line {_line(node, loc)}: {where}: {message}{shown}"


def _line(node: Any, loc: list[str | int]) -> int:
    return _find(node, loc)[0]


def _find(node: Any, loc: list[str | int]) -> tuple[int, Any]:
    """Return the line of an entry, and the nearest node to it that there is."""
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
    return line, node


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
        if not isinstance(key, yaml.ScalarNode):
            raise ConfigError(
                f"{path}: line {key.start_mark.line + 1}: a list or map cannot be a key; put quotes around it"
            )
        if key.value in keys:
            raise ConfigError(
                f"{path}: line {key.start_mark.line + 1}: {key.value!r} is given twice; keep one"
            )
        keys.add(key.value)
        _refuse_aliases_and_doubles(path, value, seen)
