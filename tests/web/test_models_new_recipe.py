"""A recipe for a new part: made on the pages from an approved release, as the line would read it."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from release_builder import write_release
from web_inside import Inside, Session
from web_process import add_people
from web_shift import write_shift

from inspection.cameras.render import CLASSES
from inspection.errors import StoreError
from inspection.recipe import RecipeBook
from inspection.release import read_card, write_card
from inspection.store.web import audit
from inspection.variants import VariantCard, VariantParity
from inspection_serve.web.models import recipes, releases, switching
from inspection_serve.web.models.switching import Asked, SwitchError
from inspection_serve.web.results import proof
from inspection_serve.web.results.in_force import in_force
from inspection_serve.web.review import rules
from inspection_serve.web.review.rules import limits_in_force

PART = "007"  # YAML takes it for a number where it is not quoted


class Place(Inside):
    """The pages of a station whose part has releases 1 and 3 (approved) and 2 (asked), no recipe."""

    def __init__(self, folder: Path) -> None:
        config = write_shift(folder, 3)
        add_people(config)
        super().__init__(config)
        self.releases, self.recipes = folder / "releases", folder / "recipes"
        for number in (1, 2, 3):
            write_release(self.releases, PART, number, tuple(CLASSES))
        self.recipes.mkdir()
        self.site.releases, self.site.recipes = self.releases, self.recipes
        self.engineer = self.session("engineer")
        administrator = self.session("administrator")
        for number, who, step in (
            (1, self.engineer, "asked"),
            (1, administrator, "approved"),
            (2, self.engineer, "asked"),
            (3, self.engineer, "asked"),
            (3, administrator, "approved"),
        ):
            body = {"step": step, "card_sha256": self.sha(number)}
            path = f"/api/v1/models/{PART}/{number}/approval"
            assert self.ask("POST", path, who, json=body).status_code == 200

    def sha(self, number: int) -> str:
        card = self.releases / PART / str(number) / "release.json"
        return hashlib.sha256(card.read_bytes()).hexdigest()

    def make(self, number: int, recipe: Any, who: Session | None = None, **more: Any) -> Any:
        body = {"recipe": recipe, "card_sha256": self.sha(number), **more}
        path = f"/api/v1/models/{PART}/{number}/recipe"
        return self.ask("POST", path, who or self.engineer, json=body)

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.recipes.iterdir() if path.is_file()}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with Place(tmp_path_factory.mktemp("new-recipe")) as found:
        yield found


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json().get("code", "")


def test_the_line_reads_the_recipe_of_a_new_part(place: Place) -> None:
    shown = place.ask("GET", f"/models/part/{PART}/1", place.engineer)
    assert 'id="new-recipe"' in shown.text
    made = place.make(1, 40, deadline=0.5)
    assert made.status_code == 201, made.text
    told = made.json()
    assert (told["number"], told["part"], told["release"]) == (40, PART, 1)
    assert (told["limits"], told["problem"], told["back"]) == (False, "", None)
    recipe, release = RecipeBook(place.recipes, place.releases).get(40)
    assert (release.name, recipe.deadline, recipe.regions) == (f"{PART}/1", 0.5, ())
    assert recipe.limits == release.limits
    assert hashlib.sha256(place.files()[told["file"]]).hexdigest() == told["sha256"]
    assert not [name for name in place.files() if name.startswith(".")]
    with place.site.store.read("the audit") as connection:
        rows = audit.rows(connection, subject="recipe:40")
        assert list(audit.breaches(connection)) == []
    assert [row["action"] for row in rows] == ["recipe.made", "recipe.make_asked"]
    assert json.loads(rows[0]["detail"])["recipe_now"] == told["sha256"]
    steps = place.ask("GET", f"/api/v1/models/{PART}/1/steps", place.engineer).json()
    assert (steps[0]["step"], steps[0]["comment"]) == ("in_force", "recipe:40")
    free = place.ask("GET", f"/models/part/{PART}/1", place.engineer).text
    assert 'name="recipe" type="number" min="1" max="65535" value="41"' in free
    body = {
        "recipe": 40, "recipe_sha256": told["sha256"], "card_sha256": place.sha(3), "limits": None,
    }  # fmt: skip
    path = f"/api/v1/models/{PART}/3/switch"
    switched = place.ask("POST", path, place.engineer, json=body)
    assert switched.status_code == 200, switched.text
    assert switched.json()["recipe"]["back"] == 1


def test_what_is_wrong_writes_nothing(place: Place) -> None:
    place.make(1, 50)
    before = place.files()
    assert code(place.make(1, 50)) == (409, "recipe_taken")
    assert code(place.make(2, 51)) == (409, "not_approved")
    assert code(place.make(1, 51, card_sha256="0" * 64)) == (409, "card_changed")
    for wrong in (0, 65536, -1, "../x", 1.5, None):
        assert code(place.make(1, wrong)) == (422, "malformed")
    for more in ({"deadline": 0}, {"deadline": 61}, {"file": "x.yaml"}):
        assert code(place.make(1, 51, **more)) == (422, "malformed")
    operator = place.session("operator")
    assert code(place.make(1, 51, operator)) == (403, "role")
    missing = {"recipe": 51, "card_sha256": "0" * 64}
    path = f"/api/v1/models/{PART}/9/recipe"
    answer = place.ask("POST", path, place.engineer, json=missing)
    assert code(answer) == (409, "no_release")
    assert place.files() == before


def test_a_file_in_the_way_stays(place: Place) -> None:
    other = place.recipes / f"{PART}-60.yaml"
    for content in (f"number: 61\npart: {PART}x\nrelease: 1\n", "number: [1\n"):
        other.write_text(content)
        assert code(place.make(1, 60)) == (409, "recipe_taken")
        assert other.read_text() == content
    other.unlink()
    for name in ("a.yaml", "b.yaml"):
        (place.recipes / name).write_text("number: 62\npart: x\nrelease: 1\n")
    assert code(place.make(1, 62)) == (409, "recipe_taken")
    for name in ("a.yaml", "b.yaml"):
        (place.recipes / name).unlink()


def test_a_changed_card_is_not_approved_any_more(place: Place) -> None:
    folder = place.releases / PART / "3"
    card = read_card(folder)
    try:
        write_card(folder, card.model_copy(update={"licence": "changed"}))
        assert code(place.make(3, 70)) == (409, "not_approved")
    finally:
        write_card(folder, card)


def test_a_recipe_that_cannot_be_told_is_taken_away_again(place: Place) -> None:
    before = place.files()
    with closing(sqlite3.connect(place.site.store.config.url)) as store:
        store.execute(
            "CREATE TRIGGER full BEFORE INSERT ON audit WHEN NEW.action = 'recipe.made' "
            "BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
        )
        store.commit()
        failed = place.make(1, 80)
        store.execute("DROP TRIGGER full")
        store.commit()
    assert code(failed) == (503, "store_failed")
    assert place.files() == before


def test_a_folder_that_cannot_be_written_says_so(place: Place) -> None:
    place.site.recipes = place.recipes / "gone"
    try:
        assert code(place.make(1, 90)) == (409, "not_written")
        place.site.recipes = None
        assert code(place.make(1, 90)) == (409, "no_recipes")
    finally:
        place.site.recipes = place.recipes


@contextmanager
def refusing(place: Place, action: str) -> Iterator[None]:
    """Let the store refuse an audit entry, as a full one does."""
    with closing(sqlite3.connect(place.site.store.config.url)) as store:
        store.execute(
            f"CREATE TRIGGER full BEFORE INSERT ON audit WHEN NEW.action = '{action}' "
            "BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
        )
        store.commit()
        try:
            yield
        finally:
            store.execute("DROP TRIGGER full")
            store.commit()


def no_space(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def switch(place: Place, recipe: int, number: int) -> Path:
    file = switching.find_recipe(place.site, recipe)
    assert file is not None
    asked = Asked(recipe, file.sha256, number, place.sha(number), "keep", back=False)
    return switching.switch(place.site, asked, "engineer")


def test_a_switch_is_taken_back_without_space(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert place.make(1, 100).status_code == 201
    before = place.files()
    kept = {path.name for path in (place.recipes / recipes.HISTORY).glob("*")}
    monkeypatch.setattr(switching, "write_atomic", no_space, raising=False)
    with refusing(place, "release.switched"), pytest.raises(StoreError):
        switch(place, 100, 3)
    assert place.files() == before
    assert {path.name for path in (place.recipes / recipes.HISTORY).glob("*")} == kept


def test_a_switch_that_cannot_be_taken_back_says_what_holds(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert place.make(1, 101).status_code == 201
    monkeypatch.setattr(recipes, "put_back", no_space, raising=False)
    monkeypatch.setattr(switching, "write_atomic", no_space, raising=False)
    with refusing(place, "release.switched"), pytest.raises(SwitchError) as told:
        switch(place, 101, 3)
    assert told.value.code == "not_taken_back"
    assert "names release 3" in str(told.value)
    assert RecipeBook(place.recipes, place.releases).get(101)[1].number == 3


def test_a_recipe_that_cannot_be_taken_away_says_what_holds(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stays(path: Path, *_: object, **__: object) -> None:
        if path.name == f"{PART}-102.yaml":
            raise PermissionError(errno.EPERM, "Operation not permitted")
        os.unlink(path)

    with refusing(place, "recipe.made"), monkeypatch.context() as failing:
        failing.setattr(Path, "unlink", stays)
        answer = place.make(1, 102)
    assert code(answer) == (500, "not_taken_back")
    assert f"{PART}-102.yaml" in answer.json()["detail"]


def test_a_folder_without_links_takes_a_recipe_too(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", refused_link)
    assert place.make(1, 103).status_code == 201
    assert RecipeBook(place.recipes, place.releases).get(103)[1].number == 1
    assert not [name for name in place.files() if name.startswith(".")]


def refused_link(*_: object) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")


def test_the_limits_of_earlier_parts_are_known_after_a_switch(place: Place) -> None:
    assert place.make(1, 104).status_code == 201
    path = place.recipes / f"{PART}-104.yaml"
    path.write_text(path.read_text() + "limits:\n  scratch: {t1: 0.2, t2: 0.4}\n")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    card = read_card(place.releases / PART / "1")
    part = {
        "release": f"{PART}/1", "model_sha256": card.files["model.onnx"], "recipe_sha256": sha256,
        "part_name": PART, "release_number": 1,
    }  # fmt: skip
    elsewhere = path.rename(path.with_suffix(".away"))
    assert limits_in_force(place.site, part) == {}
    elsewhere.rename(path)
    assert limits_in_force(place.site, part)["scratch"] == (0.2, 0.4), "an empty answer is not kept"
    switch(place, 104, 3)
    rules._known.clear()  # as after a restart
    assert limits_in_force(place.site, part)["scratch"] == (0.2, 0.4)
    found = in_force(place.site, part)
    assert (found.recipe, found.certain) == ("found", True)
    assert found.limits["scratch"].t1 == 0.2
    for strange in ("*", "../x", "0" * 64):
        assert in_force(place.site, {**part, "recipe_sha256": strange}).recipe == "changed"


def test_a_part_judged_under_another_card_is_not_proven(place: Place) -> None:
    """Limits that the recipe does not give are the card's: one that was edited says nothing of the part."""
    assert place.make(1, 105).status_code == 201
    recipe, release = RecipeBook(place.recipes, place.releases).get(105)
    part = {
        "release": release.name, "model_sha256": release.model_sha256, "recipe_sha256": recipe.sha256,
        "part_name": PART, "release_number": 1, "card_sha256": recipe.card_sha256,
    }  # fmt: skip
    assert in_force(place.site, part).certain
    assert limits_in_force(place.site, part)
    folder = place.releases / PART / "1"
    before = (folder / "release.json").read_bytes()
    changed = json.loads(before)
    changed["limits"]["scratch"]["min_size"] = 500.0
    (folder / "release.json").write_text(json.dumps(changed))
    try:
        rules._known.clear()
        again, _ = RecipeBook(place.recipes, place.releases).get(105)
        assert again.sha256 == recipe.sha256
        assert again.card_sha256 != recipe.card_sha256, "a row says that another card judged"
        found = in_force(place.site, part)
        assert (found.release, found.certain) == ("other_card", False)
        assert proof._model(place.site.texts.choose("en"), part, found).holds is False
        assert limits_in_force(place.site, part) == {}
        old = {**part, "card_sha256": None}  # rows of versions before that did not tell
        assert in_force(place.site, old).release == "found"
    finally:
        (folder / "release.json").write_bytes(before)


