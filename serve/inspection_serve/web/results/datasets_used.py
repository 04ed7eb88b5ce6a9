"""Which dataset versions used a part's pictures, and which releases learned from these."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from inspection.errors import InspectionError
from inspection.release import CARD, read_card
from inspection_datasets.manifest import CARD as DATASET_CARD
from inspection_datasets.manifest import version_files

_ORIGIN = "store:"


@dataclass(frozen=True, slots=True)
class Use:
    """A dataset version that holds a picture of the part.

    Attributes:
        dataset: folder name of the dataset.
        version: `v0001` and so on.
        sha256: hash of the version.
        releases: `PART/NUMBER` of the releases that learned from it.
    """

    dataset: str
    version: str
    sha256: str
    releases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Version:
    sha256: str
    pictures: frozenset[str]
    parts: frozenset[str]


class DatasetUses:
    """Reads each version file once: it is never changed, and known again by its hash."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[tuple[int, int], _Version]] = {}
        self._lock = threading.Lock()

    def of(
        self, datasets: Path | None, releases: Path | None, key: str, pictures: Iterable[str]
    ) -> tuple[list[Use], list[str]]:
        """Return the versions that used a part, oldest first, and the files that could not be read.

        Args:
            datasets: folder of datasets, or one dataset; None: there is none.
            releases: folder of releases, None: there is none.
            key: of the part, STATION/EPOCH/SEQUENCE.
            pictures: SHA-256 of its picture files.
        """
        found: list[Use] = []
        broken: list[str] = []
        hashes = set(pictures)
        learned = _learned(releases)
        for folder in _folders(datasets):
            for path in version_files(folder):
                try:
                    version = self._read(path)
                except (OSError, ValueError, TypeError):
                    broken.append(f"{folder.name}/{path.name}")
                    continue
                if key in version.parts or hashes & version.pictures:
                    names = tuple(learned.get(version.sha256, ()))
                    found.append(Use(folder.name, path.stem, version.sha256, names))
        return found, broken

    def _read(self, path: Path) -> _Version:
        state = path.stat()
        stamp = (state.st_mtime_ns, state.st_size)
        with self._lock:
            known = self._known.get(path)
            if known is not None and known[0] == stamp:
                return known[1]
            data = path.read_bytes()
            pictures: set[str] = set()
            parts: set[str] = set()
            for line in data.splitlines():
                sample = json.loads(line)
                if not isinstance(sample, dict):
                    raise TypeError(f"{path}: a line is no sample")
                pictures.add(str(sample.get("sha256")))
                origin = str(sample.get("origin", ""))
                if origin.startswith(_ORIGIN):
                    parts.add(origin.removeprefix(_ORIGIN).split(" ")[0])
            version = _Version(
                hashlib.sha256(data).hexdigest(), frozenset(pictures), frozenset(parts)
            )
            self._known[path] = (stamp, version)
            return version


def _folders(datasets: Path | None) -> list[Path]:
    if datasets is None or not datasets.is_dir():
        return []
    if (datasets / DATASET_CARD).is_file():
        return [datasets]
    return sorted(path.parent for path in datasets.glob(f"*/{DATASET_CARD}"))


def _learned(releases: Path | None) -> dict[str, list[str]]:
    """Return the hash of a dataset version to the releases that learned from it."""
    found: dict[str, list[str]] = {}
    for path in sorted(releases.glob(f"*/*/{CARD}")) if releases is not None else []:
        try:
            card = read_card(path.parent)
        except (InspectionError, OSError):
            continue
        found.setdefault(card.dataset.sha256, []).append(f"{card.part}/{card.number}")
    return found
