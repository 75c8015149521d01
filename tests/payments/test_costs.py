"""What presses and polls cost, whoever makes them: calls to Alipay+, rows and bytes."""

import json
from datetime import timedelta

import pytest
from attrs import evolve

from aplus_adapters import (
    Amount,
    InvalidValue,
    OrderToPay,
    Retry,
    State,
    Timing,
    TooManyAttempts,
    Visitor,
)
from aplus_adapters.payments.flows.follow_up import close, follow_up
from aplus_adapters.payments.flows.initiate import initiate
from support.gateway import DOWN, GONE, LOST, OPEN, PAID, inquired

BUSY = {"resultCode": "UNKNOWN_EXCEPTION", "resultStatus": "U", "resultMessage": "again"}
REFUSED = {"resultCode": "RISK_REJECT", "resultStatus": "F", "resultMessage": "no"}
PRESSES = 40


@pytest.mark.parametrize("cancel", [{"result": BUSY}, DOWN, LOST], ids=["U", "down", "lost"])
@pytest.mark.parametrize("asked", [OPEN, BUSY, DOWN], ids=["open", "U", "down"])
def test_presses_on_what_cannot_be_cancelled_keep_its_pauses(
    pay, gateway, start, clock, cancel, asked
):
    """Each pause lets one cancellation through, however many presses there are."""
    attempt = start()
    answer = inquired(attempt, asked) if asked is OPEN else asked
    gateway.script["inquiryPayment"] = [{"result": answer} if answer is BUSY else answer]
    gateway.script["cancelPayment"] = [cancel]
    clock.moment = attempt.expires_at + pay.config.timing.grace
    begin, gateway.sent[:] = clock.moment, []
    for _ in range(PRESSES):
        assert start().payment_request_id == attempt.payment_request_id
        clock.moment += timedelta(seconds=1)
    waited = (clock.moment - begin).total_seconds()
    rounds, total = 1, 0
    for pause in (*pay.config.timing.cancel, 60, 60):
        total += pause
        rounds += total < waited
    assert gateway.calls().count("cancelPayment") <= rounds + 1
    assert len(gateway.calls()) <= 2 * (rounds + 1)


def test_presses_at_another_price_close_the_old_code_once(pay, gateway, start, shop):
    attempt = start()
    gateway.script["inquiryPayment"] = [inquired(attempt, OPEN)]
    gateway.script["cancelPayment"] = [{"result": BUSY}]
    shop.price = Amount.parse("40.00", "USD")
    gateway.sent[:] = []
    for _ in range(PRESSES):
        start()
    assert gateway.calls() == ["inquiryPayment", "cancelPayment", "inquiryPayment"]


def test_the_shops_own_closing_keeps_the_pauses_too(pay, gateway, start):
    attempt = start()
    gateway.script["inquiryPayment"] = [inquired(attempt, OPEN)]
    gateway.script["cancelPayment"] = [{"result": BUSY}]
    gateway.sent[:] = []
    for _ in range(PRESSES):
        stored = pay.store.get(attempt.payment_request_id)
        assert pay.run(close(pay.config, stored)).state is State.CLOSING
    assert gateway.calls() == ["inquiryPayment", "cancelPayment", "inquiryPayment"]


def test_presses_on_a_contradiction_cost_no_calls_and_no_rows(pay, gateway, start, clock):
    attempt = start()
    other = {"paymentAmount": {"currency": "EUR", "value": "4200"}}
    gateway.script["inquiryPayment"] = [{**inquired(attempt, PAID), **other}]
    clock.moment = attempt.expires_at
    pay.run(follow_up(pay.config, pay.store.get(attempt.payment_request_id)))
    rows = len(pay.store.history(attempt.payment_request_id))
    gateway.sent[:] = []
    for _ in range(PRESSES):
        start()
        pay.run(follow_up(pay.config, pay.store.get(attempt.payment_request_id)))
    assert gateway.calls() == []
    assert len(pay.store.history(attempt.payment_request_id)) == rows


