"""The recipe files as the pages change them: another release, written whole or not at all.

    RECIPE.yaml ─▶ history/RECIPE.TIME.SHA.yaml (as it was) ─▶ RECIPE.yaml (one number, perhaps its limits)

Only the number of the release and, where asked, the block `limits` change; every other character and comment
stays. The line reads the file at its next recipe request.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from inspection.errors import ConfigError
from inspection.recipe import AS_IT_WAS, RecipeConfig
from inspection.release import ReleaseCard, write_atomic
from inspection.yaml_file import load_text, read_hashed, read_yaml

HISTORY = "history"


@dataclass(frozen=True, slots=True)
class RecipeFile:
    """A recipe file.

    Attributes:
        path: of the file.
        sha256: of its bytes; empty when it cannot be read.
        config: None when it is not valid.
        problem: why not; empty: it is.
        number: that it claims, also of two of one number; None when it cannot be read.
    """

    path: Path
    sha256: str
    config: RecipeConfig | None
    problem: str
    number: int | None = None


def recipes(folder: Path | None) -> list[RecipeFile]:
    """Return every recipe file, by name; two of one number are both told to be wrong, as the line does."""
    found: list[RecipeFile] = []
    for path in sorted(folder.glob("*.yaml")) if folder is not None else []:
        try:
            config, sha256 = read_hashed(path, RecipeConfig)
            found.append(RecipeFile(path, sha256, config, "", config.number))
        except ConfigError as error:
            found.append(RecipeFile(path, "", None, str(error).replace(f"{path.parent}/", "")))
    numbers = [one.config.number for one in found if one.config]
    return [
        replace(one, config=None, problem=f"two files have recipe number {one.config.number}")
        if one.config and numbers.count(one.config.number) > 1
        else one
        for one in found
    ]


def history_of(path: Path) -> list[Path]:
    """Return what a recipe file was before, newest first."""
    pattern = re.compile(re.escape(path.stem) + r"\.\d{8}T\d{12}\.[0-9a-f]{12}\.yaml")
    folder = path.parent / HISTORY
    kept = folder.iterdir() if folder.is_dir() else []
    return sorted((p for p in kept if pattern.fullmatch(p.name)), reverse=True)


def limits_then(path: Path, release: int) -> dict[str, Any] | None:
    """Return the block `limits` of the newest older form of a recipe that named a release; None: no form."""
    for kept in history_of(path):
        try:
            config = read_yaml(kept, RecipeConfig, AS_IT_WAS)
        except ConfigError:
            continue
        if config.release == release:
            data = load_text(kept.read_text(encoding="utf-8"))
            return data.get("limits") or {}
    return None


def find_form(folder: Path, sha256: str) -> RecipeConfig | None:
    """Return the recipe whose file has, or had before a switch, this hash; None: nobody has it any more.

    Never raises for a bad file.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        return None
    kept = sorted((folder / HISTORY).glob(f"*.{sha256[:12]}.yaml"))
    for path in [*sorted(folder.glob("*.yaml")), *kept]:
        try:
            config, found = read_hashed(path, RecipeConfig, AS_IT_WAS)
        except ConfigError:
            continue
        if found == sha256:
            return config
    return None


def rewrite(text: str, release: int, limits: dict[str, Any] | None) -> str:
    """Return a recipe file's text with another release.

    Args:
        text: a valid recipe.
        release: number that it names then.
        limits: None keeps the block as it is; else what stands in its place, empty: nothing.

    Raises:
        ConfigError: it is written in a way that cannot be changed in place.
    """
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(node, yaml.MappingNode) or node.flow_style:
        raise ConfigError("the recipe is not written as a block of lines; change it by hand")
    places = {key.value: (key, value) for key, value in node.value}
    edits: list[tuple[int, int, str]] = []
    value = places["release"][1]
    edits.append((value.start_mark.index, value.end_mark.index, str(release)))
    if limits is not None and "limits" in places:
        key, value = places["limits"]
        edits.append((key.start_mark.index, value.end_mark.index, ""))
    for start, end, instead in sorted(edits, reverse=True):
        text = text[:start] + instead + text[end:]
    if limits:
        block = yaml.safe_dump({"limits": limits}, allow_unicode=True, sort_keys=False)
        text = text.rstrip("\n") + "\n" + block
    return text


def change(file: RecipeFile, release: int, limits: dict[str, Any] | None) -> bytes:
    """Return the new bytes of a recipe file, checked to be a recipe that differs in nothing else.

    Raises:
        ConfigError: it cannot be changed in place.
    """
    if file.config is None:
        raise ConfigError(file.problem)
    text = rewrite(file.path.read_bytes().decode("utf-8"), release, limits)
    try:
        made = RecipeConfig.model_validate(load_text(text))
    except (ValueError, yaml.YAMLError) as error:
        raise ConfigError(
            f"{file.path.name} cannot be changed in place ({error}); change it by hand"
        ) from error
    wanted: dict[str, Any] = {"release": release}
    if limits is not None:
        wanted["limits"] = made.limits
    if made != file.config.model_copy(update=wanted) or (limits == {} and made.limits):
        raise ConfigError(f"{file.path.name} cannot be changed in place; change it by hand")
    return text.encode()


def unknown_classes(
    config: RecipeConfig, card: ReleaseCard, limits: dict[str, Any] | None
) -> list[str]:
    """Return the classes that a recipe would name and the release does not know: the line refuses those."""
    named = set(config.limits if limits is None else limits)
    named |= {name for r in config.regions for name in [*r.classes, *r.expected]}
    return sorted(named - set(card.classes))


def write(file: RecipeFile, data: bytes) -> Path:
    """Keep the file as it is now in the history, then replace it; return where it was kept.

    Raises:
        OSError: nothing was replaced.
    """
    folder = file.path.parent / HISTORY
    folder.mkdir(exist_ok=True)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    kept = folder / f"{file.path.stem}.{stamp}.{file.sha256[:12]}.yaml"
    write_atomic(kept, file.path.read_bytes())
    write_atomic(file.path, data)
    return kept


def put_back(kept: Path, path: Path) -> None:
    """Put a kept file into the place of a recipe again; needs no space on the disk.

    Raises:
        OSError: it may be there or not.
    """
    kept.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
