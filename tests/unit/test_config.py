"""Station and recipe files: every fault is told with its line and what to do; nothing starts."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
import yaml
from station_rig import Rig

from inspection.changeover import Changeover
from inspection.config import load_station
from inspection.doctor import check_station
from inspection.errors import ConfigError, ReleaseError
from inspection.part import Setup
from inspection.recipe import RecipeBook, RecipeConfig, RecipeError
from inspection.release import find_release, sha256_file
from inspection.types import Reason
from inspection.yaml_file import read_yaml
from inspection_serve.web.models.recipes import find_form


@pytest.fixture
def rig(tmp_path) -> Rig:
    return Rig(tmp_path)


def told(rig: Rig, change) -> str:
    change(rig.station)
    rig.write()
    with pytest.raises(ConfigError) as caught:
        load_station(rig.folder / "station.yaml")
    return str(caught.value)


def test_a_good_file(rig):
    config = load_station(rig.folder / "station.yaml")
    assert config.releases.is_absolute()
    assert config.store.sqlite_path == rig.database


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.update(recepie=s.pop("recipe")), ["recepie", "did you mean 'recipe'"]),
        (lambda s: s["plc"].update(prot=502), ["plc", "prot"]),
        (lambda s: s["plc"].update(type="modbuss"), ["modbuss", "installed: ", "modbus"]),
        (lambda s: s["plc"].update(port=70000), ["port", "70000"]),
        (lambda s: s["timing"].update(poll="fast"), ["timing.poll", "fast"]),
        (lambda s: s["timing"].update(poll=float("nan")), ["timing.poll"]),
        (lambda s: s.pop("store"), ["store", "is missing"]),
        (lambda s: s.update(station="no spaces please"), ["station"]),
        (lambda s: s.update(releases="nowhere"), ["nowhere", "no folder"]),
        (lambda s: s["camera"].update(faults=["frozen"]), ["camera"]),
    ],
)
def test_faults_are_named(rig, change, words):
    message = told(rig, change)
    for word in words:
        assert word in message
    assert "line " in message or "no folder" in message


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "station: [",
        "a: &x {b: *x}",
        "a: 1\na: 2",
        "\x00",
        "!!python/object/apply:os.system ['true']",
    ],
)
def test_what_is_no_station_file(tmp_path, text):
    (tmp_path / "station.yaml").write_text(text)
    with pytest.raises(ConfigError):
        load_station(tmp_path / "station.yaml")


WRONG = {
    "list.yaml": ("number: 2\n[a]: 1\n", ["line 2", "put quotes around it"]),
    "map.yaml": ("? {a: 1}\n: 2\n", ["line 1", "put quotes around it"]),
    "deep.yaml": ("number: 2\npart: " + "[" * 2000 + "]" * 2000, ["line 2", "deeper than 50"]),
    "tall.yaml": ("number: 2\nlimits:\n" + "\n".join(" " * i + "-" for i in range(1000)), ["deeper than 50"]),
    "asked.yaml": ("number: 2\npart: !!timestamp 8521-30-41\n", ["line 2", "put quotes around it"]),
    "when.yaml": ("number: 2\npart: !!timestamp now\n", ["line 2", "put quotes around it"]),
    "maybe.yaml": ("number: !!bool maybe\n", ["line 1", "put quotes around it"]),
    "shape.yaml": ("number: 2\npart: !!int [1]\n", ["line 2"]),
    "bits.yaml": ("number: 0b_\npart: plate\n", ["line 1", "'0b_'", "put quotes around it"]),
    "digits.yaml": ("number: " + "1" * 5000, ["line 1", "put quotes around it"]),
    "clock.yaml": ("number: 2\npart: 12:30\nrelease: 1\n", ["line 2", "part", "quotes", "'12:30'"]),
    "word.yaml": ("number: yes\npart: plate\nrelease: 1\n", ["line 1", "number", "yes is no number"]),
    "words.yaml": (
        "number: 2\npart: plate\nrelease: 1\nframe: {size: [1, 1]}\n"
        "regions:\n  - box: [0, 0,\n      1, true]\n",
        ["line 7", "regions.0.box.3", "true is no number"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(WRONG))
def test_whatever_a_file_holds_it_is_a_fault_with_its_line(tmp_path, name):
    text, words = WRONG[name]
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_yaml(tmp_path / name, RecipeConfig)
    for word in [name, *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize("name", ["8521-30-41", "2024-05-01"])
def test_a_part_may_be_called_like_a_date(tmp_path, name):
    (tmp_path / "2.yaml").write_text(f"number: 2\npart: {name}\nrelease: 1\n")
    assert read_yaml(tmp_path / "2.yaml", RecipeConfig).part == name


def test_other_recipes_are_taken_beside_a_broken_file(rig):
    folder = rig.folder / "recipes"
    for name, (text, _) in WRONG.items():
        (folder / name).write_text(text)
    (folder / "3.yaml").write_text("number: 3\npart: 8521-30-41\nrelease: 1\n")
    assert book(rig).get(1)[0].number == 1
    with pytest.raises(RecipeError) as caught:
        book(rig).get(2)
    assert caught.value.reason is Reason.RECIPE_INVALID


@pytest.mark.parametrize("kind", [["modbus"], {"a": 1}, 5, None])
def test_a_type_that_is_no_name_is_a_fault(rig, kind):
    assert "installed: " in told(rig, lambda s: s["plc"].update(type=kind))


def test_a_word_is_no_port(rig):
    assert "plc.port: true is no number" in told(rig, lambda s: s["plc"].update(port=True))


def test_a_typo_stops_the_line_before_it_starts(rig):
    rig.station["camera"]["defect_ratio"] = 0.1
    rig.write()
    done = subprocess.run(
        [sys.executable, "-m", "inspection", "line", str(rig.folder / "station.yaml")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "defect_ratio" in done.stderr
    assert "Traceback" not in done.stderr
    assert not rig.database.exists()


def book(rig: Rig) -> RecipeBook:
    return RecipeBook(rig.folder / "recipes", rig.releases)


def test_recipe_limits_go_over_those_of_the_release(rig):
    rig.recipe(1, limits={"dent": {"t1": 0.1, "t2": 0.9, "min_size": 3}})
    recipe, release = book(rig).get(1)
    assert recipe.limits["dent"].t2 == 0.9
    assert recipe.limits["scratch"] == release.limits["scratch"]
    assert set(recipe.limits) == set(release.classes)


def test_a_recipe_has_the_hash_of_the_bytes_that_gave_its_limits(rig):
    """A file that is written anew while its release is checked: limits and hash are of one form of it."""
    path = rig.folder / "recipes" / "1.yaml"
    hashes: dict[str, float] = {}

    def written(t1: float) -> None:
        rig.recipe(1, limits={"dent": {"t1": t1, "t2": 0.9}})
        hashes[hashlib.sha256(path.read_bytes()).hexdigest()] = t1

    def find(releases, part, number):
        found = find_release(releases, part, number)
        written(0.3)
        return found

    written(0.5)
    recipe, _ = RecipeBook(rig.folder / "recipes", rig.releases, find).get(1)
    assert recipe.limits["dent"].t1 == hashes[recipe.sha256]


def test_limits_that_change_are_in_force_whatever_the_hash_says(rig):
    """Setups are one only when all of them is the same, also the limits that a release's card gives."""
    recipe, release = book(rig).get(1)
    first = Setup(recipe, release)
    strict = {name: replace(limits, t1=0.01) for name, limits in recipe.limits.items()}
    second = Setup(replace(recipe, limits=strict), release)
    setups, loaded, read = [first, second, second], [], threading.Event()
    changeover = Changeover(lambda _number: setups.pop(0), loaded.append, read.set)
    for wanted in (first, second, second):
        read.clear()
        changeover.request(1)
        assert read.wait(5)
        assert changeover.take() is not None
        assert changeover.setup == wanted
    assert loaded == [first, second]


