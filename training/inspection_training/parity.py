"""The exported model against the trained one, on the same letterboxed images.

The trained model runs in torch, with what stands behind it in its family; the exported one runs as the
line runs it. Detections are matched class by class, and the masks of a pair are compared as the line cuts
them, at 0.5; anomaly maps are compared place by place. More than
a trace of difference is refused: such a release would decide differently from what was trained and
measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from inspection.errors import ReleaseError
from inspection.letterbox import letterbox
from inspection.outlines import CUT
from inspection.protocols import Runtime
from inspection.sentences.gates import WORDS
from inspection.sentences.language import phrase
from inspection.types import MASK_STRIDE, Image
from inspection_training.export_settings import ExportSettings

if TYPE_CHECKING:
    from torch import nn

Rows = NDArray[np.float32]
"""float32 [N, 6]: x1 y1 x2 y2 score class, network pixels."""
Outputs = dict[str, NDArray[np.float32]]
"""Output name of the contract to its value."""
Reference = Callable[[Image], Outputs]
"""The trained model: a letterboxed image to the outputs of the contract, for a batch of one."""
ANOMALY_DIFFERENCE = 0.01
"""Largest difference of an anomaly score (0..1), of a part or of a place of its map."""


class ParityError(ReleaseError):
    """The exported model is not the trained one.

    Attributes:
        why: a code of `inspection.sentences.gates.WORDS`, and its values.
    """

    def __init__(self, code: str, **values: Any) -> None:
        self.why = {"code": code, "values": values}
        super().__init__(phrase(WORDS, code, "en", **values))


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How much may differ.

    Attributes:
        score: detections under it are not compared; the line never judges them.
        difference: largest difference of a matched score.
        iou: smallest overlap of a matched pair.
        unmatched: share of detections without a partner (ties in suppression fall either way).
        mask_iou: smallest overlap of the masks of a matched pair, cut at 0.5. Places whose value is
            within `difference` of that are not looked at: they may fall either way.
    """

    score: float = 0.05
    difference: float = 0.01
    iou: float = 0.97
    unmatched: float = 0.01
    mask_iou: float = 0.95


@dataclass(frozen=True, slots=True)
class Parity:
    """What was found.

    Attributes:
        runtime: who ran the exported model.
        images: images compared.
        detections: detections of the trained model over the score compared.
        unmatched: detections of either side without a partner.
        max_score_difference: over all matched pairs.
        min_iou: over all matched pairs; 1 when there are none.
        min_mask_iou: the same of their masks; None where the model gives none.
    """

    runtime: str
    images: int
    detections: int
    unmatched: int
    max_score_difference: float
    min_iou: float
    min_mask_iou: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the plain form for the release card; what does not apply is left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def trained_outputs(model: nn.Module, image: Image, settings: ExportSettings) -> Outputs:
    """Return what the trained network finds in one letterboxed image, best first, as the contract has it.

    Args:
        model: an ultralytics DetectionModel, or a SegmentationModel, which gives masks too.
        image: uint8 RGB [H, W, 3] of the network's input size.
        settings: suppression.
    """
    import torch
    from ultralytics.utils.nms import non_max_suppression

    head = model.model[-1]
    outlined = hasattr(head, "nm")
    with torch.no_grad():
        x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
        answer = model(x)[0]
        table, proto = answer if outlined else (answer, None)
        found = non_max_suppression(
            table,
            settings.floor,
            settings.iou,
            max_det=settings.detections,
            nc=head.nc,
            end2end=bool(head.end2end),
        )[0]
        rows = found[:, :6].cpu().numpy().astype(np.float32)
        rows[:, :4] = np.clip(rows[:, :4], 0, np.array([image.shape[1], image.shape[0]] * 2))
        if proto is None:
            return {"detections": rows[None]}
        masks = torch.einsum("nk,khw->nhw", found[:, 6:], proto[0]).sigmoid().cpu().numpy()
    return {"detections": rows[None], "masks": (masks * _boxed(rows, masks.shape[1:]))[None]}


