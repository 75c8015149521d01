"""Make and drop the tables of `DjangoStore`, as steps of Django's migrations."""

from __future__ import annotations

from typing import Any

from aplus_adapters.stores.lent import open_lent_engine
from aplus_adapters.stores.migrations import is_current, migrate
from aplus_adapters.stores.schema import TABLES

__all__ = ["drop_tables", "make_tables"]


def make_tables(_apps: Any, schema_editor: Any) -> None:
    """Make the tables and note their version, or migrate those of an older version.

    Raises StoreError if something is in the way.
    """
    with _connection(schema_editor) as connection:
        if not is_current(connection, TABLES):
            migrate(connection, TABLES, create=True)


def drop_tables(_apps: Any, schema_editor: Any) -> None:
    """Drop the tables, with every payment in them."""
    with _connection(schema_editor) as connection:
        TABLES.metadata.drop_all(connection)


def _connection(schema_editor: Any) -> Any:
    """Return SQLAlchemy's view of the connection that Django migrates by."""
    wrapper = schema_editor.connection
    wrapper.ensure_connection()
    return open_lent_engine(wrapper.connection, lambda: wrapper.connection).connect()
