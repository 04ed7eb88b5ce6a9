"""The book: golden parts and limit samples, each a copy of a part's picture. Rows are never deleted.

golden     how a good part looks, for one recipe number
limit_ok   just good enough of a defect class      limit_ng   just too bad
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from inspection.errors import InspectionError
from inspection.store.rows import Values, utc_now
from inspection.store.tables import verdicts
from inspection.store.web import audit, settings
from inspection.store.web.tables import book
from inspection.types import Decision, Verdict

GOLDEN, LIMIT_OK, LIMIT_NG = "golden", "limit_ok", "limit_ng"
KINDS = (GOLDEN, LIMIT_OK, LIMIT_NG)
NAMES = "classes.names"
"""Setting: defect class to its names, `{class: {"ko": …, "en": …}}`."""
MOST = 2000
"""Entries of a part that a page shows."""


class BookError(InspectionError):
    """An entry is refused.

    Attributes:
        code: `not_good` (a golden part that was not proven good), `no_recipe`, `no_class`.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def part_names(connection: sa.Connection) -> list[str]:
    """Return the parts that have entries, by name."""
    query = sa.select(book.c.part_name).distinct().order_by(book.c.part_name)
    return [str(name) for name in connection.execute(query).scalars()]


def entries(
    connection: sa.Connection,
    part_name: str,
    *,
    recipe_number: int | None = None,
    inactive: bool = False,
) -> list[Values]:
    """Return entries of a part, newest first.

    Args:
        connection: from `WebStore.read`.
        part_name: as in recipes.
        recipe_number: golden parts of this recipe only; limit samples are of all recipes.
        inactive: also those that were taken out.
    """
    query = sa.select(book).where(book.c.part_name == part_name)
    if not inactive:
        query = query.where(book.c.active.is_(True))
    if recipe_number is not None:
        query = query.where(sa.or_(book.c.kind != GOLDEN, book.c.recipe_number == recipe_number))
    query = query.order_by(book.c.id.desc()).limit(MOST)
    return [dict(row) for row in connection.execute(query).mappings()]


def find(connection: sa.Connection, entry: int) -> Values | None:
    """Return an entry, also one taken out; None when there is none."""
    row = connection.execute(sa.select(book).where(book.c.id == entry)).mappings().first()
    return None if row is None else dict(row)


def golden(connection: sa.Connection, part_name: str, recipe_number: int) -> Values | None:
    """Return the newest golden part of a recipe; None without one."""
    query = (
        sa.select(book)
        .where(
            book.c.part_name == part_name,
            book.c.kind == GOLDEN,
            book.c.recipe_number == recipe_number,
            book.c.active.is_(True),
        )
        .order_by(book.c.id.desc())
        .limit(1)
    )
    row = connection.execute(query).mappings().first()
    return None if row is None else dict(row)


def check(connection: sa.Connection, part: Mapping[str, Any], kind: str, defect_class: str) -> None:
    """Refuse what would teach people something wrong.

    Args:
        connection: of the same transaction as `add`, or of a look before it.
        part: row as `pictures.find` gives it.
        kind: one of `KINDS`.
        defect_class: of a limit sample; empty for a golden part.

    Raises:
        BookError: the part has no recipe; a golden part was not proven good; a class is missing or too many.
    """
    if not part["part_name"] or part["recipe_number"] is None:
        raise BookError("no_recipe", f"record {part['id']} was judged without a recipe")
    if (kind == GOLDEN) != (not defect_class):
        raise BookError("no_class", "a limit sample has a defect class, a golden part has none")
    if kind != GOLDEN:
        return
    query = (
        sa.select(verdicts.c.verdict)
        .where(verdicts.c.record == part["id"])
        .order_by(verdicts.c.version.desc())
        .limit(1)
    )
    said = connection.execute(query).scalar()
    said = None if said == Verdict.NOT_REVIEWED.value else said
    passed = part["decision"] == Decision.PASS.value and said is None
    if not (passed or said == Verdict.FALSE_CALL.value):
        raise BookError(
            "not_good",
            f"record {part['id']} is no proven good part: decision {part['decision']}, last verdict "
            f"{said or 'none'}; take another part, or judge it first",
        )


def add(
    connection: sa.Connection,
    part: Mapping[str, Any],
    kind: str,
    *,
    defect_class: str,
    path: str,
    sha256: str,
    note: str,
    who: str,
) -> int:
    """Add an entry and return its id; an equal one that is in the book already is returned instead.

    Args:
        connection: from `WebStore.write`.
        part: row as `pictures.find` gives it.
        kind: one of `KINDS`.
        defect_class: of a limit sample; empty for a golden part.
        path: of the copy, inside the book's folder.
        sha256: of the copy.
        note: what to look at; may be empty.
        who: login name.

    Raises:
        BookError: see `check`.
    """
    check(connection, part, kind, defect_class)
    same = sa.select(book.c.id).where(
        book.c.part_name == part["part_name"],
        book.c.kind == kind,
        book.c.recipe_number == part["recipe_number"],
        book.c.defect_class == defect_class,
        book.c.sha256 == sha256,
        book.c.active.is_(True),
    )
    found = connection.execute(same).scalar()
    if found is not None:
        return int(found)
    values = {
        "part_name": part["part_name"],
        "recipe_number": part["recipe_number"],
        "kind": kind,
        "defect_class": defect_class,
        "path": path,
        "sha256": sha256,
        "note": note,
        "record": part["id"],
        "who": who,
        "at": utc_now(),
        "active": True,
    }
    entry = int(connection.execute(sa.insert(book).returning(book.c.id), values).scalar_one())
    audit.append(
        connection,
        who,
        "book.added",
        f"book:{entry}",
        kind=kind,
        part=part["part_name"],
        defect_class=defect_class,
        record=part["id"],
        sha256=sha256,
    )
    return entry


def take_out(connection: sa.Connection, entry: int, who: str) -> bool:
    """Show an entry no longer; the row and its picture stay. Tell whether it was in the book."""
    query = sa.update(book).where(book.c.id == entry, book.c.active.is_(True)).values(active=False)
    if not connection.execute(query).rowcount:
        return False
    audit.append(connection, who, "book.taken_out", f"book:{entry}")
    return True


def class_names(connection: sa.Connection) -> dict[str, dict[str, str]]:
    """Return the names of defect classes: class to `{"ko": …, "en": …}`."""
    found = settings.read(connection, NAMES, {})
    return found if isinstance(found, dict) else {}


def name_class(connection: sa.Connection, defect_class: str, ko: str, en: str, who: str) -> None:
    """Set the names of one class; both empty: none any more. Audited."""
    names = class_names(connection)
    names.pop(defect_class, None)
    if ko or en:
        names[defect_class] = {"ko": ko, "en": en}
    settings.change(connection, NAMES, names, who)
