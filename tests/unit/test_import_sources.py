"""Class folders, lists, archives, and pictures that are not plain 8-bit RGB."""

import io
import tarfile
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from inspection.cameras.picture import decode_picture
from inspection.errors import DatasetError
from inspection_datasets.archives import Limits, unpacked
from inspection_datasets.cli import app as dataset_app
from inspection_datasets.importing import _READERS, ImportPlan, import_dataset, recognise
from inspection_datasets.incoming import read_image
from inspection_datasets.layouts import EXPORTS, LAYOUTS, ExportName, LayoutName

ALL = ImportPlan(val=0)


def picture(path: Path, size: tuple[int, int] = (40, 30), seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())


def test_every_layout_has_a_reader_and_a_name() -> None:
    assert list(LAYOUTS) == list(_READERS) == [name.value for name in LayoutName if name != "auto"]
    assert list(EXPORTS) == [name.value for name in ExportName]
    assert dataset_app.registered_commands


@pytest.mark.parametrize("good", ["good", "OK", "Normal", "정상", "양품"])
def test_class_folders_know_good_parts(tmp_path: Path, good: str) -> None:
    for index in range(4):
        picture(tmp_path / "src" / good / f"{index}.png", seed=index)
        picture(tmp_path / "src" / "긁힘" / f"{index}.png", seed=10 + index)
    version, incoming = import_dataset(tmp_path / "src", tmp_path / "set", ImportPlan(val=0.25))
    assert incoming.layout == "folders"
    assert any(f"folder {good} is taken as good parts" in note for note in incoming.notes)
    assert version.classes == ("긁힘",)
    assert version.counts() == {
        "train": {"good": 3, "unlabelled": 3},
        "val": {"good": 1, "unlabelled": 1},
    }
    assert {s.label for s in version.samples if s.state == "unlabelled"} == {"긁힘"}
    assert {s.state for s in version.select("train")} == {"good"}


def test_class_folders_below_splits_take_places_from_ground_truth(tmp_path: Path) -> None:
    root = tmp_path / "bottle"
    picture(root / "train" / "good" / "000.png", seed=1)
    picture(root / "test" / "good" / "000.png", seed=2)
    picture(root / "test" / "crack" / "000.png", seed=3)
    picture(root / "test" / "dirt" / "000.png", seed=4)
    mask = np.zeros((30, 40), np.uint8)
    mask[3:9, 4:20] = 255
    truth = root / "ground_truth" / "crack" / "000_mask.png"
    truth.parent.mkdir(parents=True)
    truth.write_bytes(cv2.imencode(".png", mask)[1].tobytes())
    version, _ = import_dataset(root, tmp_path / "set", ALL)
    found = {s.origin: (s.split, s.state, s.label, s.boxes) for s in version.samples}
    assert found == {
        "folders:train/good": ("train", "good", None, []),
        "folders:test/good": ("test", "good", None, []),
        "folders:test/crack": ("test", "labelled", None, [("crack", 4, 3, 20, 9)]),
        "folders:test/dirt": ("test", "unlabelled", "dirt", []),
    }
    truth.write_bytes(cv2.imencode(".png", mask * 0)[1].tobytes())
    with pytest.raises(DatasetError, match="is empty, the folder says crack"):
        import_dataset(root, tmp_path / "set2", ALL)


def test_folders_around_the_class_folders_are_passed_over(tmp_path: Path) -> None:
    root = tmp_path / "src"
    for index, name in enumerate(("good/lot 1", "good/lot 2", "red iron/lot 1")):
        picture(root / "set" / "datas" / name / "a.jpg", seed=index)
    version, _ = import_dataset(root, tmp_path / "set", ALL)
    assert [(s.state, s.label) for s in version.samples] == [
        ("good", None),
        ("good", None),
        ("unlabelled", "red iron"),
    ]


def listed(root: Path, content: str, name: str = "labels.csv") -> Path:
    for index, stem in enumerate(("a", "b", "c", "부품 1")):
        picture(root / "images" / f"{stem}.png", seed=index)
    (root / name).write_text(content, encoding="utf-8")
    return root


def test_a_list_of_probabilities_is_read(tmp_path: Path) -> None:
    content = "images/a.png  1.0  mono\nimages/b.png  0.0  mono\nimages/c.png 0.3333 poly\n"
    root = listed(tmp_path / "src", content, "labels.txt")
    version, incoming = import_dataset(root, tmp_path / "set", ALL)
    assert incoming.layout == "list"
    assert version.classes == ("defect",)
    found = [(s.state, s.label) for s in version.samples]
    assert found == [("unlabelled", "defect"), ("good", None), ("unlabelled", None)]
    assert any("1 images with a probability between 0 and 1" in note for note in incoming.notes)


