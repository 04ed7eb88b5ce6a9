"""Pages of the book: `/book`, `/book/ENTRY`, `/book/add`, and the pictures of its entries."""

from __future__ import annotations

import contextlib
import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import Response

from inspection.errors import ReleaseError
from inspection.release import PART_NAME, read_card
from inspection.store.rows import Values
from inspection.store.tables import MAX_RECORD
from inspection.store.web import book, pictures
from inspection.store.web.people import Person, Role
from inspection_serve.web.book.api import PLAIN, Engineer, EntryId, class_name, entry_of, read_book
from inspection_serve.web.book.copies import FOLDER
from inspection_serve.web.guard import Needs, site_of
from inspection_serve.web.pages import language_of, page
from inspection_serve.web.pictures.desk import answer, desk_of, refuse
from inspection_serve.web.pictures.files import PictureError, media_type, small_picture
from inspection_serve.web.site import Site

router = APIRouter(prefix="/book", include_in_schema=False)
Viewing = Annotated[Person, Depends(Needs(Role.VIEWER))]


@router.get("")
def index(
    request: Request,
    person: Viewing,
    part: Annotated[str, Query(max_length=64, pattern=PLAIN)] = "",
    recipe: Annotated[str, Query(max_length=5, pattern=r"^\d*$")] = "",
    record: Annotated[str, Query(max_length=10, pattern=r"^\d*$")] = "",
) -> Response:
    """Show the book of a part."""
    with site_of(request).store.read("reading the book") as connection:
        parts = book.part_names(connection)
        if record and not part:
            row = pictures.find(connection, int(record)) or {}
            part = row.get("part_name") or ""
            recipe = recipe or str(row.get("recipe_number") or "")
    part = part or (parts[0] if parts else "")
    found = read_book(request, part, int(recipe) if recipe else None)
    language = language_of(request).code
    classes: dict[str, dict[str, list[Any]]] = {}
    for entry in found.entries:
        if entry.kind != book.GOLDEN:
            both = classes.setdefault(entry.defect_class, {book.LIMIT_OK: [], book.LIMIT_NG: []})
            both[entry.kind].append(entry)
    return page(
        request,
        "book/index.html",
        parts=sorted({*parts, *([part] if part else [])}),
        part=part,
        recipe=recipe,
        golden=[e for e in found.entries if e.kind == book.GOLDEN],
        classes=dict(sorted(classes.items())),
        named=sorted({*found.names, *classes}),
        names=found.names,
        class_name=lambda code: class_name(found.names, code, language),
        may=person.role.covers(Role.ENGINEER),
    )


@router.get("/add")
def add(
    request: Request,
    _: Engineer,
    record: Annotated[int, Query(ge=1, le=MAX_RECORD)],
) -> Response:
    """Show the form that puts a part's picture into the book."""
    site = site_of(request)
    with site.store.read("looking for a picture") as connection:
        row = pictures.find(connection, record)
        names = book.class_names(connection)
    if row is None:
        raise HTTPException(404)
    language = language_of(request).code
    codes = sorted(known_classes(site, row) | set(names))
    return page(
        request,
        "book/add.html",
        part=row,
        has_picture=row["image_state"] == "saved" and bool(row["images"]),
        classes=[(code, class_name(names, code, language)) for code in codes],
    )


def known_classes(site: Site, row: Values) -> set[str]:
    """Return the defect classes that a part's row and its release name."""
    found = {
        str(one["class"])
        for one in row["detections"] or []
        if isinstance(one, dict) and "class" in one
    }
    if row["defect_class"]:
        found.add(str(row["defect_class"]))
    name, _slash, number = str(row["release"] or "").rpartition("/")
    if site.releases is not None and re.fullmatch(PART_NAME, name) and number.isdecimal():
        with contextlib.suppress(ReleaseError):  # it is not here: what the row names will do
            found |= set(read_card(site.releases / name / number).classes)
    return found


@router.get("/{entry}")
def show(request: Request, person: Viewing, entry: EntryId) -> Response:
    """Show one entry, large."""
    row, names = _find(request, entry)
    if row is None:
        raise HTTPException(404)
    shown = entry_of(row, names, language_of(request).code)
    return page(request, "book/entry.html", entry=shown, may=person.role.covers(Role.ENGINEER))


@router.get("/{entry}/picture")
def picture(request: Request, _: Viewing, entry: EntryId) -> Response:
    """Give the picture of an entry, once it was found to be the one that was copied."""
    return _picture(request, entry, small=False)


@router.get("/{entry}/thumb")
def thumb(request: Request, _: Viewing, entry: EntryId) -> Response:
    """Give a small picture of an entry."""
    return _picture(request, entry, small=True)


def _find(request: Request, entry: int) -> tuple[Values | None, dict[str, dict[str, str]]]:
    with site_of(request).store.read("reading the book") as connection:
        return book.find(connection, entry), book.class_names(connection)


def _picture(request: Request, entry: int, *, small: bool) -> Response:
    site, desk = site_of(request), desk_of(request)
    row, _names = _find(request, entry)
    try:
        if row is None:
            raise PictureError(404, "no_entry")
        kind, sha256 = media_type(row["path"]), str(row["sha256"])
        data = desk.checked.read(site.work / FOLDER, row["path"], sha256)
        if small:
            data = desk.thumbs.get(sha256, lambda: small_picture(data))
            kind, sha256 = "image/jpeg", f"{sha256}-thumb"
    except PictureError as error:
        return refuse(request, error)
    return answer(request, data, sha256, kind)
