"""What `inspection replay` shows on the terminal, Korean and English."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from inspection.types import Decision
from inspection.variants import precision_of
from inspection_training.replay.decide_again import Replay, Replayed
from inspection_training.replay.text import named_why, texts

if TYPE_CHECKING:
    from rich.table import Table

LISTED = 40
EXAMPLES = 3
_THEN = (Decision.PASS, Decision.REVIEW, Decision.FAIL)
_NOW = (*_THEN, Decision.NOT_INSPECTED)


def print_replay(found: Replay, html: Path | None, language: str) -> None:
    """Print the table, every part that would change, and how much to believe."""
    from rich.console import Console

    console = Console(soft_wrap=True, highlight=False)
    console.print(matrix(found, language))
    for line in lines(found, language):
        console.print(line, markup=False)
    if html is not None:
        console.print(texts(language)["report"].format(file=html), markup=False)


def matrix(found: Replay, language: str) -> Table:
    """Return the decisions then (rows) and now (columns)."""
    from rich.markup import escape
    from rich.table import Table

    words = texts(language)
    told = {"release": found.release.name, "precision": precision_of(found.release)}
    table = Table(title=escape(words["table"].format(**told, parts=len(found.parts))))
    table.add_column(words["then_now"])
    for kind in _NOW:
        table.add_column(words[kind.value], justify="right")
    for old in _THEN:
        counts = [found.counts.get((old, new), 0) for new in _NOW]
        table.add_row(words[old.value], *map(str, counts))
    return table


def lines(found: Replay, language: str) -> list[str]:
    """Return what stands below the table; the last line counts the changes."""
    words = texts(language)
    told = [_part(part, words) for part in found.changed[:LISTED]]
    if len(found.changed) > LISTED:
        told.append(words["and_more"].format(more=len(found.changed) - LISTED))
    for name, counts in found.reviewed().items():
        if counts["parts"]:
            told.append(words[f"judged_{name}"].format(**counts))
    if found.baseline:
        differ = sum(part.noise for part in found.baseline)
        told.append(words["baseline_some"].format(parts=len(found.baseline), differ=differ))
    for why, count in found.no_baseline.items():
        told.append(words["no_baseline"].format(count=count, why=named_why(why, words)))
    if found.lossy:
        told.append(words["lossy"].format(count=found.lossy))
    if found.recipe_differs:
        told.append(words["other_recipe"].format(count=found.recipe_differs))
    if found.no_code:
        told.append(words["no_code"].format(count=found.no_code))
    for why, keys in found.left_out.items():
        shown = ", ".join(keys[:EXAMPLES])
        told.append(
            words["left_out"].format(count=len(keys), why=named_why(why, words), shown=shown)
        )
    told.append(words["would_change"].format(changed=len(found.changed), parts=len(found.parts)))
    return told


def _part(part: Replayed, words: dict[str, str]) -> str:
    """Return one part that would change: what it was and would be, and why, where that is known."""
    more = [part.new.detail or (f"{words['old']}: {part.detail}" if part.detail else "")]
    if part.verdict:
        more.append(f"{words['verdict']}: {words[part.verdict.value]}")
    error = part.error(part.new.decision)
    more += [words[error]] if error else []
    more += [words["noise"]] if part.noise else []
    change = f"{words[part.old.value]} -> {words[part.new.decision.value]}"
    return f"  {part.key} {part.at}: {change}  {'; '.join(text for text in more if text)}".rstrip()
