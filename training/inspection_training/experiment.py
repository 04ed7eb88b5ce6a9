"""One experiment: every setting of a training, from a YAML file or from options."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from inspection.errors import ConfigError

AugmentPreset = Literal["metal", "binary", "none"]
AugmentPart = Literal["light", "exposure", "blur", "noise", "pose", "quarter_turns"]
Augment = AugmentPreset | tuple[AugmentPart, ...]
Precision = Literal["bf16", "int8"]
"""Arithmetic of a variant of a release; the release itself computes in float32."""
_ULTRALYTICS = r"yolo(v8|11|26)[nsmlx](-p2)?(-seg)?"
_TORCHVISION = (
    *("fasterrcnn_mobilenet_v3_large_320_fpn", "fasterrcnn_mobilenet_v3_large_fpn"),
    *("fcos_mobilenet_v2_fpn", "retinanet_mobilenet_v2_fpn", "fasterrcnn_mobilenet_v2_fpn"),
    *("retinanet_resnet50_fpn", "fcos_resnet50_fpn", "ssdlite320_mobilenet_v3_large"),
)


class Gates(BaseModel):
    """What a candidate must reach before it is released. A gate without a value is not asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    split: Literal["test", "val"] = Field(
        "test", description="images that the gates are measured on; never learned from"
    )
    max_escape: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="share of defective parts that may pass, as the upper bound at `confidence`",
    )
    max_overkill: float | None = Field(
        None, gt=0, lt=1, description="share of good parts that may fail, as counted"
    )
    confidence: float = Field(
        0.95, ge=0.5, lt=1, description="how sure the bound of the escape rate is"
    )
    max_latency_ms: float | None = Field(
        None,
        gt=0,
        description="99th percentile from image to boxes on this machine, milliseconds",
    )
    must_catch: tuple[str, ...] = Field(
        (),
        description="images of the dataset, as its manifest names them, that must not be PASS",
    )
    clean_dataset: bool = Field(
        True, description="refuse when `inspection dataset check` finds an error in the version"
    )


