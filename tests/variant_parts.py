"""A tiny released network and parts for it, to make faster forms of.

The network is written down by hand: the first convolution tells red, green and blue from grey,
the second averages a neighbourhood, the brightest place is the score of its class.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from release_builder import paint

from inspection.release import LimitsCard, ReleaseCard, read_card, sha256_file, write_card
from inspection_datasets.manifest import DatasetVersion, Sample, write_version
from inspection_training.variants.make import make_variant

SIZE = 32
CLASSES = ("red", "green", "blue")


def write_network(path: Path) -> None:
    """Write a network of three convolutions; a row for each class: the whole image, score, class.

    The third one does no harm in eight bits, since it counts for nothing.
    """
    colour = np.full((3, 3, 1, 1), -0.5, np.float32)
    colour[range(3), range(3)] = 1.0
    mean = np.zeros((3, 3, 3, 3), np.float32)
    mean[range(3), range(3)] = 1 / 9
    box = np.tile(np.array([0, 0, SIZE, SIZE], np.float32), (1, 3, 1))
    constants = {
        "scale": np.float32(1 / 255), "colour": colour, "mean": mean, "box": box,
        "kind": np.arange(3, dtype=np.float32).reshape(1, 3, 1), "zero": np.float32(0),
        "one": np.float32(1), "axis": np.array([2], np.int64),
    }  # fmt: skip
    node = helper.make_node
    nodes = [
        node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
        node("Mul", ["pixels", "scale"], ["scaled"]),
        node("Transpose", ["scaled"], ["x"], perm=[0, 3, 1, 2]),
        node("Conv", ["x", "colour"], ["contrast"], name="first"),
        node("Relu", ["contrast"], ["found"]),
        node("Conv", ["found", "mean"], ["smooth"], name="second", pads=[1, 1, 1, 1]),
        node("Conv", ["x", "mean"], ["aside"], name="third", pads=[1, 1, 1, 1]),
        node("Mul", ["aside", "zero"], ["ignored"]),
        node("Add", ["smooth", "ignored"], ["both"]),
        node("ReduceMax", ["both"], ["score"], axes=[2, 3], keepdims=0),
        node("Clip", ["score", "zero", "one"], ["clipped"]),
        node("Unsqueeze", ["clipped", "axis"], ["column"]),
        node("Mul", ["column", "zero"], ["nothing"]),
        node("Add", ["nothing", "kind"], ["kinds"]),
        node("Add", ["nothing", "box"], ["boxes"]),
        node("Concat", ["boxes", "column", "kinds"], ["detections"], axis=2),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "colours", [value("images", TensorProto.UINT8, ["B", SIZE, SIZE, 3])],
        [value("detections", TensorProto.FLOAT, ["B", 3, 6])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def learned_from(folder: Path, version: DatasetVersion) -> Path:
    """Write into a release's card that it learned from this version."""
    card = read_card(folder)
    learned = {"name": version.name, "version": version.version, "sha256": version.sha256}
    write_card(folder, card.model_copy(update={"dataset": card.dataset.model_copy(update=learned)}))
    return folder


def write_release(releases: Path) -> Path:
    folder = releases / "colours" / "1"
    folder.mkdir(parents=True)
    write_network(folder / "model.onnx")
    card = {
        "part": "colours", "number": 1, "created_at": "2026-01-01T00:00:00+00:00", "task": "detect",
        "family": "test/colours", "classes": list(CLASSES), "input_size": (SIZE, SIZE),
        "files": {"model.onnx": sha256_file(folder / "model.onnx")},
        "limits": dict.fromkeys(CLASSES, LimitsCard(t1=0.3, t2=0.5)), "claim": "",
        "dataset": {"name": "colours", "version": "v0001", "sha256": "0" * 64,
                    "train_images": 8, "val_images": 8},
        "base_weights": "random", "experiment": {}, "seeds": {}, "libraries": {},
        "licence": "Apache-2.0", "metrics": {}, "parity": {}, "latency": {},
    }  # fmt: skip
    write_card(folder, ReleaseCard.model_validate(card))
    return folder


def write_parts(folder: Path, train_strength: float = 1.0) -> DatasetVersion:
    """Write parts, every second with a coloured defect; those to learn from may be fainter."""
    rng = np.random.default_rng(0)
    samples: list[Sample] = []
    (folder / "images").mkdir(parents=True)
    for split, count in (("train", 12), ("val", 12), ("test", 12)):
        for i in range(count):
            image = rng.integers(100, 140, (SIZE, SIZE, 1)).repeat(3, axis=2).astype(np.float32)
            image[0, 0], image[0, 1] = 255, 0  # the pixels reach both ends in every split
            strength = train_strength if split == "train" else 1.0
            boxes = []
            if i % 2:
                k, x, y = i // 2 % 3, *rng.integers(4, 20, 2)
                mark = np.full(3, 20.0)
                mark[k] = 250
                patch = image[y : y + 8, x : x + 8]
                patch += (mark - patch) * strength
                boxes = [(CLASSES[k], float(x), float(y), float(x + 8), float(y + 8))]
            name = f"images/{split}{i}.png"
            cv2.imwrite(str(folder / name), image.astype(np.uint8)[:, :, ::-1])
            samples.append(
                Sample(
                    image=name, sha256=sha256_file(folder / name), width=SIZE, height=SIZE,
                    split=split, group=name, boxes=boxes, origin="test",
                    state="labelled" if boxes else "good",
                )
            )  # fmt: skip
    return write_version(folder, "colours", CLASSES, samples)


def write_made(releases: Path, parts: DatasetVersion) -> Path:
    """Write a release with both variants."""
    folder = learned_from(write_release(releases), parts)
    for precision in ("bf16", "int8"):
        make_variant(folder, precision, parts)
    return folder


def image_of(version: DatasetVersion, name: str) -> np.ndarray:
    return cv2.imread(str(version.folder / name))[:, :, ::-1].copy()


def painted(folder: Path, size: tuple[int, int], classes: tuple[str, ...]) -> DatasetVersion:
    """Write grey parts for the releases of `release_builder`; every second has a mark."""
    (folder / "images").mkdir(parents=True)
    samples: list[Sample] = []
    for i in range(20):
        split, box = ("train", "val", "test")[min(i // 4, 2)], (20 + i, 30, 40 + i, 50)
        name = f"images/{i}.png"
        image = paint(size, *([(0, box)] if i % 2 else []), grey=90 + i)
        cv2.imwrite(str(folder / name), image[:, :, ::-1])
        samples.append(
            Sample(
                image=name, sha256=sha256_file(folder / name), width=size[1], height=size[0],
                split=split, group=name, origin="test", state="labelled" if i % 2 else "good",
                boxes=[(classes[0], *map(float, box))] if i % 2 else [],
            )
        )  # fmt: skip
    return write_version(folder, "demo", classes, samples)
