"""A line process in small, for tests that kill it: `python store_writer.py FOLDER COUNT`.

Writes parts as the record stage does: a failure is remembered and the store recovered. Prints one
line for each row that the store called durable: `SEQUENCE DECISION`, and `epoch N` at its start.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from store_samples import FAILED, PASSED, inspected, not_inspected, store_config, trigger, utc_now

from inspection.errors import StoreError
from inspection.store.sql import SqlStore
from inspection.types import Reason


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def recover(store: SqlStore) -> None:
    for _ in range(20):
        try:
            store.recover()
        except StoreError as error:
            sys.stderr.write(f"{error}\n")
        else:
            return
    raise SystemExit(3)


def open_patiently(folder: Path) -> SqlStore:
    for _ in range(20):
        try:
            return SqlStore(store_config(folder))
        except StoreError as error:
            sys.stderr.write(f"{error}\n")
    raise SystemExit(4)


def main(folder: Path, count: int) -> None:
    store = open_patiently(folder)
    epoch = 0
    while not epoch:
        try:
            store.close_open_parts("st1", Reason.RESTART)
            epoch = store.begin_epoch("st1", "start")
        except StoreError as error:
            sys.stderr.write(f"{error}\n")
            recover(store)
    say(f"epoch {epoch}")
    for sequence in range(1, count + 1):
        asked = trigger(sequence, epoch=epoch)
        part = inspected(asked, PASSED if sequence % 2 else FAILED)
        try:
            store.triggered(asked, 1)
            store.decided(part)
            say(f"{sequence} {part.result.decision}")
            store.sent(asked.key, time.monotonic(), utc_now())
            store.images(asked.key, "shed", [])
        except StoreError as error:
            sys.stderr.write(f"{error}\n")
            if store.remember(not_inspected(asked)):
                say(f"{sequence} KNOWN")
            recover(store)
    store.close()
    say("end")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
