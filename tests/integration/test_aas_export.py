"""`inspection aas export`: read back by its library, verified by another, compared with the templates."""

from __future__ import annotations

import json
import re
import resource
import socket
import sqlite3
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from aas_core3 import jsonization, verification
from aas_place import MEASURED, NAMEPLATE, RATE, Place, at, dataset_of, submodels
from aas_templates import Asked, faults, read_templates, semantic_of
from basyx.aas import model
from basyx.aas.adapter import aasx
from basyx.aas.adapter.json import read_aas_json_file
from postgres_server import NoServerError, PostgresServer
from release_builder import write_release
from station_rig import CLASSES
from store_samples import store_config

from inspection.errors import ConfigError, DatasetError, ReleaseError, StoreError
from inspection.release import read_card, write_card
from inspection.store.web.series import DAYS, HOURS, read_series
from inspection_serve.aas.elements import id_short
from inspection_serve.aas.nameplate_file import NameplateFile, read_nameplate

TEMPLATES = read_templates()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """An export of everything; tests only look at it."""
    found = Place(tmp_path_factory.mktemp("full"))
    found.fill()
    found.export()
    return found


def test_the_library_reads_it_back(full: Place) -> None:
    with (full.folder / "out.json").open(encoding="utf-8") as file:
        from_json = read_aas_json_file(file, failsafe=False)
    from_package: Any = model.DictIdentifiableStore()
    with aasx.AASXReader(str(full.out), failsafe=False) as reader:
        reader.read_into(from_package, aasx.DictSupplementaryFileContainer())
    assert {one.id for one in from_json} == {one.id for one in from_package}
    shells = [one for one in from_json if isinstance(one, model.AssetAdministrationShell)]
    assert {one.id_short for one in shells} == {"Station", "Release_plate_1"}
    for shell in shells:
        for reference in shell.submodel:
            assert reference.resolve(from_json) is not None
    references = [
        element.value
        for one in from_json
        if isinstance(one, model.Submodel)
        for element in walk(one)
        if isinstance(element, model.ReferenceElement)
    ]
    assert len(references) > 8
    for reference in references:
        assert isinstance(reference, model.ModelReference)
        assert reference.resolve(from_json) is not None, reference


def walk(one: Any) -> Iterator[Any]:
    for element in one:
        yield element
        if isinstance(element, model.SubmodelElementCollection | model.SubmodelElementList):
            yield from walk(element)


def test_another_library_finds_no_error(full: Place) -> None:
    environment = jsonization.environment_from_jsonable(full.plain)
    assert [f"{e.path}: {e.cause}" for e in verification.verify(environment)] == []
    with zipfile.ZipFile(full.out) as package:
        (name,) = [n for n in package.namelist() if n.endswith("data.json")]
        inside = json.loads(package.read(name))
    assert list(verification.verify(jsonization.environment_from_jsonable(inside))) == []
    for kind in ("assetAdministrationShells", "submodels"):
        ids = {json.dumps(one, sort_keys=True) for one in inside[kind]}
        assert ids == {json.dumps(one, sort_keys=True) for one in full.plain[kind]}


def test_every_mandatory_element_of_the_templates_is_there(full: Place) -> None:
    document = full.plain
    names = Counter(one["idShort"] for one in document["submodels"])
    assert names == {**dict.fromkeys(TEMPLATES, 1), "SoftwareNameplate": 2}
    wrong = [f for one in document["submodels"] for f in faults(one, TEMPLATES[one["idShort"]])]
    assert wrong == []


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_comparison_misses_what_is_taken_out(full: Place, name: str) -> None:
    """Each mandatory element taken out, one at a time, then ids and types changed."""
    template, (submodel, *_) = TEMPLATES[name], submodels(full.plain, name)
    tried = 0
    for present, one in list(places(submodel["submodelElements"], template.inner)):
        whole = list(present)
        if one.card in {"One", "OneToMany"}:
            present[:] = [e for e in present if semantic_of(e) != one.semantic]
            told = list(faults(submodel, template))
            assert any(f"/{one.name} ({one.card}) is not there" in fault for fault in told)
            present[:] = whole
            tried += 1
        element = next(e for e in present if semantic_of(e) == one.semantic)
        element["modelType"] += "x"
        assert len(list(faults(submodel, template))) >= 1
        element["modelType"] = element["modelType"][:-1]
    assert tried >= 5
    assert list(faults(submodel, template)) == []
    submodel["semanticId"]["keys"][0]["value"] += "x"
    assert len(list(faults(submodel, template))) == 1


def places(present: list[Any], asked: list[Asked]) -> Iterator[tuple[list[Any], Asked]]:
    """Where each element of a template is: the list that holds it; of many, the first one's."""
    for one in asked:
        found = [element for element in present if semantic_of(element) == one.semantic]
        if found:
            yield present, one
            if one.inner:
                yield from places(found[0]["value"], one.inner)


