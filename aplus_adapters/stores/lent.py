"""Engines of SQLAlchemy whose connections are lent by Django, which keeps their transactions.

SQLAlchemy writes the statements and reads the rows. It opens, commits, rolls back and closes
nothing: its dialects here leave all of that to Django, and change no setting of a connection.
"""

from __future__ import annotations

from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sqlalchemy import DateTime, create_engine, event
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.mysql.mysqldb import MySQLDialect_mysqldb
from sqlalchemy.dialects.mysql.pymysql import MySQLDialect_pymysql
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.dialects.sqlite import DATETIME
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.pool import NullPool

from aplus_adapters.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Dialect, Engine

__all__ = ["open_lent_engine"]


class _Lent:
    """The part of a dialect that concerns a connection as a whole, and does nothing."""

    def on_connect(self) -> Any:
        """Return None: the settings are Django's."""
        return None

    def do_commit(self, dbapi_connection: Any) -> None:
        """Do nothing: Django commits."""

    def do_rollback(self, dbapi_connection: Any) -> None:
        """Do nothing: Django rolls back."""

    def do_close(self, dbapi_connection: Any) -> None:
        """Do nothing: Django closes."""

    def do_terminate(self, dbapi_connection: Any) -> None:
        """Do nothing: Django closes."""


class _ReadTime(DATETIME):
    """A time of SQLite; Django has sqlite3 read columns of this type already, in its own way."""

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        """Return what reads a text, and leaves a time as it is."""
        read: Any = super().result_processor(dialect, coltype)
        return lambda value: value if isinstance(value, datetime) else read(value)


class LentSQLite(_Lent, SQLiteDialect_pysqlite):
    """SQLite through sqlite3."""

    supports_statement_cache = True

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.colspecs = {**self.colspecs, DateTime: _ReadTime}


class LentPsycopg(_Lent, PGDialect_psycopg):
    """PostgreSQL through psycopg."""

    supports_statement_cache = True


class LentPsycopg2(_Lent, PGDialect_psycopg2):
    """PostgreSQL through psycopg2."""

    supports_statement_cache = True


class LentMySQLdb(_Lent, MySQLDialect_mysqldb):
    """MySQL and MariaDB through mysqlclient."""

    supports_statement_cache = True


class LentPyMySQL(_Lent, MySQLDialect_pymysql):
    """MySQL and MariaDB through PyMySQL, in the place of mysqlclient."""

    supports_statement_cache = True


# By the module of the driver's connections.
_DIALECTS: dict[str, tuple[str, type[Any], dict[str, Any]]] = {
    "sqlite3": ("sqlite", LentSQLite, {}),
    "psycopg": ("postgresql", LentPsycopg, {"use_native_hstore": False}),
    "psycopg2": ("postgresql", LentPsycopg2, {"use_native_hstore": False}),
    "MySQLdb": ("mysql", LentMySQLdb, {}),
    "pymysql": ("mysql", LentPyMySQL, {}),
}


def open_lent_engine(driver: Any, lend: Callable[[], Any]) -> Engine:
    """Return an engine for connections such as `driver`, each of which `lend` returns.

    Raises ConfigurationError for a driver that payments cannot be kept with.
    """
    modules = {kind.__module__.partition(".")[0] for kind in type(driver).__mro__}
    names = [name for name in _DIALECTS if name in modules]
    if not names:
        raise ConfigurationError(
            f"DjangoStore: found a database whose driver is {type(driver).__module__}, expected "
            "SQLite, PostgreSQL (psycopg or psycopg2), MySQL or MariaDB (mysqlclient or PyMySQL); "
            "keep the payments in one of these"
        )
    database, dialect, options = _DIALECTS[names[0]]
    registry.register(f"{database}.aplus_lent_{names[0]}", __name__, dialect.__name__)
    engine = create_engine(
        f"{database}+aplus_lent_{names[0]}://",
        creator=lend,
        poolclass=NullPool,
        pool_reset_on_return=None,
        hide_parameters=True,
        **options,
    )
    if names[0] == "psycopg":
        event.listen(engine, "before_cursor_execute", _read_times_with_their_zone)
    return engine


def _read_times_with_their_zone(_connection: Any, cursor: Any, *_: Any) -> None:
    """Undo for one cursor that Django reads times in the zone of its settings, or without one."""
    loader = import_module("psycopg.types.datetime").TimestamptzLoader
    cursor.adapters.register_loader("timestamptz", loader)
