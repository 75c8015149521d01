"""What our flow sends, and what `OrderToPay` refuses in the shop's own line."""

import json
from datetime import timedelta

import pytest
from attrs import evolve

from aplus_adapters import Amount, InvalidValue, OrderToPay, Visitor
from aplus_adapters.payments.flows.initiate import new_attempt
from support.shop import NOON

REMOVED = {"clientIp", "cookieId", "deviceTokenId", "storeTerminalId", "storeTerminalRequestTime"}


def sent(account, order):
    attempt = new_attempt(
        account,
        order,
        "A-1",
        expiry=timedelta(minutes=3),
        payment_request_id="pay-1",
        visitor=Visitor(user_agent="Mozilla/5.0", client_ip="203.0.113.9"),
        moment=NOON,
    )
    return json.loads(attempt.request_body)


def test_what_alipayplus_removed_from_pay_is_not_sent(account):
    env = sent(account, OrderToPay(amount=Amount("USD", 1), description="x"))["order"]["env"]
    assert env == {"terminalType": "WEB", "userAgent": "Mozilla/5.0"}
    assert not REMOVED & set(env)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"amount": Amount("IDR", 1_500_050)}, "amount: found 15000.50 IDR, expected whole rupiah"),
        ({"amount": Amount("USD", 0)}, "amount: found 0, expected at least one minor unit"),
        (
            {"amount": Amount("QQQ", 1)},
            "found the currency 'QQQ', expected an active ISO 4217 code",
        ),
        (
            {"settlement_currency": "xy"},
            "settlement_currency: found the currency 'xy', expected an active ISO",
        ),
        ({"settlement_currency": 5}, "settlement_currency: found the currency int"),
    ],
)
def test_an_order_that_alipayplus_would_refuse_is_refused_in_the_shops_line(change, found):
    order = OrderToPay(amount=Amount("IDR", 1_500_000), description="x", settlement_currency="USD")
    with pytest.raises(InvalidValue) as refused:
        evolve(order, **change)
    assert found in str(refused.value)