def test_what_a_release_says(full: Place) -> None:
    (found,) = submodels(full.plain, "AIModelNameplate")
    assert at(found, "TrainingResults/test_defective_escape") == (
        "0.033333 (5 of 150, interval 0.01091..0.076072)"
    )
    assert at(found, "TrainingResults/Claim") == MEASURED["claim"]
    assert at(found, "AITypeSpecificInformation/Hyperparameter/lr") == "0.006"
    assert at(found, "AITypeSpecificInformation/TransferLearning/Name") == "yolov8n.pt"
    assert at(found, "Details/Licence") == "Apache-2.0"
    card = read_card(full.folder / "releases" / "plate" / "1")
    assert at(found, "Details/Sha256") == card.files["model.onnx"]
    (software,) = [s for s in submodels(full.plain, "SoftwareNameplate") if "/release/" in s["id"]]
    checksum = at(software, "SoftwareNameplateType/InstallationChecksum")
    assert checksum == f"sha256:{card.files['model.onnx']}"
    (deployed,) = submodels(full.plain, "AIDeployment")
    assert at(deployed, "Storage/Format") == "onnx"
    time = at(deployed, "PerformanceInformation/InferenceTime_openvino/Time")
    assert time == "openvino: p50 10.1 ms, p99 11.2 ms"


def test_what_a_dataset_says(full: Place) -> None:
    (found,) = submodels(full.plain, "AIDataset")
    assert at(found, "SizeInformation/CompleteSize") == "6"
    assert at(found, "SizeInformation/SplitRatio") == "66.7:16.7:16.7"
    assert at(found, "Labeled/Classification/Labels/dent/NumberOfSamples") == "2"
    assert at(found, "Labeled/Classification/Labels/scratch/ClassName") == "scratch"
    (named,) = submodels(full.plain, "AIModelNameplate")
    reference = at(named, "AIDataset/AIDatasetReference")
    assert reference["keys"][0]["value"] == found["id"]


def test_counts_are_told_and_parts_are_linked(full: Place) -> None:
    (found,) = submodels(full.plain, "TimeSeries")
    for name, length in (("InternalSegmentHours", HOURS), ("InternalSegmentDays", DAYS)):
        assert at(found, f"Segments/{name}/RecordCount") == str(length)
        records = at(found, f"Segments/{name}/Records")
        sums = {
            decision: sum(int(at({"value": [r]}, f"{r['idShort']}/{decision}")) for r in records)
            for decision in ("PASS", "FAIL", "REVIEW", "NOT_INSPECTED")
        }
        assert sums == {"PASS": 3, "FAIL": 2, "REVIEW": 1, "NOT_INSPECTED": 1}, name
        times = [int(at({"value": [r]}, f"{r['idShort']}/Time")) for r in records]
        assert times[0] == 0
        assert times == sorted(set(times))
    assert at(found, "Segments/LinkedSegmentParts/Endpoint") == (
        "http://station.plant.local:8443/api/v1/results"
    )
    assert at(found, "Segments/LinkedSegmentParts/Query").startswith("station=test&since=20")
    assert "1 parts of this time have no decision" in at(found, "Metadata/Description")


def test_ways_in(full: Place) -> None:
    (found,) = submodels(full.plain, "AssetInterfacesDescription")
    base = "EndpointMetadata/base"
    assert at(found, f"InterfaceHTTP/{base}") == "http://station.plant.local:8443"
    assert at(found, f"InterfaceMQTT_mes/{base}") == "mqtt://broker.plant.local:1883"
    security = "InterfaceHTTP/EndpointMetadata/securityDefinitions/apikey_sc/name"
    assert at(found, security) == "inspection_session_8443"
    topic = "InterfaceMQTT_mes/InteractionMetadata/properties/part/forms/href"
    assert at(found, topic) == "inspection/test/part"
    assert (
        at(found, "InterfaceMQTT_mes/EndpointMetadata/securityDefinitions/basic_sc/scheme")
        == "basic"
    )


def everything(place: Place) -> str:
    with zipfile.ZipFile(place.out) as package:
        texts = [package.read(name).decode("utf-8", "ignore") for name in package.namelist()]
    return "\n".join([*texts, *package.namelist(), (place.folder / "out.json").read_text("utf-8")])


def test_no_picture_no_person_no_path(full: Place) -> None:
    text = everything(full)
    secrets = ["kim", str(full.folder), "p0.png", "lot-1", "image/png", "image/jpeg"]
    assert [one for one in secrets if one in text] == []
    assert "SERIAL-77" in text


