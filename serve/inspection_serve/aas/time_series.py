"""Time Series Data, IDTA 02008-1-1-1: counts of decisions by hour and day, and where the parts are.

Parts are never inlined: a linked segment says how to ask the station's API for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import urlencode

from basyx.aas import model

from inspection.store.web.series import DECISIONS, Series, Span
from inspection_serve.aas.addresses import rest
from inspection_serve.aas.elements import Element, group, submodel, text, value
from inspection_serve.aas.gathered import Gathered
from inspection_serve.aas.identifiers import submodel_of

SEMANTIC = "https://admin-shell.io/idta/TimeSeries/1/1"
NAME = "TimeSeries"
_BASE = "https://admin-shell.io/idta/TimeSeries"
_LONG = model.datatypes.Long


def time_series(gathered: Gathered, series: Series) -> model.Submodel:
    """Return the submodel of the station."""
    about = (
        "Parts by decision. Time is in seconds from the segment's StartTime. Days begin at midnight of the "
        f"station's zone. {series.undecided} parts of this time have no decision yet"
    )
    metadata = group(
        "Metadata",
        f"{_BASE}/Metadata/1/1",
        [
            text("Name", "Decisions of the station", f"{_BASE}/Metadata/Name/1/1"),
            text("Description", about, f"{_BASE}/Metadata/Description/1/1"),
            _record("Record", None, dict.fromkeys(DECISIONS)),
        ],
    )
    segments = [
        _internal("InternalSegmentHours", "By hour", series.hours, gathered.at, 3600),
        _internal("InternalSegmentDays", "By day", series.days, gathered.at, None),
    ]
    if gathered.station.web is not None:
        segments.append(_linked(gathered, series))
    found = [metadata, group("Segments", f"{_BASE}/Segments/1/1", segments)]
    asset = gathered.nameplate.uri_of_the_product
    return submodel(submodel_of(asset, NAME), NAME, SEMANTIC, found)


def _record(name: str, seconds: int | None, counts: dict[str, int | None]) -> Element:
    at = None if seconds is None else _LONG(seconds)
    time = value("Time", at, f"{_BASE}/RelativePointInTime/1/1", _LONG)
    numbers = [
        value(decision, None if n is None else _LONG(n), "", _LONG)
        for decision, n in counts.items()
    ]
    return group(name, f"{_BASE}/Record/1/1", [time, *numbers])


def _internal(
    name: str, shown: str, spans: Sequence[Span], now: datetime, interval: int | None
) -> Element:
    start = spans[0].start
    records = [
        _record(f"Record{number:03d}", int((span.start - start).total_seconds()), {**span.counts})
        for number, span in enumerate(spans, start=1)
    ]
    base = f"{_BASE}/Segment"
    found = [
        *_common(shown, start, spans[-1].start, now),
        value("RecordCount", _LONG(len(records)), f"{base}/RecordCount/1/1", _LONG),
        group("Records", f"{_BASE}/Records/1/1", records),
    ]
    if interval is not None:
        semantic = f"{base}/SamplingInterval/1/1"
        found.append(value("SamplingInterval", _LONG(interval), semantic, _LONG))
    return group(name, f"{_BASE}/Segments/InternalSegment/1/1", found)


def _linked(gathered: Gathered, series: Series) -> Element:
    assert gathered.station.web is not None
    start = series.days[0].start
    query = {
        "station": gathered.station.station,
        "since": start.isoformat(timespec="minutes"),
    }
    return group(
        "LinkedSegmentParts",
        f"{_BASE}/Segments/LinkedSegment/1/1",
        [
            *_common("Every part", start, gathered.at, gathered.at),
            value(
                "Endpoint",
                f"{rest(gathered.station.web)}/api/v1/results",
                f"{_BASE}/Endpoint/1/1",
            ),
            value("Query", urlencode(query), f"{_BASE}/Query/1/1"),
        ],
    )


def _common(shown: str, start: datetime, end: datetime, now: datetime) -> list[Element]:
    base = f"{_BASE}/Segment"
    return [
        text("Name", shown, f"{base}/Name/1/1"),
        value("StartTime", start.isoformat(timespec="seconds"), f"{base}/StartTime/1/1"),
        value("EndTime", end.isoformat(timespec="seconds"), f"{base}/EndTime/1/1"),
        value("State", "in progress", f"{base}/State/1/1"),
        value("LastUpdate", now.isoformat(timespec="seconds"), f"{base}/LastUpdate/1/1"),
    ]
