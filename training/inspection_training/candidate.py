"""Release a candidate that a run kept, after asking its gates again.

    RUN/candidate/PART/1 ─▶ hashes ─▶ measured again on its dataset version, on this machine
        ─▶ limits as they were, or chosen again on val ─▶ gates ─▶ publish releases/PART/NUMBER

Whoever changes a gate or a limit is named in the card.

What cannot be measured again (parity needs the trained network) is taken from the candidate's card.
The candidate itself is only read: what was measured again is written into the release.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from inspection.errors import ConfigError, DatasetError, ReleaseError
from inspection.release import (
    CARD,
    MODEL,
    ReleaseCard,
    load_release,
    read_card,
    sha256_file,
    write_card,
)
from inspection.types import Release
from inspection_datasets.check import check_dataset
from inspection_datasets.manifest import DatasetVersion, load_version
from inspection_training.card_text import CARD_TEXT
from inspection_training.experiment import Experiment, Gates
from inspection_training.gates import (
    RefusedError,
    candidate_gates,
    check_asked,
    dataset_gate,
    for_card,
)
from inspection_training.measure import (
    DECISIONS,
    RUNTIMES,
    Measured,
    measure_candidate,
    open_runtime,
)
from inspection_training.progress import Report, silent
from inspection_training.release import now, publish, released_as, write_text_card
from inspection_training.run_card import finish_run, read_run


@dataclass(frozen=True, slots=True)
class Override:
    """Gates and limits that a person changed.

    Attributes:
        gates: field of `experiment.Gates` to the new value; None takes the gate off.
        by: who changed them; goes into the card.
        also_catch: images that are added to those that must be caught.
        limits: `max_overkill` or `max_review` of the experiment to the new share; T1 and T2 are then
            chosen again on val.
    """

    gates: dict[str, Any]
    by: str
    also_catch: tuple[str, ...] = ()
    limits: dict[str, float] = field(default_factory=dict[str, float])


def finish_candidate(candidate: Path, card: ReleaseCard, measured: Measured) -> ReleaseCard:
    """Write a candidate's decisions and both cards beside its model.

    Returns:
        The card with the hashes of what was written.

    Raises:
        ReleaseError: it cannot be written.
    """
    try:
        (candidate / DECISIONS).write_bytes(measured.kept)
        files = {**card.files, DECISIONS: sha256_file(candidate / DECISIONS)}
        card = card.model_copy(update={"files": files})
        files = {**files, CARD_TEXT: write_text_card(candidate, card, released=False)}
        card = card.model_copy(update={"files": files})
        write_card(candidate, card)
    except OSError as error:
        raise ReleaseError(
            f"the candidate's card cannot be written to {candidate}: {error}; free space"
        ) from error
    return card


def find_candidate(run: Path) -> Path:
    """Return the folder of a run's candidate.

    Raises:
        ReleaseError: there is none, or more than one.
    """
    found = sorted(path.parent for path in run.glob(f"candidate/*/*/{CARD}"))
    if len(found) != 1:
        raise ReleaseError(
            f"{run} holds {len(found)} candidates, one is needed; name the run folder that `inspection "
            "train` printed, whose training came to its end"
        )
    return found[0]


def make_release(
    run: Path,
    data: Path | None = None,
    releases: Path | None = None,
    override: Override | None = None,
    report: Report = silent,
) -> Release:
    """Publish a kept candidate when it passes its gates.

    Args:
        run: folder of the run.
        data: dataset folder that holds the version that the candidate learned from; None: the run's.
        releases: where releases are published; None: the run's.
        override: gates that differ from the experiment's.
        report: told about every step.

    Raises:
        RefusedError: a gate was not passed; nothing was published.
        ConfigError: a gate's value is out of bounds, or nobody stands for the change.
        InspectionError: the candidate or its dataset version is not as it was.
    """
    candidate = find_candidate(run)
    data = data or read_run(run).data
    releases = releases or read_run(run).releases
    release, card = load_release(candidate), read_card(candidate)
    _refuse_twice(card, releases)
    version = _version(data, card)
    before = _gates(card)
    gates, changes = _change(before, override)
    chosen, more = _choose_again(card, override)
    changes += more
    _check_signed(changes, override)
    check_asked(gates, version)
    results = []
    if gates.clean_dataset:
        findings = check_dataset(version)
        results.append(dataset_gate(version, findings, good_only=card.task == "anomaly"))
    runtimes = {name: open_runtime(name, release) for name in RUNTIMES}
    try:
        measured = measure_candidate(
            release, version, runtimes, report, experiment=chosen, also=gates.must_catch
        )
    finally:
        for runtime in runtimes.values():
            runtime.close()
    results += candidate_gates(gates, card.parity, measured)
    if not all(result.passed for result in results):
        raise RefusedError(card.part, results, version.folder, candidate)
    signed = {"overridden": changes, "by": override.by, "at": now()} if override and changes else {}
    kept = {"claims": card.metrics["claims"]} if "claims" in card.metrics else {}
    metrics = {**kept, **measured.card["metrics"], "gates": for_card(gates, results, **signed)}
    update = {**measured.card, "metrics": metrics}
    if chosen is not None and override is not None:
        update["experiment"] = {**card.experiment, **override.limits}
    decided = hashlib.sha256(measured.kept).hexdigest()
    update |= {"files": {**card.files, DECISIONS: decided}}
    card = card.model_copy(update=update)
    published = publish(candidate, card, releases, {DECISIONS: measured.kept})
    finish_run(run, published.name)
    return published


def _refuse_twice(card: ReleaseCard, releases: Path) -> None:
    name = released_as(releases, card.part, card.files[MODEL])
    if name is not None:
        raise ReleaseError(f"this model is released already, as {name}")


def _version(data: Path, card: ReleaseCard) -> DatasetVersion:
    version = load_version(data, card.dataset.version)
    if version.sha256 != card.dataset.sha256:
        raise DatasetError(
            f"{data} {version.version} is not what the candidate learned from: its sha256 is "
            f"{version.sha256[:12]}, the candidate names {card.dataset.sha256[:12]}; name its dataset: --data"
        )
    return version


def _gates(card: ReleaseCard) -> Gates:
    return Gates.model_validate(card.experiment.get("gates", {}))


def _change(before: Gates, override: Override | None) -> tuple[Gates, list[dict[str, Any]]]:
    """Return the gates in force, and every change in plain values."""
    if override is None:
        return before, []
    asked = {**before.model_dump(), **override.gates}
    if override.also_catch:
        asked["must_catch"] = tuple(dict.fromkeys((*asked["must_catch"], *override.also_catch)))
    try:
        after = Gates.model_validate(asked)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(x) for x in first["loc"])
        raise ConfigError(f"gate {name}: {first['msg']} (given: {first.get('input')!r})") from error
    old, new = before.model_dump(mode="json"), after.model_dump(mode="json")
    changes = [
        {"gate": name, "before": old[name], "after": new[name]}
        for name in old
        if old[name] != new[name]
    ]
    return after, changes


def _choose_again(
    card: ReleaseCard, override: Override | None
) -> tuple[Experiment | None, list[dict[str, Any]]]:
    """Return the settings that limits are chosen with again, and every change; None: they stay."""
    if override is None or not override.limits:
        return None, []
    own = {
        name: card.experiment[name] for name in Experiment.model_fields if name in card.experiment
    }
    try:
        chosen = Experiment.model_validate({**own, **override.limits})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(x) for x in first["loc"])
        raise ConfigError(
            f"limits cannot be chosen again with {name}: {first['msg']} (given: {first.get('input')!r})"
        ) from error
    changes = [
        {"gate": f"limits {name}", "before": own.get(name), "after": share}
        for name, share in override.limits.items()
        if own.get(name) != share
    ]
    return chosen, changes


def _check_signed(changes: list[dict[str, Any]], override: Override | None) -> None:
    if changes and override is not None and not override.by.strip():
        names = ", ".join(change["gate"] for change in changes)
        raise ConfigError(
            f"{names} differ from what the experiment asks; say who stands for it: --by NAME"
        )
