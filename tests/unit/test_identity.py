"""The part's own code: found in pictures, judged by the recipe, and never a reason to pass."""

from __future__ import annotations

import io
import time
from itertools import product

import cv2
import numpy as np
import pytest
import segno
import zxingcpp
from hypothesis import given
from hypothesis import strategies as st

from inspection.codes import FORMATS, CodeReader, read_codes
from inspection.identity import identify, join, name_of
from inspection.recipe import CodeConfig
from inspection.types import Code, CodeRule, Decision, Reason, Result

PASS = Result(Decision.PASS, Reason.NONE)
DEFECT = Result(Decision.FAIL, Reason.DEFECT, (Reason.DEFECT,), 2, 0.9, 1, "1 scratch at 0.90")
BORDERLINE = Result(Decision.REVIEW, Reason.BORDERLINE, (Reason.BORDERLINE,), 1, 0.4, 1, "maybe")


def rule(**fields: object) -> CodeRule:
    return CodeConfig.model_validate(fields).rule()


def codes(*texts: str) -> tuple[Code, ...]:
    return tuple(Code(text, "data_matrix") for text in texts)


@pytest.mark.parametrize(
    ("read", "wanted", "serial", "text", "decision", "reason"),
    [
        (["A1"], {}, "", "A1", "PASS", "NONE"),
        (["A1", "A1"], {}, "", "A1", "PASS", "NONE"),
        (["A1", "B2"], {}, "", "", "FAIL", "CODE_WRONG"),
        ([], {}, "", "", "FAIL", "CODE_MISSING"),
        ([], {"missing": "REVIEW"}, "", "", "REVIEW", "CODE_MISSING"),
        (["A1", "X"], {"pattern": r"A\d"}, "", "A1", "PASS", "NONE"),
        (["A12"], {"pattern": r"A\d"}, "", "", "FAIL", "CODE_WRONG"),
        (["A1"], {"pattern": r"B\d", "missing": "REVIEW"}, "", "", "FAIL", "CODE_WRONG"),
        (["A1"], {"same_as_plc": True}, "A1", "A1", "PASS", "NONE"),
        (["A1", "B2"], {"same_as_plc": True}, "A1", "A1", "PASS", "NONE"),
        (["a1"], {"same_as_plc": True}, "A1", "", "FAIL", "CODE_WRONG"),
        (["A1"], {"same_as_plc": True, "pattern": "B.*"}, "A1", "", "FAIL", "CODE_WRONG"),
        (["A1"], {"same_as_plc": True}, "", "", "NOT_INSPECTED", "SERIAL_NONE"),
    ],
)
def test_codes_against_the_rule(
    read: list[str], wanted: dict[str, object], serial: str, text: str, decision: str, reason: str
) -> None:
    found = identify(codes(*read), rule(**wanted), serial)
    assert (found.text, found.decision.value, found.reason.name) == (text, decision, reason)
    assert name_of(codes(*read), rule(**wanted), serial) == text


def test_the_worse_of_code_and_part_decides_and_both_are_told() -> None:
    wrong, missing = identify(codes("B"), rule(pattern="A"), ""), identify((), rule(), "")
    unclear = identify((), rule(missing="REVIEW"), "")
    good = identify(codes("A"), rule(), "")
    for result in (PASS, DEFECT, BORDERLINE):
        assert join(result, good) is result
    assert (join(PASS, wrong).decision, join(PASS, wrong).reason) == (
        Decision.FAIL,
        Reason.CODE_WRONG,
    )
    both = join(DEFECT, missing)
    assert (both.reason, both.reasons) == (Reason.DEFECT, (Reason.DEFECT, Reason.CODE_MISSING))
    assert (both.deciding_class, both.deciding_score) == (2, 0.9)
    worse = join(BORDERLINE, missing)
    assert (worse.decision, worse.reasons) == (
        Decision.FAIL,
        (Reason.CODE_MISSING, Reason.BORDERLINE),
    )
    assert (worse.deciding_class, worse.over_t1) == (0, 1)
    assert join(DEFECT, unclear).decision is Decision.FAIL
    assert join(PASS, unclear).decision is Decision.REVIEW
    none = identify((), rule(same_as_plc=True), "")
    assert join(PASS, none).decision is join(BORDERLINE, none).decision is Decision.NOT_INSPECTED
    both = join(DEFECT, none)
    assert (both.decision, both.reasons) == (Decision.FAIL, (Reason.DEFECT, Reason.SERIAL_NONE))


@given(
    st.lists(st.text(max_size=5), max_size=4),
    st.text(max_size=4),
    st.sampled_from(["", "A.*", "[0-9]+"]),
    st.booleans(),
)
def test_a_part_passes_only_with_exactly_one_right_code(
    read: list[str], serial: str, pattern: str, same: bool
) -> None:
    wanted = rule(pattern=pattern, same_as_plc=same)
    for result in (PASS, DEFECT, BORDERLINE):
        joined = join(result, identify(codes(*read), wanted, serial))
        if joined.decision is Decision.PASS:
            assert result is PASS
            assert name_of(codes(*read), wanted, serial) in read
        assert (joined.decision is Decision.PASS) == (joined.reason is Reason.NONE)


# ---------------------------------------------------------------- pictures


