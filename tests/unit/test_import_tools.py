"""What label tools write: VOC, LabelMe, CVAT, Label Studio and class masks, by their published formats."""

import base64
import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from inspection.errors import DatasetError
from inspection_datasets.importing import ImportPlan, import_dataset
from inspection_datasets.manifest import DatasetVersion
from inspection_datasets.shapes import mask_of

ALL = ImportPlan(val=0)


def picture(path: Path, size: tuple[int, int] = (40, 30), seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())


def text(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def load(source: Path, tmp_path: Path, layout: str) -> DatasetVersion:
    version, incoming = import_dataset(source, tmp_path / "set", ALL)
    assert incoming.layout == layout
    assert incoming.notes[0].startswith(f"recognised as {layout} by ")
    return version


VOC = """<annotation verified="yes"><folder>x</folder><filename>{name}</filename>
<path>C:\\somewhere\\{name}</path><size><width>40</width><height>30</height><depth>3</depth></size>
{objects}</annotation>"""
OBJECT = """<object><name>{}</name><difficult>0</difficult><bndbox><xmin>{}</xmin><ymin>{}</ymin>
<xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"""


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    root = tmp_path / "voc"
    for index, name in enumerate("abcd"):
        picture(root / "JPEGImages" / f"{name}.png", seed=index)
    boxes = OBJECT.format("찍힘", 1, 1, 10, 20) + OBJECT.format("burr", 21, 5, 40, 30)
    text(root / "Annotations" / "a.xml", VOC.format(name="a.png", objects=boxes))
    text(root / "Annotations" / "b.xml", VOC.format(name="b.png", objects=""))
    text(root / "Annotations" / "d.xml", VOC.format(name="d.png", objects=""))
    text(root / "ImageSets" / "Main" / "trainval.txt", "a\nb\nc\n")
    text(root / "ImageSets" / "Main" / "train.txt", "a\nc\n")
    text(root / "ImageSets" / "Main" / "val.txt", "b\n")
    text(root / "ImageSets" / "Main" / "test.txt", "d\n")
    return root


def test_voc_counts_from_one(voc: Path, tmp_path: Path) -> None:
    version = load(voc, tmp_path, "voc")
    a, b, d, c = version.samples
    assert a.boxes == [("찍힘", 0, 0, 10, 20), ("burr", 20, 4, 40, 30)]
    assert [s.state for s in (a, b, c, d)] == ["labelled", "good", "unlabelled", "good"]
    assert [s.split for s in (a, b, c, d)] == ["train", "val", "train", "test"]


def test_voc_of_a_tool_that_counts_from_zero(voc: Path, tmp_path: Path) -> None:
    boxes = OBJECT.format("burr", 0, 5, 9, 30) + OBJECT.format("burr", 3, 5, 9, 30)
    text(voc / "Annotations" / "d.xml", VOC.format(name="d.png", objects=boxes))
    version, incoming = import_dataset(voc, tmp_path / "set", ALL)
    assert version.samples[2].boxes[1] == ("burr", 3, 5, 9, 30)
    assert any("counted from 0" in note for note in incoming.notes)


def test_xml_in_korean_encodings_is_read(voc: Path, tmp_path: Path) -> None:
    content = VOC.format(name="d.png", objects=OBJECT.format("긁힘", 1, 1, 9, 9))
    for number, encoding in enumerate(("euc-kr", "cp949", "utf-16", "utf-8-sig")):
        name = encoding.removesuffix("-sig")
        data = f'<?xml version="1.0" encoding="{name}"?>\n{content}'.encode(encoding)
        text(voc / "Annotations" / "d.xml", data)
        version, _ = import_dataset(voc, tmp_path / f"set{number}", ALL)
        assert version.samples[2].boxes[0][0] == "긁힘"


BOMB = """<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">
<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]><annotation><filename>&b;</filename></annotation>"""


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (BOMB, "declares a document type"),
        (BOMB.replace("1.0", '1.0" encoding="UTF-16').encode("utf-16"), "declares a document"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation></annotation>', "document type"),
        ("<annotation><filename>찍힘".encode("cp949"), "is not XML"),
        ('<?xml version="1.0" encoding="none-such"?><annotation/>', "encoding"),
        ('<?xml version="1.0" encoding="euc-kr"?><annotation>\xff'.encode("latin-1"), "encoding"),
        ("", "is not XML"),
        ("<annotation>", "is not XML"),
        (VOC.format(name="d.png", objects="").replace("40", "80"), "stated as 80x30 but is 40x30"),
        (VOC.format(name="d.png", objects="").replace("40", "wide"), "no number width"),
        (VOC.format(name="e.jpg", objects=""), "which is not in JPEGImages"),
        (VOC.format(name="../../x.png", objects=""), "stay inside"),
        (VOC.format(name="d.png", objects=OBJECT.format("", 1, 1, 2, 2)), "object 1 has no name"),
        (VOC.format(name="d.png", objects=OBJECT.format("a", 1, 1, "", 2)), "no number xmax"),
        (VOC.format(name="d.png", objects=OBJECT.format("a", 9, 9, 2, 2)), "is empty"),
        (VOC.format(name="d.png", objects=OBJECT.format("a", 9, 9, 70, 12)), "leaves the 40x30"),
    ],
)
def test_broken_voc_is_named(voc: Path, tmp_path: Path, content: str | bytes, words: str) -> None:
    if "../.." in str(content) or "e.jpg" in str(content):
        (voc / "JPEGImages" / "d.png").unlink()
    text(voc / "Annotations" / "d.xml", content)
    with pytest.raises(DatasetError, match=words) as caught:
        import_dataset(voc, tmp_path / "set")
    assert "d.xml" in str(caught.value)
    assert not (tmp_path / "set").exists()


