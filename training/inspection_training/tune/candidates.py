"""The ways to run a release on this PC, and which of its precisions may run here.

release ─▶ precisions: f32, and each variant that is there (made, when there is a dataset)
        ─▶ runtimes × precisions × threads × hint ─▶ candidates
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspection.errors import InspectionError
from inspection.plugin import plugin
from inspection.protocols import Runtime
from inspection.tuned import TUNED_FIELDS, chosen_fields
from inspection.types import Release
from inspection.variants import FLOAT, FOLDER, VARIANTS, another_processor, find_for, how_to_make
from inspection_datasets.manifest import DatasetVersion
from inspection_training.progress import Report
from inspection_training.variants.judge import JUDGED, Judged, Wanted, Work, open_in
from inspection_training.variants.make import check_data, make_variant
from inspection_training.variants.parity import in_words

_FEW_CORES = 4
"""Up to so many cores every number of threads is tried, then powers of two and all."""
LOAD_TIMEOUT = 120.0
TYPES = ("openvino", "onnxruntime", "pytorch", "service")


@dataclass(frozen=True, slots=True)
class Precision:
    """Whether a release may run in a precision here.

    Attributes:
        name: f32, bf16 or int8.
        refused: why not; empty: it may.
        note: what to know all the same.
    """

    name: str
    refused: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to run the release.

    Attributes:
        runtime: fields of the station's runtime block; those not given have their defaults.
        note: what to know of it.
        kept: measured to the end also when others are faster: people compare with it.
        barred: why it must not be chosen, only compared with; empty: it may be.
    """

    runtime: dict[str, Any]
    note: str = ""
    kept: bool = False
    barred: str = ""

    @property
    def precision(self) -> str:
        """f32, bf16 or int8."""
        return str(self.runtime.get("precision", FLOAT))

    @property
    def plainness(self) -> tuple[int, int, int, int]:
        """Lower is plainer: of two that are as fast, the plainer one is taken."""
        precision = (FLOAT, *VARIANTS).index(self.precision)
        aside = self.runtime["type"] == "service"
        return precision, int(aside), int(self.runtime.get("hint") == "throughput"), self._threads

    @property
    def _threads(self) -> int:
        return int(self.runtime.get("threads", 0))


def settle_precisions(
    release: Release, version: DatasetVersion | None, wanted: Wanted, report: Report
) -> list[Precision]:
    """Return f32 and every variant, each with why it may not run here.

    A variant that is there is used. One that is not is made when there is a dataset, through the gate of
    `inspection variant make`. One that was compared on another kind of processor is compared here too
    when there is a dataset; without, it may not run.
    """
    return [
        Precision(FLOAT),
        *(_settled(release, name, version, wanted, report) for name in VARIANTS),
    ]


def _settled(
    release: Release, name: str, version: DatasetVersion | None, wanted: Wanted, report: Report
) -> Precision:
    there = (release.folder / FOLDER / name).is_dir()
    try:
        if there:
            foreign = another_processor(release, name)
            if not foreign:
                return Precision(name)
            if version is None:
                return Precision(name, f"{foreign}; or give --data, and it is compared here")
            return Precision(name, _compare_here(release, name, version, wanted, report))
        if version is None:
            make = how_to_make(release, name)
            return Precision(
                name, f"it was never compared with the release; give --data, or {make}"
            )
        make_variant(release.folder, name, version, wanted, report)
    except (InspectionError, ImportError) as error:
        return Precision(name, str(error))
    return Precision(name, note="made by this tune")


def _compare_here(
    release: Release, name: str, version: DatasetVersion, wanted: Wanted, report: Report
) -> str:
    """Compare a variant from elsewhere with its release on this PC; return why it is refused, or nothing.

    Raises:
        InspectionError: the dataset cannot judge it, as in `make_variant`, or one of both cannot run.
    """
    check_data(release, version, wanted)
    faster = find_for(plugin("inspection.runtimes", {"type": "openvino", "precision": name}))(
        release.folder.parent.parent, release.part, release.number
    )
    work = Work(release, version, wanted, release.folder, report)
    samples = work.judged()
    base, other = open_in(release, FLOAT), open_in(faster, name)
    try:
        judged = Judged(work, samples, work.detect(base, samples, FLOAT))
        passed = judged.accepts(work.detect(other, samples, name))
    finally:
        base.close()
        other.close()
    if passed or judged.parity is None:
        return ""
    return (
        f"made elsewhere, and on this processor {in_words(judged.parity)} on {' and '.join(JUDGED)}"
    )


