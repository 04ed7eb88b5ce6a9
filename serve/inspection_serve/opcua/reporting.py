"""ResultManagement: a ResultReadyEvent for each part, and the results that clients ask for."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from asyncua import ua

from inspection.errors import StoreError
from inspection.plc.words import MAX_SEQUENCE
from inspection.store.following import Stretch, latest_parts, only_settled, part_of
from inspection.store.rows import Values
from inspection.store.web.access import WebStore
from inspection_serve.opcua.jobs import Job, JobBook
from inspection_serve.opcua.model import Model
from inspection_serve.opcua.results import (
    ABORTED,
    COMPLETED,
    FIELDS,
    job_named,
    part_named,
    result_of,
)

log = logging.getLogger("inspection.opcua")
RESULT_READY = 1024
_LOOK_EVERY = 0.02
MOST = 100
"""Results of one answer, at most."""
_MOST_SEQUENCES = 5000
"""Of more rejected parts than that the sequences are not asked for one by one."""
OK, UNKNOWN, NO_STORE = 0, -1, -2
"""Values of the Error argument; those below 0 are ours."""
_KINDS = {
    "IsPartial": ua.VariantType.Boolean,
    "IsSimulated": ua.VariantType.Boolean,
    "ResultState": ua.VariantType.Int32,
    "CreationTime": ua.VariantType.DateTime,
}


class Reporting:
    """Tells the results of one station."""

    def __init__(
        self, model: Model, store: WebStore, station: str, book: JobBook | None = None
    ) -> None:
        """`book`: of the jobs, where OPC UA clients drive the station."""
        self._model, self._store, self._station, self._book = model, store, station, book
        self._event: Any = None

    async def prepare(self) -> None:
        """Make the event and bind the methods; once, before the server starts."""
        model = self._model
        self._event = await model.server.get_event_generator(
            model.type_node(RESULT_READY), model.system
        )
        for name, answer in (
            ("GetResultById", self.get_by_id),
            ("GetResultComponentsById", self.get_components),
            ("GetResultListFiltered", self.get_list),
        ):
            model.server.link_method(await model.method(model.results, name), answer)

    async def tell(self, row: Values) -> None:
        """Send the event of a part; where clients drive, when its outcome is known."""
        while self._is_open(row):
            await asyncio.sleep(_LOOK_EVERY)
        result, event = self._result(row), self._event.event
        for name in FIELDS:
            setattr(event, name, variant_of(name, getattr(result, name)))
        event.Severity = 100
        await self._model.send(self._event, f"{result.ResultId.Id} {row['decision']}")

    def get_by_id(self, _parent: Any, *arguments: Any) -> Any:
        """GetResultById(ResultId, Timeout) → ResultHandle, Result, Error. Runs in a thread of its own."""
        wanted = _values(arguments, 2)
        if wanted is None or not isinstance(wanted[0], _type("ResultIdDataType")):
            return ua.StatusCode(ua.StatusCodes.BadInvalidArgument)
        row, error = self._find(wanted[0].Id)
        found = _type("ResultDataType")() if row is None else self._result(row)
        return [_handle(), ua.Variant(found, ua.VariantType.ExtensionObject), _error(error)]

    def get_components(self, _parent: Any, *arguments: Any) -> Any:
        """GetResultComponentsById: the same, one argument for each field."""
        wanted = _values(arguments, 2)
        if wanted is None or not isinstance(wanted[0], _type("ResultIdDataType")):
            return ua.StatusCode(ua.StatusCodes.BadInvalidArgument)
        row, error = self._find(wanted[0].Id)
        found = _type("ResultDataType")() if row is None else self._result(row)
        names = (
            "IsPartial", "IsSimulated", "ResultState", "MeasId", "PartId", "ExternalRecipeId",
            "InternalRecipeId", "ProductId", "ExternalConfigurationId", "InternalConfigurationId",
            "JobId", "CreationTime", "ProcessingTimes", "ResultContent",
        )  # fmt: skip
        given = [variant_of(name, getattr(found, name), empty=True) for name in names]
        return [ua.Variant(False, ua.VariantType.Boolean), _handle(), *given, _error(error)]

    def get_list(self, _parent: Any, *arguments: Any) -> Any:
        """GetResultListFiltered(…) → IsComplete, ResultCount, ResultHandle, ResultList, Error."""
        values = _values(arguments, 12)
        if values is None:
            return ua.StatusCode(ua.StatusCodes.BadInvalidArgument)
        wanted, stretch = self._wanted(values)
        most, start = min(int(values[9] or MOST), MOST), int(values[10] or 0)
        told: list[Values] = []
        error, complete = OK, True
        state = int(values[0] or 0)
        if wanted is not None and state in {0, COMPLETED, ABORTED}:
            try:
                with self._store.read("listing results") as connection:
                    rows = latest_parts(
                        connection, self._station, wanted, stretch=stretch,
                        start=start, limit=most + 1, **self._filter(state),
                    )  # fmt: skip
                    complete = len(rows) <= most
                    told = only_settled(connection, self._station, rows[:most])
            except StoreError as problem:
                log.warning("%s", problem)
                error = NO_STORE
        found = [self._result(row) for row in told if not self._is_open(row)]
        if state:  # a part that its job rejected is aborted, whatever its row says
            found = [one for one in found if one.ResultState == state]
        return [
            ua.Variant(complete, ua.VariantType.Boolean),
            ua.Variant(len(found), ua.VariantType.UInt32),
            _handle(),
            ua.Variant(found, ua.VariantType.ExtensionObject, is_array=True),
            _error(error),
        ]

    def _filter(self, state: int) -> dict[str, Any]:
        """Return what to ask the store for, so that it gives at least every part with that ResultState."""
        if state == 0:
            return {}
        if state == ABORTED and self._book is not None:
            rejected = self._book.rejected()
            if len(rejected) > _MOST_SEQUENCES:
                return {}
            return {"not_inspected": True, "or_sequences": rejected}
        return {"not_inspected": state == ABORTED}

    def _job(self, row: Values) -> Job | None:
        return None if self._book is None else self._book.job_of(row["id"], row["sequence"])

    def _result(self, row: Values) -> Any:
        return result_of(row, self._job(row))

    def _is_open(self, row: Values) -> bool:
        """Tell whether the drive has not judged the part's answer yet."""
        job = self._job(row)
        return (
            job is not None and self._book is not None and self._book.is_open(job, row["sequence"])
        )

    def _wanted(self, values: list[Any]) -> tuple[dict[str, int | str] | None, Stretch | None]:
        """Return column to value for the filters that are set, and the parts of the job that is asked for."""
        number = job_named(self._station, getattr(values[8], "Id", None) or "")
        if number is None or self._book is None:
            return _wanted(self._station, values), None
        found = self._book.find(number)
        if found is None or not found[0].count:
            return None, None
        job, until = found
        last = (job.first - 1 + min(job.count, MAX_SEQUENCE) - 1) % MAX_SEQUENCE + 1
        return _wanted(self._station, [*values[:8], None]), Stretch(
            job.after, until, job.first, last
        )

    def _find(self, name: str) -> tuple[Values | None, int]:
        key = part_named(self._station, name or "")
        if key is None:
            return None, UNKNOWN
        try:
            with self._store.read("looking up a result") as connection:
                row = part_of(connection, self._station, *key)
        except StoreError as error:
            log.warning("%s", error)
            return None, NO_STORE
        if row is not None and self._is_open(row):
            return None, UNKNOWN
        return row, UNKNOWN if row is None else OK


