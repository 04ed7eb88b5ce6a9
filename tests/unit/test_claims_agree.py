"""The claim that a dataset check announces is the one that the limits can make in the end."""

from __future__ import annotations

import pytest

from inspection_datasets import claims
from inspection_training import statistics


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
@pytest.mark.parametrize("parts", [0, 1, 37, 59, 299, 598])
def test_check_and_limits_tell_the_same(parts: int, confidence: float) -> None:
    promised = claims.best_bound(parts, confidence)
    assert promised == pytest.approx(statistics.best_claim(parts, 1 - confidence), abs=1e-12)


@pytest.mark.parametrize("rate", [0.1, 0.05, 0.02, 0.01, 0.005, 0.001])
def test_both_want_as_many_parts(rate: float) -> None:
    assert claims.parts_needed(rate, 0.95) == statistics.parts_needed(rate, 0.05, 0)