def test_redacted(place: Place) -> None:
    place.fill()
    place.export("--redact")
    text, document = everything(place), place.plain
    secrets = ["SERIAL-77", "plant.local", "8443", f'"{socket.gethostname()}"', "TimeSeries"]
    assert [one for one in secrets if one in text] == []
    assert submodels(document, "AssetInterfacesDescription") == []
    wrong = [f for one in document["submodels"] for f in faults(one, TEMPLATES[one["idShort"]])]
    assert wrong == []


def test_releases_that_are_asked_for(place: Place) -> None:
    write_release(place.folder / "releases", "plate", 2, CLASSES, (128, 160))
    write_release(place.folder / "releases", "ring", 7, ("ring",), (64, 64), "anomaly")
    told = place.export("--releases", "plate/2", "--releases", "ring/7")
    assert told["releases"] == ["plate/2", "ring/7"]
    assert "which is not here" in told["notes"][0]
    document = place.plain
    ring = next(s for s in submodels(document, "AIModelNameplate") if "ring" in s["id"])
    assert at(ring, "KindOfLearning").startswith("unsupervised")
    reference = at(ring, "AIDataset/AIDatasetReference")
    assert reference["type"] == "ExternalReference", (
        "a dataset that is not here is named, not promised"
    )
    wrong = [f for one in document["submodels"] for f in faults(one, TEMPLATES[one["idShort"]])]
    assert wrong == []
    environment = jsonization.environment_from_jsonable(document)
    assert list(verification.verify(environment)) == []


@pytest.mark.parametrize("redact", [(), ("--redact",)], ids=["whole", "redacted"])
def test_private_classes_are_not_named(place: Place, redact: tuple[str, ...]) -> None:
    """Neither by the dataset whose card says so, nor by the release that learned from it."""
    sharing = {"licence": "CC0-1.0", "holder": "H", "private_classes": ["dent"]}
    card = {"name": "plates", "classes": list(CLASSES), "sharing": sharing}
    (place.dataset / "card.yaml").write_text(yaml.safe_dump(card), encoding="utf-8")
    folder = place.folder / "releases" / "plate" / "1"
    release = read_card(folder)
    told = [{"split": "test", "classes": {"dent": RATE, "scratch": RATE}, "dent_map": 0.5}]
    changed = {
        "metrics": {"evaluations": told},
        "experiment": {"lr": 0.006, "names": ["scratch", "Dents"], "dent_weight": 2},
        "claim": "dent: escape below 5 %",
    }
    write_card(folder, release.model_copy(update=changed))
    place.export(*redact)
    assert re.findall(r"(?i).{0,30}(?<![a-z])dent.{0,10}", everything(place)) == []
    document = place.plain
    (found,) = submodels(document, "AIDataset")
    assert at(found, "Labeled/Classification/NumberLables") == str(len(CLASSES) - 1)
    (named,) = submodels(document, "AIModelNameplate")
    classes = at(named, "Outputs/Dimension1/Result").partition("classes: ")[2].split(", ")
    assert classes == ["private class 1" if c == "dent" else c for c in release.classes]
    assert at(named, "TrainingResults/Claim") == "private class 1: escape below 5 %"
    assert at(named, "AITypeSpecificInformation/Hyperparameter/lr") == "0.006"
    assert "test_classes_scratch" in {e["idShort"] for e in at(named, "TrainingResults")}
    wrong = [f for one in document["submodels"] for f in faults(one, TEMPLATES[one["idShort"]])]
    assert wrong == []


def test_an_unknown_private_class_is_refused(place: Place) -> None:
    sharing = {"licence": "CC0-1.0", "holder": "H", "private_classes": ["Dent"]}
    card = {"name": "plates", "classes": list(CLASSES), "sharing": sharing}
    (place.dataset / "card.yaml").write_text(yaml.safe_dump(card), encoding="utf-8")
    with pytest.raises(DatasetError, match=r"'Dent'.*are no classes"):
        place.export()
    assert not place.out.exists()


def test_a_dataset_of_private_classes_alone(place: Place) -> None:
    other = place.folder / "faces"
    sharing = {"licence": "CC0-1.0", "holder": "H", "private_classes": ["face", "tag"]}
    dataset_of(other, ("face", "tag"), sharing=sharing)
    place.export("--dataset", str(other))
    found = next(s for s in submodels(place.plain, "AIDataset") if "plates" not in s["id"])
    assert at(found, "Labeled/Classification/NumberLables") == "0"
    assert list(verification.verify(jsonization.environment_from_jsonable(place.plain))) == []


