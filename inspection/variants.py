"""Faster forms of a release: `releases/PART/NUMBER/variants/NAME/variant.json`, with a file or without.

A release computes in float32 and never changes. A variant lies beside it and was compared with it on
images that neither learned from:

* `int8`: `model.xml` and `model.bin`, a graph of OpenVINO's with the inputs and outputs of the contract
  of `inspection.release`; most layers compute in eight bits, the layers that it names stayed in float:
  bfloat16 or float32, as the graph itself says (`read_float_arithmetic`), so that the hash covers it.
* `bf16`: no file; the release's own model computed in bfloat16 by OpenVINO.

A station runs a variant only when `variant.json` says that it passed. What ran is in every row:
`model_sha256` is `PRECISION:` and the hash of the file (of both files, xml first); without a prefix it is
the release itself.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args
from xml.etree import ElementTree

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from inspection.errors import ReleaseError
from inspection.release import LimitsCard, find_release, sha256_file
from inspection.types import Release

FOLDER = "variants"
VARIANT_CARD = "variant.json"
IR_MODEL = "model.xml"
IR_WEIGHTS = "model.bin"
Variant = Literal["bf16", "int8"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)
FLOAT = "f32"
MIN_IMAGES = 10
"""Fewer images prove nothing; so few that each is looked at prove little."""
MIN_MASK_IOU = 0.9
"""Outlines that overlap less, or whose areas differ by more than the rest, are not alike."""
HELD_OUT = "test"
"""Split that int8's layers are not chosen on, so its share of equal decisions counts by itself too."""
_log = logging.getLogger(__name__)
_SHA256 = r"^[0-9a-f]{64}$"
_OPSET = r"opset\d{1,2}"
FloatArithmetic = Literal["f32", "bf16"]
FLOAT_ARITHMETIC = ("inspection", "float_arithmetic")
"""Path in the runtime information of model.xml that says how float layers compute."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Change(_Model):
    """One image whose decision differs."""

    image: str
    defective: bool = Field(description="by its labels")
    f32: str = Field(description="decision of the release")
    variant: str = Field(description="decision of the variant")


class SplitCount(_Model):
    """Decisions of one split."""

    images: int = Field(ge=1, description="images of the split")
    equal: int = Field(ge=0, description="images that both decide alike")


class ClassCount(_Model):
    """Defective images of one class, judged by that class alone; different ones count, copies do not."""

    stopped: int = Field(ge=0, description="images that the release stops; 0: it was never proven")
    kept: int = Field(ge=0, description="those of them that the variant stops too")


class MaskParity(_Model):
    """Outlines and areas of matched boxes that count under the release's limits; task segment."""

    outlines: int = Field(ge=0, description="outlines compared")
    equal: int = Field(ge=0, description="outlines that are alike: overlap and areas, see min_iou")
    asked_iou: float = Field(
        gt=0, le=1, description="overlap, and smaller area over larger, from which they are alike"
    )
    min_iou: float = Field(ge=0, le=1, description="smallest overlap of two outlines")
    mean_iou: float = Field(ge=0, le=1, description="mean overlap of two outlines")
    min_area_ratio: float = Field(ge=0, le=1, description="smallest ratio of two areas")


