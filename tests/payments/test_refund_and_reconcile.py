"""Refunds and reconciliation, flow by flow, against a scripted gateway."""

from datetime import timedelta

import pytest

from aplus_adapters import (
    Amount,
    InconsistentRetry,
    InvalidValue,
    RefundState,
    State,
    StoreError,
    UnknownPayment,
)
from support.gateway import CLOSED, DOWN, LOST, OPEN, PAID, done, give_back, inquired
from support.shop import NOON

EXCEEDED = {"resultCode": "REFUND_AMOUNT_EXCEED", "resultStatus": "F", "resultMessage": "too much"}
UNKNOWN = {"resultCode": "UNKNOWN_EXCEPTION", "resultStatus": "U", "resultMessage": "unknown"}


def test_a_refund_is_durable_before_it_is_sent_and_one_however_often_it_is_asked(
    pay, gateway, paid
):
    gateway.script["refund"] = [done()]
    stored_at_send = []
    original = gateway.send

    def send(request, timeout):
        (refund,) = pay.store.refunds(paid.payment_request_id)
        stored_at_send.append(refund.request_body == request.body)
        return original(request, timeout)

    gateway.send = send
    first = give_back(pay, paid, amount=Amount("USD", 1000), reason="broken seat")
    again = give_back(pay, paid, amount=Amount("USD", 1000), reason="broken seat")
    assert first == again
    assert (first.state, first.refund_id) == (RefundState.SUCCEEDED, "R-1")
    assert stored_at_send == [True]
    assert gateway.calls() == ["refund"]
    outcomes = [one.outcome.value for one in pay.store.history(paid.payment_request_id)]
    assert outcomes[-1] == "refunded"
    with pytest.raises(InconsistentRetry, match="nothing was sent"):
        give_back(pay, paid, amount=Amount("USD", 1001))


def test_without_an_amount_all_of_it_goes_back_and_then_nothing_is_left(pay, gateway, paid):
    gateway.script["refund"] = [done()]
    assert give_back(pay, paid).amount == paid.amount
    with pytest.raises(InvalidValue, match=r"expected at most 0\.00 USD"):
        give_back(pay, paid, 2, amount=Amount("USD", 1))
    assert gateway.calls() == ["refund"]


@pytest.mark.parametrize("trouble", [DOWN, LOST, {"result": UNKNOWN}])
def test_a_refund_without_an_answer_is_finished_by_reconcile_with_the_same_bytes(
    pay, gateway, paid, clock, trouble
):
    gateway.script["refund"] = [trouble]
    refund = give_back(pay, paid, amount=Amount("USD", 1000))
    assert refund.state is RefundState.CREATED
    assert gateway.calls() == ["refund"] * 3
    assert pay.reconcile().refunds == 0  # not due yet
    assert gateway.calls() == ["refund"] * 3
    clock.moment = refund.next_call_at
    gateway.script["refund"] = [done()]
    assert pay.reconcile().refunds == 1
    assert len(gateway.bodies("refund")) == 1
    (stored,) = pay.store.refunds(paid.payment_request_id)
    assert (stored.state, stored.next_call_at) == (RefundState.SUCCEEDED, None)


def test_a_refund_that_is_in_process_is_asked_again_later(pay, gateway, paid, clock):
    gateway.script["refund"] = [{"result": OPEN}]
    refund = give_back(pay, paid)
    assert (refund.state, gateway.calls()) == (RefundState.CREATED, ["refund"])
    clock.moment = refund.next_call_at
    gateway.script["refund"] = [done()]
    assert pay.reconcile().refunds == 1


def test_a_refused_refund_is_over_and_its_amount_free_again(pay, gateway, paid):
    gateway.script["refund"] = [{"result": EXCEEDED}, done()]
    assert give_back(pay, paid).state is RefundState.FAILED
    assert give_back(pay, paid, 2).state is RefundState.SUCCEEDED


def test_a_refund_of_another_amount_is_a_conflict_and_asked_again_only_much_later(
    pay, gateway, paid, shop, clock
):
    gateway.script["refund"] = [done(refundAmount={"currency": "USD", "value": "1"})]
    refund = give_back(pay, paid)
    assert refund.state is RefundState.CREATED
    assert [one.reason for one in shop.conflicts] == [
        "refund says 0.01 USD, it was to be 42.00 USD"
    ]
    clock.moment += timedelta(minutes=9)
    pay.reconcile()
    assert gateway.calls() == ["refund"]


