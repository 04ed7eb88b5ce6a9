"""The words as the makers' tools import them: labels, variables, device comments, a data block.

Where each layout was taken from, and that no maker's tool was tried, is written beside the files: see
companion.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from inspection.commission.map.dialects import BLOCK_NAME
from inspection.commission.map.families import Area
from inspection.commission.map.variables import VARIABLES, Variable
from inspection.commission.map.words import WORDS, Bit, Word

Row = list[str]

_GX_UINT, _GX_UDINT = (
    "Word [Unsigned]/Bit String [16-bit]",
    "Double Word [Unsigned]/Bit String [32-bit]",
)
_GX_TYPES = {"BOOL": "Bit", "UINT": _GX_UINT, "UDINT": _GX_UDINT, "TON": "TON"}
_GX3_COLUMNS = [
    "Class", "Label Name", "Data Type", "Constant", "Initial Value", "Assign (Device/Label)", "Address",
    "Comment", "Comment 2", "Comment 3", "Comment 4", "Comment 5", "Japanese/日本語", "English",
    "Chinese Simplified/简体中文", "Korean/한국어", "Chinese Traditional/繁體中文", "German/Deutsch",
    "Italian/Italiano", "Reserved1", "Reserved2", "Reserved3", "Reserved4", "Remark",
    "System Label Relation", "System Label Name", "Attribute",
]  # fmt: skip
_GX3_GLOBAL = [*_GX3_COLUMNS, "Access from External Device"]
_GX2_COLUMNS = [
    "Class", "Label Name", "Data Type", "Constant", "Device", "Address", "Comment", "Remark",
    "Relation with System Label", "System Label Name", "Attribute",
]  # fmt: skip
_GX2_TYPES = {"Bit": "Bit", _GX_UINT: "Word[Unsigned]/Bit String[16-bit]"}
_XG_COLUMNS = ["변수", "타입", "디바이스", "사용 유무", "HMI", "설명문"]
_XGK_TYPES = {"BOOL": "BIT", "UINT": "WORD", "UDINT": "DWORD"}
"""An XGK has no timers of a type: its timers are devices."""
_TITLE = "INSPECTION"


def gx_works3_global(area: Area, language: str) -> Iterator[Row]:
    """Global labels at their devices, bits too; then the machine's inputs and outputs without a device."""
    yield [_TITLE]
    yield _GX3_GLOBAL
    for name, kind, device, comment in _placed(area, language):
        yield _gx3_row(_GX3_GLOBAL, "VAR_GLOBAL", name, kind, device, comment)
    for variable in VARIABLES:
        if variable.kind in ("input", "output"):
            yield _gx3_row(_GX3_GLOBAL, "VAR_GLOBAL", *_gx_label(variable, language))


def gx_works3_local(language: str) -> Iterator[Row]:
    """Local labels of the program."""
    yield [_TITLE]
    yield _GX3_COLUMNS
    for variable in VARIABLES:
        if variable.kind in ("own", "timer"):
            yield _gx3_row(_GX3_COLUMNS, "VAR", *_gx_label(variable, language))


def gx_works2_global(area: Area, language: str) -> Iterator[Row]:
    """Global labels at their devices."""
    yield [_TITLE]
    yield _GX2_COLUMNS
    for name, kind, device, comment in _placed(area, language):
        yield ["VAR_GLOBAL", name, _GX2_TYPES[kind], "", device, "", comment, "", "", "", ""]


def gx_comments(area: Area, language: str, column: str) -> Iterator[Row]:
    """Device comments; `column` is the title of the comment's column."""
    yield [_TITLE]
    yield ["Device Name", column]
    for _, _, device, comment in _placed(area, language):
        yield [device, comment]


def xg5000_variables(area: Area, language: str) -> Iterator[Row]:
    """Global variables at their devices, then those of the program without one."""
    yield _XG_COLUMNS
    index = _index(language)
    iec = area.iec
    for word, bit in _all():
        name, meaning = (word.name, word.meaning) if bit is None else (bit.name, bit.meaning)
        kind = "UINT" if bit is None else "BOOL"
        yield [
            name,
            kind if iec else _XGK_TYPES[kind],
            _xg_device(area, word, bit),
            "1",
            "0",
            _plain(meaning[index]),
        ]
    for variable in VARIABLES:
        kind = variable.type if iec else _XGK_TYPES.get(variable.type)
        if kind is not None:
            yield [variable.name, kind, "", "1", "0", _plain(variable.meaning[index])]