def list_candidates(
    precisions: list[Precision], station: object | None, types: Collection[str] = ()
) -> tuple[list[Candidate], list[tuple[Candidate, str]]]:
    """Return what is to be measured, and what is out already with the reason.

    Args:
        precisions: f32 and the variants.
        station: configuration of the station's runtime, measured to the end too; None: there is none.
        types: runtimes that may be chosen; empty: all. The station's own is measured all the same.
    """
    found: list[Candidate] = []
    out: list[tuple[Candidate, str]] = []
    for runtime in _runtimes():
        if types and runtime["type"] not in types:
            continue
        for precision in precisions:
            if precision.name != FLOAT and runtime["type"] in {"onnxruntime", "pytorch"}:
                continue  # no variant runs there, see decision 0011
            if precision.name != FLOAT and runtime.get("device", "CPU") != "CPU":
                continue  # compared on the processor
            block = _in(runtime, precision.name)
            if precision.refused:
                out.append((Candidate(block), precision.refused))
                continue
            found.append(Candidate(block, precision.note, kept=block == {"type": "openvino"}))
    if "pytorch" in types and not any(one.runtime["type"] == "pytorch" for one in found):
        why = "PyTorch sees no GPU here, or is not installed"
        out.append((Candidate({"type": "pytorch", "device": "cuda"}), why))
    if station is not None:
        found = _with_station(found, station, precisions, types)
    return found, _once(out)


def _in(runtime: dict[str, Any], precision: str) -> dict[str, Any]:
    """Return the block in this precision, the field right behind the type."""
    if precision == FLOAT:
        return runtime
    rest = {name: value for name, value in runtime.items() if name != "type"}
    return {"type": runtime["type"], "precision": precision, **rest}


def _once(out: list[tuple[Candidate, str]]) -> list[tuple[Candidate, str]]:
    """Keep one of those that are out for one reason: the first, which has the fewest fields."""
    seen: dict[str, tuple[Candidate, str]] = {}
    for candidate, why in out:
        seen.setdefault(why, (candidate, why))
    return list(seen.values())


def _with_station(
    found: list[Candidate], station: object, precisions: list[Precision], types: Collection[str]
) -> list[Candidate]:
    """Mark what the station runs now, or add it; it is compared with also where it must not be chosen."""
    now = _plain(chosen_fields(station))
    note = "what the station runs now"
    for index, candidate in enumerate(found):
        if candidate.runtime == now:
            noted = "; ".join(filter(None, (note, candidate.note)))
            found[index] = Candidate(candidate.runtime, noted, kept=True)
            return found
    own = Candidate(now, note, kept=True)
    refused = [one.refused for one in precisions if one.name == own.precision]
    barred = refused[0] if refused else "its precision was not looked at"
    if types and now["type"] not in types:
        barred = barred or "its type is not among --type"
    return [*found, Candidate(now, note, kept=True, barred=barred)]


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    """Return a block without the fields that have their defaults."""
    default = chosen_fields(plugin("inspection.runtimes", {"type": fields["type"]}))
    order = [name for name in ("type", "precision", *TUNED_FIELDS) if name in fields]
    return {
        name: fields[name]
        for name in dict.fromkeys(order)
        if name == "type" or fields[name] != default[name]
    }


def thread_counts(cores: int) -> list[int]:
    """Return the numbers of threads to try; 0 is the library's own choice."""
    if cores <= _FEW_CORES:
        return [0, *range(1, cores + 1)]
    powers = [1 << n for n in range(cores.bit_length()) if 1 << n < cores]
    return [0, *powers, cores]


def _runtimes() -> list[dict[str, Any]]:
    """Return the runtime blocks in f32, those first that say least."""
    from inspection.runtimes.libraries import openvino_core
    from inspection.runtimes.onnxruntime import has_cuda_provider
    from inspection.runtimes.pytorch import has_cuda

    cores = len(os.sched_getaffinity(0))
    found: list[dict[str, Any]] = [{"type": "openvino"}, {"type": "openvino", "hint": "throughput"}]
    found += [{"type": "openvino", "threads": n} for n in thread_counts(cores) if n]
    others = [name for name in openvino_core().available_devices if name != "CPU"]
    found += [{"type": "openvino", "device": name} for name in others]
    cuda = has_cuda_provider()
    cpu = {"type": "onnxruntime", "providers": "cpu"} if cuda else {"type": "onnxruntime"}
    found += [{**cpu, "threads": n} if n else cpu for n in thread_counts(cores)]
    if cuda:
        found.append({"type": "onnxruntime", "providers": "cuda"})
    if has_cuda():  # on the processor it is the slowest of the three
        found.append({"type": "pytorch", "device": "cuda"})
    found.append({"type": "service"})
    return found


def load(release: Release, config: Any) -> tuple[Release, Runtime]:
    """Return the release as this configuration runs it, and the runtime with it loaded and warm.

    Raises:
        ReleaseError: no such variant.
        InferenceError: it cannot be loaded.
    """
    releases: Path = release.folder.parent.parent
    found = find_for(config)(releases, release.part, release.number)
    runtime: Runtime = config.open()
    try:
        runtime.load(found, LOAD_TIMEOUT)
    except BaseException:
        runtime.close()
        raise
    return found, runtime