class Experiment(BaseModel):
    """Settings of one training. What it learns from (dataset, weights) is given beside it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: Literal["ultralytics", "torchvision", "good_parts", "template"] = Field(
        "ultralytics",
        description="ultralytics and torchvision: find labelled defects; good_parts: learns good parts "
        "only and finds what is strange; template: compares with a golden image, where parts lie in "
        "one place",
    )
    model: str = Field(
        "",
        description="network. Family ultralytics: yolov8, yolo11 or yolo26 with its size letter, with "
        "-seg for outlines, which needs labels with outlines; default yolo26n. Family torchvision: "
        + ", ".join(_TORCHVISION)
        + "; default fcos_mobilenet_v2_fpn",
    )
    width: float | None = Field(
        None,
        gt=0,
        le=2,
        description="channel multiple in place of the size letter's; random weights only",
    )
    activation: Literal["own", "silu", "hardswish"] = Field(
        "own",
        description="what follows each convolution, family ultralytics. own: as the weight file has it, "
        "and silu with random weights; hardswish: looks much alike and costs a processor far less, so "
        "the network is about a third faster in bf16 with AMX and a tenth in f32; it has to be trained",
    )
    imgsz: int = Field(
        640, ge=64, le=2048, multiple_of=32, description="side of the training images, pixels"
    )
    input_size: tuple[int, int] | None = Field(
        None,
        description="height and width of the released network's input, pixels, multiples of 32; "
        "default: imgsz square",
    )
    crop: tuple[int, int] | None = Field(
        None,
        description="height and width of crops around defects to train on, pixels, multiples of 32; "
        "default: whole images",
    )
    tile: tuple[int, int] | None = Field(
        None,
        description="height and width of tiles, image pixels: the part is learned and inspected tile by "
        "tile, each scaled to the network's input; for defects that are small in a large image. "
        "Default: whole images",
    )
    tile_overlap: float = Field(
        0.2,
        ge=0,
        le=0.5,
        description="share by which neighbouring tiles overlap; at least the size of a large defect",
    )
    epochs: int = Field(100, ge=1, le=10000, description="passes over the training images")
    minutes: float | None = Field(
        None,
        gt=0,
        description="training time, minutes: epochs are cut so that it fits, and the learning rate "
        "still falls to its end",
    )
    batch: int = Field(16, ge=1, le=1024, description="images in a step")
    seed: int = Field(0, ge=0, le=2**31 - 1, description="seed of weights, order and augmentation")
    augment: Augment = Field(
        "metal",
        description="what may differ between two pictures of a part: metal (light, exposure, blur, noise, "
        "small pose), binary (black and white pictures: quarter turns and mirror images only), none, or a "
        "list of light, exposure, blur, noise, pose, quarter_turns. Families good_parts and template learn "
        "from the pictures as they are",
    )
    flip: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="chance that an image is mirrored, each way; only where a mirrored part is still "
        "a part of this kind",
    )
    mosaic: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of training images put together from four; rare defects are seen more often",
    )
    optimizer: Literal["auto", "SGD", "AdamW", "MuSGD"] = Field(
        "auto",
        description="auto: chosen by ultralytics from the number of steps; AdamW for family torchvision",
    )
    lr: float | None = Field(
        None,
        gt=0,
        le=1,
        description="first learning rate; default: the optimizer's. Family ultralytics takes it only with "
        "an optimizer by name: auto chooses the rate, too",
    )
    warmup_epochs: float = Field(3.0, ge=0, description="epochs in which the learning rate rises")
    train_images: int | None = Field(None, ge=1, description="use only so many training images")
    good_share: float = Field(
        0.5, ge=0, lt=1, description="good parts are at most this share of the training images"
    )
    validations: int = Field(
        5,
        ge=0,
        description="how often mAP on the val images is measured during training, for the display only",
    )
    precision: Literal["auto", "f32", "bf16"] = Field(
        "auto", description="auto: bf16 where the processor computes it in hardware"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="auto: the GPU when there is one"
    )
    devices: int = Field(
        1, ge=0, le=64, description="GPUs of this machine that train together; 0: all"
    )
    threads: int = Field(0, ge=0, le=256, description="processor threads; 0: all")
    mlflow: str = Field(
        "",
        description="address of an MLflow server that gets the curves too, for example "
        "http://10.0.0.5:5000 or sqlite:///mlflow.db; default: none",
    )
    backbone_input: Literal["torchvision", "tensorflow"] = Field(
        "torchvision",
        description="families good_parts and torchvision: how pictures were normalised and padded when the "
        "backbone was trained; tensorflow for MobileNetV2 weights that came from there",
    )
    bank: int = Field(
        1000,
        ge=1,
        le=20000,
        description="family good_parts: patches to remember; more find finer differences, and each costs "
        "time at every part",
    )
    shift: int = Field(
        2,
        ge=0,
        le=4,
        description="family template: pixels of the network's input that a good part may be moved, "
        "each way",
    )
    edge: int = Field(
        1,
        ge=0,
        le=4,
        description="family template: pixels by which an edge may lie beside the golden one once the part "
        "is moved into place; a defect thinner than that at an edge is not seen",
    )
    workers: int = Field(
        0,
        ge=0,
        le=64,
        description="processes that prepare pictures beside the training; 0: it prepares them itself",
    )
    nms_iou: float = Field(
        0.7, gt=0, lt=1, description="boxes of a class that overlap more are one"
    )
    candidates: int = Field(
        300,
        ge=10,
        le=3000,
        description="best anchors that enter suppression, at least 16 for each detection",
    )
    detections: int = Field(
        100, ge=1, le=300, description="most detections in one image; 32 with outlines"
    )
    max_overkill: float = Field(
        0.05, ge=0, le=0.5, description="share of good val parts that may fail; sets T2"
    )
    max_review: float = Field(
        0.05, ge=0, le=0.5, description="share of good val parts that may be REVIEW; sets T1"
    )
    expected: dict[str, int] = Field(
        default_factory=dict[str, int],
        description="class to exact count for things that must be there, for example screw: 4",
    )
    variants: tuple[Precision, ...] = Field(
        (),
        description="faster forms to make beside the release: bf16, int8; one that decides differently is "
        "refused",
    )
    gates: Gates = Field(
        default_factory=Gates, description="what a candidate must reach before it is released"
    )

    @model_validator(mode="before")
    @classmethod
    def _default_model(cls, values: Any) -> Any:
        if isinstance(values, dict) and not values.get("model"):
            torchvision = values.get("family") == "torchvision"
            values = {**values, "model": _TORCHVISION[0] if torchvision else "yolo26n"}
        return values

    @field_validator("augment", mode="before")
    @classmethod
    def _augment(cls, value: Any) -> Any:
        presets, parts = get_args(AugmentPreset), get_args(AugmentPart)
        if value in presets:
            return value
        words = [word.strip() for word in value.split(",")] if isinstance(value, str) else value
        if not isinstance(words, list | tuple) or any(word not in parts for word in words):
            raise ValueError(
                f"augment is one of {', '.join(presets)}, or a list of {', '.join(parts)}"
            )
        return tuple(words)

    @model_validator(mode="after")
    def _sizes(self) -> Experiment:
        if self.family == "torchvision" and self.model not in _TORCHVISION:
            raise ValueError(
                f"model {self.model} is not of family torchvision; use one of {', '.join(_TORCHVISION)}"
            )
        if self.family != "torchvision" and not re.fullmatch(_ULTRALYTICS, self.model):
            raise ValueError(
                f"model {self.model} is not of family {self.family}; use for example yolo26n, yolo11s, "
                "yolov8n-seg"
            )
        if self.activation != "own" and self.family != "ultralytics":
            raise ValueError(
                f"activation {self.activation} is for family ultralytics, not for {self.family}; leave it out"
            )
        if self.tile is not None and min(self.tile) < 32:
            raise ValueError(f"tile {self.tile} must be at least 32 pixels each way")
        for name in ("input_size", "crop"):
            value = getattr(self, name)
            if value is not None and any(v % 32 or v < 32 for v in value):
                raise ValueError(f"{name} {value} must be multiples of 32, from 32")
        if self.expected and self.family not in {"ultralytics", "torchvision"}:
            raise ValueError(
                f"family {self.family} counts nothing, so expected {self.expected} cannot be kept; "
                "leave it out or use family ultralytics or torchvision"
            )
        return self

    @property
    def network_size(self) -> tuple[int, int]:
        """(height, width) of the released network's input."""
        return self.input_size or (self.imgsz, self.imgsz)


