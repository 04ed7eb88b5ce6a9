"""How a released graph of a detector suppresses: settings that every family's export and parity share."""

from __future__ import annotations

from dataclasses import dataclass

ANCHORS_A_ROW = 16
"""An object has about ten anchors; with fewer candidates many objects would hide others unseen."""


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """How the graph suppresses.

    Attributes:
        size: (height, width) of the network input; multiples of 32.
        iou: boxes of one class that overlap more are one.
        floor: scores at or under it become padding.
        candidates: K, best anchors that enter suppression; never fewer than `entering` says.
        detections: N, rows of the output.
    """

    size: tuple[int, int]
    iou: float = 0.7
    floor: float = 0.01
    candidates: int = 300
    detections: int = 100

    @property
    def entering(self) -> int:
        """Anchors that enter suppression: so many that the rows fill first, and a full answer shows."""
        return max(self.candidates, ANCHORS_A_ROW * self.detections)
