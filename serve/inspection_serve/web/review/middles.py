"""Where a score says least: the middle between T1 and T2, of every class of the recipes in force."""

from __future__ import annotations

import logging

from inspection.errors import InspectionError
from inspection.release import LimitsCard, read_card
from inspection_serve.web.models.recipes import recipes
from inspection_serve.web.site import Site

_log = logging.getLogger(__name__)


def middles(site: Site) -> dict[tuple[int, str], float]:
    """Return (recipe number, class) to the middle between its T1 and T2, 0..1, as the files say now.

    A recipe whose file or release cannot be read is left out, and told in the log.
    """
    found: dict[tuple[int, str], float] = {}
    for file in recipes(site.recipes):
        if file.config is None:
            _log.warning("order of the queue: %s: %s", file.path, file.problem)
            continue
        limits: dict[str, LimitsCard] = {}
        if site.releases is not None:
            folder = site.releases / file.config.part / str(file.config.release)
            try:
                limits |= read_card(folder).limits
            except (InspectionError, OSError) as error:
                _log.warning("order of the queue: %s: %s", folder, error)
        for name, limit in {**limits, **file.config.limits}.items():
            found[file.config.number, name] = (limit.t1 + limit.t2) / 2
    return found
