"""Shares and rates as text. A bound is never shown lower than it is: digits are rounded up."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from inspection.sentences.language import phrase

_WORDS = {
    "none": ("해당 이미지 없음", "no such images"),
    "rate": (
        "{of}개 중 {count}개 = {rate:.1f} % ({low:.1f}..{high:.1f} %)",
        "{count} of {of} = {rate:.1f} % ({low:.1f}..{high:.1f} %)",
    ),
    "by_parts": (
        "{of}개 중 {count}개 = {rate:.1f} %, 부품마다 가장 나쁜 이미지로 세면 {parts}개 중 {worst}개 "
        "({low:.1f}..{high:.1f} %)",
        "{count} of {of} = {rate:.1f} %; by parts, each by its worst picture, {worst} of {parts} "
        "({low:.1f}..{high:.1f} %)",
    ),
    "counted_once": (
        "부품 {parts}개의 이미지 {pictures}장: 부품마다 가장 나쁜 이미지로 한 번씩, {parts}개로 셉니다",
        "{pictures} pictures of {parts} parts: counted as {parts}, each part by its worst picture",
    ),
}


def exactly(share: float) -> str:
    """Return a share that somebody chose, as it was chosen: `99.5 %`, `12.5 %`."""
    return f"{100 * share:.10g} %"


def percent(share: float) -> str:
    """Return a bound or rate in percent with two digits that count, rounded up: `0.31 %`, `7.8 %`."""
    value = 100 * share
    if value <= 0:
        return "0 %"
    step = 10.0 ** (1 - math.floor(math.log10(value)))
    return f"{math.ceil(value * step - 1e-9) / step:g} %"


def at_most(supported: float, target: float) -> str:
    """Return a bound that meets its target; where rounding up would go over the target, the target."""
    rounded = percent(supported)
    return rounded if float(rounded.removesuffix(" %")) <= 100 * target else exactly(target)


def counted_of(rate: Mapping[str, Any]) -> int:
    """Return what the interval of a stored rate counts: parts, or pictures where there is one of each."""
    return int(rate.get("worst", rate["count"]))


def counted_once(stored: Mapping[str, Any], language: str) -> str:
    """Return that several pictures of a part were counted once; empty where there is one of each.

    Args:
        stored: has `parts`, and `pictures` where it was written by this or a later version.
        language: ko or en.
    """
    pictures, parts = stored.get("pictures", 0), stored["parts"]
    if pictures <= parts:
        return ""
    return phrase(_WORDS, "counted_once", language, pictures=pictures, parts=parts)


def rate_sentence(rate: Mapping[str, Any], language: str) -> str:
    """Return a stored rate with its interval: `3 of 48 = 6.2 % (1.3..17.2 %)`.

    Args:
        rate: count, of, rate, low, high; shares 0..1. Where there are several pictures of a part also worst
            and parts, which the interval is of.
        language: ko or en.
    """
    if not rate["of"]:
        return phrase(_WORDS, "none", language)
    shares = {name: 100 * rate[name] for name in ("rate", "low", "high")}
    code = "by_parts" if "parts" in rate else "rate"
    return phrase(_WORDS, code, language, **{**rate, **shares})
