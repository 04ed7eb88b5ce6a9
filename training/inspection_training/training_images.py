"""Choose what a training learns, and look at it before it takes an hour and fails or learns nonsense."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from inspection.errors import DatasetError
from inspection_datasets.incoming import read_image
from inspection_datasets.manifest import DatasetVersion, Sample
from inspection_training.experiment import Experiment
from inspection_training.progress import Report, Step

NAMED = 5
"""So many broken images are named in a message."""


def choose_samples(version: DatasetVersion, experiment: Experiment) -> list[Sample]:
    """Return the training samples: defective ones, and good ones up to their share.

    Raises:
        DatasetError: none has a box.
    """
    labelled = version.select("train", ["labelled"])
    good = version.select("train", ["good"])
    if not labelled:
        raise DatasetError(
            f"{version.folder} {version.version} has no labelled training image; label some defects"
        )
    limit = experiment.train_images
    share = experiment.good_share
    if limit is not None:
        labelled = labelled[: max(1, limit - min(len(good), round(limit * share)))]
    room = round(len(labelled) * share / (1 - share))
    if limit is not None:
        room = min(room, limit - len(labelled))
    step = max(1.0, len(good) / room) if room else 1.0
    return labelled + [good[int(i * step)] for i in range(min(room, len(good)))]


def check_images(version: DatasetVersion, samples: Sequence[Sample], report: Report) -> None:
    """Read every picture once; it must be whole and have the size that its labels were made for.

    Raises:
        DatasetError: some are not; the first `NAMED` are named with what is wrong.
    """
    wrong: list[str] = []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        answers = pool.map(lambda sample: _wrong(version, sample), samples)
        for done, answer in enumerate(answers, start=1):
            if answer:
                wrong.append(answer)
            report(Step("images", done, len(samples)))
    if wrong:
        more = f"; and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
        raise DatasetError(
            f"{len(wrong)} of {len(samples)} images cannot be learned from, nothing was trained: "
            + "; ".join(wrong[:NAMED])
            + more
            + f". Replace them, or see all with: inspection dataset check {version.folder}"
        )


def _wrong(version: DatasetVersion, sample: Sample) -> str:
    """Return what is wrong with a picture, or nothing."""
    try:
        height, width = read_image(version.path(sample)).shape[:2]
    except DatasetError as error:
        return str(error)
    if (width, height) == (sample.width, sample.height):
        return ""
    return (
        f"{version.path(sample)} is {width}x{height} pixels, its labels were made for "
        f"{sample.width}x{sample.height}"
    )


def check_classes(
    version: DatasetVersion, train: Sequence[Sample], experiment: Experiment
) -> tuple[str, ...]:
    """Return the classes that the training images show nowhere; a model would never find them.

    Raises:
        DatasetError: there are some, and the experiment does not say that this is harmless.
    """
    boxes = Counter(box[0] for sample in train for box in sample.boxes)
    missing = tuple(name for name in version.classes if not boxes[name])
    if missing and experiment.gates.clean_dataset:
        fewer = (
            f"raise train_images (now {experiment.train_images}), "
            if experiment.train_images
            else ""
        )
        raise DatasetError(
            f"the {len(train)} training images of {version.folder} {version.version} show no "
            f"{', no '.join(missing)}: a model would never find that and pass such parts. {fewer}"
            "label some of them or move some to the split train; where no such defect will come, write "
            "`gates: {clean_dataset: false}` in the experiment"
        )
    return missing
