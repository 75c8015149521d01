"""What is done while nobody knows what became of a call: claims that end, refunds, other books."""

from datetime import timedelta

import pytest

from aplus_adapters import (
    Amount,
    InvalidValue,
    OrderToPay,
    RefundState,
    State,
    StoreError,
    Timing,
)
from aplus_adapters.payments.flows.follow_up import follow_up, step_or_stored, take_claim
from aplus_adapters.payments.flows.notification import receive
from support.gateway import DOWN, GONE, LOST, OPEN, PAID, asked, done, give_back, inquired
from support.shop import Skewed

DENIED = {"resultCode": "ACCESS_DENIED", "resultStatus": "F", "resultMessage": "no"}


def transaction(attempt, value, **changes):
    told = {
        "transactionType": "REFUND",
        "transactionStatus": "SUCCESS",
        "transactionRequestId": "credit-note-1",
        "transactionId": "R-9",
        "transactionAmount": {"currency": attempt.amount.currency, "value": str(value)},
        **changes,
    }
    return {name: said for name, said in told.items() if said is not None}


def with_transactions(attempt, *transactions):
    return inquired(attempt, PAID, transactions=list(transactions))


def test_who_was_held_up_beyond_its_claim_sends_nothing(pay, gateway, start, clock):
    attempt = start()
    clock.moment = attempt.next_call_at
    mine = pay.run(take_claim(pay.config, attempt))
    gateway.sent.clear()
    clock.moment += pay.config.timing.claim
    after = pay.run(step_or_stored(pay.config, mine))
    assert gateway.sent == []
    assert after.state is State.PENDING


def test_while_the_store_is_down_after_the_call_the_attempt_comes_back_as_it_was(
    pay, start, monkeypatch
):
    def fails(*_):
        raise StoreError("down")

    monkeypatch.setattr(pay.store, "record", fails)
    monkeypatch.setattr(pay.store, "get", fails)
    assert start().state is State.CREATED


def test_who_waits_for_another_workers_code_gets_the_attempt_even_if_the_store_fails(
    pay, gateway, start, clock, monkeypatch
):
    def fails(*_):
        raise StoreError("down")

    gateway.script["pay"] = [LOST]
    attempt = start()
    pay.store.claim(attempt.payment_request_id, attempt.claim, clock.now() + timedelta(seconds=20))
    get, seen = pay.store.get, []
    monkeypatch.setattr(pay.store, "get", lambda *key: seen.append(key) or fails())
    assert start().payment_request_id == attempt.payment_request_id
    assert len(seen) == 1
    assert get(attempt.payment_request_id).state is State.CREATED


def test_a_press_waits_a_few_seconds_for_the_code_of_another_worker(pay, gateway, start, clock):
    gateway.script["pay"] = [LOST]
    attempt = start()
    pay.store.claim(attempt.payment_request_id, attempt.claim, clock.now() + timedelta(seconds=20))
    clock.slept.clear()
    assert start().state is State.CREATED
    assert sum(clock.slept) == pytest.approx(4.0)


def test_an_answer_without_a_code_is_asked_for_again_soon(gateway, start, clock):
    gateway.script["pay"] = [{"result": OPEN}]
    attempt = start()
    assert (attempt.state, attempt.order_code) == (State.CREATED, None)
    assert attempt.next_call_at == clock.now() + timedelta(seconds=2)


def test_a_clock_of_ours_that_jumps_ahead_takes_no_code_from_a_buyer(
    pay, account, their_key, gateway, start, clock
):
    gateway.clock = alipaypluss = Skewed(clock, timedelta(0))
    attempt = start()
    clock.moment += timedelta(seconds=200)
    alipaypluss.off = timedelta(seconds=-200)
    gateway.script["inquiryPayment"] = [inquired(attempt, OPEN)]
    after = asked(pay, attempt)
    assert after.state is State.PENDING
    assert after.expires_at == clock.now() + timedelta(minutes=3)
    assert "cancelPayment" not in gateway.calls()


