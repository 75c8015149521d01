"""Transactions of Django, in which SQLAlchemy executes the store's statements.

Each is a durable block of Django's, on the connection that the shop's ORM uses in this thread. So
what a hook writes by the ORM is committed together with the payment, or not at all.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from aplus_adapters.errors import ConfigurationError, StoreError, cause_of, hide_values

try:
    import django.db
    from django.apps import apps
    from django.core.management import call_command
    from django.core.signals import request_finished, request_started
    from django.db import transaction
except ImportError:
    raise ConfigurationError(
        "DjangoStore: Django is not installed; run pip install 'aplus_adapters[django]'"
    ) from None

from sqlalchemy import exc

from aplus_adapters.payments.store import STORE_READS
from aplus_adapters.stores.columns import MYSQL
from aplus_adapters.stores.connection_info import INFO_RESTORE
from aplus_adapters.stores.database import ENDED, to_be_repeated, translated
from aplus_adapters.stores.drivers import (
    before_hook,
    begin,
    check_before_commit,
    check_server,
    kind_of,
)
from aplus_adapters.stores.lent import open_lent_engine
from aplus_adapters.stores.migrations import is_current, missing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

    from aplus_adapters.stores.schema import Tables

__all__ = ["APP", "DjangoDatabase"]

log = logging.getLogger("aplus_adapters")

APP = "aplus_adapters.django"  # as INSTALLED_APPS names it
_MIGRATE = "run `python manage.py migrate`"

_thread = threading.local()  # `in_request`: Django closes the connections of this thread


def _request_started(**_: Any) -> None:
    _thread.in_request = True


def _request_finished(**_: Any) -> None:
    _thread.in_request = False


request_started.connect(_request_started)
request_finished.connect(_request_finished)


class DjangoDatabase:
    """Opens transactions on the database that Django's settings call `alias`.

    It has the interface of `Database`. Tables are made by Django's migrations alone.
    """

    is_async = False

    def __init__(self, alias: str, tables: Tables) -> None:
        self._alias, self._tables = alias, tables
        self._engines: dict[int, Engine] = {}
        self._ready: set[str] = set()  # names of databases; tests of a shop have their own

    @property
    def engine(self) -> Engine:
        """Raise ConfigurationError: the connections are Django's."""
        raise ConfigurationError(
            "store.engine: found a DjangoStore, whose connections are Django's; use the ORM or "
            "django.db.connections"
        )

    @contextmanager
    def transaction(self, method: str) -> Iterator[Connection]:
        """Open a transaction of Django's; it commits after the block, or rolls back if that raises.

        Raises ConfigurationError if one is open already, StoreError for errors of the database.
        """
        with (
            translated(method, self._tables, _as_dbapi_error),
            _as_sqlalchemy(),
            self._borrowed() as wrapper,
        ):
            self._check_tables(wrapper)
            with self._block(wrapper, writes=method not in STORE_READS) as connection:
                yield connection

    def before_hook(self, connection: Connection) -> None:
        """Prepare a transaction for the shop's hook; call it just before."""
        before_hook(connection)

    def set_up(self) -> None:
        """Run the migrations of our application; raise StoreError or ConfigurationError."""
        label = next((one.label for one in apps.get_app_configs() if one.name == APP), None)
        if label is None:
            raise ConfigurationError(
                f"INSTALLED_APPS: found no {APP!r}, expected it there, because its migrations make "
                f"the payments' tables; add it and {_MIGRATE}"
            )
        with translated("set-up", self._tables), _as_sqlalchemy(), self._borrowed() as wrapper:
            call_command("migrate", label, database=self._alias, verbosity=0, interactive=False)
            self._check_tables(wrapper)

    def missing(self) -> list[str]:
        """Return what the tables lack, and make nothing; raise StoreError or ConfigurationError."""
        with (
            translated("check", self._tables),
            self._borrowed() as wrapper,
            self._block(wrapper, writes=False) as connection,
        ):
            check_server(connection)
            return missing(connection, self._tables)

    def dialect(self) -> str:
        """Return the database's name, such as postgresql; raise StoreError."""
        with (
            translated("check", self._tables),
            self._borrowed() as wrapper,
            self._block(wrapper, writes=False) as connection,
        ):
            dialect: Any = connection.dialect
            if dialect.name not in MYSQL:
                return str(dialect.name)
            return "mariadb" if dialect.is_mariadb else "mysql"

    def close(self) -> None:
        """Do nothing: the connections are Django's."""

    @contextmanager
    def _borrowed(self) -> Iterator[Any]:
        """Yield Django's connection of this thread, and leave it open or closed as it was.

        Django closes it only at the end of its own requests. Threads of ours, middleware and
        commands are none.
        """
        wrapper = django.db.connections[self._alias]
        if wrapper.errors_occurred and not wrapper.in_atomic_block:
            wrapper.close_if_unusable_or_obsolete()
        was_closed = wrapper.connection is None
        try:
            yield wrapper
        except exc.DBAPIError as error:
            if error.connection_invalidated and not wrapper.in_atomic_block:
                wrapper.close()  # the next use opens a new one
            raise
        finally:
            if was_closed and not getattr(_thread, "in_request", False):
                with _as_sqlalchemy():
                    wrapper.close()

    def _check_tables(self, wrapper: Any) -> None:
        """Raise StoreError unless the tables are noted in the current version."""
        name = str(wrapper.settings_dict["NAME"])
        if name in self._ready:
            return
        with self._block(wrapper, writes=False) as connection:
            check_server(connection)
            if not is_current(connection, self._tables):
                raise StoreError(
                    f"database {self._alias!r}: found no payments' tables of this version of "
                    f"aplus_adapters, expected those of the migrations of {APP!r}; have it in "
                    f"INSTALLED_APPS and {_MIGRATE}"
                )
        self._ready.add(name)

    @contextmanager
    def _block(self, wrapper: Any, *, writes: bool) -> Iterator[Connection]:
        """Open a durable block of Django's and yield SQLAlchemy's view of its connection."""
        is_in_testcase = wrapper.in_atomic_block  # or the block is refused
        commits: list[bool] = []
        block = transaction.atomic(using=self._alias, durable=True)
        depth = len(wrapper.atomic_blocks)
        _enter(block, wrapper)
        driver, before = wrapper.connection, None
        try:
            try:
                with self._engine(driver).connect() as connection, connection.begin():
                    info = connection.info  # which a lost connection does not show any more
                    is_open = True
                    try:
                        if not is_in_testcase:
                            is_open = begin(connection, writes=writes, alone=False)
                            # The first of these callbacks proves the commit, whatever others do.
                            wrapper.on_commit(lambda: commits.append(True))
                        yield connection
                        _check(wrapper, driver, depth + 1)
                        if is_open:
                            check_before_commit(connection)
                    finally:
                        before = info.pop(INFO_RESTORE, None)
            except BaseException:
                _roll_back(block, wrapper, depth)
                raise
            _commit(block, commits)
            if not commits and not is_in_testcase:
                wrapper.close()
                raise StoreError(ENDED)
        finally:
            if before is not None and wrapper.connection is driver:
                _restore(wrapper, self._engine(driver), before)

    def _engine(self, driver: Any) -> Engine:
        # By process: a lock that the parent holds at a fork is never released in the child.
        pid = os.getpid()
        if pid not in self._engines:
            connections = django.db.connections
            engine = open_lent_engine(driver, lambda: connections[self._alias].connection)
            self._engines.setdefault(pid, engine)
        return self._engines[pid]


