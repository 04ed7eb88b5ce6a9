"""English and Korean texts of the pages: gettext catalogues, read from `locale/ko/*.po` at the start.

The English text is the key. Each area has a .po file of its own; together they are one catalogue.
"""

from __future__ import annotations

import gettext
import io
import json
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

from babel.dates import format_datetime
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal, format_percent

LANGUAGES = {"ko": "한국어", "en": "English"}
LOCALE = Path(__file__).parent / "locale"
CLOCKS = {"ko": {"short": "yy. M. d. HH:mm", "medium": "yyyy. M. d. HH:mm:ss"}}
"""How times are written where the locale's own form mixes languages ("PM 2:00")."""


@dataclass(frozen=True, slots=True)
class Language:
    """Texts, numbers and times of one language.

    Attributes:
        code: `ko` or `en`.
        catalogue: of the texts.
    """

    code: str
    catalogue: gettext.NullTranslations

    def text(self, message: str, **values: object) -> str:
        """Return a text with its `{name}` places filled."""
        found = self.catalogue.gettext(message)
        return found.format(**values) if values else found

    def plural(self, one: str, many: str, number: int, **values: object) -> str:
        """Return the text for a number; `{number}` is filled as well."""
        found = self.catalogue.ngettext(one, many, number)
        return found.format(number=self.number(number), **values)

    def number(self, value: float, digits: int = 0) -> str:
        """Return a number with the language's separators."""
        return format_decimal(round(value, digits), locale=self.code)

    def percent(self, share: float | None, digits: int = 1) -> str:
        """Return a share (0..1) as percent; `–` for None."""
        if share is None:
            return "–"
        pattern = "#,##0." + "0" * digits + " %" if digits else "#,##0 %"
        return format_percent(share, pattern, locale=self.code)

    def when(self, at: str | None, form: str = "medium") -> str:
        """Return a UTC label of the store as local time; `–` for None. `form` as Babel's."""
        if not at:
            return "–"
        moment = datetime.fromisoformat(at).astimezone()
        return format_datetime(moment, CLOCKS.get(self.code, {}).get(form, form), locale=self.code)


@dataclass(frozen=True, slots=True)
class Texts:
    """All languages, by code."""

    languages: dict[str, Language]

    def choose(self, *wishes: str | None) -> Language:
        """Return the first language wished for that there is; Korean without one."""
        for wish in wishes:
            for part in (wish or "").split(","):
                code = part.split(";")[0].split("-")[0].strip().lower()
                if code in self.languages:
                    return self.languages[code]
        return self.languages["ko"]


def read_catalogue(folder: Path = LOCALE / "ko") -> Catalog:
    """Return the Korean texts of all areas in one catalogue."""
    merged = Catalog(locale="ko")
    for path in sorted(folder.glob("*.po")):
        with path.open("rb") as file:
            for message in read_po(file, locale="ko"):
                if message.id:
                    merged[message.id] = message
    return merged


def load_texts() -> Texts:
    """Read the catalogues."""
    compiled = io.BytesIO()
    write_mo(compiled, read_catalogue())
    compiled.seek(0)
    korean = Language("ko", gettext.GNUTranslations(compiled))
    return Texts({"ko": korean, "en": Language("en", gettext.NullTranslations())})


@cache
def script_texts(code: str) -> str:
    """Return as JSON what the ES modules say: English text to the language's text."""
    if code == "en":
        return "{}"
    found: dict[str, str] = {}
    for message in read_catalogue():
        used = any(place[0].endswith(".js") for place in message.locations)
        if used and isinstance(message.id, str) and isinstance(message.string, str):
            found[message.id] = message.string
    return json.dumps(found, ensure_ascii=False).replace("<", "\\u003c")
