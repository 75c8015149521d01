"""Keep payments in a SQL database, through SQLAlchemy Core.

The database decides every race: a unique index allows one attempt per order, a conditional UPDATE
takes a claim, and a transition holds the row's lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

from aplus_adapters.errors import ConfigurationError, StoreError, UnknownPayment

try:
    from sqlalchemy import func, insert, or_, select, update
    from sqlalchemy.exc import IntegrityError
    from sqlalchemy.orm import Session
except ImportError:
    raise ConfigurationError(
        "SQLStore: SQLAlchemy is not installed; run pip install 'aplus_adapters[sql]'"
    ) from None

from attrs import evolve

from aplus_adapters.errors import InconsistentRetry
from aplus_adapters.payments.model import RefundObservation, RefundTransition
from aplus_adapters.payments.states import admit_refund, advance, too_many
from aplus_adapters.stores.claims import SQLClaims
from aplus_adapters.stores.database import repeating
from aplus_adapters.stores.database_store import DatabaseStore
from aplus_adapters.stores.queries import SQLQueries
from aplus_adapters.stores.retention import SQLRetention
from aplus_adapters.stores.rows import (
    attempt_changes,
    attempt_of,
    conflict_of,
    dump_observation,
    observation_of,
    refund_changes,
    refund_of,
    refund_row,
)
from aplus_adapters.stores.schema import TABLES
from aplus_adapters.stores.statements import (
    insert_attempt,
    select_unreported,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime

    from sqlalchemy import (
        ColumnElement,
        Connection,
        Dialect,
        Engine,
        Executable,
        Insert,
        Table,
        Update,
    )
    from sqlalchemy.orm import scoped_session, sessionmaker

    from aplus_adapters.payments.model import (
        Attempt,
        Conflict,
        Observation,
        Refund,
        Transition,
    )
    from aplus_adapters.stores.database_arguments import AsyncDatabaseArgument, HasSession
    from aplus_adapters.stores.schema import Tables

__all__ = ["SQLStore"]

T = TypeVar("T")
S = TypeVar("S", bound="Session")
C = TypeVar("C")  # the type of `details.connection` in hooks
_TRIES = 5  # the attempt that occupies an order may end between our INSERT and our SELECT


@repeating
class SQLStore(DatabaseStore, SQLClaims, SQLQueries, SQLRetention, Generic[C]):
    """Keeps attempts in a database that all workers and machines of the shop share.

    `database` is a SQLAlchemy address such as `sqlite:///payments.db`, `postgresql+psycopg://...`
    or `mysql+pymysql://...`, or the shop's own Engine, sessionmaker, scoped_session or Flask-
    SQLAlchemy's `db`, before or after its `init_app`. With sessions `payment_changed` gets the
    Session that commits the payment: a new one of the same kind, never the one that a view uses.

    `shop` (1 to 64 characters) names the payments of this store: shops that share a database never
    see each other's. `tables` chooses their schema and the prefix of their names
    (`aplus_adapters.stores.Tables`).

    Nothing connects here. The tables are made or migrated at the first use, or by `set_up`. With
    `create` False the first use makes nothing: if the tables are not complete, each call raises
    StoreError. Raises ConfigurationError for an unusable database or name.
    """

    @overload
    def __init__(
        self: SQLStore[Connection],
        database: str | Engine,
        *,
        shop: str = "shop",
        tables: Tables = TABLES,
        create: bool = True,
    ) -> None: ...
    @overload
    def __init__(
        self: SQLStore[S],
        database: sessionmaker[S] | scoped_session[S] | HasSession[S],
        *,
        shop: str = "shop",
        tables: Tables = TABLES,
        create: bool = True,
    ) -> None: ...
    def __init__(
        self, database: Any, *, shop: str = "shop", tables: Tables = TABLES, create: bool = True
    ) -> None:
        self._open(database, shop=shop, tables=tables, create=create)

    @classmethod
    def in_greenlets(cls, database: AsyncDatabaseArgument, **options: Any) -> SQLStore[Any]:
        """Return a store whose methods run in SQLAlchemy's greenlets, where drivers can await."""
        store: SQLStore[Any] = cls.__new__(cls)
        store._open(database, **options, is_async=True)
        return store

    def add(
        self, attempt: Attempt, most: int | None = None, since: datetime | None = None, /
    ) -> Attempt:
        """Store a new attempt unless one occupies its order; return the one that does now."""
        payments = self._tables.payments
        statement = insert_attempt(payments, self._shop, attempt, most, since)
        for _ in range(_TRIES):
            try:
                with self._transaction("add") as connection:
                    result: Any = connection.execute(statement)
                    is_new = result.rowcount == 1
                if is_new:
                    return attempt
            except IntegrityError:
                is_new = True  # the order is below its limit of attempts
            # A transaction of its own: in one that failed, PostgreSQL answers nothing more.
            with self._transaction("add") as connection:
                by_id = payments.c.payment_request_id == attempt.payment_request_id
                by_order = payments.c.occupied_order == attempt.order_ref
                query = select(payments).where(self._ours(payments), by_id | by_order)
                result = connection.execute(query).mappings()
                rows = {row["payment_request_id"]: row for row in result}
            stored = rows.get(attempt.payment_request_id)
            if stored is not None and stored["request_body"] != attempt.request_body:
                raise InconsistentRetry(
                    f"payment {attempt.payment_request_id}: already used with other content, "
                    "expected a new paymentRequestId for a new request; nothing was sent"
                )
            if rows:
                return attempt_of(stored or next(iter(rows.values())))
            if not is_new and most is not None:
                raise too_many(attempt.order_ref, most)
        raise StoreError(f"order {attempt.order_ref}: its attempts change too fast; try again")

    def get(self, payment_request_id: str, /) -> Attempt | None:
        """Return the attempt, None if there is none."""
        return self._first(
            "get", select(self._tables.payments).where(*self._payment(payment_request_id))
        )

    def latest(self, order_ref: str, /) -> Attempt | None:
        """Return the attempt that occupies an order, otherwise its newest, None if it has none."""
        payments = self._tables.payments
        query = select(payments).where(self._ours(payments), payments.c.order_ref == order_ref)
        # Money that came late makes an older attempt the one that matters.
        is_over = payments.c.occupied_order.is_(None)
        query = query.order_by(is_over, payments.c.created_at.desc())
        return self._first("latest", query.limit(1))

    def record(
        self,
        payment_request_id: str,
        observation: Observation | RefundObservation,
        inside: Callable[[Transition, C], None],
        /,
    ) -> Transition:
        """Record an observation and call `inside`, in one transaction."""
        payments, refunds = self._tables.payments, self._tables.refunds
        with self._transaction("record") as connection:
            attempt = self._locked(connection, payment_request_id)
            refund = self._refund(connection, observation)
            transition = advance(attempt, observation, refund)
            statements: list[Insert | Update] = []
            if transition.after != transition.before:
                values = self._changes(connection, transition)
                is_attempt = self._payment(payment_request_id)
                statements.append(update(payments).where(*is_attempt).values(values))
            if isinstance(transition, RefundTransition) and transition.refund_became_final:
                by_id = refunds.c.refund_request_id == transition.refund.refund_request_id
                values = refund_changes(transition.refund)
                is_refund = self._ours(refunds), by_id
                statements.append(update(refunds).where(*is_refund).values(values))
            statements.append(_write_observation(self._tables.observations, self._shop, transition))
            for statement in _in_one_message(statements, self._dialect(connection)):
                connection.execute(statement)
            transition = self._keep_conflict(connection, transition)
            # Last, so that the shop's own writes commit with all of this or not at all.
            if transition.calls_hooks:
                self._database.before_hook(connection)
                inside(transition, cast("C", connection))
        return transition

    def history(self, payment_request_id: str, /) -> list[Observation | RefundObservation]:
        """Return every observation of the attempt, in order."""
        observations = self._tables.observations
        query = (
            select(observations)
            .where(
                self._ours(observations), observations.c.payment_request_id == payment_request_id
            )
            .order_by(observations.c.id)
        )
        with self._transaction("history") as connection:
            return [observation_of(row) for row in connection.execute(query).mappings()]

    def add_refund(self, refund: Refund, /) -> Refund:
        """Store a new refund of a paid attempt; return the stored one if its id is known."""
        refunds = self._tables.refunds
        related = or_(
            refunds.c.payment_request_id == refund.payment_request_id,
            refunds.c.refund_request_id == refund.refund_request_id,
        )
        try:
            with self._transaction("add_refund") as connection:
                attempt = self._locked(connection, refund.payment_request_id)
                query = select(refunds).where(self._ours(refunds), related)
                rows = connection.execute(query).mappings()
                stored = admit_refund(attempt, map(refund_of, rows), refund)
                if stored is None:
                    values = {"shop": self._shop, **refund_row(refund)}
                    connection.execute(insert(refunds).values(values))
                return stored or refund
        except IntegrityError:  # the same id came for another payment at the same moment
            raise InconsistentRetry(
                f"refund {refund.refund_request_id}: already used for another payment, expected a "
                "new refund_request_id for another refund; nothing was sent"
            ) from None

    def refunds(self, payment_request_id: str, /) -> list[Refund]:
        """Return every refund of the attempt in the order in which they were added."""
        refunds = self._tables.refunds
        by_payment = refunds.c.payment_request_id == payment_request_id
        query = select(refunds).where(self._ours(refunds), by_payment).order_by(refunds.c.id)
        with self._transaction("refunds") as connection:
            return [refund_of(row) for row in connection.execute(query).mappings()]

    def conflict_reported(self, conflict: Conflict, /) -> None:
        """Mark a conflict as reported to the shop."""
        conflicts = self._tables.conflicts
        statement = update(conflicts).where(self._ours(conflicts), conflicts.c.key == conflict.key)
        with self._transaction("conflict_reported") as connection:
            connection.execute(statement.values(unreported=None))

    def unreported_conflicts(self, limit: int, client_ids: Collection[str], /) -> list[Conflict]:
        """Return up to `limit` conflicts not yet reported to the shop, oldest first."""
        query = select_unreported(self._tables, self._shop, client_ids)
        return self._search("unreported_conflicts", query, conflict_of, limit)

    def _first(self, method: str, query: Any) -> Attempt | None:
        with self._transaction(method) as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else attempt_of(row)

    def _ours(self, table: Table) -> ColumnElement[bool]:
        """Return the condition that a row is of this store's shop."""
        return table.c.shop == self._shop

    def _payment(self, payment_request_id: str) -> tuple[ColumnElement[bool], ...]:
        payments = self._tables.payments
        return self._ours(payments), payments.c.payment_request_id == payment_request_id

    def _dialect(self, connection: Connection | Session) -> Dialect:
        if isinstance(connection, Session):
            return connection.get_bind(clause=self._tables.payments).dialect
        return connection.dialect

    def _locked(self, connection: Connection | Session, payment_request_id: str) -> Attempt:
        """Return the attempt, locked until the transaction ends; raise UnknownPayment."""
        payments = self._tables.payments
        is_attempt = self._payment(payment_request_id)
        # An UPDATE, not FOR UPDATE: in REPEATABLE READ the view of who waits is older than the
        # lock, and would not show a refund that was added meanwhile. A row that has changed makes
        # the database ask for a repetition.
        lock = update(payments).where(*is_attempt).values(state=payments.c.state)
        if self._dialect(connection).update_returning:
            result: Any = connection.execute(lock.returning(payments))
        else:
            connection.execute(lock)
            result = connection.execute(select(payments).where(*is_attempt))
        row = result.mappings().first()
        if row is None:
            raise UnknownPayment(
                f"payment {payment_request_id[:64]!r}: found no such attempt in the store; "
                "do several shops share one client id or one notify URL?"
            )
        return attempt_of(row)

    def _refund(
        self, connection: Connection | Session, observation: Observation | RefundObservation
    ) -> Refund | None:
        """Return the stored refund that the observation is about, None if there is none."""
        if not isinstance(observation, RefundObservation):
            return None
        refunds = self._tables.refunds
        by_id = refunds.c.refund_request_id == observation.refund_request_id
        query = select(refunds).where(self._ours(refunds), by_id)
        row = connection.execute(query).mappings().first()
        return None if row is None else refund_of(row)

    def _changes(self, connection: Connection | Session, transition: Transition) -> dict[str, Any]:
        """Return the columns that a transition changes.

        An attempt that was over occupies its order again if its money came late, unless a newer
        attempt occupies it.
        """
        before, after = transition.before, transition.after
        values = attempt_changes(after)
        if after.occupies_order and before.state.is_final:
            payments = self._tables.payments
            others = select(payments.c.payment_request_id).where(
                self._ours(payments),
                payments.c.occupied_order == after.order_ref,
                payments.c.payment_request_id != after.payment_request_id,
            )
            if connection.execute(others).first() is not None:
                values["occupied_order"] = None
        return values

    def _keep_conflict(
        self, connection: Connection | Session, transition: Transition
    ) -> Transition:
        """Store a new conflict; return the transition without a conflict that the shop knows."""
        conflict = transition.conflict
        if conflict is None:
            return transition
        conflicts = self._tables.conflicts
        is_conflict = self._ours(conflicts), conflicts.c.key == conflict.key
        row = connection.execute(select(conflicts.c.unreported).where(*is_conflict)).first()
        if row is None:
            connection.execute(
                insert(conflicts).values(
                    shop=self._shop,
                    key=conflict.key,
                    payment_request_id=conflict.attempt.payment_request_id,
                    reason=conflict.reason,
                    details=dump_observation(conflict.observation),
                    unreported="y",
                    unresolved="y",
                )
            )
            is_attempt = self._payment(conflict.attempt.payment_request_id)
            change = update(self._tables.payments).where(*is_attempt)
            connection.execute(change.values(attention="y"))
        elif row.unreported is None:
            return evolve(transition, conflict=None)
        return transition


