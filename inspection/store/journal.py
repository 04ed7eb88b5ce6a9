"""The journal: parts that the database could not take, in a file that also works on a full disk.

    slot 0, 1    marks: the highest epoch and record id given so far; written in turn
    slot 2 …     one part each, free or taken

The file is written once, whole, when it is made. Later writes go to the same blocks, so they need
no free space (on file systems that write in place: ext4, xfs). Each slot carries its length and
CRC-32; a slot that was being written when the power went is found damaged, not believed.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import struct
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from inspection.errors import StoreError

SLOT = 8192
"""Bytes of one slot."""
SLOTS = 256
"""Slots of the file; the first two hold the marks."""

_MAGIC = b"IPJ1"
_HEADER = struct.Struct("<4sQII")  # magic, order, length, CRC-32 of order + length + payload
_CAPACITY = SLOT - _HEADER.size
_MARK_SLOTS = (0, 1)
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Note:
    """One remembered part: where it lies, when it came, what it says."""

    slot: int
    order: int
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Marks:
    """The highest numbers ever given, so that a new database never gives them again.

    Attributes:
        epochs: station name to its highest epoch.
        record: record ids up to this one may have been given.
    """

    epochs: dict[str, int] = field(default_factory=dict)
    record: int = 0


def encode(order: int, values: dict[str, Any]) -> bytes | None:
    """Return a slot's bytes, or None when the values do not fit."""
    payload = json.dumps(
        values, ensure_ascii=False, separators=(",", ":"), allow_nan=False
    ).encode()
    if len(payload) > _CAPACITY:
        return None
    return _HEADER.pack(_MAGIC, order, len(payload), _crc(order, payload)) + payload


def decode(block: bytes) -> tuple[int, dict[str, Any]] | None:
    """Return a slot's order and values; None when it is free.

    Raises:
        ValueError: the slot is damaged.
    """
    head = block[: _HEADER.size]
    if not any(head):
        return None
    if len(block) < _HEADER.size:
        raise ValueError("the slot is cut short")
    magic, order, length, crc = _HEADER.unpack(head)
    payload = block[_HEADER.size : _HEADER.size + length]
    if magic != _MAGIC or len(payload) != length or crc != _crc(order, payload):
        raise ValueError("the slot's check sum is wrong")
    return int(order), dict(json.loads(payload))


def _crc(order: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(struct.pack("<QI", order, len(payload))))


