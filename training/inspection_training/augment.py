"""Augmentation presets for machine vision: what may change between two pictures of one part.

`metal`: light, gamma, blur, sensor noise, a few degrees and pixels of pose. No flips: on a part whose
holes have fixed places, a mirrored part is another part.
`binary`: black and white images (DeepPCB): photometric changes mean nothing there; any quarter turn
and mirror image is as likely as the original.
`none`: the images as they are.
"""

from __future__ import annotations

from typing import Any

from inspection_training.experiment import AugmentPreset

_GEOMETRY: dict[AugmentPreset, dict[str, float]] = {
    "metal": {"degrees": 2.0, "translate": 0.03, "scale": 0.05},
    "binary": {"degrees": 0.0, "translate": 0.1, "scale": 0.1, "fliplr": 0.5},
    "none": {},
}


def geometry(preset: AugmentPreset) -> dict[str, float]:
    """Return ultralytics' own geometric settings of a preset; everything not named is off."""
    off = dict.fromkeys(
        (
            *("degrees", "translate", "scale", "shear", "perspective", "flipud", "fliplr", "bgr"),
            *("hsv_h", "hsv_s", "hsv_v", "mixup", "cutmix", "copy_paste"),
        ),
        0.0,
    )
    return off | _GEOMETRY[preset]


def pipeline(preset: AugmentPreset) -> list[Any]:
    """Return the albumentations transforms of a preset, in order."""
    import albumentations as A  # noqa: N812

    if preset == "metal":
        return [
            A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.5),
            A.RandomGamma(gamma_limit=(75, 135), p=0.3),
            A.OneOf([A.GaussianBlur(blur_limit=(3, 5)), A.MotionBlur(blur_limit=(3, 5))], p=0.15),
            A.GaussNoise(std_range=(0.005, 0.03), p=0.3),
        ]
    if preset == "binary":
        return [A.RandomRotate90(p=1.0)]
    return [A.NoOp()]
