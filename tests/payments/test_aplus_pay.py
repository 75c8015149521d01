"""What a shop asks of AplusPay itself: each call, and its twin for programs that await."""

import asyncio
import pickle

import pytest

from aplus_adapters import (
    Refund,
    RefundState,
    Rejected,
    State,
    UnknownOrder,
    UnknownPayment,
    Visitor,
    WouldDeadlock,
)
from aplus_adapters.messages import Result
from aplus_adapters.payments.effects import Send
from aplus_adapters.payments.model import OrderCode, Outcome, Source
from aplus_adapters.payments.timeline import timeline
from aplus_adapters.testing.store_values import LATER, an_attempt, an_observation
from support.gateway import CLOSED, GONE, LOST, OPEN, PAID, inquired
from support.shop import NOON


class Calls:
    """Calls a method of AplusPay, or its awaiting twin."""

    def __init__(self, pay, *, awaiting):
        self.pay, self.awaiting = pay, awaiting

    def __getattr__(self, name):
        if self.awaiting:
            method = getattr(self.pay, f"{name}_async")
            return lambda *args, **options: asyncio.run(method(*args, **options))
        return getattr(self.pay, name)


@pytest.fixture(params=["blocking", "awaiting"])
def calls(request, pay, gateway):
    awaiting = request.param == "awaiting"
    if awaiting:
        pay.async_performer._table[Send] = lambda e: gateway.send_async(e.request, e.timeout)
    yield Calls(pay, awaiting=awaiting)
    if awaiting:
        asyncio.run(pay.aclose())


def test_a_payment_is_started_and_found_by_its_id_and_by_its_order(calls):
    attempt = calls.start("A-1")
    assert attempt.state is State.PENDING
    assert attempt.order_code.text == "https://codes.example/281"
    assert calls.find(attempt.payment_request_id) == attempt
    assert calls.latest("A-1") == attempt
    assert calls.start("A-1") == attempt
    assert calls.find("pay9") is None
    assert calls.latest("A-2") is None


def test_the_hook_is_told_who_asks(calls, shop):
    seen = []
    load = shop.load_order
    shop.load_order = lambda details: seen.append(details.visitor) or load(details)
    till = Visitor(user_agent="till 7")
    calls.start("A-1", till)
    calls.start("A-1")
    assert seen == [till, Visitor()]


def test_an_order_that_the_shop_does_not_have_is_not_started(calls, shop):
    shop.price = None
    with pytest.raises(UnknownOrder, match="order 'A-1': the shop has no such order to pay"):
        calls.start("A-1")


def test_a_timeline_says_what_happened(calls, gateway):
    attempt = calls.start("A-1")
    gateway.script["inquiryPayment"] = [inquired(attempt, OPEN)]
    gateway.script["cancelPayment"] = [{"result": PAID}]
    calls.close_order("A-1")
    events = calls.timeline(attempt.payment_request_id)
    assert [(event.source, event.text, event.state) for event in events] == [
        ("shop", "pay 42.00 USD for order A-1", "created"),
        ("pay", "code issued 42.00 USD (PAYMENT_IN_PROCESS)", "pending"),
        ("shop", "closing", "closing"),
        ("cancel", "cancelled (SUCCESS)", "cancelled"),
    ]
    with pytest.raises(UnknownPayment, match="timeline of 'pay9': found no such payment"):
        calls.timeline("pay9")


# What Alipay+ says to the inquiry and to cancelPayment, what the shop gets, and what was sent.
CLOSINGS = {
    "a code that nobody paid": (OPEN, PAID, "cancelled", ["inquiryPayment", "cancelPayment"]),
    "a code that was paid before": (PAID, None, "succeeded", ["inquiryPayment"]),
    "a code that is over": (CLOSED, None, "failed", ["inquiryPayment"]),
}


@pytest.mark.parametrize("what", CLOSINGS)
def test_an_order_that_the_shop_cancels_can_be_paid_by_nobody(calls, gateway, shop, what):
    inquiry, cancel, state, sent = CLOSINGS[what]
    attempt = calls.start("A-1")
    gateway.sent.clear()
    gateway.script["inquiryPayment"] = [inquired(attempt, inquiry)]
    gateway.script["cancelPayment"] = [{"result": cancel}]
    assert calls.close_order("A-1").state.value == state
    assert [name for name, _ in gateway.sent] == sent
    assert shop.changes == [("A-1", state)]
    assert calls.close_order("A-1").state.value == state  # again: nothing more is sent
    assert [name for name, _ in gateway.sent] == sent


