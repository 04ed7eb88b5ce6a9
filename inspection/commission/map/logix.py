"""The program and the tags for Studio 5000 Logix Designer, whose Structured Text is another one.

    first scan: forget what tags have kept ─▶ STAT: INT[16] ─▶ words ─▶ the program ─▶ words ─▶ CTRL: INT[16]

Logix has no numbers without a sign in most controllers and no IEC timers: words are DINT tags of 0..65535,
the two arrays are INT, timers are TONR. Its tags keep their values without power, so the first scan makes the
cold start that the program relies on. Flags are read first and written last, as in the protocol.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from inspection.commission.map.families import Area
from inspection.commission.map.variables import VARIABLES, Variable
from inspection.commission.map.words import WORDS

Row = list[str]

KEPT = frozenset({"v_seq", "v_beat", "v_halted", "v_rejects"})
"""Own variables that stay as they are: sequences go on, and a stopped line stays stopped."""
_SIGNED = "v_word"
_SIGNED_MEANING = ("부호 있는 워드로 바꾸는 중간값", "a word on its way to one with a sign")
_TYPES = {"BOOL": "BOOL", "UINT": "DINT", "UDINT": "DINT", "TON": "FBD_TIMER"}
_TIMER = re.compile(r"^( *)(t_\w+)\(IN := (.*), PT := T#(\d+)(ms|s)\);$")
_TEXT_ESCAPES = {"$": "$$", "'": "$'", '"': "$Q"}
_ASCII = 0x80


def logix_body(area: Area, body: Iterable[str]) -> Iterator[str]:
    """Give the lines of the program for one routine; the two arrays are found by their tags."""
    ctrl, stat = (name.rpartition(".")[2] for name in area.names)
    yield from _first_scan()
    for word in WORDS:
        if word.block == "STAT":
            yield f"{word.name} := {stat}[{word.offset}];"
            yield f"IF {word.name} < 0 THEN"
            yield f"    {word.name} := {word.name} + 65536;"
            yield "END_IF;"
    yield ""
    for line in body:
        yield from _line(line)
    yield ""
    for word in sorted(WORDS, key=lambda word: -word.offset):  # the flags last
        if word.block == "CTRL":
            yield f"{_SIGNED} := {word.name};"
            yield f"IF {_SIGNED} > 32767 THEN"
            yield f"    {_SIGNED} := {_SIGNED} - 65536;"
            yield "END_IF;"
            yield f"{ctrl}[{word.offset}] := {_SIGNED};"


def _first_scan() -> Iterator[str]:
    yield "IF S:FS THEN"
    for variable in VARIABLES:
        if variable.kind == "timer":
            yield f"    {variable.name}.Reset := 1;"
            yield f"    TONR({variable.name});"
            yield f"    {variable.name}.Reset := 0;"
        elif variable.kind == "own" and variable.name not in KEPT:
            yield f"    {variable.name} := 0;"
    yield "    OUT_PASS := 0;"
    yield "END_IF;"
    yield ""


def _line(line: str) -> Iterator[str]:
    """Translate one line; comments stay as they are."""
    if line.lstrip().startswith("(*"):
        yield line
        return
    line = line.replace("UINT#", "").replace(".Q", ".DN")
    line = re.sub(r"\bTRUE\b", "1", re.sub(r"\bFALSE\b", "0", line))
    timer = _TIMER.match(line)
    if timer is None:
        yield line
        return
    indent, name, on, number, unit = timer.groups()
    yield f"{indent}{name}.PRE := {int(number) * (1000 if unit == 's' else 1)};"
    yield f"{indent}{name}.TimerEnable := {on};"
    yield f"{indent}TONR({name});"


def studio5000_tags(area: Area, language: str) -> Iterator[str]:
    """Lines of the tool's import file: tags of the controller or of a program, each with its comment."""
    yield 'remark,"CSV-Import-Export"\r\n'
    yield "0.3\r\n"
    yield "TYPE,SCOPE,NAME,DESCRIPTION,DATATYPE,SPECIFIER,ATTRIBUTES\r\n"
    for row in _rows(area, language):  # texts in quotes; `_escaped` leaves none inside
        yield ",".join([*row[:3], *(f'"{cell}"' for cell in row[3:])]) + "\r\n"


def _rows(area: Area, language: str) -> Iterator[Row]:
    index = ("ko", "en").index(language)
    scope = _scope(area)
    for block, name in zip(("CTRL", "STAT"), area.names, strict=True):
        yield _tag(scope, name.rpartition(".")[2], block, "INT[16]")
    for word in WORDS:
        yield _tag(scope, word.name, word.meaning[index], "DINT")
    for variable in _all_variables():
        yield _tag(scope, variable.name, variable.meaning[index], _TYPES[variable.type])
    for word in WORDS:
        array, _, _ = area.word(word).rpartition(".")[2].partition("[")
        places = [(f"{array}[{word.offset}]", word.meaning)]
        places += [(f"{array}[{word.offset}].{bit.number}", bit.meaning) for bit in word.bits]
        for place, meaning in places:
            yield ["COMMENT", scope, array, _escaped(meaning[index]), "", place, ""]


def _scope(area: Area) -> str:
    """Return the program of the tags; empty: they are of the controller."""
    return area.names[0].partition(".")[0].removeprefix("Program:") if "." in area.names[0] else ""


def _all_variables() -> tuple[Variable, ...]:
    return (*VARIABLES, Variable(_SIGNED, "UINT", "own", _SIGNED_MEANING))


def _tag(scope: str, name: str, description: str, kind: str) -> Row:
    radix = "" if kind == "FBD_TIMER" else "RADIX := Decimal, "
    attributes = f"({radix}Constant := false, ExternalAccess := Read/Write)"
    return ["TAG", scope, name, _escaped(description), kind, "", attributes]


def _escaped(text: str) -> str:
    """Write a text as Logix Designer does: plain ASCII, `$` and four hexadecimal digits for other signs."""
    return "".join(
        _TEXT_ESCAPES.get(sign, sign) if ord(sign) < _ASCII else f"${ord(sign):04X}"
        for sign in text
    )
