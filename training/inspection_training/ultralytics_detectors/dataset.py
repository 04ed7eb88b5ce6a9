"""ultralytics' dataset, fed from pieces of samples instead of label files.

Imported only while training: it imports torch and ultralytics. Pictures are read, cut and letterboxed as
the line does it; what ultralytics adds is augmentation and batches.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ultralytics.data.augment import Compose, LetterBox, RandomPerspective
from ultralytics.data.dataset import YOLODataset

from inspection.types import Image
from inspection_datasets.incoming import read_image
from inspection_datasets.manifest import DatasetVersion
from inspection_training.pieces import Piece, draw, outline_points
from inspection_training.ultralytics_detectors.crops import DefectCrop, PaintedPerspective


class SampleDataset(YOLODataset):
    """Pieces of samples as pictures with boxes, without label files and caches beside the images.

    A picture is the network's input without its border: of what is left and right, above and below, the
    same is cut away. ultralytics puts it in the middle of its canvas, so that without augmentation the
    network gets the line's letterbox, pixel by pixel; in a mosaic the border takes no room.
    """

    def __init__(
        self,
        *args: Any,
        version: DatasetVersion,
        pieces: Sequence[Piece],
        size: tuple[int, int],
        crop: tuple[int, int] | None,
        **kwargs: Any,
    ) -> None:
        self._version = version
        self._size = size
        self._crop = crop
        self.pieces = list(pieces)
        super().__init__(*args, **kwargs)

    def get_img_files(self, img_path: Any) -> list[str]:  # noqa: ARG002
        """Return the file of each piece, in order."""
        return [str(self._version.path(piece.sample)) for piece in self.pieces]

    def get_labels(self) -> list[dict[str, Any]]:
        """Return labels as ultralytics keeps them: class column and normalised centre boxes."""
        index = {name: i for i, name in enumerate(self._version.classes)}
        return [
            self._label(file, piece, index)
            for file, piece in zip(self.im_files, self.pieces, strict=True)
        ]

    def load_image(
        self,
        i: int,
        rect_mode: bool = True,  # noqa: ARG002
        resize_short: bool = False,  # noqa: ARG002
    ) -> tuple[NDArray[np.uint8], tuple[int, int], tuple[int, int]]:
        """Return a piece as BGR without its border, the size of its sample, and its own size."""
        sample = self.pieces[i].sample
        picture = self.ims[i]
        if picture is None:
            picture = self._picture(read_image(self._version.path(sample)), self.pieces[i])
            if self.augment and self.cache != "ram":
                self._keep(i, picture)
        return picture, (sample.height, sample.width), picture.shape[:2]

    def cache_images(self) -> None:
        """Keep all pictures in memory; each file is read once, however many pieces are cut from it."""
        order = range(self.ni)
        groups = [list(g) for _, g in groupby(order, key=lambda i: self.pieces[i].sample.image)]
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            for group, pictures in zip(groups, pool.map(self._pictures, groups), strict=True):
                for i, picture in zip(group, pictures, strict=True):
                    sample = self.pieces[i].sample
                    self.ims[i], self.im_hw[i] = picture, picture.shape[:2]
                    self.im_hw0[i] = (sample.height, sample.width)
        self.ims = self._ImageCache(self.ims)

    def forget(self) -> None:
        """Empty the pictures kept for mosaics: a training that goes on starts without them, too."""
        for index in self.buffer:
            self.ims[index] = self.im_hw0[index] = self.im_hw[index] = None
        self.buffer.clear()

    def build_transforms(self, hyp: Any) -> Compose:
        """Return ultralytics' transforms, giving images of the network's own shape."""
        transforms = super().build_transforms(hyp)
        for transform in transforms.transforms:
            if isinstance(transform, LetterBox):
                transform.new_shape = self._size
            for inner in list(getattr(transform, "transforms", [])):
                if isinstance(inner, RandomPerspective):
                    place = transform.transforms.index(inner)
                    transform.transforms[place] = PaintedPerspective(
                        inner, self._crop or self._size
                    )
                    if self._crop:
                        transform.insert(place, DefectCrop(self._crop))
        return transforms

    def _pictures(self, indices: Sequence[int]) -> list[NDArray[np.uint8]]:
        image = read_image(self._version.path(self.pieces[indices[0]].sample))
        return [self._picture(image, self.pieces[i]) for i in indices]

    def _picture(self, image: Image, piece: Piece) -> NDArray[np.uint8]:
        left, top = piece.view.placed.pad
        height, width = self._size
        canvas = draw(image, piece, self._size)[top : height - top, left : width - left]
        return np.ascontiguousarray(canvas[..., ::-1])

    def _keep(self, i: int, picture: NDArray[np.uint8]) -> None:
        """Keep the newest pictures for mosaics, where memory does not hold them all."""
        sample = self.pieces[i].sample
        self.ims[i], self.im_hw[i] = picture, picture.shape[:2]
        self.im_hw0[i] = (sample.height, sample.width)
        self.buffer.append(i)
        if 1 < len(self.buffer) >= self.max_buffer_length:
            old = self.buffer.pop(0)
            self.ims[old] = self.im_hw0[old] = self.im_hw[old] = None

    def _label(self, file: str, piece: Piece, index: dict[str, int]) -> dict[str, Any]:
        (left, top), (height, width) = piece.view.placed.pad, self._size
        shape = (height - 2 * top, width - 2 * left)
        scale, corner = np.array(shape[::-1], np.float32), np.array([left, top], np.float32)
        low, high = (piece.boxes[:, :2] - corner) / scale, (piece.boxes[:, 2:] - corner) / scale
        count = len(piece.names) if self.use_segments else 0
        return {
            "im_file": file,
            "shape": shape,
            "cls": np.array([[index[name]] for name in piece.names], np.float32).reshape(-1, 1),
            "bboxes": np.concatenate([(low + high) / 2, high - low], axis=1),
            "segments": [(outline_points(piece, i) - corner) / scale for i in range(count)],
            "keypoints": None,
            "normalized": True,
            "bbox_format": "xywh",
        }
