"""Augmentation for machine vision: what may change between two pictures of one part.

A preset, or a list of parts. The parts:

* `light`: brightness and contrast, a lamp that ages.
* `exposure`: gamma, another exposure time.
* `blur`: out of focus, or moved a pixel or two while exposed.
* `noise`: of the sensor.
* `pose`: two degrees, three hundredths of the picture's side, five hundredths of size.
* `quarter_turns`: any quarter turn, where a turned part is still a part; half turns only where the
  network's input is not square.

The presets: `metal` is light, exposure, blur, noise and pose. `binary` is for black and white images
(DeepPCB): photometric changes mean nothing there; any quarter turn and mirror image is as likely as the
original. `none`: the images as they are. No preset but `binary` mirrors: on a part whose holes have fixed
places, a mirrored part is another part; `Experiment.flip` allows it.

Every family of detectors takes its transforms from here; albumentations is used nowhere else.
"""

from __future__ import annotations

from typing import Any, get_args

from inspection_training.experiment import Augment, AugmentPart, AugmentPreset

_METAL: tuple[AugmentPart, ...] = ("light", "exposure", "blur", "noise", "pose")
_POSE = {"degrees": 2.0, "translate": 0.03, "scale": 0.05}
_BINARY = {"degrees": 0.0, "translate": 0.1, "scale": 0.1, "fliplr": 0.5}


def parts_of(augment: Augment) -> tuple[AugmentPart, ...]:
    """Return the parts of a preset or a list, always in the same order."""
    presets: dict[AugmentPreset, tuple[AugmentPart, ...]] = {
        "metal": _METAL,
        "binary": ("quarter_turns",),
        "none": (),
    }
    wanted = presets[augment] if isinstance(augment, str) else augment
    return tuple(part for part in get_args(AugmentPart) if part in wanted)


def geometry(augment: Augment) -> dict[str, float]:
    """Return the geometric settings, in ultralytics' words; everything not named is off.

    degrees: largest turn; translate: largest move, share of the picture's side; scale: largest change of
    size, share; fliplr: chance of a mirror image.
    """
    off = dict.fromkeys(
        (
            *("degrees", "translate", "scale", "shear", "perspective", "flipud", "fliplr", "bgr"),
            *("hsv_h", "hsv_s", "hsv_v", "mixup", "cutmix", "copy_paste"),
        ),
        0.0,
    )
    if augment == "binary":
        return off | _BINARY
    return off | (_POSE if "pose" in parts_of(augment) else {})


def pipeline(augment: Augment) -> list[Any]:
    """Return the albumentations transforms, in order; at least one.

    An empty list would make ultralytics put in its own.
    """
    import albumentations as A  # noqa: N812

    found: list[Any] = []
    for part in parts_of(augment):
        if part == "light":
            found.append(
                A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.5)
            )
        elif part == "exposure":
            found.append(A.RandomGamma(gamma_limit=(75, 135), p=0.3))
        elif part == "blur":
            kinds: list[Any] = [A.GaussianBlur(blur_limit=(3, 5)), A.MotionBlur(blur_limit=(3, 5))]
            found.append(A.OneOf(kinds, p=0.15))
        elif part == "noise":
            found.append(A.GaussNoise(std_range=(0.005, 0.03), p=0.3))
        elif part == "quarter_turns":
            found.append(_quarter_turns())
    return found or [A.NoOp()]


def _quarter_turns() -> Any:
    import albumentations as A  # noqa: N812

    class QuarterTurns(A.RandomRotate90):
        """Keeps the shape of the picture: one that is not square is turned by half turns only."""

        def get_params_dependent_on_data(
            self, params: dict[str, Any], data: dict[str, Any]
        ) -> dict[str, Any]:
            """Return the number of quarter turns where the shape allows only 0 or 2."""
            height, width = params["shape"][:2]
            del data
            return {} if height == width else {"factor": self.py_random.choice([0, 2])}

    return QuarterTurns(p=1.0)
