"""The picture desk: one for each site, made when first asked."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from inspection_serve.web.guard import site_of
from inspection_serve.web.pages import texts_of
from inspection_serve.web.pictures.files import THUMBS_KEPT, Checked, Kept, PictureError
from inspection_serve.web.pictures.heat import HeatMaps

HEATS_KEPT = 2_000
FOREVER = "private, max-age=31536000, immutable"
"""A record's picture never changes."""
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Desk:
    """What the routes share: checked files, small pictures, heat maps."""

    checked: Checked
    thumbs: Kept
    heats: Kept
    heat_maps: HeatMaps


def desk_of(request: Request) -> Desk:
    """Return the site's desk."""
    with _lock:
        found: Desk | None = getattr(request.app.state, "desk", None)
        if found is None:
            site = site_of(request)
            found = Desk(
                Checked(),
                Kept(site.work / "thumbs", THUMBS_KEPT),
                Kept(site.work / "heat", HEATS_KEPT),
                HeatMaps(),
            )
            site.on_close.append(found.heat_maps.close)
            request.app.state.desk = found
    return found


def answer(request: Request, data: bytes, sha256: str, kind: str, **headers: str) -> Response:
    """Return a picture that never changes under its address; 304 when the browser has it."""
    tag = f'"{sha256}"'
    own = {"ETag": tag, "Cache-Control": FOREVER, **headers}
    asked = request.headers.get("if-none-match", "")
    if tag in {one.strip().removeprefix("W/") for one in asked.split(",")}:
        return Response(status_code=304, headers=own)
    return Response(data, headers=own, media_type=kind)


def refuse(request: Request, error: PictureError) -> Response:
    """Return why there is no picture, in the language of who asks."""
    at_plant = error.code == "file_missing" and site_of(request).store.is_plant
    code = "at_station" if at_plant else error.code
    detail = picture_text(texts_of(request), code)
    body = {"type": "about:blank", "status": error.status, "code": code, "detail": detail}
    return JSONResponse(body, error.status, media_type="application/problem+json")


def picture_text(_: Callable[[str], str], code: str) -> str:
    """Return the code of a `PictureError` in the language of the texts."""
    texts = {
        "at_station": _("The picture is at the station; it was not copied to the plant."),
        "no_part": _("There is no part with this record number."),
        "no_picture": _("No picture was taken of this part."),
        "picture_sampled_out": _(
            "Only one of several pictures of OK parts is kept; this one was not."
        ),
        "picture_shed": _("Too many pictures were waiting; this one was not saved."),
        "picture_lost": _("The picture was lost: the line stopped before it was written."),
        "picture_failed": _("The picture could not be written when the part was judged."),
        "picture_disk_full": _("The picture was not saved: the disk was full."),
        "picture_pending": _("The picture is still being written. Try again in a moment."),
        "picture_expiring": _(
            "The picture was deleted: its time to be kept was over, or the disk was full."
        ),
        "picture_expired": _(
            "The picture was deleted: its time to be kept was over, or the disk was full."
        ),
        "file_missing": _("The picture file is missing from its folder. Call the engineer."),
        "altered": _(
            "The picture file was altered since it was saved. It is not shown. Call the engineer."
        ),
        "outside": _(
            "The store names a file outside the picture folder. It is not shown. Call the engineer."
        ),
        "too_large": _("The picture is too large to be shown here."),
        "not_a_picture": _("The file is not a picture that can be shown."),
        "no_heat": _("There is no heat map: the release does not give one, or it is not here."),
        "heat_busy": _("Too many heat maps are being computed. Try again in a moment."),
        "heat_failed": _("The heat map could not be computed."),
        "not_good": _(
            "This part was not proven good. Take another one, or judge it in the review first."
        ),
        "no_recipe": _("This part was judged without a recipe, so the book has no place for it."),
        "no_class": _("A limit sample has a defect class, a golden part has none."),
        "not_written": _("The picture could not be copied into the book. Is the disk full?"),
        "no_entry": _("There is no such entry in the book."),
    }
    return texts.get(code, code)
