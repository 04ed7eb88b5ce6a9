"""Whether the service may serve; every way in looks at it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Health:
    """Whether the service may serve.

    Attributes:
        loaded: the releases in force were loaded, or refused.
        fault: why it must not serve on; empty while all is well.
    """

    loaded: bool = False
    fault: str = ""

    @property
    def ready(self) -> bool:
        """True when requests are welcome."""
        return self.loaded and not self.fault
