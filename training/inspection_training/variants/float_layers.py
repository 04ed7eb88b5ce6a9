"""Which layers of an eight-bit graph must stay in float, so that it decides as the release does.

    all in eight bits: enough? ─yes─▶ done
      │ no
      ▼
    groups of layers, each alone in eight bits: how much do scores and masks move, and how much time is saved?
      ▼                                                         ─▶ most harm for the time it saves first
    the fewest first groups in float that are enough: halving, each try on the search images

The images that are looked at here are not the ones that judge the result, see `variants`.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspection.outlines import CUT
from inspection_training.parity import matched_pairs
from inspection_training.variants.quantize import Int8Graph

GROUPS = 24
"""Layers are tried in at most so many groups of neighbours."""
LOWEST_SCORE = 0.05
"""Boxes under it are not compared; no sensible limit lies there."""
_ALONE = 0.1
"""Harm of a box without a partner, as a difference of scores."""
_LEAST_SAVING = 0.1
"""A group that saves less than this share of the average counts as saving so much: times are noisy."""
Outputs = Mapping[str, NDArray[np.float32]]


@dataclass(slots=True)
class Search:
    """One search; `tries` grows as it goes.

    Attributes:
        graph: the layers.
        enough: tells whether the graph with these layers in float decides alike, and what to note.
        harm: tells how far scores and masks are from the release's on a few images, with these in float.
        saving: layer to milliseconds that eight bits save on it; a layer not named saves nothing.
        until: monotonic seconds after which nothing new is tried.
        tries: what was tried: layers in float, and what `enough` noted.
    """

    graph: Int8Graph
    enough: Callable[[list[str]], tuple[bool, dict[str, Any]]]
    harm: Callable[[list[str]], float]
    saving: Mapping[str, float]
    until: float
    tries: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def sets(self) -> Iterator[list[str]]:
        """Yield sets of layers to keep in float: the smallest that was enough, then larger ones.

        The larger ones are for when the judging images want more than the search images did. Nothing is
        yielded once time has run out, nor when no set was enough: all in float is no variant.
        """
        low = 0
        if self._try([]):
            yield []
        order = self._order()
        high = len(order)
        if not self.tries[0]["enough"]:
            while high - low > 1 and time.monotonic() < self.until:
                middle = (low + high) // 2
                if self._try(_flat(order[:middle])):
                    high = middle
                else:
                    low = middle
            low = high - 1
        for count in range(low + 1, len(order)):
            if time.monotonic() >= self.until and count > low + 1:
                return
            yield _flat(order[:count])

    def _try(self, kept: list[str]) -> bool:
        good, note = self.enough(kept)
        self.tries.append({"float_layers": len(kept), "enough": good, **note})
        return good

    def _order(self) -> list[list[str]]:
        """Return groups of neighbouring layers, those with the most harm for the time saved first."""
        groups = groups_of(self.graph.layers)
        saved = [sum(self.saving.get(name, 0.0) for name in group) for group in groups]
        least = max(_LEAST_SAVING * sum(abs(x) for x in saved) / len(groups), 1e-6)
        found: list[tuple[float, list[str]]] = []
        for group, milliseconds in zip(groups, saved, strict=True):
            rest = [name for name in self.graph.layers if name not in group]
            late = time.monotonic() >= self.until
            harm = 0.0 if late else self.harm(rest)
            found.append((harm / max(milliseconds, least), group))
        return [group for _, group in sorted(found, key=lambda x: -x[0])]


def groups_of(layers: Sequence[str]) -> list[list[str]]:
    """Return the layers in at most `GROUPS` groups of neighbours of almost the same size."""
    count = min(GROUPS, len(layers))
    edges = [round(i * len(layers) / count) for i in range(count + 1)]
    return [list(layers[a:b]) for a, b in itertools.pairwise(edges)]


def _flat(groups: Sequence[Sequence[str]]) -> list[str]:
    return [name for group in groups for name in group]


def difference(expected: Outputs, actual: Outputs) -> float:
    """Return how far the outputs of one inference differ, 0 is not at all.

    Mean difference of the scores; with masks, also the mean difference of the places that a matched
    detection covers.
    """
    if "detections" not in expected:
        score = float(np.abs(expected["anomaly_score"] - actual["anomaly_score"]).max())
        places = float(np.abs(expected["anomaly_map"] - actual["anomaly_map"]).mean())
        value = score + places
        return value if np.isfinite(value) else float("inf")
    a, b = expected["detections"][0], actual["detections"][0]
    if not np.isfinite(b).all():
        return float("inf")
    # rows of score 0 come last, so the others keep their number
    pairs, alone = matched_pairs(a[a[:, 4] > 0], b[b[:, 4] > 0], LOWEST_SCORE)
    total = sum(score for _, _, score, _ in pairs) + _ALONE * alone
    for i, j, _, _ in pairs if "masks" in expected else ():
        total += _mask_difference(expected["masks"][0, i], actual["masks"][0, j])
    return total / max(len(pairs) + alone, 1) if np.isfinite(total) else float("inf")


def _mask_difference(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    covered = (a >= CUT) | (b >= CUT)
    return float(np.abs(a - b)[covered].mean()) if covered.any() else 0.0