@pytest.mark.parametrize(("precision", "digest"), [("bf16", ""), ("int8", "7" * 64)])
def test_a_part_judged_by_a_variant_is_proven_as_any_other(
    place: Place, precision: Literal["bf16", "int8"], digest: str
) -> None:
    """Its row names the precision before the hash; the file is the release's own, or the variant's."""
    number = 120 + len(digest)
    assert place.make(1, number).status_code == 201
    folder, text = place.releases / PART / "1", place.recipes / f"{PART}-{number}.yaml"
    base = read_card(folder).files["model.onnx"]
    digest = digest or base
    part = {
        "release": f"{PART}/1", "model_sha256": f"{precision}:{digest}", "part_name": PART,
        "recipe_sha256": hashlib.sha256(text.read_bytes()).hexdigest(), "release_number": 1,
    }  # fmt: skip
    assert in_force(place.site, part).release == "missing", "no such variant here"
    write_variant_card(folder, precision, base, digest)
    found = in_force(place.site, part)
    assert (found.release, found.certain) == ("found", True)
    claim = proof._model(place.site.texts.choose("en"), part, found)
    assert (claim.holds, "same hash" in claim.text) == (True, True)
    other = {**part, "model_sha256": f"{precision}:{'8' * 64}"}
    assert in_force(place.site, other).release == "altered"
    plain = {**part, "model_sha256": digest}
    assert in_force(place.site, plain).release == ("found" if digest == base else "altered")


