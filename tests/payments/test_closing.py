"""How a payment is closed, line by line of the table in the protocol, and errors after the effect."""

import asyncio
import contextlib
import json
import os
from datetime import timedelta

import pytest
from attrs import evolve

from aplus_adapters import Amount, HookError, OrderChanged, RefundState, State, StoreError, Visitor
from aplus_adapters.payments.effects import Send
from aplus_adapters.payments.flows.cancellation import _time_left
from aplus_adapters.payments.flows.follow_up import follow_up
from aplus_adapters.payments.flows.initiate import initiate
from aplus_adapters.payments.flows.notification import receive
from aplus_adapters.payments.model import Observation, Outcome, Source
from aplus_adapters.testing.store_values import an_observation, nothing
from aplus_adapters.web.view import view_of
from support.gateway import CLOSED, DOWN, FORGED, GONE, LOST, OPEN, PAID, Gateway, done, inquired
from support.shop import Skewed

BALANCE = {"resultCode": "USER_BALANCE_NOT_ENOUGH", "resultStatus": "F", "resultMessage": "no"}
DENIED = {"resultCode": "ACCESS_DENIED", "resultStatus": "F", "resultMessage": "no"}
BUSY = {"resultCode": "UNKNOWN_EXCEPTION", "resultStatus": "U", "resultMessage": "again"}
# What the inquiry says, what becomes of the payment, and whether cancelPayment is sent.
TABLE = {
    "S / S": (lambda attempt: inquired(attempt, PAID), State.SUCCEEDED, False),
    "S / F ORDER_IS_CLOSED": (lambda attempt: inquired(attempt, CLOSED), State.FAILED, False),
    "S / F other": (lambda attempt: inquired(attempt, BALANCE), State.FAILED, False),
    "S / U": (lambda attempt: inquired(attempt, OPEN), State.CANCELLED, True),
    "F ORDER_NOT_EXIST": (lambda _: {"result": GONE}, State.CANCELLED, True),
    "S / F ORDER_NOT_EXIST": (lambda attempt: inquired(attempt, GONE), State.CANCELLED, True),
    "F other": (lambda _: {"result": DENIED}, State.CANCELLED, True),
    "U": (lambda _: {"result": BUSY}, State.CANCELLED, True),
    "no answer": (lambda _: LOST, State.CANCELLED, True),
    "not sent": (lambda _: DOWN, State.CANCELLED, True),
    "a forged answer": (lambda _: FORGED, State.CANCELLED, True),
}


# Which store it is makes no difference to the order of calls: the contract suite is for stores.
pytestmark = pytest.mark.parametrize("store", ["memory"], indirect=True)


@pytest.fixture(params=["blocking", "awaiting"])
def run(request, pay, gateway):
    """Run flows by one driver or the other."""
    if request.param == "blocking":
        yield pay.run
        return

    def run(flow):
        async def awaited():
            pay.async_performer._table[Send] = lambda e: gateway.send_async(e.request, e.timeout)
            try:
                return await pay.run_async(flow)
            finally:
                await pay.aclose()

        return asyncio.run(awaited())

    yield run


@pytest.fixture(params=[-300, 0, 300])
def gateway(request, account, their_key, clock):
    return Gateway(account, their_key, Skewed(clock, timedelta(seconds=request.param)))


def press(run, pay):
    with contextlib.suppress(OrderChanged):  # it was paid before the price changed
        run(initiate(pay.config, "A-1", visitor()))


def visitor():
    return Visitor(user_agent="Mozilla/5.0")


def expires(run, pay, clock, attempt):
    clock.moment = attempt.expires_at + timedelta(seconds=40)
    run(follow_up(pay.config, pay.store.get(attempt.payment_request_id)))


def gets_a_new_code(run, pay, clock, attempt):
    clock.moment = attempt.expires_at + timedelta(seconds=40)
    press(run, pay)


def changes_its_price(run, pay, clock, attempt):
    pay.hooks.price = Amount.parse("43.00", "USD")
    press(run, pay)


@pytest.mark.parametrize("occasion", [expires, gets_a_new_code, changes_its_price])
@pytest.mark.parametrize("line", TABLE)
def test_a_payment_is_closed_as_the_table_says(pay, run, gateway, clock, shop, line, occasion):
    attempt = run(initiate(pay.config, "A-1", visitor()))
    assert view_of(attempt, clock.now(), None).code_text
    says, state, is_cancelled = TABLE[line]
    gateway.script["inquiryPayment"] = [says(attempt)]
    gateway.script["cancelPayment"] = [{"result": PAID}]
    occasion(run, pay, clock, attempt)
    assert pay.store.get(attempt.payment_request_id).state is state
    assert gateway.calls().count("cancelPayment") == is_cancelled
    assert "inquiryPayment" in gateway.calls()
    assert shop.changes[0] == ("A-1", state.value)
    assert shop.conflicts == []


