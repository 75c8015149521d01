"""What a shop may pass as the `database` of a store, and what is taken from it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from sqlalchemy import URL, Connection, Engine, event, insert, make_url, select, update
from sqlalchemy.exc import UnboundExecutionError
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from aplus_adapters.errors import ConfigurationError, StoreError
from aplus_adapters.stores.connection_info import INFO_ENGINE, INFO_OTHER, INFO_SHOWN
from aplus_adapters.stores.connections import keep_to_this_process
from aplus_adapters.stores.drivers import check_dialect, check_engine

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Table
    from sqlalchemy.ext.asyncio import AsyncEngine, async_scoped_session, async_sessionmaker

    from aplus_adapters.stores.schema import Tables

    AsyncDatabaseArgument = str | AsyncEngine | async_sessionmaker[Any] | async_scoped_session[Any]

__all__ = [
    "AsyncDatabaseArgument",
    "DatabaseArgument",
    "HasSession",
    "bad_database",
    "check_connections",
    "checked_engine",
    "connection_of",
    "engine_of",
    "is_engine",
    "is_factory",
    "new_session",
    "session_factory",
    "sessions_of",
    "sqlite_file",
    "watch_connections",
    "with_schema",
]

S = TypeVar("S", bound=Session)


class HasSession(Protocol[S]):
    """What Flask-SQLAlchemy's `db` is to us."""

    session: scoped_session[S]


DatabaseArgument = str | Engine | sessionmaker[Any] | scoped_session[Any] | HasSession[Any]


def sessions_of(argument: Any) -> Any:
    """Return the sessions of Flask-SQLAlchemy's `db`, and any other argument as it is.

    It has its sessions from its construction, before its init_app.
    """
    sessions = getattr(argument, "session", None)
    return sessions if isinstance(sessions, scoped_session) else argument


def sqlite_file(argument: Any) -> Path | None:
    """Return the file of a SQLite address, engine or sessions with an engine; None for others."""
    factory = getattr(argument, "session_factory", argument)  # that of a scoped_session
    engine = getattr(factory, "kw", {}).get("bind", argument)
    url = make_url(engine) if isinstance(engine, str) else getattr(engine, "url", None)
    if not isinstance(url, URL) or url.get_backend_name() != "sqlite" or not url.database:
        return None
    # An address of SQLite's own, such as file:shop.db?mode=ro, says itself what may be made.
    return None if url.database.startswith("file:") else Path(url.database)


def is_engine(argument: object, *, is_async: bool) -> bool:
    """Return whether a shop has passed an engine of the wanted kind."""
    return _awaits(argument, "AsyncEngine") if is_async else isinstance(argument, Engine)


def is_factory(argument: object, *, is_async: bool) -> bool:
    """Return whether a shop has passed sessions of the wanted kind."""
    if is_async:
        return _awaits(argument, "async_sessionmaker", "async_scoped_session")
    return isinstance(argument, sessionmaker | scoped_session)


def _awaits(value: object, *names: str) -> bool:
    """Return whether a value is of one of these classes of sqlalchemy.ext.asyncio.

    That module cannot be loaded without greenlet. If nobody has loaded it, nobody has such a value.
    """
    module = sys.modules.get("sqlalchemy.ext.asyncio")
    return module is not None and isinstance(value, tuple(getattr(module, name) for name in names))


def session_factory(argument: Any, *, is_async: bool) -> Callable[[], Any]:
    """Return what makes sessions, because the current session may hold work of the shop."""
    is_scoped = isinstance(argument, scoped_session) or _awaits(argument, "async_scoped_session")
    factory: Any = argument.session_factory if is_scoped else argument
    kind = getattr(factory, "class_", Session)
    if issubclass(kind, Session) is is_async:
        found = f"sessionmaker of {kind.__name__}"
        raise ConfigurationError(bad_database(factory, found, is_async=is_async))
    bind = getattr(factory, "kw", {}).get("bind")
    if bind is not None:
        checked_engine(bind, is_async=is_async)
    return factory  # type: ignore[no-any-return]


def new_session(factory: Callable[[], Any]) -> Session:
    """Return a new session, in its blocking form; raise ConfigurationError if it has work in it."""
    as_made: Any = factory()
    session: Session = as_made.sync_session if _awaits(as_made, "AsyncSession") else as_made
    session.info.pop(INFO_OTHER, None)  # of its last use, if the factory returns it again
    session.info[INFO_SHOWN] = as_made  # its blocking form alone would not keep an AsyncSession
    if session.in_transaction() or session.new or session.dirty or session.deleted:
        raise ConfigurationError(
            "store: the session factory returned a session with work in it, expected a new one "
            "at each call; pass a sessionmaker, or the scoped_session around one"
        )
    return session


