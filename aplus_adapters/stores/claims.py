"""Find in SQL what is due, and claim it by one UPDATE: the database decides who is first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aplus_adapters.stores.rows import attempt_of, refund_of
from aplus_adapters.stores.statements import select_due

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from contextlib import AbstractContextManager
    from datetime import datetime

    from sqlalchemy import Connection, Update
    from sqlalchemy.orm import Session

    from aplus_adapters.payments.model import Attempt, Refund
    from aplus_adapters.stores.schema import Tables
    from aplus_adapters.stores.statements import Statements

__all__ = ["SQLClaims"]


class SQLClaims:
    """The methods of SQLStore by which one worker at a time calls Alipay+."""

    _shop: str
    _tables: Tables
    _statements: Statements
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
        statement = self._statements.claim
        return self._changes_one("claim", statement, payment_request_id, token, until)

    def release(self, payment_request_id: str, token: int, at: datetime, /) -> bool:
        """Release the claim if `claim` still is `token`."""
        return self._changes_one("release", self._statements.release, payment_request_id, token, at)

    def claim_refund(self, refund_request_id: str, token: int, until: datetime, /) -> bool:
        """Take the claim of an open refund whose `claim` still is `token`."""
        statement = self._statements.claim_refund
        return self._changes_one("claim_refund", statement, refund_request_id, token, until)

    def release_refund(self, refund_request_id: str, token: int, at: datetime, /) -> bool:
        """Release the claim of a refund if `claim` still is `token`."""
        statement = self._statements.release_refund
        return self._changes_one("release_refund", statement, refund_request_id, token, at)

    def _changes_one(
        self, method: str, statement: Update, key: str, token: int, until: datetime
    ) -> bool:
        values = {"key": key, "token": token, "until": until}
        with self._transaction(method) as connection:
            result: Any = connection.execute(statement, values)
            return bool(result.rowcount == 1)
