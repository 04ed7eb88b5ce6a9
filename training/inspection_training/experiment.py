"""One experiment: every setting of a training, from a YAML file or from options."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from inspection.errors import ConfigError

AugmentPreset = Literal["metal", "binary", "none"]


class Experiment(BaseModel):
    """Settings of one training. What it learns from (dataset, weights) is given beside it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(
        "yolo26n",
        pattern=r"^yolo(v8|11|26)[nsmlx](-p2)?$",
        description="network of family ultralytics: yolov8, yolo11 or yolo26 with its size letter",
    )
    family: Literal["ultralytics", "good_parts", "template"] = Field(
        "ultralytics",
        description="ultralytics: finds labelled defects; good_parts: learns good parts only and finds "
        "what is strange; template: compares with a golden image, where parts lie in one place",
    )
    width: float | None = Field(
        None,
        gt=0,
        le=2,
        description="channel multiple in place of the size letter's; random weights only",
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
    epochs: int = Field(100, ge=1, le=10000, description="passes over the training images")
    minutes: float | None = Field(
        None,
        gt=0,
        description="training time, minutes: epochs are cut so that it fits, and the learning rate "
        "still falls to its end",
    )
    batch: int = Field(16, ge=1, le=1024, description="images in a step")
    seed: int = Field(0, ge=0, le=2**31 - 1, description="seed of weights, order and augmentation")
    augment: AugmentPreset = Field(
        "metal",
        description="metal: light, blur, noise, small pose; binary: flips and quarter turns only; none",
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
        "auto", description="auto: chosen by ultralytics from the number of steps"
    )
    lr: float | None = Field(
        None, gt=0, le=1, description="first learning rate; default: the optimizer's"
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
    threads: int = Field(0, ge=0, le=256, description="processor threads; 0: all")
    backbone_input: Literal["torchvision", "tensorflow"] = Field(
        "torchvision",
        description="family good_parts: how pictures were normalised and padded when the backbone was "
        "trained; tensorflow for MobileNetV2 weights that came from there",
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
    candidates: int = Field(300, ge=10, le=3000, description="best anchors that enter suppression")
    detections: int = Field(100, ge=1, le=300, description="most detections in one image")
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

    @model_validator(mode="after")
    def _sizes(self) -> Experiment:
        for name in ("input_size", "crop"):
            value = getattr(self, name)
            if value is not None and any(v % 32 or v < 32 for v in value):
                raise ValueError(f"{name} {value} must be multiples of 32, from 32")
        if self.expected and self.family != "ultralytics":
            raise ValueError(
                f"family {self.family} counts nothing, so expected {self.expected} cannot be kept; "
                "leave it out or use family ultralytics"
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
    try:
        return Experiment.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(x) for x in first["loc"]) or "experiment"
        known = ", ".join(Experiment.model_fields) if first["type"] == "extra_forbidden" else ""
        raise ConfigError(
            f"experiment {path or 'options'}: {field}: {first['msg']}"
            + (f"; known settings: {known}" if known else f" (given: {first.get('input')!r})")
        ) from error
