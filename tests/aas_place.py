"""A station with everything that `inspection aas export` can tell, and a look into the result."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from station_rig import CLASSES, Rig
from store_samples import FAILED, PASSED, REVIEWED, inspected, not_inspected, trigger
from typer.testing import CliRunner

from inspection.config import load_station
from inspection.errors import InspectionError
from inspection.release import read_card, write_card
from inspection.store.config import StoreConfig
from inspection.store.sql import SqlStore
from inspection_datasets.manifest import DatasetVersion, Sample, write_version
from inspection_serve.aas import cli

NAMEPLATE: dict[str, Any] = {
    "uri_of_the_product": "https://example.com/stations/st-1",
    "manufacturer_name": "예제 주식회사",
    "manufacturer_product_designation": "강판 검사기",
    "order_code_of_manufacturer": "ST-1",
    "street": "테헤란로 1",
    "zipcode": "06133",
    "city_town": "서울",
    "national_code": "KR",
    "software_manufacturer": "Example Co.",
    "software_release_date": "2026-11-01",
    "software_build_date": "2026-10-31",
    "software_installation_date": "2026-11-21",
    "serial_number": "SERIAL-77",
    "year_of_construction": 2026,
    "date_of_manufacture": "2026-10-01",
    "product_family": "검사기",
}
RATE = {"count": 5, "of": 150, "rate": 0.033333, "low": 0.01091, "high": 0.076072}
MEASURED: dict[str, Any] = {
    "metrics": {"evaluations": [{"split": "test", "defective": {"escape": RATE}, "map50": 0.9}]},
    "latency": {"machine": "Xeon, 4 cores", "openvino": {"p50_ms": 10.1, "p99_ms": 11.2}},
    "libraries": {"torch": "2.15.0", "onnx": "1.23.2"},
    "experiment": {"lr": 0.006, "epochs": 60, "data": "/home/kim/parts", "who": "kim@example.com"},
    "seeds": {"training": 7},
    "base_weights": "/home/kim/yolov8n.pt",
    "claim": "escape below 5 % with 95 % confidence",
}  # fmt: skip


def dataset_of(
    folder: Path, classes: tuple[str, ...], sharing: dict[str, Any] | None = None
) -> DatasetVersion:
    """Write six pictures, two with a label of the second class, that are never opened here."""
    rows = [
        Sample.model_validate(
            {
                "image": f"images/p{n}.png",
                "sha256": f"{n:064x}",
                "width": 80,
                "height": 60,
                "split": ("train", "train", "train", "train", "val", "test")[n],
                "group": f"lot-1-{n}",
                "boxes": [(classes[1], 1, 1, 9, 9)] if n < 2 else [],
                "state": "labelled" if n < 2 else "good",
                "origin": "kim's desk",
            }
        )
        for n in range(6)
    ]
    version = write_version(folder, folder.name, classes, rows)
    if sharing is not None:
        card = {"name": folder.name, "classes": list(classes), "sharing": sharing}
        (folder / "card.yaml").write_text(yaml.safe_dump(card), encoding="utf-8")
    return version


class Place:
    """A station with everything that can be exported."""

    def __init__(self, folder: Path) -> None:
        self.rig = Rig(folder)
        self.folder = folder
        self.dataset = folder / "datasets" / "plates"
        version = dataset_of(self.dataset, CLASSES)
        release = folder / "releases" / "plate" / "1"
        card = read_card(release)
        learned = card.dataset.model_copy(update={"sha256": version.sha256, "name": "plates"})
        write_card(release, card.model_copy(update={**MEASURED, "dataset": learned}))
        self.rig.station |= {
            "web": {
                "host": "0.0.0.0", "port": 8443, "names": ["station.plant.local"], "datasets": "datasets",
            },
            "upward": [{"type": "mqtt", "name": "mes", "host": "broker.plant.local", "username": "u"}],
        }  # fmt: skip
        self.rig.write()
        self.nameplate(**NAMEPLATE)

    def nameplate(self, **fields: Any) -> None:
        (self.folder / "nameplate.yaml").write_text(yaml.safe_dump(fields), encoding="utf-8")

    def fill(self, config: StoreConfig | None = None) -> None:
        """Write parts of the last two hours: 3 PASS, 2 FAIL, 1 REVIEW, 1 NOT_INSPECTED, 1 open."""
        store = SqlStore(config or load_station(self.folder / "station.yaml").store)
        epoch = store.begin_epoch("test", "start")
        results = (PASSED, PASSED, PASSED, FAILED, FAILED, REVIEWED, None, "open")
        for number, result in enumerate(results, start=1):
            asked = trigger(number, epoch=epoch, station="test")
            earlier = datetime.fromisoformat(asked.seen_at) - timedelta(hours=number % 2)
            asked = replace(asked, seen_at=earlier.isoformat(timespec="microseconds"))
            store.triggered(asked, 1)
            if result is None:
                store.decided(not_inspected(asked))
            elif result != "open":
                store.decided(inspected(asked, result))
        store.close()

    def export(self, *options: str) -> dict[str, Any]:
        arguments = ["export", str(self.folder / "station.yaml"), "--out", str(self.out), "--json"]
        done = CliRunner().invoke(cli.app, [*arguments, *options])
        if done.exception is not None and isinstance(done.exception, InspectionError):
            raise done.exception
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout.splitlines()[-1])

    @property
    def out(self) -> Path:
        return self.folder / "out.aasx"

    @property
    def plain(self) -> dict[str, Any]:
        return json.loads((self.folder / "out.json").read_text(encoding="utf-8"))


def submodels(document: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [one for one in document["submodels"] if one["idShort"] == name]


def at(element: dict[str, Any], path: str) -> Any:
    """Return the value of an element below a submodel, by the idShorts on the way."""
    for name in path.split("/"):
        inner = element.get("submodelElements") or element["value"]
        element = next(one for one in inner if one.get("idShort") == name)
    found = element.get("value")
    return found[0]["text"] if element["modelType"] == "MultiLanguageProperty" else found
