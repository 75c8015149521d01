"""Which databases and stores are tried, and new ones of them."""

from __future__ import annotations

from importlib.util import find_spec

DATABASES = ["sqlite", "postgresql"] if find_spec("sqlalchemy") else []
STORES = ["memory", *DATABASES]
# Those of them that can be reached by a driver that awaits.
AWAITING = ["aiosqlite", "psycopg", "asyncpg"] if DATABASES else []


def new_database(kind, tmp_path, request):
    """Give the address of a new, empty database."""
    if kind == "sqlite":
        return f"sqlite:///{tmp_path / 'payments.db'}"
    return request.getfixturevalue("postgres").database()


def new_awaiting_database(driver, tmp_path, request):
    """Give the address of a new, empty database by a driver that awaits."""
    if driver == "aiosqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'payments.db'}"
    return request.getfixturevalue("postgres").database().replace("+psycopg", f"+{driver}")