def s7_data_block(area: Area, language: str) -> Iterator[str]:
    """Return the external source of a data block whose words lie where the station reads and writes them."""
    index = _index(language)
    yield f'DATA_BLOCK "{BLOCK_NAME}"'
    yield "{ S7_Optimized_Access := 'FALSE' }"
    yield "VERSION : 0.1"
    yield "NON_RETAIN"
    yield "   STRUCT"
    at = 0
    gaps = 0
    for word in sorted(WORDS, key=area.number):
        n = area.number(word)
        if n > at:
            gaps += 1
            yield f"      GAP_{gaps} : Array[1..{n - at}] of UInt;"
        at = n + 1
        yield f"      {word.name} : UInt;   // {area.word(word)}: {word.meaning[index]}"
        for bit in word.bits:
            yield f"      // {area.bit(word, bit.number)} {bit.name}: {bit.meaning[index]}"
    yield "   END_STRUCT;"
    yield ""
    yield "BEGIN"
    yield "END_DATA_BLOCK"


def registers(area: Area, language: str) -> Iterator[Row]:
    """Return the holding registers for a table calculation: number, offset in the protocol, name, meaning."""
    yield ["register", "address", "block", "word", "name", "meaning"]
    for word in WORDS:
        meaning = word.meaning[_index(language)]
        number = str(area.number(word))
        yield [area.word(word), number, word.block, str(word.offset), word.name, meaning]


def nodes(area: Area, language: str) -> Iterator[Row]:
    """Return the two arrays for a table calculation: node id, element, name, meaning, words before bits."""
    yield ["block", "node_id", "array", "index", "bit", "type", "station", "name", "meaning"]
    index = _index(language)
    for word, bit in _all():
        second = word.block == "STAT"
        what, at = (word, "") if bit is None else (bit, str(bit.number))
        access = "write" if second else "read"
        yield [
            word.block, area.nodes[second], area.names[second], str(word.offset), at,
            "UInt16[16]", access, what.name, what.meaning[index],
        ]  # fmt: skip


def _all() -> Iterator[tuple[Word, Bit | None]]:
    for word in WORDS:
        yield word, None
        for bit in word.bits:
            yield word, bit


def _placed(area: Area, language: str) -> Iterator[tuple[str, str, str, str]]:
    """Give name, MELSEC data type, device and comment of every word and bit."""
    index = _index(language)
    for word, bit in _all():
        if bit is None:
            yield word.name, _GX_UINT, area.word(word), _plain(word.meaning[index])
        else:
            yield bit.name, "Bit", area.bit(word, bit.number), _plain(bit.meaning[index])


def _gx_label(variable: Variable, language: str) -> tuple[str, str, str, str]:
    comment = _plain(variable.meaning[_index(language)])
    return variable.name, _GX_TYPES[variable.type], "", comment


def _gx3_row(
    columns: Iterable[str], kind: str, name: str, data_type: str, device: str, comment: str
) -> Row:
    given = {
        "Class": kind,
        "Label Name": name,
        "Data Type": data_type,
        "Assign (Device/Label)": device,
        "Comment": comment,
        "Access from External Device": "0",
    }
    return [given.get(column, "") for column in columns]


def _xg_device(area: Area, word: Word, bit: Bit | None) -> str:
    if bit is None:
        return area.word(word)
    if area.iec:
        return f"%MX{16 * area.number(word) + bit.number}"
    return area.bit(word, bit.number)


def _plain(text: str) -> str:
    """Leave out what a table of a tool could take for its own: commas, tabs and quotes."""
    return text.replace(", ", " / ").replace(",", " ").replace("\t", " ").replace('"', "'")


def _index(language: str) -> int:
    return ("ko", "en").index(language)
