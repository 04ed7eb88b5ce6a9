"""Pictures of parts: `/pictures/RECORD/INDEX`, `/pictures/RECORD/thumb`, `/pictures/RECORD/heat`."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from inspection.store.rows import Values
from inspection.store.tables import MAX_RECORD
from inspection.store.web import pictures
from inspection.store.web.people import Person, Role
from inspection.types import Image
from inspection_serve.web.guard import Needs, site_of
from inspection_serve.web.machine import Opens
from inspection_serve.web.pictures.desk import Desk, answer, desk_of, refuse
from inspection_serve.web.pictures.files import (
    PictureError,
    decode,
    find_file,
    media_type,
    small_picture,
)

router = APIRouter(prefix="/pictures", tags=["pictures"])
Viewing = Annotated[Person, Depends(Needs(Role.VIEWER))]
Seeing = Annotated[Person, Depends(Needs(Role.VIEWER, opens=Opens.PICTURES))]
"""A machine, too, whose key may read pictures."""
Record = Annotated[int, Path(ge=1, le=MAX_RECORD, description="id of the part's row")]
_SAME_FILE = "bf16:"
"""Before the hash in a row: the release's own file, computed in bfloat16."""


def _row(request: Request, record: int) -> Values | None:
    with site_of(request).store.read("looking for a picture") as connection:
        return pictures.find(connection, record)


@router.get("/{record}/thumb", response_class=Response)
def thumb(request: Request, _: Seeing, record: Record) -> Response:
    """Give a small JPEG of the first picture: at most 256 pixels on its longer side."""
    site, desk = site_of(request), desk_of(request)
    try:
        file = find_file(_row(request, record), 0)
        media_type(file.path)
        data = desk.checked.read(site.images, file.path, file.sha256)
        small = desk.thumbs.get(file.sha256, lambda: small_picture(data))
    except PictureError as error:
        return refuse(request, error)
    return answer(request, small, f"{file.sha256}-thumb", "image/jpeg")


@router.get("/{record}/heat", response_class=Response)
async def heat(request: Request, _: Viewing, record: Record) -> Response:
    """Give a PNG with alpha: where a part differs from good ones; computed again, see the header."""
    desk = desk_of(request)
    try:
        data = await _heat(request, desk, record)
    except PictureError as error:
        return refuse(request, error)
    tag = hashlib.sha256(data).hexdigest()
    headers = {"X-Heat-Map": "computed again from the stored picture"}
    return answer(request, data, tag, "image/png", **headers)


async def _heat(request: Request, desk: Desk, record: int) -> bytes:
    site = site_of(request)
    row = await run_in_threadpool(_row, request, record)
    file = find_file(row, 0)
    row = row or {}
    part, _slash, number = str(row["release"] or "").rpartition("/")
    model = str(row["model_sha256"] or "").removeprefix(_SAME_FILE)
    if site.releases is None or row["anomaly_score"] is None or not number.isdecimal():
        raise PictureError(404, "no_heat")
    data = await run_in_threadpool(desk.checked.read, site.images, file.path, file.sha256)
    key = f"{file.sha256}-{model}"
    kept = await run_in_threadpool(desk.heats.find, key)
    if kept is not None:
        return kept
    image: Image = await run_in_threadpool(decode, data)
    future = desk.heat_maps.ask(site.releases, part, int(number), model, image)
    made = await asyncio.wrap_future(future)
    await run_in_threadpool(desk.heats.get, key, lambda: made)
    return made


@router.get("/{record}/{index}", response_class=Response)
def picture(
    request: Request,
    _: Seeing,
    record: Record,
    index: Annotated[int, Path(ge=0, le=99, description="0 is the first picture")],
) -> Response:
    """Give the stored file as it is, once it was found to be the one that was saved."""
    site, desk = site_of(request), desk_of(request)
    try:
        file = find_file(_row(request, record), index)
        kind = media_type(file.path)
        data = desk.checked.read(site.images, file.path, file.sha256)
    except PictureError as error:
        return refuse(request, error)
    return answer(request, data, file.sha256, kind)