def qr_picture(text: str, *, scale: int = 5, micro: bool = False) -> np.ndarray:
    """A QR code made by another author's library."""
    out = io.BytesIO()
    segno.make(text, micro=micro).save(out, kind="png", scale=scale, border=4)
    picture = cv2.imdecode(np.frombuffer(out.getvalue(), np.uint8), cv2.IMREAD_COLOR)
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def drawn(kind: str, text: str) -> np.ndarray:
    made = zxingcpp.create_barcode(text, getattr(zxingcpp.BarcodeFormat, FORMATS[kind]))
    gray = np.array(made.to_image(scale=4))
    return np.repeat(gray[..., None], 3, axis=2)


def on_a_part(code: np.ndarray, *, x: int = 420, y: int = 230, angle: float = 0.0) -> np.ndarray:
    """A grey plate with texture, light that falls off, and the code somewhere on it."""
    noise = np.random.default_rng(3).normal(0, 4, (600, 800, 3))
    plate = np.linspace(120, 190, 800)[None, :, None] + noise
    plate[y : y + code.shape[0], x : x + code.shape[1]] = code * 0.7 + 30
    image = plate.clip(0, 255).astype(np.uint8)
    if angle:
        turn = cv2.getRotationMatrix2D((400, 300), angle, 1.0)
        image = cv2.warpAffine(image, turn, (800, 600), borderMode=cv2.BORDER_REPLICATE)
    return image


@pytest.mark.parametrize("angle", [0.0, 37.0, 90.0, 180.0])
def test_a_qr_code_is_read_where_it_lies(angle: float) -> None:
    image = on_a_part(qr_picture("LOT7-000123"), angle=angle)
    (found,) = read_codes(image, rule(formats=["qr_code", "data_matrix"]))
    assert (found.text, found.format) == ("LOT7-000123", "qr_code")
    if not angle:
        assert found.box is not None
        assert found.box == pytest.approx((440, 250, 545, 355), abs=12)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("data_matrix", "P8812"), ("code_128", "LOT-7/12"), ("code_39", "A12"), ("ean_13", "4006381333931"),
        ("pdf_417", "부품 8812"), ("aztec", "x1"), ("itf", "1234"),
    ],
)  # fmt: skip
def test_other_kinds_of_codes(kind: str, text: str) -> None:
    image = on_a_part(drawn(kind, text), x=120, y=120)
    assert [(c.text, c.format) for c in read_codes(image, rule(formats=[kind]))] == [(text, kind)]
    assert read_codes(image, rule(formats=["micro_qr_code"])) == ()


def test_only_the_box_is_looked_at_and_boxes_outside_see_nothing() -> None:
    image = on_a_part(qr_picture("IN"), x=50, y=50)
    other = qr_picture("OUT")
    image[300 : 300 + other.shape[0], 500 : 500 + other.shape[1]] = other
    everything = {code.text for code in read_codes(image, rule(formats=["qr_code"]))}
    assert everything == {"IN", "OUT"}
    for box, texts in {
        (20, 20, 300, 300): ["IN"],
        (480.5, 280.5, 700, 500): ["OUT"],
        (-50, -50, 3000, 3000): ["IN", "OUT"],
        (900, 700, 1000, 900): [],
    }.items():
        found = read_codes(image, rule(formats=["qr_code"], box=box))
        assert sorted(code.text for code in found) == texts, box


def test_noise_and_damaged_codes_name_nothing() -> None:
    code = qr_picture("LOT7-000123")
    code[20:70, 20:70] = 128  # a finder pattern is gone
    noise = np.random.default_rng(1).integers(0, 256, (600, 800, 3), np.uint8)
    every = rule(formats=["qr_code", "data_matrix", "aztec", "pdf_417"])
    assert read_codes(on_a_part(code), every) == ()
    assert read_codes(noise, every) == ()
    assert read_codes(np.zeros((1, 1, 3), np.uint8), every) == ()


def test_a_recipe_says_what_is_wrong_with_its_code() -> None:
    for fields, text in [
        ({"box": (10, 0, 10, 5)}, "is empty"),
        ({"pattern": "("}, "no regular expression"),
        ({"pattern": "(?=A)B"}, "no regular expression"),
        ({"formats": []}, "at least 1"),
        ({"formats": ["barcode"]}, "data_matrix"),
        ({"missing": "PASS"}, "REVIEW"),
        ({"source": "nfc"}, "scanner"),
    ]:
        with pytest.raises(ValueError, match=text):
            CodeConfig.model_validate(fields)


def test_no_pattern_makes_the_line_wait() -> None:
    wanted = rule(pattern=r"([A-Z0-9]+-?)+")
    begun = time.monotonic()
    assert identify(codes("A" * 199 + "?"), wanted, "").reason is Reason.CODE_WRONG
    assert time.monotonic() - begun < 5, "backtracking would take longer than the universe is old"


def test_a_rule_for_a_scanner_without_one_is_a_fault_and_never_a_part() -> None:
    reader = CodeReader(None)
    assert reader.fault(None) is None
    assert reader.fault(rule()) is None
    assert reader.fault(rule(source="scanner")) is Reason.SCANNER_LOST


def test_every_decision_and_severity_is_ordered() -> None:
    results = [PASS, BORDERLINE, DEFECT]
    wanted = rule(missing="REVIEW")
    found = [identify(codes("A"), rule(), ""), identify((), wanted, ""), identify((), rule(), "")]
    for (i, result), (j, identity) in product(enumerate(results), enumerate(found)):
        assert join(result, identity).decision is results[max(i, j)].decision