class Journal:
    """The open journal file, locked against other processes. Used by one thread at a time.

    Attributes:
        notes: parts found when the file was opened, oldest first.
        damaged: what was wrong with slots found damaged, one text each.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, or make it.

        Raises:
            StoreError: another process uses it, or it cannot be made.
        """
        self._path = path
        self._file = -1
        self._order = 0
        self._taken: set[int] = set()
        self._to_free: set[int] = set()
        self._marks = Marks()
        self._next_mark = 0
        self.notes: list[Note] = []
        self.damaged: list[str] = []
        self._open()
        self._read()

    @property
    def free(self) -> int:
        """Slots that can still take a part."""
        return SLOTS - len(_MARK_SLOTS) - len(self._taken)

    @property
    def marks(self) -> Marks:
        """The highest numbers given, as far as this file knows."""
        return self._marks

    def add(self, values: dict[str, Any]) -> Note | None:
        """Keep a part durably. Returns None when there is no room or the disk refuses."""
        self._free_slots()
        slot = next((n for n in range(len(_MARK_SLOTS), SLOTS) if n not in self._taken), None)
        block = encode(self._order + 1, values)
        if slot is None or block is None:
            return None
        try:
            self._reopen_if_replaced()
            self._put(slot, block)
        except (OSError, StoreError):
            _logger.exception("journal %s: a part could not be kept on disk", self._path)
            return None
        self._order += 1
        self._taken.add(slot)
        return Note(slot, self._order, values)

    def clear(self, note: Note) -> None:
        """Free the slot of a part that is now in the database.

        When the disk refuses, the slot stays taken until it can be freed; a part that is offered again at
        the next start is known to the store by then.
        """
        self._to_free.add(note.slot)
        self._free_slots()

    def _free_slots(self) -> None:
        if not self._to_free:
            return
        try:
            self._reopen_if_replaced()
            for slot in sorted(self._to_free):
                self._put(slot, bytes(_HEADER.size))
                self._to_free.discard(slot)
                self._taken.discard(slot)
        except (OSError, StoreError):
            slots = len(self._to_free)
            _logger.exception("journal %s: %d slots could not be freed yet", self._path, slots)

    def mark(self, marks: Marks) -> None:
        """Keep the highest numbers given; the older of the two copies is overwritten.

        Raises:
            StoreError: the disk refuses.
        """
        block = encode(self._order + 1, {"epochs": marks.epochs, "record": marks.record})
        if block is None:
            raise StoreError(
                f"journal {self._path}: too many stations in one store; use one journal each"
            )
        try:
            self._reopen_if_replaced()
            self._put(self._next_mark, block)
        except OSError as error:
            raise StoreError(
                f"journal {self._path} cannot be written: {error}; check the disk"
            ) from error
        self._order += 1
        self._marks = marks
        self._next_mark = 1 - self._next_mark

    def close(self) -> None:
        """Close the file and give up its lock. May be called twice."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self) -> None:
        path = self._path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise StoreError(
                f"journal {path} cannot be opened: {error}; check its folder and rights"
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._fill(file)
        except BlockingIOError as error:
            os.close(file)
            raise StoreError(
                f"journal {path} is in use: another station process runs on this store; stop it, "
                "or set store.journal to a file of its own"
            ) from error
        except OSError as error:
            os.close(file)
            raise StoreError(f"journal {path} cannot be made: {error}; free some space") from error
        self._file = file

    @staticmethod
    def _fill(file: int) -> None:
        """Write zeros up to the full size, so that every block exists; then make it durable."""
        size = os.fstat(file).st_size
        if size >= SLOT * SLOTS:
            return
        zeros = bytes(SLOT)
        while size < SLOT * SLOTS:
            size += os.pwrite(file, zeros[: SLOT - size % SLOT], size)
        os.fsync(file)

    def _read(self) -> None:
        newest = -1
        for slot in range(SLOTS):
            block = os.pread(self._file, SLOT, slot * SLOT)
            try:
                found = decode(block)
            except ValueError as error:
                self._quarantine(slot, block, error)
                continue
            if found is None:
                continue
            order, values = found
            self._order = max(self._order, order)
            if slot in _MARK_SLOTS:
                if order > newest:
                    newest = order
                    self._marks = _marks(values)
                    self._next_mark = 1 - slot
            else:
                self._taken.add(slot)
                self.notes.append(Note(slot, order, values))
        self.notes.sort(key=lambda note: note.order)

    def put_aside(self, note: Note) -> None:
        """Copy a part that nobody can write beside the journal, then free its slot."""
        try:
            self._reopen_if_replaced()
            self._copy_out(note.slot, os.pread(self._file, SLOT, note.slot * SLOT))
        except (OSError, StoreError):
            _logger.exception("journal %s: slot %d could not be put aside", self._path, note.slot)
            return
        self._taken.discard(note.slot)

    def _copy_out(self, slot: int, block: bytes) -> Path:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        aside = self._path.with_name(f"{self._path.name}.slot{slot}.{stamp}")
        aside.write_bytes(block)
        self._put(slot, bytes(_HEADER.size))
        return aside

    def _quarantine(self, slot: int, block: bytes, error: ValueError) -> None:
        """Copy a damaged slot beside the journal, then free it; if that fails it stays taken."""
        text = f"journal {self._path.name} slot {slot}: {error}"
        try:
            text += f"; its bytes are in {self._copy_out(slot, block).name}"
        except OSError:
            _logger.exception("journal %s: slot %d could not be put aside", self._path, slot)
            self._taken.add(slot)
        self.damaged.append(text)

    def _put(self, slot: int, block: bytes) -> None:
        if self._file < 0:
            raise OSError(f"journal {self._path} is closed")
        try:
            done = 0
            while done < len(block):
                done += os.pwrite(self._file, block[done:], slot * SLOT + done)
            os.fsync(self._file)
        except OSError:
            # After a failed fsync this descriptor may claim success for lost data: take a new one.
            self.close()
            raise

    def _reopen_if_replaced(self) -> None:
        """Open the file again when it was closed by an error, deleted or replaced."""
        if self._file >= 0:
            try:
                here, there = os.fstat(self._file), self._path.stat()
            except OSError:
                self.close()
            else:
                if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino):
                    return
                self.close()
        self._open()


def _marks(values: dict[str, Any]) -> Marks:
    epochs = {str(station): int(epoch) for station, epoch in dict(values["epochs"]).items()}
    return Marks(epochs, int(values["record"]))
