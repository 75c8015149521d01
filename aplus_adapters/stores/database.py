"""The store's own transactions, from an address or from the shop's Engine or sessions.

The store never joins a transaction that other code has begun, and never commits or rolls back the
work of other code. If the database asks for it, a transaction is repeated.
"""

from __future__ import annotations

import os
import random
import re
import time
import weakref
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from functools import wraps
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from aplus_adapters.errors import ConfigurationError, HookError, StoreError, hide_values
from aplus_adapters.payments.store import STORE_METHODS, STORE_READS
from aplus_adapters.stores.columns import MYSQL
from aplus_adapters.stores.connections import keep_to_this_process, open_engine
from aplus_adapters.stores.database_arguments import (
    bad_database,
    check_connections,
    checked_engine,
    connection_of,
    engine_of,
    is_engine,
    is_factory,
    new_session,
    session_factory,
    sessions_of,
    watch_connections,
    with_schema,
)
from aplus_adapters.stores.drivers import (
    before_hook,
    begin,
    begins_quickly,
    check_before_commit,
    check_server,
    gave_up_waiting,
    lacks_permission,
    long_statements,
    may_be_repeated,
    refuse_blocking_gevent,
)
from aplus_adapters.stores.loop_engines import LoopEngines
from aplus_adapters.stores.migrations import is_current, migrate, missing
from aplus_adapters.stores.waiting import pause, turn_to_repeat
from aplus_adapters.stores.watchdog import IS_FIRST_QUICK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Engine, Table
    from sqlalchemy.orm import Session

    from aplus_adapters.stores.database_arguments import AsyncDatabaseArgument, DatabaseArgument
    from aplus_adapters.stores.schema import Tables

__all__ = ["ENDED", "Database", "repeating", "store_error", "to_be_repeated", "translated"]

C = TypeVar("C", bound=type)

_CHECK, _MIGRATE = "check", "migrate"  # our own transactions beside those of the store's methods
_READS = {*STORE_READS, _CHECK}
_ALONE = {
    *_READS,
    *("add", "claim", "release", "claim_refund", "release_refund", "conflict_reported"),
}
"""Methods that read, or whose one statement may be done twice without harm.

If a connection is lost, nobody knows whether a statement that commits by itself was done.
"""
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
    """Return a store's class whose methods are repeated, hooks and all, if the database asks."""
    for name in (*STORE_METHODS, "rows_of"):
        setattr(store, name, _repeated(getattr(store, name)))
    return store


