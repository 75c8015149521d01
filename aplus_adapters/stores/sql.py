"""Keep payments in a SQL database, through SQLAlchemy Core.

The database decides every race: a unique index allows one attempt per order, a conditional UPDATE
takes a claim, and a transition holds the row's lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

from aplus_adapters.errors import ConfigurationError, StoreError, UnknownPayment

try:
    from sqlalchemy import insert, or_, select, update
    from sqlalchemy.exc import IntegrityError
    from sqlalchemy.orm import Session
except ImportError:
    raise ConfigurationError(
        "SQLStore: SQLAlchemy is not installed; run pip install 'aplus_adapters[sql]'"
    ) from None

from attrs import evolve

from aplus_adapters.errors import InconsistentRetry
from aplus_adapters.payments.model import RefundObservation, RefundTransition, Stage
from aplus_adapters.payments.refund_states import admit_refund
from aplus_adapters.payments.states import advance, needs_refunds, too_many
from aplus_adapters.stores.claims import SQLClaims
from aplus_adapters.stores.database import repeating, store_error, to_be_repeated
from aplus_adapters.stores.database_store import DatabaseStore
from aplus_adapters.stores.queries import SQLQueries
from aplus_adapters.stores.retention import SQLRetention
from aplus_adapters.stores.rows import (
    attempt_changes,
    attempt_of,
    attempt_row,
    conflict_of,
    dump_observation,
    observation_of,
    refund_changes,
    refund_of,
    refund_row,
)
from aplus_adapters.stores.schema import TABLES
from aplus_adapters.stores.statements import new_values, select_unreported

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Dialect, Engine, Table
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
        row = attempt_row(attempt)
        insertion = self._statements.insert_attempt(
            row, limited=most is not None, since=since is not None
        )
        values = new_values(row)
        if most is not None:
            values |= {"order": attempt.order_ref, "most": most, "since": since}
        for _ in range(_TRIES):
            try:
                with self._transaction("add") as connection:
                    result: Any = connection.execute(insertion, values)
                    is_below_limit = result.rowcount == 1
                if is_below_limit:
                    return attempt
            except IntegrityError:
                is_below_limit = True  # another attempt is in the way
            # A transaction of its own: in one that failed, PostgreSQL answers nothing more.
            with self._transaction("add") as connection:
                ids = {"payment": attempt.payment_request_id, "order": attempt.order_ref}
                in_the_way = connection.execute(self._statements.in_the_way, ids).mappings()
                rows = {row["payment_request_id"]: row for row in in_the_way}
            stored = rows.get(attempt.payment_request_id)
            if stored is not None and stored["request_body"] != attempt.request_body:
                raise InconsistentRetry(
                    f"payment {attempt.payment_request_id}: already used with other content, "
                    "expected a new paymentRequestId for a new request; nothing was sent"
                )
            if rows:
                return attempt_of(stored or next(iter(rows.values())))
            if not is_below_limit and most is not None:
                raise too_many(attempt.order_ref, most)
        raise StoreError(f"order {attempt.order_ref}: its attempts change too fast; try again")

    def get(self, payment_request_id: str, /) -> Attempt | None:
        """Return the attempt, None if there is none."""
        return self._first("get", self._statements.payment, payment=payment_request_id)

    def latest(self, order_ref: str, /) -> Attempt | None:
        """Return the attempt that occupies an order, otherwise its newest, None if it has none."""
        return self._first("latest", self._statements.latest, order=order_ref)

    def record(
        self,
        payment_request_id: str,
        observation: Observation | RefundObservation,
        inside: Callable[[Transition, C], None],
        /,
    ) -> Transition:
        """Record an observation and call `inside`, in one transaction."""
        try:
            return self._record(payment_request_id, observation, inside)
        except IntegrityError as error:
            was_taken = "occupied_order" in str(error.orig)  # before the values are hidden
            problem = store_error("record", error)
            if was_taken:  # by another attempt at the same moment
                problem = to_be_repeated(f"payment {payment_request_id}: its order was taken")
            raise problem from error

    def _record(
        self,
        payment_request_id: str,
        observation: Observation | RefundObservation,
        inside: Callable[[Transition, C], None],
    ) -> Transition:
        with self._transaction("record") as connection:
            attempt = self._locked(connection, payment_request_id)
            is_needed = needs_refunds(attempt, observation)
            refunds = self._refunds_of(connection, payment_request_id) if is_needed else ()
            transition = advance(attempt, observation, refunds)
            changes: dict[str, Any] = {}
            if transition.after != transition.before:
                changes = self._changes(connection, transition)
            refund_changed: dict[str, Any] = {}
            if isinstance(transition, RefundTransition) and transition.refund_became_final:
                refund_changed = refund_changes(transition.refund)
            statements = self._statements.recorded(
                changes,
                refund_changed,
                repeats=transition.repeats,
                # One message in place of several.
                together=self._dialect(connection).name == "postgresql",
            )
            values = _recorded_values(transition, changes, refund_changed)
            for statement in statements:
                connection.execute(statement, values)
            if transition.before.occupies_order and not transition.after.occupies_order:
                self._pass_order_on(connection, transition.after.order_ref)
            transition = self._keep_conflict(connection, transition)
            # Last, so that the shop's own writes commit with all of this or not at all.
            if transition.calls_hooks:
                self._database.before_hook(connection)
                inside(transition, cast("C", connection))
        return transition

    def history(self, payment_request_id: str, /) -> list[Observation | RefundObservation]:
        """Return every observation of the attempt, in order."""
        with self._transaction("history") as connection:
            rows = connection.execute(self._statements.history, {"payment": payment_request_id})
            return [observation_of(row) for row in rows.mappings()]

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
        with self._transaction("refunds") as connection:
            return self._refunds_of(connection, payment_request_id)

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

    def _first(self, method: str, query: Any, **values: str) -> Attempt | None:
        with self._transaction(method) as connection:
            row = connection.execute(query, values).mappings().first()
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
        values = {"payment": payment_request_id}
        result: Any
        if self._dialect(connection).update_returning:
            result = connection.execute(self._statements.lock_and_read, values)
        else:
            connection.execute(self._statements.lock, values)
            result = connection.execute(self._statements.payment, values)
        row = result.mappings().first()
        if row is None:
            raise UnknownPayment(
                f"payment {payment_request_id[:64]!r}: found no such attempt in the store; "
                "do several shops share one client id or one notify URL?"
            )
        return attempt_of(row)

    def _refunds_of(
        self, connection: Connection | Session, payment_request_id: str
    ) -> list[Refund]:
        rows = connection.execute(self._statements.refunds, {"payment": payment_request_id})
        return [refund_of(row) for row in rows.mappings()]

    def _changes(self, connection: Connection | Session, transition: Transition) -> dict[str, Any]:
        """Return the columns that a transition changes.

        An attempt that was over occupies its order again if its money came late, unless a newer
        attempt occupies it.
        """
        before, after = transition.before, transition.after
        values = attempt_changes(after, before)
        if "occupied_order" in values and after.occupies_order:
            payments = self._tables.payments
            occupant = update(payments).where(
                self._ours(payments),
                payments.c.occupied_order == after.order_ref,
                payments.c.payment_request_id != after.payment_request_id,
            )
            # Whoever ends that one passes the order on to the money that it can see. This waits
            # until it has ended, or is waited for.
            result: Any = connection.execute(occupant.values(state=payments.c.state))
            if result.rowcount:
                values["occupied_order"] = None
        return values

    def _pass_order_on(self, connection: Connection | Session, order_ref: str) -> None:
        """Let an older attempt whose money came late occupy the order, unless another does.

        While that one was still open, the order was its own. Without this the order could be paid
        once more.
        """
        payments = self._tables.payments
        of_order = self._ours(payments), payments.c.order_ref == order_ref
        is_paid = payments.c.stage.in_([Stage.PAID.value, Stage.PAID_FORGOTTEN.value])
        query = select(payments.c.payment_request_id, payments.c.occupied_order)
        occupies = payments.c.occupied_order.is_not(None)
        query = query.where(*of_order, or_(occupies, is_paid))
        query = query.order_by(
            ~occupies, payments.c.created_at.desc(), payments.c.payment_request_id.desc()
        )
        while (row := connection.execute(query).first()) and row.occupied_order is None:
            change = update(payments).where(*self._payment(row.payment_request_id), is_paid)
            result: Any = connection.execute(change.values(occupied_order=order_ref))
            if result.rowcount:
                return
            # Its money was refunded while the change waited for it: the next one's turn.

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


def _recorded_values(
    transition: Transition, changes: dict[str, Any], refund_changed: dict[str, Any]
) -> dict[str, Any]:
    """Return the values of the statements that record a transition."""
    observation, request_id = transition.observation, transition.after.payment_request_id
    values = {
        "payment": request_id,
        **new_values(changes),
        "note_payment_request_id": request_id,
        "note_source": observation.source.value,
        "note_details": dump_observation(observation),
        "note_first_at": observation.at,
    }
    if isinstance(observation, RefundObservation):
        values["refund"] = observation.refund_request_id
        values |= {f"new_refund_{name}": value for name, value in refund_changed.items()}
    return values
