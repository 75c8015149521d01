"""Find in SQL what is due, and claim it by one UPDATE: the database decides who is first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import update

from aplus_adapters.stores.rows import attempt_of, refund_of
from aplus_adapters.stores.statements import select_due

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from contextlib import AbstractContextManager
    from datetime import datetime

    from sqlalchemy import Connection, Table
    from sqlalchemy.orm import Session

    from aplus_adapters.payments.model import Attempt, Refund
    from aplus_adapters.stores.schema import Tables

__all__ = ["SQLClaims"]


class SQLClaims:
    """The methods of SQLStore by which one worker at a time calls Alipay+."""

    _shop: str
    _tables: Tables
    _transaction: Callable[[str], AbstractContextManager[Connection | Session]]
    _search: Callable[..., list[Any]]

    def due(self, now: datetime, limit: int, client_ids: Collection[str], /) -> list[Attempt]:
        """Return up to `limit` open attempts that may be called about now, oldest first."""
        query = select_due(self._shop, self._tables.payments, now, client_ids)
        return self._search("due", query, attempt_of, limit)

    def due_refunds(
        self, now: datetime, limit: int, client_ids: Collection[str], /
    ) -> list[Refund]:
        """Return up to `limit` open refunds that may be called about now, longest waiting first."""
        query = select_due(self._shop, self._tables.refunds, now, client_ids)
        return self._search("due_refunds", query, refund_of, limit)

    def claim(self, payment_request_id: str, token: int, until: datetime, /) -> bool:
        """Take the claim of an open attempt whose `claim` still is `token`."""
        return self._claim("claim", self._tables.payments, payment_request_id, token, until)

    def release(self, payment_request_id: str, token: int, at: datetime, /) -> bool:
        """Release the claim if `claim` still is `token`."""
        return self._release("release", self._tables.payments, payment_request_id, token, at)

    def claim_refund(self, refund_request_id: str, token: int, until: datetime, /) -> bool:
        """Take the claim of an open refund whose `claim` still is `token`."""
        return self._claim("claim_refund", self._tables.refunds, refund_request_id, token, until)

    def release_refund(self, refund_request_id: str, token: int, at: datetime, /) -> bool:
        """Release the claim of a refund if `claim` still is `token`."""
        return self._release("release_refund", self._tables.refunds, refund_request_id, token, at)

    def _claim(self, method: str, table: Table, key: str, token: int, until: datetime) -> bool:
        values = {"claim": token + 1, "claimed_until": until, "next_call_at": until}
        return self._if_claim_is(method, table, key, token, values)

    def _release(self, method: str, table: Table, key: str, token: int, at: datetime) -> bool:
        values = {"claimed_until": None, "next_call_at": at}
        return self._if_claim_is(method, table, key, token, values)

    def _if_claim_is(
        self, method: str, table: Table, key: str, token: int, values: dict[str, Any]
    ) -> bool:
        """Change an open row if its claim still is `token`; return whether it was changed."""
        is_refund = table is self._tables.refunds
        name = "refund_request_id" if is_refund else "payment_request_id"
        claimed = table.c.shop == self._shop, table.c[name] == key, table.c.claim == token
        is_open = table.c.next_call_at.is_not(None)
        with self._transaction(method) as connection:
            result: Any = connection.execute(update(table).where(*claimed, is_open).values(values))
            return bool(result.rowcount == 1)
