"""Amounts: whole minor units, exact, never a float."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aplus_adapters import Amount, InvalidValue
from aplus_adapters.protocol.currencies import EXPONENTS


@pytest.mark.parametrize(
    ("text", "currency", "value", "shown"),
    [
        ("12.34", "USD", 1234, "12.34"),
        ("12.3", "USD", 1230, "12.30"),
        ("12", "USD", 1200, "12.00"),
        ("0.05", "USD", 5, "0.05"),
        ("007", "USD", 700, "7.00"),
        ("4200", "JPY", 4200, "4200"),
        ("0", "JPY", 0, "0"),
        ("1.5", "KWD", 1500, "1.500"),
        ("0.001", "KWD", 1, "0.001"),
        ("1.2345", "CLF", 12345, "1.2345"),
        ("9999999999999999.99", "USD", 999999999999999999, "9999999999999999.99"),
        ("42.000", "USD", 4200, "42.00"),
        ("42.0000", "USD", 4200, "42.00"),
        ("100.00", "JPY", 100, "100"),
        ("1E+2", "USD", 10000, "100.00"),
        ("1.20E+2", "JPY", 120, "120"),
        ("0E-8", "USD", 0, "0.00"),
        ("1E-2", "USD", 1, "0.01"),
        (Decimal("42.00"), "USD", 4200, "42.00"),
        (Decimal("42.0000"), "USD", 4200, "42.00"),
        (Decimal(42), "JPY", 42, "42"),
        (Decimal("1E+2"), "JPY", 100, "100"),
        (Decimal("0E-999999"), "KWD", 0, "0.000"),
        (Decimal("12.34") * 100 / 100, "USD", 1234, "12.34"),
    ],
)
def test_decimal_text_becomes_minor_units_and_back(text, currency, value, shown):
    amount = Amount.parse(text, currency)
    assert amount == Amount(currency, value)
    assert amount.format() == shown
    assert str(amount) == f"{shown} {currency}"


@pytest.mark.parametrize(
    "text",
    ["", "-1", "+1", "1.234", "1.", ".5", "1,000", "1_000", " 1", "1 ", "1e3", "１２", "٣", "0x1", "NaN", "1.2.3",
     "12345678901234567.00", "1\n", "1" * 50, "1E2", "1e+16", "1E+17", "1E-3", "1E+999", "0.001", "42.0001",
     Decimal(-1), Decimal("-0"), Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), Decimal("0.005"),
     Decimal("42.0001"), Decimal("1E+999999"), Decimal("1E-999999"), Decimal("1" * 50), Decimal("0.1000000000000000055")],
)  # fmt: skip
def test_other_text_is_refused_with_what_was_expected(text):
    with pytest.raises(InvalidValue, match=r"found .*, expected "):
        Amount.parse(text, "USD")


@pytest.mark.parametrize(("text", "currency"), [("1.5", "JPY"), ("1.2345", "KWD"), ("0.1", "KRW")])
def test_more_decimals_than_the_currency_has_are_refused(text, currency):
    with pytest.raises(InvalidValue, match=f"found '{text}'.*decimals for {currency}"):
        Amount.parse(text, currency)


@pytest.mark.parametrize("number", [12.34, 12, None, b"12", True])
def test_anything_but_text_is_refused_to_be_parsed(number):
    with pytest.raises(InvalidValue, match="a float cannot hold money exactly"):
        Amount.parse(number, "USD")


@pytest.mark.parametrize("value", [1.0, "5", None, True, -1, 10**18])
def test_a_value_that_is_no_whole_number_of_minor_units_is_refused(value):
    with pytest.raises(InvalidValue, match="expected a whole number of minor units"):
        Amount("USD", value)


@pytest.mark.parametrize("currency", ["usd", "US", "DOLLAR", "", None, 840, "U1D", "ＵSD", "USD\n"])
def test_a_malformed_currency_is_refused(currency):
    with pytest.raises(InvalidValue, match="three capital letters"):
        Amount(currency, 5)
    with pytest.raises(InvalidValue, match="ISO 4217"):
        Amount.parse("5", currency)


def test_an_unknown_currency_may_arrive_but_cannot_be_written_or_parsed():
    amount = Amount.from_wire({"currency": "QQQ", "value": "5"})
    assert str(amount) == "5 minor units QQQ"
    with pytest.raises(InvalidValue, match="QQQ"):
        amount.format()
    with pytest.raises(InvalidValue, match="QQQ"):
        Amount.parse("5", "QQQ")


@pytest.mark.parametrize(
    "wire",
    [None, "5", [], {}, {"currency": "USD"}, {"value": "5"}, {"currency": "USD", "value": "5.0"},
     {"currency": "USD", "value": "-5"}, {"currency": "USD", "value": "1e3"}, {"currency": "USD", "value": "1_0"},
     {"currency": "USD", "value": "５"}, {"currency": "USD", "value": "1" * 19}, {"currency": "USD", "value": True},
     {"currency": "USD", "value": {}}, {"currency": [], "value": "5"}],
)  # fmt: skip
def test_what_is_no_amount_on_the_wire_is_refused(wire):
    with pytest.raises(InvalidValue):
        Amount.from_wire(wire)


@given(st.sampled_from(sorted(EXPONENTS)), st.integers(0, 10**18 - 1))
def test_every_amount_survives_its_text_and_the_wire(currency, value):
    amount = Amount(currency, value)
    if len(str(value)) <= 18:
        assert Amount.parse(amount.format(), currency) == amount
        assert Amount.parse(Decimal(amount.format()), currency) == amount
        assert Amount.parse(str(Decimal(amount.format()).normalize()), currency) == amount
    assert Amount.from_wire(amount.to_wire()) == amount


def test_the_exponents_that_people_get_wrong():
    expected = {
        "JPY": 0,
        "KRW": 0,
        "VND": 0,
        "IDR": 2,
        "TWD": 2,
        "HUF": 2,
        "KWD": 3,
        "BHD": 3,
        "TND": 3,
        "CLF": 4,
    }
    assert {code: EXPONENTS[code] for code in expected} == expected
    assert len(EXPONENTS) == 165
