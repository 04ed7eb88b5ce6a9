"""AI Dataset, IDTA 02058-1-0-1: one for each dataset version. No picture and no file name goes in.

Private classes are neither named nor counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from basyx.aas import model

from inspection_datasets.manifest import DatasetVersion
from inspection_datasets.publishing.card import SharingCard
from inspection_datasets.publishing.facts import DatasetFacts, facts_of
from inspection_serve.aas.elements import Element, group, id_short, pointer, submodel, text, value
from inspection_serve.aas.gathered import Gathered
from inspection_serve.aas.identifiers import Identifiers, submodel_of
from inspection_serve.aas.nameplate import contact

SEMANTIC = "https://admin-shell.io/idta/SubmodelTemplate/AIDataset/1/0"
NAME = "AIDataset"
_BASE = "https://admin-shell.io/idta/AIDataset"
_LABELED = f"{_BASE}/labeled/Classification"


def ai_dataset(
    gathered: Gathered, version: DatasetVersion, sharing: SharingCard | None
) -> model.Submodel:
    """Return the submodel of a dataset version; `sharing` is what its card says to others."""
    public = tuple(name for name in version.classes if name not in gathered.private)
    facts = facts_of(replace(version, classes=public))
    uri = Identifiers(gathered.nameplate.uri_of_the_product).dataset(facts.name, facts.version)
    found: list[Element] = [
        value("URIOfTheProduct", (sharing and sharing.uri) or uri, "0112/2///61987#ABN590#002"),
        value("Version", facts.version, "0173-1#02-AAS354#002"),
        pointer("ContactInformation", contact(gathered), f"{_BASE}/ContactInformation/1/0"),
        value("Storage", f"{facts.version}.jsonl, images/", f"{_BASE}/Storage/1/0"),
        group("Labeled", f"{_BASE}/labeled/1/0", [_classification(facts)]),
        _sizes(facts),
        _meta(facts, sharing),
        *_conditions(sharing),
    ]
    return submodel(submodel_of(uri, NAME), NAME, SEMANTIC, found)


def _classification(facts: DatasetFacts) -> Element:
    """The misspelling of NumberLables, and the two spellings of labeled, are the template's own."""
    taken: set[str] = set()
    labels = [
        group(
            id_short(name, taken),
            f"{_LABELED}/Labels/Label/1/0",
            [
                value("ClassName", name, f"{_LABELED}/Labels/Label/ClassName/1/0"),
                value("NumberOfSamples", n, f"{_LABELED}/Labels/Label/NumberOfSamples/1/0"),
            ],
        )
        for name, n in facts.labels.items()
    ]
    return group(
        "Classification",
        f"{_BASE}/Labeled/Classification/1/0",
        [
            value("NumberLables", len(labels), f"{_LABELED}/NumberLabels/1/0"),
            group("Labels", f"{_LABELED}/Labels/1/0", labels),
            value("Balance", facts.balance, f"{_LABELED}/Balance/1/0"),
        ],
    )


def _sizes(facts: DatasetFacts) -> Element:
    base = f"{_BASE}/SizeInformation"
    return group(
        "SizeInformation",
        f"{base}/1/0",
        [
            value("CompleteSize", facts.images, f"{_BASE}//SizeInformation/CompleteSize/1/0"),
            value("TrainSize", facts.splits["train"], f"{base}/TrainSize/1/0"),
            value("ValSize", facts.splits["val"], f"{_BASE}/SizeInformationValSize/1/0"),
            value("TestSize", facts.splits["test"], f"{base}/TestSize/1/0"),
            value("SplitRatio", facts.ratio, f"{base}/SplitRatio/1/0"),
        ],
    )


def _meta(facts: DatasetFacts, sharing: SharingCard | None) -> Element:
    base = f"{_BASE}/MetaData"
    taken: set[str] = set()
    types = [
        value(id_short(f"FileType{suffix}", taken), suffix, f"{base}/FileType/1/0")
        for suffix in facts.file_types
    ]
    if len(types) == 1:
        types[0].id_short = "FileType"
    told = {"Name": facts.name, "Sha256": facts.sha256}
    told |= {f"Images_{state}": str(number) for state, number in facts.states.items()}
    if sharing is not None:
        told |= {"Licence": sharing.licence, "RightsHolder": sharing.holder}
    info = [
        value(name, content, f"{base}/AdditionalInformation/Info/1/0")
        for name, content in told.items()
    ]
    more = group("AdditionalInformation", f"{base}/AdditionalInformation/1/0", info)
    return group("MetaData", f"{base}/1/0", [*types, more])


def _conditions(sharing: SharingCard | None) -> Iterator[Element]:
    if sharing is None:
        return
    base, found, taken = f"{_BASE}/BoundaryConditions", list[Element](), set[str]()
    if sharing.environment:
        conditions = [
            value(
                id_short(name, taken),
                given,
                f"{base}/EnviromentConditions/Condition/1/0",
                shown=name,
            )
            for name, given in sharing.environment.items()
        ]
        found.append(group("EnviromentConditions", f"{base}/EnviromentConditions/1/0", conditions))
    if sharing.data is not None:
        found.append(text("SyntheticData", sharing.data, f"{base}/SyntheticData/1/0"))
    if sharing.collector:
        found.append(value("Collector", sharing.collector))
    if found:
        yield group("BoundaryConditions", f"{base}/1/0", found)