def _enter(block: Any, wrapper: Any) -> None:
    """Begin a transaction; raise ConfigurationError if Django is in one already."""
    was_open = wrapper.connection is not None
    # On SQLite Django would wait for the write lock itself, for too long and out of turn.
    mode = getattr(wrapper, "transaction_mode", None)
    try:
        with _as_sqlalchemy():
            if not wrapper.in_atomic_block and not wrapper.get_autocommit():
                raise ConfigurationError(
                    f"DjangoStore: found the autocommit of database {wrapper.alias!r} switched "
                    "off, expected Django's default, because a payment would not be committed; "
                    "leave AUTOCOMMIT and transaction.set_autocommit() alone, or give the payments "
                    "a database alias of their own"
                )
            if mode is not None:
                wrapper.transaction_mode = None
            block.__enter__()
    except RuntimeError as error:
        raise ConfigurationError(
            f"DjangoStore: found a transaction of Django open on database {wrapper.alias!r} "
            "(ATOMIC_REQUESTS or transaction.atomic), expected none, because a payment has to be "
            "durable before Alipay+ hears of it; decorate the view with "
            "transaction.non_atomic_requests, or move this call into transaction.on_commit(...)"
        ) from error
    except exc.DBAPIError as error:
        if not was_open:
            raise
        wrapper.close()  # the server may have closed it long ago
        raise to_be_repeated(f"store: Django's connection raised {type(error).__name__}") from error
    finally:
        if mode is not None:
            wrapper.transaction_mode = mode


