"""Switch and roll back: which release a recipe names, changed by a person, only for an approved release.

    asked (audit, both hashes) ─▶ file kept and replaced ─▶ told (in force, audit)

When the last step cannot be written, the kept file is put back, for which no space is needed. After a crash
between the steps the audit says what was asked, and the hash of the file says whether it was done.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from inspection.errors import ConfigError, InspectionError, StoreError
from inspection.store.web import approvals, audit
from inspection.store.web.approvals import Step
from inspection_serve.web.models import recipes, releases
from inspection_serve.web.models.recipes import RecipeFile
from inspection_serve.web.models.releases import Held
from inspection_serve.web.site import Site

Limits = Literal["keep", "release", "then"]
"""Limits of the recipe after a switch: kept; the release's own; those of when the release was in force."""
lock = threading.Lock()
"""Held by whoever changes a recipe file."""


class SwitchError(InspectionError):
    """A switch is refused; `code` is for programs. Nothing was changed, except with `not_taken_back`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asks for, and what they saw.

    Attributes:
        recipe: number of the recipe.
        recipe_sha256: hash of its file as they saw it.
        number: of the release that it shall name.
        card_sha256: hash of that release's card as they saw it.
        limits: what becomes of the limits in the recipe file.
        back: a roll back: an approval is not needed where the release was in force earlier.
    """

    recipe: int
    recipe_sha256: str
    number: int
    card_sha256: str
    limits: Limits
    back: bool


def find_recipe(site: Site, number: int) -> RecipeFile | None:
    """Return the file of a recipe number."""
    found = recipes.recipes(site.recipes)
    return next((one for one in found if one.config and one.config.number == number), None)


def switch(site: Site, asked: Asked, who: str) -> Path:
    """Put a release into a recipe file; return where the file as it was is kept.

    Raises:
        SwitchError: see its code: `no_recipe`, `recipe_changed`, `no_release`, `card_changed`, `damaged`,
            `not_approved`, `same`, `unknown_classes`, `not_plain`, `not_written`, `not_taken_back`.
        StoreError: it could not be told to the store; the file is as it was.
    """
    with lock:
        file, held = _check(site, asked)
        config = file.config
        if config is None or held.card is None:
            raise SwitchError("no_recipe", file.problem)
        limits = _limits(file, asked)
        unknown = recipes.unknown_classes(config, held.card, limits)
        if unknown:
            raise SwitchError("unknown_classes", f"{held.name} does not know {', '.join(unknown)}")
        try:
            data = recipes.change(file, asked.number, limits)
        except ConfigError as error:
            raise SwitchError("not_plain", str(error)) from error
        wrong = releases.verify(held)
        if wrong:
            raise SwitchError("damaged", wrong)
        told: dict[str, Any] = {
            "recipe": asked.recipe,
            "part": held.part,
            "before": config.release,
            "now": asked.number,
            "recipe_before": file.sha256,
            "recipe_now": hashlib.sha256(data).hexdigest(),
            "card_sha256": held.card_sha256,
            "limits": asked.limits,
        }
        return _write(site, asked, file, held, data, (who, told))


def _check(site: Site, asked: Asked) -> tuple[RecipeFile, Held]:
    file = find_recipe(site, asked.recipe)
    if file is None or file.config is None:
        raise SwitchError("no_recipe", f"there is no readable recipe {asked.recipe}")
    if file.sha256 != asked.recipe_sha256:
        raise SwitchError("recipe_changed", f"recipe {asked.recipe} was changed meanwhile")
    if file.config.release == asked.number:
        raise SwitchError("same", f"recipe {asked.recipe} names release {asked.number} already")
    held = releases.find(site.releases, file.config.part, asked.number)
    if held is None:
        raise SwitchError("no_release", f"there is no release {file.config.part}/{asked.number}")
    if held.problem or held.card is None:
        raise SwitchError("damaged", held.problem)
    if held.card_sha256 != asked.card_sha256:
        raise SwitchError("card_changed", f"the card of {held.name} was changed meanwhile")
    return file, held


def _limits(file: RecipeFile, asked: Asked) -> dict[str, Any] | None:
    if asked.limits == "keep":
        return None
    if asked.limits == "release":
        return {}
    return recipes.limits_then(file.path, asked.number) or {}


def _write(
    site: Site,
    asked: Asked,
    file: RecipeFile,
    held: Held,
    data: bytes,
    said: tuple[str, dict[str, Any]],
) -> Path:
    who, told = said
    subject = f"recipe:{asked.recipe}"
    was = releases.find(site.releases, held.part, told["before"])
    with site.store.write("switching a release") as connection:
        found = approvals.rows(connection, held.part, asked.number)
        allowed: Callable[..., bool] = approvals.may_return if asked.back else _approved
        if not allowed(found, held.card_sha256):
            raise SwitchError("not_approved", f"{held.name} as it is now is not approved")
        audit.append(connection, who, "release.switch_asked", subject, back=asked.back, **told)
        if was is not None and was.card_sha256:
            approvals.note_in_force(
                connection, was.part, was.number, was.card_sha256, asked.recipe, who
            )
    try:
        if _hash(file.path) != file.sha256:
            raise SwitchError("recipe_changed", f"recipe {asked.recipe} was changed meanwhile")
        kept = recipes.write(file, data)
    except OSError as error:
        raise SwitchError("not_written", f"{file.path.name} cannot be written: {error}") from error
    try:
        with site.store.write("switching a release") as connection:
            approvals.note_in_force(
                connection, held.part, held.number, held.card_sha256, asked.recipe, who
            )
            action = "release.rolled_back" if asked.back else "release.switched"
            audit.append(connection, who, action, subject, kept=kept.name, **told)
    except StoreError as error:
        _take_back(file, kept, asked.number, error)
        raise
    return kept


def _take_back(file: RecipeFile, kept: Path, number: int, why: StoreError) -> None:
    """Put the file back as it was. Raises SwitchError `not_taken_back` when it names the release still."""
    try:
        recipes.put_back(kept, file.path)
    except OSError as error:
        with suppress(OSError):
            if _hash(file.path) == file.sha256:
                return
        raise SwitchError(
            "not_taken_back",
            f"{file.path.name} names release {number}; as it was before: history/{kept.name}; "
            f"it could not be put back: {error}; why the switch was not noted: {why}",
        ) from error


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _approved(found: list[dict[str, Any]], card_sha256: str) -> bool:
    return approvals.state(found, card_sha256) is Step.APPROVED