def load_experiment(path: Path | None, overrides: dict[str, Any]) -> Experiment:
    """Read an experiment file and put options over it; options that are None are left out.

    Raises:
        ConfigError: unreadable, unknown field or value out of bounds; the message names it.
    """
    settings: Any = {}
    if path is not None:
        try:
            settings = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError(f"experiment {path} cannot be read: {error}") from error
        if not isinstance(settings, dict):
            raise ConfigError(f"experiment {path} must be a list of `setting: value` lines")
    settings |= {key: value for key, value in overrides.items() if value is not None}
    return check_settings(settings, str(path or "options"))


def check_settings(settings: dict[str, Any], where: str) -> Experiment:
    """Return the experiment of these settings.

    Args:
        settings: field to value.
        where: what they come from, for the message.

    Raises:
        ConfigError: unknown field or value out of bounds; the message names it.
    """
    try:
        experiment = Experiment.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(x) for x in first["loc"]) or "experiment"
        known = ", ".join(Experiment.model_fields) if first["type"] == "extra_forbidden" else ""
        raise ConfigError(
            f"experiment {where}: {field}: {first['msg']}"
            + (f"; known settings: {known}" if known else f" (given: {first.get('input')!r})")
        ) from error
    rate, chooses = experiment.lr, experiment.optimizer == "auto"
    if (
        rate is not None and chooses and experiment.family == "ultralytics"
    ):  # old runs may have both
        raise ConfigError(
            f"experiment {where}: lr {rate} would not be used: optimizer auto chooses the rate, too; name "
            "the optimizer, for example optimizer: AdamW"
        )
    return experiment


def settings_yaml(experiment: Experiment) -> str:
    """Return the settings that somebody set, as an experiment file."""
    settings = experiment.model_dump(mode="json", exclude_unset=True)
    return yaml.safe_dump(settings, allow_unicode=True, sort_keys=False)
