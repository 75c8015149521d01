"""Checks of what a shop passes: the values of an `OrderToPay`, and ids."""

from __future__ import annotations

import re
from datetime import timedelta
from unicodedata import category

from aplus_adapters.errors import InvalidValue
from aplus_adapters.protocol.amounts import Amount
from aplus_adapters.protocol.currencies import EXPONENTS
from aplus_adapters.protocol.messages.pay import DEFAULT_EXPIRY
from aplus_adapters.protocol.messages.rules import Url

__all__ = [
    "check_amount",
    "check_currency",
    "check_expires_in",
    "check_id",
    "check_kind",
    "check_order_ref",
    "check_return_url",
    "check_text",
    "is_order_ref",
]

_STEERS = ("Cc", "Cs", "Zl", "Zp")  # controls, half surrogate pairs, breaks of lines
_LONGEST_REF = 64  # characters of a referenceOrderId; protocol, "Field types"
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
    if _PATH.fullmatch(str(url)):
        return
    if _ADDRESS.fullmatch(str(url)):
        Url(2048).check(of + name, url)
    else:
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


def check_id(name: str, value: object) -> None:
    """Raise InvalidValue unless it is text that every store can look for, of whatever length."""
    if not isinstance(value, str):
        raise InvalidValue(
            f"{name}: found {type(value).__name__}, expected text; is it from a row without a "
            "payment, or a number that wants str()?"
        )
    # PostgreSQL has no NUL in a text, and half a surrogate pair is no UTF-8.
    if not value.isascii() and not value.isprintable() and _has_surrogate(value):
        raise InvalidValue(f"{name}: found half a surrogate pair, expected text that is UTF-8")
    if "\0" in value:
        raise InvalidValue(f"{name}: found a NUL character, expected text without it")


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def is_order_ref(value: object) -> bool:
    """Return whether it can be an order's own id: 1 to 64 characters, none of which steers."""
    if not isinstance(value, str) or not 1 <= len(value) <= _LONGEST_REF:
        return False
    # Joiners and marks of direction are letters of many scripts; printable means less than that.
    return value.isprintable() or not any(category(one) in _STEERS for one in value)


def check_order_ref(name: str, value: object) -> None:
    """Raise InvalidValue unless it can be an order's own id, which becomes the referenceOrderId."""
    if is_order_ref(value):
        return
    found = type(value).__name__
    if isinstance(value, str):
        is_long = len(value) > _LONGEST_REF
        found = f"{len(value)} characters" if is_long or not value else f"{value!a}"
    raise InvalidValue(
        f"{name}: found {found}, expected text of 1 to {_LONGEST_REF} characters without controls "
        "and line breaks; use the shop's order id"
    )
