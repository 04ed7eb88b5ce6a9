"""What the torchvision family shows its network: letterbox, tiles, crops, mosaics, and their boxes."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from inspection.errors import DatasetError
from inspection.letterbox import letterbox
from inspection_datasets.incoming import read_image
from inspection_datasets.manifest import DatasetVersion, Sample, sha256_of, write_version
from inspection_training.experiment import Experiment
from inspection_training.pieces import pieces_of
from inspection_training.torchvision_detectors import pictures
from inspection_training.torchvision_detectors.pictures import Shelf, TrainingPictures

RED = (255, 0, 0)


def experiment(**settings) -> Experiment:
    plain = {"family": "torchvision", "imgsz": 96, "augment": "none"}
    return Experiment.model_validate(plain | settings)


@pytest.fixture
def version(tmp_path: Path) -> DatasetVersion:
    """Four pictures of 160 x 120; three have a red rectangle that is labelled, one is good."""
    samples = []
    (tmp_path / "images").mkdir()
    for number in range(4):
        image = np.full((120, 160, 3), 60 + 20 * number, np.uint8)
        box = (20.0 + 30 * number, 30.0, 44.0 + 30 * number, 62.0)
        if number < 3:
            x1, y1, x2, y2 = map(int, box)
            image[y1:y2, x1:x2] = RED
        path = tmp_path / "images" / f"{number}.png"
        cv2.imwrite(str(path), image[..., ::-1])
        samples.append(
            Sample(
                image=f"images/{number}.png",
                sha256=sha256_of(path),
                width=160,
                height=120,
                split="train",
                group=str(number),
                boxes=[("hole", *box)] if number < 3 else [],
                state="labelled" if number < 3 else "good",
                origin="test",
            )
        )
    return write_version(tmp_path, "plate", ["dent", "hole"], samples)


def pictured(
    version: DatasetVersion, image: np.ndarray, *boxes: tuple[str, float, float, float, float]
) -> Sample:
    """Write another picture beside those of the version and return it with its labels."""
    path = version.folder / "images" / "another.png"
    cv2.imwrite(str(path), image[..., ::-1])
    return version.samples[0].model_copy(
        update={
            "image": "images/another.png",
            "width": image.shape[1],
            "height": image.shape[0],
            "boxes": list(boxes),
        }
    )


def red_box(image: np.ndarray) -> tuple[float, float, float, float]:
    """Extent of the red pixels, as the picture itself shows it."""
    red = (image[..., 0] > 180) & (image[..., 1] < 90) & (image[..., 2] < 90)
    ys, xs = np.nonzero(red)
    return xs.min(), ys.min(), xs.max() + 1, ys.max() + 1


def shelf_of(version: DatasetVersion, x: Experiment) -> Shelf:
    return Shelf(version, pieces_of(version.samples, x, learn=True), x.network_size)


def test_a_picture_is_what_the_line_shows_the_network(version):
    shelf = shelf_of(version, experiment(input_size=[64, 96]))
    for index, sample in enumerate(version.samples[:3]):
        picture = shelf.picture(index)
        expected, placed = letterbox(read_image(version.path(sample)), (64, 96))
        assert np.array_equal(picture.image, expected)
        label = np.array([sample.boxes[0][1:]], np.float32)
        assert np.allclose(picture.boxes, placed.to_network(label))
        assert picture.labels.tolist() == [1]
        assert np.abs(np.array(red_box(picture.image)) - picture.boxes[0]).max() <= 1.5
    assert shelf.picture(3).boxes.shape == (0, 4)


def outside_of(picture: pictures.Picture) -> np.ndarray:
    """Red pixels that no label covers."""
    red = (picture.image[..., 0] > 180) & (picture.image[..., 1] < 90)
    for x1, y1, x2, y2 in picture.boxes:
        red[int(y1) : int(np.ceil(y2)), int(x1) : int(np.ceil(x2))] = False
    return red


def test_what_is_left_of_a_dropped_label_is_painted_over():
    """It was learned as good: red with no label."""
    image = np.full((60, 100, 3), 90, np.uint8)
    image[10:30, 10:50] = image[40:50, 60:80] = RED
    boxes = np.array([[10, 10, 50, 30], [60, 40, 80, 50]], np.float32)
    picture = pictures.Picture(image, boxes, np.array([0, 1]))
    half = picture.cut(30, 0, 70, 60)  # half of the first
    assert half.labels.tolist() == [0, 1]
    cut = picture.cut(40, 0, 60, 60)  # a quarter of it
    assert cut.labels.tolist() == [1]
    assert not outside_of(cut).any()
    assert (cut.image[10:30, 0:10] == 114).all()
    assert (cut.image[40:50, 20:40] == RED).all()
    assert (cut.image[30:40] == 90).all(), "nothing else is changed"
    assert (picture.image[10:30, 10:50] == RED).all(), "the picture on the shelf stays"


def test_what_lies_in_a_label_that_stays_is_not_painted_over():
    image = np.full((60, 100, 3), 90, np.uint8)
    image[10:30, 10:60] = RED
    boxes = np.array([[10, 10, 60, 30], [45, 15, 55, 25]], np.float32)
    cut = pictures.Picture(image, boxes, np.array([0, 1])).cut(44, 0, 56, 60)
    assert cut.labels.tolist() == [1]
    assert (cut.image[15:25, 1:11] == RED).all()
    assert not outside_of(cut).any()


@pytest.mark.parametrize(
    "change",
    [
        {"augment": "metal", "crop": [64, 64]},
        {"augment": "binary", "mosaic": 1.0},
        {"augment": "none", "tile": [64, 64], "imgsz": 64},
    ],
)
def test_no_defect_is_shown_without_a_label(version, change):
    sample = pictured(version, np.full((120, 160, 3), 90, np.uint8))
    image, boxes = np.full((120, 160, 3), 90, np.uint8), []
    for x, y in ((1, 2), (50, 30), (66, 70), (100, 4), (120, 90)):
        image[y : y + 24, x : x + 30] = RED
        boxes.append(("hole", float(x), float(y), x + 30.0, y + 24.0))
    sample = pictured(version, image, *boxes)
    x = experiment(**change)
    shelf = Shelf(version, pieces_of([sample] * 2, x, learn=True), x.network_size)
    varied, labels = TrainingPictures(shelf, x), 0
    for epoch in range(40):
        for index in range(len(shelf)):
            found = varied[epoch, index, True]
            labels += len(found.boxes)
            # a turned edge is drawn over up to two pixels
            core = cv2.erode(outside_of(found).astype(np.uint8), np.ones((3, 3), np.uint8))
            assert not core.any(), (epoch, index)
    assert labels > 40


@pytest.mark.parametrize(
    "change",
    [
        {"augment": "metal"},
        {"augment": "binary"},
        {"augment": "binary", "input_size": [64, 96]},
        {"augment": "none", "flip": 0.5},
        {"augment": "none", "mosaic": 1.0},
        {"augment": "none", "crop": [64, 64]},
        {"augment": "metal", "tile": [80, 80]},
    ],
)
def test_boxes_move_with_what_they_mark(version, change):
    x = experiment(**change)
    shelf = shelf_of(version, x)
    varied = TrainingPictures(shelf, x)
    marked = 0
    for epoch in range(6):
        for index in range(len(shelf)):
            found = varied[epoch, index, True]
            assert found.image.shape == (*(x.crop or x.network_size), 3)
            assert found.image.dtype == np.uint8
            assert found.boxes.dtype == np.float32
            assert found.labels.dtype == np.int64
            assert len(found.boxes) == len(found.labels)
            height, width = found.image.shape[:2]
            assert (found.boxes >= 0).all()
            assert (found.boxes <= [width, height, width, height]).all()
            if len(found.boxes) == 1 and not x.mosaic:
                shown = np.array(red_box(found.image))
                assert np.abs(shown - found.boxes[0]).max() <= 3, (epoch, index)
            for x1, y1, x2, y2 in found.boxes.astype(int):
                inner = found.image[y1 + 2 : y2 - 2, x1 + 2 : x2 - 2].astype(int)
                if inner.size:
                    assert (inner[..., 0] - inner[..., 1]).mean() > 100, (epoch, index)
            marked += len(found.boxes)
    assert marked >= 12


def test_a_picture_depends_on_seed_and_epoch_only(version):
    x = experiment(augment="metal", mosaic=0.5, flip=0.5)
    first = TrainingPictures(shelf_of(version, x), x)
    second = TrainingPictures(shelf_of(version, x), x)
    keys = [(epoch, index, True) for epoch in (0, 1) for index in range(4)]
    forward = [first[key] for key in keys]
    backward = [second[key] for key in reversed(keys)][::-1]
    for a, b in zip(forward, backward, strict=True):
        assert np.array_equal(a.image, b.image)
        assert np.array_equal(a.boxes, b.boxes)
    assert any(
        not np.array_equal(a.image, b.image) for a, b in zip(forward[:4], forward[4:], strict=True)
    )
    other = experiment(augment="metal", mosaic=0.5, flip=0.5, seed=1)
    changed = TrainingPictures(shelf_of(version, other), other)
    assert any(
        not np.array_equal(changed[key].image, a.image)
        for key, a in zip(keys, forward, strict=True)
    )


def test_the_shelf_is_not_changed_by_what_is_made_of_it(version):
    x = experiment(augment="metal", mosaic=1.0, flip=0.5)
    shelf = shelf_of(version, x)
    before = [shelf.picture(i).image.copy() for i in range(4)]
    varied = TrainingPictures(shelf, x)
    for index in range(4):
        _ = varied[0, index, True]
    assert all(np.array_equal(shelf.picture(i).image, before[i]) for i in range(4))


def test_a_defect_longer_than_a_tile_is_learned_from(version):
    image = np.full((64, 320, 3), 90, np.uint8)
    image[20:32, 30:290] = RED
    sample = pictured(version, image, ("hole", 30.0, 20.0, 290.0, 32.0))
    x = experiment(imgsz=64, tile=[64, 64], tile_overlap=0, good_share=0.0)
    pieces = pieces_of([sample], x, learn=True)
    assert [piece.view.tile[0] for piece in pieces] == [0, 64, 128, 192, 256]
    shelf = Shelf(version, pieces, x.network_size)
    for index, piece in enumerate(pieces):
        picture = shelf.picture(index)
        assert picture.labels.tolist() == [1]
        assert picture.boxes.tolist() == [list(map(float, red_box(picture.image)))], piece.view.tile


def test_a_tile_with_a_sliver_of_a_defect_is_neither_defect_nor_good(version):
    image = np.full((64, 192, 3), 90, np.uint8)
    image[20:40, 60:84] = RED  # 4 of its 24 columns lie in the first tile
    sample = pictured(version, image, ("hole", 60.0, 20.0, 84.0, 40.0))
    x = experiment(imgsz=64, tile=[64, 64], tile_overlap=0, good_share=0.9)
    for learn in (True, False):
        pieces = pieces_of([sample], x, learn=learn)
        assert [piece.view.tile[0] for piece in pieces] == [64, 128]
        shelf = Shelf(version, pieces, x.network_size)
        assert shelf.picture(0).boxes.tolist() == [[0, 20, 20, 40]]
        assert shelf.picture(1).boxes.shape == (0, 4)
        assert not (shelf.picture(1).image[..., 0] > 180).any(), "a good tile shows nothing of it"


@pytest.mark.parametrize("share", [0.3, 0.0])
def test_a_file_is_read_once_where_memory_holds_it(version, monkeypatch, share):
    monkeypatch.setattr(pictures, "MEMORY_SHARE", share)
    read: list[Path] = []
    monkeypatch.setattr(pictures, "read_image", lambda path: read.append(path) or read_image(path))
    x = experiment(tile=[64, 64])
    shelf = Shelf(version, pieces_of(version.samples, x, learn=False), x.network_size)
    shown = [shelf.picture(i) for i in range(len(shelf))]
    assert len(read) == (len(version.samples) if share else len(shelf))
    again = Shelf(version, pieces_of(version.samples, x, learn=False), x.network_size)
    for index in reversed(range(len(again))):
        assert np.array_equal(again.picture(index).image, shown[index].image)
        assert np.array_equal(again.picture(index).boxes, shown[index].boxes)


def test_empty_tiles_are_at_most_their_share(version):
    x = experiment(tile=[64, 64], good_share=0.5)
    learned = pieces_of(version.samples, x, learn=True)
    watched = pieces_of(version.samples, x, learn=False)
    shelf = Shelf(version, learned, x.network_size)
    empty = sum(not len(shelf.picture(i).boxes) for i in range(len(shelf)))
    assert 0 < empty <= len(learned) / 2
    assert len(watched) > len(learned)
    none = experiment(tile=[64, 64], good_share=0.0)
    assert all(piece.names for piece in pieces_of(version.samples, none, learn=True))


def test_labels_in_network_pixels(version):
    shelf = shelf_of(version, experiment())
    sample = shelf.as_sample(0)
    assert (sample.width, sample.height) == (96, 96)
    assert sample.boxes[0][0] == "hole"
    assert np.allclose(sample.boxes[0][1:], shelf.picture(0).boxes[0])


def test_a_picture_that_is_not_what_its_labels_say_is_named(version):
    shelf = shelf_of(version, experiment())
    path = version.path(version.samples[0])
    cv2.imwrite(str(path), np.zeros((60, 80, 3), np.uint8))
    with pytest.raises(DatasetError, match="is 80 x 60 pixels, its labels are for 160 x 120"):
        shelf.picture(0)
    path.write_bytes(b"\x89PNG broken")
    with pytest.raises(DatasetError, match=r"0\.png is not an image"):
        shelf.picture(0)