def _boxed(rows: Rows, size: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return [N, h, w]: True for places of a mask that overlap the box of its row."""
    y, x = (np.arange(side) * MASK_STRIDE for side in size)
    x1, y1, x2, y2 = rows[:, :4].T[:, :, None]
    across, down = (x < x2) & (x + MASK_STRIDE > x1), (y < y2) & (y + MASK_STRIDE > y1)
    return down[:, :, None] & across[:, None, :]


def trained_rows(model: nn.Module, image: Image, settings: ExportSettings) -> Rows:
    """Return the detections of `trained_outputs`, [N, 6]."""
    return trained_outputs(model, image, settings)["detections"][0]


def check_parity(
    model: nn.Module,
    runtime: Runtime,
    name: str,
    images: Sequence[Image],
    settings: ExportSettings,
    *,
    tolerance: Tolerance | None = None,
    tick: Callable[[], None] = lambda: None,
) -> Parity:
    """Compare an ultralytics network and its export; see `check_rows`."""
    return check_rows(
        lambda image: trained_outputs(model, image, settings),
        runtime,
        name,
        images,
        settings.size,
        tolerance=tolerance,
        tick=tick,
    )


def check_rows(
    reference: Reference,
    runtime: Runtime,
    name: str,
    images: Sequence[Image],
    size: tuple[int, int],
    *,
    tolerance: Tolerance | None = None,
    tick: Callable[[], None] = lambda: None,
) -> Parity:
    """Compare both models and return the differences.

    Args:
        reference: the trained model: a letterboxed image to its detections, and masks where it has any.
        runtime: has the exported release loaded.
        name: of the runtime, for the card.
        images: uint8 RGB of any size; one of the network's size is compared as it is.
        size: (height, width) of the network input.
        tolerance: how much may differ.
        tick: called once an image.

    Raises:
        ParityError: they differ by more than the tolerance; it has the numbers.
    """
    limit = tolerance or Tolerance()
    detections = unmatched = 0
    worst_score, worst_iou, worst_mask = 0.0, 1.0, None
    for image in images:
        tensor, _ = letterbox(image, size)
        trained, exported = reference(tensor), runtime.infer(tensor[np.newaxis], 60.0)
        expected, actual = trained["detections"][0], exported["detections"][0]
        if not np.isfinite(actual).all():  # a trained network's NaN is no row, and would agree
            worst_score = np.inf
        actual = actual[actual[:, 4] > 0]  # a prefix: rows fall
        pairs, alone = matched_pairs(expected, actual, limit.score)
        detections += int((expected[:, 4] >= limit.score).sum())
        unmatched += alone
        for i, j, difference, iou in pairs:
            worst_score, worst_iou = max(worst_score, difference), min(worst_iou, iou)
            if "masks" in trained:
                masks = trained["masks"][0, i], exported["masks"][0, j]
                overlap = _mask_overlap(*masks, limit.difference)
                worst_mask = min(1.0 if worst_mask is None else worst_mask, overlap)
        tick()
    found = Parity(name, len(images), detections, unmatched, worst_score, worst_iou, worst_mask)
    _refuse_different(found, limit)
    return found


def _refuse_different(found: Parity, limit: Tolerance) -> None:
    mask_iou = 1.0 if found.min_mask_iou is None else found.min_mask_iou
    if (
        found.max_score_difference > limit.difference
        or found.min_iou < limit.iou
        or found.unmatched > limit.unmatched * max(found.detections, 1)
        or mask_iou < limit.mask_iou
    ):
        outlines = {} if found.min_mask_iou is None else {"mask_iou": mask_iou}
        raise ParityError(
            "outlines_differ" if outlines else "rows_differ",
            runtime=found.runtime,
            unmatched=found.unmatched,
            detections=found.detections,
            score=found.max_score_difference,
            iou=found.min_iou,
            **outlines,
        )


def _mask_overlap(
    expected: NDArray[np.float32], actual: NDArray[np.float32], slack: float
) -> float:
    """Return the IoU of two masks cut at 0.5, without places that are nearer than `slack` to it."""
    sure = np.abs(expected - CUT) > slack
    a, b = (expected >= CUT) & sure, (actual >= CUT) & sure
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 1.0


@dataclass(frozen=True, slots=True)
class MapParity:
    """What was found for a model of task anomaly.

    Attributes:
        runtime: who ran the exported model.
        images: images compared.
        max_score_difference: over all images.
        max_map_difference: over all places of all images.
    """

    runtime: str
    images: int
    max_score_difference: float
    max_map_difference: float

    def as_dict(self) -> dict[str, Any]:
        """Return the plain form for the release card."""
        return asdict(self)


def check_maps(
    reference: Reference,
    runtime: Runtime,
    name: str,
    images: Sequence[Image],
    size: tuple[int, int],
    *,
    tick: Callable[[], None] = lambda: None,
) -> MapParity:
    """Compare maps and scores of both models; arguments as `check_rows`.

    Raises:
        ParityError: a map has another shape, a value is no number, or a difference is over
            ANOMALY_DIFFERENCE.
    """
    worst = {"anomaly_score": 0.0, "anomaly_map": 0.0}
    for image in images:
        tensor, _ = letterbox(image, size)
        expected, actual = reference(tensor), runtime.infer(tensor[np.newaxis], 60.0)
        for output, value in worst.items():
            if expected[output].shape != actual[output].shape:
                raise ParityError(
                    "shapes_differ",
                    output=output,
                    runtime=name,
                    exported=list(actual[output].shape),
                    trained=list(expected[output].shape),
                )
            difference = float(np.abs(expected[output] - actual[output]).max())
            worst[output] = max(value, difference) if np.isfinite(difference) else np.inf
        tick()
    found = MapParity(name, len(images), worst["anomaly_score"], worst["anomaly_map"])
    if max(worst.values()) > ANOMALY_DIFFERENCE:
        raise ParityError(
            "maps_differ",
            runtime=name,
            score=found.max_score_difference,
            map=found.max_map_difference,
            allowed=ANOMALY_DIFFERENCE,
        )
    return found


def match_rows(expected: Rows, actual: Rows, score: float) -> tuple[list[tuple[float, float]], int]:
    """Match detections of two models class by class, best overlap first.

    A detection over `score` may pair with one a little under it.

    Returns:
        (score difference, IoU) of each pair, and the number of detections over `score` left alone.
    """
    pairs, alone = matched_pairs(expected, actual, score)
    return [(difference, iou) for _, _, difference, iou in pairs], alone


def matched_pairs(
    expected: Rows, actual: Rows, score: float
) -> tuple[list[tuple[int, int, float, float]], int]:
    """Return what `match_rows` does, with the two rows of each pair before it."""
    overlap = iou_matrix(expected[:, :4], actual[:, :4])
    overlap[expected[:, None, 5] != actual[None, :, 5]] = 0.0
    pairs: list[tuple[int, int, float, float]] = []
    free_expected, free_actual = set(range(len(expected))), set(range(len(actual)))
    apart = np.abs(expected[:, None, 4] - actual[None, :, 4])  # of several equal boxes, the nearest
    order = np.lexsort((apart.ravel(), -overlap.round(3).ravel()))
    for i, j in np.dstack(np.unravel_index(order, overlap.shape))[0].tolist():
        if overlap[i, j] < 0.5:
            break
        if i in free_expected and j in free_actual:
            free_expected.remove(i)
            free_actual.remove(j)
            if max(expected[i, 4], actual[j, 4]) >= score:
                difference = float(abs(expected[i, 4] - actual[j, 4]))
                pairs.append((i, j, difference, float(overlap[i, j])))
    alone = sum(expected[i, 4] >= score for i in free_expected)
    alone += sum(actual[j, 4] >= score for j in free_actual)
    return pairs, int(alone)


def iou_matrix(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the overlap (intersection over union) of boxes [N, 4] and [M, 4] as [N, M]."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(axis=2)
    areas = (a[:, 2:] - a[:, :2]).prod(axis=1)[:, None] + (b[:, 2:] - b[:, :2]).prod(axis=1)[None]
    union = areas - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)