@pytest.mark.parametrize("line", ["S / U", "F ORDER_NOT_EXIST", "no answer"])
@pytest.mark.parametrize(
    "answer", [LOST, DOWN, FORGED, {"result": BUSY}, {"result": DENIED}, {"result": GONE}]
)
def test_while_cancelpayment_brings_no_s_there_is_no_second_code(
    pay, run, gateway, clock, line, answer
):
    attempt = run(initiate(pay.config, "A-1", visitor()))
    gateway.script["inquiryPayment"] = [TABLE[line][0](attempt)]
    gateway.script["cancelPayment"] = [answer]
    changes_its_price(run, pay, clock, attempt)
    assert pay.store.latest("A-1").payment_request_id == attempt.payment_request_id
    assert pay.store.latest("A-1").state is State.CLOSING
    assert view_of(pay.store.latest("A-1"), clock.now(), None).code_text is None
    assert gateway.calls().count("pay") == 1


@pytest.mark.parametrize("line", ["F ORDER_NOT_EXIST", "S / U", "no answer"])
def test_before_expiry_and_without_a_reason_nothing_is_closed(pay, run, gateway, clock, line):
    attempt = run(initiate(pay.config, "A-1", visitor()))
    gateway.script["inquiryPayment"] = [TABLE[line][0](attempt)]
    clock.moment = attempt.next_call_at
    run(follow_up(pay.config, attempt))
    assert pay.store.get(attempt.payment_request_id).state is State.PENDING
    assert gateway.calls() == ["pay", "inquiryPayment"]


def test_time_is_left_only_if_alipayplus_said_both_the_end_and_the_time(pay, run, gateway, clock):
    attempt = run(initiate(pay.config, "A-1", visitor()))
    code, end = attempt.order_code, attempt.order_code.expires_at
    said = an_observation(said_at=end - timedelta(seconds=9))
    endless = evolve(attempt, order_code=evolve(code, expires_at=None))
    assert _time_left(attempt, said) == timedelta(seconds=9)
    for one, observation in (
        (evolve(attempt, order_code=None), said),
        (endless, said),
        (attempt, evolve(said, said_at=None)),
        (endless, evolve(said, said_at=None)),
    ):
        assert _time_left(one, observation) == timedelta(0)


@pytest.mark.parametrize("occasion", [gets_a_new_code, changes_its_price])
def test_a_payment_of_another_amount_is_not_closed_and_asked_about_again_much_later(
    pay, run, gateway, clock, occasion
):
    attempt = run(initiate(pay.config, "A-1", visitor()))
    other = {"paymentAmount": {"currency": "EUR", "value": "1"}}
    gateway.script["inquiryPayment"] = [inquired(attempt, PAID, **other)]
    with contextlib.suppress(OrderChanged):
        occasion(run, pay, clock, attempt)
    after = pay.store.get(attempt.payment_request_id)
    assert (after.state, after.disputed) == (State.PENDING, Amount("EUR", 1))
    assert after.next_call_at == clock.moment + pay.config.timing.after_conflict
    assert after.claimed_until is None  # whoever asks next need not wait for the end of a claim
    assert "cancelPayment" not in gateway.calls()


@pytest.mark.parametrize("closes", [False, True])
def test_a_worker_that_has_lost_its_claim_leaves_the_cancellation_to_the_new_holder(
    pay, run, gateway, clock, closes
):
    """It was away for longer than its claim: another worker asks and cancels by now."""
    attempt = run(initiate(pay.config, "A-1", visitor()))
    send = gateway.send

    def while_another_takes_over(request, timeout):
        if request.path.endswith("inquiryPayment"):
            stored = pay.store.get(attempt.payment_request_id)
            until = clock.now() + pay.config.timing.claim
            assert pay.store.claim(attempt.payment_request_id, stored.claim, until)
            if closes:
                intent = Observation(
                    source=Source.SHOP,
                    outcome=Outcome.CLOSING,
                    at=clock.now(),
                    client_id=stored.client_id,
                    claim=stored.claim + 1,
                )
                pay.store.record(attempt.payment_request_id, intent, nothing)
                assert pay.store.get(attempt.payment_request_id).state is State.CLOSING
        return send(request, timeout)

    gateway.send = while_another_takes_over
    gateway.script["inquiryPayment"] = [inquired(attempt, OPEN)]
    gateway.script["cancelPayment"] = [{"result": PAID}]
    changes_its_price(run, pay, clock, attempt)
    assert gateway.calls().count("inquiryPayment") == 1
    assert "cancelPayment" not in gateway.calls()
    assert pay.store.get(attempt.payment_request_id).claimed_until is not None  # the other's


