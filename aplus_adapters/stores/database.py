"""The store's own transactions, from an address or from the shop's Engine or sessions.

The store never joins a transaction that other code has begun, and never commits or rolls back the
work of other code. If the database asks for it, a transaction is repeated.
"""

from __future__ import annotations

import random
import re
import time
import weakref
from contextlib import closing, contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, Engine, insert, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError, UnboundExecutionError
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from aplus_adapters.errors import ConfigurationError, HookError, StoreError, hide_values
from aplus_adapters.payments.store import STORE_METHODS, STORE_READS
from aplus_adapters.stores.connections import keep_to_this_process, open_engine
from aplus_adapters.stores.drivers import (
    begin,
    check_before_commit,
    check_engine,
    gave_up_waiting,
    long_statements,
    may_be_repeated,
    refuse_blocking_gevent,
    sqlstate,
)
from aplus_adapters.stores.migrations import is_current, migrate, missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Table

    from aplus_adapters.stores.schema import Tables

__all__ = ["Database", "DatabaseArgument", "repeating"]

DatabaseArgument = str | Engine | sessionmaker[Any] | scoped_session[Any]
C = TypeVar("C", bound=type)

_REPEAT_FOR = 2.0  # seconds; the last repetition may wait longer, for a lock
_MIGRATE_WITHIN = 15.0  # seconds for transactions of older workers to end
_LOCK_TIMEOUT = (
    "waited too long for a lock of another open transaction. If it is the caller's own (a view "
    "that has written, a hook that writes through another connection than details.connection), "
    "each waits for the other: move this call of aplus_adapters before that write or after its "
    "commit, and let hooks write through details.connection"
)


class _Repeat(StoreError):
    """The transaction was rolled back and can be repeated."""


def repeating(store: C) -> C:
    """Return a store's class whose methods are repeated if the database asks for it.

    The whole method is repeated, with the hook inside it, because everything was rolled back.
    """
    for name in STORE_METHODS:
        setattr(store, name, _repeated(getattr(store, name)))
    return store