def test_only_what_is_paid_is_refunded(pay, gateway, start):
    with pytest.raises(UnknownPayment, match="found no such payment"):
        pay.refund("nothing", refund_request_id="x")
    attempt = start()
    with pytest.raises(InvalidValue, match="found a payment that is pending, expected one that is"):
        give_back(pay, attempt)
    with pytest.raises(InvalidValue, match="refundRequestId"):
        pay.refund(attempt.payment_request_id, refund_request_id="x" * 65)
    assert gateway.calls() == ["pay"]


def test_the_shop_hears_of_a_refund_in_the_stores_transaction_until_it_has_understood(
    pay, gateway, paid, shop, clock
):
    gateway.script["refund"] = [done()]
    told = []

    def refund_changed(details):
        told.append((details.refund.state, details.attempt.order_ref))
        if len(told) == 1:
            raise RuntimeError("the shop's own bug")

    shop.refund_changed = refund_changed
    refund = give_back(
        pay, paid
    )  # no error: Alipay+ has refunded, and another try would be a second
    assert refund.state is RefundState.CREATED
    assert give_back(pay, paid).state is RefundState.CREATED
    clock.moment += timedelta(seconds=60)
    assert pay.reconcile().refunds == 1
    assert told == [(RefundState.SUCCEEDED, "A-1")] * 2


def test_reconcile_asks_about_what_is_due_and_nothing_else(pay, gateway, start, clock):
    first, second = start("A-1"), start("A-2")
    assert pay.reconcile().asked == 0
    clock.moment = first.next_call_at
    gateway.script["inquiryPayment"] = [inquired(first, PAID)]
    seen = []
    # The second answer is about the first payment: it is believed by nobody.
    rounds = pay.reconcile(seen.append)
    assert (rounds.asked, rounds.became_final, rounds.failed) == (2, 1, 0)
    assert [one.asked for one in seen] == [1, 2]
    states = {one: pay.store.get(one.payment_request_id).state for one in (first, second)}
    assert set(states.values()) == {State.SUCCEEDED, State.PENDING}
    assert str(rounds) == (
        "2 asked about, 1 became final, 0 refunds became final, 0 conflicts reported, 0 failed, "
        "0 taken by others"
    )


def test_in_a_round_no_refund_waits_for_more_than_one_inquiry(pay, gateway, paid, start, clock):
    """Each inquiry without an answer takes its time-out: 30 of them are two minutes and a half."""
    gateway.script["refund"] = [LOST]
    refunds = [give_back(pay, paid, number, amount=Amount("USD", 100)) for number in range(2)]
    last = [start(f"B-{number}") for number in range(30)][-1]
    clock.moment = max(last.next_call_at, *(one.next_call_at for one in refunds))
    gateway.script.update(refund=[done()], inquiryPayment=[LOST])
    gateway.sent.clear()
    rounds = pay.reconcile()
    assert (rounds.asked, rounds.refunds, rounds.failed) == (30, 2, 0)
    assert gateway.calls() == ["inquiryPayment", "refund"] * 2 + ["inquiryPayment"] * 28


def test_reconcile_closes_what_has_expired(pay, gateway, start, clock):
    attempt = start()
    clock.moment = NOON + timedelta(minutes=4)
    gateway.script["inquiryPayment"] = [inquired(attempt, CLOSED)]
    assert pay.reconcile().became_final == 1
    assert pay.store.get(attempt.payment_request_id).state is State.FAILED


def test_a_cancellation_that_is_refused_is_repeated_by_the_schedule_and_then_alarms(
    pay, gateway, start, clock, caplog
):
    attempt = start()
    gateway.script["inquiryPayment"] = [inquired(attempt, OPEN)]
    gateway.script["cancelPayment"] = [{"result": UNKNOWN}]
    clock.moment = started = attempt.expires_at
    at = []
    for _ in range(8):
        pay.reconcile()
        at.append((clock.moment - started).total_seconds())
        clock.moment = pay.store.get(attempt.payment_request_id).next_call_at
    print("cancelled", at, "s after expiry")
    assert at == [0, 2, 5, 8, 13, 18, 78, 138]
    assert caplog.text.count("could not be closed since") == 3
    gateway.script["cancelPayment"] = [{"result": PAID}]
    pay.reconcile()
    assert pay.store.get(attempt.payment_request_id).state is State.CANCELLED


