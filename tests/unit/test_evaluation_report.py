"""The evaluation report and the comparison of two releases, on a real release and real pictures."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import pytest
from release_builder import paint, write_release
from typer.testing import CliRunner

from inspection.errors import ConfigError
from inspection.release import read_card, write_card
from inspection.types import ClassLimits, Decision
from inspection_datasets.manifest import DatasetVersion, Sample, sha256_of, write_version
from inspection_training.cli import evaluate_app
from inspection_training.evaluation import inspect_split
from inspection_training.report.compare import compare_runs, side
from inspection_training.report.page import confusion, report_html
from inspection_training.report.pictures import histogram
from inspection_training.report.terminal import comparison_lines
from inspection_training.report.text import LANGUAGES, texts
from inspection_training.variants.make import make_variant

CLASSES = ("scratch", "dent", "<b>hole</b>")
VOID = {"meta", "img"}


class Balanced(HTMLParser):
    """Raises where tags do not close; keeps what the page says and what it loads."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.loads: list[str] = []
        self.said = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.loads += [value or "" for name, value in attrs if name in {"src", "href"}]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.said += data


def make_dataset(folder: Path) -> DatasetVersion:
    """Twelve parts: 0-3 good, 4-7 a scratch, 8-11 a dent. 2 and 3 look scratched, 10 and 11 look good."""
    (folder / "images").mkdir(parents=True)
    rows: list[Sample] = []
    for index in range(12):
        kind = index // 4 - 1
        box = (40 + index, 60, 60 + index, 90)
        shown = {2: 0, 3: 0, 10: None, 11: None}.get(index, kind if kind >= 0 else None)
        image = paint((256, 256), *([] if shown is None else [(shown, box)]), grey=90 + index)
        path = folder / "images" / f"부품{index:02d}.png"
        path.write_bytes(cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes())
        boxes = [(CLASSES[kind], *map(float, box))] if kind >= 0 else []
        rows.append(
            Sample(
                image=f"images/{path.name}", sha256=sha256_of(path), width=256, height=256,
                split="test", group=f"lot<{index % 5}>", boxes=boxes,
                state="labelled" if boxes else "good", origin="test",
            )
        )  # fmt: skip
    return write_version(folder, "demo", CLASSES, rows)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Return two releases and a dataset. The second release reviews what the first fails."""
    folder = tmp_path_factory.mktemp("house")
    make_dataset(folder / "data")
    first = write_release(folder / "releases", classes=CLASSES)
    never = dict.fromkeys(CLASSES, ClassLimits(1.0, 1.0))
    second = write_release(folder / "releases", number=2, classes=CLASSES, limits=never)
    return first, second, folder / "data"


def evaluate(*args: str | Path) -> tuple[int, str, BaseException | None]:
    result = CliRunner().invoke(evaluate_app, [str(x) for x in args])
    return result.exit_code, result.stdout, result.exception


def read(text: str) -> Balanced:
    page = Balanced()
    page.feed(text)
    assert not page.open
    return page


@pytest.mark.parametrize("language", LANGUAGES)
def test_one_file_without_network_or_script(
    house: tuple[Path, Path, Path], tmp_path: Path, language: str
) -> None:
    file = tmp_path / "보고서" / "report.html"
    code, out, error = evaluate(
        house[0], "--data", house[2], "--html", file, "--language", language
    )
    assert code == 0, error
    assert file.name in "".join(out.split())
    text = file.read_text(encoding="utf-8")
    page = read(text)
    assert "script" not in page.tags
    assert "b" not in page.tags, "names of the data are escaped"
    assert page.loads
    assert all(x.startswith("data:image/jpeg;base64,") for x in page.loads)
    assert not re.search(r"https?://|@import|url\(", text)
    assert f'lang="{language}"' in text
    words = texts(language)
    for key in (
        "title",
        "claims",
        "escape",
        "overkill",
        "misses",
        "calls",
        "cannot",
        "cannot_zero",
    ):
        assert words[key] in page.said
    assert "<b>hole</b>" in page.said
    assert "lot<2>" in page.said


def test_the_numbers_are_those_of_the_parts(house: tuple[Path, Path, Path]) -> None:
    version_run = run_of(house[0], house[2])
    page = read(report_html(version_run, "en")).said
    assert (
        "2 / 8 (2 of 5 parts)" in page
    )  # dents 10 and 11 escaped, of two of the five lots with defects
    assert "25.00 %" in page
    assert "5.27 – 85.34 %" in page  # Clopper-Pearson, 2 of 5
    assert "12 pictures of 5 parts: counted as 5, each part by its worst picture." in page
    assert "2 / 4" in page  # good parts 2 and 3 failed
    assert page.count("부품10.png") == 1
    assert page.count("부품02.png") == 1
    assert "claim in the release: none" in page
    counts = confusion(version_run)
    assert counts[0].tolist() == [4, 0, 0, 0]
    assert counts[1].tolist() == [0, 2, 0, 2]
    assert counts[3].tolist() == [2, 0, 0, 0]


def test_the_confusion_of_boxes_leaves_out_parts_without_boxes(
    house: tuple[Path, Path, Path],
) -> None:
    """Of a part that is labelled as a whole nobody said where: what was found there is not wrong."""
    run = run_of(house[0], house[2])
    whole = tuple(
        s.model_copy(update={"boxes": [], "label": s.boxes[0][0], "state": "unlabelled"})
        if s.boxes and s.boxes[0][0] == CLASSES[0]
        else s
        for s in run.samples
    )
    counts = confusion(replace(run, samples=whole))
    assert counts[0].tolist() == [0, 0, 0, 0]
    assert counts[1].tolist() == [0, 2, 0, 2]
    assert counts[3].tolist() == [2, 0, 0, 0], "the false calls on good parts, and no more"


def run_of(release: Path, data: Path):
    from inspection_datasets.manifest import load_version

    return inspect_split(release, load_version(data), "test", "onnxruntime")


def test_two_releases_on_the_same_parts(house: tuple[Path, Path, Path], tmp_path: Path) -> None:
    first, second, data = house
    file = tmp_path / "r.html"
    code, out, error = evaluate(
        first, "--data", data, "--against", second, "--html", file, "--language", "en", "--json"
    )
    assert code == 0, error
    found = json.loads(out)["comparison"]
    assert found["escape"] == {
        "parts": 5, "only_first": 0, "only_second": 3, "both": 2, "p": 0.25,
    }, "eight pictures of five lots"  # fmt: skip
    assert found["overkill"]["only_first"] == 2
    assert len(found["changed"]) == 8
    assert "0.25" in read(file.read_text()).said
    same = compare_runs(run_of(first, data), run_of(first, data))
    assert same.escape.p == 1.0
    assert same.changed == ()
    assert "exact McNemar p = 1" in "".join(comparison_lines(same, "en"))
    assert "정확 McNemar p = 1" in "".join(comparison_lines(same, "ko"))


def test_a_part_counts_once_in_a_comparison() -> None:
    """Ten pictures of a part that the first alone missed are one part, and prove nothing."""
    alike = [(Decision.PASS, Decision.FAIL, "a")] * 10
    found = side(
        [*alike, (Decision.FAIL, Decision.PASS, "b"), (Decision.PASS, Decision.FAIL, "b")],
        Decision.PASS,
    )
    assert (found.parts, found.only_first, found.only_second, found.both) == (2, 1, 0, 1)
    assert found.p == 1.0


def test_a_report_on_good_parts_only_model(tmp_path: Path) -> None:
    make_dataset(tmp_path / "data")
    limits = {"anomaly": ClassLimits(0.5, 0.7)}
    release = write_release(
        tmp_path / "releases", classes=("anomaly",), variant="anomaly", limits=limits
    )
    page = read(report_html(run_of(release, tmp_path / "data"), "ko"))
    assert "AUROC" in page.said
    assert texts("ko")["decisions"] in page.said


def test_wrong_options_are_said(house: tuple[Path, Path, Path], tmp_path: Path) -> None:
    _, _, error = evaluate(house[0], "--data", house[2], "--language", "de")
    assert isinstance(error, ConfigError)
    (tmp_path / "file").write_text("x")
    _, _, error = evaluate(house[0], "--data", house[2], "--html", tmp_path / "file" / "r.html")
    assert isinstance(error, ConfigError)
    assert "cannot be written" in str(error)


def test_every_phrase_is_in_both_languages() -> None:
    ko, en = texts("ko"), texts("en")
    assert ko.keys() == en.keys()
    assert all(ko[key].strip() and en[key].strip() for key in ko)
    assert any("가" <= letter <= "힣" for letter in "".join(ko.values()))
    with pytest.raises(ValueError, match="ko, en"):
        texts("de")


def test_a_histogram_of_nothing() -> None:
    assert "<rect" not in histogram([], [], {}, ("a", "b"))
    assert histogram([1.0, 0.0], [0.5], {"T1": 0.9}, ("a&", "b")).count("<rect") == 3


@pytest.mark.parametrize("language", LANGUAGES)
def test_variants_stand_beside_f32(tmp_path: Path, language: str) -> None:
    version = make_dataset(tmp_path / "data")
    folder = write_release(tmp_path / "releases", classes=CLASSES)
    before = read(report_html(run_of(folder, tmp_path / "data"), language)).said
    card = read_card(folder)
    learned = card.dataset.model_copy(update={"sha256": version.sha256})
    write_card(folder, card.model_copy(update={"dataset": learned}))
    make_variant(folder, "bf16", version)
    after = read(report_html(run_of(folder, tmp_path / "data"), language)).said
    words = texts(language)
    assert words["variants"] not in before
    assert words["variants"] in after
    assert "bf16" in after
    assert "12 / 12" in after, "all twelve parts are decided alike"
    assert words["selected_on"] in after
    path = folder / "variants" / "bf16" / "variant.json"
    told = json.loads(path.read_text()) | {"selected_on": ["train", "val"]}
    path.write_text(json.dumps(told))
    assert "train, val" in read(report_html(run_of(folder, tmp_path / "data"), language)).said
    faster = inspect_split(folder, version, "test", "openvino", precision="bf16")
    said = read(report_html(faster, language)).said
    assert f"{words['precision']}bf16" in said


@pytest.mark.parametrize("language", LANGUAGES)
def test_claims_and_gates_are_told_in_the_report_s_language(tmp_path: Path, language: str) -> None:
    make_dataset(tmp_path / "data")
    folder = write_release(tmp_path / "releases", classes=CLASSES)
    plain = read(report_html(run_of(folder, tmp_path / "data"), language)).said
    assert texts(language)["gates_note"] not in plain
    found = {"missed": 1, "parts": 8, "bound": 0.47068, "more_parts_needed": 92}
    gate = {"gate": "escape", "passed": False, "found": found, "sentence": "of old"}
    gate["asked"] = {"share": 0.05, "confidence": 0.95, "split": "test"}
    values = {"share": 0.05, "confidence": 0.95, "parts": 93}
    metrics = {
        "gates": {"results": [gate], "not_asked": ["latency"]},
        "claims": [{"code": "overkill_supported", "values": values}],
    }
    card = read_card(folder).model_copy(update={"metrics": metrics, "claim": "Overkill is …"})
    write_card(folder, card)
    said = read(report_html(run_of(folder, tmp_path / "data"), language)).said
    wanted = {
        "ko": ["신뢰수준 95 %에서 과검률 5 % 이하", "미검 상한 (escape)", "8개 중 1개가 합격"],
        "en": ["Overkill is at most 5 % with 95 % confidence", "1 of 8 defective test parts passed"],
    }  # fmt: skip
    assert all(words in said for words in wanted[language])
    assert "of old" not in said
    assert "Overkill is …" not in said
