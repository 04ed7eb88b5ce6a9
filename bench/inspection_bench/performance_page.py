"""Writes docs/performance.md: the words are here, the tables come from the JSON files of a run.

FOLDER/{line,hold,runtime,service,scale,store,plc,train,web}.json ─▶ a section each ─▶ Markdown
FOLDER/train-boards.json, or any NAME-….json ─▶ a further run, in the section of NAME
FOLDER/NAME.png ─▶ copied beside the page, where it is there
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from inspection.errors import ConfigError
from inspection_bench.measured import cell, columns, heading, tables, times

HEAD = """# Performance

Written by `inspection bench report`, on one machine. Speed is always a ratio to a peer in the same run, on
the same frames: absolute times move with the machine and its load, ratios much less. p99 of few parts is
nearly the slowest of them. A promise is a number that the project set itself beforehand; one that was missed
is said as plainly as one that held.

How to run it on your PC, and what each benchmark does: [bench/README.md](../bench/README.md).
"""
WORDS = {
    "line": """## Trigger to PLC

From the moment the PLC raises TRIGGER until the answer stands valid in its memory, by the clock of the PLC
itself: the same simulated PLC, the same five-megapixel frames, rendered beforehand and handed out from
memory on both sides. One part after the other, every side alone on the PC in its turn.

- **ours**: `inspection line`, the handshake over Modbus, the row committed before the PLC is told
  (SQLite, `synchronous=FULL`), pictures kept. The network runs in the inference service, over shared
  memory; *in process*: in the line's own process.
- **naive**: what most people write. A loop polls the PLC and posts a JPEG to FastAPI, which decodes it,
  calls ultralytics' `predict`, writes the picture with `imwrite`, commits one SQLAlchemy row, and answers;
  then the loop writes the PLC. Its source is in `bench/inspection_bench/naive/`.

`inference` is the runtime's own time of a part, `rest` all else that this part waited for. CPU and
memory count all processes of a side, polling between parts included. `activation own` is ultralytics'
network as it comes, with SiLU; `hardswish` is one trained with a cheaper function, on both sides.
""",
    "hold": """## A takt, held for minutes

The same line with its service at a fixed takt and a deadline for each part; no peer. Memory and open files
are looked at all the time, in every process.
""",
    "runtime": """## Frame to boxes

A frame in memory to the boxes in its pixels, each contestant a process of its own, called in turns.
*raw* is OpenVINO alone on an input that is ready: nothing can be faster. *rect* is an export with the
camera's aspect ratio, which ultralytics makes only when it is told the shape. Decisions and boxes are
compared with ours in f32. Where a processor has bf16, OpenVINO computes in it unless it is told not to: the
peers on OpenVINO do so without asking, ours only by a variant that was compared with the release.
""",
    "service": """## The inference service

One input at a time, then many clients at once, in turns with the raw runtime called back to back.
""",
    "scale": """## As work grows

Cameras: real lines, each a process with its own PLC and store, on one inference service; each has a part
at every takt, and all run during the whole measurement. Megapixels: one line, the frame scaled to the
same input. CPU counts the line processes and the service, polling between parts included. Results: what
the review page and the quality page ask of the store, without the pages around it; the numbers of results
take turns. 100,000 are a month, more are more years; as many parts wait for a person from 100,000 on.
Replicas: the service on Ray, one thread each, on this PC, where clients and front need processors too.
""",
    "store": """## The results store

A part of ours is four writes, two of them durable before the line goes on. The naive row is one
SQLAlchemy ORM object and its commit. Pages: ours by key, the naive ones by
OFFSET with a count, over as many rows.
""",
    "plc": """## The PLC links

A whole station with a small model over every link, on loopback, the links in turns.
""",
    "train": """## Training

Images a second of an epoch, against `yolo detect train` with the same weights, images, settings and
epochs. On a processor the command leaves one core free: on two it trains with one thread, ours with both.
What that brings is in the row `ours f32`. The first epoch and the last do not count. mAP50 is of the last
weights on the val images, which neither side learned from, by ultralytics' own `val` for all.
""",
    "web": """## The pages

How long a person waits; the pages have no peer. A small store and few repeats in the short form of
`make bench`.
""",
}
TAIL = """## Not measured here

No GPU, no arm64, no line that ran for hours, no cluster of several PCs. Roboflow's server is not raced:
it is not among the packages that this project installs.
"""


def write_page(folder: Path, page: Path) -> None:
    """Write the page from what a folder holds; a benchmark that was not run has no section.

    Raises:
        ConfigError: the folder holds no findings, or a file is none.
    """
    sections: list[str] = []
    for name, words in WORDS.items():
        first = folder / f"{name}.json"
        files = [file for file in [first, *sorted(folder.glob(f"{name}-*.json"))] if file.exists()]
        if files:
            sections.append(words)
        for file in files:
            try:
                sections.append(_section(json.loads(file.read_text())))
            except (ValueError, KeyError, TypeError) as error:
                raise ConfigError(
                    f"{file} holds no findings of a benchmark ({error!r}); run it again"
                ) from error
            plot = file.with_suffix(".png")
            if plot.exists():
                shutil.copyfile(plot, page.parent / f"performance-{plot.name}")
                sections.append(f"![{plot.stem}](performance-{plot.name})\n")
    if not sections:
        raise ConfigError(f"{folder} holds no findings; run: make bench")
    page.write_text("\n".join([HEAD, *sections, TAIL]), encoding="utf-8")


def _section(found: dict[str, Any]) -> str:
    machine, settings = found["machine"], found["settings"]
    lines = [
        f"{machine['processor']}, {machine['cores']} cores, load {machine['load']} to "
        f"{found['load_at_end']:.1f}, {machine['at'][:10]}. "
        + ", ".join(f"{key} {value}" for key, value in settings.items())
        + ".",
        "",
    ]
    for told, rows in tables(found["rows"]):
        lines += [f"{told}:", ""] if told else []
        lines += [*_table(rows), ""]
    if found["ratios"]:
        lines += ["| how many times | value | promised | |", "|---|---|---|---|"]
        for ratio in found["ratios"]:
            least = "at most " if ratio.get("at_most") else ""
            wanted = "" if ratio["wanted"] is None else f"{least}{ratio['wanted']:g}"
            held = {None: "", True: "held", False: "**missed**"}[ratio["held"]]
            lines.append(f"| {ratio['of']} | {times(ratio['value'])} | {wanted} | {held} |")
    lines += _parts(found["rows"])
    if found["notes"]:
        lines += ["", "```", *found["notes"], "```"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    return "\n".join([*lines, "", f"Versions: {versions}.", ""])


def _table(rows: list[dict[str, Any]]) -> list[str]:
    keys = columns(rows)
    lines = [f"| {' | '.join(heading(key) for key in keys)} |", "|" + "---|" * len(keys)]
    lines += [f"| {' | '.join(cell(row.get(key)) for key in keys)} |" for row in rows]
    return lines


def _parts(rows: list[dict[str, Any]]) -> list[str]:
    """Return where the milliseconds of ours go, and the CPU time by process."""
    lines: list[str] = []
    for row in rows:
        for key, words in (
            ("stages_p50_ms", "where the time goes, p50"),
            ("cpu_ms", "CPU time of a part"),
        ):
            if row.get(key):
                told = ", ".join(f"{name} {value} ms" for name, value in row[key].items())
                lines.append(f"- {row['name']}, {words}: {told}")
    return ["", *lines] if lines else []
