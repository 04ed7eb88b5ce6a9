"""Every text of the pages is in the Korean catalogues, and every Korean text is used."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from jinja2.ext import babel_extract

from inspection.store.web import access
from inspection_serve.web import texts

WEB = Path(texts.__file__).parent
STORE = Path(access.__file__).parent
KEYWORDS = {
    "_": None, "text": None, "ngettext": (1, 2), "plural": (1, 2), "_mark": None, "gettext": None,
}  # fmt: skip
IN_SCRIPT = re.compile(r'\b_\("((?:[^"\\]|\\.)*)"')
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
