"""Between the line's types and the columns of `parts`. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from inspection.errors import StoreError
from inspection.identity import name_of
from inspection.store.journal import encode
from inspection.types import (
    Decision,
    Detections,
    Inspected,
    PartKey,
    PartState,
    Reason,
    Result,
    StoredAnswer,
    StoredImage,
    Trigger,
)

Values = dict[str, Any]
"""Column name to a plain value that JSON can hold."""


_ENCODE = json.JSONEncoder(allow_nan=False, ensure_ascii=False).encode
"""Raises ValueError at a number that is not finite: in one call, where a walk takes hundreds."""
REPLACED = "replaced before it was sent"
"""Why `late` keeps an answer that NOT_INSPECTED took the place of."""


def utc_now() -> str:
    """Return the time as UTC, ISO 8601 with microseconds: a label, never used for intervals."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def key_values(key: PartKey) -> Values:
    """Return the columns that name a part."""
    return {"station": key.station, "epoch": key.epoch, "sequence": key.sequence}


def trigger_values(trigger: Trigger) -> Values:
    """Return the columns of a row that is only triggered."""
    return {
        **key_values(trigger.key),
        "state": PartState.TRIGGERED.value,
        "part_id": trigger.part_id,
        "serial": trigger.serial,
        "triggered_mono": trigger.seen_mono,
        "triggered_at": trigger.seen_at,
        "deadline_mono": trigger.deadline_mono,
        "image_state": "none",
        "simulated": False,
    }


def part_values(inspected: Inspected) -> Values:
    """Return every column of a decided part, as plain JSON values without NaN.

    Raises:
        StoreError: a PASS carries a number that is not finite; it is not proven.
    """
    frame, detections, recipe = inspected.frame, inspected.detections, inspected.recipe
    values = {
        **trigger_values(inspected.trigger),
        **result_values(inspected.result),
        "state": PartState.DECIDED.value,
        "decided_mono": inspected.decided_mono,
        "decided_at": inspected.decided_at,
        "timings": {name: float(seconds) for name, seconds in inspected.timings.items()},
    }
    if recipe is not None:
        values |= {
            "recipe_number": recipe.number,
            "recipe_sha256": recipe.sha256,
            "part_name": recipe.part,
            "release_number": recipe.release,
            "card_sha256": recipe.card_sha256 or None,
            "code": name_of(inspected.codes, recipe.code, inspected.trigger.serial) or None,
        }
    if detections is not None:
        score = detections.anomaly_score
        values |= {
            "detections": detections.as_rows(inspected.result.counted),
            "release": detections.release,
            "model_sha256": detections.model_sha256,
            "anomaly_score": None if score is None else float(score),
            "defect_class": _class_name(inspected.result, detections),
        }
    if frame is not None:
        values |= {
            "frame_id": int(frame.frame_id),
            "frame_mono": float(frame.exposed_mono),
            "camera": frame.camera,
            "source": frame.source,
            "truth": frame.truth,
            "simulated": frame.truth is not None,
            "image_state": "pending",
        }
    if _is_plain(values):
        return values
    finite = _finite(values)
    if inspected.result.decision is Decision.PASS and finite != values:
        raise StoreError(
            f"part {inspected.trigger.key}: a PASS with a number that is not finite is not stored"
        )
    return dict(_readable(finite))


def storable(values: Values) -> Values:
    """Return the values as every database can hold them: no NaN, no NUL, no half of a surrogate pair."""
    return values if _is_plain(values) else dict(_readable(_finite(values)))


def readable(text: str) -> str:
    """Return a text as every database can hold it: what is no UTF-8, as in old files' names, becomes `?`."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def bare(values: Values) -> Values:
    """Return of a part's row only what tells its answer, where the database refuses something else in it."""
    kept = (
        *("station", "epoch", "sequence", "state", "part_id", "triggered_mono", "triggered_at"),
        *("decision", "reason", "decided_mono", "decided_at", "image_state"),
    )
    return {
        **{name: values[name] for name in kept},
        **({"recipe_number": values["recipe_number"]} if "recipe_number" in values else {}),
        "deadline_mono": values["deadline_mono"] or 0.0,
        "serial": str(values["serial"])[:64],
        "reasons": [values["reason"]],
        "detail": "",
        "deciding_class": 0,
        "deciding_score": 0.0,
        "over_t1": 0,
        "timings": {},
        "simulated": False,
    }


