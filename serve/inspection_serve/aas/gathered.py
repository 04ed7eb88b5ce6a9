"""What an export is made of, gathered before the first element is built; only read, nothing is changed.

station and nameplate file ─▶ releases in force or asked ─▶ their datasets ─▶ counts in the store
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from inspection.config import StationConfig
from inspection.errors import ConfigError, DatasetError
from inspection.recipe import RecipeConfig
from inspection.release import ReleaseCard, find_release, read_card
from inspection.store.web.series import Series, read_series
from inspection.variants import VariantCard, list_variants
from inspection.yaml_file import read_yaml
from inspection_datasets.manifest import DatasetVersion, load_version, sha256_of, version_files
from inspection_datasets.manifest import read_card as read_dataset_card
from inspection_datasets.publishing.card import SharingCard
from inspection_serve.aas.nameplate_file import NameplateFile


@dataclass(frozen=True, slots=True)
class ReleaseFacts:
    """A release, its files checked.

    Attributes:
        card: of the release.
        variants: faster forms beside it.
        dataset: the version that it learned from, by hash; None: it is not on this PC.
    """

    card: ReleaseCard
    variants: tuple[VariantCard, ...]
    dataset: DatasetVersion | None

    @property
    def name(self) -> str:
        """PART/NUMBER."""
        return f"{self.card.part}/{self.card.number}"


@dataclass(frozen=True, slots=True)
class Gathered:
    """Everything that is exported.

    Attributes:
        station: the station file.
        nameplate: what people wrote.
        releases: in force or asked.
        datasets: versions that get a submodel of their own, with what their cards say to others.
        series: counts of decisions; None: there is no store, or it is not told.
        at: when this was gathered, with the zone of this PC.
        redact: leave out hosts, addresses, serial numbers and counts of production.
        private: class names that a card of a dataset on this PC calls private; none is written.
        notes: what is missing, in words.
    """

    station: StationConfig
    nameplate: NameplateFile
    releases: tuple[ReleaseFacts, ...]
    datasets: tuple[tuple[DatasetVersion, SharingCard | None], ...]
    series: Series | None
    at: datetime
    redact: bool
    private: frozenset[str]
    notes: tuple[str, ...]


def gather(
    station: StationConfig,
    nameplate: NameplateFile,
    releases: Sequence[str] = (),
    datasets: Sequence[Path] = (),
    *,
    redact: bool = False,
) -> Gathered:
    """Read what is exported.

    Args:
        station: the station file.
        nameplate: what people wrote.
        releases: PART/NUMBER of those wanted; none: those that the recipes name.
        datasets: folders whose newest version is told too, beside those that a release learned from.
        redact: see `Gathered`.

    Raises:
        InspectionError: a release is refused, a dataset or recipe cannot be read, or the store is of
            another program.
    """
    notes: list[str] = []
    folders = _folders(station, datasets)
    wanted = [_release_name(name) for name in releases] or in_force(station)
    if not wanted:
        notes.append("no recipe names a release: the shell is of the station alone")
    facts: list[ReleaseFacts] = []
    for part, number in wanted:
        release = find_release(station.releases, part, number)
        card = read_card(release.folder)
        learned = _version(card.dataset.sha256, folders)
        if learned is None:
            notes.append(
                f"{part}/{number} learned from {card.dataset.name} {card.dataset.version}, which is not "
                "here: no AI dataset is written for it, and classes that only its card calls private are "
                "named"
            )
        facts.append(ReleaseFacts(card, tuple(list_variants(release.folder)), learned))
    told = [load_version(folder) for folder in datasets]
    told += [one.dataset for one in facts if one.dataset is not None]
    unique = {one.sha256: (one, read_dataset_card(one.folder).sharing) for one in told}
    at = datetime.now().astimezone()
    series = None if redact else read_series(station.store, station.station, at)
    if series is None and not redact:
        notes.append("there is no results store yet: no counts are written")
    return Gathered(
        station=station,
        nameplate=nameplate,
        releases=tuple(facts),
        datasets=tuple(unique.values()),
        series=series,
        at=at,
        redact=redact,
        private=_private(folders),
        notes=tuple(notes),
    )


def in_force(station: StationConfig) -> list[tuple[str, int]]:
    """Return the releases that the station's recipes name, each once, in order."""
    recipes = [read_yaml(path, RecipeConfig) for path in sorted(station.recipes.glob("*.yaml"))]
    return sorted({(recipe.part, recipe.release) for recipe in recipes})


def _release_name(name: str) -> tuple[str, int]:
    part, slash, number = name.rpartition("/")
    if not slash or not re.fullmatch(r"[1-9][0-9]{0,4}", number):
        raise ConfigError(f"release {name!r} is not PART/NUMBER, as plate/3; correct --releases")
    return part, int(number)


def _folders(station: StationConfig, asked: Sequence[Path]) -> list[Path]:
    """Return the datasets asked for, and those that the pages know."""
    folder = None if station.web is None else station.web.datasets
    if folder is None or not folder.is_dir():
        return list(asked)
    cards = [*sorted(folder.glob("*/card.yaml")), *folder.glob("card.yaml")]
    return [*asked, *(card.parent for card in cards)]


def _private(folders: Sequence[Path]) -> frozenset[str]:
    """Return every class that a card calls private.

    Raises:
        DatasetError: a card cannot be read, or calls a class private that it does not know: another name
            would go out.
    """
    found: set[str] = set()
    for folder in folders:
        card = read_dataset_card(folder)
        names = set(() if card.sharing is None else card.sharing.private_classes)
        if unknown := sorted(names - set(card.classes)):
            raise DatasetError(
                f"private_classes of {folder}: {unknown} are no classes of it; known are "
                f"{list(card.classes)}. Correct card.yaml"
            )
        found |= names
    return frozenset(found)


def _version(sha256: str, folders: Sequence[Path]) -> DatasetVersion | None:
    """Return the version of this hash; None: it is in none of the folders."""
    for folder in folders:
        for path in version_files(folder):
            if sha256_of(path) == sha256:
                return load_version(folder, path.stem)
    return None