BAND = {"t1": 0.2, "t2": 0.5}


@pytest.mark.parametrize(
    ("number", "changes", "reason"),
    [
        (9, {}, Reason.RECIPE_UNKNOWN),
        (1, {"limits": {"dint": {"t1": 0.1, "t2": 0.2}}}, Reason.RECIPE_INVALID),
        (1, {"limits": {"dent": {"t1": 0.5, "t2": 0.2}}}, Reason.RECIPE_INVALID),
        (1, {"limits": {"dent": {"t1": float("nan"), "t2": 0.2}}}, Reason.RECIPE_INVALID),
        (1, {"limits": {"dent": {**BAND, "min_size": float("inf")}}}, Reason.RECIPE_INVALID),
        (1, {"limits": {"dent": {**BAND, "min_area": float("inf")}}}, Reason.RECIPE_INVALID),
        (1, {"limits": {"dent": {**BAND, "min_area": float("nan")}}}, Reason.RECIPE_INVALID),
        (1, {"deadline": 0}, Reason.RECIPE_INVALID),
        (1, {"regions": [{"box": [10, 10, 5, 20]}]}, Reason.RECIPE_INVALID),
        (1, {"regions": [{"box": [0, 0, 5, 5]}]}, Reason.RECIPE_INVALID),
        (
            1,
            {"regions": [{"box": [700, 0, 900, 5]}], "frame": {"size": [640, 480]}},
            Reason.RECIPE_INVALID,
        ),
        (1, {"part": "../../etc"}, Reason.RECIPE_INVALID),
    ],
)
def test_a_wrong_recipe_is_refused_with_its_reason(rig, number, changes, reason):
    rig.recipe(1, **changes)
    with pytest.raises(RecipeError) as caught:
        book(rig).get(number)
    assert caught.value.reason is reason


