"""Released models: `releases/PART/NUMBER/` with `model.onnx` and `release.json`, checked before use.

One contract for every model family, so that the line knows no family:

* input `images` uint8 [B, H, W, 3] RGB, letterboxed (aspect kept, pad 114); B is dynamic; normalisation
  is in the graph.
* task `detect`: output `detections` float32 [B, N, 6] = x1 y1 x2 y2 (network-input pixels), score,
  class; suppression is in the graph; rows of score 0 are padding. N is fixed: an answer without padding is
  full, weaker detections may be missing, and a part with so many that count is a FAIL.
* task `segment`: `detections` as above and `masks` float32 [B, N, H/4, W/4]: for each row the
  probability 0..1 that a place belongs to its defect, on a grid of 4 x 4 network pixels, zero outside
  the row's box; H and W are multiples of 4. Keep N at most 32: masks are large. A place belongs to the
  defect from 0.5; a row whose mask says so nowhere counts with its whole box.
* task `anomaly`: outputs `anomaly_map` float32 [B, h, w] and `anomaly_score` float32 [B].

A release may say `tiling` in its card: then the network was trained on tiles, and the line shows it
tiles. `inspection.letterbox.plan_views` cuts an image, `fill` beside it makes the network's
input of the pieces; a training uses the same two, so that it sees what the line shows:

* a tile of `size` image pixels fills the input; the scale is that of a full tile also where an image
  is smaller than a tile, and the rest is grey 114;
* neighbours overlap by `overlap`; the last row and column are shifted inward;
* boxes of one class from different tiles are made one, see `inspection.tiles.merge`; for task
  `anomaly` the part's score is the highest of its tiles. Suppression within a tile stays in the graph.

A card without `tiling` means whole images.

A release is refused when a file is missing or its sha256 differs, when the graph refers to external
data or to operators outside the standard ONNX domains, or when inputs and outputs are not as above.
`releases/PART/current` holds the number in force for clients that name no version.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from inspection.errors import ReleaseError
from inspection.types import MASK_STRIDE, OUTPUTS, ClassLimits, Release, Task, Tiling

CARD = "release.json"
MODEL = "model.onnx"
MAX_MODEL_BYTES = 1 << 30
PART_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_STANDARD_DOMAINS = {"", "ai.onnx", "ai.onnx.ml"}


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class LimitsCard(_Model):
    """Limits of one class, as released. The recipe may tighten or replace them."""

    t1: float = Field(ge=0, le=1, description="score below which a detection passes")
    t2: float = Field(ge=0, le=1, description="score from which a detection fails")
    min_size: float = Field(
        0, ge=0, description="longer side in pixels below which a box is not counted"
    )
    allowed: int = Field(0, ge=0, description="counted detections tolerated")
    expected: int | None = Field(
        None, ge=0, description="exact count for things that must be there"
    )
    min_area: float = Field(
        0,
        ge=0,
        description="area in square pixels below which a detection is not counted: of the outline, or "
        "of the box where the release gives no outlines",
    )

    @model_validator(mode="after")
    def _ordered(self) -> LimitsCard:
        if self.t2 < self.t1:
            raise ValueError(
                f"t2 ({self.t2}) is below t1 ({self.t1}); the REVIEW band is t1 <= score < t2"
            )
        return self

    def limits(self) -> ClassLimits:
        """Return the plain form used by `decide`."""
        return ClassLimits(
            self.t1, self.t2, self.min_size, self.allowed, self.expected, self.min_area
        )


class TilingCard(_Model):
    """How frames are cut into tiles."""

    size: tuple[Annotated[int, Field(ge=32, le=16384)], Annotated[int, Field(ge=32, le=16384)]] = (
        Field(description="height and width of a tile, image pixels; it fills the network's input")
    )
    overlap: float = Field(
        ge=0,
        le=0.5,
        description="share by which neighbouring tiles overlap; at least the size of a large defect",
    )
    iou: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="boxes of a class from different tiles that overlap more are one",
    )

    def tiling(self) -> Tiling:
        """Return the plain form used by the detector."""
        return Tiling(self.size, self.overlap, self.iou)


class DatasetCard(_Model):
    """Which images the model learned from."""

    name: str
    version: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    train_images: int = Field(ge=0)
    val_images: int = Field(ge=0)


class ReleaseCard(_Model):
    """`release.json`: everything an auditor asks of a model."""

    format: Literal[1] = 1
    part: str = Field(pattern=PART_NAME)
    number: int = Field(ge=1, le=65535)
    created_at: str
    task: Task = Field(
        description="detect finds defects; segment finds them with outlines; anomaly learned from good "
        "parts only"
    )
    family: str = Field(description="architecture the model came from, e.g. ultralytics/yolov8n")
    classes: list[str] = Field(min_length=1)
    input_size: tuple[int, int] = Field(description="height, width of the network input, pixels")
    tiling: TilingCard | None = Field(
        None, description="how frames are cut into tiles; none: the network sees the whole image"
    )
    files: dict[str, str] = Field(description="file name to sha256; model.onnx is required")
    limits: dict[str, LimitsCard]
    claim: str = Field(description="what the limits support, in words; empty: no claim is made")
    dataset: DatasetCard
    base_weights: str = Field(
        description="weight file the training started from with its sha256, or `random`"
    )
    experiment: dict[str, Any] = Field(description="every training setting in force")
    seeds: dict[str, int]
    libraries: dict[str, str] = Field(description="library name to version")
    licence: str = Field(description="licence that the model's family and weights carry")
    metrics: dict[str, Any] = Field(
        description="rates with counts and intervals; which images they were taken on"
    )
    parity: dict[str, Any] = Field(description="exported against trained model, on which images")
    latency: dict[str, Any] = Field(description="milliseconds, on which machine and runtime")

    @model_validator(mode="after")
    def _consistent(self) -> ReleaseCard:
        if MODEL not in self.files:
            raise ValueError(f"files does not list {MODEL}")
        for name in self.files:
            if (
                not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?", name)
                or ".." in name
            ):
                raise ValueError(
                    f"files lists {name!r}; names are plain, inside the release folder"
                )
        missing = sorted(set(self.classes) - set(self.limits))
        extra = sorted(set(self.limits) - set(self.classes))
        if missing or extra:
            raise ValueError(
                f"limits must name each class once; missing {missing}, unknown {extra}"
            )
        if self.task == "segment" and any(side % MASK_STRIDE for side in self.input_size):
            raise ValueError(
                f"input_size {self.input_size} of task segment must be multiples of {MASK_STRIDE}"
            )
        return self


def sha256_file(path: Path) -> str:
    """Return the sha256 of a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_card(folder: Path) -> ReleaseCard:
    """Read `release.json` without checking the files it lists.

    Raises:
        ReleaseError: it is missing or not to the contract.
    """
    return read_hashed_card(folder)[0]


