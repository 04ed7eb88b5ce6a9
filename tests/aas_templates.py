"""Compares a submodel (JSON) with the facts of its IDTA template in `aas_templates.csv`.

An element that may be there many times is known by its semantic id, any other by id and idShort. What lies in
an optional element is asked for only where that element is.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SMC = "SubmodelElementCollection"


@dataclass
class Asked:
    """An element of a template, or the template itself."""

    name: str
    card: str
    kind: str
    semantic: str
    inner: list[Asked] = field(default_factory=list)


def read_templates() -> dict[str, Asked]:
    """Return idShort of the submodel to its template."""
    text = Path(__file__).with_suffix(".csv").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found: dict[str, Asked] = {}
    for path, card, kind, semantic in csv.reader(lines):
        parent, _, name = path.rpartition("/")
        found[path] = Asked(name, card, kind, semantic)
        if parent:
            found[parent].inner.append(found[path])
    return {path: asked for path, asked in found.items() if "/" not in path}


def faults(submodel: dict[str, Any], template: Asked) -> Iterator[str]:
    """Yield what a submodel lacks of its template, or has otherwise."""
    if submodel["idShort"] != template.name:
        yield f"{submodel['idShort']}: the idShort is not {template.name}"
    if semantic_of(submodel) != template.semantic:
        yield f"{template.name}: the semantic id is {semantic_of(submodel)!r}"
    yield from _missing(template.name, submodel.get("submodelElements", []), template.inner)


def _missing(where: str, present: list[dict[str, Any]], asked: list[Asked]) -> Iterator[str]:
    for one in asked:
        found = [e for e in present if semantic_of(e) == one.semantic]
        if not one.card.endswith("ToMany"):
            named = [e for e in present if e.get("idShort") == one.name]
            if named != found or len(found) > 1:
                yield f"{where}/{one.name}: {len(found)} have its id, {len(named)} its name"
        if one.card in {"One", "OneToMany"} and not found:
            yield f"{where}/{one.name} ({one.card}) is not there with {one.semantic}"
        for element in found:
            yield from _differs(f"{where}/{element.get('idShort')}", element, one)


def _differs(here: str, element: dict[str, Any], one: Asked) -> Iterator[str]:
    kind = f"{element['modelType']} {element.get('valueType', '')}".strip()
    if kind != one.kind:
        yield f"{here}: is {kind}, the template asks for {one.kind}"
    if one.kind != SMC and not element.get("value") and "/Metadata/Record" not in here:
        yield f"{here} has no value"
    if one.kind == SMC:
        yield from _missing(here, element.get("value", []), one.inner)


def semantic_of(element: dict[str, Any]) -> str | None:
    keys = element.get("semanticId", {}).get("keys", [])
    return keys[0]["value"] if len(keys) == 1 else None
