"""A trained network with everything that the released-model contract puts around it, in torch.

    images uint8 [B, H, W, 3] ─▶ normalised ─▶ network ─▶ K best boxes, each with its best class
        ─▶ suppression within each class ─▶ N best ─▶ detections float32 [B, N, 6]

This module is both: what the trained model finds (the reference of the parity check), and what is exported.
Every step works on a whole batch, with tensors of fixed size for each image, so that B stays free in the
exported graph: torchvision's own post-processing makes lists, an image at a time. A suppressed box keeps its
place with a score of 0. Faster R-CNN looks again at a fixed number of regions of each image for the
same reason; regions that were suppressed are looked at in vain and get a score of 0.

The rules are torchvision's but for one: a box has one class, its best. A defect is reported once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import FCOS, FasterRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.ssd import SSD
from torchvision.ops import clip_boxes_to_image, nms, roi_align

from inspection_training.export_settings import ExportSettings

NO_LIMIT = 1_000_000


class Suppression(torch.autograd.Function):
    """Boxes that a better one overlaps get a score of 0; as ONNX one standard NonMaxSuppression."""

    @staticmethod
    def forward(
        _context: Any, boxes: Tensor, scores: Tensor, iou: float, floor: float, limit: int
    ) -> Tensor:
        """Boxes [B, K, 4] and scores [B, K] to scores [B, K]: of those over the floor, the limit best."""
        kept = torch.zeros_like(scores)
        for index in range(len(scores)):
            real = torch.where(scores[index] > floor)[0]
            chosen = real[nms(boxes[index][real], scores[index][real], iou)[:limit]]
            kept[index, chosen] = scores[index, chosen]
        return kept

    @staticmethod
    def symbolic(graph: Any, boxes: Any, scores: Any, iou: float, floor: float, limit: int) -> Any:
        """The same as ONNX nodes."""

        def constant(value: Any, kind: torch.dtype) -> Any:
            return graph.op("Constant", value_t=torch.tensor(value, dtype=kind))

        chosen = graph.op(
            "NonMaxSuppression",
            boxes,
            graph.op("Unsqueeze", scores, constant([1], torch.int64)),
            constant([limit], torch.int64),
            constant([iou], torch.float32),
            constant([floor], torch.float32),
        )
        where = graph.op("Gather", chosen, constant([0, 2], torch.int64), axis_i=1)
        nothing = graph.op("Mul", scores, constant(0.0, torch.float32))
        kept = graph.op("ScatterND", nothing, where, graph.op("GatherND", scores, where))
        kept.setType(scores.type())
        return kept


class ReleasedDetector(nn.Module):
    """The whole detector: pixels in, detections out. In eval mode, without gradients.

    Args:
        network: from `build_network`; it is used as it is, not copied.
        settings: input size and suppression.
    """

    anchors: Tensor

    def __init__(self, network: Any, settings: ExportSettings) -> None:
        super().__init__()
        self.network = network.eval()
        self._settings = settings
        self._two_stage = isinstance(network, FasterRCNN)
        generator = network.rpn.anchor_generator if self._two_stage else network.anchor_generator
        device = network.transform.mean.device
        blank = torch.zeros(1, 3, *settings.size, device=device)
        with torch.no_grad():
            features = list(network.backbone(blank).values())
            anchors = generator(ImageList(blank, [settings.size]), features)[0]
        each = generator.num_anchors_per_location()
        self._levels = [f.shape[2] * f.shape[3] * n for f, n in zip(features, each, strict=True)]
        self.register_buffer("anchors", anchors.float())
        self._apart = float(max(settings.size) + 1)
        """Pixels between classes, so that boxes of two classes never overlap."""

    def forward(self, images: Tensor) -> Tensor:
        """Uint8 RGB [B, H, W, 3] to float32 [B, N, 6]: x1 y1 x2 y2 score class, best first."""
        pixels = images.permute(0, 3, 1, 2).to(torch.float32) / 255
        features = self.network.backbone(self.network.transform.normalise(pixels))
        find = self._two_stages if self._two_stage else self._one_stage
        *found, outputs = find(features)
        return self._rows(*found) + _doubt(images.shape[0], outputs)

    def _one_stage(
        self, features: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
        """Return boxes [B, K, 4], scores [B, K] and classes [B, K], float32; and the heads' outputs."""
        outputs = self.network.head(list(features.values()))
        logits = outputs["cls_logits"]
        if isinstance(self.network, SSD):
            scores = logits.softmax(-1)[..., 1:]
        elif isinstance(self.network, FCOS):
            scores = (logits.sigmoid() * outputs["bbox_ctrness"].sigmoid()).sqrt()
        else:
            scores = logits.sigmoid()
        scores, labels = scores.max(-1)
        count = min(self._settings.entering, self.anchors.shape[0])
        best, index = scores.topk(count, 1)
        codes = _rows_at(outputs["bbox_regression"], index)
        boxes = self._decode(codes, self.anchors[index], self.network.box_coder)
        return boxes, best, labels.gather(1, index).to(torch.float32), list(outputs.values())

    def _decode(self, codes: Tensor, boxes: Tensor, coder: Any) -> Tensor:
        """Correct boxes [B, K, 4] and clip them to the image."""
        decode = getattr(coder, "decode_single", coder.decode)
        moved = decode(codes.reshape(-1, 4), boxes.reshape(-1, 4)).reshape(boxes.shape)
        return clip_boxes_to_image(moved, self._settings.size)

    def _two_stages(
        self, features: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
        """As `_one_stage`, by regions that are looked at again."""
        heads = self.network.roi_heads
        regions, alive, outputs = self._regions(features)
        rows = heads.box_head(self._pool(features, regions))
        logits, codes = heads.box_predictor(rows)
        scores, labels = logits.softmax(-1)[:, 1:].max(-1)
        wide = codes.reshape(codes.shape[0], -1, 4)
        codes = wide.gather(1, (labels + 1)[:, None, None].expand(-1, 1, 4))
        boxes = self._decode(codes.reshape(regions.shape), regions, heads.box_coder)
        scores = scores.reshape(alive.shape) * (alive > 0).to(torch.float32)
        labels = labels.reshape(alive.shape).to(torch.float32)
        return boxes, scores, labels, [*outputs, logits, codes]

    def _regions(self, features: dict[str, Tensor]) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Return the best regions [B, P, 4] and their scores [B, P], 0 where there are fewer; and outputs.

        A region that is no number would be cut from memory anywhere: it becomes one without extent.
        """
        rpn = self.network.rpn
        objectness, codes = rpn.head(list(features.values()))
        found: list[tuple[Tensor, Tensor, Tensor]] = []
        start = 0
        for level, count in enumerate(self._levels):
            scores = objectness[level].permute(0, 2, 3, 1).flatten(1).sigmoid()
            rows = codes[level].permute(0, 2, 3, 1).reshape(scores.shape[0], -1, 4)
            best, index = scores.topk(min(rpn.pre_nms_top_n(), count), 1)
            near = self.anchors[start : start + count][index]
            boxes = self._decode(_rows_at(rows, index), near, rpn.box_coder)
            found.append((boxes, best, boxes + level * self._apart))
            start += count
        boxes, scores, apart = (torch.cat(part, 1) for part in zip(*found, strict=True))
        kept = Suppression.apply(apart, scores, rpn.nms_thresh, 0.0, NO_LIMIT)
        total = sum(min(rpn.pre_nms_top_n(), count) for count in self._levels)
        wanted = min(rpn.post_nms_top_n(), self._settings.candidates, total)
        best, index = kept.topk(wanted, 1)
        regions = _rows_at(boxes, index)
        regions = torch.where(regions == regions, regions, torch.zeros_like(regions))  # noqa: PLR0124 - NaN
        return regions, best, [*objectness, *codes]

    def _pool(self, features: dict[str, Tensor], regions: Tensor) -> Tensor:
        """Return what is in each region, [B * P, C, 7, 7], from the pyramid level of its size.

        The level is that of torchvision's `MultiScaleRoIAlign`; here every region is cut from every level
        and the right one taken, so that the number of regions of a level need not be known.
        """
        pool = self.network.roi_heads.box_roi_pool
        maps = [features[name] for name in pool.featmap_names if name in features]
        image = torch.zeros_like(regions[..., :1]) + torch.arange(
            regions.shape[0], device=regions.device
        ).to(torch.float32).reshape(-1, 1, 1)
        rows = torch.cat([image, regions], 2).reshape(-1, 5)
        side = ((rows[:, 3] - rows[:, 1]) * (rows[:, 4] - rows[:, 2])).clamp(min=1e-6).sqrt()
        wanted = torch.floor(pool.canonical_level + torch.log2(side / pool.canonical_scale) + 1e-6)
        scales = [m.shape[2] / self._settings.size[0] for m in maps]
        first = round(-torch.log2(torch.tensor(float(scales[0]))).item())
        level = (wanted - first).clamp(0, len(maps) - 1)
        cut: Any = None
        for number, (values, scale) in enumerate(zip(maps, scales, strict=True)):
            here = roi_align(values, rows, pool.output_size, float(scale), pool.sampling_ratio)
            cut = (
                here
                if cut is None
                else torch.where((level == number)[:, None, None, None], here, cut)
            )
        return cut

    def _rows(self, boxes: Tensor, scores: Tensor, labels: Tensor) -> Tensor:
        """Suppress, keep the N best, blank what is at or under the floor."""
        settings = self._settings
        count = min(settings.detections, scores.shape[1])
        shifted = boxes + labels[..., None] * self._apart
        kept = Suppression.apply(shifted, scores, settings.iou, settings.floor, settings.detections)
        best, index = kept.topk(count, 1)
        rows = torch.cat(
            [_rows_at(boxes, index), best[..., None], labels.gather(1, index)[..., None]], 2
        )
        return torch.where(best[..., None] > settings.floor, rows, torch.zeros_like(rows))


def _doubt(images: int, outputs: Sequence[Tensor]) -> Tensor:
    """Return [B, 1, 1]: 0, and no number for an image of which an output is no finite number.

    Whoever sorts and compares loses what is no number, and a network that computes nonsense would find
    nothing.
    """
    return sum((x * 0.0).reshape(images, -1).sum(1) for x in outputs)[:, None, None]


def _rows_at(rows: Tensor, index: Tensor) -> Tensor:
    """Return rows [B, K, 4] of [B, A, 4] at index [B, K]."""
    return rows.gather(1, index[..., None].expand(-1, -1, 4))
