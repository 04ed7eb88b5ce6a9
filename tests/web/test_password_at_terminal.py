"""Nobody can sign in as administrator any more: a new password at the terminal of the PC."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest
from store_samples import store_config
from typer.testing import CliRunner
from web_inside import Inside, token_in
from web_process import PASSWORD, add_people
from web_shift import write_shift

from inspection.store.config import StoreConfig
from inspection.store.sql import SqlStore
from inspection.store.web import audit
from inspection_serve.web.cli import app

JSON = {"accept": "application/json"}


@pytest.fixture
def config(tmp_path: Path) -> StoreConfig:
    found = write_shift(tmp_path, 2)
    add_people(found)
    return found


def test_the_only_administrator_gets_in_again(config: StoreConfig) -> None:
    """They have tried too often, too: with the new password they need not wait. The pages run on."""
    with Inside(config) as inside:
        old = inside.session("administrator")
        for _ in range(8):
            inside.sign_in("administrator", "not the password")
        assert inside.sign_in("administrator", PASSWORD).status_code == 429
        told = CliRunner().invoke(
            app, [config.url, "--reset-password", "administrator"], env={"LOGNAME": "kim"}
        )
        assert told.exit_code == 0, told.output
        password = told.output.split("signs in with ")[1].split()[0]
        assert inside.ask("GET", "/api/v1/me", old, JSON).status_code == 401
        assert inside.sign_in("administrator", PASSWORD).status_code == 401
        signed = inside.sign_in("administrator", password)
        assert signed.status_code == 303
        me = inside.ask("GET", "/api/v1/me", None, JSON | {"cookie": _cookie(signed)})
        assert (me.status_code, me.json()["code"]) == (403, "must_change")
        with inside.site.store.read("the audit") as connection:
            assert audit.breaches(connection) == []
            (row,) = audit.rows(connection, audit.Filter(action="password.reset"))
            assert row["subject"] == "person:administrator"
            assert row["who"] == f"os:{pwd.getpwuid(os.getuid()).pw_name}", "whatever LOGNAME says"
            assert password not in str(audit.rows(connection))


def _cookie(signed: object) -> str:
    assert token_in(signed)
    return str(signed.headers["set-cookie"]).split(";")[0]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "said"), [("boss", "administrator (administrator)"), ("", "viewer")]
)
def test_who_is_not_there_is_named_with_who_is(config: StoreConfig, name: str, said: str) -> None:
    told = CliRunner().invoke(app, [config.url, "--reset-password", name])
    assert told.exit_code == 72
    assert said in told.output


def test_a_store_without_people_says_so(tmp_path: Path) -> None:
    config = store_config(tmp_path)
    SqlStore(config).close()
    told = CliRunner().invoke(app, [config.url, "--reset-password", "boss"])
    assert (told.exit_code, "nobody yet" in told.output) == (72, True)