def test_a_csv_with_columns_is_read(tmp_path: Path) -> None:
    content = "serial,Filename,Class,Split\nL1,images/부품 1.png,긁힘,valid\nL2,./images/a.png,정상,train\n"
    version, _ = import_dataset(listed(tmp_path / "src", content), tmp_path / "set", ALL)
    found = [(s.group, s.split, s.state, s.label) for s in version.samples]
    assert found == [("L1", "val", "unlabelled", "긁힘"), ("L2", "train", "good", None)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("images/a.png,dent\nimages/a.png,good\n", "labels.csv:2: images/a.png is listed already"),
        ("images/a.png,dent\n../a.png,good\n", "stay inside"),
        ("images/a.png,dent\n/etc/a.png,good\n", "stay inside"),
        ("images/a.png,dent\nimages/none.png,good\n", "cannot be read"),
        ("images/a.png,dent\nimages/b.png\n", "labels.csv:2: expected image and label"),
        ("images/a.png,3\n", "no probability from 0 to 1"),
        ("images/a.png,nan\n", "no probability from 0 to 1"),
        ("image,label,split\nimages/a.png,dent,holdout\n", "split 'holdout' is none of"),
    ],
)
def test_broken_lists_are_named(tmp_path: Path, content: str, words: str) -> None:
    root = listed(tmp_path / "src", content)
    with pytest.raises(DatasetError, match=words):
        import_dataset(root, tmp_path / "set", ALL)


def test_a_list_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    root = listed(tmp_path / "src", "")
    (root / "labels.csv").write_bytes("images/a.png,긁힘\n".encode("cp949"))
    with pytest.raises(DatasetError, match="save it as UTF-8"):
        import_dataset(root, tmp_path / "set", ALL)


def test_two_names_for_one_picture_do_not_become_one_sample(tmp_path: Path) -> None:
    root = tmp_path / "src"
    picture(root / "good" / "a.png", seed=1)
    picture(root / "images" / "good" / "a.png", seed=1)
    (root / "list.csv").write_text("good/a.png,good\nimages/good/a.png,good\n", encoding="utf-8")
    with pytest.raises(DatasetError, match="listed twice"):
        import_dataset(root, tmp_path / "set", ALL)
    assert not list((tmp_path / "set").glob("v*.jsonl"))


def exif_turned(path: Path) -> np.ndarray:
    """Write a JPEG that lies on its side, and a note to turn it; return it upright, RGB."""
    image = pytest.importorskip("PIL.Image")
    pixels = np.zeros((30, 40, 3), np.uint8)
    pixels[:10, :10] = (255, 0, 0)
    opened = image.fromarray(pixels)
    note = opened.getexif()
    note[0x112] = 6
    path.parent.mkdir(parents=True, exist_ok=True)
    opened.save(path, quality=95, exif=note.tobytes())
    return np.rot90(pixels, -1)


def test_training_and_line_see_the_same_pixels(tmp_path: Path) -> None:
    upright = exif_turned(tmp_path / "turned.jpg")
    deep = np.linspace(0, 65535, 1200).astype(np.uint16).reshape(30, 40)
    (tmp_path / "deep.png").write_bytes(cv2.imencode(".png", deep)[1].tobytes())
    (tmp_path / "deep.tif").write_bytes(cv2.imencode(".tif", deep)[1].tobytes())
    picture(tmp_path / "부품.bmp")
    for name in ("turned.jpg", "deep.png", "deep.tif", "부품.bmp"):
        path = tmp_path / name
        assert (read_image(path) == decode_picture(path.read_bytes(), name)).all()
    turned = read_image(tmp_path / "turned.jpg")
    assert turned.shape == (40, 30, 3)
    assert np.abs(turned.astype(int) - upright).max() < 128
    assert (read_image(tmp_path / "deep.png")[..., 0] == deep >> 8).all()
    picture(tmp_path / "a.webp")
    assert read_image(tmp_path / "a.webp").shape == (30, 40, 3)


def test_labels_of_a_turned_picture_belong_to_it_upright(tmp_path: Path) -> None:
    root = tmp_path / "src"
    exif_turned(root / "images" / "a.jpg")
    (root / "labels").mkdir()
    (root / "labels" / "a.txt").write_text("0 0.5 0.5 1.0 1.0\n", encoding="utf-8")
    (root / "data.yaml").write_text("train: images\nnames: [dent]\n", encoding="utf-8")
    version, _ = import_dataset(root, tmp_path / "set", ALL)
    assert version.samples[0].boxes == [("dent", 0, 0, 30, 40)]