def test_two_pictures_with_one_label_file_are_refused(voc: Path, tmp_path: Path) -> None:
    picture(voc / "JPEGImages" / "a.jpg", seed=9)
    with pytest.raises(DatasetError, match="share one label file"):
        import_dataset(voc, tmp_path / "set")


def labelme(*shapes: dict[str, object], **changes: object) -> dict[str, object]:
    return {
        "version": "5.5.0",
        "flags": {},
        "shapes": [{"group_id": None, "flags": {}, **shape} for shape in shapes],
        "imagePath": "..\\images\\a.png",
        "imageData": None,
        "imageHeight": 30,
        "imageWidth": 40,
        **changes,
    }


def form(
    kind: str, points: list[list[float]], label: str = "dent", **more: object
) -> dict[str, object]:
    return {"label": label, "points": points, "shape_type": kind, **more}


@pytest.fixture
def labelme_folder(tmp_path: Path) -> Path:
    root = tmp_path / "labelme"
    for index, name in enumerate("abc"):
        picture(root / "images" / f"{name}.png", seed=index)
    good = labelme(imagePath="../images/b.png")
    text(root / "labels" / "b.json", json.dumps(good))
    return root


def test_labelme_forms_are_read(labelme_folder: Path, tmp_path: Path) -> None:
    mask = np.array([[1, 1, 0], [1, 0, 0]], np.uint8) * 255
    encoded = base64.b64encode(cv2.imencode(".png", mask)[1].tobytes()).decode()
    document = labelme(
        form("rectangle", [[10, 12], [2, 3]]),
        form("polygon", [[1, 1], [9, 1], [5, 8]], "긁힘"),
        form("circle", [[20, 15], [23, 19]]),
        form("circle", [[1, 15], [6, 15]]),
        form("mask", [[30, 20], [32, 21]], mask=encoded),
        form("polygon", [[1, 20], [3, 20], [2, 22]], group_id=4),
        form("polygon", [[5, 20], [7, 20], [6, 22]], group_id=4),
    )
    text(labelme_folder / "labels" / "a.json", json.dumps(document))
    version = load(labelme_folder, tmp_path, "labelme")
    assert version.classes == ("dent", "긁힘")
    assert [s.state for s in version.samples] == ["labelled", "good", "unlabelled"]
    sample = version.samples[0]
    assert sample.boxes == [
        ("dent", 2, 3, 10, 12),
        ("긁힘", 1, 1, 9, 8),
        ("dent", 15, 10, 25, 20),
        ("dent", 0, 10, 6, 20),
        ("dent", 30, 20, 32, 22),
        ("dent", 1, 20, 7, 22),
    ]
    assert sample.shapes[0] is None
    assert sample.shapes[1] == [[1, 1, 9, 1, 5, 8]]
    drawn = mask_of(sample.shapes[4] or [], (40, 30))
    assert (drawn[20:22, 30:33] == (mask > 0)).all()
    assert drawn.sum() == 3
    assert sample.shapes[5] == [[1, 20, 3, 20, 2, 22], [5, 20, 7, 20, 6, 22]]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (labelme(form("line", [[1, 1], [2, 2]])), "is a line of 2 points"),
        (labelme(form("point", [[1, 1]])), "is a point of 1 points"),
        (labelme(form("polygon", [[1, 1], [2, 2]])), "is a polygon of 2 points"),
        (labelme(form("polygon", [[1, 1], [2, 2], [3]])), "has no points"),
        (labelme(form("mask", [[1, 1], [2, 2]], mask="!")), "mask that is"),
        (labelme(form("rectangle", [[1, 1], [90, 2]])), "leaves the 40x30 image"),
        (labelme(form("rectangle", [[1, 1], [9, 9]], "")), "shape 1 has no label"),
        (labelme(imageWidth=400, imageHeight=300), "stated as 400x300"),
        (labelme(imageWidth=30, imageHeight=40), "EXIF"),
        (labelme(imagePath="../../a.png"), "stay inside"),
        (labelme(imagePath="/etc/passwd"), "stay inside"),
        (labelme(imagePath="C:\\a.png"), "stay inside|not there"),
        (labelme(imagePath="../images/none.png"), "which is not there"),
        (labelme(imagePath="../images/b.png"), "label one image"),
        (labelme(shapes=7), "is no LabelMe json"),
    ],
)
def test_broken_labelme_is_named(
    labelme_folder: Path, tmp_path: Path, document: dict[str, object], words: str
) -> None:
    text(labelme_folder / "labels" / "a.json", json.dumps(document))
    with pytest.raises(DatasetError, match=words) as caught:
        import_dataset(labelme_folder, tmp_path / "set")
    assert "a.json" in str(caught.value)


