"""Publishing a dataset: what goes out, what never does, and everything that refuses it."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import resource
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from inspection.errors import DatasetError
from inspection_datasets.cli import app
from inspection_datasets.importing import ImportPlan, import_dataset
from inspection_datasets.incoming import read_image
from inspection_datasets.manifest import (
    CARD,
    DatasetVersion,
    Sample,
    load_version,
    sha256_of,
    write_version,
)
from inspection_datasets.publishing.log import LOG, open_log
from inspection_datasets.publishing.private import PAINT
from inspection_datasets.publishing.publish import (
    MAPPINGS,
    SUMS,
    Approval,
    Published,
    harmless,
    publish,
)

SHARING = {"licence": "CC-BY-4.0", "holder": "예제 주식회사", "about_ko": "강판", "data": "real"}
APPROVAL = Approval("Kim Approver", "joint research with a university")
SECRETS = ("SN4711", "LOT99", "Kim Approver", "joint research", "GPS-37.5665", "import:somewhere")
CLASSES = ["scratch", "찍힘", "=cmd|' /C calc'!A1", "face"]


def exif(note: str) -> bytes:
    """An EXIF block with a description, as a camera writes one."""
    text = note.encode() + b"\0"
    tiff = b"II*\0" + struct.pack("<IHHHII", 8, 1, 0x010E, 2, len(text), 26) + b"\0" * 4 + text
    body = b"Exif\0\0" + tiff
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


def picture(folder: Path, name: str, seed: int) -> tuple[str, str]:
    """Write a picture 80 wide and 60 high; a JPEG carries a place in its EXIF. Return path and hash."""
    image = np.random.default_rng(seed).integers(0, 255, (60, 80, 3), np.uint8)
    path = folder / "images" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    data = cv2.imencode(path.suffix, image)[1].tobytes()
    if path.suffix == ".jpg":
        data = data[:2] + exif("GPS-37.5665") + data[2:]
    path.write_bytes(data)
    return f"images/{name}", sha256_of(path)


def sample(folder: Path, name: str, seed: int, **changes: object) -> Sample:
    image, digest = picture(folder, name, seed)
    values: dict[str, object] = {
        "image": image,
        "sha256": digest,
        "width": 80,
        "height": 60,
        "split": "train",
        "group": f"SN4711-{seed}",
        "state": "good",
        "origin": "import:somewhere",
    }
    return Sample.model_validate(values | changes)


def share(folder: Path, **changes: object) -> None:
    """Write `sharing` into the card; a field of None is left out."""
    card = yaml.safe_load((folder / CARD).read_text(encoding="utf-8"))
    fields = {k: v for k, v in {**SHARING, **changes}.items() if v is not None}
    (folder / CARD).write_text(
        yaml.safe_dump({**card, "sharing": fields}, allow_unicode=True), encoding="utf-8"
    )


OUTLINE = [[50.0, 40.0, 60.0, 40.0, 55.0, 50.0]]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "press-line"
    samples = [
        sample(folder, "SN4711_LOT99.jpg", 1, boxes=[("scratch", 2, 2, 12, 12)], state="labelled"),
        sample(
            folder, "cam1/SN4711 b.png", 2, state="labelled",
            boxes=[("찍힘", 30, 10, 45, 25), (CLASSES[2], 50, 40, 60, 50), ("face", 60, 0, 80, 20)],
            shapes=[None, OUTLINE, None],
        ),
        sample(folder, "SN4711 good.bmp", 3, split="val"),
        sample(folder, "SN4711 open.png", 4, split="test", state="unlabelled", label="scratch"),
    ]  # fmt: skip
    write_version(folder, "press line", CLASSES, samples)
    share(folder)
    return folder


def out(folder: Path, *, mask: bool = False, to: str = "out") -> Published:
    return publish(folder, "v0001", folder.parent / to, APPROVAL, mask=mask)


def everything(folder: Path) -> bytes:
    """Names and bytes of every file below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return b"".join(str(p.relative_to(folder)).encode() + p.read_bytes() for p in files)


def mapping(dataset: Path, done: Published) -> dict[str, Path]:
    """What every picture became: image path in the dataset to the published file."""
    text = (dataset / MAPPINGS / f"{done.sha256[:20]}.csv").read_text(encoding="utf-8-sig")
    return {r["image"]: done.folder / r["published"] for r in csv.DictReader(io.StringIO(text))}


