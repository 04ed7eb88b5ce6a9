"""The results of the naive line: one SQLAlchemy model, with SQLAlchemy's and SQLite's defaults."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import JSON, DateTime, Engine, String, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Result(Base):
    __tablename__ = "results"

    id: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(DateTime, default=lambda: datetime.now(UTC))
    part_id: Mapped[int]
    serial: Mapped[str] = mapped_column(String(32), default="")
    decision: Mapped[str] = mapped_column(String(16), index=True)
    boxes: Mapped[list[list[float]]] = mapped_column(JSON)
    image: Mapped[str] = mapped_column(String(255))


def open_results(path: Path) -> Engine:
    """Return the engine of a new or an old file."""
    engine = create_engine(f"sqlite:///{path}")
    Base.metadata.create_all(engine)
    return engine