def test_news_that_contradicts_an_open_attempt_is_asked_about_again_only_much_later(
    pay, gateway, start, clock, shop
):
    attempt = start()
    wrong = inquired(attempt, PAID, paymentAmount={"currency": "USD", "value": "1"})
    gateway.script["inquiryPayment"] = [wrong]
    for _ in range(60):
        clock.moment += timedelta(seconds=60)
        pay.reconcile()
    assert gateway.calls().count("inquiryPayment") <= 6
    assert len(shop.conflicts) == 1
    assert pay.store.get(attempt.payment_request_id).state is State.PENDING
    assert "cancelPayment" not in gateway.calls()  # somebody paid something: a person decides


def test_a_conflict_that_the_shop_did_not_take_is_told_again_by_reconcile(
    pay, gateway, start, clock, shop
):
    attempt = start()
    clock.moment = attempt.next_call_at
    wrong = inquired(attempt, PAID, paymentAmount={"currency": "USD", "value": "1"})
    gateway.script["inquiryPayment"] = [wrong]
    take = shop.payment_conflict

    def broken(details):
        raise RuntimeError("the pager is down")

    shop.payment_conflict = broken
    assert pay.reconcile().failed == 1
    assert pay.reconcile().failed == 1
    shop.payment_conflict = take
    assert pay.reconcile().conflicts == 1
    assert pay.reconcile().conflicts == 0
    assert len(shop.conflicts) == 1


def test_one_that_fails_costs_the_others_nothing(pay, gateway, start, clock, shop):
    first, second = start("A-1"), start("A-2")
    clock.moment = first.next_call_at
    original = gateway.send

    def send(request, timeout):
        about = first if first.payment_request_id.encode() in request.body else second
        gateway.script["inquiryPayment"] = [inquired(about, PAID)]
        return original(request, timeout)

    gateway.send = send
    take = shop.payment_changed

    def fails_for_one(details):
        if details.attempt.order_ref == "A-1":
            raise RuntimeError("the shop's own bug")
        take(details)

    shop.payment_changed = fails_for_one
    rounds = pay.reconcile()
    assert (rounds.failed, rounds.became_final) == (1, 1)
    assert shop.changes == [("A-2", "succeeded")]


def test_when_the_store_cannot_be_searched_reconcile_says_so(pay, monkeypatch):
    def down(*_):
        raise OSError("gone")

    monkeypatch.setattr(pay.store, "due", down)
    with pytest.raises(StoreError, match="store due"):
        pay.reconcile()


def test_many_due_attempts_are_each_asked_about_once_in_a_round(pay, gateway, start, clock):
    attempts = [start(f"A-{number}") for number in range(250)]
    clock.moment = attempts[-1].next_call_at
    gateway.sent.clear()
    gateway.script["inquiryPayment"] = [{"result": PAID, "paymentResult": OPEN}]
    rounds = pay.reconcile()
    assert rounds.asked == 250
    assert len(gateway.bodies("inquiryPayment")) == len(gateway.sent) == 250


def test_without_an_amount_what_is_left_is_given_back_and_the_same_when_asked_again(
    pay, gateway, paid
):
    gateway.script["refund"] = [done(), done(refundId="R-2")]
    part = give_back(pay, paid, 1, amount=Amount("USD", 1200))
    rest = give_back(pay, paid, 2)
    assert (part.amount, rest.amount) == (Amount("USD", 1200), Amount("USD", 3000))
    assert give_back(pay, paid, 2) == rest
    assert give_back(pay, paid, 1) == part
    assert gateway.calls().count("refund") == 2
    with pytest.raises(InvalidValue, match=r"found nothing left of 42\.00 USD"):
        give_back(pay, paid, 3)


def test_what_a_failed_refund_was_about_is_still_left(pay, gateway, paid):
    failed = {"resultCode": "REFUND_WINDOW_EXCEED", "resultStatus": "F", "resultMessage": "late"}
    gateway.script["refund"] = [{"result": failed}, done()]
    assert give_back(pay, paid, 1).state.value == "failed"
    assert give_back(pay, paid, 2).amount == paid.amount
