"""A dataset version: a folder with `card.yaml`, images, and immutable `vNNNN.jsonl` files.

    DATASET/card.yaml      name and classes; classes are only ever appended
    DATASET/images/...     pictures, never overwritten
    DATASET/v0001.jsonl    one sample a line, written once; its sha256 is the version's hash

A sample line holds: image (path relative to DATASET, forward slashes), sha256, width, height, split,
group, boxes `[[class, x1, y1, x2, y2], ...]` in pixels, state and origin; where the labels were outlines
also `shapes`, and where only the whole picture was labelled `label`. Each line carries the hash of its
picture, so the hash of the file covers the pictures too.

States are three different things: `labelled` has boxes, `good` was looked at and has none,
`unlabelled` has nothing a detector could learn. An unlabelled sample may have a `label`: somebody said
which defect the picture shows and nobody said where. Detectors leave it alone, since neither a box nor
a good part can be learned from it; it can measure a model that was trained on good parts only.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from inspection.errors import DatasetError
from inspection_datasets.publishing.card import SharingCard

CARD = "card.yaml"
SPLITS = ("train", "val", "test")
Split = Literal["train", "val", "test"]
State = Literal["labelled", "good", "unlabelled"]
SHAPE_TOLERANCE = 0.01
"""Pixels by which the box of an outline may differ from the outline's extent (rounding)."""
_VERSION = re.compile(r"^v(\d{4,6})\.jsonl$")


class DatasetCardFile(BaseModel):
    """`card.yaml` of a dataset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = Field(1, description="version of this file's layout")
    name: str = Field(min_length=1, max_length=64, description="name of the part or dataset")
    classes: list[str] = Field(
        min_length=1, description="class names; the order is the model's; only appended"
    )
    sharing: SharingCard | None = Field(
        None, description="what people outside are told; needed by `inspection dataset publish`"
    )


Box = tuple[str, float, float, float, float]
"""class name, x1, y1, x2, y2 in pixels of the image; x2 and y2 are the far edges."""

Shape = list[list[float]]
"""Rings of one label, each flat `[x1, y1, x2, y2, ...]` in pixels, pixel edges (a picture W wide goes
from 0 to W), not closed. A point is inside when it is inside an odd number of rings, so an inner ring is
a hole and a ring beside it is another piece of the same defect. `shapes` draws and traces them."""


class Sample(BaseModel):
    """One picture of a dataset version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str = Field(description="path relative to the dataset folder, forward slashes")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="hash of the picture file")
    width: int = Field(ge=1, description="pixels")
    height: int = Field(ge=1, description="pixels")
    split: Split = Field(description="train, val or test")
    group: str = Field(
        description="samples of one group (part, lot, pair) are never in two splits and count as one part"
    )
    boxes: list[Annotated[Box, Field(description="class, x1, y1, x2, y2")]] = Field(
        default_factory=list[Box]
    )
    shapes: list[Shape | None] = Field(
        default_factory=list[Shape | None],
        description="empty, or for each box its outline as rings of x, y, pixels; null: it was a box",
    )
    label: str | None = Field(
        None,
        description="class of the whole picture where nobody said where the defect is; state unlabelled",
    )
    state: State = Field(description="labelled, good or unlabelled")
    origin: str = Field(description="where it came from: layout and file")


@dataclass(frozen=True, slots=True)
class DatasetVersion:
    """A loaded version.

    Attributes:
        folder: the dataset folder.
        name: from the card.
        version: `v0001` and so on.
        sha256: hash of the version file.
        classes: class names in the model's order.
        samples: as in the file.
    """

    folder: Path
    name: str
    version: str
    sha256: str
    classes: tuple[str, ...]
    samples: tuple[Sample, ...]

    def path(self, sample: Sample) -> Path:
        """Return where the sample's picture is."""
        return self.folder / sample.image

    def select(self, split: str, states: Sequence[State] = ("labelled", "good")) -> list[Sample]:
        """Return the samples of a split; unlabelled ones only when asked for."""
        return [s for s in self.samples if s.split == split and s.state in states]

    def counts(self) -> dict[str, dict[str, int]]:
        """Return split to state to number of samples."""
        found = {split: Counter[str]() for split in SPLITS}
        for sample in self.samples:
            found[sample.split][sample.state] += 1
        return {split: dict(states) for split, states in found.items() if states}

    def class_counts(self, split: str) -> dict[str, int]:
        """Return class name to number of boxes in a split, every class named."""
        boxes = Counter(box[0] for s in self.samples if s.split == split for box in s.boxes)
        return {name: boxes[name] for name in self.classes}


