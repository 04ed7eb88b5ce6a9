"""What is said: one flat JSON object a message, with names after ISA-95. docs/how-to/upward.md lists them.

The same row of the outbox gives the same bytes, whenever it is sent; only a decision that was replaced is
told as it stands, and again under the next version.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from inspection.store.outbox import Told

SCHEMA = "inspection.upward/1"
_FIRST = ("schema", "id", "kind", "version", "equipmentId", "effectiveTimestamp")
_PART = (
    "epoch", "sequence", "recordId", "partId", "materialLotId", "materialCode", "materialDefinitionId",
    "evaluatedCriterionResult",
)  # fmt: skip
COLUMNS: dict[str, tuple[str, ...]] = {
    "part": (
        *_FIRST, *_PART, "reason", "reasons", "defectClass", "defectScore", "findings", "anomalyScore",
        "testSpecificationId", "modelSha256", "recipeNumber", "recipeSha256", "triggeredAt", "simulated",
    ),
    "verdict": (
        *_FIRST, *_PART, "disposition", "defectClass", "reasonCode", "comment", "personnelId",
    ),
    "alarm": (*_FIRST, "reason", "active", "detail"),
}  # fmt: skip
"""Fields of each kind, in their order."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    Attributes:
        id: STATION/EPOCH/SEQUENCE/KIND/VERSION, or STATION/alarm/TIME/NUMBER; a store that was
            restored from a backup may give one again that it gave after the backup.
        kind: part, verdict or alarm.
        station: that tells it.
        number: of its row in the outbox; messages of a station go in this order.
        fields: as in `COLUMNS`.
        since: UTC, when the station was entered into this outbox; numbers begin anew with another one.
        subject: id of the row in the store that it tells of.
        version: of a part's decision, or of a verdict.
    """

    id: str
    kind: str
    station: str
    number: int
    fields: dict[str, Any]
    since: str = ""
    subject: int = 0
    version: int = 1

    @property
    def body(self) -> bytes:
        """The JSON object, UTF-8."""
        return json.dumps(
            self.fields, ensure_ascii=False, allow_nan=False, separators=(",", ":")
        ).encode()


def message_of(told: Told) -> Message:
    """Return what is said of a row of the outbox.

    Raises:
        ValueError: what it tells of is gone or damaged, or holds a number that is not finite.
    """
    if told.damage:
        raise ValueError(f"{told.kind} {told.subject} is not readable: {told.damage}")
    if told.row is None:
        raise ValueError(f"{told.kind} {told.subject} is not in the store any more")
    name, said = _SAID[told.kind](told, told.row)
    first = {
        "schema": SCHEMA,
        "id": name,
        "kind": told.kind,
        "version": told.version,
        "equipmentId": told.station,
        "effectiveTimestamp": told.at,
    }
    fields = {**first, **said}
    listed = {key: fields[key] for key in COLUMNS[told.kind]}
    message = Message(
        name, told.kind, told.station, told.id, listed, told.since, told.subject, told.version
    )
    if len(message.body) == 0:  # ValueError for a number that JSON does not know
        raise ValueError(name)
    return message


def _identity(row: dict[str, Any], record: int) -> dict[str, Any]:
    return {
        "epoch": row["epoch"],
        "sequence": row["sequence"],
        "recordId": record,
        "partId": row["part_id"],
        "materialLotId": row["serial"],
        "materialCode": row["code"],
        "materialDefinitionId": row["part_name"],
        "evaluatedCriterionResult": row["decision"],
    }


def _part(told: Told, row: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    name = f"{told.station}/{row['epoch']}/{row['sequence']}/part/{told.version}"
    return name, {
        **_identity(row, row["id"]),
        "reason": row["reason"],
        "reasons": row["reasons"] or [],
        "defectClass": row["defect_class"],
        "defectScore": row["deciding_score"],
        "findings": row["over_t1"],
        "anomalyScore": row["anomaly_score"],
        "testSpecificationId": row["release"],
        "modelSha256": row["model_sha256"],
        "recipeNumber": row["recipe_number"],
        "recipeSha256": row["recipe_sha256"],
        "triggeredAt": row["triggered_at"],
        "simulated": bool(row["simulated"]),
    }


def _verdict(told: Told, row: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    name = f"{told.station}/{row['epoch']}/{row['sequence']}/verdict/{told.version}"
    return name, {
        **_identity(row, row["record"]),
        "disposition": row["verdict"],
        "defectClass": row["defect_class"],
        "reasonCode": row["reason_code"],
        "comment": row["comment"],
        "personnelId": row["who"],
    }


def _alarm(told: Told, row: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return f"{told.station}/alarm/{row['at']}/{row['id']}", {
        "reason": row["reason"],
        "active": bool(row["on"]),
        "detail": row["detail"],
    }


_SAID: dict[str, Callable[[Told, dict[str, Any]], tuple[str, dict[str, Any]]]] = {
    "part": _part,
    "verdict": _verdict,
    "alarm": _alarm,
}
