"""Checks of the values of an `OrderToPay`; each raises in the line that creates it."""

from __future__ import annotations

import re
from datetime import timedelta

from aplus_adapters.errors import InvalidValue
from aplus_adapters.protocol.amounts import Amount
from aplus_adapters.protocol.currencies import EXPONENTS
from aplus_adapters.protocol.messages.pay import DEFAULT_EXPIRY

__all__ = [
    "check_amount",
    "check_currency",
    "check_expires_in",
    "check_kind",
    "check_return_url",
    "check_text",
]

# Browsers read a backslash as a slash and skip tabs, newlines and control characters: only visible
# ASCII is let through, no backslash, and no second slash at the beginning (it would name a host).
_PATH = re.compile(r"/(?!/)[!-\[\]-~]*")
_ADDRESS = re.compile(
    r"https?://(?:[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_.])?|\[[0-9A-Fa-f:.]+\])"
    r"(?::[0-9]{1,5})?(?:[/?#][!-\[\]-~]*)?"
)


def check_amount(amount: object) -> None:
    """Raise InvalidValue unless a buyer can pay this amount.

    Source: protocol, "Field types": at least one minor unit; rupiah are whole.
    """
    if not isinstance(amount, Amount):
        raise InvalidValue(
            f"OrderToPay amount: found {type(amount).__name__}, expected an Amount; "
            "write Amount.parse('42.00', 'USD')"
        )
    check_currency("amount", amount.currency)
    if amount.value == 0:
        raise InvalidValue(
            "OrderToPay amount: found 0, expected at least one minor unit; an order that costs "
            "nothing needs no payment: answer None for it"
        )
    if amount.currency == "IDR" and amount.value % 100:
        raise InvalidValue(
            f"OrderToPay amount: found {amount}, expected whole rupiah (two zeros at the end); "
            "round it"
        )


def check_currency(name: str, currency: object) -> None:
    """Raise InvalidValue unless it is an active ISO 4217 code."""
    if not isinstance(currency, str) or currency not in EXPONENTS:
        found = repr(currency[:10]) if isinstance(currency, str) else type(currency).__name__
        raise InvalidValue(
            f"OrderToPay {name}: found the currency {found}, expected an active ISO 4217 code in "
            "capital letters, such as USD"
        )


def check_text(name: str, text: object, most: int, of: str = "OrderToPay ") -> None:
    """Raise InvalidValue unless it is text of 1 to `most` characters."""
    if not isinstance(text, str) or not 1 <= len(text) <= most:
        found = f"{len(text)} characters" if isinstance(text, str) else type(text).__name__
        raise InvalidValue(f"{of}{name}: found {found}, expected text of 1 to {most} characters")


def check_kind(name: str, value: object, kind: type) -> None:
    """Raise InvalidValue unless it is None or of that kind."""
    if value is not None and not isinstance(value, kind):
        raise InvalidValue(
            f"OrderToPay {name}: found {type(value).__name__}, expected {kind.__name__} or None; "
            f"import it from aplus_adapters and write {kind.__name__}(...)"
        )


def check_expires_in(expires_in: object) -> None:
    """Raise InvalidValue unless it shortens the life of a code.

    Source: protocol, "pay (order code)": Alipay+ ignores a time that is not earlier than its own.
    """
    limit = DEFAULT_EXPIRY.total_seconds()
    if not isinstance(expires_in, timedelta):
        raise InvalidValue(
            f"OrderToPay expires_in: found {type(expires_in).__name__}, expected a timedelta of "
            f"less than {limit:.0f} s; write timedelta(seconds=60)"
        )
    if not timedelta(0) < expires_in < DEFAULT_EXPIRY:
        raise InvalidValue(
            f"OrderToPay expires_in: found {expires_in.total_seconds():g} s, expected more than 0 "
            f"and less than {limit:.0f} s, as the life of a code can only be shortened; leave it "
            "out to get 3 minutes"
        )


def check_return_url(url: object, name: str = "return_url", of: str = "OrderToPay ") -> None:
    """Raise InvalidValue unless it is a path on the shop's host or a whole http(s) address.

    Browsers would read control characters, backslashes or a second slash as another host. Other
    schemes could run a script.
    """
    check_text(name, url, 2048, of)
    if not (_PATH.fullmatch(str(url)) or _ADDRESS.fullmatch(str(url))):
        raise InvalidValue(
            f"{of}{name}: found {_seen(str(url))}, expected a path of the shop's own "
            "such as '/orders/17', or an address that begins with https://; percent-encode what is "
            "not plain ASCII (urllib.parse.quote), and write foreign hosts as xn--..."
        )


def _seen(url: str) -> str:
    if url.startswith("/"):
        return "a path with characters that a browser may read as another host's address"
    scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", url)
    if scheme and scheme[0].lower() not in ("http:", "https:"):
        return f"an address that begins with {scheme[0][:20]}"
    if scheme:
        return "an address whose host or characters are not legal"
    return f"{len(url)} characters that begin with neither a slash nor a scheme"