def _repeated(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def call(*arguments: Any) -> Any:
        until = time.monotonic() + _REPEAT_FOR
        turn: AbstractContextManager[None] = nullcontext()
        while True:
            try:
                with turn:
                    return method(*arguments)
            except _Repeat as error:
                if (left := until - time.monotonic()) < 0:
                    raise StoreError(str(error)) from error.__cause__
            is_async = arguments[0]._database.is_async  # noqa: SLF001  # of the store
            pause(random.uniform(0.001, 0.02), is_async=is_async)  # noqa: S311  # no secret
            turn = turn_to_repeat(*arguments[:2], seconds=left, is_async=is_async)

    return call


class Database:
    """Opens transactions; `argument` is the `database` that the store was given.

    With `is_async` it works in SQLAlchemy's greenlets, with an engine whose driver awaits. With
    `create` False only `set_up` makes tables.
    """

    def __init__(
        self,
        argument: DatabaseArgument | AsyncDatabaseArgument,
        tables: Tables,
        *,
        create: bool,
        is_async: bool,
    ) -> None:
        self.is_async = is_async
        self._tables, self._create = tables, create
        argument = sessions_of(argument)
        self._engine: Engine | None = None
        self._engines: LoopEngines | None = None
        self._sessions: Callable[[], Any] | None = None
        # Engines with complete tables; sessions of several applications may use several engines.
        self._ready: weakref.WeakSet[Engine | Database] = weakref.WeakSet()
        self._migrating: dict[int, Lock] = {}
        self._is_own_engine = isinstance(argument, str)
        if isinstance(argument, str) and is_async:
            self._engines = LoopEngines(argument, tables)
        elif isinstance(argument, str):
            self._engine = with_schema(open_engine(argument, is_async=False), tables)
        elif is_engine(argument, is_async=is_async):
            self._engine = checked_engine(argument, tables, is_async=is_async)
        elif is_factory(argument, is_async=is_async):
            self._sessions = session_factory(argument, is_async=is_async)
        else:
            raise ConfigurationError(bad_database(argument, is_async=is_async))

    @property
    def engine(self) -> Engine:
        """Return the engine; raise ConfigurationError if the shop has passed sessions."""
        engine = self._engines.current() if self._engines else self._engine
        if engine is None:
            raise ConfigurationError(
                "store.engine: found the shop's own sessions, expected an address or an engine; "
                "use the engine that the sessions are bound to"
            )
        refuse_blocking_gevent(engine)
        keep_to_this_process(engine)
        return engine

    @contextmanager
    def transaction(self, method: str) -> Iterator[Connection | Session]:
        """Open a transaction that commits after the block, or rolls back if the block raises.

        Database errors are raised as StoreError, except an IntegrityError of our own tables, which
        the store handles. The tables are made at the first use in each process. `method` is the
        name of the store's method; one that only reads does not take SQLite's write lock.
        """
        with translated(method, self._tables):
            if self._sessions is None:
                engine = self.engine
                self._set_up(engine)
                with _on_engine(engine, method) as connection:
                    yield connection
                return
            with closing(new_session(self._sessions)) as session:
                self._set_up(engine_of(session, self._tables, is_async=self.is_async))
                payments = self._tables.payments
                with _on_session(session, payments, method):
                    yield session

    def before_hook(self, connection: Connection | Session) -> None:
        """Prepare a transaction for the shop's hook; call it just before."""
        if isinstance(connection, Connection):
            before_hook(connection)
        else:
            ours = connection_of(connection, self._tables.payments)
            watch_connections(connection, ours)
            before_hook(ours)

    def set_up(self) -> None:
        """Make or migrate the tables; raise StoreError or ConfigurationError if it fails."""
        with translated("set-up", self._tables):
            self._set_up(self._any_engine(), create=True)

    def missing(self) -> list[str]:
        """Return what the tables lack, and make nothing; raise as `set_up`."""
        with (
            translated("check", self._tables),
            _on_engine(self._any_engine(), _CHECK) as connection,
        ):
            check_server(connection)
            return missing(connection, self._tables)

    def dialect(self) -> str:
        """Return the database's name, such as postgresql; raise as `set_up`."""
        engine = self._any_engine()
        if engine.dialect.name not in MYSQL:
            return engine.dialect.name
        # Whether an address of the kind mysql+... leads to MariaDB, only the server knows.
        with translated("check", self._tables), _on_engine(engine, _CHECK) as connection:
            dialect: Any = connection.dialect
            return "mariadb" if dialect.is_mariadb else "mysql"

    def close(self) -> None:
        """Close the pooled connections, unless they are the shop's own."""
        if self._engines is not None:
            self._engines.close()
        elif self._engine is not None and self._is_own_engine:
            self.engine.dispose()

    def _any_engine(self) -> Engine:
        """Return the engine, also that of the shop's own sessions."""
        if self._sessions is None:
            return self.engine
        with closing(new_session(self._sessions)) as session:
            return engine_of(session, self._tables, is_async=self.is_async)

    def _set_up(self, engine: Engine, *, create: bool | None = None) -> None:
        known = engine if self._engines is None else self  # the engines of loops have one database
        if known not in self._ready:
            # By process: a lock that the parent holds at a fork is never released in the child.
            migrating = self._migrating.setdefault(os.getpid(), Lock())
            create = self._create if create is None else create
            _make_tables(engine, self._tables, migrating, create=create)
            self._ready.add(known)


def _make_tables(engine: Engine, tables: Tables, migrating: Lock, *, create: bool) -> None:
    """Make or migrate the tables; if they are current, take no lock and need no permission.

    A migration waits until no transaction uses the tables, and later transactions wait for it. So
    it gives up soon, lets the others through and tries again within the time limit. Of one process
    one thread or task migrates; the others look again from time to time, and hold no connection
    of the pool meanwhile.
    """
    deadline = time.monotonic() + _MIGRATE_WITHIN
    while True:
        try:
            with _on_engine(engine, _CHECK) as connection:
                check_server(connection)
                if is_current(connection, tables):
                    return
            if migrating.acquire(blocking=False):
                try:
                    with (
                        _on_engine(engine, _MIGRATE) as connection,
                        long_statements(connection),
                    ):
                        migrate(connection, tables, create=create)
                        return
                finally:
                    migrating.release()
            elif time.monotonic() > deadline:
                raise StoreError(
                    f"store set-up: another thread or task makes or migrates the tables, and they "
                    f"were not complete within {_MIGRATE_WITHIN:g} s; try again later"
                )
        except DBAPIError as error:
            if not (gave_up_waiting(error) or may_be_repeated(error)):
                raise
            if time.monotonic() > deadline:
                raise
        pause(random.uniform(0.1, 0.3), is_async=engine.dialect.is_async)  # noqa: S311  # no secret


@contextmanager
def _on_engine(engine: Engine, method: str) -> Iterator[Connection]:
    is_alone, writes = method in _ALONE, method not in _READS
    is_quick = not writes if is_alone else begins_quickly(engine.dialect)
    token = IS_FIRST_QUICK.set(is_quick)
    try:
        connection = engine.connect()
    finally:
        IS_FIRST_QUICK.reset(token)
    with connection, connection.begin() as transaction:
        is_open = begin(connection, writes=writes, alone=is_alone)
        yield connection
        if not transaction.is_active:
            raise StoreError(ENDED)
        if is_open:
            check_before_commit(connection)


@contextmanager
def _on_session(session: Session, payments: Table, method: str) -> Iterator[None]:
    with session.begin() as transaction:
        connection = connection_of(session, payments)
        is_open = begin(connection, writes=method not in _READS, alone=method in _ALONE)
        yield
        if session.get_transaction() is not transaction or not transaction.is_active:
            raise StoreError(ENDED)
        session.flush()  # objects that the hook has added, so that the checks see them
        check_connections(session)
        if is_open:
            check_before_commit(connection)


ENDED = (
    "found the payment's transaction ended by the hook, expected it open; nothing was stored. A "
    "hook must not commit or roll back details.connection, the store does"
)


def to_be_repeated(problem: str) -> StoreError:
    """Return the error after which a method is repeated for a while; then it is raised."""
    return _Repeat(f"{problem} each time for {_REPEAT_FOR:g} s; nothing was stored")


def _own_error(error: BaseException) -> DBAPIError | None:
    return error if isinstance(error, DBAPIError) else None


@contextmanager
def translated(
    method: str,
    tables: Tables,
    as_dbapi_error: Callable[[BaseException], DBAPIError | None] = _own_error,
) -> Iterator[None]:
    """Raise database errors as StoreError; after a lock time-out say which call to move.

    `as_dbapi_error` returns the database's error that an error of the hook is, or None. A shop's
    ORM may have errors of its own.
    """
    try:
        yield
    except HookError as error:
        # The hook writes in our transaction, so that its deadlock has ended ours as well.
        cause = _cause(error, as_dbapi_error)
        if cause is not None and may_be_repeated(cause):
            raise _Repeat(str(error)) from error
        if cause is not None and gave_up_waiting(cause):
            raise HookError(f"{error}; it {_LOCK_TIMEOUT}", hook=error.hook) from cause
        raise
    except IntegrityError as error:
        if _is_about(tables, error):
            raise
        raise store_error(method, error) from error
    except SQLAlchemyError as error:
        raise store_error(method, error) from error


def _cause(
    error: BaseException, as_dbapi_error: Callable[[BaseException], DBAPIError | None]
) -> DBAPIError | None:
    """Return the database error that made a hook fail, or None."""
    cause: BaseException | None = error
    for _ in range(5):
        cause = cause and (cause.__cause__ or cause.__context__)
        database_error = None if cause is None else as_dbapi_error(cause)
        if database_error is not None:
            return database_error
    return None


def _is_about(tables: Tables, error: IntegrityError) -> bool:
    """Return whether the statement that broke a constraint was ours, not the shop's."""
    names = "|".join(re.escape(table.name) for table in tables.metadata.tables.values())
    return re.search(rf"[ .\"`](?:{names})[ \"`]", error.statement or "") is not None


def store_error(method: str, error: SQLAlchemyError) -> StoreError:
    """Return the StoreError of a database's error, from which the values are removed."""
    hide_values(error)
    problem = f"store {method}: the database raised {type(error).__name__}"
    if isinstance(error, DBAPIError):
        if may_be_repeated(error):
            return to_be_repeated(problem)
        if gave_up_waiting(error):
            return StoreError(f"store {method}: {_LOCK_TIMEOUT}; nothing was stored")
        if lacks_permission(error):
            return StoreError(
                f"{problem}: this role lacks the permission; let a role that may make tables call "
                "SQLStore(...).set_up() once, and grant this one SELECT, INSERT and UPDATE on them "
                "(for `prune` DELETE as well)"
            )
    reason = str(error.args[0] if error.args else "")[:200]
    return StoreError(
        f"{problem} ({reason}), expected a working database with the tables; nothing is "
        "acknowledged until then"
    )
