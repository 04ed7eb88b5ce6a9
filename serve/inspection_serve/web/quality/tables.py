"""The tables beside the charts as CSV: UTF-8 with a byte order mark, as RFC 4180 says."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable
from typing import Any

from inspection_serve.web.quality.answers import Summary

NAMES = ("time", "defects", "reasons", "estimates", "promises", "confusion", "control")
_FORMULA = re.compile(r"(^|;)(?=\s*[=+\-@＝＋－＠]|[\t\r\n])")
"""Where a spreadsheet would begin a formula; some begin a cell after a semicolon."""
_DECISIONS = ("PASS", "FAIL", "REVIEW", "NOT_INSPECTED")
_SHARE = ("reviewed", "found", "estimate", "low", "high", "upper", "unjudged")
_JUDGED = (
    "decision", "parts", "drawn", "defective", "good", "borderline", "doubted", "other", "waiting",
)  # fmt: skip
_PROMISE = (
    "recipe", "release", "what", "claimed", "confidence", "why_none", "state", "estimate", "low", "upper",
    "more", "missing",
)  # fmt: skip
_POINT = ("start", "end", "shift")
_CONTROL = (*_POINT, "size", "count", "share", "lower", "upper")


def write_csv(name: str, summary: Summary) -> bytes:
    """Return a table of `NAMES`; numbers stay numbers, no text is read as a formula by a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text)
    for row in _TABLES[name](summary):
        writer.writerow([_cell(value) for value in row])
    return b"\xef\xbb\xbf" + text.getvalue().encode()


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return _FORMULA.sub(r"\1'", value.replace("\x00", ""))
    return "" if value is None else value


def _time(summary: Summary) -> Iterable[list[Any]]:
    names = (*_POINT, *_DECISIONS, "OPEN")
    yield list(names)
    for point in summary.points:
        yield [getattr(point, name) for name in names]


def _bars(what: str) -> Callable[[Summary], Iterable[list[Any]]]:
    def rows(summary: Summary) -> Iterable[list[Any]]:
        yield [what, "number", "share", "cumulative", *_DECISIONS]
        for bar in summary.defects if what == "defect_class" else summary.reasons:
            by = [getattr(bar.decisions, name) for name in _DECISIONS]
            yield [bar.name, bar.number, bar.share, bar.cumulative, *by]

    return rows


def _estimates(summary: Summary) -> Iterable[list[Any]]:
    yield [
        "group", "name", "start", "end", "passed", "failed",
        *(f"escape_{name}" for name in _SHARE), *(f"overkill_{name}" for name in _SHARE),
    ]  # fmt: skip
    for one in summary.estimates:
        shares = [getattr(share, name) for share in (one.escape, one.overkill) for name in _SHARE]
        yield [one.group, one.name, one.start, one.end, one.passed, one.failed, *shares]


def _promises(summary: Summary) -> Iterable[list[Any]]:
    yield list(_PROMISE)
    for one in summary.promises:
        yield [getattr(one, name) for name in _PROMISE]


def _confusion(summary: Summary) -> Iterable[list[Any]]:
    yield list(_JUDGED)
    for one in summary.confusion:
        yield [getattr(one, name) for name in _JUDGED]


def _control(summary: Summary) -> Iterable[list[Any]]:
    yield [*_CONTROL, "centre", "rules"]
    for point in summary.control.points:
        rules = " ".join(str(rule) for rule in point.rules)
        yield [*(getattr(point, name) for name in _CONTROL), summary.control.centre, rules]


_TABLES: dict[str, Callable[[Summary], Iterable[list[Any]]]] = {
    "time": _time,
    "defects": _bars("defect_class"),
    "reasons": _bars("reason"),
    "estimates": _estimates,
    "promises": _promises,
    "confusion": _confusion,
    "control": _control,
}