def write_variant_card(folder: Path, name: Literal["bf16", "int8"], base: str, digest: str) -> None:
    """The card of a variant that passed; nobody looks for its files here."""
    parity = VariantParity(
        images=60, defective=30, equal=60, min_equal=0.99, lost=0, changed=[], max_score_difference=0.0,
        mean_score_difference=0.0, min_iou=1.0, unmatched=0,
    )  # fmt: skip
    card = VariantCard(
        name=name, created_at="2026-11-23T00:00:00+00:00", release=f"{PART}/1", base_sha256=base,
        files=dict.fromkeys(("model.xml", "model.bin"), digest) if name == "int8" else {},
        model_sha256=digest, runtimes=["openvino"], dataset={}, splits=["val"], limits={},
        calibration_images=0, kept_float=[], float_arithmetic="f32", quantised=0, tries=[],
        selected_on=[], parity={"openvino": parity}, metrics={}, latency={}, machine="", libraries={},
    )  # fmt: skip
    path = folder / "variants" / name / "variant.json"
    path.parent.mkdir(parents=True)
    path.write_text(card.model_dump_json())


def test_comparisons_wait_for_each_other_and_then_say_so(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(releases, "COMPARE_WAIT", 0.05)
    path = f"/api/v1/models/compare?part={PART}&first=1&second=3"
    with releases._one_compare:
        answer = place.ask("GET", path, place.engineer)
        assert answer.status_code == 400
        assert "Another comparison is running" in answer.json()["detail"]
    assert place.ask("GET", path, place.engineer).status_code == 200