CVAT = """<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version><meta><job>
<labels><label><name>dent</name></label><label><name>burr</name></label></labels></job></meta>
<image id="0" name="a.png" width="40" height="30">{}</image>
<image id="1" name="b.png" subset="Validation" width="40" height="30"></image>
<image id="2" name="c.png" width="40" height="30"><tag label="burr" source="manual"></tag></image>
</annotations>"""
MANY = """<box label="burr" occluded="0" xtl="1.5" ytl="2" xbr="9" ybr="12" z_order="0"></box>
<box label="dent" xtl="10" ytl="10" xbr="20" ybr="14" rotation="90"></box>
<polygon label="dent" points="1,1;9,1;5,8"></polygon>
<ellipse label="dent" cx="20" cy="15" rx="4" ry="6"></ellipse>
<mask label="dent" rle="1, 2, 3" left="30" top="20" width="3" height="2"></mask>"""


@pytest.fixture
def cvat(tmp_path: Path) -> Path:
    root = tmp_path / "cvat"
    for index, name in enumerate(("a", "c", "Validation/b")):
        picture(root / "images" / f"{name}.png", seed=index)
    text(root / "annotations.xml", CVAT.format(MANY))
    return root


def test_cvat_for_images_is_read(cvat: Path, tmp_path: Path) -> None:
    version = load(cvat, tmp_path, "cvat")
    a, b, c = version.samples
    assert version.classes == ("dent", "burr")
    assert [box[0] for box in a.boxes] == ["burr", "dent", "dent", "dent", "dent"]
    assert a.boxes[0][1:] == (1.5, 2, 9, 12)
    assert a.boxes[1][1:] == pytest.approx((13, 7, 17, 17))
    assert a.boxes[3][1:] == pytest.approx((16, 9, 24, 21))
    assert a.boxes[4][1:] == (31, 20, 33, 21)
    assert (b.state, b.split) == ("good", "val")
    assert (c.state, c.label) == ("unlabelled", "burr")


