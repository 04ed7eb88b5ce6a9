"""A new password at the terminal of the PC, for the day on which no administrator can sign in any more."""

from __future__ import annotations

import os
from pathlib import Path

from inspection.config import load_station
from inspection.errors import StoreError
from inspection.store.config import StoreConfig
from inspection.store.lock import user_name
from inspection.store.web import people
from inspection.store.web.access import WebStore
from inspection_serve.web.people.passwords import hash_secret, temporary


def reset_password(store: str, name: str) -> str:
    """Give a person a new password, to be changed at once, and return it. The pages may run meanwhile.

    Sessions and PIN of the person end. The audit names the user of this PC, as `os:NAME`.

    Args:
        store: a station file, or a results store; whoever may write to it may do this.
        name: login name of somebody who may sign in.

    Raises:
        StoreError: the store cannot be used, or there is no such person; the message names who there is.
        ConfigError: the station file cannot be read.
    """
    is_file = store.endswith((".yaml", ".yml"))
    config = (
        load_station(Path(store)).store if is_file else StoreConfig.model_validate({"url": store})
    )
    password = temporary()
    hashed = hash_secret(password)
    opened = WebStore(config)
    try:
        with opened.write("resetting a password") as connection:
            people.lock(connection)
            row = people.find(connection, name)
            if row is None or not row["active"]:
                who = [
                    f"{r['name']} ({r['role']})"
                    for r in people.all_people(connection)
                    if r["active"]
                ]
                raise StoreError(
                    f"nobody who may sign in is called {name!r}; there are: {', '.join(who) or 'nobody yet'}"
                )
            people.reset(connection, row, hashed, by=f"os:{user_name(os.getuid())}")
    finally:
        opened.close()
    return password
