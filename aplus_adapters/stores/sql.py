"""A payment store in a SQL database, through SQLAlchemy Core: SQLite and PostgreSQL.

What must not race is decided by the database: one attempt per order by a unique index, turns by a
conditional UPDATE, transitions under the row's lock.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from aplus_adapters.errors import ConfigurationError, InconsistentRetry, StoreError, UnknownPayment

try:
    from sqlalchemy import Engine, create_engine, event, insert, select, update
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, IntegrityError, SQLAlchemyError
except ImportError:
    raise ConfigurationError(
        "SQLStore: SQLAlchemy is not installed; run pip install 'aplus_adapters[sql]'"
    ) from None

from aplus_adapters.payments.attempt import Attempt, Conflict, State, Transition
from aplus_adapters.payments.states import advance
from aplus_adapters.protocol.amounts import Amount
from aplus_adapters.protocol.messages.result import Result
from aplus_adapters.protocol.timestamps import Timestamp
from aplus_adapters.stores.rows import (
    dump_observation,
    dump_order_code,
    load_observation,
    load_order_code,
)
from aplus_adapters.stores.schema import conflicts, migrate, observations, payments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from sqlalchemy import Connection, RowMapping

    from aplus_adapters.payments.attempt import Observation

__all__ = ["SQLStore"]

_PATIENCE = 3  # seconds for a lock, a statement or a connection: an answer is due within 5
_TRIES = 5  # an order's occupant may vanish between our INSERT and our SELECT, rarely twice


class SQLStore:
    """Keeps attempts in a database that all workers and machines of the shop share.

    `database` is a SQLAlchemy address such as `sqlite:///payments.db` or
    `postgresql+psycopg://...`, or the shop's own Engine: then the shop's time-outs hold. The tables
    are made or migrated at once. Raises ConfigurationError for an unusable address, StoreError if
    the database cannot be reached.
    """

    def __init__(self, database: str | Engine) -> None:
        self._engine = database if isinstance(database, Engine) else _engine(database)
        self._set_up()

    def _set_up(self) -> None:
        """Make or migrate the tables; of several workers that start at once one will."""
        for last in (False, False, True):
            try:
                with self._transaction("set-up") as connection:
                    migrate(connection)
            except (StoreError, IntegrityError):
                if last:
                    raise
            else:
                return

    def add(self, attempt: Attempt, /) -> Attempt:
        """Store a new attempt unless one occupies its order; give the one that does now."""
        for _ in range(_TRIES):
            try:
                with self._transaction("add") as connection:
                    connection.execute(insert(payments).values(_row(attempt)))
                    return attempt
            except IntegrityError:
                pass
            with self._transaction("add") as connection:
                by_id = payments.c.payment_request_id == attempt.payment_request_id
                by_order = payments.c.occupied_order == attempt.order_ref
                found = connection.execute(select(payments).where(by_id | by_order)).mappings()
                rows = {row["payment_request_id"]: row for row in found}
            same = rows.get(attempt.payment_request_id)
            if same is not None and same["request_body"] != attempt.request_body:
                raise InconsistentRetry(
                    f"payment {attempt.payment_request_id}: already used with other content, "
                    "expected a new paymentRequestId for a new request; nothing was sent"
                )
            if rows:
                return _attempt(same or next(iter(rows.values())))
        raise StoreError(f"order {attempt.order_ref}: its attempts change too fast; try again")

    def get(self, payment_request_id: str, /) -> Attempt | None:
        """Give the attempt, None if there is none."""
        query = select(payments).where(payments.c.payment_request_id == payment_request_id)
        return self._one("get", query)

    def latest(self, order_ref: str, /) -> Attempt | None:
        """Give the newest attempt of an order, None if there is none."""
        query = select(payments).where(payments.c.order_ref == order_ref)
        return self._one("latest", query.order_by(payments.c.created_at.desc()).limit(1))

    def schedule(self, payment_request_id: str, expected: datetime | None, at: datetime, /) -> bool:
        """Set `next_call_at` to `at` if it still is `expected`; tell whether it was."""
        statement = (
            update(payments)
            .where(payments.c.payment_request_id == payment_request_id)
            .where(payments.c.next_call_at == expected, payments.c.next_call_at.is_not(None))
            .values(next_call_at=at)
        )
        with self._transaction("schedule") as connection:
            return connection.execute(statement).rowcount == 1

    def record(
        self,
        payment_request_id: str,
        observation: Observation,
        inside: Callable[[Transition, Any], None],
        /,
    ) -> Transition:
        """Advance the locked attempt in one transaction with `inside`."""
        mine = payments.c.payment_request_id == payment_request_id
        with self._transaction("record") as connection:
            # The lock. A write and not FOR UPDATE, because SQLite would take a read lock first and
            # then refuse to upgrade it under another writer.
            connection.execute(update(payments).where(mine).values(state=payments.c.state))
            row = connection.execute(select(payments).where(mine)).mappings().first()
            if row is None:
                raise UnknownPayment(
                    f"payment {payment_request_id[:64]!r}: found no such attempt in the store; "
                    "do several shops share one client id or one notify URL?"
                )
            transition = advance(_attempt(row), observation)
            if transition.after != transition.before:
                connection.execute(update(payments).where(mine).values(_row(transition.after)))
            connection.execute(
                insert(observations).values(
                    payment_request_id=payment_request_id, details=dump_observation(observation)
                )
            )
            transition = _keep_conflict(connection, transition)
            if transition.settles:
                inside(transition, connection)
        return transition

    def due(self, now: datetime, limit: int, /) -> list[Attempt]:
        """Give up to `limit` open attempts that may be called about now, longest waiting first."""
        query = select(payments).where(payments.c.next_call_at <= now)
        query = query.order_by(payments.c.next_call_at).limit(limit)
        with self._transaction("due") as connection:
            return [_attempt(row) for row in connection.execute(query).mappings()]

    def history(self, payment_request_id: str, /) -> list[Observation]:
        """Give every observation of the attempt, in order."""
        query = (
            select(observations.c.details)
            .where(observations.c.payment_request_id == payment_request_id)
            .order_by(observations.c.id)
        )
        with self._transaction("history") as connection:
            return [load_observation(details) for details in connection.execute(query).scalars()]

    def conflict_reported(self, conflict: Conflict, /) -> None:
        """Mark a conflict as told to the shop."""
        statement = update(conflicts).where(conflicts.c.key == conflict.key)
        with self._transaction("conflict_reported") as connection:
            connection.execute(statement.values(unreported=None))

    def unreported_conflicts(self, limit: int, /) -> list[Conflict]:
        """Give up to `limit` conflicts that the shop was not told of yet, oldest first."""
        query = (
            select(payments, conflicts.c.reason, conflicts.c.details)
            .join(conflicts, conflicts.c.payment_request_id == payments.c.payment_request_id)
            .where(conflicts.c.unreported == "y")
            .order_by(conflicts.c.id)
            .limit(limit)
        )
        with self._transaction("unreported_conflicts") as connection:
            return [
                Conflict(
                    attempt=_attempt(row),
                    observation=load_observation(row["details"]),
                    reason=row["reason"],
                )
                for row in connection.execute(query).mappings()
            ]

    def close(self) -> None:
        """Close the pooled connections."""
        self._engine.dispose()

    def _one(self, what: str, query: Any) -> Attempt | None:
        with self._transaction(what) as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else _attempt(row)

    @contextmanager
    def _transaction(self, what: str) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except IntegrityError:
            raise  # `add` reads it as news, anywhere else the caller makes it a StoreError
        except SQLAlchemyError as error:
            raise StoreError(
                f"store {what}: the database raised {type(error).__name__}; "
                "nothing is acknowledged until it works again"
            ) from error


def _keep_conflict(connection: Connection, transition: Transition) -> Transition:
    """Store a new conflict; give the transition without it if the shop knows it already."""
    conflict = transition.conflict
    if conflict is None:
        return transition
    query = select(conflicts.c.unreported).where(conflicts.c.key == conflict.key)
    row = connection.execute(query).first()
    if row is None:
        connection.execute(
            insert(conflicts).values(
                key=conflict.key,
                payment_request_id=conflict.attempt.payment_request_id,
                reason=conflict.reason,
                details=dump_observation(conflict.observation),
                unreported="y",
            )
        )
    elif row.unreported is None:
        return Transition(
            before=transition.before, after=transition.after, observation=transition.observation
        )
    return transition


def _row(attempt: Attempt) -> dict[str, Any]:
    return {
        "payment_request_id": attempt.payment_request_id,
        "order_ref": attempt.order_ref,
        "occupied_order": attempt.order_ref if attempt.state.occupies_order else None,
        "client_id": attempt.client_id,
        "state": attempt.state.value,
        "currency": attempt.amount.currency,
        "amount_value": attempt.amount.value,
        "request_body": attempt.request_body,
        "created_at": attempt.created_at,
        "expires_at": attempt.expires_at,
        "next_call_at": attempt.next_call_at,
        "changed_at": attempt.changed_at,
        "payment_id": attempt.payment_id,
        "order_code": dump_order_code(attempt.order_code),
        "result": json.dumps(attempt.result.to_wire()) if attempt.result else None,
        "payment_time": attempt.payment_time.text if attempt.payment_time else None,
        "wallet": attempt.wallet,
    }


def _attempt(row: RowMapping) -> Attempt:
    return Attempt(
        payment_request_id=row["payment_request_id"],
        order_ref=row["order_ref"],
        client_id=row["client_id"],
        state=State(row["state"]),
        amount=Amount(row["currency"], row["amount_value"]),
        request_body=bytes(row["request_body"]),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        next_call_at=row["next_call_at"],
        changed_at=row["changed_at"],
        payment_id=row["payment_id"],
        order_code=load_order_code(row["order_code"]),
        result=Result.from_wire(json.loads(row["result"])) if row["result"] else None,
        payment_time=Timestamp(row["payment_time"]) if row["payment_time"] else None,
        wallet=row["wallet"],
    )


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
            pool_pre_ping=name != "sqlite",
            connect_args=_connect_args(name),
        )
    except (ArgumentError, ImportError) as error:
        raise ConfigurationError(
            f"SQLStore: cannot use the database address ({type(error).__name__}: "
            f"{str(error)[:200]}), expected one such as sqlite:///payments.db or "
            "postgresql+psycopg://user@host/shop with its driver installed"
        ) from None
    if name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _connect_args(name: str) -> dict[str, Any]:
    if name == "sqlite":
        return {"timeout": _PATIENCE}
    if name == "postgresql":
        milliseconds = _PATIENCE * 1000
        options = f"-c statement_timeout={milliseconds} -c lock_timeout={milliseconds}"
        return {"connect_timeout": _PATIENCE, "options": options}
    return {}


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # Readers do not wait for writers; a commit survives the process's death and the machine's.
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
