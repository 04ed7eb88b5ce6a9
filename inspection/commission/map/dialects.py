"""The one program in the dialect of each family, and what stands around its body."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from inspection.commission.map.families import Area, Family
from inspection.commission.map.logix import logix_body
from inspection.commission.map.program import BODY
from inspection.commission.map.program_comments import COMMENTS
from inspection.commission.map.variables import VARIABLES, Variable
from inspection.commission.map.words import WORDS
from inspection.plc.words import MAP_VERSION
from inspection.sentences.language import phrases
from inspection.types import Reason

BLOCK_NAME = "INSPECTION_DATA"
"""Of the S7 data block that holds both areas."""
MOST_REJECTS = 10
"""Rejects in a row that stop the line."""
_REFUSALS = (Reason.RECIPE_UNKNOWN, Reason.RECIPE_INVALID, Reason.RELEASE_INVALID)
_NAME = re.compile(r"\b(?:IN|OUT|CTRL|STAT|v|t)_[A-Za-z0-9_]+")
_LOCAL = {variable.name for variable in VARIABLES}
_SERIALS = range(1, 9)


def structured_text(area: Area, language: str) -> str:
    """Return the whole program for a family, comments in `ko` or `en`.

    `melsec` and `xgt` are a body alone: their tools keep declarations in tables, see labels.py.
    """
    surround: dict[Family, Callable[[Area, list[str], str], Iterator[str]]] = {
        "melsec": _body_alone,
        "xgt": _body_alone,
        "s7": _function_block,
        "modbus": _program,
        "opcua": _program,
        "ethernet_ip": _routine,
    }
    words = phrases(COMMENTS, language)
    head = [f"(* {words[key]} *)" for key in ("title", "untested", "every_scan")]
    lines = surround[area.family](area, list(_body(area, words)), language)
    return "\n".join([*head, *lines]) + "\n"


def _body(area: Area, words: dict[str, str]) -> Iterator[str]:
    arrays = {word.name: area.word(word) for word in WORDS} if area.family == "opcua" else {}
    text = BODY.format(
        refused=") OR (".join(f"STAT_REASON = {int(reason)}" for reason in _REFUSALS),
        version=MAP_VERSION,
        most_rejects=MOST_REJECTS,
        latch_serial="\n".join(f"{' ' * 16}v_serial_{n} := IN_SERIAL_{n};" for n in _SERIALS),
        write_serial="\n".join(f"CTRL_SERIAL_{n} := v_serial_{n};" for n in _SERIALS),
    )
    for line in text.splitlines():
        code = line.lstrip()
        if code.startswith("@"):
            yield f"{line[: len(line) - len(code)]}(* {words[code[1:]]} *)"
        else:
            yield (
                _NAME.sub(_siemens, line)
                if area.family == "s7"
                else _NAME.sub(lambda match: arrays.get(match[0], match[0]), line)
            )


def _siemens(match: re.Match[str]) -> str:
    name = match[0]
    return f"#{name}" if name in _LOCAL else f'"{BLOCK_NAME}".{name}'


def _body_alone(_area: Area, body: list[str], _language: str) -> Iterator[str]:
    yield ""
    yield from body


def _routine(area: Area, body: list[str], _language: str) -> Iterator[str]:
    yield ""
    yield from logix_body(area, body)


def _program(area: Area, body: list[str], language: str) -> Iterator[str]:
    """Declare everything in one PROGRAM, the words at their addresses or in two arrays."""
    index = ("ko", "en").index(language)
    yield "PROGRAM INSPECTION"
    yield "VAR"
    if area.family == "opcua":
        for name in area.names:
            yield f"    {name} : ARRAY[0..15] OF UINT;"
    for word in WORDS:
        what = f"(* {area.word(word)}: {word.meaning[index]} *)"
        if area.family == "opcua":
            yield f"    {what}"
        else:
            yield f"    {word.name} AT %MW{area.number(word)} : UINT; {what}"
    for variable in VARIABLES:
        yield _declared(variable, index)
    yield "END_VAR"
    yield ""
    yield from body
    yield "END_PROGRAM"


def _function_block(_area: Area, body: list[str], language: str) -> Iterator[str]:
    index = ("ko", "en").index(language)
    sections = {"VAR_INPUT": ("input",), "VAR_OUTPUT": ("output",), "VAR": ("own", "timer")}
    yield 'FUNCTION_BLOCK "INSPECTION"'
    yield "{ S7_Optimized_Access := 'TRUE' }"
    yield "VERSION : 0.1"
    for section, kinds in sections.items():
        yield section
        for variable in VARIABLES:
            if variable.kind in kinds:
                yield _declared(variable, index, {"TON": "TON_TIME"})
        yield "END_VAR"
    yield ""
    yield "BEGIN"
    yield from body
    yield "END_FUNCTION_BLOCK"


def _declared(variable: Variable, index: int, types: dict[str, str] | None = None) -> str:
    kind = (types or {}).get(variable.type, variable.type)
    return f"    {variable.name} : {kind}; (* {variable.meaning[index]} *)"
