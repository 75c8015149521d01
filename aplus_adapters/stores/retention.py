"""Delete old payments and forget buyers in SQL, each batch in a transaction of its own."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, or_, select, update
from sqlalchemy.exc import IntegrityError

from aplus_adapters.errors import StoreError
from aplus_adapters.payments.retention import OldPayment, OldPayments, without_buyer
from aplus_adapters.stores.queries import select_conflicts
from aplus_adapters.stores.rows import attempt_of, readable, record_of, refund_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Table
    from sqlalchemy.orm import Session

    from aplus_adapters.payments.model import Attempt, Refund, Stage
    from aplus_adapters.payments.retention import Retention
    from aplus_adapters.payments.search import ConflictRecord
    from aplus_adapters.stores.schema import Tables

__all__ = ["SQLRetention"]


class SQLRetention:
    """The methods of SQLStore that remove what is old."""

    _shop: str
    _tables: Tables
    _transaction: Callable[[str], AbstractContextManager[Connection | Session]]
    _pass_order_on: Callable[[Connection | Session, str], None]

    def old_payments(
        self, stage: Stage, before: datetime, limit: int, after: tuple[datetime, str] | None, /
    ) -> OldPayments:
        """Return up to `limit` payments of a stage that changed last before a moment."""
        payments = self._tables.payments
        changed, by_id = payments.c.changed_at, payments.c.payment_request_id
        query = select(payments).where(
            payments.c.shop == self._shop, payments.c.stage == stage.value, changed < before
        )
        if after is not None:
            moment, request_id = after
            # No comparison of pairs: not every database looks one up in an index.
            query = query.where(changed >= moment, or_(changed > moment, by_id > request_id))
        query = query.order_by(changed, by_id).limit(limit)
        with self._transaction("old_payments") as connection:
            rows = connection.execute(query).mappings().all()
            old = self._whole(connection, rows)
        last = rows[-1] if len(rows) == limit else None
        return OldPayments(
            payments=tuple(old),
            # The key of the last row, also if that row cannot be read.
            after=(last["changed_at"], last["payment_request_id"]) if last is not None else None,
        )

    def delete_payments(self, payment_request_ids: Sequence[str], rule: Retention, /) -> int:
        """Delete those of these payments that the rule lets go, each with all its rows."""
        if not payment_request_ids:
            return 0
        tables = self._tables
        try:
            with self._transaction("delete_payments") as connection:
                locked = self._locked_payments(connection, payment_request_ids)
                old = [one for one in locked if rule.may_delete(one)]
                ids = [one.attempt.payment_request_id for one in old]
                if not ids:
                    return 0
                # The payment goes last: the others refer to it.
                for table in (tables.observations, tables.conflicts, tables.refunds):
                    connection.execute(delete(table).where(*self._of(table, ids)))
                gone = delete(tables.payments).where(*self._final(ids))
                result: Any = connection.execute(gone)
                for order_ref in {
                    one.attempt.order_ref for one in old if one.attempt.occupies_order
                }:
                    self._pass_order_on(connection, order_ref)
                return int(result.rowcount)
        except IntegrityError:
            # A table of the shop's; or, in REPEATABLE READ, what was added just before our lock.
            raise StoreError(
                "store delete_payments: found rows that refer to a payment, expected only our "
                "own; nothing of this batch was deleted: let the shop's foreign keys say ON DELETE "
                "SET NULL (or delete those rows first), then try again"
            ) from None

    def forget_buyers(self, payment_request_ids: Sequence[str], rule: Retention, /) -> int:
        """Replace the requests of those payments whose buyers the rule lets us forget."""
        if not payment_request_ids:
            return 0
        payments = self._tables.payments
        by_id = payments.c.payment_request_id == bindparam("forgotten_id")
        # An open payment's request is sent again byte for byte, so the UPDATE says it once more.
        change = update(payments).where(
            payments.c.shop == self._shop, payments.c.next_call_at.is_(None), by_id
        )
        change = change.values(
            request_body=bindparam("forgotten_body"), stage=bindparam("forgotten_stage")
        )
        with self._transaction("forget_buyers") as connection:
            locked = self._locked_payments(connection, payment_request_ids)
            attempts = [without_buyer(old.attempt) for old in locked if rule.may_forget(old)]
            for attempt in attempts:
                values = {
                    "forgotten_id": attempt.payment_request_id,
                    "forgotten_body": attempt.request_body,
                    "forgotten_stage": attempt.stage and attempt.stage.value,
                }
                connection.execute(change, values)
        return len(attempts)

    def _locked_payments(
        self, connection: Connection | Session, ids: Sequence[str]
    ) -> list[OldPayment]:
        """Return those of these payments that nobody else has locked, locked until the end.

        Whatever belongs to them is read in statements that begin under the lock: a condition in the
        statement that waits for the lock would not see what was added meanwhile.
        """
        query = select(self._tables.payments).where(*self._final(ids))
        # SQLite has no such lock; there the whole transaction that writes is alone.
        locking = query.with_for_update(skip_locked=True)
        return self._whole(connection, connection.execute(locking).mappings().all())

    def _whole(self, connection: Connection | Session, rows: Sequence[Any]) -> list[OldPayment]:
        """Return the payments of these rows with their refunds and conflicts."""
        attempts: list[Attempt] = list(readable(rows, attempt_of))
        ids = [attempt.payment_request_id for attempt in attempts]
        if not ids:
            return []
        refunds, conflicts = self._tables.refunds, self._tables.conflicts
        of_payment: defaultdict[str, list[Refund]] = defaultdict(list)
        records: defaultdict[str, list[ConflictRecord]] = defaultdict(list)
        query = select(refunds).where(*self._of(refunds, ids)).order_by(refunds.c.id)
        for row in connection.execute(query).mappings():
            of_payment[row["payment_request_id"]].append(refund_of(row))
        query = select_conflicts(self._tables, self._shop).where(*self._of(conflicts, ids))
        for row in connection.execute(query).mappings():
            records[row["payment_request_id"]].append(record_of(row))
        return [
            OldPayment(
                attempt=attempt,
                refunds=tuple(of_payment[attempt.payment_request_id]),
                conflicts=tuple(records[attempt.payment_request_id]),
            )
            for attempt in attempts
        ]

    def _of(self, table: Table, ids: Sequence[str]) -> tuple[ColumnElement[bool], ...]:
        """Return the condition that a row belongs to one of these payments."""
        return table.c.shop == self._shop, table.c.payment_request_id.in_(ids)

    def _final(self, ids: Sequence[str]) -> tuple[ColumnElement[bool], ...]:
        payments = self._tables.payments
        return *self._of(payments, ids), payments.c.next_call_at.is_(None)
