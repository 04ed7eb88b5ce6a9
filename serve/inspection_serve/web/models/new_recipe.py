"""A recipe for a part that has none yet: a file of its own, that names an approved release.

    asked (audit, card hash) ─▶ file appears whole, over no other one ─▶ told (in force, audit)

The file gives number, part, release and deadline. Limits are the release's own, and there are no regions:
both are added by hand, as docs/how-to/change-a-recipe.md tells. When the last step cannot be written, the
file is taken away again.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspection.errors import StoreError
from inspection.recipe import RecipeConfig
from inspection.release import write_atomic
from inspection.store.web import approvals, audit
from inspection.store.web.approvals import Step
from inspection.yaml_file import load_text
from inspection_serve.web.models import recipes, releases
from inspection_serve.web.models.releases import Held
from inspection_serve.web.models.switching import SwitchError, lock
from inspection_serve.web.site import Site

TEXT = """\
# made on the pages; the line reads it at its next recipe request
number: {number}  # that the PLC asks for
part: "{part}"
release: {release}
# limits: those of the release; regions: none, the whole image is judged
deadline: {deadline:g}  # seconds from trigger to decision
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person asks for, and what they saw.

    Attributes:
        number: of the recipe.
        part: name of the part.
        release: number that the recipe shall name.
        card_sha256: hash of that release's card as they saw it.
        deadline: seconds from trigger to decision.
    """

    number: int
    part: str
    release: int
    card_sha256: str
    deadline: float


def free_number(found: list[recipes.RecipeFile]) -> int:
    """Return the number after the highest one in use; 1 where there is none."""
    return min(65535, max((one.config.number for one in found if one.config), default=0) + 1)


def make(site: Site, wanted: Wanted, who: str) -> Path:
    """Write a recipe file; return it.

    Raises:
        SwitchError: `no_recipes`, `recipe_taken`, `no_release`, `damaged`, `card_changed`, `not_approved`,
            `not_written`: nothing was written. `not_taken_back`: the file is there.
        StoreError: it could not be told to the store; there is no file.
    """
    with lock:
        folder, held = _check(site, wanted)
        text = TEXT.format(
            number=wanted.number, part=wanted.part, release=wanted.release, deadline=wanted.deadline
        )
        RecipeConfig.model_validate(load_text(text))
        wrong = releases.verify(held)
        if wrong:
            raise SwitchError("damaged", wrong)
        return _write(site, wanted, held, (folder / _name(folder, wanted), text.encode()), who)


def _check(site: Site, wanted: Wanted) -> tuple[Path, Held]:
    if site.recipes is None:
        raise SwitchError("no_recipes", "start the pages with --recipes, or with the station file")
    found = recipes.recipes(site.recipes)
    if any(one.number == wanted.number for one in found):
        raise SwitchError("recipe_taken", f"recipe {wanted.number} is there already")
    held = releases.find(site.releases, wanted.part, wanted.release)
    if held is None:
        raise SwitchError("no_release", f"there is no release {wanted.part}/{wanted.release}")
    if held.problem or held.card is None:
        raise SwitchError("damaged", held.problem)
    if held.card_sha256 != wanted.card_sha256:
        raise SwitchError("card_changed", f"the card of {held.name} was changed meanwhile")
    return site.recipes, held


def _name(folder: Path, wanted: Wanted) -> str:
    name = f"{wanted.part}-{wanted.number}.yaml"
    if (folder / name).exists():  # of another number, or unreadable
        raise SwitchError("recipe_taken", f"the file {name} is there already")
    return name


def _write(site: Site, wanted: Wanted, held: Held, file: tuple[Path, bytes], who: str) -> Path:
    path, data = file
    subject = f"recipe:{wanted.number}"
    told: dict[str, Any] = {
        "recipe": wanted.number, "part": held.part, "now": held.number, "file": path.name,
        "recipe_now": hashlib.sha256(data).hexdigest(), "card_sha256": held.card_sha256,
    }  # fmt: skip
    with site.store.write("making a recipe") as connection:
        found = approvals.rows(connection, held.part, held.number)
        if approvals.state(found, held.card_sha256) is not Step.APPROVED:
            raise SwitchError("not_approved", f"{held.name} as it is now is not approved")
        audit.append(connection, who, "recipe.make_asked", subject, **told)
    try:
        _appear(path, data)
    except FileExistsError as error:
        raise SwitchError("recipe_taken", f"the file {path.name} is there already") from error
    except OSError as error:
        raise SwitchError("not_written", f"{path.name} cannot be written: {error}") from error
    try:
        with site.store.write("making a recipe") as connection:
            approvals.note_in_force(
                connection, held.part, held.number, held.card_sha256, wanted.number, who
            )
            audit.append(connection, who, "recipe.made", subject, **told)
    except StoreError as why:
        try:
            path.unlink()
            recipes.sync_folder(path.parent)
        except OSError as error:
            if path.exists():
                raise SwitchError(
                    "not_taken_back",
                    f"{path.name} is there and names release {held.number}; it could not be taken away: "
                    f"{error}; why it was not noted: {why}",
                ) from error
        raise
    return path


def _appear(path: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all, and never in the place of another one.

    Where the file system knows no links, another process that makes the same file in the same instant is
    not noticed.
    """
    whole = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        write_atomic(whole, data)
        try:
            os.link(whole, path)
        except FileExistsError:
            raise
        except OSError:
            if path.exists():
                raise FileExistsError(path) from None
            whole.rename(path)
        recipes.sync_folder(path.parent)
    finally:
        with suppress(OSError):
            whole.unlink()