def bare(d: Path) -> None:
    card = {"name": "press line", "classes": CLASSES}
    (d / CARD).write_text(yaml.safe_dump(card))


def table(folder: Path) -> list[dict[str, str]]:
    data = (folder / "ground_truth.csv").read_bytes()
    assert data.startswith(b"\xef\xbb\xbf")
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"))))


def test_what_goes_out_has_pixels_and_labels_and_no_names(dataset: Path) -> None:
    done = out(dataset)
    assert done.images == 4
    seen = everything(done.folder)
    assert [s for s in SECRETS if s.encode() in seen or s in seen.decode("utf-8", "ignore")] == []
    for path in done.folder.rglob("*.png"):
        image = read_image(path)  # pixels: those of the line, no metadata chunk
        assert {
            kind
            for kind in (b"tEXt", b"iTXt", b"zTXt", b"eXIf", b"tIME")
            if kind in path.read_bytes()
        } == set()
        assert image.shape == (60, 80, 3)
    names = mapping(dataset, done)
    for name, path in names.items():
        assert np.array_equal(read_image(path), read_image(dataset / name))
    assert set(names) == {s.image for s in load_version(dataset).samples}


def labels_of(version: DatasetVersion) -> list[tuple[object, ...]]:
    """What is known of the pictures, whatever they are called."""
    return sorted(
        (sorted((b[0], *map(float, b[1:])) for b in s.boxes), s.split, s.state, s.label or "")
        for s in version.samples
    )


def test_an_import_of_it_gives_the_labels_back(dataset: Path, tmp_path: Path) -> None:
    done = out(dataset)
    again, _ = import_dataset(
        done.folder,
        tmp_path / "again",
        ImportPlan("coco", "x", 0, 0, 0, "", False),
        lambda *_: None,
    )
    before = load_version(dataset)
    assert again.classes == before.classes
    assert labels_of(again) == labels_of(before)
    assert {s.group for s in again.samples} == {"g00001", "g00002", "g00003", "g00004"}
    assert sum(shape is not None for s in again.samples for shape in s.shapes) == 1


def test_the_table_opens_in_a_spreadsheet_and_is_no_formula(dataset: Path) -> None:
    rows = table(out(dataset).folder)
    assert {row["label"] for row in rows} == {"scratch", "찍힘", "face", "good", f"'{CLASSES[2]}"}
    assert len(rows) == 6
    open_row = next(row for row in rows if row["state"] == "unlabelled")
    assert (open_row["label"], open_row["x1"]) == ("scratch", "")


@pytest.mark.parametrize(
    ("text", "safe"),
    [("=1+1", "'=1+1"), ("a;=x", "a;'=x"), ("-5", "'-5"), ("＝x", "'＝x"), ("dent", "dent")],
)
def test_formulas(text: str, safe: str) -> None:
    assert harmless(text) == safe


def test_card_licence_and_hashes(dataset: Path) -> None:
    (dataset / "CC-BY.txt").write_text("full text", encoding="utf-8")
    share(dataset, licence_file="CC-BY.txt")
    folder = out(dataset).folder
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    assert card["SizeInformation"] == {
        "CompleteSize": "4", "TrainSize": "2", "ValSize": "1", "TestSize": "1", "SplitRatio": "50:25:25",
    }  # fmt: skip
    assert card["Labeled"]["Classification"]["Balance"] == "0.500"
    assert card["MetaData"]["FileType"] == [".png"]
    assert (folder / "LICENSE.txt").read_text(encoding="utf-8").endswith("full text")
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert "강판" in readme
    assert "4 (train 2, val 1, test 1)" in readme
    listed = dict(line.split("  ")[::-1] for line in (folder / SUMS).read_text().splitlines())
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} - {SUMS}
    assert set(listed) == files
    assert all(listed[name] == sha256_of(folder / name) for name in files)