def read_hashed_card(folder: Path) -> tuple[ReleaseCard, str]:
    """Return what `read_card` gives, and the sha256 of the same bytes.

    Raises:
        ReleaseError: as `read_card`.
    """
    path = folder / CARD
    try:
        content = path.read_bytes()
        return ReleaseCard.model_validate_json(content), hashlib.sha256(content).hexdigest()
    except OSError as error:
        raise ReleaseError(
            f"release {folder} has no readable {CARD} ({error}); release the model again"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(x) for x in first["loc"]) or CARD
        raise ReleaseError(f"{path}: {where}: {first['msg']}; release the model again") from error


def load_release(folder: Path) -> Release:
    """Check a release folder and return it.

    Every listed file is hashed; the graph is checked for external data, custom operators, and the
    contract of the module's docstring. Pickle is never read.

    Raises:
        ReleaseError: any check failed; the message names the file.
    """
    card, card_sha256 = read_hashed_card(folder)
    if folder.name != str(card.number) or folder.parent.name != card.part:
        raise ReleaseError(
            f"{folder}: release.json says {card.part}/{card.number}; the folder must be PART/NUMBER"
        )
    for name, expected in card.files.items():
        path = folder / name
        if path.is_symlink() or not path.is_file():
            raise ReleaseError(
                f"{path} is missing or not a plain file; restore the release from its backup"
            )
        actual = sha256_file(path)
        if actual != expected:
            raise ReleaseError(
                f"{path} was altered: its sha256 is {actual[:12]}…, released was {expected[:12]}…; restore it"
            )
    model = folder / MODEL
    check_graph(model, card.task, card.input_size)
    return Release(
        part=card.part,
        number=card.number,
        folder=folder,
        model=model,
        model_sha256=card.files[MODEL],
        task=card.task,
        classes=tuple(card.classes),
        input_size=card.input_size,
        limits={name: limits.limits() for name, limits in card.limits.items()},
        tiling=card.tiling.tiling() if card.tiling else None,
        card_sha256=card_sha256,
    )


def find_release(releases: Path, part: str, number: int) -> Release:
    """Load `releases/PART/NUMBER`. Raises ReleaseError when the name is wrong or the release refused."""
    if not re.fullmatch(PART_NAME, part):
        raise ReleaseError(
            f"part name {part!r} is not allowed; use letters, digits, dot, dash, underscore"
        )
    return load_release(releases / part / str(number))


