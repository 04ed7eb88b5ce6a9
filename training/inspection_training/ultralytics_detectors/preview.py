"""What ultralytics' training shows the network, without training: the same dataset, the same transforms.

Imported only for a preview: it imports torch and ultralytics.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from inspection.types import Image
from inspection_datasets.manifest import Box, DatasetVersion, Sample
from inspection_training.experiment import Experiment
from inspection_training.preview import Seen
from inspection_training.progress import silent
from inspection_training.ultralytics_detectors.quiet import quiet_ultralytics


def seen_by_ultralytics(
    experiment: Experiment,
    version: DatasetVersion,
    chosen: Sequence[Sample],
    beside: Sequence[Sample],
    views: int,
) -> Iterator[tuple[Sample, list[Seen]]]:
    """Yield each chosen sample with `views` of the pictures made from it.

    Args:
        experiment: every setting.
        version: the dataset version.
        chosen: training samples to show.
        beside: other training samples that a mosaic may take.
        views: draws of the augmentation for each sample; of its tiles in turn, where it is cut.
    """
    folder = Path(tempfile.mkdtemp(prefix="inspection-preview-"))
    # ultralytics keeps its settings there as long as the process lives
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with quiet_ultralytics(folder):
        from inspection_training.ultralytics_detectors.family import settings_of, trainer_of
        from inspection_training.ultralytics_detectors.state import seed_epoch
        from inspection_training.ultralytics_detectors.trainer import Session

        session = Session(
            experiment=experiment,
            version=version,
            train=[*chosen, *beside],
            val=[],
            run=folder,
            identity="",
            state=None,
            tracker=None,
            threads=1,
            bf16=False,
            processes=1,
            report=silent,
        )
        settings = settings_of(experiment, folder, "cpu", bf16=False)
        trainer = trainer_of(experiment)(settings, session)
        dataset = trainer.build_dataset("train", "train", experiment.batch)
        own: dict[str, list[int]] = {sample.image: [] for sample in chosen}
        for index, piece in sorted(enumerate(dataset.pieces), key=lambda x: not x[1].names):
            own.get(piece.sample.image, []).append(index)  # tiles with a defect first
        found: list[list[Seen]] = [[] for _ in chosen]
        for view in range(views):
            seed_epoch(experiment.seed, view, -1)
            for seen, sample in zip(found, chosen, strict=True):
                if pieces := own[sample.image]:  # a good part's tiles may all be left out
                    item = dataset[pieces[view % len(pieces)]]
                    seen.append(_seen(item, version.classes))
    yield from zip(chosen, found, strict=True)


def _seen(item: dict[str, Any], classes: Sequence[str]) -> Seen:
    """Turn what the loader would give the network back into a picture with boxes and outlines."""
    image = np.ascontiguousarray(np.moveaxis(np.asarray(item["img"]), 0, -1), np.uint8)
    height, width = image.shape[:2]
    centres = np.asarray(item["bboxes"], np.float32).reshape(-1, 4)
    half = centres[:, 2:] / 2
    corners = np.concatenate([centres[:, :2] - half, centres[:, :2] + half], axis=1)
    corners *= np.array([width, height, width, height], np.float32)
    kinds = np.asarray(item["cls"], np.int64).reshape(-1)
    rows = zip(kinds.tolist(), corners.tolist(), strict=True)
    boxes: list[Box] = [(classes[kind], x1, y1, x2, y2) for kind, (x1, y1, x2, y2) in rows]
    outlines = _outlines(np.asarray(item["masks"]), len(boxes), image) if "masks" in item else ()
    return Seen(image, tuple(boxes), outlines)


def _outlines(
    masks: NDArray[Any], count: int, image: Image
) -> tuple[tuple[NDArray[np.float32], ...], ...]:
    """Return, for each box, the borders of its mask on the network's grid, in pixels of the picture.

    Args:
        masks: [1, h, w], the number of the box from 1 at each place; 0 is the ground.
        count: boxes.
        image: the picture, an entire number of pixels for each place.
    """
    places = masks[0]
    stride = image.shape[0] // places.shape[0]
    found: list[tuple[NDArray[np.float32], ...]] = []
    for number in range(1, count + 1):
        mask = (places == number).astype(np.uint8).repeat(stride, axis=0).repeat(stride, axis=1)
        borders, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
        found.append(tuple(border.reshape(-1, 2).astype(np.float32) for border in borders))
    return tuple(found)
