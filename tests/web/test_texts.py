"""Every text of the pages is in the Korean catalogues, and every Korean text is used."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po
from jinja2.ext import babel_extract

from inspection.store.web import access
from inspection_serve.web import texts

WEB = Path(texts.__file__).parent
STORE = Path(access.__file__).parent
KEYWORDS = {
    "_": None, "text": None, "ngettext": (1, 2), "plural": (1, 2), "_mark": None, "gettext": None,
}  # fmt: skip
IN_SCRIPT = re.compile(r'\b_\("((?:[^"\\]|\\.)*)"')
OTHER_WORDS = {
    "제품": "부품", "사진": "이미지", "상자": "박스", "설비": "스테이션", "불량 종류": "불량 유형",
    "기술자": "엔지니어", "품질 담당자": "엔지니어", "모델 릴리스": "릴리스", "문턱": "한계값",
    "다시 판정": "재판정", "결함": "불량", "저장되지 않음": "저장 안 됨", "세요": "십시오",
    "관문": "합격 기준", "약속": "보증 한도",
}  # fmt: skip
"""What another word would be for something that docs/glossary.md has a Korean word for, and that word."""
PLACES = re.compile(r"\{(\w+)[^}]*\}")


def used() -> dict[str | tuple[str, ...], list[str]]:
    """Return each English text with the files that say it."""
    methods = [("**.py", "python"), ("templates/**.html", babel_extract)]
    options = {"templates/**.html": {"extensions": "jinja2.ext.do", "trimmed": "true"}}
    found: dict[str | tuple[str, ...], list[str]] = {}
    for name, _line, message, _comments, _context in extract_from_dir(
        str(WEB), methods, options, keywords=KEYWORDS
    ):
        found.setdefault(message, []).append(name)
    for path in (WEB / "static" / "js").glob("*.js"):  # Babel does not look into nested templates
        for text in IN_SCRIPT.findall(path.read_text(encoding="utf-8")):
            found.setdefault(json.loads(f'"{text}"'), []).append(path.name)
    return found


def test_every_text_has_its_korean() -> None:
    catalogue = texts.read_catalogue()
    missing = []
    for message, files in used().items():
        one = message if isinstance(message, str) else message[0]
        entry = catalogue.get(one)
        if (
            entry is None
            or not entry.string
            or (isinstance(entry.string, tuple) and not all(entry.string))
        ):
            missing.append(f"{one!r} in {sorted(set(files))}")
        elif any(f.endswith(".js") for f in files):
            here = {place[0].rsplit("/", 1)[-1] for place in entry.locations}
            if not any(name.endswith(".js") for name in here):
                missing.append(f"{one!r}: no .js in its places, so the browser does not get it")
    assert not missing, "\n".join(missing)


def test_no_korean_is_left_over() -> None:
    known = {m if isinstance(m, str) else m[0] for m in used()}
    store = "".join(p.read_text(encoding="utf-8") for p in STORE.glob("*.py"))
    left = [
        m.id if isinstance(m.id, str) else m.id[0]
        for m in texts.read_catalogue()
        if m.id and (m.id if isinstance(m.id, str) else m.id[0]) not in known
    ]
    left = [
        text for text in left if text not in store
    ]  # messages of the store that a page translates
    assert not left, "\n".join(left)


def test_places_are_the_same() -> None:
    for message in texts.read_catalogue():
        if not message.id:
            continue
        english = message.id if isinstance(message.id, str) else " ".join(message.id)
        korean = message.string if isinstance(message.string, str) else " ".join(message.string)
        assert set(PLACES.findall(english)) == set(PLACES.findall(korean)), english


@pytest.mark.parametrize("path", sorted((WEB / "locale").rglob("*.po")), ids=lambda p: p.stem)
def test_a_catalogue_holds_no_text_twice(path: Path) -> None:
    ids = re.findall(r'^msgid "(.+)"$', path.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(ids) == len(set(ids))


def korean() -> list[tuple[str, str, str]]:
    """Return every text with its Korean and the catalogue that says so."""
    found: list[tuple[str, str, str]] = []
    for path in sorted((WEB / "locale" / "ko").glob("*.po")):
        with path.open("rb") as file:
            for message in read_po(file, locale="ko"):
                strings = message.string if isinstance(message.string, tuple) else (message.string,)
                one = message.id if isinstance(message.id, str) else message.id[0]
                found += [(one, str(text), path.name) for text in strings if one]
    return found


def test_a_text_is_the_same_korean_in_every_area() -> None:
    """The catalogues are merged: one of two would win without anybody having chosen it."""
    said: dict[str, dict[str, list[str]]] = {}
    for english, text, file in korean():
        said.setdefault(english, {}).setdefault(text, []).append(file)
    differing = {english: texts for english, texts in said.items() if len(texts) > 1}
    assert not differing, "\n".join(f"{english!r}: {texts}" for english, texts in differing.items())


def test_one_thing_has_one_korean_word() -> None:
    wrong = [
        f"{file}: {other} in {text!r}, we say {ours}"
        for _english, text, file in korean()
        for other, ours in OTHER_WORDS.items()
        if other in text
    ]
    assert not wrong, "\n".join(wrong)