def test_what_is_paid_while_it_is_asked_about_is_not_cancelled(
    pay, gateway, start, shop, clock, alipayplus, monkeypatch
):
    attempt = start()
    gateway.script["inquiryPayment"] = [inquired(attempt, OPEN)]
    answer = gateway.send

    def pays_meanwhile(request, timeout):
        if request.path.endswith("inquiryPayment"):
            body = alipayplus.notification(attempt)
            headers = tuple(alipayplus.sign(body, at=clock.now()).items())
            assert pay.run(receive(pay.config, headers, body)).status == 200
        return answer(request, timeout)

    monkeypatch.setattr(gateway, "send", pays_meanwhile)
    clock.moment = attempt.expires_at
    assert asked(pay, attempt).state is State.SUCCEEDED
    assert gateway.calls() == ["pay", "inquiryPayment"]
    assert shop.changes == [("A-1", "succeeded")]


def test_what_alipayplus_does_not_know_is_sent_to_it_before_it_is_cancelled(
    pay, gateway, start, shop
):
    gateway.script["pay"] = [LOST, LOST, LOST, "code"]
    gateway.script["inquiryPayment"] = [{"result": GONE}]
    gateway.script["cancelPayment"] = [{"result": GONE}, {"result": PAID}]
    first = start()
    shop.price = Amount.parse("43.00", "USD")
    second = start()
    calls = ["inquiryPayment", "cancelPayment", "pay", "cancelPayment", "pay"]
    assert gateway.calls()[3:] == calls
    assert pay.store.get(first.payment_request_id).state is State.CANCELLED
    assert pay.store.get(first.payment_request_id).order_code is not None  # and nobody saw it
    assert (second.state, second.amount) == (State.PENDING, shop.price)
    assert len(gateway.bodies("pay")) == 2


def test_what_alipayplus_refuses_then_is_over(pay, gateway, start, shop):
    gateway.script["pay"] = [LOST, LOST, LOST, {"result": DENIED}, "code"]
    gateway.script["inquiryPayment"] = [{"result": GONE}]
    gateway.script["cancelPayment"] = [{"result": GONE}]
    first = start()
    shop.price = Amount.parse("43.00", "USD")
    assert start().state is State.PENDING
    assert pay.store.get(first.payment_request_id).state is State.FAILED


def test_a_lenient_shop_names_the_canonical_order(pay, gateway, start, shop):
    def load_order(details):
        number = details.order_ref.strip().lstrip("0")
        return OrderToPay(amount=shop.price, description="2 tickets", order_ref=number)

    shop.load_order = load_order
    first = start("1001")
    assert {start(ref).payment_request_id for ref in (" 1001", "01001", "1001 ")} == {
        first.payment_request_id
    }
    assert first.order_ref == "1001"
    assert gateway.calls() == ["pay"]
    for wrong in ("", "x" * 65, 1001):
        with pytest.raises(InvalidValue, match="OrderToPay order_ref"):
            OrderToPay(amount=shop.price, description="x", order_ref=wrong)


@pytest.mark.parametrize(
    ("transactions", "state"),
    [
        ([4200], State.CANCELLED),
        ([4000, 200], State.CANCELLED),
        ([4199], State.SUCCEEDED),
        ([], State.SUCCEEDED),
    ],
)
def test_what_was_paid_and_given_back_elsewhere_is_not_told_as_paid(
    pay, gateway, start, shop, clock, transactions, state
):
    attempt = start()
    told = [transaction(attempt, value) for value in transactions]
    gateway.script["inquiryPayment"] = [with_transactions(attempt, *told)]
    clock.moment = attempt.next_call_at
    assert asked(pay, attempt).state is state
    assert shop.changes == [("A-1", state.value)]
    in_part = state is State.SUCCEEDED and transactions
    assert len(shop.conflicts) == bool(in_part)


@pytest.mark.parametrize(
    "changes",
    [
        {"transactionType": "CAPTURE"},
        {"transactionStatus": "FAIL"},
        {"transactionStatus": None, "transactionResult": DENIED},
        {"transactionAmount": {"currency": "JPY", "value": "4200"}},
        {"transactionAmount": None, "transactionStatus": "FAIL"},
    ],
)
def test_only_refunds_that_succeeded_in_the_payments_currency_count(
    pay, gateway, start, clock, changes
):
    attempt = start()
    told = transaction(attempt, 4200, **changes)
    gateway.script["inquiryPayment"] = [with_transactions(attempt, told)]
    clock.moment = attempt.next_call_at
    assert asked(pay, attempt).state is State.SUCCEEDED