class TestErrorsAfterAlipayPlusActed:
    """The caller gets what is stored, and another press is no second order or refund."""

    ROUNDS = 500 if os.environ.get("APLUS_LONG") else 50

    @pytest.fixture
    def gateway(self, account, their_key, clock):
        return Gateway(account, their_key, clock)

    @pytest.mark.parametrize("trouble", [HookError("hook"), StoreError("store")])
    def test_an_error_after_alipayplus_acted_makes_no_second_refund(
        self, pay, gateway, clock, alipayplus, monkeypatch, trouble
    ):
        gateway.script["refund"] = [done()]
        doubled = 0
        for number in range(self.ROUNDS):
            ref = f"A-{number}"
            attempt = pay.run(initiate(pay.config, ref, visitor()))
            body = alipayplus.notification(attempt)
            headers = tuple(alipayplus.sign(body, at=clock.now()).items())
            assert pay.run(receive(pay.config, headers, body)).status == 200
            gateway.sent.clear()
            with monkeypatch.context() as broken:
                broken.setattr(pay.store, "record", _raising(trouble))
                refund = pay.refund(attempt.payment_request_id, refund_request_id=f"r{number}")
                assert refund.state is RefundState.CREATED
                again = pay.refund(attempt.payment_request_id, refund_request_id=f"r{number}")
                assert again.state is RefundState.CREATED
            ids = {json.loads(body)["refundRequestId"] for body in gateway.bodies("refund")}
            doubled += len(ids) > 1
            clock.moment += timedelta(seconds=61)
            assert pay.reconcile().refunds == 1
        print(f"{self.ROUNDS} refunds, an error after each: {doubled} doubled")
        assert doubled == 0

    @pytest.mark.parametrize("trouble", [HookError("hook"), StoreError("store")])
    def test_an_error_after_alipayplus_acted_makes_no_second_order(
        self, pay, gateway, clock, monkeypatch, trouble
    ):
        doubled = 0
        for number in range(self.ROUNDS):
            gateway.sent.clear()
            with monkeypatch.context() as broken:
                broken.setattr(pay.store, "record", _raising(trouble))
                first = pay.run(initiate(pay.config, f"A-{number}", visitor()))
                assert first.state is State.CREATED
            clock.moment += timedelta(seconds=21)
            second = pay.run(initiate(pay.config, f"A-{number}", visitor()))
            assert second.state is State.PENDING
            doubled += len(gateway.bodies("pay")) > 1
        print(f"{self.ROUNDS} presses, an error after each: {doubled} doubled")
        assert doubled == 0


def _raising(trouble):
    def record(*_):
        raise trouble

    return record


@pytest.mark.parametrize("asked", [LOST, DOWN, FORGED], ids=["lost", "down", "forged"])
def test_one_answer_that_lags_does_not_close_a_code_that_was_shown(
    pay, gateway, start, clock, asked
):
    """The order is paid; one part of Alipay+ does not know it, another is not reached."""
    attempt = start()
    timing = pay.config.timing
    clock.moment = attempt.expires_at + timing.grace + timedelta(minutes=5)
    gateway.script["inquiryPayment"] = [asked]
    gateway.script["cancelPayment"] = [{"result": GONE}]
    assert start().payment_request_id == attempt.payment_request_id
    assert pay.store.get(attempt.payment_request_id).state is State.CLOSING
    clock.moment += timedelta(minutes=1)
    gateway.script["inquiryPayment"] = [inquired(attempt, PAID)]
    gateway.script["cancelPayment"] = [{"result": DENIED}]
    pay.reconcile()
    assert pay.store.get(attempt.payment_request_id).success_reported


def test_what_neither_call_knows_is_closed_once_its_code_is_over(pay, gateway, start, clock):
    attempt = start()
    clock.moment = attempt.expires_at + pay.config.timing.grace
    gateway.script["inquiryPayment"] = [{"result": GONE}]
    gateway.script["cancelPayment"] = [{"result": GONE}]
    assert start().payment_request_id != attempt.payment_request_id
    assert pay.store.get(attempt.payment_request_id).state is State.FAILED