class VariantParity(_Model):
    """Decisions and boxes of a variant against the release, on the same images, under one runtime."""

    images: int = Field(ge=1)
    defective: int = Field(ge=0, description="images that are defective by their labels")
    stopped: int | None = Field(
        None,
        ge=0,
        description="defective images that the release stops; none: the card is older than this number, "
        "and its images may be copies",
    )
    classes: dict[str, ClassCount] = Field(
        default_factory=dict[str, ClassCount], description="class of the release to what proves it"
    )
    equal: int = Field(ge=0, description="images that both decide alike")
    min_equal: float = Field(gt=0, le=1, description="share of equal decisions that was asked for")
    lost: int = Field(ge=0, description="defective images that the release stops and it passes")
    changed: list[Change]
    max_score_difference: float = Field(ge=0, description="largest, over all matched boxes")
    mean_score_difference: float = Field(ge=0, description="mean, over all matched boxes")
    min_iou: float = Field(ge=0, le=1, description="smallest overlap of matched boxes")
    unmatched: int = Field(ge=0, description="boxes that only one of both found")
    splits: dict[str, SplitCount] = Field(
        default_factory=dict[str, SplitCount], description="split to its share of the images"
    )
    masks: MaskParity | None = Field(
        None, description="outlines and areas; none: the release gives no outlines"
    )

    @property
    def share(self) -> float:
        """Share of equal decisions."""
        return self.equal / self.images

    @property
    def unproven(self) -> list[str]:
        """Classes that no image proves: the release stopped none of them."""
        return [name for name, count in self.classes.items() if not count.stopped]

    @property
    def unseen(self) -> list[str]:
        """Classes that the release stops and the variant never."""
        return [name for name, count in self.classes.items() if count.stopped and not count.kept]

    @property
    def alike(self) -> bool:
        """Enough decisions and outlines are equal, and nothing defective that was stopped passes."""
        masks = self.masks
        return (
            self.share >= self.min_equal
            and self.lost == 0
            and not self.unseen
            and (masks is None or masks.equal >= self.min_equal * masks.outlines)
        )

    @property
    def passed(self) -> bool:
        """All decide alike, enough of test alone do, and the images can prove it.

        Without a defective image that the release stops, with few images, or without an outline where the
        release gives outlines, nothing was proven.
        """
        held = self.splits.get(HELD_OUT)
        return (
            self.alike
            and self.images >= MIN_IMAGES
            and self.defective >= 1
            and self.stopped != 0
            and (self.masks is None or self.masks.outlines >= 1)
            and (held is None or held.equal / held.images >= self.min_equal)
        )


class VariantCard(_Model):
    """`variant.json`: what a variant is, and the proof that it decides as its release does."""

    format: Literal[1] = 1
    name: Variant
    created_at: str
    release: str = Field(description="PART/NUMBER")
    base_sha256: str = Field(pattern=_SHA256, description="model file of the release")
    files: dict[str, str] = Field(description="file name to sha256; empty for bf16")
    model_sha256: str = Field(
        pattern=_SHA256, description="what rows name: both files together; of bf16 the release's"
    )
    runtimes: list[str] = Field(min_length=1, description="runtimes that passed")
    device: str = Field("CPU", description="the runtime's device that it was compared on")
    dataset: dict[str, str] = Field(description="name, version and sha256 of the images compared")
    splits: list[str] = Field(description="splits of the images compared")
    limits: dict[str, LimitsCard] = Field(description="limits under which decisions were compared")
    calibration_images: int = Field(ge=0, description="training images that set the ranges")
    kept_float: list[str] = Field(description="layers that stayed in float, by their node names")
    float_arithmetic: FloatArithmetic = Field(
        "f32", description="what layers that are not in eight bits compute in"
    )
    quantised: int = Field(ge=0, description="layers that compute in eight bits")
    tries: list[dict[str, Any]] = Field(description="sets of float layers tried, in order")
    selected_on: list[str] = Field(
        default_factory=list[str],
        description="splits that the float layers were chosen on; with test among them, test refused "
        "an earlier set, and the comparison is a little flattered",
    )
    parity: dict[str, VariantParity] = Field(description="runtime to comparison")
    metrics: dict[str, Any] = Field(description="f32 and variant: rates and mAP on the same images")
    latency: dict[str, Any] = Field(description="f32 and variant: milliseconds, measured in turns")
    machine: str = Field(description="processor that all of this was measured on")
    libraries: dict[str, str]

    @model_validator(mode="after")
    def _whole(self) -> VariantCard:
        wanted = {IR_MODEL, IR_WEIGHTS} if self.name == "int8" else set[str]()
        if set(self.files) != wanted:
            raise ValueError(
                f"{self.name} has the files {sorted(wanted)}, listed are {sorted(self.files)}"
            )
        for runtime in self.runtimes:
            if runtime not in self.parity or not self.parity[runtime].passed:
                raise ValueError(f"it did not pass the comparison under {runtime}")
        return self


def precision_of(release: Release) -> str:
    """Return what a loaded release computes in: f32, bf16 or int8."""
    return release.model_sha256.rpartition(":")[0] or FLOAT