def test_a_cancellation_without_an_answer_goes_on_by_reconcile(calls, gateway, clock):
    attempt = calls.start("A-1")
    gateway.script["inquiryPayment"] = [inquired(attempt, OPEN)]
    gateway.script["cancelPayment"] = [LOST, {"result": PAID}]
    closing = calls.close_order("A-1")
    assert closing.state is State.CLOSING
    clock.moment = closing.next_call_at
    assert calls.reconcile().became_final == 1
    assert calls.latest("A-1").state is State.CANCELLED


def test_an_order_without_a_payment_has_nothing_to_close(calls, gateway):
    assert calls.close_order("A-1") is None
    assert gateway.sent == []


def test_money_goes_back(calls, gateway):
    attempt = calls.start("A-1")
    gateway.script["inquiryPayment"] = [inquired(attempt, PAID)]
    calls.close_order("A-1")
    gateway.script["refund"] = [{"result": PAID, "refundId": "R-1"}]
    refund = calls.refund(attempt.payment_request_id, refund_request_id="credit-note-77")
    assert isinstance(refund, Refund)
    assert (refund.state, refund.amount) == (RefundState.SUCCEEDED, attempt.amount)
    events = calls.timeline(attempt.payment_request_id)
    told = [(event.source, event.text, event.state) for event in events]
    assert [one for one in told if "credit-note-77" in one[1] or one[0] == "refund"] == [
        ("shop", "refund 42.00 USD as credit-note-77", "created"),
        ("refund", "refunded as credit-note-77 (SUCCESS)", "succeeded"),
    ]


WRITES = {
    "start": lambda calls, _: calls.start("A-2"),
    "close_order": lambda calls, _: calls.close_order("A-1"),
    "refund": lambda calls, name: calls.refund(name, refund_request_id="r-1"),
    "reconcile": lambda calls, _: calls.reconcile(),
}


@pytest.mark.parametrize("method", WRITES)
def test_inside_a_hook_whose_transaction_is_open_nothing_is_written_and_all_is_read(
    pay, gateway, shop, clock, method
):
    attempt = pay.start("A-1")
    raised, read = [], []

    def changed(details):
        read.append(pay.find(details.attempt.payment_request_id).order_ref)
        with pytest.raises(WouldDeadlock, match=rf"payment_changed asked for .*\({method}\)") as at:
            WRITES[method](pay, attempt.payment_request_id)
        raised.append(at.value)

    shop.payment_changed = changed
    clock.moment = attempt.next_call_at
    gateway.script["inquiryPayment"] = [inquired(attempt, PAID)]
    assert pay.reconcile().became_final == 1
    assert (len(raised), read) == (1, ["A-1"])


def test_a_state_is_no_text_and_says_so_before_a_paid_order_is_taken_for_an_unpaid_one(pay):
    attempt = pay.start("A-1")
    assert attempt.state == State.PENDING
    assert attempt.state != State.SUCCEEDED
    assert (str(attempt.state), f"{attempt.state:>8}") == ("pending", " pending")
    assert State("pending") is State.PENDING
    assert pickle.loads(pickle.dumps(attempt.state)) is State.PENDING
    with pytest.raises(TypeError, match="State: found a comparison with the text 'paid'"):
        _ = attempt.state == "paid"
    with pytest.raises(TypeError, match=r"write `is State\.PENDING`"):
        _ = attempt.state in ("pending", "paid")


def test_what_is_absent_is_said_to_be_absent(calls, gateway):
    """The code was shown: that Alipay+ does not know it (yet) closes nothing."""
    calls.start("A-1")
    gateway.script["inquiryPayment"] = [{"result": GONE}]
    gateway.script["cancelPayment"] = [{"result": GONE}]
    assert calls.close_order("A-1").state is State.CLOSING


def test_a_rejection_keeps_its_result_through_a_pickle():
    result = Result(result_code="RISK_REJECT", result_status="F")
    again = pickle.loads(pickle.dumps(Rejected("pay: refused", result=result)))
    assert (str(again), again.result) == ("pay: refused", result)


def test_a_timeline_is_told_by_the_claim_and_the_code_of_each_time():
    """An answer under the claim of that time was not overtaken, and a code that is shown counts."""
    attempt = an_attempt(
        claim=3, order_code=OrderCode(text="https://c.example/1", expires_at=LATER)
    )
    told = [
        an_observation(Outcome.CODE_ISSUED, source=Source.PAY, claim=1),
        an_observation(Outcome.CLOSING, source=Source.SHOP, claim=2, amount=None),
        an_observation(Outcome.ABSENT, source=Source.CANCEL, claim=2, amount=None, said_at=NOON),
    ]
    events = timeline(attempt, told, [])
    assert [event.state for event in events] == ["created", "pending", "closing", "closing"]
