"""The training loop.

    for each epoch:
        for each batch: pictures ─▶ losses ─▶ gradients, clipped ─▶ step at this moment's learning rate
            ─▶ averaged weights follow
        mAP on val when it is due (averaged weights) ─▶ curves ─▶ checkpoint

What is released are the averaged weights. Everything random starts anew at each epoch from seed and epoch,
so a run that was cut off goes on to the same result, and the same seed gives the same weights on a CPU.
With a budget of minutes the number of epochs follows the clock and two runs differ.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from inspection.errors import ConfigError, DatasetError
from inspection_datasets.manifest import DatasetVersion, Sample
from inspection_training.checkpoint import load_checkpoint, save_checkpoint
from inspection_training.experiment import Experiment
from inspection_training.export_settings import ExportSettings
from inspection_training.pieces import pieces_of
from inspection_training.progress import Report, Step, silent
from inspection_training.torchvision_detectors.networks import (
    build_network,
    compute_in_bf16,
    has_background,
)
from inspection_training.torchvision_detectors.pictures import (
    Picture,
    Shelf,
    TrainingPictures,
)
from inspection_training.torchvision_detectors.validate import measure_shelf
from inspection_training.torchvision_detectors.weights import first_not_finite, load_weights
from inspection_training.tracking import Tracker, open_tracker

RATES = {"AdamW": 0.001, "SGD": 0.01}
"""First learning rate of each optimizer, for a batch of 16."""
LAST_RATE = 0.01
"""Share of the learning rate that is left at the end."""
DECAY = {"AdamW": 0.01, "SGD": 0.0001}
CLIP = 10.0
"""Longest gradient (norm over all weights)."""
AVERAGE = 0.998
"""Share of the averaged weights that stays at each step."""
PLAIN_END = 0.1
"""Share of the epochs, the last ones, in which no four pictures are put together."""
_NO_MEMORY = ("out of memory", "can't allocate memory")


@dataclass(frozen=True, slots=True)
class Job:
    """All that every process of a training needs.

    Attributes:
        experiment: every setting.
        version: the dataset version.
        train: samples to learn.
        val: samples to watch; may be empty.
        weights: file to start from, or None.
        base: its name and hash.
        run: folder of the run.
        places: torch device of each process.
        threads: processor threads of each process.
        bf16: compute in bf16.
    """

    experiment: Experiment
    version: DatasetVersion
    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    weights: Path | None
    base: str
    run: Path
    places: tuple[str, ...]
    threads: int
    bf16: bool

    def settings(self) -> ExportSettings:
        """Return how the released network suppresses."""
        x = self.experiment
        return ExportSettings(x.network_size, x.nms_iou, 0.01, x.candidates, x.detections)

    def identity(self) -> dict[str, Any]:
        """Return what a checkpoint must agree on to be gone on with."""
        shown = ("mlflow", "gates", "variants", "validations", "threads", "workers")
        return {
            "experiment": self.experiment.model_dump_json(exclude=set(shown)),
            "dataset": self.version.sha256,
            "weights": self.base,
            "precision": "bf16" if self.bf16 else "f32",
        }


def train_rank(job: Job, rank: int, report: Report = silent) -> Training:
    """Train as one of the processes of a job; rank 0 reports, measures and saves.

    Returns:
        The training at its end.

    Raises:
        DatasetError: a picture cannot be read, or the losses are no numbers.
        ConfigError: weights or checkpoint do not fit, or the memory is not enough.
    """
    torch.set_num_threads(job.threads)
    height, width = job.experiment.crop or job.experiment.network_size
    try:
        training = Training(job, rank, report)
        with open_tracker(job.run, job.experiment) if rank == 0 else _no_tracker() as tracker:
            training.run(tracker)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not any(x in str(error) for x in _NO_MEMORY):
            raise
        raise ConfigError(
            f"the memory of {job.places[rank]} is not enough for a batch of {job.experiment.batch} "
            f"pictures of {width} x {height}; set a smaller batch (now {job.experiment.batch}) or a "
            "smaller imgsz. The last checkpoint stands"
        ) from error
    return training


class _no_tracker:  # noqa: N801
    """Stands for the tracker in processes that show nothing."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_error: object) -> None:
        return None


