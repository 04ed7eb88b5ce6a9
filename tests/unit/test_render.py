"""The rendered part: deterministic, labelled where the defect is, and every defect visible."""

import numpy as np
import pytest

from inspection.cameras.plate import HOLES
from inspection.cameras.render import CLASSES, choose_defects, draw_scene, expose, render_part


def rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("size", [(64, 64), (320, 256), (256, 320), (641, 333), (1224, 1024)])
def test_contract(size: tuple[int, int]) -> None:
    part = render_part(rng(1), size, CLASSES)
    assert part.image.dtype == np.uint8
    assert part.image.shape == (size[1], size[0], 3)
    assert part.image.flags.c_contiguous
    assert part.image.flags.owndata
    assert sorted(box.name for box in part.boxes) == sorted(CLASSES)
    for box in part.boxes:
        assert 0 <= box.x1 < box.x2 <= size[0]
        assert 0 <= box.y1 < box.y2 <= size[1]


def test_the_same_generator_gives_the_same_picture() -> None:
    first, again = (render_part(rng(5), defects=["dent"]) for _ in range(2))
    assert np.array_equal(first.image, again.image)
    assert first.boxes == again.boxes
    assert not np.array_equal(first.image, render_part(rng(6), defects=["dent"]).image)


def test_good_parts_differ_and_are_well_exposed() -> None:
    images = [render_part(rng(i)).image for i in range(30)]
    means = [image.mean() for image in images]
    assert max(means) - min(means) > 10
    for image in images:
        assert 40 < image.mean() < 130
        assert (image == 255).mean() < 0.001
        assert image.std() > 20


@pytest.mark.parametrize("name", CLASSES)
def test_every_defect_is_visible_and_in_its_box(name: str) -> None:
    """A part and its good twin differ inside the box, well over the noise, and not elsewhere."""
    for seed in range(60):
        bad, good = (
            draw_scene(rng(9, seed), (320, 256), [name]),
            draw_scene(rng(9, seed), (320, 256)),
        )
        assert good.boxes == []
        (box,) = bad.boxes
        assert box.name == name
        change = np.abs(bad.light - good.light).mean(axis=2)
        inside = np.zeros(change.shape, bool)
        inside[
            max(0, int(box.y1) - 3) : int(box.y2) + 3, max(0, int(box.x1) - 3) : int(box.x2) + 3
        ] = True
        assert change[inside].max() > 12, seed
        # energy over the sensor noise: a perfect observer's certainty in standard deviations
        assert np.sqrt((change[inside] ** 2).sum()) / 4 > 12, seed
        # a burr at the outer edge also throws a soft shadow on the belt
        assert change[~inside].max() < (12 if name == "burr" else 3), seed
        tall, wide = box.y2 - box.y1, box.x2 - box.x1
        assert max(tall, wide) >= 8, seed


def test_boxes_are_tight() -> None:
    for seed in range(40):
        for name in ("scratch", "burr", "missing_hole"):
            bad = draw_scene(rng(9, seed), (320, 256), [name])
            change = np.abs(bad.light - draw_scene(rng(9, seed), (320, 256)).light).mean(axis=2)
            rows, columns = np.nonzero(change > 0.3 * change.max())
            box = bad.boxes[0]
            assert abs(columns.min() - box.x1) < 8, (name, seed)
            assert abs(columns.max() + 1 - box.x2) < 8, (name, seed)
            assert abs(rows.min() - box.y1) < 8, (name, seed)
            assert abs(rows.max() + 1 - box.y2) < 8, (name, seed)


def test_all_holes_can_be_missing() -> None:
    part = render_part(rng(2), defects=["missing_hole"] * len(HOLES))
    assert len({box[1:] for box in part.boxes}) == len(HOLES)
    render_part(rng(2), defects=["missing_hole"] * len(HOLES) + ["burr"])
    with pytest.raises(ValueError, match="8 missing holes"):
        render_part(rng(2), defects=["missing_hole"] * 8)


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown defect class"):
        render_part(rng(1), defects=["rust"])
    for size in ((63, 100), (100, 8193), (0, 0), (-5, 200)):
        with pytest.raises(ValueError, match="out of bounds"):
            render_part(rng(1), size)


def test_rate_of_defects() -> None:
    chosen = [choose_defects(rng(3, i), 0.3) for i in range(2000)]
    share = sum(bool(defects) for defects in chosen) / 2000
    assert 0.26 < share < 0.34
    assert {name for defects in chosen for name in defects} == set(CLASSES)
    assert max(len(defects) for defects in chosen) == 3
    assert choose_defects(rng(1), 0.0) == ()
    assert choose_defects(rng(1), 1.0) != ()


def test_exposures_differ_by_sensor_noise_only() -> None:
    scene = draw_scene(rng(4), (320, 256))
    first, second = (expose(rng(i), scene.light).astype(float) for i in (1, 2))
    difference = (first - second).std() / np.sqrt(2)
    assert 1.0 < difference < 4.0
    assert np.array_equal(expose(rng(1), scene.light), first.astype(np.uint8))


def test_a_large_sensor_has_noise_everywhere() -> None:
    scene = draw_scene(rng(4), (1300, 1000))
    noise = expose(rng(1), scene.light).astype(float) - scene.light
    assert noise[-50:, -50:].std() > 1
    assert abs(noise.mean()) < 0.2
