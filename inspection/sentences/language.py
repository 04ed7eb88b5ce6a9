"""Tables of phrases: a code, its Korean, its English.

    code + values ─▶ table ─▶ sentence in `ko` or `en`

Files keep codes and values; commands, cards and pages make the sentence for whoever reads it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from inspection.errors import ConfigError

LANGUAGES = ("ko", "en")
DEFAULT_LANGUAGE = os.environ.get("INSPECTION_LANGUAGE", "ko")
"""Of every command that is not told another by `--language`."""

Table = Mapping[str, tuple[str, str]]
"""Code to (Korean, English); both name the same {values}."""


def check_language(language: str) -> None:
    """Make sure that a language is known.

    Raises:
        ConfigError: it is not ko or en.
    """
    if language not in LANGUAGES:
        raise ConfigError(f"language {language!r} is not one of {', '.join(LANGUAGES)}")


def phrases(table: Table, language: str) -> dict[str, str]:
    """Return every phrase of a table in one language; ValueError for an unknown language."""
    if language not in LANGUAGES:
        raise ValueError(f"language {language!r} is not one of {', '.join(LANGUAGES)}")
    index = LANGUAGES.index(language)
    return {code: pair[index] for code, pair in table.items()}


def phrase(table: Table, code: str, language: str, **values: object) -> str:
    """Return one phrase with its values; KeyError for a code that the table does not have."""
    return phrases({code: table[code]}, language)[code].format(**values)
