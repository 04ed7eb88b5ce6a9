"""One contestant of `runtime` and `service`, a process that waits for its turn.

    python -m inspection_bench.contestant KIND SETTINGS.json
        <─ {"frame": 3, "times": 5}     ─> {"seconds": [...], "boxes": [[x1, y1, x2, y2, score, class], ...]}

A process each, so that no library's threads or memory serve another. What is measured is one call from a
frame in memory to boxes; for kinds that end in `infer`, from a filled input to the outputs.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Call = Callable[[Image], Any]
Read = Callable[[Any], list[list[float]]]
TIMEOUT = 60.0


def ours(settings: dict[str, Any]) -> tuple[Call, Read]:
    """Our detector on a runtime in this process, or on a service."""
    from inspection.detector import Detector

    release, runtime = _loaded(settings)
    detector = Detector(release, runtime)
    return lambda image: detector.detect(image, TIMEOUT), _our_rows


def _loaded(settings: dict[str, Any]) -> tuple[Any, Any]:
    from inspection.plugin import plugin
    from inspection.release import load_release
    from inspection.types import Tiling
    from inspection.variants import in_precision

    release = in_precision(load_release(Path(settings["release"])), settings["precision"])
    if settings.get("tile"):
        height, width = settings["tile"]
        release = replace(release, tiling=Tiling((height, width), settings["overlap"]))
    block: dict[str, Any] = {"type": "openvino", "precision": settings["precision"]}
    if settings.get("url"):
        block |= {"type": "service", "url": settings["url"]}
    runtime = plugin("inspection.runtimes", settings.get("runtime", block)).open()
    runtime.load(release, TIMEOUT)
    return release, runtime


def _our_rows(found: Any) -> list[list[float]]:
    columns = [found.boxes, found.scores[:, None], found.classes[:, None]]
    return np.concatenate(columns, axis=1).astype(float).tolist()


def our_infer(settings: dict[str, Any]) -> tuple[Call, Read]:
    """The runtime alone, or the service's client, on a filled input."""
    release, runtime = _loaded(settings)
    images = _filled(release.input_size)
    return lambda _: runtime.infer(images, TIMEOUT), lambda _: []


def _filled(size: tuple[int, int]) -> Image:
    return np.random.default_rng(1).integers(0, 255, (1, *size, 3), np.uint8)


def raw_infer(settings: dict[str, Any]) -> tuple[Call, Read]:
    """OpenVINO itself on a filled input: no check, no copy of ours."""
    request = _raw_request(settings)
    images = _filled(tuple(settings["input"]))
    return lambda _: request.infer({0: images}, share_inputs=True), lambda _: []


def _raw_request(settings: dict[str, Any]) -> Any:
    from inspection.release import load_release
    from inspection.runtimes.libraries import openvino_core
    from inspection.variants import in_precision

    release = in_precision(load_release(Path(settings["release"])), settings["precision"])
    core = openvino_core()
    model = core.read_model(release.model)
    model.reshape([1, *release.input_size, 3])
    floats = "f32" if settings["precision"] == "f32" else "bf16"
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": floats}
    return core.compile_model(model, "CPU", hints).create_infer_request()


def ultralytics(settings: dict[str, Any]) -> tuple[Call, Read]:
    """Ultralytics' own `predict`."""
    from ultralytics import YOLO

    yolo = YOLO(settings["model"], task="detect")

    def predict(image: Image) -> Any:
        return yolo.predict(image, imgsz=settings["imgsz"], conf=settings["conf"], verbose=False)

    return predict, lambda found: found[0].boxes.data.tolist()


def sahi(settings: dict[str, Any]) -> tuple[Call, Read]:
    """SAHI's sliced prediction over ultralytics; it takes RGB."""
    from sahi import AutoDetectionModel
    from sahi.predict import get_sliced_prediction

    model = AutoDetectionModel.from_pretrained(
        "ultralytics", model_path=settings["model"], confidence_threshold=settings["conf"],
        device="cpu", image_size=settings["imgsz"],
    )  # fmt: skip
    height, width = settings["tile"]

    def sliced(image: Image) -> Any:
        return get_sliced_prediction(
            image, model, slice_height=height, slice_width=width, verbose=0,
            overlap_height_ratio=settings["overlap"], overlap_width_ratio=settings["overlap"],
            perform_standard_pred=False,
        )  # fmt: skip

    return sliced, lambda found: [
        [float(value) for value in (*one.bbox.to_xyxy(), one.score.value, one.category.id)]
        for one in found.object_prediction_list
    ]


KINDS = {
    "ours": ours,
    "our infer": our_infer,
    "raw infer": raw_infer,
    "ultralytics": ultralytics,
    "sahi": sahi,
}


def main() -> None:
    from inspection_bench.frames import load_frames

    kind, path = sys.argv[1:]
    settings = json.loads(Path(path).read_text())
    answers = sys.stdout
    sys.stdout = sys.stderr  # libraries may print
    frames = load_frames(Path(settings["frames"]), "bgr" if kind == "ultralytics" else "rgb")
    call, read = KINDS[kind](settings)
    read(call(frames[0]))
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        image, seconds, found = frames[asked["frame"] % len(frames)], [], None
        call(image)  # the caches were another's
        for _ in range(asked["times"]):
            begun = time.perf_counter()
            found = call(image)
            seconds.append(time.perf_counter() - begun)
        print(json.dumps({"seconds": seconds, "boxes": read(found)}), file=answers, flush=True)


if __name__ == "__main__":
    main()