def _check(wrapper: Any, driver: Any, depth: int) -> None:
    """Raise StoreError if Django would not commit the whole transaction."""
    is_ours = wrapper.connection is driver and len(wrapper.atomic_blocks) == depth
    if wrapper.closed_in_transaction or not is_ours:
        raise StoreError(ENDED)
    if wrapper.needs_rollback:
        raise StoreError(
            "a statement of the hook failed and the hook went on, expected it to raise, because "
            "Django stores nothing of this transaction; wrap a statement that may fail in a "
            "transaction.atomic() of its own"
        )


def _commit(block: Any, commits: list[bool]) -> None:
    """Leave the block; an on_commit callback that fails does not undo the commit before it."""
    try:
        with _as_sqlalchemy():
            block.__exit__(None, None, None)
    except Exception as error:
        if not commits:
            raise
        hide_values(error)
        log.error(
            "a callback of the shop's transaction.on_commit failed after a payment's commit "
            "(%s%s); the payment is stored and the callback is not repeated: do what it should "
            "have done, and register it with robust=True",
            type(error).__name__,
            f": {reason}" if (reason := cause_of(error)) else "",
            extra={"event": "on_commit_failed"},
        )


def _roll_back(block: Any, wrapper: Any, depth: int) -> None:
    """Leave the block whose body has raised; the error of the body is the one to be told."""
    while True:
        try:
            block.__exit__(*sys.exc_info())
        except django.db.Error:
            wrapper.close()
        if len(wrapper.atomic_blocks) <= depth:
            return
        # The hook has left a block of its own open.


def _restore(wrapper: Any, engine: Engine, before: dict[str, Any]) -> None:
    """Restore the settings that the connection had before our transaction."""
    if "names" in before:  # Django has restored this one
        before = {"names": [name for name in before["names"] if name != "autocommit"]}
    try:
        kind_of(engine.dialect).restore(wrapper.connection, before)
    except Exception:  # a lost connection, which nobody shall use
        wrapper.close()


@contextmanager
def _as_sqlalchemy() -> Iterator[None]:
    """Raise an error of Django's database layer as the one of SQLAlchemy that has its name."""
    try:
        yield
    except django.db.Error as error:
        raise _of_the_same_name(error, None) from error


def _as_dbapi_error(error: BaseException) -> exc.DBAPIError | None:
    """Return the database's error that an error of a hook is, None for any other error."""
    if isinstance(error, django.db.Error):
        return _of_the_same_name(error, "")
    return error if isinstance(error, exc.DBAPIError) else None


def _of_the_same_name(error: Any, statement: str | None) -> exc.DBAPIError:
    names = (getattr(exc, kind.__name__, None) for kind in type(error).__mro__)
    kinds = (kind for kind in names if isinstance(kind, type) and issubclass(kind, exc.DBAPIError))
    return next(kinds, exc.DBAPIError)(statement, None, error.__cause__ or error)
