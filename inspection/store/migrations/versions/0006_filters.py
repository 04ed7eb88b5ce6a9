"""Indexes of what the quality page can be filtered by: its lists no longer read every counted day."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("days_station", "days", ["station"])
    op.create_index("days_recipe", "days", ["recipe_number"])
    op.create_index("days_release", "days", ["release"])
