"""What INT8 is calibrated on: the pictures themselves, though a detector writes them all into one memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from release_builder import paint, write_release

from inspection.detector import Detector
from inspection.release import find_release
from inspection_training.measure import open_runtime
from inspection_training.variants.quantize import Recorder

SIZE = (64, 96)


def test_every_picture_is_kept_as_it_was(tmp_path: Path) -> None:
    write_release(tmp_path, "plate", 1, size=SIZE)
    release = find_release(tmp_path, "plate", 1)
    recorder = Recorder(open_runtime("onnxruntime", release, 1), limit=4)
    detector = Detector(release, recorder)
    shown = [paint(SIZE, (0, (10, 10, 30, 30)), grey=grey) for grey in (40, 90, 140, 190)]
    for image in shown:
        detector.detect(image, 10.0)
    recorder.close()
    assert [kept[0].tobytes() for kept, _ in recorder.kept] == [image.tobytes() for image in shown]
    assert all(np.isfinite(outputs["detections"]).all() for _, outputs in recorder.kept)
