"""The family `torchvision`: Faster R-CNN, RetinaNet, FCOS and SSDLite under a permissive licence.

samples ─▶ pictures ─▶ train ─▶ averaged weights ─▶ inference ─▶ export
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from inspection.errors import ConfigError
from inspection.runtimes.libraries import silence_runtimes
from inspection.types import Image
from inspection_datasets.manifest import DatasetVersion, Sample
from inspection_training.device import device_name, places, use_bf16
from inspection_training.experiment import Experiment
from inspection_training.export_settings import ExportSettings
from inspection_training.family import Outputs, Task, Trained
from inspection_training.progress import Report
from inspection_training.tracking import log_line
from inspection_training.training_images import check_classes, check_images, choose_samples

LICENCE = "BSD-3-Clause (torchvision); the weights that training started from keep the licence of their file"


class TorchvisionFamily:
    """The family `torchvision`; see the module's docstring."""

    task: Task = "detect"
    licence = LICENCE

    def train(
        self,
        experiment: Experiment,
        version: DatasetVersion,
        weights: Path | None,
        run: Path,
        report: Report,
    ) -> Trained:
        """Learn from the train split; see `train` and `Family`."""
        check_settings(experiment)
        train = choose_samples(version, experiment)
        missing = check_classes(version, train, experiment)
        check_images(version, [*train, *version.select("val")], report)
        silence_runtimes()
        if missing:
            log_line(run, f"warning: no training image shows {', '.join(missing)}")
        # Threads that wait must sleep: on a shared PC spinning ones took most of the time.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        return _train(experiment, version, (train, version.select("val")), weights, run, report)

    def export(
        self, trained: Trained, path: Path, experiment: Experiment, classes: Sequence[str]
    ) -> None:
        """Write network and suppression as one graph; see `export`."""
        from inspection_training.torchvision_detectors.export import export_network

        export_network(trained.model, path, _settings(experiment), classes, LICENCE)

    def reference(self, trained: Trained, experiment: Experiment, image: Image) -> Outputs:
        """Return what the torch network finds, after suppression; see `Family`."""
        import torch

        from inspection_training.torchvision_detectors.inference import ReleasedDetector

        detector = ReleasedDetector(trained.model, _settings(experiment)).eval()
        with torch.no_grad():
            return {"detections": detector(torch.from_numpy(image)[None]).numpy()}


def check_settings(experiment: Experiment) -> None:
    """Refuse settings that this family cannot keep.

    Raises:
        ConfigError: the message names the setting.
    """
    if experiment.optimizer == "MuSGD":
        raise ConfigError("optimizer MuSGD is ultralytics' own; use auto, AdamW or SGD")
    if experiment.width is not None:
        raise ConfigError("width is for family ultralytics; leave it out or choose another model")
    if experiment.crop is not None and experiment.tile is not None:
        raise ConfigError("crop and tile exclude each other; leave one of them out")
    if experiment.model.startswith("ssdlite") and experiment.batch < 2:
        raise ConfigError(f"{experiment.model} cannot learn from one image at a time; set batch: 2")


def _settings(experiment: Experiment) -> ExportSettings:
    return ExportSettings(
        size=experiment.network_size,
        iou=experiment.nms_iou,
        candidates=experiment.candidates,
        detections=experiment.detections,
    )


def _train(
    experiment: Experiment,
    version: DatasetVersion,
    samples: tuple[Sequence[Sample], Sequence[Sample]],
    weights: Path | None,
    run: Path,
    report: Report,
) -> Trained:
    import torch

    from inspection_training.torchvision_detectors.processes import together
    from inspection_training.torchvision_detectors.train import Job, train_rank
    from inspection_training.torchvision_detectors.weights import origin

    where = places(experiment)
    bf16 = use_bf16(experiment, where[0])
    job = Job(
        experiment=experiment,
        version=version,
        train=tuple(samples[0]),
        val=tuple(samples[1]),
        weights=weights,
        base=origin(weights),
        run=run,
        places=where,
        threads=experiment.threads or max((os.cpu_count() or 1) // len(where), 1),
        bf16=bf16,
    )
    before = torch.get_num_threads()
    try:
        with together(where, train_rank, job):
            training = train_rank(job, 0, report)
    finally:
        torch.set_num_threads(before)
    return Trained(
        model=training.average.float().cpu().eval(),
        architecture=experiment.model,
        base_weights=job.base,
        epochs=training.done,
        train=job.train,
        val=job.val,
        device=device_name(where),
        precision="bf16" if bf16 else "f32",
        facts={"optimizer": training.kind, "processes": len(where)},
    )
