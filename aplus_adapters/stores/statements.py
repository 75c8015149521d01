"""SQL that decides something: one attempt per order and so many an hour, and what is due."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, insert, literal, or_, select

from aplus_adapters.payments.policy import FAR, FARTHEST
from aplus_adapters.stores.rows import attempt_row
from aplus_adapters.stores.schema import payments

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy import Insert, Select, Table

    from aplus_adapters.payments.model import Attempt

__all__ = ["insert_attempt", "select_due"]


def insert_attempt(shop: str, attempt: Attempt, most: int | None, since: datetime | None) -> Insert:
    """Return the statement that inserts an attempt unless its order had `most` of them."""
    row = {"shop": shop, **attempt_row(attempt)}
    if most is None:
        return insert(payments).values(row)
    made = select(func.count()).where(
        payments.c.shop == shop, payments.c.order_ref == attempt.order_ref
    )
    if since is not None:
        made = made.where(payments.c.created_at >= since)
    values = [literal(value, payments.c[name].type) for name, value in row.items()]
    return insert(payments).from_select(
        list(row), select(*values).where(made.scalar_subquery() < most)
    )


def select_due(shop: str, table: Table, now: datetime, client_ids: Collection[str]) -> Select[Any]:
    """Return the query for open rows whose next call has come, the longest waiting first."""
    when = table.c.next_call_at
    # As `payments.retry.has_come` says it.
    has_come = or_(when <= now, when > now + FARTHEST)
    if table is payments:
        has_come = or_(has_come, and_(when > now + FAR, payments.c.disputed.is_(None)))
    query = select(table).where(has_come, table.c.shop == shop, table.c.client_id.in_(client_ids))
    return query.order_by(when)