def list_releases(releases: Path) -> dict[str, list[int]]:
    """Return part name to its release numbers, ascending. Folders without `release.json` are left out."""
    found: dict[str, list[int]] = {}
    for card in sorted(releases.glob(f"*/*/{CARD}")):
        if card.parent.name.isdigit():
            found.setdefault(card.parent.parent.name, []).append(int(card.parent.name))
    return {part: sorted(numbers) for part, numbers in found.items()}


def current_number(releases: Path, part: str) -> int | None:
    """Return the number in `releases/PART/current`, or the highest release when there is no such file.

    Raises:
        ReleaseError: the file is there and holds no number, or cannot be read. The highest one may be the
            one that a rollback put out of force, so it is not taken in its place.
    """
    path = releases / part / "current"
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        numbers = list_releases(releases).get(part, [])
        return numbers[-1] if numbers else None
    except OSError as error:
        raise ReleaseError(
            f"{path} cannot be read ({error}); check the disk and the rights"
        ) from error
    if not re.fullmatch(rb"[1-9][0-9]{0,9}", text.strip()):
        raise ReleaseError(
            f"{path} is damaged: it holds {text[:20]!r} and no number, so nobody knows which release is in "
            f"force. Say which: `inspection release rollback {releases} {part} --to NUMBER`"
        )
    return int(text)


def set_current(releases: Path, part: str, number: int) -> None:
    """Make a release the one in force for clients that name no version; survives a crash half way."""
    write_atomic(releases / part / "current", f"{number}\n".encode())


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that after a crash either the old or the new content is there."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_card(folder: Path, card: ReleaseCard) -> None:
    """Write `release.json`; the last step of a release, so that a half-written one is never listed."""
    write_atomic(
        folder / CARD, (json.dumps(card.model_dump(), indent=2, ensure_ascii=False) + "\n").encode()
    )


def check_graph(path: Path, task: Task, input_size: tuple[int, int]) -> None:
    """Check an ONNX file against the contract without running it.

    Raises:
        ReleaseError: external data, custom operators, functions, or inputs and outputs not as promised.
    """
    import onnx

    if path.stat().st_size > MAX_MODEL_BYTES:
        raise ReleaseError(
            f"{path} is larger than {MAX_MODEL_BYTES >> 20} MiB; that is no inspection model"
        )
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf raises its own kinds
        raise ReleaseError(
            f"{path} is not an ONNX model: {error}; release the model again"
        ) from error
    domains = {opset.domain for opset in model.opset_import} | {
        node.domain for node in _nodes(model.graph)
    }
    foreign = domains - _STANDARD_DOMAINS
    if foreign or model.functions:
        raise ReleaseError(
            f"{path} uses operators outside ONNX ({sorted(foreign) or 'functions'}); refused"
        )
    for tensor in _tensors(model.graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise ReleaseError(
                f"{path} refers to a file outside itself ({tensor.name}); export it as one file"
            )
    _check_io(path, model, task, input_size)


def _check_io(path: Path, model: Any, task: Task, input_size: tuple[int, int]) -> None:
    import onnx

    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1 or inputs[0].name != "images":
        raise ReleaseError(f"{path} must have one input `images`, has {[v.name for v in inputs]}")
    tensor = inputs[0].type.tensor_type
    shape = [d.dim_value for d in tensor.shape.dim]
    if (
        tensor.elem_type != onnx.TensorProto.UINT8
        or len(shape) != 4
        or shape[1:] != [*input_size, 3]
    ):
        raise ReleaseError(
            f"{path}: `images` must be uint8 [B, {input_size[0]}, {input_size[1]}, 3], is {shape}"
        )
    wanted = set(OUTPUTS[task])
    outputs = {value.name: value.type.tensor_type.elem_type for value in model.graph.output}
    if set(outputs) != wanted or any(kind != onnx.TensorProto.FLOAT for kind in outputs.values()):
        raise ReleaseError(
            f"{path} must have float32 outputs {sorted(wanted)}, has {sorted(outputs)}"
        )


def _nodes(graph: Any) -> list[Any]:
    found: list[Any] = []
    for node in graph.node:
        found.append(node)
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs]:
                found += _nodes(inner)
    return found


def _tensors(graph: Any) -> list[Any]:
    found: list[Any] = [*graph.initializer]
    for sparse in graph.sparse_initializer:
        found += [sparse.values, sparse.indices]
    for node in graph.node:
        for attribute in node.attribute:
            found += [attribute.t, *attribute.tensors]
            for sparse in [attribute.sparse_tensor, *attribute.sparse_tensors]:
                found += [sparse.values, sparse.indices]
            for inner in [attribute.g, *attribute.graphs]:
                found += _tensors(inner)
    return found
