"""AI Deployment, IDTA 02059-1-0-1: how a release runs on this station, and how fast it was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from basyx.aas import model

from inspection_serve.aas.ai_model import NAME as MODEL_NAMEPLATE
from inspection_serve.aas.elements import (
    Element,
    group,
    id_short,
    inside,
    pointer,
    submodel,
    text,
    value,
)
from inspection_serve.aas.gathered import Gathered, ReleaseFacts
from inspection_serve.aas.identifiers import Identifiers, submodel_of
from inspection_serve.aas.nameplate import contact

SEMANTIC = "https://admin-shell.io/idta/SubmodelTemplate/AIDeployment/1/0"
NAME = "AIDeployment"
_BASE = "https://admin-shell.io/idta/AIDeployment"
_CPU = "0173-1#01-ACL481#008"


def ai_deployment(gathered: Gathered, release: ReleaseFacts) -> model.Submodel:
    """Return the submodel of a release on this station."""
    ids = Identifiers(gathered.nameplate.uri_of_the_product)
    asset, card = ids.release(release.name), release.card
    height, width = card.input_size
    images = value(
        "images",
        f"uint8 [B, {height}, {width}, 3] RGB, letterboxed, pad 114",
        f"{_BASE}/Input/InputProperty/1/0",
    )
    found: list[Element] = [
        value("URIOfTheProduct", f"{asset}/deployment", "0112/2///61987#ABN590#002"),
        value("Version", card.number, "0173-1#02-AAS354#002"),
        pointer("ContactInformation", contact(gathered), f"{_BASE}/Contactinformation/1/0"),
        pointer(
            "ModelNameplateRef",
            inside(submodel_of(asset, MODEL_NAMEPLATE)),
            f"{_BASE}/ModelNameplateRef/1/0",
        ),
        _storage(gathered),
        group("Input", f"{_BASE}/Input/1/0", [images]),
        group("Output", f"{_BASE}/Output/1/0", _outputs(release)),
    ]
    times = list(_times(release))
    if times:
        found.append(group("PerformanceInformation", f"{_BASE}/PerformanceInformation/1/0", times))
    return submodel(submodel_of(asset, NAME), NAME, SEMANTIC, found)


def _storage(gathered: Gathered) -> Element:
    """The runtime and the precision are elements of our own: the template asks for the format alone."""
    runtime = gathered.station.runtime
    precision = str(getattr(runtime, "precision", "f32"))
    form = "OpenVINO IR, int8" if precision == "int8" else "onnx"
    return group(
        "Storage",
        f"{_BASE}/Storage/1/0",
        [
            value("Format", form, f"{_BASE}/Storage/Format/1/0"),
            value("Runtime", str(runtime.type)),
            value("Precision", precision),
            value("Station", gathered.station.station),
        ],
    )


def _outputs(release: ReleaseFacts) -> list[Element]:
    told = {
        "detect": {"detections": "float32 [B, N, 6]"},
        "segment": {"detections": "float32 [B, N, 6]", "masks": "float32 [B, N, H/4, W/4]"},
        "anomaly": {"anomaly_map": "float32 [B, h, w]", "anomaly_score": "float32 [B]"},
    }[release.card.task]
    semantic = f"{_BASE}/Output/OutputProperty/1/0"
    return [value(name, shape, semantic) for name, shape in told.items()]


def _times(release: ReleaseFacts) -> Iterator[Element]:
    """Every measured time: of the release by runtime, of its variants by precision."""
    taken: set[str] = set()
    latency = release.card.latency
    yield from _measured(latency, str(latency.get("machine", "")), "", taken)
    for variant in release.variants:
        own = {variant.name: variant.latency.get(variant.name)}
        yield from _measured(own, variant.machine, "variant ", taken)


def _measured(
    latency: Mapping[str, Any], machine: str, what: str, taken: set[str]
) -> Iterator[Element]:
    base = f"{_BASE}/PerformanceInformation/InferenceTime"
    for name, told in latency.items():
        if not isinstance(told, Mapping) or "p50_ms" not in told:
            continue
        says = f"{what}{name}: p50 {told['p50_ms']} ms, p99 {told.get('p99_ms')} ms"
        hardware = [value("CPU", machine, _CPU)] if machine else []
        yield group(
            id_short(f"InferenceTime_{what}{name}", taken),
            f"{base}/1/0",
            [
                text("Time", says, f"{base}/Time/1/0"),
                group("Hardware", f"{base}/Hardware/1/0", hardware),
            ],
        )