def test_two_files_with_one_number_are_refused(rig):
    text = (rig.folder / "recipes" / "1.yaml").read_text()
    (rig.folder / "recipes" / "copy.yaml").write_text(text)
    with pytest.raises(RecipeError, match=r"1\.yaml, copy\.yaml"):
        book(rig).get(1)


def test_every_recipe_that_the_plc_may_ask_for_is_looked_at(rig):
    assert book(rig).faults() == []
    rig.recipe(2, regions=[{"box": [0, 0, 5, 5]}])
    rig.recipe(3, release=8)
    regions, release = book(rig).faults()
    assert "frame: {size: [width, height]}" in regions
    assert "plate/8" in release
    check = next(c for c in check_station(rig.folder / "station.yaml") if c.name == "recipes")
    assert (check.state, check.found) == ("warn", f"{regions}; {release}")


def test_an_old_form_without_a_size_is_still_shown(rig):
    """Parts were judged by it, before regions asked for one."""
    rig.recipe(2, regions=[{"box": [0, 0, 5, 5]}])
    path = rig.folder / "recipes" / "2.yaml"
    with pytest.raises(ConfigError, match="regions are pixels"):
        read_yaml(path, RecipeConfig)
    form = find_form(path.parent, sha256_file(path))
    assert form is not None
    assert form.regions[0].box == (0, 0, 5, 5)


def test_a_recipe_for_a_release_that_is_not_there(rig):
    rig.recipe(1, release=8)
    with pytest.raises(ReleaseError, match="8"):
        book(rig).get(1)


def test_round_trip_of_regions(rig):
    regions = [
        {"box": [0, 0, 10, 10], "expected": {"dent": 1}},
        {"box": [5, 5, 9, 9], "ignore": True},
    ]
    rig.recipe(1, regions=regions, frame={"size": [640, 480]})
    assert yaml.safe_load((rig.folder / "recipes" / "1.yaml").read_text())["regions"] == regions
    recipe, _ = book(rig).get(1)
    assert recipe.regions[0].expected == {"dent": 1}
    assert recipe.regions[1].ignore