def connection_of(session: Session, payments: Table) -> Connection:
    """Return the connection of our tables; a session may have others for other tables."""
    return session.connection(bind_arguments={"clause": payments})


def watch_connections(session: Session, ours: Connection) -> None:
    """Note from now on at a session whether it begins a transaction by another engine."""
    session.info[INFO_ENGINE] = ours.engine
    if not event.contains(session, "after_begin", _begun):
        event.listen(session, "after_begin", _begun)


def _begun(session: Session, _transaction: object, connection: Connection) -> None:
    if connection.engine is not session.info[INFO_ENGINE]:
        session.info[INFO_OTHER] = repr(connection.engine)  # which hides the password


def check_connections(session: Session) -> None:
    """Raise StoreError if the hook has used another engine in the payment's session."""
    if INFO_OTHER in session.info:
        raise StoreError(
            f"found that the hook has used {session.info[INFO_OTHER]} in the payment's session, "
            "expected only the payments' own engine, because two databases cannot commit as one; "
            "nothing was stored. Use a session of its own for the other database"
        )


def engine_of(session: Session, tables: Tables, *, is_async: bool) -> Engine:
    """Return the one engine of a session for our tables; raise ConfigurationError if none."""
    payments = tables.payments
    ours = tables.metadata.tables.values()
    try:
        binds = {
            session.get_bind(clause=clause)
            for clause in (*ours, select(payments), insert(payments), update(payments))
        }
    except UnboundExecutionError:
        raise ConfigurationError(
            "store: found sessions that have an engine for the shop's tables only, expected "
            "sessionmaker(engine); or bind aplus_adapters' tables too"
        ) from None
    except RuntimeError as error:  # Flask-SQLAlchemy asks for the current application
        reason = str(error).strip().partition("\n")[0][:120]
        raise ConfigurationError(
            f"store: the shop's sessions have no engine here ({reason}), expected a context of "
            "a Flask application that db.init_app(app) was called with; use "
            "`with app.app_context():`, or `flask aplus` in place of `aplus`"
        ) from error
    if len(binds) != 1:
        raise ConfigurationError(
            "store: found sessions that read from another engine than they write to, or have "
            "several for our tables, expected one engine, in which a payment can be locked; pass "
            "the engine that writes"
        )
    return checked_engine(binds.pop(), tables, is_async=is_async)


def checked_engine(bind: object, tables: Tables | None = None, *, is_async: bool) -> Engine:
    """Return an engine of the shop, in its blocking form, if the store can work with it."""
    engine: Any = bind
    if _awaits(bind, "AsyncEngine"):
        engine = engine.sync_engine
    if not isinstance(engine, Engine):
        found = f"sessions bound to {type(bind).__name__}"
        raise ConfigurationError(bad_database(bind, found, is_async=is_async))
    check_dialect(engine.dialect, is_async=is_async)
    check_engine(engine)
    keep_to_this_process(engine)
    return engine if tables is None else with_schema(engine, tables)


def with_schema(engine: Engine, tables: Tables) -> Engine:
    """Return the engine; raise ConfigurationError if it cannot have the tables' schema."""
    if tables.schema is not None and engine.dialect.name == "sqlite":
        raise ConfigurationError(
            f"store: found Tables(schema={tables.schema!r}) on SQLite, expected none, because "
            "SQLite has no schemas; choose a prefix instead"
        )
    return engine


def bad_database(argument: object, found: str = "", *, is_async: bool) -> str:
    """Return the message for a `database` that the store cannot use."""
    name = type(argument).__name__
    hint = ""
    is_open = _awaits(argument, "AsyncSession", "AsyncConnection")
    if is_open or isinstance(argument, Session | Connection):
        hint = "; an open one belongs to the code that opened it, pass its engine or sessionmaker"
    elif not is_async and "async" in (name + found).lower():
        hint = "; AsyncSQLStore takes the async ones"
    elif is_async and isinstance(argument, Engine | sessionmaker | scoped_session):
        hint = "; SQLStore takes the blocking ones"
    if is_async:
        return (
            f"AsyncSQLStore: found {found or name}, expected an address such as "
            "postgresql+asyncpg://..., an AsyncEngine, an async_sessionmaker or an "
            f"async_scoped_session{hint}"
        )
    return (
        f"SQLStore: found {found or name}, expected an address such as "
        "sqlite:///payments.db, a SQLAlchemy Engine, a sessionmaker, a scoped_session or "
        f"Flask-SQLAlchemy's db{hint}"
    )
