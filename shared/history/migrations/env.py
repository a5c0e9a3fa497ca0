"""What Alembic runs: on the connection that `shared.history.migrate` hands over."""

from __future__ import annotations

from alembic import context

from shared.history.migrate import VERSION_TABLE
from shared.history.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
