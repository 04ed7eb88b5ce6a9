"""Augmentation: presets and parts give what they say, and the picture keeps its shape."""

from typing import Any, get_args

import albumentations as A  # noqa: N812
import numpy as np
import pytest
from pydantic import ValidationError

from inspection_training.augment import geometry, parts_of, pipeline
from inspection_training.experiment import Augment, AugmentPart, Experiment


def _names(augment: Augment) -> list[str]:
    return [type(transform).__name__ for transform in pipeline(augment)]


def _run(augment: Augment, image: Any, boxes: list[list[float]], seed: int = 0) -> dict[str, Any]:
    shape = A.BboxParams(format="pascal_voc", label_fields=["kinds"])
    # NoOp: albumentations warns of boxes where nothing would move them
    whole = A.Compose([*pipeline(augment), A.NoOp()], bbox_params=shape, seed=seed)
    return whole(image=image, bboxes=boxes, kinds=list(range(len(boxes))))


def test_the_presets_mean_what_they_meant() -> None:
    assert _names("metal") == ["RandomBrightnessContrast", "RandomGamma", "OneOf", "GaussNoise"]
    light, gamma, blur, noise = pipeline("metal")
    assert (light.brightness_limit, light.contrast_limit, light.p) == (
        (-0.2, 0.2),
        (-0.2, 0.2),
        0.5,
    )
    assert (gamma.gamma_limit, gamma.p) == ((75, 135), 0.3)
    assert ([type(t).__name__ for t in blur.transforms], blur.p) == (
        ["GaussianBlur", "MotionBlur"],
        0.15,
    )
    assert (noise.std_range, noise.p) == ((0.005, 0.03), 0.3)
    on = {name: value for name, value in geometry("metal").items() if value}
    assert on == {"degrees": 2.0, "translate": 0.03, "scale": 0.05}
    on = {name: value for name, value in geometry("binary").items() if value}
    assert on == {"translate": 0.1, "scale": 0.1, "fliplr": 0.5}
    assert isinstance(pipeline("binary")[0], A.RandomRotate90)
    assert _names("none") == ["NoOp"]
    assert not any(geometry("none").values())


def test_metal_is_the_list_of_its_parts() -> None:
    parts: Augment = ("pose", "noise", "blur", "exposure", "light")  # the order does not matter
    assert parts_of(parts) == parts_of("metal")
    assert _names(parts) == _names("metal")
    assert geometry(parts) == geometry("metal")


@pytest.mark.parametrize("part", get_args(AugmentPart))
def test_a_part_changes_what_it_names_and_nothing_else(part: AugmentPart) -> None:
    image = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    moved = any(geometry((part,)).values())
    assert moved == (part == "pose")
    assert geometry((part,))["fliplr"] == 0
    changed = [
        not np.array_equal(_run((part,), image, [[3, 4, 10, 12]], seed)["image"], image)
        for seed in range(20)
    ]
    assert any(changed) == (part != "pose")


def test_an_empty_list_is_none() -> None:
    assert _names(()) == ["NoOp"]
    assert geometry(()) == geometry("none")


@pytest.mark.parametrize("shape", [(64, 64), (48, 80)])
def test_turned_pictures_keep_their_shape_and_boxes_follow(shape: tuple[int, int]) -> None:
    image = np.zeros((*shape, 3), np.uint8)
    image[5:9, 20:36] = 255
    seen: set[tuple[int, ...]] = set()
    for seed in range(30):
        turned = _run("binary", image, [[20, 5, 36, 9]], seed)
        assert turned["image"].shape == image.shape
        x1, y1, x2, y2 = (round(v) for v in turned["bboxes"][0])
        assert turned["image"][y1:y2, x1:x2].min() == 255
        assert turned["image"].sum() == image.sum()
        seen.add((x1, y1, x2, y2))
    assert len(seen) == (4 if shape[0] == shape[1] else 2)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("metal", "metal"),
        ("light, noise", ("light", "noise")),
        (["blur"], ("blur",)),
        ([], ()),
    ],
)
def test_an_experiment_takes_a_preset_or_parts(given: object, kept: object) -> None:
    experiment = Experiment.model_validate({"augment": given})
    assert experiment.augment == kept
    assert Experiment.model_validate(experiment.model_dump(mode="json")) == experiment


@pytest.mark.parametrize(
    "wrong", ["shiny", "light,shiny", "metal,light", 3, {"light": 1}, [["blur"]]]
)
def test_anything_else_is_named(wrong: object) -> None:
    with pytest.raises(
        ValidationError, match="augment is one of metal, binary, none, or a list of"
    ):
        Experiment.model_validate({"augment": wrong})
