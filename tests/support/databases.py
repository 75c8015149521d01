"""Which databases and stores are tried, and new ones of them."""

from __future__ import annotations

from importlib.util import find_spec

# The rows of old versions have the drivers alone that the package brings.
DATABASES = ["sqlite", "postgresql", "mysql"] if find_spec("sqlalchemy") else []
SERVERS = DATABASES[1:]
STORES = ["memory", *DATABASES]
# The drivers that await, and the databases that they reach.
_AWAITING = {
    "aiosqlite": "sqlite",
    "psycopg": "postgresql",
    "asyncpg": "postgresql",
    "asyncmy": "mysql",
}
AWAITING = [*_AWAITING] if DATABASES else []


def new_database(kind, tmp_path, request):
    """Give the address of a new, empty database."""
    if kind == "sqlite":
        return f"sqlite:///{tmp_path / 'payments.db'}"
    return request.getfixturevalue({"postgresql": "postgres"}.get(kind, kind)).database()


def new_awaiting_database(driver, tmp_path, request):
    """Give the address of a new, empty database by a driver that awaits."""
    address = new_database(_AWAITING[driver], tmp_path, request)
    scheme, colon, rest = address.partition(":")
    return f"{scheme.partition('+')[0]}+{driver}{colon}{rest}"


def blocking(address):
    """Give the address of the same database by a driver that blocks."""
    scheme, colon, rest = address.partition(":")
    kind = scheme.partition("+")[0]
    driver = {"sqlite": "", "postgresql": "+psycopg", "mysql": "+pymysql"}[kind]
    return f"{kind}{driver}{colon}{rest}"


def end_connections(admin):
    """End each connection to the database of an engine but the engine's own; return how many."""
    from sqlalchemy import text

    with admin.begin() as connection:
        if admin.dialect.name == "postgresql":
            others = "pid <> pg_backend_pid() AND datname = current_database()"
            end = f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {others}"
            return len(connection.execute(text(end)).all())
        others = "id <> connection_id() AND db = database()"
        query = text(f"SELECT id FROM information_schema.processlist WHERE {others}")
        ids = connection.execute(query).scalars().all()
        for number in ids:
            connection.execute(text(f"KILL {number}"))
        while connection.execute(query).first() is not None:
            pass
        return len(ids)