@pytest.mark.parametrize(
    ("inner", "words"),
    [
        ('<polyline label="dent" points="1,1;2,2"></polyline>', "polyline dent cannot be read"),
        ('<box label="dent" xtl="1" ytl="1" xbr="400" ybr="9"></box>', "leaves the 40x30"),
        ('<box label="dent" xtl="1" ytl="1" ybr="9"></box>', "no number xbr"),
        ('<box xtl="1" ytl="1" xbr="4" ybr="9"></box>', "has no label"),
        ('<polygon label="dent" points="1;2"></polygon>', "has no points"),
        ('<mask label="a" rle="1" left="39" top="0" width="3" height="2"></mask>', "leaves the"),
        ('<mask label="a" rle="1, 9" left="0" top="0" width="3" height="2"></mask>', "do not fill"),
        ('<mask label="a" rle="6" left="0" top="0" width="3" height="2"></mask>', "is empty"),
        ('<tag label="dent"></tag><tag label="burr"></tag>', "one class of the whole image"),
    ],
)
def test_broken_cvat_is_named(cvat: Path, tmp_path: Path, inner: str, words: str) -> None:
    text(cvat / "annotations.xml", CVAT.format(inner))
    with pytest.raises(DatasetError, match=words) as caught:
        import_dataset(cvat, tmp_path / "set")
    assert "a.png" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('name="a.png"', 'name="../a.png"', "stay inside"),
        ('name="a.png"', 'name="none.png"', "is not in images/"),
        ('name="b.png"', 'name="a.png"', "lists images/a.png twice"),
        ('width="40"', 'width="41"', "stated as 41x30"),
    ],
)
def test_broken_cvat_images_are_named(
    cvat: Path, tmp_path: Path, old: str, new: str, words: str
) -> None:
    text(cvat / "annotations.xml", CVAT.format("").replace(old, new))
    with pytest.raises(DatasetError, match=words):
        import_dataset(cvat, tmp_path / "set")


def zipped(folder: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder).as_posix())
    return target


def test_zips_of_cvat_are_read(cvat: Path, tmp_path: Path) -> None:
    version = load(zipped(cvat, tmp_path / "task.zip"), tmp_path, "cvat")
    assert len(version.samples) == 3

    old = tmp_path / "yolo11"  # CVAT's "YOLO 1.1"
    picture(old / "obj_train_data" / "a.png")
    text(old / "obj_train_data" / "a.txt", "1 0.5 0.5 0.5 0.5\n")
    text(old / "obj.names", "dent\nburr\n")
    text(
        old / "obj.data",
        "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n",
    )
    text(old / "train.txt", "data/obj_train_data/a.png\n")
    version, _ = import_dataset(zipped(old, tmp_path / "old.zip"), tmp_path / "old set", ALL)
    assert version.samples[0].boxes == [("burr", 10, 7.5, 30, 22.5)]

    new = tmp_path / "ultralytics"  # CVAT's "Ultralytics YOLO Segmentation 1.0"
    picture(new / "images" / "train" / "a.png")
    text(new / "labels" / "train" / "a.txt", "0 0.1 0.1 0.5 0.1 0.3 0.9\n")
    text(new / "data.yaml", "names:\n  0: dent\npath: .\ntrain: train.txt\n")
    text(new / "train.txt", "data/images/train/a.png\n")
    version, _ = import_dataset(zipped(new, tmp_path / "new.zip"), tmp_path / "new set", ALL)
    assert version.samples[0].shapes == [[[4, 3, 20, 3, 12, 27]]]

    coco = tmp_path / "coco"  # CVAT's "COCO 1.0": masks are crowds
    picture(coco / "images" / "default" / "a.png")
    counts = {"counts": [31, 2, 28, 2, 1137], "size": [30, 40]}
    mask = {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 1, "segmentation": counts}
    document = {
        "images": [{"id": 1, "file_name": "a.png", "width": 40, "height": 30}],
        "annotations": [{**mask, "bbox": [1, 1, 2, 2], "area": 4}],
        "categories": [{"id": 1, "name": "dent", "supercategory": ""}],
    }
    text(coco / "annotations" / "instances_default.json", json.dumps(document))
    version, incoming = import_dataset(zipped(coco, tmp_path / "c.zip"), tmp_path / "c set", ALL)
    assert version.samples[0].boxes == [("dent", 1, 1, 3, 3)]
    assert any("1 crowd annotations are kept" in note for note in incoming.notes)
    assert not [p for p in tmp_path.iterdir() if "unpacked" in p.name]