def file_sha256(release: Release) -> str:
    """Return the hash of the model file alone."""
    return release.model_sha256.rpartition(":")[2]


def ir_sha256(model: Path) -> str:
    """Return the hash of model.xml and the model.bin beside it, one after the other."""
    return hashlib.sha256(model.read_bytes() + model.with_name(IR_WEIGHTS).read_bytes()).hexdigest()


def how_to_make(release: Release, precision: str) -> str:
    """Return the command that makes a variant, for messages."""
    return f"inspection variant make {release.folder} --precision {precision} --data DATASET"


def read_variant(release_folder: Path, name: str) -> VariantCard:
    """Read the card of a variant without checking its file.

    Raises:
        ReleaseError: there is none, or it is not to the contract.
    """
    path = release_folder / FOLDER / name / VARIANT_CARD
    try:
        card = VariantCard.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise ReleaseError(f"{release_folder} has no variant {name}") from error
    except OSError as error:
        raise ReleaseError(f"{path} cannot be read: {error}; restore it") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(x) for x in first["loc"]) or VARIANT_CARD
        raise ReleaseError(f"{path}: {where}: {first['msg']}; make the variant again") from error
    if card.name != name:
        raise ReleaseError(f"{path} is the card of {card.name}; make the variant again")
    return card


def list_variants(release_folder: Path) -> list[VariantCard]:
    """Return the variants of a release, bf16 before int8.

    Raises:
        ReleaseError: one of them is not to the contract.
    """
    there = [name for name in VARIANTS if (release_folder / FOLDER / name).is_dir()]
    return [read_variant(release_folder, name) for name in there]


def in_precision(
    release: Release, precision: str, runtime: str | None = None, device: str | None = None
) -> Release:
    """Return the release as it is to be run: itself for f32, else with the variant's file and hash.

    Args:
        release: as loaded, float32.
        precision: f32, bf16 or int8.
        runtime: who will run it; None: somebody else checks that.
        device: the runtime's name of the device; None: the one it was compared on, or somebody else checks.

    What `doubts` finds is only warned of, in the log.

    Raises:
        ReleaseError: no such variant, made of another model, altered, or not proven for the runtime or
            device.
    """
    if precision == FLOAT:
        return release
    make = how_to_make(release, precision)
    if not (release.folder / FOLDER / precision / VARIANT_CARD).is_file():
        raise ReleaseError(
            f"{release.name} was never compared in {precision}, so its limits do not hold there; "
            f"set precision to f32, or make the variant: {make}"
        )
    card = read_variant(release.folder, precision)
    if card.base_sha256 != release.model_sha256 or card.release != release.name:
        raise ReleaseError(
            f"variant {precision} of {release.name} was made of another model "
            f"({card.release}, {card.base_sha256[:12]}…); make it again: {make}"
        )
    if runtime is not None and runtime not in card.runtimes:
        raise ReleaseError(
            f"variant {precision} of {release.name} passed under {', '.join(card.runtimes)}, "
            f"not under {runtime}; set the runtime's type to {card.runtimes[0]}"
        )
    if release.task == "segment" and any(card.parity[x].masks is None for x in card.runtimes):
        raise ReleaseError(
            f"variant {precision} of {release.name} was never compared in its outlines; delete "
            f"{release.folder / FOLDER / precision} and make it again: {make}"
        )
    if device is not None and device != card.device:
        raise ReleaseError(
            f"variant {precision} of {release.name} was compared on {card.device}, not on {device}, "
            f"which rounds in another way; set device to {card.device}, or precision to f32"
        )
    for told in doubts(release, precision):
        _log.warning("%s", told)
    if not card.files:
        return replace(release, model_sha256=f"{precision}:{release.model_sha256}")
    folder = release.folder / FOLDER / precision
    for name, expected in card.files.items():
        _check_file(folder / name, expected)
    check_ir(folder / IR_MODEL, release.input_size)
    floats = read_float_arithmetic(folder / IR_MODEL)
    if floats != card.float_arithmetic:
        raise ReleaseError(
            f"{folder / VARIANT_CARD} says that float layers compute in {card.float_arithmetic}, "
            f"{IR_MODEL} says {floats}; make the variant again"
        )
    return replace(
        release, model=folder / IR_MODEL, model_sha256=f"{precision}:{card.model_sha256}"
    )


