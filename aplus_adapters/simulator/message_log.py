"""The messages that went over the wire, newest last, in a ring of bounded size.

A message is a call with its answer, or a notification with its acknowledgement. It is kept as it
travelled, with the content that its signature covers and what its verification said.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from aplus_adapters.simulator.books_file import BooksFile

__all__ = ["MessageLog", "lay_open"]

CAPACITY = 2000
"""How many messages are kept; the oldest makes room."""

_MAX_TEXT = 20_000  # characters of a body that are kept
# These say nothing here; the token is a secret of the shop.
_HIDDEN = {"host", "accept", "accept-encoding", "connection", "content-length", "agent-token"}

_SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
    number INTEGER PRIMARY KEY AUTOINCREMENT, order_id TEXT, reference TEXT, content TEXT);
CREATE INDEX IF NOT EXISTS messages_by_order ON messages (order_id);
"""


class MessageLog:
    """The ring, kept in the file of the books, so that a restarted simulator still has it."""

    def __init__(self, file: BooksFile, capacity: int = CAPACITY) -> None:
        self._file, self._capacity = file, capacity
        file.connection.executescript(_SCHEMA)

    def add(
        self,
        kind: str,
        name: str,
        at: datetime,
        *,
        order_id: str = "",
        reference: str = "",
        **content: Any,
    ) -> int:
        """Keep a message and return its number; `kind` is call or notification."""
        row = {"kind": kind, "name": name, "at": at.isoformat(), **content}
        with self._file.transaction():
            statement = "INSERT INTO messages (order_id, reference, content) VALUES (?, ?, ?)"
            values = (order_id, reference, json.dumps(row))
            number = self._file.connection.execute(statement, values).lastrowid or 0
            last_dropped = number - self._capacity
            self._file.connection.execute("DELETE FROM messages WHERE number <= ?", [last_dropped])
        return number

    def newest(
        self, limit: int = 50, *, order_id: str = "", reference: str = "", after: int = 0
    ) -> list[dict[str, Any]]:
        """Return the newest messages, newest first; `order_id` and `reference` select some.

        `after` leaves out those up to a number.
        """
        condition, values = "number > ?", [str(after)]
        for column, value in (("order_id", order_id), ("reference", reference)):
            if value:
                condition, values = f"{condition} AND {column} = ?", [*values, value]
        return self._select(f"WHERE {condition} ORDER BY number DESC LIMIT {limit:d}", *values)

    def get(self, number: int) -> dict[str, Any] | None:
        """Return one message, or None if it is not there any more."""
        return next(iter(self._select("WHERE number = ?", number)), None)

    def _select(self, condition: str, *values: Any) -> list[dict[str, Any]]:
        statement = f"SELECT number, order_id, reference, content FROM messages {condition}"  # noqa: S608
        with self._file.transaction():
            rows = self._file.connection.execute(statement, values).fetchall()
        return [
            {"number": number, "order": order_id, "reference": reference, **json.loads(content)}
            for number, order_id, reference, content in rows
        ]


def lay_open(
    headers: Mapping[str, str], body: bytes, *, signed: bytes = b"", verification: str = ""
) -> dict[str, Any]:
    """Return one direction of a message as JSON.

    `signed` is the content that its signature covers, `verification` what checking it said.
    """
    return {
        "headers": {name: value for name, value in headers.items() if name.lower() not in _HIDDEN},
        "body": _text(body),
        "signedContent": _text(signed),
        "verification": verification,
    }


def _text(content: bytes) -> str:
    return content.decode(errors="backslashreplace")[:_MAX_TEXT]
