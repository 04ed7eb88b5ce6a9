"""Stores to test on: a file, and a database of a real server, started once where one is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres_server import NoServerError, PostgresServer
from store_samples import store_config

from inspection.store.config import StoreConfig


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer | None]:
    """A PostgreSQL server of ours; None where none is installed."""
    try:
        found = PostgresServer()
    except NoServerError:
        yield None
        return
    yield found
    found.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def config(
    request: pytest.FixtureRequest, tmp_path: Path, server: PostgresServer | None
) -> StoreConfig:
    """An empty store, on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        return store_config(tmp_path)
    if server is None:
        pytest.skip("no PostgreSQL server installed (Debian package postgresql)")
    name = "".join(c for c in tmp_path.name.lower() if c.isalnum())[-50:]
    return store_config(tmp_path, url=server.url(name))
