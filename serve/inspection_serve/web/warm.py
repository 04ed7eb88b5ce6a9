"""Warm: what the first page of the day would wait for is done soon after the start, beside everything else.

That is reading the templates, and finding out how to ask the store for the quality page: some tenths of a
second of work, in small pieces, once.
"""

from __future__ import annotations

import logging
import threading

from inspection.errors import InspectionError
from inspection.settled import settle
from inspection.store.web import counts, settings
from inspection_serve.web.pages import environment
from inspection_serve.web.quality.asked import Asked
from inspection_serve.web.quality.period import DEFAULT_SHIFTS, SHIFTS, read_shifts
from inspection_serve.web.quality.summary import summarise
from inspection_serve.web.site import Site

AFTER = 2.0
"""Seconds after the start: who starts the line waits for other things."""
PAUSE = 0.02
"""Seconds between two pieces."""
_log = logging.getLogger(__name__)


class Warm:
    """Does it in a thread that ends by itself."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="warm", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Leave the rest; may be called twice, and without `start`."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def _run(self) -> None:
        if self._stop.wait(AFTER):
            return
        for name in environment().list_templates(extensions=["html"]):
            environment().get_template(name)
            if self._stop.wait(PAUSE):
                return
        try:
            self._ask()
        except InspectionError as error:
            _log.warning("the quality page was not tried: %s", error)  # who opens it is told again
        settle()

    def _ask(self) -> None:
        store = self._site.store
        with store.read("reading the shifts") as connection:
            shifts = read_shifts(settings.read(connection, SHIFTS, DEFAULT_SHIFTS))
            counts.choices(connection)
        asked = Asked.model_validate({"span": "day", "per": "shift"})
        period = asked.period(shifts)
        summarise(store, period, asked.wanted(period), asked.measure, asked.kind)