def test_a_refused_order_gets_as_many_attempts_in_an_hour_as_the_rules_say(
    pay, gateway, start, clock
):
    gateway.script["pay"] = [{"result": REFUSED}]
    most = pay.config.timing.attempts_per_hour
    made = {start().payment_request_id for _ in range(most)}
    assert len(made) == most
    for _ in range(3):
        with pytest.raises(TooManyAttempts, match=rf"order A-1: found {most} .*raise Timing"):
            start()
    assert gateway.calls() == ["pay"] * most
    assert start("A-2").order_ref == "A-2"
    clock.moment += timedelta(hours=1, seconds=1)
    assert start().payment_request_id not in made


def test_a_price_that_changes_at_each_press_is_bounded_as_well(pay, gateway, start, shop, clock):
    gateway.script["inquiryPayment"] = [{"result": GONE}]
    gateway.script["cancelPayment"] = [{"result": PAID}]
    refused = 0
    for cents in range(PRESSES):
        shop.price = Amount("USD", 4200 + cents)
        try:
            start()
        except TooManyAttempts:
            refused += 1
    assert refused == PRESSES - pay.config.timing.attempts_per_hour
    assert gateway.calls().count("pay") == pay.config.timing.attempts_per_hour


def test_an_open_code_and_a_paid_order_are_shown_however_often_they_are_looked_at(
    pay, gateway, start, clock
):
    pay.config = evolve(pay.config, timing=evolve(pay.config.timing, attempts_per_hour=1))
    attempt = start()
    assert {start().payment_request_id for _ in range(5)} == {attempt.payment_request_id}
    gateway.script["inquiryPayment"] = [inquired(attempt, PAID)]
    clock.moment = attempt.expires_at
    assert start().state is State.SUCCEEDED
    assert start().state is State.SUCCEEDED


def test_a_browsers_name_is_cut_to_what_a_browser_has(pay, gateway):
    pay.run(initiate(pay.config, "A-1", Visitor(user_agent="é" * 60_000)))
    (body,) = gateway.bodies("pay")
    assert json.loads(body)["order"]["env"]["userAgent"] == "é" * 512


def test_an_order_that_expires_early_is_no_reason_to_try_more_often(pay, gateway, start, shop):
    shop.load_order = lambda _: OrderToPay(
        amount=shop.price, description="a seat", expires_in=timedelta(minutes=1)
    )
    gateway.script["pay"] = [{"result": REFUSED}]
    for _ in range(pay.config.timing.attempts_per_hour):
        start()
    with pytest.raises(TooManyAttempts):
        start()


def test_rules_let_an_order_have_at_least_one_attempt():
    with pytest.raises(InvalidValue, match="attempts_per_hour: found 0, expected more than 0"):
        Timing(attempts_per_hour=0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timeout", 0),
        ("timeout", 600.0),
        ("timeout", "8"),
        ("inquiry_timeout", -1.0),
        ("inquiry_timeout", float("nan")),
        ("cancel", (1.0, 600.0)),
        ("cancel", (0.0,)),
        ("grace", timedelta(seconds=-1)),
        ("inquiry", timedelta(0)),
        ("inquiry", 4),
        ("after_refusal", timedelta(hours=1)),
        ("expiry", timedelta(0)),
        ("expiry", timedelta(days=2)),
        ("max_age", timedelta(seconds=-1)),
        ("max_ahead", 300),
        ("attempts_per_hour", "12"),
    ],
)
def test_a_pause_or_limit_that_cannot_be_is_refused(name, value):
    with pytest.raises(InvalidValue, match=f"Timing {name}: found"):
        Timing(**{name: value})


@pytest.mark.parametrize(
    "changes",
    [
        {"pauses": (-1.0,)},
        {"pauses": (600.0,)},
        {"pauses": ("1",)},
        {"deadline": 0},
        {"jitter": 1.5},
        {"jitter": -0.1},
        {"jitter": "0.2"},
    ],
)
def test_a_retry_that_cannot_be_slept_is_refused(changes):
    with pytest.raises(InvalidValue, match=f"Retry {next(iter(changes))}: found"):
        Retry(**changes)