def test_private_parts_are_painted_and_their_labels_go(dataset: Path) -> None:
    regions = [
        {"images": "*LOT99*", "box": [0, 0, 15.2, 20]},  # the scratch lies inside
        {"images": "images/cam1/*", "box": [40, 20, 80, 30]},  # meets 찍힘, up to the edge
    ]
    share(dataset, private_regions=regions, private_classes=["face"])
    with pytest.raises(DatasetError, match="--mask"):
        out(dataset)
    done = out(dataset, mask=True)
    masked = done.masked
    assert (masked.regions, masked.dropped, masked.touched, masked.emptied) == (3, 1, 1, 1)
    names = mapping(dataset, done)
    image = read_image(names["images/SN4711_LOT99.jpg"])
    before = read_image(dataset / "images/SN4711_LOT99.jpg")
    assert (image[:20, :16] == PAINT).all()
    assert np.array_equal(image[20:], before[20:])
    other = read_image(names["images/cam1/SN4711 b.png"])
    assert (other[20:30, 40:] == PAINT).all()
    assert (other[:20, 60:] == PAINT).all(), "a box of a private class is painted too"
    rows = table(done.folder)
    assert "face" not in {row["label"] for row in rows}
    coco = json.loads((done.folder / "annotations" / "instances_train.json").read_text())
    assert [c["name"] for c in coco["categories"]] == [c for c in CLASSES if c != "face"]
    emptied = next(
        i for i in coco["images"] if i["file_name"] == names["images/SN4711_LOT99.jpg"].name
    )
    assert emptied["inspection"]["state"] == "unlabelled", "something was there: it is no good part"


def test_alike_pictures_in_two_splits_are_told(tmp_path: Path) -> None:
    """Good parts under a fixed camera: a training must know, and so must whoever gets them."""
    folder = tmp_path / "alike"
    rough = np.random.default_rng(6).integers(0, 255, (4, 5, 3), np.uint8)
    plate = cv2.resize(rough, (80, 60), interpolation=cv2.INTER_CUBIC)
    rows: list[Sample] = []
    for split, image in (("train", plate), ("test", cv2.add(plate, np.full_like(plate, 2)))):
        row = sample(folder, f"{split}.png", 6, group=split, split=split)
        path = folder / row.image
        path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
        rows.append(row.model_copy(update={"sha256": sha256_of(path)}))
    write_version(folder, "alike", ["dent"], rows)
    share(folder)
    done = publish(folder, "v0001", tmp_path / "out", APPROVAL)
    assert done.findings == {"near_duplicate_leak": 1}
    readme = (done.folder / "README.md").read_text(encoding="utf-8")
    assert "Nearly the same picture in several splits (leak), 1" in readme
    assert json.loads((folder / LOG).read_text())["findings"] == done.findings


def test_equal_pictures_keep_their_own_names(tmp_path: Path) -> None:
    folder = tmp_path / "twins"
    rows = [sample(folder, f"{n}.png", 5, group=f"SN4711-{n}") for n in "ab"]
    write_version(folder, "twins", ["dent"], rows)
    share(folder)
    done = publish(folder, "v0001", tmp_path / "out", APPROVAL)
    names = sorted(path.stem for path in done.folder.rglob("*.png"))
    assert len(names) == 2
    assert names[1] == f"{names[0]}-2"


def test_the_log_says_who_and_is_only_added_to(dataset: Path) -> None:
    first = out(dataset)
    second = out(dataset, to="second")
    lines = (dataset / LOG).read_bytes().splitlines()
    entries = [json.loads(line) for line in lines]
    assert [(e["event"], e["by"], e["sha256"]) for e in entries] == [
        ("approved", "Kim Approver", first.sha256),
        ("approved", "Kim Approver", second.sha256),
    ]
    assert entries[1]["before"] == hashlib.sha256(lines[0]).hexdigest()
    assert first.sha256 == second.sha256, "the same version gives the same bytes"
    (dataset / LOG).write_bytes(lines[0].replace(b"Kim", b"Lee") + b"\n" + lines[1] + b"\n")
    with pytest.raises(DatasetError, match="was changed"):
        out(dataset, to="third")
    (dataset / LOG).write_bytes(lines[1] + b"\n")
    with pytest.raises(DatasetError, match="does not follow"):
        out(dataset, to="third")
    assert not (dataset.parent / "third").exists()


@pytest.mark.parametrize("torn", [b'{"at": "2026-1', b"\0" * 40, b"\xff"])
def test_a_torn_last_line_is_put_aside_and_told(dataset: Path, torn: bytes) -> None:
    """A power cut while a line is written: nothing went out for it, and it stops nobody."""
    out(dataset)
    whole = (dataset / LOG).read_bytes()
    (dataset / LOG).write_bytes(whole + torn)
    done = out(dataset, to="second")
    assert done.torn is not None
    assert done.torn.parent == dataset
    assert done.torn.read_bytes() == torn
    after = (dataset / LOG).read_bytes()
    assert after.startswith(whole)
    entries = [json.loads(line) for line in after.splitlines()]
    assert [entry["event"] for entry in entries] == ["approved", "torn", "approved"]
    assert entries[1]["kept"] == done.torn.name
    assert out(dataset, to="third").torn is None