def test_cmyk_and_cut_off_pictures_are_refused_as_on_the_line(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    image.new("CMYK", (40, 30)).save(tmp_path / "print.jpg")
    with pytest.raises(DatasetError, match=r"print\.jpg is not an image .*CMYK.*save it again"):
        read_image(tmp_path / "print.jpg")
    picture(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(DatasetError, match=r"a\.jpg is not an image that can be read: it "):
        read_image(tmp_path / "a.jpg")


def good_zip(path: Path, *names: str, content: bytes = b"x") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    return path


def good_tar(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def unpack(path: Path, tmp_path: Path, limits: Limits | None = None) -> list[str]:
    with unpacked(path, tmp_path / "set", limits) as folder:
        return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))


def test_archives_come_in_and_leave_nothing_behind(tmp_path: Path) -> None:
    root = tmp_path / "src"
    for index in range(2):
        picture(root / "양품" / f"{index}.png", seed=index)
    with tarfile.open(tmp_path / "parts.tar.gz", "w:gz") as archive:
        archive.add(root, "export/parts")
    with zipfile.ZipFile(tmp_path / "parts.zip", "w") as packed:
        for path in root.rglob("*.png"):
            packed.write(path, path.relative_to(root).as_posix())
    for name in ("parts.tar.gz", "parts.zip"):
        version, incoming = import_dataset(tmp_path / name, tmp_path / f"set of {name}", ALL)
        assert (incoming.layout, len(version.samples)) == ("folders", 2)
    with pytest.raises(DatasetError, match="leave --in-place out"):
        import_dataset(tmp_path / "parts.zip", tmp_path / "s", ImportPlan(in_place=True))
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("name", ["../a.txt", "/a.txt", "x/../../a.txt", "C:\\a.txt", "..\\a.txt"])
def test_names_that_leave_an_archive_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError, match="stay inside"):
        unpack(good_zip(tmp_path / "a.zip", name), tmp_path)
    with pytest.raises(DatasetError, match="stay inside"):
        unpack(good_tar(tmp_path / "a.tgz", member(name)), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tgz", "a.zip"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_links_in_archives_are_refused(tmp_path: Path, kind: bytes) -> None:
    path = good_tar(tmp_path / "a.tar.gz", member("a", kind, "/etc/passwd"))
    with pytest.raises(DatasetError, match="holds a link, 'a'"):
        unpack(path, tmp_path)
    info = zipfile.ZipInfo("b")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(DatasetError, match="holds a link, 'b'"):
        unpack(tmp_path / "b.zip", tmp_path)
    with pytest.raises(DatasetError, match="no plain file"):
        unpack(good_tar(tmp_path / "c.tgz", member("c", tarfile.FIFOTYPE)), tmp_path)


def test_bombs_are_stopped(tmp_path: Path) -> None:
    many = good_zip(tmp_path / "many.zip", *(f"{i}.txt" for i in range(6)))
    with pytest.raises(DatasetError, match="over 5 files"):
        unpack(many, tmp_path, Limits(files=5))
    with pytest.raises(DatasetError, match="unpacks to more than"):
        unpack(many, tmp_path, Limits(total=5))
    large = good_zip(tmp_path / "large.zip", "zeros", content=bytes(40 << 20))
    with pytest.raises(DatasetError, match="unpacks to more than"):
        unpack(large, tmp_path)
    with pytest.raises(DatasetError, match="twice"), pytest.warns(UserWarning, match="Duplicate"):
        unpack(good_zip(tmp_path / "two.zip", "a", "a"), tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tar.xz"])
def test_damaged_archives_are_named(tmp_path: Path, name: str) -> None:
    for content in (b"", b"no archive at all" * 100):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DatasetError, match=name):
            import_dataset(tmp_path / name, tmp_path / "set")


def test_a_folder_of_pictures_alone_is_no_layout(tmp_path: Path) -> None:
    picture(tmp_path / "src" / "a.png")
    with pytest.raises(DatasetError, match="folders: a folder for each class"):
        recognise(tmp_path / "src")
    with pytest.raises(DatasetError, match="there is no layout 'kitti'"):
        import_dataset(tmp_path / "src", tmp_path / "set", ImportPlan(layout="kitti"))
    for layout in LAYOUTS:
        with pytest.raises(DatasetError):
            import_dataset(tmp_path / "src", tmp_path / "set", ImportPlan(layout=layout))
