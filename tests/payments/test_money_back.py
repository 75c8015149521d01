"""What was given back is neither given back again nor told as paid, in whatever currency it was."""

import logging
from datetime import timedelta

import pytest
from attrs import evolve

from aplus_adapters import Amount, AplusPay, ConfigurationError, RefundState, State
from aplus_adapters.payments.flows.claim import take_claim
from aplus_adapters.web.view import view_of
from support.gateway import LOST, OPEN, PAID, asked, done, give_back, inquired, notified

REFUSED = {"resultCode": "PROCESS_FAIL", "resultStatus": "F", "resultMessage": "no"}
TOO_LATE = {"resultCode": "CANCEL_WINDOW_EXCEED", "resultStatus": "F", "resultMessage": "no"}
YEN = {"currency": "JPY", "value": "5000"}


def listed(request_id="elsewhere", status="SUCCESS", **amount):
    return {
        "transactionType": "REFUND",
        "transactionRequestId": request_id,
        "transactionStatus": status,
        "transactionId": "T-1",
        "transactionAmount": {"currency": "USD", "value": "4200", **amount},
    }


@pytest.fixture
def disputed(pay, start, clock, alipayplus):
    """Return a payment of which a notification has told another amount."""

    def dispute(amount=YEN):
        attempt = start()
        notified(pay, alipayplus, clock, alipayplus.notification(attempt, paymentAmount=amount))
        return pay.store.get(attempt.payment_request_id)

    return dispute


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("PROCESSING", RefundState.CREATED),
        ("SUCCESS", RefundState.SUCCEEDED),
        ("FAIL", RefundState.FAILED),
    ],
)
def test_a_refund_that_is_under_way_is_not_refused(pay, gateway, paid, clock, status, state):
    gateway.script["refund"] = [LOST]
    first = give_back(pay, paid, amount=Amount("USD", 1000))
    gateway.script["refund"] = [{"result": REFUSED}]
    mine = listed(first.refund_request_id, status, value="1000")
    gateway.script["inquiryPayment"] = [inquired(paid, PAID, transactions=[mine])]
    clock.moment = first.next_call_at
    pay.reconcile()
    (refund,) = pay.store.refunds(paid.payment_request_id)
    assert refund.state is state


@pytest.mark.parametrize("by_us", [False, True])
def test_disputed_money_that_went_back_is_not_told_as_paid(
    pay, gateway, disputed, clock, shop, by_us
):
    attempt = disputed(None if by_us else YEN)
    name = "elsewhere"
    if by_us:
        gateway.script["refund"] = [LOST]  # carried out all the same
        name = give_back(pay, attempt).refund_request_id
    answer = inquired(attempt, PAID, paymentId=attempt.payment_id, transactions=[listed(name)])
    gateway.script["inquiryPayment"] = [answer]
    clock.moment += timedelta(minutes=11)
    assert asked(pay, attempt).state is State.CANCELLED
    assert ("A-1", "succeeded") not in shop.changes


def test_disputed_money_that_went_back_elsewhere_frees_its_order(
    pay, gateway, disputed, clock, shop
):
    attempt = disputed()
    for value, state in (("4999", State.PENDING), ("5000", State.CANCELLED)):
        back = [listed(currency="JPY", value=value)]
        answer = inquired(
            attempt, PAID, paymentId=attempt.payment_id, transactions=back, paymentAmount=YEN
        )
        gateway.script["inquiryPayment"] = [answer]
        clock.moment = pay.store.get(attempt.payment_request_id).next_call_at
        assert asked(pay, attempt).state is state
    assert pay.start("A-1").payment_request_id != attempt.payment_request_id


def test_yen_that_went_back_are_not_taken_for_dollars(pay, gateway, disputed, clock, alipayplus):
    attempt = disputed()
    gateway.script["refund"] = [done()]
    assert give_back(pay, attempt).amount == Amount("JPY", 5000)
    over = pay.store.get(attempt.payment_request_id)
    assert (over.state, over.is_refunded, over.occupies_order) == (State.CANCELLED, True, False)
    notified(pay, alipayplus, clock, alipayplus.notification(attempt))
    after = pay.store.get(attempt.payment_request_id)
    assert (after.paid_amount, after.is_refunded) == (attempt.amount, False)
    assert pay.start("A-1").payment_request_id == attempt.payment_request_id
    assert give_back(pay, after, 2).amount == attempt.amount