def _write_observation(observations: Table, shop: str, transition: Transition) -> Insert | Update:
    """Return the statement that adds an observation, or counts it in the last one."""
    observation = transition.observation
    ours = (
        observations.c.shop == shop,
        observations.c.payment_request_id == (transition.after.payment_request_id),
    )
    details = dump_observation(observation)
    if not transition.repeats:
        return insert(observations).values(
            shop=shop,
            payment_request_id=transition.after.payment_request_id,
            source=observation.source.value,
            details=details,
            count=1,
            first_at=observation.at,
        )
    # The payment's row is locked, so its last observation stays the last one. MySQL wants the
    # subquery around a table that is being changed.
    last = select(func.max(observations.c.id).label("id")).where(*ours).subquery()
    is_last = observations.c.id == select(last.c.id).scalar_subquery()
    count = observations.c.count + 1
    return update(observations).where(is_last).values(details=details, count=count)


def _in_one_message(
    statements: Sequence[Insert | Update], dialect: Dialect
) -> Sequence[Executable]:
    """Return statements that do the same, in as few messages as the database allows."""
    if dialect.name != "postgresql" or len(statements) == 1:
        return statements
    *others, last = statements
    return [last.add_cte(*(one.cte(f"change_{n}") for n, one in enumerate(others)))]
