"""ultralytics' detection trainer, fed from a dataset version instead of label files.

Imported only while training: it imports torch and ultralytics. Inheritance is ultralytics' own way to
extend its trainer; everything not overridden here is its training loop.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from ultralytics.data.augment import Compose, LetterBox, RandomPerspective
from ultralytics.data.dataset import YOLODataset
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn.tasks import DetectionModel

from inspection_datasets.manifest import DatasetVersion, Sample
from inspection_training.crops import DefectCrop
from inspection_training.progress import Report, Step


class Bf16Model(DetectionModel):
    """A detector whose network computes in bf16 while it is trained on a CPU; weights stay float32.

    ultralytics' own mixed precision is for GPUs only.
    """

    def _predict_once(self, *args: Any, **kwargs: Any) -> Any:
        if not self.training or self.stride is None:
            return super()._predict_once(*args, **kwargs)
        with torch.autocast("cpu", torch.bfloat16):
            outputs = super()._predict_once(*args, **kwargs)
        return _as_float(outputs)


def _as_float(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.float()
    if isinstance(value, dict):
        return {key: _as_float(item) for key, item in value.items()}
    return [_as_float(item) for item in value]


class SampleDataset(YOLODataset):
    """Images and boxes of dataset samples, without label files and caches beside the images."""

    def __init__(
        self,
        *args: Any,
        version: DatasetVersion,
        samples: Sequence[Sample],
        size: tuple[int, int],
        crop: tuple[int, int] | None,
        **kwargs: Any,
    ) -> None:
        self._version = version
        self._size = size
        self._crop = crop
        self._samples = list(samples)
        super().__init__(*args, **kwargs)

    def get_img_files(self, img_path: Any) -> list[str]:  # noqa: ARG002
        """Return the files of the samples, in their order."""
        return [str(self._version.path(sample)) for sample in self._samples]

    def get_labels(self) -> list[dict[str, Any]]:
        """Return labels as ultralytics keeps them: class column and normalised centre boxes."""
        index = {name: i for i, name in enumerate(self._version.classes)}
        return [
            self._label(file, sample, index)
            for file, sample in zip(self.im_files, self._samples, strict=True)
        ]

    def build_transforms(self, hyp: Any) -> Compose:
        """Return ultralytics' transforms, giving images of the network's own shape."""
        transforms = super().build_transforms(hyp)
        height, width = self._crop or self._size
        for transform in transforms.transforms:
            if isinstance(transform, LetterBox):
                transform.new_shape = self._size
            for inner in list(getattr(transform, "transforms", [])):
                if isinstance(inner, RandomPerspective):
                    inner.size = (width, height)
                    if self._crop:
                        transform.insert(transform.transforms.index(inner), DefectCrop(self._crop))
        return transforms

    @staticmethod
    def _label(file: str, sample: Sample, index: dict[str, int]) -> dict[str, Any]:
        corners = np.array([box[1:] for box in sample.boxes], np.float32).reshape(-1, 4)
        scale = np.array([sample.width, sample.height] * 2, np.float32)
        centre, extent = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]
        return {
            "im_file": file,
            "shape": (sample.height, sample.width),
            "cls": np.array([[index[box[0]]] for box in sample.boxes], np.float32).reshape(-1, 1),
            "bboxes": np.concatenate([centre, extent], axis=1) / scale,
            "segments": [],
            "keypoints": None,
            "normalized": True,
            "bbox_format": "xywh",
        }


class SampleTrainer(DetectionTrainer):
    """Trains on samples; validates a few times for the display; keeps to a time budget."""

    def __init__(
        self,
        overrides: dict[str, Any],
        *,
        version: DatasetVersion,
        size: tuple[int, int],
        crop: tuple[int, int] | None,
        train: Sequence[Sample],
        val: Sequence[Sample],
        validations: int,
        seconds: float | None,
        threads: int,
        workers: int,
        bf16: bool,
        report: Report,
    ) -> None:
        self._version = version
        self._size = size
        self._crop = crop
        self._samples = {"train": train, "val": val or train[:1]}
        self._validations = validations if val else 0
        self._seconds = seconds
        self._threads = threads
        self._bf16 = bf16
        self._report = report
        self._map50: float | None = None
        super().__init__(overrides=overrides)
        self.args.workers = workers
        self.add_callback("on_train_start", SampleTrainer._begin)
        self.add_callback("on_train_batch_end", SampleTrainer._tell)
        self.add_callback("on_fit_epoch_end", SampleTrainer._keep_budget)

    def get_dataset(self) -> dict[str, Any]:
        """Describe the dataset without a yaml file."""
        names = dict(enumerate(self._version.classes))
        return {"train": "train", "val": "val", "names": names, "nc": len(names), "channels": 3}

    def get_model(
        self, cfg: Any = None, weights: Any = None, verbose: bool = True
    ) -> DetectionModel:
        """Build the network, computing in bf16 on a CPU when that was chosen."""
        model = super().get_model(cfg, weights, verbose)
        if self._bf16 and self.device.type == "cpu":
            model.__class__ = Bf16Model
        return model

    def _setup_train(self) -> None:
        super()._setup_train()
        if self.device.type == "cpu":
            self.model = self.model.to(memory_format=torch.channels_last)

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Move a batch to the device; channels last, which convolutions of a CPU prefer too."""
        batch = super().preprocess_batch(batch)
        batch["img"] = batch["img"].contiguous(memory_format=torch.channels_last)
        return batch

    def build_dataset(
        self, img_path: str, mode: str = "train", batch: int | None = None
    ) -> SampleDataset:
        """Build the dataset of a split from its samples."""
        return SampleDataset(
            img_path=img_path,
            imgsz=self.args.imgsz,
            batch_size=batch,
            augment=mode == "train",
            hyp=self.args,
            rect=False,
            cache="ram",
            stride=32,
            pad=0.0,
            task="detect",
            data=self.data,
            version=self._version,
            size=self._size,
            crop=self._crop if mode == "train" else None,
            samples=self._samples[mode],
        )

    def _begin(self) -> None:
        if self.device.type == "cpu":
            torch.set_num_threads(self._threads)
        self._started = time.monotonic()
        self._seen = 0

    def _tell(self) -> None:
        self._seen += 1
        batches = len(self.train_loader)
        done = self._seen / batches
        spent = time.monotonic() - self._started
        loss = sum(float(v) for v in self.tloss.values()) if self.tloss else None
        left = spent / done * (self.epochs - done)
        self._report(Step("train", done, self.epochs, loss, self._map50, max(left, 0.0)))

    def _keep_budget(self) -> None:
        """Cut the number of epochs to what the time allows; the learning rate follows."""
        if self._seconds is None or self.stop:
            return
        spent = time.monotonic() - self._started
        each = spent / (self.epoch + 1)
        affordable = max(int(self._seconds / each), self.epoch + 1)
        if affordable < self.epochs:
            self.epochs = affordable
            self._setup_scheduler()
            self.scheduler.last_epoch = self.epoch
            self.stop = self.epoch + 1 >= self.epochs

    def validate(self) -> tuple[dict[str, float], float | None]:
        """Measure mAP on the val images when it is due; it is shown, and decides nothing."""
        due = self._validations and (
            (self.epoch + 1) * self._validations // self.epochs
            > self.epoch * self._validations // self.epochs
        )
        if not due or self.epoch + 1 >= self.epochs:
            return self.metrics, None
        metrics = self.validator(self)
        metrics.pop("fitness", None)
        self._map50 = float(metrics.get("metrics/mAP50(B)", 0.0))
        return metrics, None

    def save_model(self) -> bool:
        """Keep the last checkpoint only, as plain ultralytics so that any tool of theirs reads it."""
        self.best = self.last
        kind = type(self.ema.ema)
        self.ema.ema.__class__ = DetectionModel
        try:
            return super().save_model()
        finally:
            self.ema.ema.__class__ = kind

    def final_eval(self) -> None:
        """Nothing: the released model is evaluated after its export."""

    def get_validator(self) -> Any:
        """Return ultralytics' validator, which writes nothing."""
        validator = super().get_validator()
        validator.args.plots = False
        return validator
