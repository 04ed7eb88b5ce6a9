"""Words: what is known of a station, as people read it, in one language."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from inspection.readiness import FAULTS
from inspection.store.outbox_standing import Standing as Destination
from inspection.store.rows import Values
from inspection.types import CommandState, Decision
from inspection_serve.web.line.watch import STRIP, Alarm, Look, StationLook
from inspection_serve.web.pages import DECISION_TEXTS, SHAPES, environment
from inspection_serve.web.reasons import Words, reason_text, words_of
from inspection_serve.web.texts import Language

_FAULTS = {reason.name for reason in FAULTS}
_UNLINKED = ("PLC_LINK", "PLC_SHARED")
_SHAPES = {"ready": "●", "waiting": "◆", "fault": "■"}
NG = {Decision.FAIL.value}


def _mark(message: str) -> str:
    """Mark a text for the catalogue where it is translated later."""
    return message


_DEVICES = (
    ("camera", _mark("Camera")),
    ("plc", _mark("PLC")),
    ("model", _mark("Model")),
    ("store", _mark("Store")),
)
_READY = Words(_mark("Ready"), _mark("The station inspects what is triggered."), "")
_COMMANDS = {
    CommandState.ASKED.value: _mark(
        "Recipe {number}: asked for by {who}, the line has not answered yet"
    ),
    CommandState.TAKEN.value: _mark("Recipe {number}: the line is reading it"),
    CommandState.DONE.value: _mark("Recipe {number}: in force, asked for by {who}"),
    CommandState.REFUSED.value: _mark("Recipe {number}: refused – {why}"),
    CommandState.EXPIRED.value: _mark(
        "Recipe {number}: not changed, the line did not answer in time"
    ),
}
_REFUSALS = {
    "plc_requests": _mark("the PLC is requesting a recipe"),
    "plc_holds": _mark("the PLC has chosen recipe {held}"),
    "replaced": _mark("another command came after it"),
    "restart": _mark("the line program started anew"),
    "malformed": _mark("the command is not readable"),
}


@dataclass(frozen=True, slots=True)
class Standing:
    """How a station stands, in words.

    Attributes:
        code: `ready`, `LINE_SILENT`, `LINE_STOPPED`, or the reason's name.
        kind: `ready`, `waiting` (nothing to mend) or `fault`.
        words: not translated yet.
    """

    code: str
    kind: str
    words: Words

    @property
    def shape(self) -> str:
        """The sign beside the words."""
        return _SHAPES[self.kind]


def standing(look: StationLook) -> Standing:
    """Return how a station stands."""
    state = look.state
    if state is not None and not state.running:
        return Standing("LINE_STOPPED", "waiting", words_of("LINE_STOPPED"))
    if state is None or look.stale:
        return Standing("LINE_SILENT", "fault", words_of("LINE_SILENT"))
    if state.ready or state.cause is None:
        return Standing("ready", "ready", _READY)
    kind = "fault" if state.cause in _FAULTS or state.cause.startswith(_UNLINKED) else "waiting"
    return Standing(state.cause, kind, words_of(state.cause))


def frame_age(look: StationLook) -> float | None:
    """Return the age of the last answered part in seconds; None without one."""
    if look.state is None or look.state.last is None or look.age is None:
        return None
    return look.state.last.age + look.age


def facts(name: str, look: StationLook) -> Values:
    """Return what the modules of a page need of a station: codes and numbers, no words."""
    state, first = look.state, look.parts[0] if look.parts else None
    open_alarms = [alarm for alarm in look.alarms if not alarm.who and not alarm.shelved]
    return {
        "name": name,
        "code": standing(look).code,
        "kind": standing(look).kind,
        "age": look.age,
        "stale": look.stale,
        "frame_age": frame_age(look),
        "picture_at": None if state is None else state.picture_at,
        "record": None if first is None else first["id"],
        "decision": None if first is None else first["decision"],
        "alarms": len(open_alarms),
        "repeated": next((a.record for a in open_alarms if a.code == "REPEATED_NG"), 0),
        "control": None
        if look.control is None
        else {"who": look.control.who, "until": look.control.until},
        "command": None if look.command is None else look.command["id"],
        "command_state": None if look.command is None else look.command["state"],
    }


def fragment(name: str, language: Language, look: StationLook, **more: Any) -> str:
    """Return one piece of the page as HTML: a macro of `line/fragments.html`."""
    macro = getattr(_fragments(language), name)
    return str(macro({"look": look, **_view(language, look), **more}))


@cache
def _fragments(language: Language) -> Any:
    template = environment().get_template("line/fragments.html")
    return template.make_module(
        {
            "_": language.text,
            "number": language.number,
            "when": language.when,
            "reason_text": lambda code: reason_text(language.text, code),
            "shapes": SHAPES,
            "decision_texts": DECISION_TEXTS,
        }
    )


def strip_facts(look: Look) -> str:
    """Return what is wrong with the store; empty when it can be read."""
    return look.store_down


def _view(language: Language, look: StationLook) -> Values:
    text, state, stands = language.text, look.state, standing(look)
    counts = {} if state is None else state.counts
    return {
        "name": look.name,
        "stands": stands,
        "devices": [
            (code, text(name), None if state is None or look.stale else getattr(state, code))
            for code, name in _DEVICES
        ],
        "known": state is not None and not look.stale,
        "counts": [(d.value, counts.get(d.value)) for d in Decision],
        "total": sum(counts.values()) if counts else None,
        "takt": None if state is None else state.takt,
        "recipe": 0 if state is None else state.recipe,
        "release": "" if state is None else state.release,
        "degraded": state is not None and state.degraded,
        "parts": [_part(now, before) for now, before in _pairs(look.parts)],
        "alarms": [_alarm(text, alarm) for alarm in look.alarms],
        "command": command_text(text, look.command),
        "shift": look.shift,
        "upward": [_destination(one) for one in look.upward],
    }


def _destination(one: Destination) -> Values:
    """Return how a destination upward stands, in numbers."""
    return {
        "name": one.destination,
        "waiting": one.waiting,
        "oldest": one.oldest_age,
        "quarantined": one.quarantined,
        "away": one.attempts > 0,
        "fault": one.late or one.quarantined > 0,
    }


def _pairs(rows: tuple[Values, ...]) -> list[tuple[Values, Values | None]]:
    return [
        (row, rows[place + 1] if place + 1 < len(rows) else None)
        for place, row in enumerate(rows[:STRIP])
    ]


def _part(row: Values, before: Values | None) -> Values:
    """Return a part of the strip: with its cycle, and the takt since the part before."""
    sent, seen = row["sent_mono"], row["triggered_mono"]
    takt = None if before is None else seen - before["triggered_mono"]
    return {
        **row,
        "cycle": None if sent is None else sent - seen,
        "takt": takt if takt is not None and takt > 0 else None,
    }


def _alarm(text: Callable[..., str], alarm: Alarm) -> Values:
    words = words_of(alarm.code)
    return {
        "alarm": alarm,
        "text": text(words.text),
        "cause": text(words.cause),
        "action": text(words.action),
        "fault": alarm.on and (alarm.code in _FAULTS or alarm.key.startswith("rule:")),
    }


def command_text(text: Callable[..., str], command: Values | None) -> str:
    """Return what became of a command; empty without one."""
    if command is None:
        return ""
    value = command["value"]
    number = value.get("number", "?") if isinstance(value, dict) else "?"
    sentence = _COMMANDS.get(command["state"], command["state"])
    why = _refusal(text, command["detail"] or "")
    return text(sentence, number=number, who=command["who"], why=why)


def _refusal(text: Callable[..., str], detail: str) -> str:
    code, _, rest = detail.partition(" ")
    if code in _REFUSALS:
        return text(_REFUSALS[code], held=rest)
    words = words_of(code)
    return f"{text(words.text)} ({rest})" if words.cause else detail
