"""The SQLite file of the books: one row for each order, with indexes on what is due.

Memory holds only the orders that somebody uses at the moment, so it stays flat however many there
are. What one transaction wrote is in the file before the call is answered: a killed simulator has
lost nothing that it answered.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary, finalize

from aplus_adapters.simulator.orders import Order, OrderState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["BooksFile", "OrdersById"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TIMES = ("created_at", "expires_at", "final_at", "next_notification", "next_decision")
_LISTS = ("refunds", "returned", "notifications")
_FIXED = ("client_id", "payment_request_id", "payment_id", "token", "created_at", "expires_at")
_CHANGING = (
    "state", "result_code", "final_at", "next_notification", "next_decision", "decision", *_LISTS
)  # fmt: skip
_COLUMNS = (*_FIXED, *_CHANGING, "request", "reference")

# The orders of version 0.1.0 stand in a table `orders`, so these stand in one of another name.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS book_orders (
    number INTEGER PRIMARY KEY, client_id TEXT, payment_request_id TEXT, payment_id TEXT,
    token TEXT, created_at INTEGER, expires_at INTEGER, state TEXT, result_code TEXT,
    final_at INTEGER, next_notification INTEGER, next_decision INTEGER, decision TEXT,
    refunds TEXT, returned TEXT, notifications TEXT, request TEXT, reference TEXT);
CREATE UNIQUE INDEX IF NOT EXISTS by_request ON book_orders (payment_request_id, client_id);
CREATE INDEX IF NOT EXISTS by_payment ON book_orders (payment_id);
CREATE INDEX IF NOT EXISTS by_token ON book_orders (token);
CREATE INDEX IF NOT EXISTS by_reference ON book_orders (reference);
CREATE INDEX IF NOT EXISTS by_expiry ON book_orders (expires_at) WHERE state = 'OPEN';
CREATE INDEX IF NOT EXISTS by_notification ON book_orders (next_notification)
    WHERE next_notification IS NOT NULL;
CREATE INDEX IF NOT EXISTS by_decision ON book_orders (next_decision)
    WHERE next_decision IS NOT NULL;
CREATE TABLE IF NOT EXISTS requests (
    order_number INTEGER, call TEXT, body_sha256 TEXT, request_time TEXT);
CREATE INDEX IF NOT EXISTS by_order ON requests (order_number);
"""
# Only names of this module stand in these statements.
_MARKS = ", ".join("?" * len(_COLUMNS))
_INSERT = f"INSERT INTO book_orders ({', '.join(_COLUMNS)}) VALUES ({_MARKS})"  # noqa: S608
_SETTERS = ", ".join(f"{name} = ?" for name in _CHANGING)
_UPDATE = f"UPDATE book_orders SET {_SETTERS} WHERE number = ?"  # noqa: S608
_NAMES = ("number", *_FIXED, *_CHANGING, "request")
_SELECT = f"SELECT {', '.join(_NAMES)} FROM book_orders"  # noqa: S608

_EARLIEST = """SELECT min(moment) FROM (
    SELECT min(expires_at) AS moment FROM book_orders WHERE state = 'OPEN'
    UNION ALL SELECT min(next_notification) FROM book_orders WHERE next_notification IS NOT NULL
    UNION ALL SELECT min(next_decision) FROM book_orders WHERE next_decision IS NOT NULL)"""


