"""What `verify` looks at: the rows, the PLC's logs, the pictures, the journal. Read only."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from inspection.errors import StoreError
from inspection.store import journal
from inspection.store.config import StoreConfig
from inspection.store.database import known_revisions, make_engine, revision, store_error
from inspection.store.plant.tables import is_plant
from inspection.store.plc_log import PlcLog, read_plc_log
from inspection.store.plc_match import Matched, RowFact, match, window
from inspection.store.tables import HEAD, parts

EXAMPLES = 10
"""Breaches shown of one invariant; all are counted."""

_CHUNK = 2000


@dataclass(slots=True)
class Finding:
    """What is known of one invariant.

    Attributes:
        code: `STORE`, `I1` to `I12`, `AUDIT`, `OUTBOX`; in a plant store `PLANT` instead of `OUTBOX`.
        title: what must hold.
        checked: how many things were looked at.
        breaches: how many break it.
        examples: the first of them.
        notes: what else a reader should know.
        unchecked: why it cannot be checked here; empty when it was.
    """

    code: str
    title: str
    checked: int = 0
    breaches: int = 0
    examples: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])
    unchecked: str = ""

    @property
    def status(self) -> Literal["ok", "BREACH", "not checkable here"]:
        """A breach counts even where the rest could not be checked."""
        if self.breaches:
            return "BREACH"
        return "not checkable here" if self.unchecked else "ok"

    def breach(self, text: str) -> None:
        """Count a breach and keep the first few."""
        self.breaches += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(text)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        names = ("code", "title", "checked", "breaches", "examples", "notes", "unchecked")
        return {"status": self.status, **{name: getattr(self, name) for name in names}}


@dataclass
class Facts:
    """One store and what was said about it elsewhere. The logs are read before the first row is.

    Attributes:
        config: which store.
        logs: the PLC's logs, may be none.
        images: folder of the pictures, or None.
    """

    config: StoreConfig
    logs: list[PlcLog]
    images: Path | None

    @classmethod
    def gather(cls, config: StoreConfig, plc_logs: Sequence[Path], images: Path | None) -> Facts:
        """Read the logs and look whether the store can be read.

        Raises:
            StoreError: a log or the store cannot be read.
        """
        path = config.sqlite_path
        if path is not None and not path.is_file():
            raise StoreError(f"there is no store at {path}; check the path")
        facts = cls(config, [read_plc_log(log) for log in plc_logs], images)
        with facts.reading() as connection:
            names = sa.inspect(connection).get_table_names()
        if "parts" not in names:
            raise StoreError(
                f"{config.url} holds no results store (tables: {', '.join(names) or 'none'})"
            )
        return facts

    @cached_property
    def is_plant(self) -> bool:
        """Tell whether it is a plant store, which holds parts of many stations."""
        with self.reading() as connection:
            return is_plant(connection)

    @cached_property
    def revision(self) -> str | None:
        """Return the migration that the tables are at."""
        with self.reading() as connection:
            return revision(connection)

    @property
    def is_older(self) -> bool:
        """Tell whether an older program wrote it, whose tables this one knows."""
        return self.revision != HEAD and self.revision in known_revisions()

    @cached_property
    def _engine(self) -> sa.Engine:
        return make_engine(self.config, read_only=True)

    @contextmanager
    def reading(self) -> Generator[sa.Connection]:
        """One short read transaction. Raises StoreError."""
        try:
            with self._engine.connect() as connection, connection.begin():
                yield connection
        except (SQLAlchemyError, sqlite3.Error, ValueError) as error:
            raise store_error(error, self.config, "verifying") from error

    def find(self, query: sa.Executable) -> list[Any]:
        """Return all rows of a small answer."""
        with self.reading() as connection:
            return list(connection.execute(query))

    def count(self, *where: sa.ColumnElement[bool]) -> int:
        """Return how many parts these conditions hold for."""
        return int(self.find(sa.select(sa.func.count()).select_from(parts).where(*where))[0][0])

    def each(self, *columns: Any, where: Sequence[sa.ColumnElement[bool]] = ()) -> Generator[Any]:
        """Yield rows by record id, in short transactions: the line may write meanwhile."""
        above = 0
        while True:
            query = (
                sa.select(parts.c.id, *columns)
                .where(parts.c.id > above, *where)
                .order_by(parts.c.id)
                .limit(_CHUNK)
            )
            found = self.find(query)
            yield from found
            if len(found) < _CHUNK:
                return
            above = int(found[-1].id)

    @cached_property
    def _rows(self) -> list[list[RowFact]]:
        return [self._rows_of(log) for log in self.logs]

    @cached_property
    def record_names(self) -> dict[int, tuple[int, int]]:
        """Return sequence and part id of every record id that a log names, where there is one."""
        return {row.id: (row.sequence, row.part_id) for rows in self._rows for row in rows}

    @cached_property
    def matched(self) -> list[Matched]:
        """Each log held against the store."""
        return [match(log, rows) for log, rows in zip(self.logs, self._rows, strict=True)]

    def _rows_of(self, log: PlcLog) -> list[RowFact]:
        names = ("station", "epoch", "sequence", "part_id", "decision", "reason", "triggered_mono")
        times = ("triggered_at", "decided_mono", "decided_at", "committed_mono")
        columns = [parts.c[name] for name in (*names, *times)]
        between = window(log)
        if between is None:
            return []
        in_time = (parts.c.triggered_at >= between[0], parts.c.triggered_at <= between[1])
        rows = {row.id: RowFact.of(row) for row in self.each(*columns, where=in_time)}
        told = sorted({trigger.record for trigger in log.triggers if trigger.record} - set(rows))
        for start in range(0, len(told), _CHUNK):
            chosen = told[start : start + _CHUNK]
            query = sa.select(parts.c.id, *columns).where(parts.c.id.in_(chosen))
            rows |= {row.id: RowFact.of(row) for row in self.find(query)}
        return list(rows.values())

    def waiting_in_journal(self) -> int:
        """Return how many parts a start of the line would still write from the journal."""
        try:
            data = self.config.journal_path.read_bytes()
        except OSError:
            return 0
        found = 0
        for slot in range(2, len(data) // journal.SLOT):
            block = data[slot * journal.SLOT : (slot + 1) * journal.SLOT]
            try:
                found += journal.decode(block) is not None
            except ValueError:
                found += 1
        return found

    def close(self) -> None:
        """Release everything."""
        self._engine.dispose()
