"""Money: a currency and a whole number of its minor units, never a float."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from attrs import frozen

from aplus_adapters.errors import InvalidValue
from aplus_adapters.protocol.currencies import EXPONENTS

__all__ = ["Amount"]

_CODE = re.compile(r"[A-Z]{3}")
# Plain digits, or with an exponent as str(Decimal) writes one; a float's "1e+16" is neither.
_DECIMAL = re.compile(r"[0-9]{1,36}(?:\.[0-9]{1,36})?(?:E[+-][0-9]{1,2})?")
# int() alone would also take 1_000 and digits of other scripts, such as full-width ones.
_WIRE_VALUE = re.compile(r"[0-9]{1,18}")
_LIMIT = 10**18  # keeps every sum within a 64-bit column


@frozen
class Amount:
    """An amount of money as Alipay+ counts it.

    `currency` is an ISO 4217 code, `value` a whole number of its smallest unit: cents for USD,
    yen for JPY, fils for KWD. An Amount that arrived in a message may carry a currency that the
    table does not know; one that is sent may not.

    Raises InvalidValue for floats, negative values and malformed codes. Source: protocol, "Field
    types": value has no point and no sign.

    >>> Amount("USD", 1234)
    Amount('USD', 12.34)
    >>> Amount("JPY", 4200).value
    4200
    """

    currency: str
    value: int

    def __attrs_post_init__(self) -> None:
        # Not `isinstance`, as True is an int to Python.
        if type(self.value) is not int or not 0 <= self.value < _LIMIT:
            raise InvalidValue(
                f"amount value: found {_found(self.value)}, expected a whole number of minor units "
                "from 0 to 999999999999999999; use Amount.parse() for decimal text"
            )
        # A currency that is newer than our table may arrive: the buyer has paid all the same.
        if not isinstance(self.currency, str) or (
            self.currency not in EXPONENTS and _CODE.fullmatch(self.currency) is None
        ):
            raise InvalidValue(
                f"amount currency: found {_found(self.currency)}, expected three capital letters "
                "as in ISO 4217, such as USD"
            )

    @classmethod
    def parse(cls, text: str | Decimal, currency: str) -> Amount:
        """Read a decimal amount as people and databases write it: text or a Decimal.

        Zeros after the currency's last decimal are accepted. Raises InvalidValue for any other
        digit there, for a sign, grouping or a float, and for any other text.

        >>> Amount.parse("12.34", "USD").value
        1234
        >>> Amount.parse(Decimal("42.0000"), "USD").value
        4200
        >>> Amount.parse("4200.00", "JPY").value
        4200
        >>> Amount.parse("1.5", "KWD").value
        1500
        """
        exponent = _exponent(currency)
        if not isinstance(text, str | Decimal):
            raise InvalidValue(
                f"amount: found {_found(text)}, expected decimal text such as '12.34' or a Decimal;"
                " a float cannot hold money exactly, and a whole number does not say whether it "
                "counts minor units: pass text, or Amount(currency, minor_units)"
            )
        is_number = isinstance(text, Decimal) or _DECIMAL.fullmatch(text) is not None
        value = _minor_units(Decimal(text), exponent) if is_number else None
        if value is None:
            raise InvalidValue(
                f"amount: found {str(text)[:40]!r}, expected digits with at most {exponent} "
                f"decimals for {currency} and at most 18 in all, without sign, spaces or grouping"
            )
        return cls(currency, value)

    @property
    def exponent(self) -> int:
        """Return the number of decimals of the currency; InvalidValue if it is not in ISO 4217."""
        return _exponent(self.currency)

    def format(self) -> str:
        """Return the decimal text of the value, without the currency.

        >>> Amount("USD", 5).format(), Amount("JPY", 5).format(), Amount("KWD", 5).format()
        ('0.05', '5', '0.005')
        """
        exponent = self.exponent
        if exponent == 0:
            return str(self.value)
        digits = str(self.value).rjust(exponent + 1, "0")
        return f"{digits[:-exponent]}.{digits[-exponent:]}"

    def __str__(self) -> str:
        shown = self.format() if self.currency in EXPONENTS else f"{self.value} minor units"
        return f"{shown} {self.currency}"

    def __repr__(self) -> str:
        shown = self.format() if self.currency in EXPONENTS else f"minor={self.value}"
        return f"Amount({self.currency!r}, {shown})"

    def check_payable(self, name: str) -> None:
        """Raise InvalidValue if this amount cannot be paid; `name` is its field.

        It must be at least one minor unit of an active currency. IDR must be whole rupiah: its two
        decimals must be 00. Source: protocol, "Field types".

        >>> Amount("IDR", 1500000).check_payable("OrderToPay.amount")
        """
        _exponent(self.currency)  # raises for a currency that cannot be sent
        if self.value == 0:
            raise InvalidValue(
                f"{name}: found 0, expected at least one minor unit; "
                "what costs nothing needs no payment"
            )
        if self.currency == "IDR" and self.value % 100:
            raise InvalidValue(
                f"{name}: found {self}, expected whole rupiah: the last two of IDR's minor units "
                "are 00; round it before"
            )

    def to_wire(self) -> dict[str, str]:
        """Return the JSON object that stands for the amount in a message.

        >>> Amount("USD", 1234).to_wire()
        {'currency': 'USD', 'value': '1234'}
        """
        return {"currency": self.currency, "value": str(self.value)}  # every scalar is a string

    @classmethod
    def from_wire(cls, wire: object) -> Amount:
        """Read the JSON object of a message; InvalidValue if it is not an amount."""
        if not isinstance(wire, dict):
            raise InvalidValue(f"amount: found {_found(wire)}, expected an object")
        currency: Any = wire.get("currency")  # of any type: the constructor checks it
        value = wire.get("value")
        if not isinstance(value, str) or _WIRE_VALUE.fullmatch(value) is None:
            raise InvalidValue(
                f"amount value: found {_found(value)}, expected up to 18 digits of minor units"
            )
        return cls(currency, int(value))


def _minor_units(number: Decimal, exponent: int) -> int | None:
    """Return a number's exact value in minor units, None if it has none or more than 18 digits."""
    sign, digits, power = number.as_tuple()
    if sign or not isinstance(power, int):  # infinite, or not a number
        return None
    text = "".join(map(str, digits)).lstrip("0")
    significant = text.rstrip("0")
    if not significant:
        return 0
    zeros = power + exponent + len(text) - len(significant)
    if zeros < 0 or len(significant) + zeros > 18:
        return None
    return int(significant + "0" * zeros)


def _exponent(currency: str) -> int:
    exponent = EXPONENTS.get(currency) if isinstance(currency, str) else None
    if exponent is None:
        raise InvalidValue(
            f"amount currency: found {_found(currency)}, expected an active ISO 4217 code "
            "in capital letters, such as USD"
        )
    return exponent


def _found(value: object) -> str:
    return repr(value)[:40] if isinstance(value, str | int | float) else type(value).__name__
