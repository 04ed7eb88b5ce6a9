"""Roles and actions in words: what the codes in the store mean."""

from __future__ import annotations


def _mark(message: str) -> str:
    """Mark a text for the catalogue where it is translated later."""
    return message


ROLES = {
    "viewer": _mark("Viewer"),
    "operator": _mark("Operator"),
    "engineer": _mark("Quality engineer"),
    "administrator": _mark("Administrator"),
}

KEY_STATES = {
    "active": _mark("Works"),
    "ended": _mark("Its last day is over"),
    "revoked": _mark("Revoked"),
}

ACTIONS = {
    "sign_in": _mark("Signed in"),
    "sign_in.pin": _mark("Signed in with a PIN"),
    "sign_in.wrong": _mark("Wrong password"),
    "sign_in.limited": _mark("Too many wrong passwords"),
    "sign_out": _mark("Signed out"),
    "sessions.ended": _mark("Ended the other sessions"),
    "password.changed": _mark("Changed the own password"),
    "password.reset": _mark("Reset a password"),
    "pin.set": _mark("Set a PIN"),
    "pin.removed": _mark("Removed the PIN"),
    "pin.wrong": _mark("Wrong PIN"),
    "pin.locked": _mark("PIN locked after wrong ones"),
    "person.first": _mark("Made the first administrator"),
    "person.added": _mark("Added a person"),
    "person.changed": _mark("Changed a person"),
    "terminal.trusted": _mark("Trusted a terminal"),
    "terminal.forgotten": _mark("Trusts a terminal no longer"),
    "key.made": _mark("Made a key for a machine"),
    "key.revoked": _mark("Revoked a key"),
    "key.refused": _mark("Refused a key"),
    "key.limited": _mark("Too many refused keys"),
    "setting.changed": _mark("Changed a setting"),
    "book.added": _mark("Added to the book"),
    "book.taken_out": _mark("Took out of the book"),
    "control.taken": _mark("Took control of a station"),
    "control.forced": _mark("Took control from somebody"),
    "control.given_back": _mark("Gave control back"),
    "recipe.asked": _mark("Asked for a recipe"),
    "alarm.acknowledged": _mark("Acknowledged an alarm"),
    "review.asked": _mark("Put a part before people"),
    "review.verdict": _mark("Judged a part"),
    "review.undo": _mark("Took a verdict back"),
    "results.exported": _mark("Exported results"),
    "results.export_ended": _mark("An export ended"),
    "job.started": _mark("Started a job"),
    "job.cancelled": _mark("Cancelled a job"),
    "job.ended": _mark("A job ended"),
    "job.given_up": _mark("Gave up a job of another PC"),
    "release.asked": _mark("Asked to approve a release"),
    "release.approved": _mark("Approved a release"),
    "release.declined": _mark("Declined a release"),
    "recipe.make_asked": _mark("Asked to make a recipe"),
    "recipe.made": _mark("Made a recipe"),
    "release.in_force": _mark("A release came into force"),
    "release.switch_asked": _mark("Asked to switch the release"),
    "release.switched": _mark("Switched the release"),
    "release.rolled_back": _mark("Rolled the release back"),
}
"""Action code to its English text; docs/audit.md tells what is in the details."""
