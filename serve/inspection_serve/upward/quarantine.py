"""A destination's quarantine, for a person at the terminal: list it, send it again, give it up."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa

from inspection.store.config import StoreConfig
from inspection.store.quarantine import Refused, discard, quarantined, send_again
from inspection.store.web.access import WebStore

T = TypeVar("T")


def look(config: StoreConfig, station: str, destination: str) -> list[Refused]:
    """Return what a destination refused, the oldest first. Raises StoreError."""
    store = WebStore(config)
    try:
        with store.read("reading a quarantine") as connection:
            return quarantined(connection, station, destination)
    finally:
        store.close()


def retry(config: StoreConfig, station: str, destination: str) -> int:
    """Have a destination's quarantine sent again; return how many messages. Raises StoreError."""
    return _change(config, lambda connection: send_again(connection, station, destination))


def give_up(config: StoreConfig, station: str, destination: str, why: str) -> list[int]:
    """Give up what a destination refused, and return the messages. Raises StoreError.

    The audit names the user of this PC, as `os:NAME`.
    """
    who = f"os:{getpass.getuser()}"
    return _change(config, lambda connection: discard(connection, station, destination, who, why))


def _change(config: StoreConfig, change: Callable[[sa.Connection], T]) -> T:
    store = WebStore(config)
    try:
        with store.write("changing a quarantine") as connection:
            return change(connection)
    finally:
        store.close()
