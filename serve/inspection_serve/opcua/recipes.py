"""RecipeManagement: the recipes of the station's folder, and the wish for another one, as on the pages.

A wish goes into the store's command table under the control of the station: only an engineer may, only
while nobody else holds the control, and the line takes it between two parts.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from asyncua import ua

from inspection.errors import ConfigError, StoreError
from inspection.recipe import RecipeConfig
from inspection.store.web import commands, people
from inspection.store.web.access import WebStore
from inspection.store.web.commands import ControlHeldError
from inspection.store.web.people import Person, Role
from inspection.types import CommandState
from inspection.yaml_file import read_hashed
from inspection_serve.opcua.channel import CALLER, SignedIn
from inspection_serve.opcua.model import Model

log = logging.getLogger("inspection.opcua")
RECIPE_PREPARED = 1022
OK, UNKNOWN, HELD, NO_STORE, REFUSED, NO_ANSWER = 0, -1, -2, -3, -4, -5
"""Values of the Error argument."""
MOST = 100
_PATIENCE, _LOOK_EVERY = 35.0, 0.1
"""Seconds to wait for the line: a command that is asked for so long has expired."""
_ONLY_PREPARED, _ONLY_OTHERS = 1, 0


class Recipes:
    """The recipes of one station. `in_force` is read in any thread."""

    def __init__(
        self,
        model: Model,
        store: WebStore,
        station: str,
        folder: Path,
        in_force: Callable[[], int],
        through_plc: Callable[[int], Awaitable[bool | None]] | None = None,
    ) -> None:
        """`through_plc`: requests a recipe as the PLC would, where OPC UA clients drive the station."""
        self._model, self._store, self._station = model, store, station
        self._folder, self._in_force, self._through_plc = folder, in_force, through_plc
        self._event: Any = None
        self._told: int | None = None

    async def prepare(self) -> None:
        """Make the event and bind the methods; once, before the server starts."""
        model = self._model
        self._event = await model.server.get_event_generator(
            model.type_node(RECIPE_PREPARED), model.system
        )
        for name, answer in (
            ("GetRecipeListFiltered", self.get_list),
            ("PrepareRecipe", self.ask),
            ("UnprepareRecipe", _not_possible),
        ):
            model.server.link_method(await model.method(model.recipes, name), answer)

    async def show(self, number: int) -> None:
        """Tell when another recipe is in force."""
        if number in {0, self._told}:
            return
        before, self._told = self._told, number
        if before is None:
            return
        event = self._event.event
        event.InternalId = _structure(_recipe_id(number, self._files().get(number)))
        event.Severity = 100
        await self._model.send(self._event, f"recipe {number}")

    def get_list(self, _parent: Any, *arguments: Any) -> Any:
        """GetRecipeListFiltered(…) → IsComplete, ResultCount, RecipeHandle, RecipeList, Error."""
        if len(arguments) != 6:
            return ua.StatusCode(ua.StatusCodes.BadInvalidArgument)
        external, product, prepared, most, start, _ = (one.Value for one in arguments)
        found = sorted(self._files().items())
        in_force = self._in_force()
        if int(prepared if prepared is not None else 2) in {_ONLY_PREPARED, _ONLY_OTHERS}:
            wanted = int(prepared) == _ONLY_PREPARED
            found = [one for one in found if (one[0] == in_force) is wanted]
        if getattr(product, "Id", None):
            found = []  # products are not linked to recipes
        if text := getattr(external, "Id", None):
            found = [one for one in found if str(one[0]) == text]
        first = int(start or 0)
        last = first + min(int(most or MOST), MOST)
        ids = [_recipe_id(number, about) for number, about in found[first:last]]
        return [
            ua.Variant(last >= len(found), ua.VariantType.Boolean),
            ua.Variant(len(ids), ua.VariantType.UInt32),
            ua.Variant(0, ua.VariantType.UInt32),
            ua.Variant(ids, ua.VariantType.ExtensionObject, is_array=True),
            ua.Variant(OK, ua.VariantType.Int32),
        ]

    async def ask(self, _parent: Any, *arguments: Any) -> Any:
        """PrepareRecipe(ExternalId, InternalIdIn) → InternalIdOut, IsCompleted, Error."""
        caller = CALLER.get()
        needed = Role.VIEWER if self._through_plc else Role.ENGINEER  # the drive looks by itself
        if caller is None or not Role(caller.role_name).covers(needed):
            return ua.StatusCode(ua.StatusCodes.BadUserAccessDenied)
        if len(arguments) != 2:
            return ua.StatusCode(ua.StatusCodes.BadInvalidArgument)
        external, internal = (getattr(one.Value, "Id", None) or "" for one in arguments)
        text = internal or external
        files = self._files()
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0
        if number not in files:
            return _answer(_recipe_id(0, None), UNKNOWN)
        if self._through_plc is not None:
            try:
                done = await self._through_plc(number)
            except PermissionError:
                return ua.StatusCode(ua.StatusCodes.BadUserAccessDenied)
            if done is None:
                return ua.StatusCode(ua.StatusCodes.BadInvalidState)
            return _answer(_recipe_id(number, files[number]), OK if done else REFUSED)
        error = await asyncio.to_thread(self._ask_line, caller, number)
        return _answer(_recipe_id(number, files[number]), error)

    def _ask_line(self, caller: SignedIn, number: int) -> int:
        """Ask the line and wait for its answer, under the control of the station."""
        person = _person(caller)
        try:
            with self._store.write("asking for a recipe over OPC UA") as connection:
                commands.take_control(connection, self._station, person)
                command = commands.ask_recipe(connection, self._station, person, number)
        except ControlHeldError as error:
            log.warning("recipe %d for %s: %s", number, caller.login, error)
            return HELD
        except StoreError as error:
            log.warning("recipe %d for %s: %s", number, caller.login, error)
            return NO_STORE
        try:
            return self._wait(command)
        except StoreError as error:
            log.warning("recipe %d for %s: %s", number, caller.login, error)
            return NO_STORE
        finally:
            self._give_back(person)

    def _wait(self, command: int) -> int:
        pause, end = threading.Event(), time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            with self._store.read("looking at a command") as connection:
                row = commands.find(connection, command) or {}
            if row.get("state") == CommandState.DONE.value:
                return OK
            if row.get("state") in {CommandState.REFUSED.value, CommandState.EXPIRED.value}:
                log.warning("the line refused command %d: %s", command, row.get("detail"))
                return REFUSED
            pause.wait(_LOOK_EVERY)
        return NO_ANSWER

    def _give_back(self, person: Person) -> None:
        try:
            with self._store.write("giving the control back") as connection:
                commands.give_back(connection, self._station, person)
        except StoreError as error:
            log.warning("the control ends by itself: %s", error)

    def _files(self) -> dict[int, tuple[str, bytes]]:
        """Return number to `PART/RELEASE` and hash of each readable recipe file."""
        found: dict[int, tuple[str, bytes]] = {}
        for path in sorted(self._folder.glob("*.yaml")):
            try:
                config, sha256 = read_hashed(path, RecipeConfig)
            except ConfigError:
                continue  # the line refuses it too; the models page says why
            found[config.number] = f"{config.part}/{config.release}", bytes.fromhex(sha256)
        return found


def _person(caller: SignedIn) -> Person:
    """Return the caller as one who holds controls: under a session of this call alone."""
    return Person(
        id=0, name=caller.login, display=caller.login, role=Role(caller.role_name), language="en",
        must_change=False, options={}, session=people.hash_token(secrets.token_urlsafe(32)), csrf="",
        terminal="",
    )  # fmt: skip


def _recipe_id(number: int, about: tuple[str, bytes] | None) -> Any:
    given: Any = ua
    found = given.RecipeIdInternalDataType(Id=str(number) if number else "")
    if about is not None:
        found.Description = ua.LocalizedText(about[0])
        found.Hash, found.HashAlgorithm = about[1], "SHA-256"
    return found


def _structure(value: Any) -> ua.Variant:
    return ua.Variant(value, ua.VariantType.ExtensionObject)


def _answer(recipe: Any, error: int) -> list[ua.Variant]:
    return [
        _structure(recipe),
        ua.Variant(error == OK, ua.VariantType.Boolean),
        ua.Variant(error, ua.VariantType.Int32),
    ]


def _not_possible(_parent: Any, *_arguments: Any) -> Any:
    """UnprepareRecipe: a station keeps its recipe until it is given another one."""
    return ua.StatusCode(ua.StatusCodes.BadInvalidState)
