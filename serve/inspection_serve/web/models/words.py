"""Codes of this area in words; the keys of the Korean catalogue."""

from __future__ import annotations


def _mark(message: str) -> str:
    """Mark a text for the catalogue where it is translated later."""
    return message


PROBLEMS = {
    "card_changed": _mark(
        "The card of the release was changed. Load the page again and look at it."
    ),
    "damaged": _mark("The release is damaged."),
    "asked_already": _mark("Somebody asked for this approval already."),
    "approved_already": _mark("The release is approved already."),
    "declined_already": _mark("The release was declined. Ask again first."),
    "not_asked": _mark("Nobody asked for the approval of this release yet."),
    "own_request": _mark("You asked for it, so another person decides."),
    "own_training": _mark("You trained it, so another person decides."),
    "no_comment": _mark("Say why it is declined."),
    "no_recipe": _mark("There is no readable recipe of this number for the part."),
    "recipe_changed": _mark("The recipe was changed meanwhile. Load the page again."),
    "no_release": _mark("There is no such release."),
    "not_approved": _mark("The release as it is now is not approved."),
    "same": _mark("The recipe names this release already."),
    "no_recipes": _mark("The pages know no folder of recipes."),
    "recipe_taken": _mark("There is a recipe of this number or name already."),
    "unknown_classes": _mark("The recipe names classes that the release does not know."),
    "limits_unsaid": _mark("The recipe has limits of its own. Say what becomes of them."),
    "not_plain": _mark("The recipe file cannot be changed in place. Change it by hand."),
    "not_written": _mark("The recipe file cannot be written. Nothing was changed."),
    "not_taken_back": _mark(
        "The store could not note it, and the recipe file could not be put back as it was: the line uses it "
        "as it is now. Check the file."
    ),
    "busy": _mark("Another job is running. One at a time."),
    "disk_full": _mark("The disk is full, or nearly."),
    "not_started": _mark("The job cannot be started."),
    "no_dataset": _mark("There is no such dataset."),
    "no_experiment": _mark("There is no such experiment."),
    "no_weights": _mark("There is no such weight file."),
    "no_part": _mark("This is no name of a part."),
    "no_releases": _mark("The pages know no folder of releases."),
    "elsewhere": _mark("The job runs on another machine. Cancel it on the pages there."),
    "here": _mark("The job is of this machine. Cancel it."),
    "not_running": _mark("The job does not run any more."),
}

STATES = {
    "asked": _mark("Approval asked"),
    "approved": _mark("Approved"),
    "declined": _mark("Declined"),
    "in_force": _mark("In force from here"),
    None: _mark("Not approved"),
}
STATE_SHAPES = {"asked": "◆", "approved": "●", "declined": "▲", "in_force": "➜", None: "○"}

JOB_STATES = {
    "asked": _mark("Starting"),
    "running": _mark("Running"),
    "done": _mark("Done"),
    "refused": _mark("Not released: a gate was not passed"),
    "failed": _mark("Failed"),
    "cancelled": _mark("Cancelled"),
    "lost": _mark("Cut off: nobody knows how it ended"),
}
JOB_SHAPES = {
    "asked": "○", "running": "▶", "done": "●", "refused": "▲", "failed": "■", "cancelled": "◆",
    "lost": "■",
}  # fmt: skip
JOB_KINDS = {"train": _mark("Training"), "replay": _mark("Replay")}
JOB_STEPS = {
    "harvest": _mark("Taking judged parts into the dataset"),
    "check": _mark("Checking the dataset"),
    "train": _mark("Training, measuring, gates"),
    "replay": _mark("Deciding stored parts again"),
}
TASKS = {
    "detect": _mark("Finds defects"),
    "segment": _mark("Finds defects with outlines"),
    "anomaly": _mark("Learned from good parts only"),
}


def problem_text(code: str) -> str:
    """Return the English of a problem; empty for a code of another area."""
    return PROBLEMS.get(code, "")