def test_a_whole_entry_without_its_newline_is_kept(dataset: Path) -> None:
    out(dataset)
    whole = (dataset / LOG).read_bytes()
    (dataset / LOG).write_bytes(whole[:-1])
    assert out(dataset, to="second").torn is None
    assert (dataset / LOG).read_bytes().startswith(whole)


def test_a_torn_line_excuses_no_other(dataset: Path) -> None:
    out(dataset)
    wrong = (dataset / LOG).read_bytes().replace(b'"before": "0', b'"before": "1') + b'{"at'
    (dataset / LOG).write_bytes(wrong)
    with pytest.raises(DatasetError, match="was changed"):
        out(dataset, to="second")
    assert (dataset / LOG).read_bytes() == wrong


def test_the_log_names_the_card_in_force(dataset: Path) -> None:
    out(dataset)
    first = sha256_of(dataset / CARD)
    share(dataset, holder="Another Co.")
    out(dataset, to="second")
    entries = [json.loads(line) for line in (dataset / LOG).read_text().splitlines()]
    assert [e["card_sha256"] for e in entries] == [first, sha256_of(dataset / CARD)]


def test_a_card_that_changes_meanwhile(dataset: Path) -> None:
    def change() -> None:
        share(dataset, private_classes=["face"])

    with pytest.raises(DatasetError, match="was changed while"):
        publish(dataset, "v0001", dataset.parent / "out", APPROVAL, tick=change)
    assert (dataset / LOG).read_bytes() == b""
    assert not (dataset.parent / "out").exists()


def test_one_publishing_at_a_time(dataset: Path) -> None:
    with open_log(dataset), pytest.raises(DatasetError, match="another process"):
        out(dataset)


def spoil(dataset: Path) -> None:
    path = dataset / "images" / "SN4711 good.bmp"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def occupy(dataset: Path) -> None:
    (dataset.parent / "out").mkdir()
    (dataset.parent / "out" / "notes.txt").write_text("mine")


