"""Keys of the review page: actions, the keys delivered with, and which keys a person may choose.

Keys are codes of `KeyboardEvent.code`: places on the keyboard, the same in Hangul and in English. The
digits 1 to 9 choose reasons and cannot be given to an action.
"""

from __future__ import annotations

import re

from inspection.store.web.people import Person

DEFAULT_KEYS: dict[str, str] = {
    "confirm": "KeyN",
    "overrule": "KeyO",
    "borderline": "KeyL",
    "unsure": "KeyS",
    "aborted": "KeyX",
    "undo": "KeyU",
    "previous": "ArrowLeft",
    "next": "ArrowRight",
    "boxes": "KeyB",
    "heat": "KeyH",
    "golden": "KeyG",
    "blink": "Space",
    "edit": "KeyE",
    "samples": "KeyK",
    "defect": "KeyZ",
    "fit": "Digit0",
    "closer": "Equal",
    "farther": "Minus",
    "full": "KeyF",
    "mute": "KeyM",
}
_FREE = re.compile(
    r"Key[A-Z]|F[234689]|Space|Arrow(Left|Right|Up|Down)|Digit0|Equal|Minus|Comma|Period"
)


def keys_of(person: Person) -> dict[str, str]:
    """Return the keys of a person."""
    own = person.options.get("keys")
    chosen = own if isinstance(own, dict) and not problem_of(own) else {}
    return DEFAULT_KEYS | chosen


def problem_of(keys: dict[str, str]) -> str:
    """Return why these keys cannot be: `action`, `key` or `conflict`; empty when they can."""
    if set(keys) - set(DEFAULT_KEYS):
        return "action"
    if not all(isinstance(key, str) and _FREE.fullmatch(key) for key in keys.values()):
        return "key"
    after = list((DEFAULT_KEYS | keys).values())
    return "conflict" if len(set(after)) < len(after) else ""