def task(
    number: int, image: str, *result: dict[str, object], done: bool = True
) -> dict[str, object]:
    annotations = [{"id": 1, "was_cancelled": False, "result": list(result)}] if done else []
    return {"id": number, "data": {"image": image}, "annotations": annotations, "predictions": []}


def result(kind: str, label: str = "dent", **value: object) -> dict[str, object]:
    return {
        "type": kind,
        "from_name": "label",
        "to_name": "image",
        "original_width": 40,
        "original_height": 30,
        "image_rotation": 0,
        "value": {**value, kind: [label]},
    }


@pytest.fixture
def studio(tmp_path: Path) -> Path:
    root = tmp_path / "studio"
    for index, name in enumerate(("0a1b2c3d-부품.png", "b.png", "c.png", "d.png")):
        picture(root / "images" / name, seed=index)
    return root


def test_label_studio_is_read(studio: Path, tmp_path: Path) -> None:
    box = result("rectanglelabels", x=10, y=10, width=50, height=20, rotation=0)
    turned = result("rectanglelabels", x=50, y=50, width=10, height=20, rotation=90)
    polygon = result("polygonlabels", "burr", points=[[10, 10], [50, 10], [20, 50]])
    ellipse = result("ellipselabels", x=50, y=50, radiusX=10, radiusY=20, rotation=0)
    tasks = [
        task(1, "/data/upload/1/0a1b2c3d-%EB%B6%80%ED%92%88.png", box, turned, polygon, ellipse),
        task(2, "/data/local-files/?d=images/b.png"),
        task(3, "s3://bucket/c.png", done=False),
        task(4, "d.png", {"type": "choices", "value": {"choices": ["burr"]}}),
    ]
    text(studio / "export.json", json.dumps(tasks))
    version = load(studio, tmp_path, "label-studio")
    assert version.classes == ("dent", "burr")
    states = [(s.state, s.label) for s in version.samples]
    assert states == [
        ("labelled", None),
        ("good", None),
        ("unlabelled", None),
        ("unlabelled", "burr"),
    ]
    boxes = version.samples[0].boxes
    assert boxes[0] == ("dent", 4, 3, 24, 9)
    assert boxes[1][1:] == pytest.approx((14, 15, 20, 19))
    assert boxes[2] == ("burr", 4, 3, 20, 15)
    assert boxes[3][1:] == pytest.approx((16, 9, 24, 21))


