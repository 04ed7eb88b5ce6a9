"""Memory that stays is not searched for garbage again; what became garbage since is found the next time."""

from __future__ import annotations

import gc
import weakref

from inspection.settled import settle


class Ring:
    def __init__(self) -> None:
        self.itself = self


def test_what_is_there_is_kept_out_of_the_searches_and_found_when_it_is_garbage() -> None:
    ring = Ring()
    seen = weakref.ref(ring)
    try:
        settle()
        assert gc.get_freeze_count() > 1000
        del ring
        gc.collect()
        assert seen() is not None, "a search does not look at it"
        settle()
        assert seen() is None
    finally:
        gc.unfreeze()
