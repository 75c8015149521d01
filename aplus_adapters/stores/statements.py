"""The SQL of a store's frequent steps, built once, as building it costs more than executing it.

Values are given when a statement is executed, by the names of its parameters: `payment` is a
payment request id, `order` an order, `refund` a refund request id, `key` either of both ids, and
`new_...` the value of a column.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, func, insert, literal, or_, select, union_all, update

from aplus_adapters.payments.policy import FAR, FARTHEST

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from sqlalchemy import BindParameter, Column, Executable, Insert, Select, Table, Update

    from aplus_adapters.stores.schema import Tables

__all__ = ["Statements", "new_values", "select_due", "select_unreported"]


def new_values(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of columns under the names of their parameters."""
    return {f"new_{name}": value for name, value in row.items()}


# What only conditions compare. The database reads them, who reads a payment does not.
_COMPARED = {"shop", "occupied_order", "wallet_key", "attention", "stage"}


class Statements:
    """The statements of one shop's store.

    `payment` is the row of a payment, `payments` those of several, whose ids are in the parameter
    of that name. `latest` is the attempt that occupies an order, otherwise its newest. `in_the_way`
    are the rows that a new attempt finds: of its id, or of its order. `history` and `refunds` are
    those of a payment, in order. `lock` keeps a payment's row until the transaction ends;
    `lock_and_read` returns it as well. `claim` takes a claim that is `token` still, until `until`.
    `release` gives it back, with the next call at `until`.
    """

    # All are built here and not at their first use: who computes a property once holds a lock
    # (`cached_property` up to Python 3.11), which a fork would leave locked in the child.
    def __init__(self, tables: Tables, shop: str) -> None:
        payments, refunds = tables.payments, tables.refunds
        self._tables, self._shop = tables, shop
        is_of = payments.c.shop == shop
        by_id = payments.c.payment_request_id == bindparam("payment")
        self._is_payment = is_of, by_id
        self._is_refund = refunds.c.shop == shop, refunds.c.refund_request_id == bindparam("refund")

        columns = [column for column in payments.c if column.name not in _COMPARED]
        self.payment = select(*columns).where(*self._is_payment)
        ids: BindParameter[Any] = bindparam("payments", expanding=True)
        self.payments = select(payments).where(is_of, payments.c.payment_request_id.in_(ids))
        # Money that came late makes an older attempt the one that matters.
        is_over = payments.c.occupied_order.is_(None)
        of_order = select(payments).where(is_of, payments.c.order_ref == bindparam("order"))
        newest_first = payments.c.created_at.desc(), payments.c.payment_request_id.desc()
        self.latest = of_order.order_by(is_over, *newest_first).limit(1)
        by_order = payments.c.occupied_order == bindparam("order")
        self.in_the_way = select(payments).where(is_of, by_id | by_order)
        self.history = _select_of_payment(tables.observations, shop)
        self.refunds = _select_of_payment(refunds, shop)

        # An UPDATE, not FOR UPDATE: in REPEATABLE READ the view of who waits is older than the
        # lock, and would not show a refund that was added meanwhile. A row that has changed makes
        # the database ask for a repetition.
        self.lock = update(payments).where(*self._is_payment).values(state=payments.c.state)
        self.lock_and_read: Any = self.lock.returning(*columns)
        self.claim = _claim(payments, shop, "payment_request_id")
        self.release = _release(payments, shop, "payment_request_id")
        self.claim_refund = _claim(refunds, shop, "refund_request_id")
        self.release_refund = _release(refunds, shop, "refund_request_id")

        self._inserted = lru_cache(None)(self._build_insert)
        self._recorded = lru_cache(None)(self._build_recorded)

    def insert_attempt(self, names: Collection[str], *, limited: bool, since: bool) -> Insert:
        """Return the statement that inserts an attempt with the columns `names`.

        With `limited` it does so only if its order had fewer attempts than `most`; `since` leaves
        out those before the parameter `since`.
        """
        return self._inserted(tuple(names), limited, since)

    def recorded(
        self, changed: Collection[str], refunded: Collection[str], *, repeats: bool, together: bool
    ) -> tuple[Executable, ...]:
        """Return the statements that change the columns of a payment and of a refund, and note why.

        `changed` and `refunded` are names of columns, none if nothing changes. With `repeats` the
        last observation is counted again. With `together` all is one statement.
        """
        return self._recorded(tuple(changed), tuple(refunded), repeats, together)

    def _build_insert(self, names: tuple[str, ...], limited: bool, since: bool) -> Insert:
        payments, shop = self._tables.payments, self._shop
        given = _parameters(payments, names)
        if limited:
            count = select(func.count()).where(
                payments.c.shop == shop, payments.c.order_ref == bindparam("order")
            )
            if since:
                count = count.where(payments.c.created_at >= bindparam("since"))
            # One statement counts and inserts: between two, another worker could insert as well.
            is_below = count.scalar_subquery() < bindparam("most")
            row = select(literal(shop, payments.c.shop.type), *given.values()).where(is_below)
            statement = insert(payments).from_select(["shop", *names], row)
        else:
            statement = insert(payments).values(shop=shop, **given)
        # psycopg forgets how many rows there were with its cursor.
        return statement.execution_options(preserve_rowcount=True)

    def _build_recorded(
        self, changed: tuple[str, ...], refunded: tuple[str, ...], repeats: bool, together: bool
    ) -> tuple[Executable, ...]:
        payments, refunds = self._tables.payments, self._tables.refunds
        others: list[Update] = []
        if changed:
            others.append(
                update(payments).where(*self._is_payment).values(_parameters(payments, changed))
            )
        if refunded:
            values = _parameters(refunds, refunded, "new_refund_")
            others.append(update(refunds).where(*self._is_refund).values(values))
        note = self._count_again() if repeats else self._note()
        if not together:
            return *others, note
        return (note.add_cte(*(one.cte(f"change_{n}") for n, one in enumerate(others))),)

    def _note(self) -> Insert:
        observations = self._tables.observations
        names = "payment_request_id", "source", "details", "first_at"
        values = _parameters(observations, names, "note_")
        return insert(observations).values(shop=self._shop, count=1, **values).inline()

    def _count_again(self) -> Update:
        observations = self._tables.observations
        is_of = observations.c.payment_request_id == bindparam("payment")
        # The payment's row is locked, so its last observation stays the last one. MySQL wants the
        # subquery around a table that is being changed.
        last = select(func.max(observations.c.id).label("id"))
        last_id = last.where(observations.c.shop == self._shop, is_of).subquery()
        is_last = observations.c.id == select(last_id.c.id).scalar_subquery()
        count = observations.c.count + 1
        details = _parameters(observations, ["details"], "note_")
        return update(observations).where(is_last).values(count=count, **details)


