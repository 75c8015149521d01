"""Opening transactions: on an address, on the shop's Engine, or in the shop's own sessions.

What is opened from an address has time-outs everywhere: for the connection, for locks, for
statements, and for a server that is frozen and enforces none of these itself.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import weakref
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DisconnectionError, IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from aplus_adapters.errors import ConfigurationError, StoreError, hide_values

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

__all__ = ["Database", "Given"]

Given = str | Engine | sessionmaker[Any] | scoped_session[Any]

_PATIENCE = 3  # seconds for a lock or a statement: an answer is due within 5
_CONNECT = 2  # seconds, the least that PostgreSQL's client library takes
_PING = 1.0  # seconds for a connection from the pool to prove that it is alive
_LOOK = 0.25  # seconds between two looks of the watchdog


class Database:
    """Where transactions come from; `given` is what the shop gave to SQLStore."""

    def __init__(self, given: Given) -> None:
        self._engine: Engine | None = None
        self._sessions: sessionmaker[Any] | scoped_session[Any] | None = None
        if isinstance(given, str):
            self._engine = _engine(given)
        elif isinstance(given, Engine):
            self._engine = given
        elif isinstance(given, sessionmaker | scoped_session):
            self._sessions = given
        else:
            raise ConfigurationError(
                f"SQLStore: found {type(given).__name__}, expected an address such as "
                "sqlite:///payments.db, a SQLAlchemy Engine, a sessionmaker or a scoped_session"
            )

    @property
    def engine(self) -> Engine:
        """Give the engine; ConfigurationError if the shop gave its sessions instead."""
        if self._engine is None:
            raise ConfigurationError(
                "SQLStore.engine: found the shop's own sessions, expected an address or an Engine; "
                "use what the sessions are bound to"
            )
        return self._engine

    @contextmanager
    def transaction(self, what: str) -> Iterator[Connection | Session]:
        """Open a transaction that commits at the end of the block, or rolls back if that raises.

        Errors of the database become StoreError, but for IntegrityError, which says something.
        """
        begin = self._begin_session if self._sessions is not None else self._begin_connection
        try:
            with begin() as connection:
                yield connection
        except IntegrityError:
            raise
        except SQLAlchemyError as error:
            hide_values(error)
            raise StoreError(
                f"store {what}: the database raised {type(error).__name__} "
                f"({str(error.args[0] if error.args else '')[:200]}), expected one that works, with"
                " its tables; nothing is acknowledged until then"
            ) from error

    def close(self) -> None:
        """Close the pooled connections, unless they are the shop's own."""
        if self._engine is not None:
            self._engine.dispose()

    @contextmanager
    def _begin_connection(self) -> Iterator[Connection]:
        with self.engine.begin() as connection:
            yield connection

    @contextmanager
    def _begin_session(self) -> Iterator[Session]:
        """Use the shop's session: a new one of a sessionmaker, the current one of a scoped_session.

        What the shop has begun in its current session is committed first: this transaction is one
        of its own, in which only the payment and what `payment_changed` writes become durable.
        """
        sessions = self._sessions
        assert sessions is not None  # noqa: S101
        keep = isinstance(sessions, scoped_session) and sessions.registry.has()
        session: Session = sessions()
        try:
            if session.in_transaction():
                session.commit()
            yield session
            session.commit()
        except BaseException:
            session.rollback()
            raise
        finally:
            if isinstance(sessions, scoped_session) and not keep:
                sessions.remove()
            elif not keep:
                session.close()


