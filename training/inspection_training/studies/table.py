"""Read the tables of a study: who rated or measured which part, how often, with what result.

CSV with a header, as spreadsheets save it (UTF-8 with or without mark, CP949; comma, semicolon or tab).
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inspection.errors import ConfigError

GOOD = {"good", "ok", "pass", "g", "0", "양품", "양호", "합격", "정상"}
BAD = {"bad", "ng", "fail", "defective", "b", "1", "불량", "불합격", "부적합"}


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Return the rows of a CSV file, cells without outer blanks.

    Args:
        path: the file.
        columns: columns it must have; others are ignored.

    Raises:
        ConfigError: unreadable, empty, or a column or cell is missing; the message names the line.
    """
    text = _decode(path)
    first = text.split("\n", 1)[0]
    mark = max(",;\t", key=first.count)
    reader = csv.DictReader(io.StringIO(text), delimiter=mark)
    heads = [(name or "").strip().lower() for name in reader.fieldnames or []]
    missing = [name for name in columns if name not in heads]
    if missing:
        raise ConfigError(
            f"{path} has no column {', '.join(missing)}; its first line must name {', '.join(columns)}"
        )
    reader.fieldnames = heads
    rows: list[dict[str, str]] = []
    for row in reader:
        cells = {name: (row.get(name) or "").strip() for name in columns}
        if not any(cells.values()):
            continue
        empty = [name for name, cell in cells.items() if not cell]
        if empty:
            raise ConfigError(f"{path} line {reader.line_num}: {', '.join(empty)} is empty")
        rows.append(cells | {"line": str(reader.line_num)})
    if not rows:
        raise ConfigError(f"{path} has no rows under its header")
    return rows


def _decode(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    for encoding in ("utf-8-sig", "cp949"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise ConfigError(f"{path} is neither UTF-8 nor CP949 text; save it as CSV UTF-8")


def read_ratings(
    path: Path, reference: str
) -> tuple[list[str], dict[str, NDArray[np.bool_]], NDArray[np.bool_]]:
    """Return the parts, appraiser to bool [parts, trials] (True is bad), and the reference bool [parts].

    Args:
        path: CSV with part, appraiser, trial, rating.
        reference: the appraiser whose rating is the truth, one for each part.

    Raises:
        ConfigError: a rating is neither good nor bad, is there twice, or is missing.
    """
    cells: dict[str, dict[tuple[str, str], bool]] = defaultdict(dict)
    parts: dict[str, None] = {}
    for row in read_table(path, ("part", "appraiser", "trial", "rating")):
        word = row["rating"].lower()
        if word not in GOOD | BAD:
            raise ConfigError(
                f"{path} line {row['line']}: rating {row['rating']!r} is neither good nor bad; write good "
                "or bad, OK or NG, 양품 or 불량"
            )
        key, own = (row["part"], row["trial"]), cells[row["appraiser"]]
        if key in own:
            raise ConfigError(
                f"{path} line {row['line']}: {row['appraiser']} rated part {key[0]} in trial {key[1]} twice"
            )
        own[key] = word in BAD
        parts[row["part"]] = None
    if reference not in cells:
        raise ConfigError(
            f"{path} has no appraiser {reference!r}; its appraisers are {', '.join(sorted(cells))}. "
            "Name the one that is right with --reference"
        )
    tables = {name: _square(path, name, own, list(parts)) for name, own in cells.items()}
    truth = tables.pop(reference)
    if not tables:
        raise ConfigError(f"{path} rates with nobody but {reference}; a study needs an appraiser")
    if truth.shape[1] != 1:
        raise ConfigError(
            f"{path}: {reference} must rate each part once, not {truth.shape[1]} times"
        )
    if len({table.shape for table in tables.values()}) != 1:
        raise ConfigError(f"{path}: every appraiser must rate every part equally often")
    return list(parts), tables, truth[:, 0]


def _square(
    path: Path, name: str, cells: dict[tuple[str, str], bool], parts: list[str]
) -> NDArray[np.bool_]:
    trials = sorted({trial for _, trial in cells})
    for part in parts:
        for trial in trials:
            if (part, trial) not in cells:
                raise ConfigError(f"{path}: {name} has no rating of part {part} in trial {trial}")
    return np.array([[cells[part, trial] for trial in trials] for part in parts], bool)


def read_measurements(path: Path) -> NDArray[np.float64]:
    """Return float64 [appraisers, trials, parts] of a CSV with part, appraiser, trial, value.

    Raises:
        ConfigError: a value is no number, is there twice, or is missing.
    """
    cells: dict[tuple[str, str, str], float] = {}
    for row in read_table(path, ("part", "appraiser", "trial", "value")):
        key = (row["appraiser"], row["trial"], row["part"])
        if key in cells:
            raise ConfigError(f"{path} line {row['line']}: {' '.join(key)} is there twice")
        try:
            cells[key] = float(row["value"])
        except ValueError as error:
            raise ConfigError(
                f"{path} line {row['line']}: value {row['value']!r} is no number"
            ) from error
    names = [list(dict.fromkeys(key[axis] for key in cells)) for axis in range(3)]
    grid = [[[(a, t, p) for p in names[2]] for t in names[1]] for a in names[0]]
    for key in (key for rows in grid for row in rows for key in row):
        if key not in cells:
            raise ConfigError(
                f"{path}: appraiser {key[0]}, trial {key[1]}, part {key[2]} is missing"
            )
    return np.array([[[cells[key] for key in row] for row in rows] for rows in grid], np.float64)


def read_counts(path: Path) -> tuple[list[str], list[int], list[int]]:
    """Return names, rejects and sizes of the samples of a CSV with sample, size, count.

    Raises:
        ConfigError: a number is no whole number, or a count is over its size.
    """
    names: list[str] = []
    counts: list[int] = []
    sizes: list[int] = []
    for row in read_table(path, ("sample", "size", "count")):
        try:
            size, count = int(row["size"]), int(row["count"])
        except ValueError as error:
            raise ConfigError(
                f"{path} line {row['line']}: size and count must be whole numbers"
            ) from error
        if not 0 <= count <= size or size < 1:
            raise ConfigError(f"{path} line {row['line']}: count {count} of {size} cannot be")
        names.append(row["sample"])
        counts.append(count)
        sizes.append(size)
    return names, counts, sizes
