"""ultralytics' trainers, fed from a dataset version instead of label files.

Imported only while training: it imports torch and ultralytics. Inheritance is ultralytics' own way to
extend its trainer; everything not overridden here is its training loop.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import RANK

from inspection_datasets.manifest import DatasetVersion, Sample
from inspection_training.checkpoint import save_checkpoint
from inspection_training.experiment import Experiment
from inspection_training.failures import diverged, out_of_memory
from inspection_training.pieces import pieces_of
from inspection_training.progress import Report, Step
from inspection_training.tracking import Tracker
from inspection_training.ultralytics_detectors.dataset import SampleDataset
from inspection_training.ultralytics_detectors.state import capture, is_finite, restore, seed_epoch

CHECKPOINT_SECONDS = 20.0
"""Least time between two checkpoints; the first epoch and the last one always have theirs."""
CHECKPOINT_SHARE = 0.02
"""Checkpoints take at most this share of the time."""


class InBf16:
    """A network that computes in bf16 while it is trained on a CPU; weights stay float32.

    ultralytics' own mixed precision is for GPUs only.
    """

    training: bool
    stride: Any

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
    return type(value)(_as_float(item) for item in value)


class Bf16Model(InBf16, DetectionModel):
    """A detector in bf16."""


@dataclass(frozen=True, slots=True)
class Session:
    """What a training is about, beside the network and ultralytics' own settings.

    Attributes:
        experiment: every setting.
        version: the dataset version.
        train: samples to learn from.
        val: samples to measure mAP on, for the display only; may be empty.
        run: folder of the run, for the checkpoint.
        identity: kept in the checkpoint: what it was made for.
        state: checkpoint to go on from, or None.
        tracker: gets the curves; None in all processes but the first.
        threads: processor threads of this process.
        bf16: compute in bf16.
        processes: processes that train together; this one is ultralytics' RANK.
        report: told about every step.
    """

    experiment: Experiment
    version: DatasetVersion
    train: Sequence[Sample]
    val: Sequence[Sample]
    run: Path
    identity: str
    state: dict[str, Any] | None
    tracker: Tracker | None
    threads: int
    bf16: bool
    processes: int
    report: Report


class SampleTraining:
    """What differs from ultralytics' trainers; to be put before one of them.

    Trains on samples; validates a few times for the display; keeps to a time budget.

    An epoch follows from the state before it and the seed alone, so a training that goes on from a
    checkpoint gives what it would have given.

    Attributes:
        plain: ultralytics' class of the network.
        in_bf16: the same, computing in bf16 on a CPU.
        task: as ultralytics calls it.
        dataset_class: makes pictures and labels of pieces.
    """

    plain: type
    in_bf16: type
    task: str
    dataset_class: type[SampleDataset]

    def __init__(self, overrides: dict[str, Any], session: Session) -> None:
        self._session = session
        self._first = RANK in {-1, 0}
        self._spent = 0.0  # seconds, in processes before this one
        self._map: tuple[float, float] | None = None
        self._measured = False
        self._saved: float | None = None
        self._save_cost = 0.0
        super().__init__(overrides=overrides)
        self.args.workers = session.experiment.workers
        if session.processes > 1:
            self.world_size = session.processes
        self.add_callback("on_train_start", SampleTraining._begin)
        self.add_callback("on_train_epoch_start", SampleTraining._begin_epoch)
        self.add_callback("on_train_batch_end", SampleTraining._tell)
        self.add_callback("on_fit_epoch_end", SampleTraining._end_epoch)

    def get_dataset(self) -> dict[str, Any]:
        """Describe the dataset without a yaml file."""
        names = dict(enumerate(self._session.version.classes))
        return {"train": "train", "val": "val", "names": names, "nc": len(names), "channels": 3}

    def get_model(self, cfg: Any = None, weights: Any = None, verbose: bool = True) -> Any:
        """Build the network, computing in bf16 on a CPU when that was chosen."""
        model = super().get_model(cfg, weights, verbose)
        if self._session.bf16 and self.device.type == "cpu":
            model.__class__ = self.in_bf16
        return model

    def prepare(self) -> None:
        """Set everything up, with the session's state, and train nothing; for a finished training."""
        self._setup_train()
        self.epoch = self.start_epoch - 1

    def _setup_ddp(self) -> None:
        if self.device.type != "cpu":
            super()._setup_ddp()
        elif not distributed.is_initialized():
            distributed.init_process_group("gloo", rank=RANK, world_size=self.world_size)

    def _setup_train(self) -> None:
        if self.device.type == "cpu":
            self.world_size = 0  # ultralytics would hand the network to a GPU
        super()._setup_train()
        if self.device.type == "cpu":
            self.model = self.model.to(memory_format=torch.channels_last)

    def _build_train_pipeline(self) -> None:
        if (
            self.optimizer is not None
        ):  # ultralytics would go on with half the batch, and not say so
            raise out_of_memory(
                MemoryError("in the first epoch"), self._session.experiment, self._session.run
            )
        if self.device.type == "cpu" and self._session.processes > 1:
            self.world_size = self._session.processes
            self.model = DistributedDataParallel(
                self.model.to(memory_format=torch.channels_last),
                find_unused_parameters=True,
                forward_sync_buffers=False,
            )
        super()._build_train_pipeline()

    def _get_warmup_iterations(self, num_batches: int) -> int:
        """Return the warm-up of the whole experiment, also when time has cut the epochs since."""
        epochs, self.epochs = self.epochs, self.args.epochs
        try:
            return super()._get_warmup_iterations(num_batches)
        finally:
            self.epochs = epochs

    def resume_training(self, ckpt: Any) -> None:  # noqa: ARG002
        """Go on from our own checkpoint; ultralytics' is for its own tools."""
        state = self._session.state
        if state is not None:
            restore(self, state)
            self._spent = state["seconds"]
            self._map = tuple(state["map"]) if state["map"] else None

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Move a batch to the device; channels last, which convolutions of a CPU prefer too."""
        batch = super().preprocess_batch(batch)
        batch["img"] = batch["img"].contiguous(memory_format=torch.channels_last)
        return batch

    def build_dataset(
        self, img_path: str, mode: str = "train", batch: int | None = None
    ) -> SampleDataset:
        """Build the dataset of a split from the pieces of its samples."""
        session = self._session
        learn = mode == "train"
        samples = session.train if learn else session.val or session.train[:1]
        return self.dataset_class(
            img_path=img_path,
            imgsz=self.args.imgsz,
            batch_size=batch,
            augment=learn,
            hyp=self.args,
            rect=False,
            cache="ram",
            stride=32,
            pad=0.0,
            task=self.task,
            data=self.data,
            version=session.version,
            size=session.experiment.network_size,
            crop=session.experiment.crop if learn else None,
            pieces=pieces_of(samples, session.experiment, learn=learn),
        )

    def _begin(self) -> None:
        if self.device.type == "cpu":
            torch.set_num_threads(self._session.threads)
        self._started = self._saved = time.monotonic()
        self._seen = 0

    def _elapsed(self) -> float:
        return self._spent + time.monotonic() - self._started

    def _begin_epoch(self) -> None:
        """Let order and augmentation follow from seed and epoch, not from what was drawn before."""
        self._epoch_started = time.monotonic()
        self._measured = False
        if self.world_size > 1:
            for buffer in self.model.buffers():
                distributed.broadcast(buffer, src=0)
        number = seed_epoch(self.args.seed, self.epoch, RANK)
        loader = self.train_loader
        if self.device.type == "cpu" or not loader.num_workers:
            loader.reset()
            if loader.dataset.buffer:
                loader.dataset.forget()
        elif self._seen:
            return  # a GPU would wait for new processes in every epoch
        loader.generator.manual_seed(number)

    def _tell(self) -> None:
        self._seen += 1
        batches = len(self.train_loader)
        loss = sum(float(v) for v in self.tloss.values()) if self.tloss else None
        if loss is not None and not math.isfinite(loss):
            raise diverged(self.epoch + 1, self._session.run, self._session.experiment)
        if not self._first:
            return
        done = self._seen / batches
        left = (time.monotonic() - self._started) / done * (self.epochs - self.start_epoch - done)
        map50 = self._map[0] if self._map else None
        step = Step("train", self.start_epoch + done, self.epochs, loss, map50, max(left, 0.0))
        self._session.report(step)

    def _end_epoch(self) -> None:
        self._keep_budget()
        if self._first:
            self._keep_state()

    def _keep_budget(self) -> None:
        """Cut the number of epochs to what the time allows; the learning rate follows."""
        minutes = self._session.experiment.minutes
        if minutes is None:
            return
        affordable = [max(int(minutes * 60 / (self._elapsed() / (self.epoch + 1))), self.epoch + 1)]
        if self.world_size > 1:
            distributed.broadcast_object_list(affordable, src=0)
        if affordable[0] < self.epochs and not self.stop:
            self.epochs = affordable[0]
            self._setup_scheduler()
            self.scheduler.last_epoch = self.epoch
            self.stop = self.epoch + 1 >= self.epochs

    def _keep_state(self) -> None:
        """Write the checkpoint when it is due; it is never one that cannot be gone on from."""
        now = time.monotonic()
        due = max(CHECKPOINT_SECONDS, self._save_cost / CHECKPOINT_SHARE)
        if self._save_cost and not self.stop and now - self._saved < due:
            return
        session = self._session
        if not is_finite(self):
            raise diverged(self.epoch + 1, session.run, session.experiment)
        told = {"seconds": self._elapsed(), "map": self._map, "identity": session.identity}
        save_checkpoint(session.run, {**capture(self), **told})
        self._saved = time.monotonic()
        self._save_cost = max(self._saved - now, 1e-3)

    def validate(self) -> tuple[dict[str, float] | None, float | None]:
        """Measure mAP on the val images when it is due; it is shown, and decides nothing."""
        wanted = self._session.experiment.validations if self._session.val else 0
        due = wanted and (
            (self.epoch + 1) * wanted // self.epochs > self.epoch * wanted // self.epochs
        )
        if not due or self.epoch + 1 >= self.epochs:
            return self.metrics, None
        if self.world_size > 1:
            for buffer in self.ema.ema.buffers():
                distributed.broadcast(buffer, src=0)
        metrics = self.validator(self)
        if metrics is None:  # not the first process
            return None, None
        metrics.pop("fitness", None)
        values = [float(metrics.get(f"metrics/{name}(B)", 0.0)) for name in ("mAP50", "mAP50-95")]
        self._map, self._measured = (values[0], values[1]), True
        return metrics, None

    def save_metrics(self, metrics: dict[str, float]) -> None:
        """Hand the epoch's values to the tracker; ultralytics' results.csv is not written."""
        values = {
            "loss/" + name.removeprefix("train/").removesuffix("_loss"): value
            for name, value in metrics.items()
            if name.startswith("train/")
        }
        if self._measured and self._map:
            values |= {"mAP50": self._map[0], "mAP50_95": self._map[1]}
        rates = [g["lr"] for g in self.optimizer.param_groups if g.get("param_group") != "bias"]
        values |= {"lr": rates[-1], "seconds": time.monotonic() - self._epoch_started}
        if self._session.tracker is not None:
            self._session.tracker.scalars(self.epoch + 1, values)

    def _handle_nan_recovery(self, epoch: int) -> bool:  # noqa: ARG002
        return False  # a loss that is no number ends the training where it appears

    def save_model(self) -> bool:
        """Nothing in between: our checkpoint is smaller, exact, and runs no code when it is read."""
        return False

    def final_eval(self) -> None:
        """Write the last weights as plain ultralytics, for any tool of theirs; evaluate nothing."""
        if not self._first:
            return
        self.best = self.last
        kind = type(self.ema.ema)
        self.ema.ema.__class__ = self.plain
        try:
            super().save_model()
        finally:
            self.ema.ema.__class__ = kind

    def get_validator(self) -> Any:
        """Return ultralytics' validator, which writes nothing."""
        validator = super().get_validator()
        validator.args.plots = False
        return validator


class SampleTrainer(SampleTraining, DetectionTrainer):
    """Trains a detector."""

    plain = DetectionModel
    in_bf16 = Bf16Model
    task = "detect"
    dataset_class = SampleDataset