def _repeated(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def call(*arguments: Any) -> Any:
        started = time.monotonic()
        while True:
            try:
                return method(*arguments)
            except _Repeat as error:
                if time.monotonic() - started > _REPEAT_FOR:
                    raise StoreError(str(error)) from error.__cause__
            time.sleep(random.uniform(0.001, 0.02))  # noqa: S311  # no secret

    return call


class Database:
    """Opens transactions; the arguments are those that SQLStore was given."""

    def __init__(self, argument: DatabaseArgument, *, tables: Tables, create: bool) -> None:
        self._tables, self._create = tables, create
        # Flask-SQLAlchemy's `db` has its sessions from its construction, before its init_app.
        sessions = getattr(argument, "session", None)
        argument = sessions if isinstance(sessions, scoped_session) else argument
        self._engine: Engine | None = None
        self._sessions: sessionmaker[Any] | None = None
        # Engines with complete tables; sessions of several applications may use several engines.
        self._ready: weakref.WeakSet[Engine] = weakref.WeakSet()
        self._is_own_engine = isinstance(argument, str)
        if isinstance(argument, str):
            self._engine = _with_schema(open_engine(argument), tables)
        elif isinstance(argument, Engine):
            self._engine = _with_schema(_checked(argument), tables)
        elif isinstance(argument, sessionmaker | scoped_session):
            self._sessions = _factory(argument)
        else:
            raise ConfigurationError(_bad_database(argument))

    @property
    def engine(self) -> Engine:
        """Return the engine; raise ConfigurationError if the shop has passed sessions."""
        if self._engine is None:
            raise ConfigurationError(
                "SQLStore.engine: found the shop's own sessions, expected an address or an Engine; "
                "use the engine that the sessions are bound to"
            )
        refuse_blocking_gevent(self._engine)
        keep_to_this_process(self._engine)
        return self._engine

    @contextmanager
    def transaction(self, method: str) -> Iterator[Connection | Session]:
        """Open a transaction that commits after the block, or rolls back if the block raises.

        Database errors are raised as StoreError, except an IntegrityError of our own tables, which
        the store handles. The tables are made at the first use in each process. `method` is the
        name of the store's method; one that only reads does not take SQLite's write lock.
        """
        with _translated(method, self._tables):
            if self._sessions is None:
                engine = self.engine
                self._set_up(engine)
                with _on_engine(engine, writes=method not in STORE_READS) as connection:
                    yield connection
                return
            with closing(_new_session(self._sessions)) as session:
                self._set_up(_engine_of(session, self._tables))
                with _on_session(session, self._tables.payments, writes=method not in STORE_READS):
                    yield session

    def set_up(self) -> None:
        """Make or migrate the tables; raise StoreError or ConfigurationError if it fails."""
        with _translated("set-up", self._tables):
            engine = self._any_engine()
            if engine not in self._ready:
                _make_tables(engine, self._tables, create=True)
                self._ready.add(engine)

    def missing(self) -> list[str]:
        """Return what the tables lack, and make nothing; raise as `set_up`."""
        with (
            _translated("check", self._tables),
            _on_engine(self._any_engine(), writes=False) as connection,
        ):
            return missing(connection, self._tables)

    def dialect(self) -> str:
        """Return the database's name, such as postgresql; raise as `set_up`."""
        return self._any_engine().dialect.name

    def close(self) -> None:
        """Close the pooled connections, unless they are the shop's own."""
        if self._engine is not None and self._is_own_engine:
            self.engine.dispose()

    def _any_engine(self) -> Engine:
        """Return the engine, also that of the shop's own sessions."""
        if self._sessions is None:
            return self.engine
        with closing(_new_session(self._sessions)) as session:
            return _engine_of(session, self._tables)

    def _set_up(self, engine: Engine) -> None:
        if engine not in self._ready:
            _make_tables(engine, self._tables, create=self._create)
            self._ready.add(engine)


def _make_tables(engine: Engine, tables: Tables, *, create: bool) -> None:
    """Make or migrate the tables; if they are current, take no lock and need no permission.

    A migration waits until no transaction uses the tables, and later transactions wait for it. So
    it gives up soon, lets the others through and tries again within the time limit.
    """
    deadline = time.monotonic() + _MIGRATE_WITHIN
    while True:
        try:
            with _on_engine(engine, writes=False) as connection:
                if is_current(connection, tables):
                    return
            with (
                _on_engine(engine, writes=True) as connection,
                long_statements(connection),
            ):
                migrate(connection, tables, create=create)
                return
        except DBAPIError as error:
            if not (gave_up_waiting(error) or may_be_repeated(error)):
                raise
            if time.monotonic() > deadline:
                raise
        time.sleep(random.uniform(0.1, 0.3))  # noqa: S311  # no secret


@contextmanager
def _on_engine(engine: Engine, *, writes: bool) -> Iterator[Connection]:
    with engine.connect() as connection, connection.begin() as transaction:
        begin(connection, writes=writes)
        yield connection
        if not transaction.is_active:
            raise StoreError(_ENDED)
        check_before_commit(connection, writes=writes)


@contextmanager
def _on_session(session: Session, payments: Table, *, writes: bool) -> Iterator[None]:
    with session.begin() as transaction:
        connection = session.connection(bind_arguments={"clause": payments})
        begin(connection, writes=writes)
        yield
        if session.get_transaction() is not transaction or not transaction.is_active:
            raise StoreError(_ENDED)
        session.flush()  # objects that the hook has added, so that the check sees them
        check_before_commit(connection, writes=writes)


_ENDED = (
    "found the payment's transaction ended by the hook, expected it open; nothing was stored. A "
    "hook must not commit or roll back details.connection, the store does"
)


def _factory(argument: sessionmaker[Any] | scoped_session[Any]) -> sessionmaker[Any]:
    """Return the session factory, because the current session may hold work of the shop."""
    factory: Any = argument.session_factory if isinstance(argument, scoped_session) else argument
    kind = getattr(factory, "class_", Session)
    if not issubclass(kind, Session):
        raise ConfigurationError(_bad_database(factory, f"sessionmaker of {kind.__name__}"))
    bind = getattr(factory, "kw", {}).get("bind")
    if bind is not None:
        _checked(bind)
    return factory  # type: ignore[no-any-return]


def _new_session(factory: sessionmaker[Any]) -> Session:
    session: Session = factory()
    if session.in_transaction() or session.new or session.dirty or session.deleted:
        raise ConfigurationError(
            "SQLStore: the session factory returned a session with work in it, expected a new one "
            "at each call; pass a sessionmaker, or the scoped_session around one"
        )
    return session


def _engine_of(session: Session, tables: Tables) -> Engine:
    """Return the one engine of a session for our tables; raise ConfigurationError if none."""
    payments = tables.payments
    try:
        binds = {
            session.get_bind(clause=clause)
            for clause in (payments, select(payments), insert(payments), update(payments))
        }
    except UnboundExecutionError:
        raise ConfigurationError(
            "SQLStore: found sessions that have an engine for the shop's tables only, expected "
            "sessionmaker(engine); or bind aplus_adapters' tables too"
        ) from None
    except RuntimeError as error:  # Flask-SQLAlchemy asks for the current application
        reason = str(error).strip().partition("\n")[0][:120]
        raise ConfigurationError(
            f"SQLStore: the shop's sessions have no engine here ({reason}), expected a context of "
            "a Flask application that db.init_app(app) was called with; use "
            "`with app.app_context():`, or `flask aplus` in place of `aplus`"
        ) from error
    if len(binds) != 1:
        raise ConfigurationError(
            "SQLStore: found sessions that read from another engine than they write to, expected "
            "one engine, in which a payment can be locked; pass the engine that writes"
        )
    return _with_schema(_checked(binds.pop()), tables)


def _with_schema(engine: Engine, tables: Tables) -> Engine:
    """Return the engine; raise ConfigurationError if it cannot have the tables' schema."""
    if tables.schema is not None and engine.dialect.name == "sqlite":
        raise ConfigurationError(
            f"SQLStore: found Tables(schema={tables.schema!r}) on SQLite, expected none, because "
            "SQLite has no schemas; choose a prefix instead"
        )
    return engine


def _checked(bind: object) -> Engine:
    if not isinstance(bind, Engine):
        raise ConfigurationError(_bad_database(bind, f"sessions bound to {type(bind).__name__}"))
    check_engine(bind)
    keep_to_this_process(bind)
    return bind


def _bad_database(argument: object, found: str = "") -> str:
    name = type(argument).__name__
    hint = ""
    if "sync" in name.lower() or "Async" in found:
        hint = "; async sessions and engines cannot be used yet, pass a blocking one"
    elif isinstance(argument, Session | Connection):
        hint = "; an open one belongs to the code that opened it, pass its Engine or sessionmaker"
    return (
        f"SQLStore: found {found or name}, expected an address such as sqlite:///payments.db, a "
        f"SQLAlchemy Engine, a sessionmaker, a scoped_session or Flask-SQLAlchemy's db{hint}"
    )


@contextmanager
def _translated(method: str, tables: Tables) -> Iterator[None]:
    """Raise database errors as StoreError; after a lock time-out say which call to move."""
    try:
        yield
    except HookError as error:
        # The hook writes in our transaction, so that its deadlock has ended ours as well.
        cause = _cause(error)
        if cause is not None and may_be_repeated(cause):
            raise _Repeat(str(error)) from error
        if cause is not None and gave_up_waiting(cause):
            raise HookError(f"{error}; it {_LOCK_TIMEOUT}", hook=error.hook) from cause
        raise
    except IntegrityError as error:
        if _is_about(tables, error):
            raise
        raise _store_error(method, error) from error
    except SQLAlchemyError as error:
        raise _store_error(method, error) from error


def _cause(error: BaseException) -> DBAPIError | None:
    """Return the database error that made a hook fail, or None."""
    cause: BaseException | None = error
    for _ in range(5):
        cause = cause and (cause.__cause__ or cause.__context__)
        if isinstance(cause, DBAPIError):
            return cause
    return None


def _is_about(tables: Tables, error: IntegrityError) -> bool:
    """Return whether the statement that broke a constraint was ours, not the shop's."""
    names = "|".join(re.escape(table.name) for table in tables.metadata.tables.values())
    return re.search(rf"[ .\"`](?:{names})[ \"`]", error.statement or "") is not None


def _store_error(method: str, error: SQLAlchemyError) -> StoreError:
    hide_values(error)
    problem = f"store {method}: the database raised {type(error).__name__}"
    if isinstance(error, DBAPIError):
        if may_be_repeated(error):
            return _Repeat(f"{problem} each time for {_REPEAT_FOR:g} s; nothing was stored")
        if gave_up_waiting(error):
            return StoreError(f"store {method}: {_LOCK_TIMEOUT}; nothing was stored")
        if sqlstate(error) == "42501":
            return StoreError(
                f"{problem}: this role lacks the permission; let a role that may make tables call "
                "SQLStore(...).set_up() once, and grant this one SELECT, INSERT and UPDATE on them"
            )
    reason = str(error.args[0] if error.args else "")[:200]
    return StoreError(
        f"{problem} ({reason}), expected a working database with the tables; nothing is "
        "acknowledged until then"
    )
