"""Runs the plant's own migrations, after those of a station, in the caller's transaction."""

from alembic import context

from inspection.store.plant.tables import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    transactional_ddl=True,
    version_table=VERSION_TABLE,
)
with context.begin_transaction():
    context.run_migrations()
