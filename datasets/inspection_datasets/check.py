"""Check a dataset version before anybody trusts what is trained on it.

    pictures ─▶ labels ─▶ groups ─▶ duplicates ─▶ splits and claims ─▶ findings

`check_version` stops at the first broken picture, `check_dataset` lists everything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath

from inspection.errors import DatasetError
from inspection_datasets.claims import Claim, check_counts, is_used
from inspection_datasets.duplicates import (
    Looks,
    equal_clusters,
    join,
    looks_of,
    names_of,
    near_pairs,
)
from inspection_datasets.findings import Finding, Mark, Shown, labels, shown
from inspection_datasets.incoming import image_size, inside, read_image
from inspection_datasets.manifest import SPLITS, Box, DatasetVersion, Sample, sha256_of

TINY = 4.0
"""A box whose shorter side has fewer pixels is tiny."""
DOUBLE_IOU = 0.95
_NUMBER = re.compile(r"[-_ .(#]*\d{1,8}\)?$")


def check_version(
    version: DatasetVersion, tick: Callable[[], None] = lambda: None, *, decode: bool = True
) -> None:
    """Check every sample's picture. Boxes, classes and states were checked when the version was loaded.

    Args:
        version: the version.
        tick: called once a sample.
        decode: also decode each picture and compare its size.

    Raises:
        DatasetError: a picture is missing, altered or of another size; the message names it.
    """
    for sample in version.samples:
        path = inside(version.folder, sample.image, version.version)
        if not path.is_file():
            raise DatasetError(f"{path} is missing; restore it, or import again as a new version")
        if sha256_of(path) != sample.sha256:
            raise DatasetError(
                f"{path} was altered after {version.version} was written; restore it"
            )
        if decode:
            size = image_size(path)
            if size != (sample.width, sample.height):
                raise DatasetError(
                    f"{path} is {size[0]}x{size[1]}, the version says {sample.width}x{sample.height}"
                )
        tick()


def check_dataset(
    version: DatasetVersion,
    claim: Claim | None = None,
    group: str = "",
    tick: Callable[[], None] = lambda: None,
) -> list[Finding]:
    """Return everything found, errors first.

    Args:
        version: the version.
        claim: rates that are wanted; default: none.
        group: regular expression on the picture's name that gives its group; empty: look at names
            that differ by a running number only.
        tick: called once a picture.

    Raises:
        DatasetError: the expression is not valid, or a path leaves the dataset.
    """
    expression = compile_group(group) if group else None
    found: list[Finding] = []
    looks: dict[str, Looks] = {}
    for sample in version.samples:
        problem, seen = _look(version, sample)
        found += problem
        if seen is not None:
            looks[sample.image] = seen
        tick()
    for sample in version.samples:
        found += _check_boxes(sample)
    found += _check_groups(version.samples)
    found += _check_names(version.samples, expression)
    found += _check_duplicates(version.samples, looks)
    found += check_counts(version, claim or Claim())
    order = ("error", "warning", "note")
    return sorted(found, key=lambda finding: order.index(finding.severity))


def compile_group(pattern: str) -> re.Pattern[str]:
    """Return a group expression. Raises DatasetError when it is not valid."""
    try:
        return re.compile(pattern)
    except re.error as error:
        raise DatasetError(
            f"group expression {pattern!r} is not valid: {error}; correct it"
        ) from error


def _look(version: DatasetVersion, sample: Sample) -> tuple[list[Finding], Looks | None]:
    values = {"image": sample.image, "version": version.version}
    path = inside(version.folder, sample.image, version.version)
    if not path.is_file():
        return [Finding("image_missing", values)], None
    found: list[Finding] = []
    try:
        if sha256_of(path) != sample.sha256:
            found.append(Finding("image_altered", values, shown([sample])))
        image = read_image(path)
    except (OSError, DatasetError) as error:
        return [*found, Finding("image_unreadable", {**values, "why": str(error)})], None
    height, width = image.shape[:2]
    if (width, height) != (sample.width, sample.height):
        sizes = {"actual": f"{width}x{height}", "stated": f"{sample.width}x{sample.height}"}
        found.append(Finding("size_differs", {**values, **sizes}, shown([sample])))
    return found, looks_of(image)


def _check_boxes(sample: Sample) -> Iterator[Finding]:
    for index, box in enumerate(sample.boxes):
        size = min(box[3] - box[1], box[4] - box[2])
        if size < TINY:
            values = {"image": sample.image, "name": box[0], "size": f"{size:.1f}"}
            yield Finding("tiny_box", values, (Shown(sample, (_mark(box),)),))
        for other in sample.boxes[index + 1 :]:
            if other[0] == box[0] and (overlap := iou(box[1:], other[1:])) > DOUBLE_IOU:
                values = {"image": sample.image, "name": box[0], "iou": f"{overlap:.2f}"}
                yield Finding("double_box", values, (Shown(sample, (_mark(box), _mark(other))),))


def _mark(box: Box) -> Mark:
    return Mark(box[0], (box[1], box[2], box[3], box[4]))


def iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Return intersection over union of two boxes x1 y1 x2 y2."""
    across = min(a[2], b[2]) - max(a[0], b[0])
    down = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(across, 0.0) * max(down, 0.0)
    both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / both if both > 0 else 0.0