def _class_name(result: Result, detections: Detections) -> str | None:
    """Return the name of the deciding class, None where no class decided."""
    place = result.deciding_class - 1
    return detections.class_names[place] if 0 <= place < len(detections.class_names) else None


def result_values(result: Result) -> Values:
    """Return the columns of a decision."""
    return {
        "decision": result.decision.value,
        "reason": result.reason.name,
        "reasons": [reason.name for reason in result.reasons],
        "detail": result.detail,
        "deciding_class": int(result.deciding_class),
        "deciding_score": float(result.deciding_score),
        "over_t1": int(result.over_t1),
    }


def counted(row: Mapping[str, Any]) -> list[Values] | None:
    """Return the detections of a row that counted for its decision, the highest score first.

    None: the row does not tell which, only how many; it is older than that, or was cut short.
    """
    found: list[Values] = sorted(row["detections"] or [], key=lambda one: -one["score"])
    number = row["over_t1"] or 0
    told = [one for one in found if one.get("counted")]
    if len(told) != number and len(found) == number:
        return found
    return told if len(told) == number else None


def late_entry(values: Mapping[str, Any], why: str) -> Values:
    """Return what the `late` column keeps of a decision that is not the part's answer."""
    names = (
        "decision",
        "reason",
        "reasons",
        "detail",
        "deciding_class",
        "deciding_score",
        "over_t1",
    )
    entry = {
        name: values.get(name) for name in (*names, "decided_mono", "decided_at", "detections")
    }
    return {**entry, "why": why}


def journal_values(values: Values) -> Values:
    """Return the values cut down until they fit a slot: detections first, then long texts."""
    smaller = dict(values)
    cuts: tuple[Values, ...] = (
        {},
        {"detections": None, "truth": None},
        {"timings": {}, "detail": str(smaller["detail"])[:200], "source": None},
        {
            "serial": str(smaller["serial"])[:64],
            "code": None,
            "camera": None,
            "reasons": [smaller["reason"]],
            "detail": "",
        },
    )
    for cut in cuts:
        smaller |= cut
        if encode(0, smaller) is not None:
            break
    return smaller


def stored_answer(row: Mapping[str, Any]) -> StoredAnswer:
    """Return what the line asks of a stored row."""
    result = None
    if row["decision"] is not None:
        result = Result(
            decision=Decision(row["decision"]),
            reason=Reason[row["reason"]],
            reasons=tuple(Reason[name] for name in row["reasons"] or ()),
            deciding_class=row["deciding_class"] or 0,
            deciding_score=row["deciding_score"] or 0.0,
            over_t1=row["over_t1"] or 0,
            detail=row["detail"] or "",
            counted=tuple(n for n, one in enumerate(row["detections"] or []) if one.get("counted")),
        )
    return StoredAnswer(
        key=PartKey(row["station"], row["epoch"], row["sequence"]),
        part_id=row["part_id"],
        serial=row["serial"],
        state=PartState(row["state"]),
        record_id=row["id"],
        result=result,
    )


def image_rows(files: list[StoredImage]) -> list[Values]:
    """Return the `images` column of these files."""
    return [asdict(file) for file in files]


def stored_images(rows: object) -> list[StoredImage]:
    """Return the files of an `images` column. Raises KeyError, TypeError, ValueError if malformed."""
    if rows is None:
        return []
    if not isinstance(rows, list):
        raise TypeError("images is not a list")
    return [
        StoredImage(str(row["path"]), str(row["sha256"]), int(row["width"]), int(row["height"]))
        for row in rows
    ]


def _is_plain(values: Values) -> bool:
    """Tell whether there is nothing that a database refuses, as far as one call can tell."""
    try:
        text = _ENCODE(values)
        text.encode()
    except (ValueError, TypeError):  # or a value that the database will refuse
        return False
    return "\\u0000" not in text


def _readable(value: Any) -> Any:
    if isinstance(value, str):
        return readable(value)
    if isinstance(value, dict):
        return {_readable(name): _readable(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_readable(inner) for inner in value]
    return value


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return value
