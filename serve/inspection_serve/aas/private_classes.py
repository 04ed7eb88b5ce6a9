"""Class names that no export may hold: those that a dataset card on this PC calls private.

cards of the datasets ─▶ names ─▶ left out, or "private class N" where the place counts

A class name may stand inside another text (a setting, a metric, a claim). It is found there at the beginning
of a word, in capitals or not, so that `faces` is found for `face`, and `surface` is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def tells(text: str, private: Iterable[str], public: Iterable[str] = ()) -> bool:
    """Tell whether a text names a private class; the name of a public class alone does not."""
    return text not in public and any(_pattern(name).search(text) for name in private)


def without(text: str, classes: Sequence[str], private: Iterable[str]) -> str:
    """Return a text with "private class N" for each private name; see `shown` for N."""
    numbered = dict(zip(classes, shown(classes, private), strict=True))
    for name in sorted(private, key=len, reverse=True):
        text = _pattern(name).sub(numbered.get(name, "private class"), text)
    return text


def shown(classes: Sequence[str], private: Iterable[str]) -> list[str]:
    """Return the classes in their order; the private ones as "private class N", counted from 1."""
    hidden = [name for name in classes if name in set(private)]
    return [f"private class {hidden.index(n) + 1}" if n in hidden else n for n in classes]


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![A-Za-z0-9]){re.escape(name)}", re.IGNORECASE)
