"""The card of the release that judged a part, by hash: limits, classes and tiles come from it."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("parts", sa.Column("card_sha256", sa.Text))
