"""Build the SQL that holds a rule: how many attempts an order may have, which rows are due."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, insert, literal, or_, select, union_all

from aplus_adapters.payments.policy import FAR, FARTHEST
from aplus_adapters.stores.rows import attempt_row

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy import Insert, Select, Table

    from aplus_adapters.payments.model import Attempt
    from aplus_adapters.stores.schema import Tables

__all__ = [
    "insert_attempt",
    "select_due",
    "select_unreported",
]


def insert_attempt(
    payments: Table, shop: str, attempt: Attempt, most: int | None, since: datetime | None
) -> Insert:
    """Return the statement that inserts an attempt if its order had fewer than `most`.

    Attempts before `since` do not count; `most` None is no limit.
    """
    row = {"shop": shop, **attempt_row(attempt)}
    if most is None:
        return insert(payments).values(row).execution_options(preserve_rowcount=True)
    count = select(func.count()).where(
        payments.c.shop == shop, payments.c.order_ref == attempt.order_ref
    )
    if since is not None:
        count = count.where(payments.c.created_at >= since)
    values = [literal(value, payments.c[name].type) for name, value in row.items()]
    # One statement counts and inserts: between two, another worker could insert as well.
    statement = insert(payments).from_select(
        list(row), select(*values).where(count.scalar_subquery() < most)
    )
    # psycopg forgets how many rows there were with its cursor.
    return statement.execution_options(preserve_rowcount=True)


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
    is_of = (conflicts.c.payment_request_id == payments.c.payment_request_id) & (
        conflicts.c.shop == payments.c.shop
    )
    query = select(payments, conflicts.c.reason, conflicts.c.details).join(conflicts, is_of)
    query = query.where(conflicts.c.shop == shop, conflicts.c.unreported == "y")
    return query.where(payments.c.client_id.in_(client_ids)).order_by(conflicts.c.id)