def variant_of(name: str, value: Any, *, empty: bool = False) -> ua.Variant:
    """Return a field of a result as events and methods need it: with its kind told.

    `empty`: a structure that is not there is given as an empty one, as an argument of a method must be.
    """
    if name == "ResultContent":
        return ua.Variant(list(value or []), ua.VariantType.Variant, is_array=True)
    if name in _KINDS:
        return ua.Variant(bool(value) if name.startswith("Is") else value, _KINDS[name])
    if value is None and empty:
        base = name.removesuffix("Id")
        known = {
            "ExternalRecipe": "RecipeIdExternalDataType",
            "ExternalConfiguration": "ConfigurationIdDataType",
        }
        value = _type(known.get(base, f"{name}DataType"))()
    return ua.Variant(value, ua.VariantType.ExtensionObject)


def _wanted(station: str, values: list[Any]) -> dict[str, int | str] | None:
    """Return column to value for the filters that are set; None when no part can meet them."""
    meas, part, external, recipe, external_config, config, product, job = (
        getattr(value, "Id", None) or "" for value in values[1:9]
    )
    if external or external_config or product:
        return None  # no part has one
    found: dict[str, int | str] = {}
    for column, text in (("id", meas), ("part_id", part), ("recipe_number", recipe)):
        if text:
            if not (text.isascii() and text.isdigit() and len(text) <= 10):
                return None
            found[column] = int(text)
    if config:
        found["release"] = config
    if job:
        owner, _, epoch = job.rpartition("/")
        if owner != station or not (epoch.isascii() and epoch.isdigit() and len(epoch) <= 9):
            return None
        found["epoch"] = int(epoch)
    return found


def _values(arguments: tuple[Any, ...], count: int) -> list[Any] | None:
    """Return the values of a call's arguments; None when there are not so many."""
    return [one.Value for one in arguments] if len(arguments) == count else None


def _type(name: str) -> Any:
    """Return a type that the nodeset made."""
    return getattr(ua, name)


def _handle() -> ua.Variant:
    """Return the handle 0: nothing is held for a client, every result stays in the store."""
    return ua.Variant(0, ua.VariantType.UInt32)


def _error(number: int) -> ua.Variant:
    return ua.Variant(number, ua.VariantType.Int32)
