"""Runs the migrations on the connection that `inspection.store.database` hands over.

The caller holds the transaction and the lock, so a migration happens whole or not at all.
"""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
