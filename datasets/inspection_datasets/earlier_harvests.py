"""What earlier harvests wrote into a dataset, read from its versions, which are never changed.

The `origin` of a sample names the part it came from, and why its label is what it is:

    store:STATION/EPOCH/SEQUENCE record N (false call)
    store:STATION/EPOCH/SEQUENCE record N (boxes by model, confirmed; corrected, until v0002: false call)

A harvest never writes one origin twice: a correction names the version it corrects. So the oldest version
that holds a picture with an origin holds what the harvest wrote, and what the newest version holds
otherwise is the work of a person. A version file that was removed cannot tell that any more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from inspection_datasets.manifest import DatasetVersion, Sample, load_version, version_files

SET_ASIDE = "set aside: "
"""How the note of a sample begins whose part has no verdict any more that gives one."""
_ORIGIN = re.compile(
    r"store:(?P<key>.+/\d+/\d+) record (?P<record>\d+) "
    rf"\((?P<note>(?:false call|boxes by |draw boxes: |{SET_ASIDE})[^;]*)"
    r"(?:; corrected, until v\d+: [^;]*)?\)"
)


@dataclass(frozen=True, slots=True)
class Origin:
    """What the origin of a harvested sample says.

    Attributes:
        key: of the part, STATION/EPOCH/SEQUENCE.
        record: of the part, in the store that was harvested.
        note: why the label is what it is, without what it was before a correction.
    """

    key: str
    record: int
    note: str


@dataclass(frozen=True, slots=True)
class Taken:
    """A part that a harvest took, and whose picture the newest version holds.

    Attributes:
        sample: as the newest version holds it.
        written: as the harvest wrote it; where `sample` has an origin that is no harvest's, as a harvest
            wrote it last.
        origin: of `written`.
    """

    sample: Sample
    written: Sample
    origin: Origin

    @property
    def is_edited(self) -> bool:
        """Whether a person changed the label after the harvest, or labelled and imported the picture."""
        same_origin = self.sample.origin == self.written.origin
        return not (same_origin and has_same_label(self.sample, self.written))


@dataclass(frozen=True, slots=True)
class EarlierHarvests:
    """What a dataset holds, and once held.

    Attributes:
        pictures: SHA-256 of every picture of every version.
        taken: parts whose pictures the newest version holds, in its order.
    """

    pictures: frozenset[str]
    taken: tuple[Taken, ...]

    def by_part(self) -> dict[tuple[str, str], Taken]:
        """Return what was taken by the part's key and the SHA-256 of its picture."""
        return {(one.origin.key, one.sample.sha256): one for one in self.taken}


def read_earlier_harvests(newest: DatasetVersion) -> EarlierHarvests:
    """Read every version of a dataset.

    Raises:
        DatasetError: a version cannot be read.
    """
    pictures: set[str] = set()
    first: dict[tuple[str, str], Sample] = {}
    last: dict[str, Sample] = {}
    for path in version_files(newest.folder):
        for sample in load_version(newest.folder, path.stem).samples:
            pictures.add(sample.sha256)
            place = sample.sha256, sample.origin
            if place not in first and read_origin(sample.origin) is not None:
                first[place] = last[sample.sha256] = sample
    return EarlierHarvests(frozenset(pictures), tuple(_taken(newest.samples, first, last)))


def _taken(
    samples: Iterable[Sample], first: dict[tuple[str, str], Sample], last: dict[str, Sample]
) -> Iterable[Taken]:
    """Return each picture that a harvest took once; a sample that names its part goes before a copy."""
    found: dict[str, Taken] = {}
    for sample in samples:
        own = first.get((sample.sha256, sample.origin))
        written = own or last.get(sample.sha256)
        origin = written and read_origin(written.origin)
        if written and origin and (own or sample.sha256 not in found):
            found[sample.sha256] = Taken(sample, written, origin)
    return found.values()


def write_origin(key: str, record: int, note: str, corrected: tuple[str, str] | None = None) -> str:
    """Return the origin of a harvested sample.

    Args:
        key: of the part, STATION/EPOCH/SEQUENCE.
        record: of the part in the store.
        note: why the label is what it is; begins with a word that `read_origin` knows, without `;`.
        corrected: the version whose sample this one corrects, and the note that it had; None: it is new.
    """
    was = f"; corrected, until {corrected[0]}: {corrected[1]}" if corrected else ""
    return f"store:{key} record {record} ({note}{was})"


def read_origin(text: str) -> Origin | None:
    """Return what a harvest wrote into an origin; None when no harvest wrote it."""
    found = _ORIGIN.fullmatch(text)
    return found and Origin(found["key"], int(found["record"]), found["note"])


def has_same_label(one: Sample, other: Sample) -> bool:
    """Tell whether two samples of one picture teach and measure the same."""
    return _label(one) == _label(other)


def _label(sample: Sample) -> tuple[object, ...]:
    outlines = [shape for shape in sample.shapes if shape]
    return sample.state, sorted(sample.boxes), outlines, sample.label
