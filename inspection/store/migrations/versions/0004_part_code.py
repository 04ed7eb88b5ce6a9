"""The part's own code: what names the part, read from its picture or by a scanner."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("parts", sa.Column("code", sa.Text))
    given = sa.text("code IS NOT NULL")
    op.create_index(
        "parts_code",
        "parts",
        ["code", "triggered_at", "id"],
        sqlite_where=given,
        postgresql_where=given,
    )
