"""How payments are printed: for people, as JSON lines and as CSV."""

from __future__ import annotations

import csv
import json
from datetime import UTC
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from aplus_adapters.payments.model import Attempt

__all__ = ["PAYMENT_FIELDS", "CsvPrinter", "iso", "payment_row", "plain", "print_json", "show_time"]

PAYMENT_FIELDS = (
    "payment_request_id",
    "order_ref",
    "account",
    "state",
    "currency",
    "amount_minor",
    "refunded_minor",
    "disputed_currency",
    "disputed_minor",
    "success_reported",
    "wallet",
    "alipayplus_payment_id",
    "result_code",
    "created_at",
    "changed_at",
    "expires_at",
    "next_call_at",
)
"""The fields of a payment in machine forms, in their order."""


def payment_row(attempt: Attempt) -> dict[str, Any]:
    """Return a payment for programs: amounts in minor units, times in UTC, None for nothing."""
    disputed = attempt.disputed
    values = (
        attempt.payment_request_id,
        attempt.order_ref,
        attempt.client_id,
        str(attempt.state),
        attempt.amount.currency,
        attempt.amount.value,
        attempt.refunded,
        disputed and disputed.currency,
        disputed and disputed.value,
        attempt.success_reported,
        attempt.wallet,
        attempt.payment_id,
        attempt.result and attempt.result.result_code,
        iso(attempt.created_at),
        iso(attempt.changed_at),
        iso(attempt.expires_at),
        iso(attempt.next_call_at),
    )
    return dict(zip(PAYMENT_FIELDS, values, strict=True))


def iso(moment: datetime | None) -> str | None:
    """Return a time in UTC as ISO 8601 writes it, with microseconds.

    >>> from datetime import UTC, datetime
    >>> iso(datetime(2026, 11, 23, 12, tzinfo=UTC))
    '2026-11-23T12:00:00.000000Z'
    """
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def show_time(moment: datetime) -> str:
    """Return a time in UTC for people, to the millisecond."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"


def plain(text: str) -> str:
    """Return text without what could steer a terminal: it may come from a buyer or a wallet.

    >>> plain("A-1" + chr(27) + "[2J")
    'A-1?[2J'
    """
    return "".join(character if character.isprintable() else "?" for character in text)


def print_json(row: Mapping[str, Any]) -> None:
    """Print one object as one line."""
    click.echo(json.dumps(row))


class CsvPrinter:
    """Prints rows as CSV below a line of names."""

    def __init__(self, names: Sequence[str]) -> None:
        self._writer = csv.DictWriter(_Output(), names, lineterminator="\n")
        self._writer.writeheader()

    def __call__(self, row: Mapping[str, Any]) -> None:
        """Print one row."""
        self._writer.writerow(row)


class _Output:
    """Standard output, as the csv module wants it."""

    def write(self, text: str) -> None:
        click.echo(text, nl=False)
