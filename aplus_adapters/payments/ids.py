"""The ids that shops pass to us, checked before a store or a hook sees them."""

from __future__ import annotations

from aplus_adapters.errors import InvalidValue

__all__ = ["check_id", "check_order_ref", "is_order_ref"]

_LONGEST = 64  # characters of a referenceOrderId; protocol, "Field types"


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
    """Return whether it can be an order's own id: 1 to 64 printable characters."""
    return isinstance(value, str) and 1 <= len(value) <= _LONGEST and value.isprintable()


def check_order_ref(name: str, value: object) -> None:
    """Raise InvalidValue unless it can be an order's own id, which becomes the referenceOrderId."""
    if is_order_ref(value):
        return
    found = type(value).__name__
    if isinstance(value, str):
        is_long = len(value) > _LONGEST
        found = f"{len(value)} characters" if is_long or not value else f"{value!a}"
    raise InvalidValue(
        f"{name}: found {found}, expected text of 1 to {_LONGEST} printable characters; use the "
        "shop's order id"
    )
