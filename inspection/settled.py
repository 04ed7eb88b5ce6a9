"""What is in memory for good is taken out of the interpreter's searches for garbage.

Such a search stops every thread. Through all that a line or a service has imported and loaded it takes some
40 ms, at any moment, a part's included; through what came since, nothing to speak of.
"""

from __future__ import annotations

import gc


def settle(*, search: bool = True) -> None:
    """Keep what is there, after something was loaded.

    Args:
        search: look for garbage first, for the last time. Only while nobody waits.
    """
    if search:
        gc.unfreeze()  # what was kept before may be garbage by now, such as a release that was replaced
        gc.collect()
    gc.freeze()
