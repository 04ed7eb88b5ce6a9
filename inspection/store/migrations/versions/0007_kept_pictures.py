"""One of how many pictures of passed parts an epoch keeps: the sample for review is drawn from those."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("epochs", sa.Column("ok_every", sa.Integer))