@pytest.mark.parametrize(
    ("tasks", "words"),
    [
        ([task(1, "b.png", result("brushlabels", format="rle", rle=[1]))], "Export brush masks"),
        ([task(1, "b.png", result("rectanglelabels", x=10, y=10))], "no proper place"),
        ([task(1, "b.png", result("rectanglelabels", x=9, y=9, width=99, height=9))], "leaves the"),
        ([task(1, "b.png", {**result("polygonlabels"), "original_width": 4})], "stated as 4x30"),
        ([task(1, "b.png", {**result("polygonlabels"), "image_rotation": 90})], "was turned"),
        ([task(1, "b.png", {"type": "choices", "value": {}})], "give it exactly one"),
        ([task(1, "../../b.txt")], "names no image"),
        ([task(1, "/data/../../secret.png")], "stay inside"),
        ([task(1, "none.png")], "is not beside"),
        ([task(1, "b.png"), task(2, "b.png")], "have one image"),
        ([{"id": 1, "annotations": [], "data": []}], "has no data"),
    ],
)
def test_broken_label_studio_is_named(
    studio: Path, tmp_path: Path, tasks: list[object], words: str
) -> None:
    text(studio / "export.json", json.dumps(tasks))
    with pytest.raises(DatasetError, match=words):
        import_dataset(studio, tmp_path / "set")


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    root = tmp_path / "masks"
    for index, name in enumerate("abc"):
        picture(root / "images" / f"{name}.jpg", seed=index)
    values = np.zeros((30, 40), np.uint8)
    values[2:8, 3:9] = 1
    values[4, 5] = 0
    values[20:22, 20:30] = 1
    values[10:12, 30:35] = 7
    write_mask(root / "masks" / "a.png", values)
    write_mask(root / "masks" / "b.png", np.zeros((30, 40), np.uint8))
    text(root / "classes.json", '{"0": "background", "1": "dent", "7": "burr"}')
    return root


def write_mask(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", values)[1].tobytes())


def test_class_masks_are_read_with_their_holes(masks: Path, tmp_path: Path) -> None:
    version = load(masks, tmp_path, "masks")
    a, b, c = version.samples
    assert [s.state for s in (a, b, c)] == ["labelled", "good", "unlabelled"]
    assert sorted(a.boxes) == [
        ("burr", 30, 10, 35, 12),
        ("dent", 3, 2, 9, 8),
        ("dent", 20, 20, 30, 22),
    ]
    shape = a.shapes[a.boxes.index(("dent", 3, 2, 9, 8))]
    assert shape is not None
    assert mask_of(shape, (40, 30)).sum() == 35


def test_coloured_masks_and_palettes_are_read(masks: Path, tmp_path: Path) -> None:
    colours = np.zeros((30, 40, 3), np.uint8)
    colours[2:8, 3:9] = (0, 0, 250)  # blue, green, red
    write_mask(masks / "masks" / "a.png", colours)
    (masks / "classes.json").unlink()
    text(
        masks / "labelmap.txt",
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ndent:250,0,0::\n",
    )
    version = load(masks, tmp_path, "masks")
    assert version.samples[0].boxes == [("dent", 3, 2, 9, 8)]

    image = pytest.importorskip("PIL.Image")
    values = np.zeros((30, 40), np.uint8)
    values[5:9, 5:9] = 7
    paletted = image.fromarray(values).convert("P")
    paletted.putpalette([0, 0, 0, *(v for i in range(1, 256) for v in (i, 255 - i, 3))])
    paletted.save(masks / "masks" / "a.png")
    text(masks / "classes.json", '{"7": "burr"}')
    version, _ = import_dataset(masks, tmp_path / "set2", ALL)
    assert version.samples[0].boxes == [("burr", 5, 5, 9, 9)]


def test_broken_masks_are_named(masks: Path, tmp_path: Path) -> None:
    values = np.zeros((30, 40), np.uint8)
    values[3, 3] = 9
    write_mask(masks / "masks" / "b.png", values)
    with pytest.raises(DatasetError, match=r"b\.png has pixels of 9, which names no class"):
        import_dataset(masks, tmp_path / "set")
    write_mask(masks / "masks" / "b.png", values[:20])
    with pytest.raises(DatasetError, match=r"b\.png is stated as 40x20 but is 40x30"):
        import_dataset(masks, tmp_path / "set")
    text(masks / "masks" / "b.png", "no picture")
    with pytest.raises(DatasetError, match=r"b\.png is not a picture"):
        import_dataset(masks, tmp_path / "set")
    for content in ("[1]", "{", '{"1": "a", "#ff0000": "b"}', '{"0": "a"}', '{"x": "a"}'):
        text(masks / "classes.json", content)
        with pytest.raises(DatasetError, match=r"classes\.json"):
            import_dataset(masks, tmp_path / "set")