def test_a_part_in_yen_leaves_the_whole_payment_in_dollars(
    pay, gateway, disputed, clock, alipayplus
):
    attempt = disputed()
    gateway.script["refund"] = [done()]
    give_back(pay, attempt, amount=Amount("JPY", 4500))
    notified(pay, alipayplus, clock, alipayplus.notification(attempt))
    after = pay.store.get(attempt.payment_request_id)
    assert (after.state, after.refunded, after.occupies_order) == (State.SUCCEEDED, 0, True)
    assert give_back(pay, after, 2).amount == attempt.amount


ODD = {
    "an empty id": {"transactionRequestId": ""},
    "a result without a code": {"transactionResult": {"resultStatus": "S"}},
    "a decimal amount": {"transactionAmount": {"currency": "USD", "value": "42.00"}},
}


@pytest.mark.parametrize("kind", ["PAYMENT", "CAPTURE", "REFUND"])
@pytest.mark.parametrize("what", ODD)
def test_only_a_refund_that_cannot_be_read_makes_an_answer_say_nothing(
    pay, gateway, start, clock, what, kind
):
    attempt = start()
    odd = {**listed(), "transactionType": kind, **ODD[what]}
    gateway.script["inquiryPayment"] = [inquired(attempt, PAID, transactions=[odd])]
    clock.moment = attempt.next_call_at
    after = asked(pay, attempt)
    assert after.state is (State.PENDING if kind == "REFUND" else State.SUCCEEDED)


@pytest.mark.parametrize("how", ["close_order", "another price"])
def test_a_close_is_not_lost_while_another_worker_asks(pay, gateway, start, clock, shop, how):
    attempt = start()
    clock.moment = attempt.next_call_at
    assert pay.run(take_claim(pay.config, attempt)) is not None  # a page's poll, in its inquiry
    gateway.script["inquiryPayment"] = [inquired(attempt, OPEN)]
    gateway.script["cancelPayment"] = [{"result": PAID}]
    if how == "close_order":
        back = pay.close_order("A-1")
    else:
        shop.price = Amount.parse("100.00", "USD")
        back = start()
        assert view_of(back, clock.now(), None).code_text is None
    assert back.state is State.CLOSING
    while clock.moment < attempt.expires_at and not back.state.is_final:
        clock.moment += timedelta(seconds=5)
        pay.reconcile()
        back = pay.store.get(attempt.payment_request_id)
    assert (back.state, clock.moment < attempt.expires_at) == (State.CANCELLED, True)


def test_what_can_neither_be_cancelled_nor_is_paid_is_an_error_at_once(
    pay, gateway, start, clock, caplog
):
    attempt = start()
    gateway.script["inquiryPayment"] = [inquired(attempt, OPEN)]
    gateway.script["cancelPayment"] = [{"result": TOO_LATE}]
    clock.moment = attempt.expires_at + timedelta(seconds=1)
    gateway.sent.clear()
    for _ in range(60):
        pay.reconcile()
        clock.moment += timedelta(seconds=2)
    errors = [one for one in caplog.records if getattr(one, "event", "") == "cannot_close"]
    assert 1 <= len(errors) <= 3
    assert len(gateway.sent) <= 12
    assert all(one.levelno == logging.ERROR for one in errors)


def test_a_refund_that_nobody_could_send_is_refused(account, store, shop, clock, paid):
    others = evolve(account, client_id="CLIENT-2")
    other = AplusPay(account=others, store=store, hooks=shop, clock=clock)
    with pytest.raises(ConfigurationError, match="client id 'CLIENT-1': found no such account"):
        other.refund(paid.payment_request_id, refund_request_id="credit-1")
    assert store.refunds(paid.payment_request_id) == []