class BooksFile:
    """Reads and writes the rows. The same row is the same Order for all who hold it.

    `path` is a file, or ":memory:" for books that end with this object. Any thread may use it.
    """

    def __init__(self, path: Path | str) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        # Python 3.13 warns of one that is left open; so nobody has to close what he alone holds.
        self._finalizer = finalize(self, self.connection.close)
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute("PRAGMA synchronous=NORMAL")  # enough to survive a kill
        self.connection.executescript(_SCHEMA)
        self._lock = threading.RLock()
        self._depth = 0
        self._in_use: WeakValueDictionary[int, Order] = WeakValueDictionary()
        self._take_over_old_books()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all changes of a block durable at its end, or none of them if it raises."""
        with self._lock:
            if self._depth == 0:
                self.connection.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
            except BaseException:
                self._depth -= 1
                if self._depth == 0:
                    self.connection.execute("ROLLBACK")
                    self._in_use.clear()  # these were changed, the rows were not
                raise
            self._depth -= 1
            if self._depth == 0:
                self.connection.execute("COMMIT")

    def insert(self, order: Order) -> None:
        """Add a new order and number it."""
        values = [_to_column(order, name) for name in (*_FIXED, *_CHANGING)]
        values += [json.dumps(order.request), order.reference]
        with self._lock:
            order.number = self.connection.execute(_INSERT, values).lastrowid or 0
            self._in_use[order.number] = order

    def update(self, order: Order) -> None:
        """Write what has changed in an order."""
        values = [_to_column(order, name) for name in _CHANGING]
        with self._lock:
            self.connection.execute(_UPDATE, [*values, order.number])

    def add_request(self, order: Order, call: str, body_sha256: str, time: str) -> None:
        """Add one row for a call about an order."""
        order.requests.append({"call": call, "bodySha256": body_sha256, "requestTime": time})
        with self._lock:
            values = (order.number, call, body_sha256, time)
            self.connection.execute("INSERT INTO requests VALUES (?, ?, ?, ?)", values)

    def select(self, condition: str, *values: Any) -> list[Order]:
        """Return the orders for the end of a SELECT statement, such as WHERE with its values."""
        with self._lock:
            rows = self.connection.execute(f"{_SELECT} {condition}", values).fetchall()
            return [self._in_use.get(row[0]) or self._load(row) for row in rows]

    def earliest(self) -> datetime | None:
        """Return the earliest expiry, notification or decision that is planned."""
        with self._lock:
            (moment,) = self.connection.execute(_EARLIEST).fetchone()
        return to_datetime(moment)

    def _load(self, row: tuple[Any, ...]) -> Order:
        fields: dict[str, Any] = dict(zip(_NAMES, row, strict=True))
        for name in _TIMES:
            fields[name] = to_datetime(fields[name])
        for name in (*_LISTS, "request"):
            fields[name] = json.loads(fields[name])
        fields["state"] = OrderState(fields["state"])
        statement = "SELECT call, body_sha256, request_time FROM requests WHERE order_number = ?"
        fields["requests"] = [
            {"call": call, "bodySha256": digest, "requestTime": time}
            for call, digest, time in self.connection.execute(statement, (row[0],))
        ]
        order = self._in_use[row[0]] = Order(**fields)
        return order

    def _take_over_old_books(self) -> None:
        """Move the orders of version 0.1.0, whose table held one JSON text for each."""
        tables = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'orders'"
        if self.connection.execute(tables).fetchone() is None:
            return
        with self.transaction():
            for (text,) in self.connection.execute("SELECT data FROM orders").fetchall():
                fields = json.loads(text)
                requests, _ = fields.pop("requests"), fields.pop("cancelled")
                for name in ("expires_at", "final_at", "next_notification"):
                    fields[name] = fields[name] and datetime.fromisoformat(fields[name])
                fields["state"] = OrderState(fields["state"])
                first_day = fields["expires_at"] - timedelta(minutes=3)
                order = Order(client_id="SIMULATED_CLIENT_0001", created_at=first_day, **fields)
                self.insert(order)
                for row in requests:
                    self.add_request(order, row["call"], row["bodySha256"], row["requestTime"])
            self.connection.execute("DROP TABLE orders")

    def close(self) -> None:
        """Close the file; books that nobody holds any more are closed by themselves."""
        self._finalizer()


class OrdersById(Mapping[str, Order]):
    """All orders by one of their ids, read from the file when they are asked for.

    `column` is payment_request_id, payment_id or token. Of several clients' orders with the same
    id it holds the newest.
    """

    def __init__(self, file: BooksFile, column: str) -> None:
        self._file, self._column = file, column

    def __getitem__(self, key: str) -> Order:
        condition = f"WHERE {self._column} = ? ORDER BY number DESC LIMIT 1"
        for order in self._file.select(condition, key):
            return order
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        statement = f"SELECT {self._column} FROM book_orders ORDER BY number"  # noqa: S608
        return (key for (key,) in self._file.connection.execute(statement).fetchall())

    def __len__(self) -> int:
        statement = "SELECT count(*) FROM book_orders"
        return int(self._file.connection.execute(statement).fetchone()[0])


def to_integer(moment: datetime) -> int:
    """Return a moment as whole microseconds since 1970, which SQLite compares quickly."""
    return (moment - _EPOCH) // _MICROSECOND


def to_datetime(value: int | None) -> datetime | None:
    """Return the moment of a column, in UTC."""
    return None if value is None else _EPOCH + value * _MICROSECOND


def _to_column(order: Order, name: str) -> Any:
    value = getattr(order, name)
    if name in _LISTS:
        return json.dumps(value)
    return to_integer(value) if isinstance(value, datetime) else value
