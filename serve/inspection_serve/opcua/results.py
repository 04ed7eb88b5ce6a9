"""A part of the store as the ResultDataType of OPC 40100-1. Pure, apart from the library's own types.

40100-1 has no field for good or bad: the verdict is in ResultContent. ResultState says only whether the
part was judged. Load the nodeset first: the types are made by it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from asyncua import ua

from inspection.errors import StoreError
from inspection.store.rows import Values
from inspection.types import Decision, Reason
from inspection_serve.opcua.jobs import Job

COMPLETED, ABORTED = 1, 3
"""ResultState of a judged part, and of NOT_INSPECTED."""
CONTENT = ("decision", "reason", "reasonCode", "defectClass", "code", "detections", "imageSha256")
"""What the entries of ResultContent are, in their order."""
FIELDS = (
    "ResultId", "IsPartial", "IsSimulated", "ResultState", "MeasId", "PartId", "InternalRecipeId",
    "InternalConfigurationId", "JobId", "CreationTime", "ProcessingTimes", "ResultContent",
)  # fmt: skip
"""Fields of the type that are given, and their fields of the event of the same name."""
_SHA256_HEX = 64


def result_of(row: Values, job: Job | None = None) -> Any:
    """Return the ResultDataType of a decided part.

    `job`: the job that triggered it, where OPC UA clients drive the station. What that job rejected is
    given as NOT_INSPECTED, whatever the row says: nobody took its answer.
    """
    refused = "" if job is None else job.refused.get(row["sequence"], "")
    if refused:
        row = {**row, "decision": Decision.NOT_INSPECTED.value, "reason": refused.upper()}
    given: Any = ua
    result = given.ResultDataType()
    result.ResultId = given.ResultIdDataType(Id=result_name(row))
    result.IsPartial = False
    result.IsSimulated = bool(row["simulated"])
    judged = row["decision"] != Decision.NOT_INSPECTED.value
    result.ResultState = COMPLETED if judged else ABORTED
    result.MeasId = given.MeasIdDataType(Id=str(row["id"]))
    result.PartId = given.PartIdDataType(
        Id=str(row["part_id"]),
        Description=ua.LocalizedText(row["serial"]) if row["serial"] else None,
    )
    result.InternalRecipeId = given.RecipeIdInternalDataType(
        Id=str(row["recipe_number"] or 0), **_hash(row["recipe_sha256"])
    )
    result.InternalConfigurationId = given.ConfigurationIdDataType(
        Id=row["release"] or "", **_hash(row["model_sha256"])
    )
    name = f"{row['station']}/{row['epoch']}"
    if job is not None:
        name = job_name(row["station"], job.number)
    result.JobId = given.JobIdDataType(Id=name)
    result.CreationTime = _time(row["decided_at"])
    result.ProcessingTimes = given.ProcessingTimesDataType(
        StartTime=_time(row["triggered_at"]),
        EndTime=_time(row["decided_at"]),
        ProcessingDuration=_milliseconds(row["triggered_mono"], row["decided_mono"]),
    )
    result.ResultContent = _content(row, refused)
    return result


def result_name(row: Values) -> str:
    """Return STATION/EPOCH/SEQUENCE: never given twice."""
    return f"{row['station']}/{row['epoch']}/{row['sequence']}"


def job_name(station: str, number: int) -> str:
    """Return STATION/job/NUMBER: never given twice."""
    return f"{station}/job/{number}"


def job_named(station: str, name: str) -> int | None:
    """Return the number of a JobId; None when it names no job of a client."""
    head, _, number = name.rpartition("/")
    if head != f"{station}/job" or not (number.isascii() and number.isdigit() and len(number) < 13):
        return None
    return int(number)


def part_named(station: str, name: str) -> tuple[int, int] | None:
    """Return epoch and sequence of a ResultId; None when it names no part of this station."""
    head, _, sequence = name.rpartition("/")
    owner, _, epoch = head.rpartition("/")
    numbers = [int(text) for text in (epoch, sequence) if text.isascii() and text.isdigit()]
    if owner != station or len(numbers) != 2 or max(numbers) > 2**31 - 1:
        return None
    return numbers[0], numbers[1]


def _content(row: Values, refused: str) -> list[Any]:
    kind = ua.VariantType
    images = row["images"] or []
    detections = json.dumps(row["detections"] or [], ensure_ascii=False, separators=(",", ":"))
    values: Mapping[str, tuple[Any, Any]] = {
        "decision": (row["decision"], kind.String),
        "reason": (row["reason"], kind.String),
        "reasonCode": (0 if refused else Reason[row["reason"]].value, kind.UInt16),
        "defectClass": (row["defect_class"] or "", kind.String),
        "code": (row["code"] or "", kind.String),
        "detections": (detections, kind.String),
        "imageSha256": (images[0]["sha256"] if images else "", kind.String),
    }
    return [ua.Variant(*values[name]) for name in CONTENT]


def _hash(text: str | None) -> dict[str, Any]:
    """Return the fields of a hash, none where there is none. `PRECISION:` may stand before a model's."""
    precision, _, digits = (text or "").rpartition(":")
    if len(digits) != _SHA256_HEX:
        return {}
    found: dict[str, Any] = {"Hash": bytes.fromhex(digits), "HashAlgorithm": "SHA-256"}
    if precision:
        found["Version"] = precision
    return found


def _time(text: str | None) -> datetime:
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError as error:
        raise StoreError(f"{text!r} in the store is no time") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _milliseconds(start: float | None, end: float | None) -> float | None:
    if start is None or end is None or end < start:
        return None
    return round((end - start) * 1000, 3)