def _splits(samples: Sequence[Sample]) -> str:
    present = {sample.split for sample in samples}
    return ", ".join(split for split in SPLITS if split in present)


def _check_groups(samples: Sequence[Sample]) -> Iterator[Finding]:
    by_group: dict[str, list[Sample]] = {}
    for sample in samples:
        by_group.setdefault(sample.group, []).append(sample)
    yield from _leaks("group_leak", by_group)


def _leaks(code: str, by_group: dict[str, list[Sample]]) -> Iterator[Finding]:
    for group, members in by_group.items():
        if len({sample.split for sample in members}) > 1:
            values = {"group": group, "splits": _splits(members), "count": len(members)}
            yield Finding(code, values, shown(_one_of_each_split(members)))


def _one_of_each_split(members: Sequence[Sample]) -> list[Sample]:
    first: dict[str, Sample] = {}
    for sample in members:
        first.setdefault(sample.split, sample)
    return list(first.values())


def _check_names(
    samples: Sequence[Sample], expression: re.Pattern[str] | None
) -> Iterator[Finding]:
    by_name: dict[str, list[Sample]] = {}
    if expression is None:
        for sample in samples:
            by_name.setdefault(_NUMBER.sub("", PurePosixPath(sample.image).stem), []).append(sample)
        several = {name: found for name, found in by_name.items() if name and len(found) > 1}
        # plain numbering of all pictures (img_0001) says nothing of groups
        telling = {n: f for n, f in several.items() if 2 * len(f) <= len(samples)}
        yield from _leaks("name_leak", telling if len(several) > 2 else {})
        return
    unmatched: list[Sample] = []
    for sample in samples:
        match = expression.search(sample.image)
        if match is None:
            unmatched.append(sample)
            continue
        name = match.group(1) if expression.groups else match.group(0)
        by_name.setdefault(name or "", []).append(sample)
    if unmatched:
        values = {"count": len(unmatched), "image": unmatched[0].image}
        yield Finding("name_unmatched", values)
    yield from _leaks("group_leak", by_name)


def _check_duplicates(samples: Sequence[Sample], looks: dict[str, Looks]) -> Iterator[Finding]:
    of = {sample.image: sample for sample in samples}
    equal = [[of[image] for image in cluster] for cluster in equal_clusters(looks)]
    for members in equal:
        used = [sample for sample in members if is_used(sample)]
        if len({(s.state, s.label, tuple(sorted(s.boxes))) for s in used}) > 1:
            yield Finding("duplicate_labels", _cluster(used), shown(used))
        if len({sample.split for sample in used}) > 1:
            yield Finding("duplicate_leak", _cluster(used), shown(used))
        elif len(used) > 1:
            yield Finding("duplicate", _cluster(used), shown(used))
    pairs = [(of[a], of[b]) for a, b in near_pairs(looks)]
    yield from _twins(pairs)
    same = {image: index for index, m in enumerate(equal) for image in (s.image for s in m)}
    used_pairs = [
        (a.image, b.image) for a, b in pairs if is_used(a) and is_used(b) and a.group != b.group
    ]
    for cluster in join(used_pairs):
        if len({same.get(image, image) for image in cluster}) == 1:
            continue  # all of them equal: told above
        members = [of[image] for image in cluster]
        leak = len({sample.split for sample in members}) > 1
        code = "near_duplicate_leak" if leak else "near_duplicate"
        yield Finding(code, _cluster(members), shown(members))


def _cluster(members: Sequence[Sample]) -> dict[str, object]:
    images = names_of([sample.image for sample in members])
    return {"count": len(members), "splits": _splits(members), "images": images}


def _twins(pairs: Sequence[tuple[Sample, Sample]]) -> Iterator[Finding]:
    """Each unlabelled picture once, with the first labelled or good one that it nearly equals."""
    told: set[str] = set()
    for pair in pairs:
        open_ones = [sample for sample in pair if not is_used(sample)]
        if len(open_ones) != 1 or open_ones[0].image in told:
            continue
        (sample,) = open_ones
        twin = pair[1] if pair[0] is sample else pair[0]
        told.add(sample.image)
        values = {"image": sample.image, "twin": twin.image, "state": twin.label or twin.state}
        yield Finding("unlabelled_twin", values, (Shown(sample), Shown(twin, labels(twin))))