def contained_path(name: str, where: str) -> PurePosixPath:
    """Return `name` as a relative path that cannot leave its folder.

    Args:
        name: a path as written in a file.
        where: that file, for the message.

    Raises:
        DatasetError: absolute, a drive letter, `..`, or empty.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if (
        not name.strip()
        or "\0" in name
        or path.is_absolute()
        or ".." in path.parts
        or re.match(r"^[A-Za-z]:", name)
    ):
        raise DatasetError(
            f"{where} names {name!r}; paths must be relative and stay inside the folder. "
            "Write it relative to the folder"
        )
    return path


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def version_files(folder: Path) -> list[Path]:
    """Return the version files of a dataset, oldest first."""
    found = [path for path in folder.glob("v*.jsonl") if _VERSION.match(path.name)]
    return sorted(found, key=lambda path: int(path.stem[1:]))


def read_card(folder: Path) -> DatasetCardFile:
    """Read `card.yaml`.

    Raises:
        DatasetError: missing or wrong.
    """
    path = folder / CARD
    try:
        return DatasetCardFile.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise DatasetError(
            f"{folder} is no dataset: {CARD} cannot be read ({error}); import one first"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} is not YAML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise DatasetError(
            f"{path}: {'.'.join(str(x) for x in first['loc'])}: {first['msg']}"
        ) from error


def load_version(folder: Path, version: str | None = None) -> DatasetVersion:
    """Load a version, the newest when none is named. Pictures are not opened; see `check`.

    Raises:
        DatasetError: no such version, or a line that is not a sample; the message names the line.
    """
    card = read_card(folder)
    if version is None:
        files = version_files(folder)
        if not files:
            raise DatasetError(f"{folder} has no version file vNNNN.jsonl; import images first")
        path = files[-1]
    else:
        path = folder / f"{version.removesuffix('.jsonl')}.jsonl"
    if not _VERSION.match(path.name) or not path.is_file():
        raise DatasetError(
            f"{path} does not exist; versions here: {[p.stem for p in version_files(folder)]}"
        )
    data = path.read_bytes()
    samples = _parse(data, path, set(card.classes))
    return DatasetVersion(
        folder=folder,
        name=card.name,
        version=path.stem,
        sha256=hashlib.sha256(data).hexdigest(),
        classes=tuple(card.classes),
        samples=tuple(samples),
    )


def _parse(data: bytes, path: Path, classes: set[str]) -> list[Sample]:
    samples: list[Sample] = []
    seen: set[str] = set()
    for number, line in enumerate(data.splitlines(), start=1):
        where = f"{path}:{number}"
        try:
            sample = Sample.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(x) for x in first["loc"])
            raise DatasetError(
                f"{where}: {field}: {first['msg']}; the version is damaged, restore it"
            ) from error
        check_sample(sample, classes, where)
        if sample.image in seen:
            raise DatasetError(
                f"{where}: {sample.image} is listed twice; the version is damaged, restore it"
            )
        seen.add(sample.image)
        samples.append(sample)
    if not samples:
        raise DatasetError(f"{path} is empty; import images first")
    return samples


def check_sample(sample: Sample, classes: set[str], where: str) -> None:
    """Check what a line alone can tell: path, state against boxes, boxes inside, classes known.

    Raises:
        DatasetError: the first thing found; the message starts with `where`.
    """
    contained_path(sample.image, where)
    if (sample.state == "labelled") != bool(sample.boxes):
        raise DatasetError(
            f"{where}: {sample.image} is {sample.state} with {len(sample.boxes)} boxes; fix its state"
        )
    for name, x1, y1, x2, y2 in sample.boxes:
        if name not in classes:
            raise DatasetError(
                f"{where}: {sample.image} has class {name!r}, known are {sorted(classes)}"
            )
        if not (0 <= x1 < x2 <= sample.width and 0 <= y1 < y2 <= sample.height):
            raise DatasetError(
                f"{where}: {sample.image} ({sample.width}x{sample.height}) has a {name} box "
                f"{[x1, y1, x2, y2]} that is empty or leaves the image; correct the label"
            )
    _check_shapes(sample, where)
    if sample.label is not None and (sample.label not in classes or sample.state != "unlabelled"):
        raise DatasetError(
            f"{where}: {sample.image} is {sample.state} with the label {sample.label!r}; a label of the "
            f"whole picture must be one of {sorted(classes)}, and the state unlabelled"
        )


def _check_shapes(sample: Sample, where: str) -> None:
    if sample.shapes and len(sample.shapes) != len(sample.boxes):
        raise DatasetError(
            f"{where}: {sample.image} has {len(sample.shapes)} shapes for {len(sample.boxes)} boxes; "
            "give each box a shape or null"
        )
    for box, shape in zip(sample.boxes, sample.shapes, strict=False):
        if shape is None:
            continue
        numbers = [v for ring in shape for v in ring]
        if any(len(ring) < 6 or len(ring) % 2 for ring in shape) or not (
            numbers and all(map(math.isfinite, numbers))
        ):
            raise DatasetError(
                f"{where}: {sample.image} has a {box[0]} outline with a ring of less than three points, or "
                "a number that is not finite; correct the label"
            )
        xs = [x for ring in shape for x in ring[::2]]
        ys = [y for ring in shape for y in ring[1::2]]
        extent = (min(xs), min(ys), max(xs), max(ys))
        if not all(abs(a - b) <= SHAPE_TOLERANCE for a, b in zip(extent, box[1:], strict=True)):
            raise DatasetError(
                f"{where}: {sample.image} has a {box[0]} outline that reaches over {list(extent)} and a box "
                f"{list(box[1:])}; the box of an outline is its extent, correct the label"
            )


def write_version(
    folder: Path, name: str, classes: Sequence[str], samples: Iterable[Sample]
) -> DatasetVersion:
    """Write the next version of a dataset and return it. Existing versions are never touched.

    Raises:
        DatasetError: no samples, a wrong sample, a group in two splits, or classes that do not continue
            the card's.
    """
    rows = list(samples)
    if not rows:
        raise DatasetError(f"nothing to write to {folder}: no samples")
    seen: set[str] = set()
    for sample in rows:
        check_sample(sample, set(classes), str(folder))
        if sample.image in seen:
            raise DatasetError(
                f"{sample.image} would be listed twice in {folder}; remove one of the two, or rename it"
            )
        seen.add(sample.image)
    _check_groups(rows)
    folder.mkdir(parents=True, exist_ok=True)
    _write_card(folder, name, list(classes))
    files = version_files(folder)
    number = int(files[-1].stem[1:]) + 1 if files else 1
    lines = (json.dumps(_fields(s), ensure_ascii=False, separators=(",", ":")) for s in rows)
    _write_once(folder / f"v{number:04d}.jsonl", ("\n".join(lines) + "\n").encode())
    return load_version(folder, f"v{number:04d}")


def _fields(sample: Sample) -> dict[str, object]:
    """Return what a line holds; fields that most samples do not need are left out when empty."""
    unused = {name for name in ("shapes", "label") if not getattr(sample, name)}
    return sample.model_dump(exclude=unused)


def _check_groups(samples: Iterable[Sample]) -> None:
    split_of: dict[str, str] = {}
    for sample in samples:
        split = split_of.setdefault(sample.group, sample.split)
        if split != sample.split:
            raise DatasetError(
                f"group {sample.group!r} is in {split} and in {sample.split} ({sample.image}); "
                "a group must stay in one split, or the test result is flattered. Split again by group"
            )


def _write_card(folder: Path, name: str, classes: list[str]) -> None:
    path = folder / CARD
    sharing: SharingCard | None = None
    if path.exists():
        old = read_card(folder)
        sharing = old.sharing
        if old.name != name or classes[: len(old.classes)] != old.classes:
            raise DatasetError(
                f"{path} holds {old.name!r} with classes {old.classes}, the new version {name!r} with "
                f"{classes}; classes may only be appended. Use another dataset folder"
            )
    card = DatasetCardFile(name=name, classes=classes, sharing=sharing)
    fields = card.model_dump(mode="json", exclude=None if sharing else {"sharing"})
    text = yaml.safe_dump(fields, allow_unicode=True, sort_keys=False)
    temporary = path.with_name(f".{CARD}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _write_once(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.chmod(0o444)
    try:
        os.link(temporary, path)
    except FileExistsError as error:
        raise DatasetError(
            f"{path} exists already; another import wrote it. Import again"
        ) from error
    finally:
        temporary.unlink()
