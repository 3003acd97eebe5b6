"""What Alembic runs: the steps that are missing, in the transaction of the connection that it is given."""

from __future__ import annotations

from alembic import context

from gateway.storage.revision import REVISION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=REVISION_TABLE)
context.run_migrations()