def _engine(address: str) -> Engine:
    try:
        url = make_url(address)
        name = url.get_backend_name()
        if name == "sqlite" and url.database in (None, "", ":memory:"):
            raise ConfigurationError(
                "SQLStore: found an in-memory SQLite, expected a file such as "
                "sqlite:///payments.db; use MemoryStore() to keep nothing"
            )
        engine = create_engine(
            url,
            pool_timeout=_PATIENCE,
            connect_args=_connect_args(name),
            hide_parameters=True,  # they are buyers' data, and errors are logged
        )
    except (ArgumentError, ImportError, ValueError) as error:
        # What the address holds, such as a password, is shown by no error but an ImportError.
        reason = f": {error}" if isinstance(error, ImportError) else ""
        raise ConfigurationError(
            f"SQLStore: cannot use the database address ({type(error).__name__}"
            f"{reason[:200]}), expected one such as sqlite:///payments.db or "
            "postgresql+psycopg://user@host/shop with its driver installed"
        ) from None
    if name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    else:
        _Watchdog().guard(engine)
    if hasattr(os, "register_at_fork"):
        # A forked worker must not talk over its parent's connections.
        os.register_at_fork(after_in_child=partial(_forget, weakref.ref(engine)))
    return engine


def _connect_args(name: str) -> dict[str, Any]:
    if name == "sqlite":
        return {"timeout": _PATIENCE}
    if name == "postgresql":
        milliseconds = _PATIENCE * 1000
        options = f"-c statement_timeout={milliseconds} -c lock_timeout={milliseconds}"
        return {"connect_timeout": _CONNECT, "options": options}
    return {}


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # Readers do not wait for writers; a commit survives the process's death and the machine's.
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except connection.OperationalError:  # another is switching, for which SQLite does not wait
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            break
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _forget(engine: weakref.ref[Engine]) -> None:
    found = engine()
    if found is not None:
        found.dispose(close=False)


class _Watchdog:
    """Cuts a connection whose server has not answered in time: a frozen one never would."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._deadlines: dict[Any, float] = {}
        self._process: int | None = None  # the one in which the thread runs
        self._idle = False

    def guard(self, engine: Engine) -> None:
        """Watch every statement, commit and rollback of an engine, and each pooled connection."""

        def begin(connection: Any, *_: Any) -> None:
            self._watch(connection.connection.dbapi_connection, _PATIENCE)

        def end(connection: Any, *_: Any) -> None:
            self._leave(connection.connection.dbapi_connection)

        def failed(context: Any) -> None:
            if context.connection is not None and not context.connection.invalidated:
                end(context.connection)

        event.listen(engine, "before_cursor_execute", begin)
        event.listen(engine, "after_cursor_execute", end)
        event.listen(engine, "handle_error", failed)
        event.listen(engine, "commit", begin)
        event.listen(engine, "rollback", begin)
        event.listen(engine, "checkin", lambda found, _record: self._leave(found))
        event.listen(engine, "checkout", self._ping)

    def _ping(self, found: Any, _record: Any, _proxy: Any) -> None:
        self._watch(found, _PING)
        try:
            cursor = found.cursor()
            cursor.execute("SELECT 1")
            cursor.close()
            found.rollback()
        except Exception as error:
            raise DisconnectionError(str(error)) from error  # the pool tries a new connection
        finally:
            self._leave(found)

    def _watch(self, found: Any, seconds: float) -> None:
        with self._condition:
            self._deadlines[found] = time.monotonic() + seconds
            if self._process != os.getpid():
                self._process = os.getpid()
                threading.Thread(target=self._run, daemon=True, name="aplus-watchdog").start()
            elif self._idle:
                self._condition.notify()

    def _leave(self, found: Any) -> None:
        with self._condition:
            self._deadlines.pop(found, None)

    def _run(self) -> None:
        while True:
            with self._condition:
                self._idle = not self._deadlines
                self._condition.wait(None if self._idle else _LOOK)
                self._idle = False
                moment = time.monotonic()
                late = [found for found, when in self._deadlines.items() if when < moment]
                for found in late:
                    del self._deadlines[found]
                    _cut(found)


def _cut(found: Any) -> None:
    """End the connection under whoever waits for it; the driver then raises."""
    with contextlib.suppress(Exception), socket.socket(fileno=os.dup(found.fileno())) as wire:
        wire.shutdown(socket.SHUT_RDWR)
