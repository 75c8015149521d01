"""A payment store in a SQL database, through SQLAlchemy Core: SQLite and PostgreSQL.

What must not race is decided by the database: one attempt per order by a unique index, turns by a
conditional UPDATE, transitions under the row's lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aplus_adapters.errors import ConfigurationError, StoreError, UnknownPayment

try:
    from sqlalchemy import insert, or_, select, update
    from sqlalchemy.exc import IntegrityError
except ImportError:
    raise ConfigurationError(
        "SQLStore: SQLAlchemy is not installed; run pip install 'aplus_adapters[sql]'"
    ) from None

from attrs import evolve

from aplus_adapters.errors import InconsistentRetry
from aplus_adapters.payments.attempt import Conflict
from aplus_adapters.payments.states import admit_refund, advance
from aplus_adapters.stores.database import Database
from aplus_adapters.stores.rows import (
    attempt_changes,
    attempt_of,
    attempt_row,
    dump_observation,
    load_observation,
    refund_changes,
    refund_of,
    refund_row,
)
from aplus_adapters.stores.schema import conflicts, migrate, observations, payments, refunds

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Engine, Table
    from sqlalchemy.orm import Session

    from aplus_adapters.payments.attempt import Attempt, Observation, Refund, Transition
    from aplus_adapters.stores.database import Given

__all__ = ["SQLStore"]

_TRIES = 5  # an order's occupant may vanish between our INSERT and our SELECT, rarely twice


class SQLStore:
    """Keeps attempts in a database that all workers and machines of the shop share.

    `database` is a SQLAlchemy address such as `sqlite:///payments.db` or
    `postgresql+psycopg://...`, or the shop's own Engine, sessionmaker or scoped_session (Flask-
    SQLAlchemy's `db.session`): then the shop's time-outs hold, and with sessions `payment_changed`
    is given the Session that commits the payment. The tables are made or migrated at once. Raises
    ConfigurationError for an unusable address, StoreError if the database cannot be reached.
    """

    def __init__(self, database: Given) -> None:
        self._database = Database(database)
        self._transaction = self._database.transaction
        try:
            with self._transaction("set-up") as connection:
                migrate(connection)
        except BaseException:
            self.close()
            raise

    def add(self, attempt: Attempt, /) -> Attempt:
        """Store a new attempt unless one occupies its order; give the one that does now."""
        for _ in range(_TRIES):
            try:
                with self._transaction("add") as connection:
                    connection.execute(insert(payments).values(attempt_row(attempt)))
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
                return attempt_of(same or next(iter(rows.values())))
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
        mine = payments.c.payment_request_id == payment_request_id
        return self._move("schedule", payments, mine, expected, at)

    def record(
        self,
        payment_request_id: str,
        observation: Observation,
        inside: Callable[[Transition, Any], None],
        /,
    ) -> Transition:
        """Advance the locked attempt in one transaction with `inside`."""
        with self._transaction("record") as connection:
            attempt = _locked(connection, payment_request_id)
            refund = _refund(connection, observation.refund_request_id)
            transition = advance(attempt, observation, refund)
            if transition.after != transition.before:
                mine = payments.c.payment_request_id == payment_request_id
                values = attempt_changes(transition.after)
                connection.execute(update(payments).where(mine).values(values))
            if transition.refund is not None and transition.settles_refund:
                this = refunds.c.refund_request_id == transition.refund.refund_request_id
                values = refund_changes(transition.refund)
                connection.execute(update(refunds).where(this).values(values))
            connection.execute(
                insert(observations).values(
                    payment_request_id=payment_request_id, details=dump_observation(observation)
                )
            )
            transition = _keep_conflict(connection, transition)
            if transition.settles or transition.settles_refund:
                inside(transition, connection)
        return transition

    def due(self, now: datetime, limit: int, /) -> list[Attempt]:
        """Give up to `limit` open attempts that may be called about now, longest waiting first."""
        query = select(payments).where(payments.c.next_call_at <= now)
        query = query.order_by(payments.c.next_call_at).limit(limit)
        with self._transaction("due") as connection:
            return [attempt_of(row) for row in connection.execute(query).mappings()]

    def history(self, payment_request_id: str, /) -> list[Observation]:
        """Give every observation of the attempt, in order."""
        query = (
            select(observations.c.details)
            .where(observations.c.payment_request_id == payment_request_id)
            .order_by(observations.c.id)
        )
        with self._transaction("history") as connection:
            return [load_observation(details) for details in connection.execute(query).scalars()]

    def add_refund(self, refund: Refund, /) -> Refund:
        """Store a new refund of a paid attempt; give the stored one if its id is known."""
        related = or_(
            refunds.c.payment_request_id == refund.payment_request_id,
            refunds.c.refund_request_id == refund.refund_request_id,
        )
        try:
            with self._transaction("add_refund") as connection:
                attempt = _locked(connection, refund.payment_request_id)
                rows = connection.execute(select(refunds).where(related)).mappings()
                stored = admit_refund(attempt, map(refund_of, rows), refund)
                if stored is None:
                    connection.execute(insert(refunds).values(refund_row(refund)))
                return stored or refund
        except IntegrityError:  # the same id came for another payment at the same moment
            raise InconsistentRetry(
                f"refund {refund.refund_request_id}: already used for another payment, expected a "
                "new refund_request_id for another refund; nothing was sent"
            ) from None

    def refunds(self, payment_request_id: str, /) -> list[Refund]:
        """Give every refund of the attempt in the order in which they were added."""
        query = select(refunds).where(refunds.c.payment_request_id == payment_request_id)
        return self._refunds("refunds", query.order_by(refunds.c.id))

    def schedule_refund(
        self, refund_request_id: str, expected: datetime | None, at: datetime, /
    ) -> bool:
        """Set a refund's `next_call_at` to `at` if it still is `expected`; tell whether it was."""
        mine = refunds.c.refund_request_id == refund_request_id
        return self._move("schedule_refund", refunds, mine, expected, at)

    def due_refunds(self, now: datetime, limit: int, /) -> list[Refund]:
        """Give up to `limit` open refunds that may be called about now, longest waiting first."""
        query = select(refunds).where(refunds.c.next_call_at <= now)
        return self._refunds("due_refunds", query.order_by(refunds.c.next_call_at).limit(limit))

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
                    attempt=attempt_of(row),
                    observation=load_observation(row["details"]),
                    reason=row["reason"],
                )
                for row in connection.execute(query).mappings()
            ]

    @property
    def engine(self) -> Engine:
        """Give the engine, with its time-outs, for the shop's own tables in the same database."""
        return self._database.engine

    def close(self) -> None:
        """Close the pooled connections."""
        self._database.close()

    def _one(self, what: str, query: Any) -> Attempt | None:
        with self._transaction(what) as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else attempt_of(row)

    def _refunds(self, what: str, query: Any) -> list[Refund]:
        with self._transaction(what) as connection:
            return [refund_of(row) for row in connection.execute(query).mappings()]

    def _move(
        self,
        what: str,
        table: Table,
        mine: ColumnElement[bool],
        expected: datetime | None,
        at: datetime,
    ) -> bool:
        still = table.c.next_call_at == expected, table.c.next_call_at.is_not(None)
        statement = update(table).where(mine, *still).values(next_call_at=at)
        with self._transaction(what) as connection:
            result: Any = connection.execute(statement)
            return bool(result.rowcount == 1)


def _locked(connection: Connection | Session, payment_request_id: str) -> Attempt:
    """Give the attempt, locked until the transaction ends; UnknownPayment if there is none."""
    mine = payments.c.payment_request_id == payment_request_id
    # A write and not FOR UPDATE, because SQLite would take a read lock first and then refuse to
    # upgrade it under another writer.
    connection.execute(update(payments).where(mine).values(state=payments.c.state))
    row = connection.execute(select(payments).where(mine)).mappings().first()
    if row is None:
        raise UnknownPayment(
            f"payment {payment_request_id[:64]!r}: found no such attempt in the store; "
            "do several shops share one client id or one notify URL?"
        )
    return attempt_of(row)


def _refund(connection: Connection | Session, refund_request_id: str | None) -> Refund | None:
    if refund_request_id is None:
        return None
    query = select(refunds).where(refunds.c.refund_request_id == refund_request_id)
    row = connection.execute(query).mappings().first()
    return None if row is None else refund_of(row)


def _keep_conflict(connection: Connection | Session, transition: Transition) -> Transition:
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
        return evolve(transition, conflict=None)
    return transition
