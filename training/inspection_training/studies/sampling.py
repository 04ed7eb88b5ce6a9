"""Acceptance sampling by attributes: what a single plan of ISO 2859-1 accepts and what it lets through."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SamplingPlan:
    """A single plan: of `size` parts, up to `accept` defective ones are accepted."""

    size: int
    accept: int

    def __post_init__(self) -> None:
        if self.size < 1 or not 0 <= self.accept < self.size:
            raise ValueError(f"plan {self.size}/{self.accept}: use size >= 1, 0 <= accept < size")

    def acceptance(self, rate: float) -> float:
        """Return the chance that a lot with this share of defective parts is accepted (OC curve)."""
        from scipy.stats import binom

        if not 0 <= rate <= 1:
            raise ValueError(f"rate is {rate}; it must lie in 0..1")
        return float(binom.cdf(self.accept, self.size, rate))

    def quality_at_risk(self, risk: float = 0.1) -> float:
        """Return the share of defective parts that is still accepted with this chance.

        At 10 % this is the consumer's risk quality of ISO 2859-1.
        """
        from scipy.stats import beta

        if not 0 < risk < 1:
            raise ValueError(f"risk is {risk}; it must lie between 0 and 1")
        return float(beta.isf(risk, self.accept + 1, self.size - self.accept))
