"""Keys of machines: what a program that nobody signs in for may read of the pages."""

import sqlalchemy as sa
from alembic import op

from inspection.store.tables import record_type

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "machine_keys",
        sa.Column("id", record_type(), sa.Identity(always=False), primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("token_sha256", sa.Text, nullable=False, unique=True),
        sa.Column("pictures", sa.Boolean, nullable=False),
        sa.Column("made_by", sa.Text, nullable=False),
        sa.Column("made_at", sa.Text, nullable=False),
        sa.Column("ends_at", sa.Text),
        sa.Column("used_at", sa.Text),
        sa.Column("revoked_by", sa.Text),
        sa.Column("revoked_at", sa.Text),
        sqlite_autoincrement=True,
    )