def test_a_dataset_of_no_release_is_on_the_station(place: Place) -> None:
    other = place.folder / "부품 2"
    dataset_of(
        other,
        ("찍힘", "긁힘", "=1+1"),
        sharing={"licence": "CC0-1.0", "holder": "H", "data": "mixed"},
    )
    told = place.export("--dataset", str(other))
    assert sorted(told["datasets"]) == ["plates/v0001", "부품 2/v0001"]
    found = next(s for s in submodels(place.plain, "AIDataset") if "plates" not in s["id"])
    assert at(found, "BoundaryConditions/SyntheticData") == "mixed"
    names = [e["idShort"] for e in at(found, "Labeled/Classification/Labels")]
    assert len(set(names)) == 3
    assert all(re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_]*", name) for name in names)
    station = next(s for s in place.plain["assetAdministrationShells"] if s["idShort"] == "Station")
    assert found["id"] in {r["keys"][0]["value"] for r in station["submodels"]}
    assert list(verification.verify(jsonization.environment_from_jsonable(place.plain))) == []


def test_what_is_not_known_is_asked_for(place: Place) -> None:
    (place.folder / "nameplate.yaml").unlink()
    required = [n for n, f in NameplateFile.model_fields.items() if f.is_required()]
    with pytest.raises(ConfigError) as missing:
        place.export()
    assert [name for name in required if f"  {name}: " not in str(missing.value)] == []
    place.nameplate(manufacturer_name="x", street="")
    with pytest.raises(ConfigError) as some:
        place.export()
    left = [name for name in required if name != "manufacturer_name"]
    assert [name for name in left if f" {name}: " not in str(some.value)] == []
    assert not place.out.exists()


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        ("uri_of_the_product", "st-1"),
        ("uri_of_the_product", "https://a b"),
        ("uri_of_the_product", "https://example.com/x#y"),
        ("uri_of_the_product", "https://example.com/"),
        ("national_code", "Korea"),
        ("manufacturer_name", "a\x07b"),
        ("software_build_date", "yesterday"),
        ("inspector", "Kim"),
    ],
)
def test_a_wrong_nameplate(place: Place, field: str, bad: str) -> None:
    place.nameplate(**{**NAMEPLATE, field: bad})
    with pytest.raises(ConfigError, match=field):
        read_nameplate(place.folder / "nameplate.yaml")


def test_refused(place: Place) -> None:
    with pytest.raises(ConfigError, match="PART/NUMBER"):
        place.export("--releases", "plate")
    with pytest.raises(ReleaseError, match="no readable"):
        place.export("--releases", "plate/9")
    model_file = place.folder / "releases" / "plate" / "1" / "model.onnx"
    model_file.write_bytes(model_file.read_bytes() + b"x")
    with pytest.raises(ReleaseError, match="altered"):
        place.export()
    assert not place.out.exists()
    assert [p.name for p in place.folder.iterdir() if p.name.endswith(".part")] == []


def test_a_store_of_another_program_is_not_touched(place: Place) -> None:
    place.fill()
    database = place.rig.database
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0001'")
    before = database.read_bytes()
    with pytest.raises(StoreError, match="migration 0001"):
        place.export()
    assert database.read_bytes() == before


def test_a_full_disk_keeps_the_old_file(place: Place) -> None:
    place.export()
    before = place.out.read_bytes()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limit[1]))
    try:
        with pytest.raises(ConfigError, match="cannot be written"):
            place.export()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert place.out.read_bytes() == before
    assert [p.name for p in place.folder.iterdir() if p.name.endswith(".part")] == []


def test_a_plant_store(tmp_path: Path, place: Place) -> None:
    try:
        server = PostgresServer()
    except NoServerError as error:
        pytest.skip(str(error))
    try:
        config = store_config(tmp_path, url=server.url("series"), busy_timeout=1)
        place.fill(config)
        series = read_series(config, "test", datetime.now().astimezone())
        assert series is not None
        assert sum((Counter(span.counts) for span in series.hours), Counter()) == {
            "PASS": 3, "FAIL": 2, "REVIEW": 1, "NOT_INSPECTED": 1,
        }  # fmt: skip
        other = read_series(config, "another", datetime.now().astimezone())
        assert other is not None
        assert sum(sum(span.counts.values()) for span in other.days) == 0
    finally:
        server.close()


def test_id_shorts_are_unique_and_plain() -> None:
    taken: set[str] = set()
    names = [
        id_short(n, taken)
        for n in ("찍힘", "긁힘", "", "dent", "dent", "1st", "a-b", "a b", "x" * 300)
    ]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_]{0,127}", name) for name in names)


def test_a_missing_package_says_what_to_install(place: Place, monkeypatch) -> None:
    for name in [n for n in sys.modules if n.startswith(("basyx", "inspection_serve.aas."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "basyx", None)
    with pytest.raises(ConfigError, match=r"basyx.*pip install .*\.\[aas\]"):
        place.export()
