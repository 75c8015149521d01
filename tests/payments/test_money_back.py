"""What was given back is neither given back again nor told as paid, in whatever currency it was."""

import logging
from datetime import timedelta

import pytest
from attrs import evolve

from aplus_adapters import Amount, AplusPay, ConfigurationError, Outcome, RefundState, State
from aplus_adapters.payments.effects import Record
from aplus_adapters.payments.flows.claim import take_claim
from aplus_adapters.payments.flows.follow_up import step_or_stored
from aplus_adapters.web.view import view_of
from support.gateway import LOST, OPEN, PAID, asked, done, give_back, inquired, notified
from support.shop import Clock

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
        ("FAILED", RefundState.FAILED),
        ("CLOSED", RefundState.FAILED),  # and its result is F
    ],
)
def test_a_refund_that_is_under_way_is_not_refused(pay, gateway, paid, clock, status, state):
    gateway.script["refund"] = [LOST]
    first = give_back(pay, paid, amount=Amount("USD", 1000))
    gateway.script["refund"] = [{"result": REFUSED}]
    mine = listed(first.refund_request_id, status, value="1000")
    if status == "CLOSED":
        mine["transactionResult"] = REFUSED
    gateway.script["inquiryPayment"] = [inquired(paid, PAID, transactions=[mine])]
    clock.moment = first.next_call_at
    pay.reconcile()
    (refund,) = pay.store.refunds(paid.payment_request_id)
    assert refund.state is state


def test_disputed_money_that_went_back_is_not_told_as_paid(pay, gateway, disputed, clock, shop):
    attempt = disputed()
    answer = inquired(attempt, PAID, paymentId=attempt.payment_id, transactions=[listed()])
    gateway.script["inquiryPayment"] = [answer]
    clock.moment += timedelta(minutes=11)
    assert asked(pay, attempt).state is State.CANCELLED
    assert ("A-1", "succeeded") not in shop.changes


def test_our_own_refund_that_is_listed_is_settled_before_the_payment(
    pay, gateway, disputed, clock, shop
):
    attempt = disputed(None)  # paid, but of an amount that is not said
    gateway.script["refund"] = [LOST]  # carried out all the same
    refund = give_back(pay, attempt)
    mine = listed(refund.refund_request_id)
    answer = inquired(attempt, PAID, paymentId=attempt.payment_id, transactions=[mine])
    gateway.script["inquiryPayment"] = [answer]
    clock.moment += timedelta(minutes=11)
    assert asked(pay, attempt).state is State.PENDING
    gateway.script["refund"] = [done()]
    clock.moment += timedelta(minutes=11)
    pay.reconcile()
    after = pay.store.get(attempt.payment_request_id)
    assert (after.state, after.is_refunded, after.refunded) == (State.CANCELLED, True, 4200)
    assert shop.changes == [("A-1", "cancelled")]
    assert len(shop.conflicts) == 1  # that of the notification


def test_our_own_part_is_not_told_as_given_back_elsewhere(pay, gateway, disputed, clock, shop):
    attempt = disputed(None)
    gateway.script["refund"] = [done()]
    refund = give_back(pay, attempt, amount=Amount("USD", 1000))
    mine = listed(refund.refund_request_id, value="1000")
    answer = inquired(attempt, PAID, paymentId=attempt.payment_id, transactions=[mine])
    gateway.script["inquiryPayment"] = [answer]
    clock.moment += timedelta(minutes=11)
    after = asked(pay, attempt)
    assert (after.state, after.refunded) == (State.SUCCEEDED, 1000)
    assert len(shop.conflicts) == 1


@pytest.mark.parametrize("other", [{"paymentId": "P-9"}, {"paymentAmount": YEN}])
def test_what_another_wallet_paid_and_got_back_ends_nothing(
    pay, gateway, start, clock, shop, other
):
    attempt = start()
    said = {"paymentId": attempt.payment_id, "paymentAmount": attempt.amount.to_wire(), **other}
    back = [listed(**said["paymentAmount"])]
    gateway.script["inquiryPayment"] = [inquired(attempt, PAID, transactions=back, **said)]
    clock.moment = attempt.next_call_at
    after = asked(pay, attempt)
    assert (after.state, len(shop.conflicts)) == (State.PENDING, 1)


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
    assert pay.run(take_claim(pay.config, attempt)) is not None  # of a worker that has died
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


@pytest.mark.parametrize("answer", [PAID, OPEN])
def test_a_close_waits_for_what_another_worker_hears(pay, gateway, start, clock, shop, answer):
    attempt = start()
    clock.moment = attempt.next_call_at
    mine = pay.run(take_claim(pay.config, attempt))  # a page's poll, in its inquiry
    gateway.script["inquiryPayment"] = [inquired(attempt, answer)]
    gateway.script["cancelPayment"] = [{"result": PAID}]
    rest = clock.sleep

    def sleep(seconds):
        rest(seconds)
        if len(clock.slept) == 3:
            pay.run(step_or_stored(pay.config, mine))  # its answer is there

    clock.slept.clear()
    clock.sleep = sleep
    back = pay.close_order("A-1")
    state = State.SUCCEEDED if answer is PAID else State.CANCELLED
    assert (back.state, clock.slept) == (state, [0.25] * 3)
    assert shop.changes == [("A-1", str(state))]


def test_a_close_that_is_overtaken_each_time_comes_to_an_end(pay, store, start, clock, monkeypatch):
    attempt = start()
    clock.moment = attempt.next_call_at
    assert pay.run(take_claim(pay.config, attempt)) is not None
    real, overtaken = pay.performer._table[Record], []

    def record(effect):
        if effect.observation.outcome is Outcome.CLOSING:
            held = store.get(attempt.payment_request_id)
            overtaken.append(store.claim(held.payment_request_id, held.claim, held.claimed_until))
        return real(effect)

    monkeypatch.setitem(pay.performer._table, Record, record)
    assert pay.close_order("A-1").state is State.PENDING
    assert overtaken == [True] * 5


def test_a_payment_of_another_process_account_is_not_closed(account, store, shop, clock, start):
    attempt = start()
    others = evolve(account, client_id="CLIENT-2")
    other = AplusPay(account=others, store=store, hooks=shop, clock=clock)
    assert other.close_order("A-1") == attempt


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
    told = f"payment {attempt.payment_request_id}: can be cancelled no more, and no inquiry says"
    assert all(one.getMessage().startswith(told) for one in errors)


def test_a_refund_that_nobody_could_send_is_refused(account, store, shop, clock, paid):
    others = evolve(account, client_id="CLIENT-2")
    other = AplusPay(account=others, store=store, hooks=shop, clock=clock)
    with pytest.raises(ConfigurationError, match="client id 'CLIENT-1': found no such account"):
        other.refund(paid.payment_request_id, refund_request_id="credit-1")
    assert store.refunds(paid.payment_request_id) == []


def test_a_refund_of_an_account_that_is_gone_is_still_known(pay, gateway, account, shop, paid):
    gateway.script["refund"] = [done()]
    refund = give_back(pay, paid)
    others = evolve(account, client_id="CLIENT-2")
    other = AplusPay(account=others, store=pay.store, hooks=shop, clock=Clock())
    name = refund.refund_request_id
    assert other.refund(paid.payment_request_id, refund_request_id=name) == refund