class Training:
    """One process of a training: network, optimizer, pictures, and how far it is.

    Attributes:
        average: the network with averaged weights, which is released.
        done: epochs that are done.
        epochs: epochs in all; fewer than wanted where the minutes are used up.
    """

    def __init__(self, job: Job, rank: int, report: Report) -> None:
        x = job.experiment
        self._job, self._rank, self._report = job, rank, report
        self._place = job.places[rank]
        self.done, self.epochs, self._steps_done = 0, x.epochs, 0
        self._spent, self._map50 = 0.0, None
        size = x.network_size
        self._shelf = Shelf(job.version, pieces_of(job.train, x, learn=True), size)
        self._val = Shelf(job.version, pieces_of(job.val, x, learn=False), size)
        self._pictures = TrainingPictures(self._shelf, x)
        world = len(job.places)
        self._batch = max(min(x.batch, len(self._shelf)) // world, 1) * world
        self._steps = math.ceil(len(self._shelf) / self._batch)
        self._network = self._start()
        self.average = copy.deepcopy(self._network).eval().requires_grad_(requires_grad=False)
        self.kind = "AdamW" if x.optimizer == "auto" else x.optimizer
        self._rate = x.lr or RATES[self.kind] * min(self._batch / 16, 1.0) ** 0.5
        self._optimizer = _optimizer(self._network, self.kind, self._rate)
        self._restore()
        if job.bf16:
            compute_in_bf16(self._network, self._place.split(":", maxsplit=1)[0])
        self._model: nn.Module = self._network
        if world > 1:
            gpu = None if self._place == "cpu" else [self._place]
            self._model = DistributedDataParallel(self._network, device_ids=gpu)

    def _start(self) -> nn.Module:
        """Return the network that training starts from, on its device."""
        job, x = self._job, self._job.experiment
        torch.manual_seed(x.seed)
        network = build_network(x.model, len(job.version.classes), x.backbone_input)
        if job.weights is not None:
            load_weights(network, job.weights, x.model)
        if len(job.places) > 1 and self._place != "cpu":
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        return network.to(self._place, memory_format=torch.channels_last)

    def _restore(self) -> None:
        state = load_checkpoint(self._job.run)
        if state is None:
            return
        wanted = self._job.identity()
        for key, value in wanted.items():
            if state.get("identity", {}).get(key) != value:
                raise ConfigError(
                    f"the checkpoint of {self._job.run} was made with another {key}; go on with the same "
                    "settings, or start a new run"
                )
        broken = first_not_finite(state["network"], state["average"])
        if broken:
            where = f"the checkpoint of {self._job.run}"
            raise ConfigError(
                f"{where} has values that are no numbers in {broken}; start a new run"
            )
        self._network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.done, self.epochs = state["done"], state["epochs"]
        self._steps_done = self.done * self._steps
        self._spent, self._map50 = state["spent"], state["map50"]

    def run(self, tracker: Tracker | None) -> None:
        """Do the epochs that are left."""
        while self.done < self.epochs:
            begun = time.monotonic()
            losses = self._epoch(self.done)
            self.done += 1
            values = {f"loss/{name}": value for name, value in losses.items()}
            if self._rank == 0:
                values |= self._measure()
            self._spent += time.monotonic() - begun
            self._keep_budget()
            if self._rank == 0 and tracker is not None:
                values |= {"lr": self._rate_now(), "seconds": time.monotonic() - begun}
                tracker.scalars(self.done, values)
                self._save()

    def _epoch(self, epoch: int) -> dict[str, float]:
        """Learn every picture once; return the mean of each loss."""
        torch.manual_seed((self._job.experiment.seed * 100_003 + epoch) * 64 + self._rank)
        self._model.train()
        sums: dict[str, float] = {}
        begun = time.monotonic()
        for step, pictures in enumerate(self._batches(epoch), start=1):
            losses = self._model(*self._tensors(pictures))
            total = torch.stack(list(losses.values())).sum()
            self._check(total, epoch)
            for group in self._optimizer.param_groups:
                group["lr"] = self._rate_now()
            self._optimizer.zero_grad(set_to_none=True)
            total.backward()
            nn.utils.clip_grad_norm_(self._network.parameters(), CLIP)
            self._optimizer.step()
            self._steps_done += 1
            self._follow()
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach())
            self._tell(step, sum(sums.values()) / step, time.monotonic() - begun)
        return {name: value / self._steps for name, value in sums.items()}

    def _batches(self, epoch: int) -> Iterator[list[Picture]]:
        """Yield this process's share of each batch; the last one is filled up with the first pictures."""
        x, world = self._job.experiment, len(self._job.places)
        order = np.random.default_rng([x.seed, epoch]).permutation(len(self._shelf))
        order = np.resize(order, self._steps * self._batch).reshape(self._steps, -1)
        together = epoch < self.epochs * (1 - PLAIN_END)
        keys = [[(epoch, int(i), together) for i in batch[self._rank :: world]] for batch in order]
        if not x.workers:
            yield from ([self._pictures[key] for key in batch] for batch in keys)
            return
        yield from torch.utils.data.DataLoader(
            self._pictures,  # type: ignore[arg-type]
            batch_sampler=keys,
            num_workers=x.workers,
            collate_fn=list,
        )

    def _tensors(self, pictures: list[Picture]) -> tuple[Tensor, list[dict[str, Tensor]]]:
        """Return RGB 0..1 [B, 3, H, W] and torchvision's targets, on the device."""
        first = int(has_background(self._job.experiment.model))
        images = torch.from_numpy(np.stack([p.image for p in pictures])).to(self._place)
        pixels = images.permute(0, 3, 1, 2).to(torch.float32) / 255  # stays channels last
        targets = [
            {
                "boxes": torch.from_numpy(p.boxes).to(self._place),
                "labels": torch.from_numpy(p.labels + first).to(self._place),
            }
            for p in pictures
        ]
        return pixels, targets

    def _check(self, total: Tensor, epoch: int) -> None:
        if not torch.isfinite(total):
            raise self._diverged(f"the loss became {total.item()}", epoch + 1)

    def _diverged(self, what: str, epoch: int) -> DatasetError:
        return DatasetError(
            f"{what} in epoch {epoch}: the learning rate {self._rate:g} is too high for this dataset; set "
            f"lr: {self._rate / 5:g}. The checkpoint of the epoch before stands"
        )

    def _rate_now(self) -> float:
        """Return the learning rate: it rises for the warm-up, then falls as a half cosine."""
        whole = self.epochs * self._steps
        warm = min(self._job.experiment.warmup_epochs, 0.2 * self.epochs) * self._steps
        if self._steps_done < warm:
            return self._rate * (self._steps_done + 1) / (warm + 1)
        part = min((self._steps_done - warm) / max(whole - warm, 1), 1.0)
        return self._rate * (LAST_RATE + (1 - LAST_RATE) * (1 + math.cos(math.pi * part)) / 2)

    @torch.no_grad()
    def _follow(self) -> None:
        """Let the averaged weights follow; at the beginning they follow closely."""
        share = min(AVERAGE, (1 + self._steps_done) / (10 + self._steps_done))
        own = self._network.state_dict()
        for name, value in self.average.state_dict().items():
            if value.is_floating_point():
                value.lerp_(own[name], 1 - share)
            else:
                value.copy_(own[name])

    def _tell(self, step: int, loss: float, seconds: float) -> None:
        done = self.done + step / self._steps
        left = seconds / step * (self.epochs * self._steps - self._steps_done)
        self._report(Step("train", done, self.epochs, loss, self._map50, max(left, 0.0)))

    def _measure(self) -> dict[str, float]:
        """Return mAP on the val images when it is due; it is shown, and decides nothing."""
        job = self._job
        wanted = job.experiment.validations
        due = self.done * wanted // self.epochs > (self.done - 1) * wanted // self.epochs
        if not due or not len(self._val):
            return {}
        found = measure_shelf(self.average, self._val, job.settings(), job.version.classes)
        self._map50 = found.get("mAP50", self._map50)
        return found

    def _keep_budget(self) -> None:
        """Cut the number of epochs to what the minutes allow; every process gets the same number."""
        minutes = self._job.experiment.minutes
        if minutes is None:
            return
        affordable = max(int(minutes * 60 / (self._spent / self.done)), self.done)
        epochs = min(self.epochs, affordable)
        if len(self._job.places) > 1:
            number = torch.tensor(epochs, device=self._place)
            distributed.broadcast(number, 0)
            epochs = int(number)
        self.epochs = epochs

    def _save(self) -> None:
        """Write the checkpoint; it is never one that cannot be gone on from, or released."""
        broken = first_not_finite(self._network.state_dict(), self.average.state_dict())
        if broken:  # the last step of an epoch has no loss after it that would tell
            raise self._diverged(f"weights became no numbers ({broken})", self.done)
        save_checkpoint(
            self._job.run,
            {
                "identity": self._job.identity(),
                "network": self._network.state_dict(),
                "average": self.average.state_dict(),
                "optimizer": self._optimizer.state_dict(),
                "done": self.done,
                "epochs": self.epochs,
                "spent": self._spent,
                "map50": self._map50,
            },
        )


def _optimizer(network: nn.Module, kind: str, rate: float) -> torch.optim.Optimizer:
    """Return the optimizer; biases and normalisation layers are not drawn to zero."""
    weights = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [
        {"params": weights, "weight_decay": DECAY[kind]},
        {"params": others, "weight_decay": 0.0},
    ]
    if kind == "SGD":
        return torch.optim.SGD(groups, lr=rate, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, lr=rate)