REFUSALS = {
    "no sharing": (bare, "no `sharing`"),
    "no licence": (lambda d: share(d, licence=None), "licence"),
    "an empty licence": (lambda d: share(d, licence=""), "licence"),
    "a licence file that is not there": (lambda d: share(d, licence_file="x.txt"), "licence_file"),
    "a licence file outside": (lambda d: share(d, licence_file="../x.txt"), "inside the folder"),
    "an unknown private class": (lambda d: share(d, private_classes=["Face"]), "no classes"),
    "nothing left": (lambda d: share(d, private_classes=CLASSES), "nothing to publish"),
    "an empty region": (lambda d: share(d, private_regions=[{"box": [5, 5, 5, 9]}]), "is empty"),
    "a region of no picture": (
        lambda d: share(d, private_regions=[{"images": "cam1/*", "box": [0, 0, 30, 30]}]),
        r"no picture of v0001.*begin with images/",
    ),
    "a region outside": (
        lambda d: share(d, private_regions=[{"box": [5000, 0, 6000, 40]}]), "80 x 60",
    ),
    "a region partly outside": (
        lambda d: share(d, private_regions=[{"box": [-1, 0, 30, 40]}]), "partly or wholly outside",
    ),
    "an altered picture": (spoil, "altered"),
    "a target in use": (occupy, "not empty"),
    "a missing picture": (lambda d: (d / "images" / "SN4711 good.bmp").unlink(), "errors"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSALS)
def test_refused(dataset: Path, what: str) -> None:
    change, words = REFUSALS[what]
    change(dataset)
    before = sorted(p for p in dataset.parent.iterdir())
    with pytest.raises(DatasetError, match=words):
        out(dataset, mask=True)
    assert sorted(p for p in dataset.parent.iterdir()) == before, "nothing half is left"
    log = dataset / LOG
    assert not log.exists() or log.read_bytes() == b"", "nothing was approved"


@pytest.mark.parametrize("by", ["", "  ", "a\nb", "x" * 201])
def test_refused_without_a_name(dataset: Path, by: str) -> None:
    with pytest.raises(DatasetError, match="--approved-by"):
        publish(dataset, "v0001", dataset.parent / "out", Approval(by, "because"))
    with pytest.raises(DatasetError, match="--reason"):
        publish(dataset, "v0001", dataset.parent / "out", Approval("Kim", by))


def test_the_target_is_not_in_the_dataset_nor_a_link(dataset: Path) -> None:
    with pytest.raises(DatasetError, match="outside it"):
        publish(dataset, "v0001", dataset / "out", APPROVAL)
    (dataset.parent / "link").symlink_to(dataset.parent / "elsewhere")
    with pytest.raises(DatasetError, match="not empty"):
        publish(dataset, "v0001", dataset.parent / "link", APPROVAL)
    with pytest.raises(DatasetError, match="no folder"):
        publish(dataset, "v0001", dataset.parent / "no" / "out", APPROVAL)


def limited(size: int, work: object) -> None:
    """Run `work` while no file of this process may grow over `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        work()  # type: ignore[operator]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_nothing_half(dataset: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be written"):
        limited(2000, lambda: out(dataset))
    assert {p.name for p in dataset.parent.iterdir()} == {"press-line"}
    assert (dataset / LOG).read_bytes() == b""
    assert out(dataset).images == 4


def test_no_room_in_the_log_publishes_nothing(dataset: Path) -> None:
    with open_log(dataset) as log:
        for number in range(300):
            log.append(event="approved", by="Kim", reason="x" * 150, number=number)
    before = (dataset / LOG).read_bytes()
    with pytest.raises(DatasetError, match=LOG):
        limited(len(before) + 20, lambda: out(dataset))
    assert (dataset / LOG).read_bytes() == before
    assert not (dataset.parent / "out").exists()
    assert out(dataset).images == 4


def test_where_the_folder_cannot_appear_the_log_says_so(dataset: Path, monkeypatch) -> None:
    target = dataset.parent / "out"
    rename = Path.rename

    def late(self: Path, to: Path) -> Path:
        if self.name.endswith(".part"):
            occupy(dataset)  # somebody else fills the target meanwhile
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", late)
    with pytest.raises(DatasetError, match="cannot be written"):
        out(dataset)
    events = [json.loads(line)["event"] for line in (dataset / LOG).read_text().splitlines()]
    assert events == ["approved", "not_published"]
    assert [p.name for p in target.iterdir()] == ["notes.txt"]


def test_an_import_keeps_what_the_card_says(dataset: Path) -> None:
    version = load_version(dataset)
    write_version(dataset, "press line", CLASSES, version.samples)
    card = yaml.safe_load((dataset / CARD).read_text(encoding="utf-8"))
    assert card["sharing"]["licence"] == "CC-BY-4.0"


def test_the_command(dataset: Path) -> None:
    target = dataset.parent / "out"
    target.mkdir()
    call = [
        "publish",
        str(dataset),
        "v0001",
        "--to",
        str(target),
        "--approved-by",
        "Kim",
        "--reason",
        "r",
    ]
    done = CliRunner().invoke(app, [*call, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout.splitlines()[-1])["images"] == 4
    missing = CliRunner().invoke(app, call[:5])
    assert missing.exit_code == 2
    said = CliRunner().invoke(
        app, [*call[:4], str(dataset.parent / "b"), *call[5:], "--mask", "--language", "en"]
    )
    assert "approval recorded in" in said.stdout
    assert "torn" not in said.stdout
    with (dataset / LOG).open("ab") as log:
        log.write(b'{"at')
    said = CliRunner().invoke(
        app, [*call[:4], str(dataset.parent / "c"), *call[5:], "--language", "en"]
    )
    assert "publishing.torn-" in said.stdout


def test_a_picture_that_is_private_as_a_whole_is_refused(tmp_path: Path) -> None:
    rows = [
        sample(tmp_path, "a.png", 1, boxes=[("scratch", 2, 2, 12, 12)], state="labelled"),
        sample(tmp_path, "b.png", 2, state="unlabelled", label="face", split="val"),
    ]
    write_version(tmp_path, "p", CLASSES, rows)
    share(tmp_path, private_classes=["face"])
    for mask in (False, True):
        with pytest.raises(DatasetError, match="nobody said where"):
            out(tmp_path, mask=mask, to=f"o{mask}")
