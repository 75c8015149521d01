"""Answer operators' questions in SQL: pages of payments, conflicts, what came last.

Every page of payments is read from an index in the index's order, so it costs the same however
many payments are stored. One index serves all filters by account and state. A filter that leaves
the account or the state open is answered from several *streams*, one for each account and state
that there is; the first rows of all of them are merged.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

from sqlalchemy import Integer, and_, bindparam, insert, or_, select, union_all, update
from sqlalchemy.exc import IntegrityError

from aplus_adapters.payments.model import State
from aplus_adapters.payments.search import Page, page_key
from aplus_adapters.stores.columns import MYSQL
from aplus_adapters.stores.rows import attempt_of, observation_of, readable, record_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    from sqlalchemy import BindParameter, ColumnElement, Connection, Select, Table
    from sqlalchemy.orm import Session

    from aplus_adapters.payments.model import Observation, RefundObservation, Source
    from aplus_adapters.payments.search import ConflictRecord, PaymentFilter
    from aplus_adapters.stores.schema import Tables
    from aplus_adapters.stores.statements import Statements

__all__ = ["SQLQueries", "select_conflicts"]

_STREAMS = 300  # in one statement; SQLite allows no more than 500


def select_conflicts(tables: Tables, shop: str) -> Select[Any]:
    """Return the query for conflicts with their payments, the oldest first."""
    payments, conflicts = tables.payments, tables.conflicts
    names = ("reason", "details", "unreported", "resolved_at", "resolved_by", "note")
    return (
        select(payments, *(conflicts.c[name] for name in names))
        .join(conflicts)  # by its foreign key
        .where(conflicts.c.shop == shop)
        .order_by(conflicts.c.id)
    )


class SQLQueries:
    """The methods of SQLStore that answer operators."""

    _shop: str
    _tables: Tables
    _statements: Statements
    _transaction: Callable[[str], AbstractContextManager[Connection | Session]]

    def rows_of(self, ids: Sequence[str]) -> dict[str, Any]:
        """Return the rows of these payments, by their ids."""
        with self._transaction("get") as connection:
            return self._rows(connection, ids)

    def find_page(self, wanted: PaymentFilter, limit: int, /) -> Page:
        """Return up to `limit` attempts that meet a filter, and the key of the next page."""
        with self._transaction("find_page") as connection:
            keys = self._keys(connection, wanted, limit + 1)
            following = len(keys) > limit
            ids = [request_id for _, request_id in keys[:limit]]
            rows = self._rows(connection, ids)
        in_order = [rows[request_id] for request_id in ids if request_id in rows]
        attempts = readable(in_order, attempt_of)
        return Page(
            # Its state may have changed since its key was read.
            attempts=tuple(one for one in attempts if wanted.state in (None, one.state)),
            # The key of the last row, also if that row cannot be read.
            after=page_key(*keys[limit - 1]) if following else None,
        )

    def conflicts(
        self, payment_request_id: str | None, limit: int, after: str | None, /
    ) -> list[ConflictRecord]:
        """Return up to `limit` unresolved conflicts, or all of one payment, oldest first."""
        conflicts = self._tables.conflicts
        query = select_conflicts(self._tables, self._shop)
        if payment_request_id is None:
            query = query.where(conflicts.c.unresolved == "y")
        else:
            query = query.where(conflicts.c.payment_request_id == payment_request_id)
        if after is not None:
            last = select(conflicts.c.id).where(*self._conflict(after))
            query = query.where(conflicts.c.id > last.scalar_subquery())
        with self._transaction("conflicts") as connection:
            rows = connection.execute(query.limit(limit)).mappings().all()
        return list(readable(rows, record_of))

    def resolve_conflict(
        self, key: str, at: datetime, by: str, note: str, /
    ) -> ConflictRecord | None:
        """Mark a conflict as resolved and return it; None if there is none with this key."""
        payments, conflicts = self._tables.payments, self._tables.conflicts
        is_conflict = self._conflict(key)
        request_id = select(conflicts.c.payment_request_id).where(*is_conflict).scalar_subquery()
        is_payment = payments.c.shop == self._shop, payments.c.payment_request_id == request_id
        is_open = conflicts.c.unresolved == "y"
        values = {"resolved_at": at, "resolved_by": by, "note": note, "unresolved": None}
        others = select(conflicts.c.id).where(
            conflicts.c.shop == payments.c.shop,
            conflicts.c.payment_request_id == payments.c.payment_request_id,
            is_open,
        )
        with self._transaction("resolve_conflict") as connection:
            # The payment's lock, as `record` takes it: a new conflict waits, or is seen below.
            # It comes before any SELECT, which on some databases would keep an older view.
            connection.execute(
                update(payments).where(*is_payment).values(attention=payments.c.attention)
            )
            connection.execute(update(conflicts).where(*is_conflict, is_open).values(values))
            settled = update(payments).where(*is_payment, ~others.exists())
            connection.execute(settled.values(attention=None))
            query = select_conflicts(self._tables, self._shop).where(*is_conflict)
            row = connection.execute(query).mappings().first()
        return None if row is None else record_of(row)

    def recent(self, source: Source, limit: int, /) -> list[Observation | RefundObservation]:
        """Return the last `limit` observations of one source, newest first."""
        observations = self._tables.observations
        query = (
            select(observations)
            .where(observations.c.shop == self._shop, observations.c.source == source.value)
            .order_by(observations.c.id.desc())
            .limit(limit)
        )
        with self._transaction("recent") as connection:
            rows = connection.execute(query).mappings().all()
        return list(readable(rows, observation_of))

    def note(self, name: str, at: datetime, /) -> None:
        """Keep the moment under a name unless a later one is kept."""
        moments = self._tables.moments
        is_name = moments.c.shop == self._shop, moments.c.name == name
        change = update(moments).where(*is_name, moments.c.at < at).values(at=at)
        try:
            with self._transaction("note") as connection:
                # First, as a row that another worker inserts after an UPDATE would not be changed.
                if connection.execute(select(moments.c.at).where(*is_name)).first() is None:
                    values = {"shop": self._shop, "name": name, "at": at}
                    connection.execute(insert(moments).values(values))
                else:
                    connection.execute(change)
        except IntegrityError:  # another worker has kept the first moment just now
            with self._transaction("note") as connection:
                connection.execute(change)

    def noted(self, name: str, /) -> datetime | None:
        """Return the moment under a name, None if there is none."""
        moments = self._tables.moments
        query = select(moments.c.at).where(moments.c.shop == self._shop, moments.c.name == name)
        with self._transaction("noted") as connection:
            moment: datetime | None = connection.execute(query).scalar()
        return moment

    def _conflict(self, key: str) -> tuple[ColumnElement[bool], ...]:
        conflicts = self._tables.conflicts
        return conflicts.c.shop == self._shop, conflicts.c.key == key

    def _keys(
        self, connection: Connection | Session, wanted: PaymentFilter, limit: int
    ) -> list[tuple[datetime, str]]:
        """Return creation time and id of the first attempts that meet a filter, in order."""
        payments = self._tables.payments
        conditions = self._conditions(wanted)
        if wanted.order_ref is not None or wanted.needs_attention:
            # An order has few attempts, and few payments need attention: the rest is compared.
            for name in ("order_ref", "client_id", "state", "wallet_key"):
                conditions += _equals(payments, name, wanted)
            if wanted.needs_attention:
                conditions.append(payments.c.attention == "y")
            streams = [_stream(payments, conditions, wanted, limit)]
        else:
            conditions += _equals(payments, "wallet_key", wanted)
            states = [wanted.state] if wanted.state is not None else list(State)
            if wanted.account is not None:
                accounts = [wanted.account]
            else:
                accounts = self._accounts(connection, wanted)
            page = _in_text(limit)
            streams = [
                _stream(payments, [*conditions, _is(payments, account, state)], wanted, page)
                for account, state in product(accounts, states)
            ]
        keys: list[tuple[datetime, str]] = []
        for number in range(0, len(streams), _STREAMS):
            query = _merged(streams[number : number + _STREAMS], wanted, _in_text(limit))
            rows = connection.execute(query)
            keys += [(row.created_at, row.payment_request_id) for row in rows]
        if len(streams) > _STREAMS:
            keys.sort(reverse=not wanted.oldest_first)
        return keys[:limit]

    def _conditions(self, wanted: PaymentFilter) -> list[ColumnElement[bool]]:
        """Return the conditions that the order of the index answers."""
        payments = self._tables.payments
        created, conditions = payments.c.created_at, [payments.c.shop == self._shop]
        if wanted.since is not None:
            conditions.append(created >= wanted.since)
        if wanted.until is not None:
            conditions.append(created < wanted.until)
        if wanted.position is not None:
            moment, request_id = wanted.position
            by_id = payments.c.payment_request_id
            # No comparison of pairs: not every database looks one up in an index.
            if wanted.oldest_first:
                conditions += [created >= moment, or_(created > moment, by_id > request_id)]
            else:
                conditions += [created <= moment, or_(created < moment, by_id < request_id)]
        return conditions

    def _accounts(self, connection: Connection | Session, wanted: PaymentFilter) -> list[str]:
        """Return every account that has payments (of the wanted wallet), one step for each."""
        payments = self._tables.payments
        accounts: list[str] = []
        column = payments.c.client_id
        query = select(column).where(
            payments.c.shop == self._shop, *_equals(payments, "wallet_key", wanted)
        )
        query = _by_index(query, payments, wanted).order_by(column).limit(_in_text(1))
        account = connection.execute(query).scalar()
        while account is not None:
            accounts.append(account)
            account = connection.execute(query.where(column > account)).scalar()
        return accounts

    def _rows(self, connection: Connection | Session, ids: Sequence[str]) -> dict[str, Any]:
        if not ids:
            return {}
        rows = connection.execute(self._statements.payments, {"payments": ids}).mappings()
        return {row["payment_request_id"]: row for row in rows}


def _equals(payments: Table, name: str, wanted: PaymentFilter) -> list[ColumnElement[bool]]:
    """Return the condition on a column that a filter sets, if it sets one."""
    value = {
        "order_ref": wanted.order_ref,
        "client_id": wanted.account,
        "state": wanted.state and wanted.state.value,
        "wallet_key": wanted.wallet_key,
    }[name]
    return [] if value is None else [payments.c[name] == value]


def _is(payments: Table, account: str, state: State) -> ColumnElement[bool]:
    return and_(payments.c.client_id == account, payments.c.state == state.value)


def _in_text(limit: int) -> BindParameter[int]:
    """Return a LIMIT that stands in the statement's text, where an index holds all of the answer.

    PostgreSQL takes a parameter for a tenth of what is there. With many payments it would plan a
    prepared statement again each time. Elsewhere that is right: values decide about the plan.
    """
    return bindparam(None, limit, Integer, literal_execute=True)


def _stream(
    payments: Table,
    conditions: Sequence[ColumnElement[bool]],
    wanted: PaymentFilter,
    limit: int | BindParameter[int],
) -> Select[Any]:
    """Return the query for the first keys of one part of an index."""
    query = select(payments.c.created_at, payments.c.payment_request_id).where(*conditions)
    return _first(_by_index(query, payments, wanted), payments, wanted, limit)


def _by_index(query: Any, payments: Table, wanted: PaymentFilter) -> Select[Any]:
    """Return a query for which MySQL and MariaDB read the index that holds all of the answer.

    Without it they took the index of the list for a wallet, and looked through all payments.
    """
    if wanted.order_ref is not None:
        kind = "order"
    elif wanted.needs_attention:
        kind = "attention"
    else:
        kind = "list" if wanted.wallet_key is None else "wallet"
    hinted: Select[Any] = query
    for dialect in MYSQL:
        hinted = hinted.with_hint(payments, f"FORCE INDEX (ix_{payments.name}_{kind})", dialect)
    return hinted


def _merged(
    streams: Sequence[Select[Any]], wanted: PaymentFilter, limit: BindParameter[int]
) -> Select[Any]:
    """Return the query for the first keys of several streams."""
    if len(streams) == 1:
        return streams[0]
    # Subqueries, as a part of a UNION may have no limit of its own on SQLite.
    merged = union_all(*(select(stream.subquery()) for stream in streams)).subquery()
    return _first(select(merged), merged, wanted, limit)


def _first(
    query: Any, source: Any, wanted: PaymentFilter, limit: int | BindParameter[int]
) -> Select[Any]:
    """Return a query with the order of pages and a limit."""
    order = (source.c.created_at, source.c.payment_request_id)
    columns = order if wanted.oldest_first else [column.desc() for column in order]
    ordered: Select[Any] = query.order_by(*columns).limit(limit)
    return ordered
