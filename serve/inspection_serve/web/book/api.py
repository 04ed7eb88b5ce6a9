"""The book as JSON: `/api/v1/book`."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from inspection.store.rows import Values
from inspection.store.tables import MAX_RECORD
from inspection.store.web import book, pictures
from inspection.store.web.people import Person, Role
from inspection_serve.web.book.copies import copy_picture
from inspection_serve.web.guard import Needs, site_of
from inspection_serve.web.pages import language_of
from inspection_serve.web.pictures.desk import desk_of, refuse
from inspection_serve.web.pictures.files import PictureError, find_file, media_type

router = APIRouter(prefix="/api/v1/book", tags=["book"])
Viewing = Annotated[Person, Depends(Needs(Role.VIEWER))]
Engineer = Annotated[Person, Depends(Needs(Role.ENGINEER))]
EntryId = Annotated[int, Path(ge=1, le=2**53 - 1, description="id of the entry")]
Kind = Literal["golden", "limit_ok", "limit_ng"]
PLAIN = r"^[^\x00-\x1f\x7f]*$"
LINES = r"^[^\x00-\x09\x0b-\x1f\x7f]*$"


class Entry(BaseModel):
    """A golden part or a limit sample."""

    id: int
    kind: Kind = Field(description="golden, or a limit sample that is just OK or just NG")
    part: str = Field(description="name of the part, as in recipes")
    recipe: int | None = Field(description="recipe number it was judged with")
    defect_class: str = Field(description="class of a limit sample; empty for a golden part")
    class_name: str = Field(description="the class in the language of who asks")
    note: str = Field(description="what to look at")
    record: int | None = Field(description="record of the part that the picture shows")
    who: str = Field(description="login name of who added it")
    at: str = Field(description="when, UTC")
    active: bool = Field(description="false: taken out")
    picture: str = Field(description="address of the picture")
    thumb: str = Field(description="address of a small picture")


class Book(BaseModel):
    """The book of one part."""

    part: str
    golden: Entry | None = Field(
        description="newest golden part of the recipe asked for, else of any recipe"
    )
    entries: list[Entry] = Field(description="newest first")
    names: dict[str, dict[str, str]] = Field(description="defect class to its names, ko and en")


class NewEntry(BaseModel):
    """A part that goes into the book."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    record: int = Field(ge=1, le=MAX_RECORD, description="record of the part")
    kind: Kind = Field(description="golden, or a limit sample that is just OK or just NG")
    defect_class: str = Field(
        "", max_length=64, pattern=PLAIN, description="of a limit sample; empty for a golden part"
    )
    note: str = Field("", max_length=500, pattern=LINES, description="what to look at")


class ClassNames(BaseModel):
    """Names of a defect class; both empty takes them away."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    defect_class: str = Field(
        min_length=1, max_length=64, pattern=PLAIN, description="as in releases"
    )
    ko: str = Field("", max_length=64, pattern=PLAIN, description="Korean name")
    en: str = Field("", max_length=64, pattern=PLAIN, description="English name")


def class_name(names: dict[str, dict[str, str]], code: str, language: str) -> str:
    """Return a class in a language; the code itself when nobody named it."""
    return names.get(code, {}).get(language) or code


def entry_of(row: Values, names: dict[str, dict[str, str]], language: str) -> Entry:
    """Return a row of the book as the API gives it."""
    return Entry(
        id=row["id"],
        kind=row["kind"],
        part=row["part_name"],
        recipe=row["recipe_number"],
        defect_class=row["defect_class"],
        class_name=class_name(names, row["defect_class"], language),
        note=row["note"],
        record=row["record"],
        who=row["who"],
        at=row["at"],
        active=row["active"],
        picture=f"/book/{row['id']}/picture",
        thumb=f"/book/{row['id']}/thumb",
    )


def read_book(request: Request, part: str, recipe: int | None, *, inactive: bool = False) -> Book:
    """Return the book of a part in the language of who asks."""
    language = language_of(request).code
    with site_of(request).store.read("reading the book") as connection:
        rows = book.entries(connection, part, recipe_number=recipe, inactive=inactive)
        names = book.class_names(connection)
    found = [entry_of(row, names, language) for row in rows]
    golden = next((e for e in found if e.kind == book.GOLDEN and e.active), None)
    return Book(part=part, golden=golden, entries=found, names=names)


@router.get("")
def show_book(
    request: Request,
    _: Viewing,
    part: Annotated[str, Query(max_length=64, pattern=PLAIN, description="name of the part")],
    recipe: Annotated[
        int | None, Query(ge=0, le=65535, description="golden parts of this recipe only")
    ] = None,
    inactive: Annotated[bool, Query(description="also what was taken out")] = False,
) -> Book:
    """Give the golden parts and limit samples of a part."""
    return read_book(request, part, recipe, inactive=inactive)


@router.post("", status_code=201, response_model=Entry)
def add_entry(request: Request, person: Engineer, body: NewEntry) -> Response | Entry:
    """Copy a part's picture into the book, so that it is kept for good.

    409: the picture was altered, or the part was not proven good (`not_good`), or class and kind do not fit.
    404: there is no such part or picture; the code says why.
    """
    site, desk = site_of(request), desk_of(request)
    try:
        with site.store.read("looking for a picture") as connection:
            row = pictures.find(connection, body.record)
            file = find_file(row, 0)
            if row is None:
                raise PictureError(404, "no_part")
            book.check(connection, row, body.kind, body.defect_class)
        media_type(file.path)
        data = desk.checked.read(site.images, file.path, file.sha256)
        path = copy_picture(site.work, file, data)
        with site.store.write("adding to the book") as connection:
            entry = book.add(
                connection,
                row,
                body.kind,
                defect_class=body.defect_class,
                path=path,
                sha256=file.sha256,
                note=body.note,
                who=person.name,
            )
    except PictureError as error:
        return refuse(request, error)
    except book.BookError as error:
        return refuse(request, PictureError(409, error.code))
    with site.store.read("reading the book") as connection:
        added, names = book.find(connection, entry), book.class_names(connection)
    return entry_of(added or {}, names, language_of(request).code)


@router.post("/{entry}/deactivate", response_model=Entry)
def take_out(request: Request, person: Engineer, entry: EntryId) -> Response | Entry:
    """Take an entry out: it is shown no longer, its row and picture stay. Again changes nothing."""
    site = site_of(request)
    with site.store.write("taking out of the book") as connection:
        book.take_out(connection, entry, person.name)
        row, names = book.find(connection, entry), book.class_names(connection)
    if row is None:
        return refuse(request, PictureError(404, "no_entry"))
    return entry_of(row, names, language_of(request).code)


@router.post("/classes")
def name_class(request: Request, person: Engineer, body: ClassNames) -> dict[str, dict[str, str]]:
    """Name a defect class in Korean and English; gives all names."""
    with site_of(request).store.write("naming a class") as connection:
        book.name_class(connection, body.defect_class, body.ko, body.en, person.name)
        return book.class_names(connection)