def _parameters(
    table: Table, names: Collection[str], prefix: str = "new_"
) -> dict[str, BindParameter[Any]]:
    return {name: _parameter(table.c[name], prefix) for name in names}


def _parameter(column: Column[Any], prefix: str) -> BindParameter[Any]:
    return bindparam(f"{prefix}{column.name}", type_=column.type)


def _select_of_payment(table: Table, shop: str) -> Select[Any]:
    is_of = table.c.payment_request_id == bindparam("payment")
    return select(table).where(table.c.shop == shop, is_of).order_by(table.c.id)


def _claim(table: Table, shop: str, key: str) -> Update:
    until = _until(table)
    values = {"claim": table.c.claim + 1, "claimed_until": until, "next_call_at": until}
    return _if_claim_is(table, shop, key).values(values)


def _release(table: Table, shop: str, key: str) -> Update:
    return _if_claim_is(table, shop, key).values(claimed_until=None, next_call_at=_until(table))


def _until(table: Table) -> BindParameter[Any]:
    return bindparam("until", type_=table.c.next_call_at.type)


def _if_claim_is(table: Table, shop: str, key: str) -> Update:
    is_row = table.c.shop == shop, table.c[key] == bindparam("key")
    is_open = table.c.next_call_at.is_not(None)
    return update(table).where(*is_row, table.c.claim == bindparam("token"), is_open)


def select_due(shop: str, table: Table, now: datetime, client_ids: Collection[str]) -> Any:
    """Return the query for open rows whose next call is due, the longest waiting first."""
    when = table.c.next_call_at
    # The same rule as `has_come` for a store in memory.
    is_far = when > now + FARTHEST
    if "disputed" in table.c:  # the table of attempts
        is_far = and_(when > now + FAR, or_(is_far, table.c.disputed.is_(None)))
    ours = table.c.shop == shop, table.c.client_id.in_(client_ids)
    # Two parts of one index, each read only as far as rows are wanted; OR would read all that is
    # open, and on SQLite even all payments.
    due = union_all(*(select(table).where(part, *ours) for part in (when <= now, is_far)))
    return due.order_by(due.selected_columns.next_call_at)


def select_unreported(tables: Tables, shop: str, client_ids: Collection[str]) -> Select[Any]:
    """Return the query for conflicts that the shop does not know of, with their payments."""
    payments, conflicts = tables.payments, tables.conflicts
    query = select(payments, conflicts.c.reason, conflicts.c.details).join(conflicts)
    query = query.where(conflicts.c.shop == shop, conflicts.c.unreported == "y")
    return query.where(payments.c.client_id.in_(client_ids)).order_by(conflicts.c.id)