def doubts(release: Release, precision: str) -> list[str]:
    """Return what speaks against running a variant here, in words; empty: nothing.

    Raises:
        ReleaseError: no such variant, or its card is not to the contract.
    """
    card = read_variant(release.folder, precision)
    told = [another_processor(release, precision)]
    if any(card.parity[runtime].stopped is None for runtime in card.runtimes):
        told.append(
            f"variant {precision} of {release.name} is older than the count of defects that the release "
            "itself stops, so it may see less than its card says: evaluate it on defective parts with "
            f"inspection evaluate --precision {precision}, or release the model again and make it anew"
        )
    return [words for words in told if words]


def another_processor(release: Release, precision: str) -> str:
    """Return a warning: the variant was compared on another kind of processor; empty: no, or not known.

    Raises:
        ReleaseError: no such variant, or its card is not to the contract.
    """
    here, card = processor(), read_variant(release.folder, precision)
    if not here or card.machine.startswith(f"{here},"):
        return ""
    return (
        f"variant {card.name} of {release.name} was compared on {card.machine}, this is {here}, which may "
        f"round in another way: evaluate it here with inspection evaluate --precision {card.name}"
    )


def processor() -> str:
    """Return the processor's name as Linux tells it; empty: it tells none."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, "")


def _check_file(path: Path, expected: str) -> None:
    """Raise ReleaseError unless the file is there, plain, and has this hash."""
    if path.is_symlink() or not path.is_file():
        raise ReleaseError(f"{path} is missing or not a plain file; make the variant again")
    actual = sha256_file(path)
    if actual != expected:
        raise ReleaseError(
            f"{path} was altered: its sha256 is {actual[:12]}…, made was {expected[:12]}…; "
            "make the variant again"
        )


def check_ir(path: Path, input_size: tuple[int, int]) -> None:
    """Check an OpenVINO graph without running it: standard operators, and the input of the contract.

    Raises:
        ReleaseError: something else.
    """
    data = path.read_bytes()
    if b"<!" in data:
        raise ReleaseError(f"{path} has declarations that OpenVINO never writes; refused")
    try:
        layers = list(ElementTree.fromstring(data).iter("layer"))  # noqa: S314  no declarations
    except ElementTree.ParseError as error:
        raise ReleaseError(f"{path} is no OpenVINO graph: {error}") from error
    foreign = sorted(
        {str(x.get("type")) for x in layers if not re.fullmatch(_OPSET, x.get("version", ""))}
    )
    if foreign:
        raise ReleaseError(f"{path} uses operators outside OpenVINO's opsets ({foreign}); refused")
    inputs = [x for x in layers if x.get("type") == "Parameter"]
    data_of = [x.find("data") for x in inputs]
    told = [(x.get("element_type"), x.get("shape")) for x in data_of if x is not None]
    height, width = input_size
    if told != [("u8", f"?,{height},{width},3")] or inputs[0].get("name") != "images":
        raise ReleaseError(
            f"{path} must have one input `images` uint8 [B, {height}, {width}, 3], has {told}"
        )


def read_float_arithmetic(path: Path) -> str:
    """Return what the layers of a checked OpenVINO graph that are not in eight bits compute in.

    A graph that does not say it computes them in f32.
    """
    graph = ElementTree.fromstring(path.read_bytes())  # noqa: S314  check_ir refused declarations
    found = graph.find("/".join(("rt_info", *FLOAT_ARITHMETIC)))
    return FLOAT if found is None else found.get("value", FLOAT)


def find_for(runtime: object) -> Callable[[Path, str, int], Release]:
    """Return what finds releases for a runtime's configuration, in the precision that it names.

    A configuration without `precision` gets float32. For the type `service` the service itself checks
    which library runs the variant.
    """
    precision = str(getattr(runtime, "precision", FLOAT))
    kind = str(getattr(runtime, "type", ""))
    device = str(getattr(runtime, "device", "")) if kind == "openvino" else ""

    def find(releases: Path, part: str, number: int) -> Release:
        release = find_release(releases, part, number)
        return in_precision(release, precision, None if kind == "service" else kind, device or None)

    return find