class TestARefusalOfARepeat:
    """The first send of the refund had no answer, its repeat is answered F."""

    @pytest.fixture
    def doubtful(self, gateway):
        gateway.script["refund"] = [LOST, {"result": DENIED}]

    def test_is_nothing_if_alipayplus_knows_the_refund(self, pay, gateway, paid, doubtful):
        result = {"transactionStatus": None, "transactionResult": PAID}
        known = transaction(paid, 4200, **result)
        other = transaction(paid, 1, transactionRequestId="another")
        gateway.script["inquiryPayment"] = [with_transactions(paid, other, known)]
        refund = give_back(pay, paid)
        assert (refund.state, refund.refund_id) == (RefundState.SUCCEEDED, "R-9")
        assert pay.store.get(paid.payment_request_id).is_refunded

    @pytest.mark.parametrize("said", [PAID, GONE])
    def test_keeps_the_amount_until_a_lone_send_is_refused_too(
        self, pay, gateway, paid, doubtful, clock, said
    ):
        gateway.script["inquiryPayment"] = [{"result": said, "paymentResult": PAID}]
        assert give_back(pay, paid).state is RefundState.CREATED
        with pytest.raises(InvalidValue, match="nothing left"):
            give_back(pay, paid, 2)
        clock.moment += timedelta(seconds=60)
        pay.reconcile()
        (refund,) = pay.store.refunds(paid.payment_request_id)
        # An inquiry that fails says nothing of its transactions.
        assert refund.state is (RefundState.FAILED if said is PAID else RefundState.CREATED)

    def test_is_in_doubt_if_the_inquiry_is_answered_for_another_payment(
        self, pay, gateway, paid, doubtful
    ):
        answer = {"result": PAID, "paymentResult": PAID, "paymentRequestId": "another"}
        gateway.script["inquiryPayment"] = [answer]
        assert give_back(pay, paid).state is RefundState.CREATED


def test_an_order_that_was_refunded_in_full_can_be_paid_anew(pay, gateway, paid, start):
    gateway.script["refund"] = [done()]
    assert give_back(pay, paid).state is RefundState.SUCCEEDED
    again = start()
    assert again.payment_request_id != paid.payment_request_id
    assert again.state is State.PENDING


def test_what_belongs_to_an_account_of_others_is_not_asked_about(pay, gateway, start, clock):
    from attrs import evolve

    attempt = evolve(start(), client_id="OTHER")
    clock.moment = attempt.next_call_at
    gateway.sent.clear()
    assert pay.run(follow_up(pay.config, attempt)) == attempt
    assert pay.run(take_claim(pay.config, attempt)) is None
    assert gateway.sent == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inquiry": timedelta(minutes=2)}, "Timing inquiry: found 0:02:00"),
        ({"retry_pay": timedelta(0)}, "Timing retry_pay: found 0:00:00"),
        ({"after_conflict": timedelta(minutes=15)}, "Timing after_conflict: found 0:15:00"),
        (
            {"claim": timedelta(seconds=9)},
            "Timing claim: found 0:00:09, expected at least the 10 s",
        ),
    ],
)
def test_rules_that_cannot_work_are_refused(changes, message):
    with pytest.raises(InvalidValue, match=message):
        Timing(**changes)


@pytest.mark.parametrize("call", ["pay", "cancelPayment"])
def test_a_call_that_could_outlast_its_claim_is_not_begun(pay, gateway, start, clock, call):
    """Another worker may be calling by then."""
    gateway.script["pay"] = [DOWN if call == "pay" else "code"]
    gateway.script["cancelPayment"] = [LOST]
    attempt = start()
    if call == "cancelPayment":
        gateway.script["inquiryPayment"] = [inquired(attempt, OPEN)]
        pay.close_order("A-1")
    clock.moment += timedelta(seconds=30)
    mine = pay.run(take_claim(pay.config, pay.find(attempt.payment_request_id)))
    clock.moment = mine.claimed_until - timedelta(seconds=1)
    gateway.sent.clear()
    pay.run(step_or_stored(pay.config, mine))
    assert call not in gateway.calls()
