"""Find the fastest way to run a release on this PC that keeps a deadline and decides as the release does.

    release ─▶ precisions (a variant is used, or made when there is a dataset)
            ─▶ candidates ─▶ loaded and warm ─▶ measured in turns ─▶ p99 and after idle against the deadline
            ─▶ the fastest; of those as fast the plainest ─▶ TuneCard
    nothing keeps it ─▶ smaller releases, hardswish for SiLU, measured; smaller networks and inputs, estimated

Nothing fails in silence: what could not be measured, or was dropped, is in the card with the reason.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inspection.errors import ConfigError, InspectionError, ReleaseError
from inspection.plugin import plugin
from inspection.release import load_release
from inspection.tuned import MANY_RUNS, Smaller, Tried, TuneCard, block
from inspection.types import Image, Release
from inspection.variants import FLOAT
from inspection_datasets.incoming import read_image
from inspection_datasets.manifest import DatasetVersion
from inspection_training.progress import Report, silent
from inspection_training.release import library_versions, machine, now
from inspection_training.tune.candidates import (
    TYPES,
    Candidate,
    Precision,
    list_candidates,
    load,
    settle_precisions,
)
from inspection_training.tune.other_activation import hardswish_runner
from inspection_training.tune.own_service import OwnServices
from inspection_training.tune.rounds import Runner, measure
from inspection_training.tune.smaller import estimates, shape_of, smaller_releases
from inspection_training.variants.judge import Wanted, spread

FRAME = (2448, 2048)
PICTURES = 4
AS_FAST = 1.03
"""Medians that differ by less are as fast."""
_LEAST_MEMORY = 1 << 30
_SMALLER_SHARE = 0.5
_Run = tuple[Candidate, Runner | None, str]
"""What was tried, measured or not, and why not."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a tune is to reach.

    Attributes:
        deadline: seconds from frame to boxes.
        minutes: of measuring; also the longest search for an int8 that is made.
        frame: (width, height) of the camera's frame; None: that of the dataset's pictures, else 2448 x 2048.
        version: dataset that variants are made with, and pictures shown from; None: no variant is made.
        station: configuration of the station's runtime, to compare with; None: no station.
        types: runtimes that may be chosen; empty: all.
    """

    deadline: float
    minutes: float = 5.0
    frame: tuple[int, int] | None = None
    version: DatasetVersion | None = None
    station: object | None = None
    types: tuple[str, ...] = ()


def tune(folder: Path, asked: Asked, report: Report = silent) -> TuneCard:
    """Measure a release on this PC and return everything found; `write_tune` stores it.

    Args:
        folder: the release, releases/PART/NUMBER.
        asked: what it is to reach.
        report: told about every step.

    Raises:
        ReleaseError: the release is refused, or nothing at all could run it.
        DatasetError: a picture of the dataset cannot be read.
    """
    release = load_release(folder.resolve())
    wanted = Wanted(minutes=asked.minutes)
    before = os.getloadavg()[0]
    pictures, shown = _pictures(asked)
    precisions = [Precision(FLOAT)]
    if not asked.types or {"openvino", "service"} & set(asked.types):
        precisions = settle_precisions(release, asked.version, wanted, report)
    candidates, out = list_candidates(precisions, asked.station, asked.types)
    runs, idle = _measured(release, candidates, pictures, asked, report)
    tried = judge([*((one, None, why) for one, why in out), *runs], asked.deadline)
    fastest = next((one for one in tried if one.times and one.state not in {"barred", "out"}), None)
    if fastest is None or fastest.times is None:
        raise ReleaseError(f"nothing could run {release.name} here: {tried[0].why}")
    late = not any(one.state == "chosen" for one in tried)
    size = (pictures[0].shape[1], pictures[0].shape[0])
    return TuneCard(
        format=1,
        created_at=now(),
        release=release.name,
        base_sha256=release.model_sha256,
        machine=machine(),
        load=(round(before, 2), round(os.getloadavg()[0], 2)),
        deadline=asked.deadline,
        frame=size,
        pictures=shown,
        idle=idle,
        tried=tried,
        shape=shape_of(release, size, fastest.times.p50_ms),
        smaller=_find_smaller(release, fastest, asked, pictures, report) if late else [],
        libraries=library_versions(),
    )


def _measured(
    release: Release,
    candidates: Sequence[Candidate],
    pictures: Sequence[Image],
    asked: Asked,
    report: Report,
) -> tuple[list[_Run], float]:
    """Load and measure all; return what became of each, and the seconds of idle."""
    services = OwnServices(release)
    try:
        opened = [_open(release, one, services) for one in candidates]
        runners = [one for one in opened if isinstance(one, Runner)]
        idle = measure(runners, pictures, asked.minutes * 60, report)
    finally:
        services.close()
    runs: list[_Run] = []
    for candidate, one in zip(candidates, opened, strict=True):
        runs.append((candidate, one, "") if isinstance(one, Runner) else (candidate, None, one))
    return runs, idle


def _pictures(asked: Asked) -> tuple[list[Image], str]:
    """Return the frames to show, and what they are."""
    version, frame = asked.version, asked.frame
    if version is not None and version.samples:
        some = spread(version.samples, PICTURES)
        images = [read_image(version.path(sample)) for sample in some]
        if frame is not None:
            import cv2

            images = [np.asarray(cv2.resize(image, frame), np.uint8) for image in images]
        return images, f"{len(images)} pictures of {version.name} {version.version}"
    width, height = frame or FRAME
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (height, width, 3), np.uint8) for _ in range(2)]
    return noise, "noise"


def _open(release: Release, candidate: Candidate, services: OwnServices) -> Runner | str:
    """Return the candidate loaded and warm, or why it cannot be."""
    try:
        if _free_memory() < _LEAST_MEMORY:
            return "not tried: the PC has less than 1 GiB of memory free"
        fields: dict[str, Any] = dict(candidate.runtime)
        if fields["type"] == "service":
            fields["url"] = services.url(candidate.precision)
        found, runtime = load(release, plugin("inspection.runtimes", fields))
    except (InspectionError, ImportError, ValueError) as error:
        return str(error)
    return Runner(block(candidate.runtime), found, runtime, candidate.kept)


def _free_memory() -> int:
    """Return the bytes that can still be taken without swapping."""
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return _LEAST_MEMORY


def judge(runs: Sequence[_Run], deadline: float) -> list[Tried]:
    """Hold all against the deadline and choose; the chosen one first, then by time."""
    keeping = [
        (candidate, one)
        for candidate, one, _ in runs
        if one is not None and not (one.why or candidate.barred or _lateness(one, deadline))
    ]
    chosen: Runner | None = None
    if keeping:
        best = min(one.p50 for _, one in keeping)
        near = [pair for pair in keeping if pair[1].p50 <= AS_FAST * best]
        chosen = min(near, key=lambda pair: (pair[0].plainness, pair[1].p50))[1]
    tried = [_tried(candidate, one, why, chosen, deadline) for candidate, one, why in runs]
    order = ("chosen", "kept", "late", "slow", "barred", "out")
    return sorted(tried, key=lambda x: (order.index(x.state), x.times.p50_ms if x.times else 0.0))


def _lateness(one: Runner, deadline: float) -> str:
    """Return why it does not keep the deadline; empty: it does."""
    times, wanted = one.times(), deadline * 1e3
    if times is None or not times.idle_runs:
        return "the time was over before it was measured; give more --minutes"
    if times.p99_ms > wanted:
        return f"p99 {times.p99_ms:.1f} ms is over {wanted:g}"
    if times.worst_ms > wanted:
        return f"{times.worst_ms:.1f} ms after idle is over {wanted:g}"
    return ""


def _tried(
    candidate: Candidate, one: Runner | None, why: str, chosen: Runner | None, deadline: float
) -> Tried:
    times = one.times() if one is not None else None
    state, told = "out", why
    if one is not None and one.failed:
        told = one.why
    elif one is not None and one.why:
        state, told = "slow", one.why
    elif one is not None and candidate.barred:
        state, told = "barred", candidate.barred
    elif one is not None and (late := _lateness(one, deadline)):
        state, told = "late", late
    elif one is not None and one is chosen:
        state = "chosen"
    elif one is not None and chosen is not None:
        state = "kept"
        close = one.p50 <= AS_FAST * chosen.p50
        told = f"{'as fast as' if close else 'slower than'} {chosen.name}"
        told += ", which is plainer" if close else ""
    return Tried.model_validate(
        {
            "runtime": candidate.runtime, "state": state, "why": told, "note": candidate.note,
            "times": times,
        }
    )  # fmt: skip


def _find_smaller(
    release: Release, fastest: Tried, asked: Asked, pictures: Sequence[Image], report: Report
) -> list[Smaller]:
    """Return what would keep the deadline, and what would not."""
    runners: list[Runner] = []
    where: list[dict[str, Any]] = []
    names: list[str] = []
    ready: set[str] = set()
    services: list[OwnServices] = []
    folder = tempfile.TemporaryDirectory(prefix="inspection-tune-")
    try:
        other_function = hardswish_runner(release, fastest.runtime, Path(folder.name))
        if other_function is not None:
            runners.append(other_function[0])
            where.append(other_function[1])
            names.append(f"{release.name} trained with activation: hardswish")
        for other in smaller_releases(release):
            ready.add(other.name)
            services.append(OwnServices(other))
            for runtime in _also_f32(fastest.runtime):
                one = _open(other, Candidate(runtime, kept=True), services[-1])
                if isinstance(one, Runner):
                    runners.append(one)
                    where.append(runtime)
                    names.append(other.name)
        if runners:
            measure(runners, pictures, asked.minutes * 60 * _SMALLER_SHARE, report)
    finally:
        for service in services:
            service.close()
        folder.cleanup()
    found: list[Smaller] = []
    for name, runtime, one in zip(names, where, runners, strict=True):
        times = one.times()
        if times is not None and not one.why:
            keeps = not _lateness(one, asked.deadline)
            told = {"model": name, "source": "measured", "runtime": runtime}
            found.append(Smaller.model_validate({**told, "p99_ms": times.p99_ms, "keeps": keeps}))
    has_release = any(one.keeps and one.model in ready for one in found)
    if fastest.times is not None and not has_release:
        found += estimates(release, fastest.runtime, fastest.times.p99_ms, asked.deadline)
    return found


def _also_f32(runtime: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the runtime, and the same in f32 when it is in another precision."""
    plain = {name: value for name, value in runtime.items() if name != "precision"}
    return [runtime] if plain == runtime else [runtime, plain]


def few_runs(card: TuneCard) -> bool:
    """Tell whether the fastest ran too few times for its p99 to say much."""
    times = card.tried[0].times
    return times is not None and times.runs < MANY_RUNS


def read_types(types: Sequence[str]) -> tuple[str, ...]:
    """Return the types of runtimes, checked.

    Raises:
        ConfigError: one that is not tuned.
    """
    if unknown := sorted(set(types) - set(TYPES)):
        raise ConfigError(f"--type {unknown[0]!r} cannot be tuned; use {', '.join(TYPES)}")
    return tuple(types)


def read_frame(text: str) -> tuple[int, int]:
    """Return `2448x2048` as (width, height).

    Raises:
        ConfigError: something else.
    """
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdecimal() and len(part) <= 5 for part in parts):
        raise ConfigError(f"--frame {text!r} is no size; write WIDTHxHEIGHT, for example 2448x2048")
    width, height = (int(part) for part in parts)
    if not (min(width, height) >= 16 and max(width, height) <= 32768):
        raise ConfigError(f"--frame {text!r}: sides are 16 to 32768 pixels")
    return width, height
