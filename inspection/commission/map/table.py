"""The exchange area as a table on the terminal."""

from __future__ import annotations

from inspection.commission.map.families import Area
from inspection.commission.map.words import WORDS, Meaning
from inspection.sentences.language import phrases

_HEADS: dict[str, Meaning] = {
    "word": ("워드", "word"),
    "address": ("주소", "address"),
    "name": ("이름", "name"),
    "meaning": ("의미", "meaning"),
    "CTRL": ("CTRL: PLC만 씀", "CTRL: only the PLC writes"),
    "STAT": ("STAT: 스테이션만 씀", "STAT: only the station writes"),
}


def print_map(area: Area, language: str) -> None:
    """Print one table a block: every word, then its bits."""
    from rich.console import Console
    from rich.table import Table

    heads = phrases(_HEADS, language)
    index = ("ko", "en").index(language)
    console = Console()
    for block in ("CTRL", "STAT"):
        columns = (heads[key] for key in ("word", "address", "name", "meaning"))
        table = Table(*columns, title=heads[block], title_justify="left")
        for word in WORDS:
            if word.block != block:
                continue
            table.add_row(str(word.offset), area.word(word), word.name, word.meaning[index])
            for bit in word.bits:
                place = f"{word.offset}.{bit.number}"
                table.add_row(place, area.bit(word, bit.number), bit.name, bit.meaning[index])
        console.print(table)
