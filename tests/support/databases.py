"""Which databases and stores are tried, and new ones of them."""

from __future__ import annotations

import contextlib
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
    return _by_driver(new_database(_AWAITING[driver], tmp_path, request), driver)


_READY = {}  # (kind, make): what empties a database in which an earlier test has found no fault


@contextlib.contextmanager
def ready_database(kind, tmp_path, request, make=None):
    """Yield the address of a database with our tables and no rows.

    An earlier test may have used it: to make tables takes servers longer than most tests. `make`
    makes the tables in the database of an address, by default as `SQLStore` does.
    """
    make = make or _make_tables
    if kind == "sqlite":
        address = new_database(kind, tmp_path, request)
        make(address)
        yield address
        return
    if (emptier := _READY.pop((kind, make), None)) is None:
        address = new_database(kind, tmp_path, request)
        make(address)
        emptier = _Emptier(address)
    yield emptier.address
    if emptier.empty():
        _READY[kind, make] = emptier


@contextlib.contextmanager
def ready_awaiting_database(driver, tmp_path, request):
    """Yield what `ready_database` does, by a driver that awaits."""
    with ready_database(_AWAITING[driver], tmp_path, request) as address:
        yield _by_driver(address, driver)


def _make_tables(address):
    from aplus_adapters import SQLStore

    store = SQLStore(address)
    store.get("none")
    store.close()


class _Emptier:
    """Deletes all rows of a database but those that were there when its tables were made."""

    def __init__(self, address):
        from sqlalchemy import MetaData, create_engine, event, select

        self.address = address
        self._engine = create_engine(address, pool_size=1, pool_pre_ping=True)
        event.listen(self._engine, "connect", self._limit)
        metadata = MetaData()
        with self._engine.connect() as connection:
            metadata.reflect(connection)
            self._tables = [
                table
                for table in reversed(metadata.sorted_tables)
                if connection.execute(select(table).limit(1)).first() is None
            ]

    def empty(self):
        """Return whether the database may be used again: a test may have left a lock in it."""
        from sqlalchemy.exc import DBAPIError

        try:
            with self._engine.begin() as connection:
                for table in self._tables:
                    connection.execute(table.delete())
        except DBAPIError:
            self._engine.dispose()
            return False
        return True

    def _limit(self, connection, _record):
        """Wait for the lock of a transaction that a test has left open for five seconds at most."""
        limits = {"postgresql": "lock_timeout = '5s'", "mysql": "innodb_lock_wait_timeout = 5"}
        with connection.cursor() as cursor:
            cursor.execute(f"SET {limits[self._engine.dialect.name]}")
        connection.commit()


def _by_driver(address, driver):
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
