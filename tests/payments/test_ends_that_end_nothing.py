"""What Alipay+ says and ends nothing: the code is closed all the same, and all money is told of."""

from datetime import timedelta

import pytest

from aplus_adapters import Amount, HookError, Outcome, State, StoreError, Timing
from support.gateway import (
    CLOSED,
    GONE,
    LOST,
    OPEN,
    PAID,
    done,
    give_back,
    inquired,
    listed,
)

TOO_LATE = {"resultCode": "CANCEL_WINDOW_EXCEED", "resultStatus": "F", "resultMessage": "no"}
REFUSED = {"resultCode": "USER_BALANCE_NOT_ENOUGH", "resultStatus": "F", "resultMessage": "no"}
DOLLARS_50 = {"currency": "USD", "value": "5000"}
CANCELLED = {"result": PAID}


def without_amount(attempt, how, **more):
    answer = inquired(attempt, PAID, **more)
    if how == "missing":
        del answer["paymentAmount"]
    else:
        answer["paymentAmount"] = {"currency": "USD", "value": "500.00"}
    return answer


class TestAnInquiryWithoutAnAmount:
    """Then nobody can say that the refunds that it lists are all of the payment."""

    @pytest.mark.parametrize("how", ["missing", "unreadable"])
    def test_does_not_say_that_all_was_returned(self, pay, gateway, start, shop, clock, how):
        attempt = start()
        gateway.script["inquiryPayment"] = [
            without_amount(attempt, how, transactions=[listed("4200")])
        ]
        clock.moment = attempt.next_call_at
        pay.reconcile()
        after = pay.find(attempt.payment_request_id)
        assert (after.state, after.disputed) == (State.PENDING, attempt.amount)
        assert [conflict.reason for conflict in shop.conflicts] == [
            "inquiry says paid without a clear amount to compare with 42.00 USD"
        ]
        assert shop.changes == []

    @pytest.mark.parametrize("how", ["missing", "unreadable"])
    @pytest.mark.parametrize("where", ["by us", "elsewhere"])
    def test_keeps_more_money_that_is_disputed(
        self, pay, gateway, start, tell, shop, clock, how, where
    ):
        attempt = start()
        assert tell(attempt, paymentAmount={"currency": "USD", "value": "50000"}).disputed
        gateway.script["refund"] = [done()]
        name = "elsewhere"
        if where == "by us":
            name = give_back(pay, attempt, amount=Amount("USD", 4200)).refund_request_id
        gateway.script["inquiryPayment"] = [
            without_amount(attempt, how, transactions=[listed("4200", name)])
        ]
        clock.moment += timedelta(minutes=11)
        pay.reconcile()
        after = pay.find(attempt.payment_request_id)
        assert (after.state, after.disputed) == (State.PENDING, Amount("USD", 50000))
        assert (after.occupies_order, shop.changes) == (True, [])
        assert give_back(pay, attempt, 2, amount=Amount("USD", 45800)).amount.value == 45800


ANOTHER = {
    "failed with another id": lambda a: inquired(a, REFUSED, paymentId="P-9"),
    "closed with another id": lambda a: inquired(a, CLOSED, paymentId="P-9"),
    "failed with another amount": lambda a: inquired(a, REFUSED, paymentAmount=DOLLARS_50),
    "another wallet's, given back": lambda a: inquired(
        a, PAID, paymentId="P-9", transactions=[listed("4200")]
    ),
}


@pytest.mark.parametrize("what", ANOTHER)
class TestAnEndThatContradicts:
    def test_does_not_keep_an_expired_code_open(self, pay, gateway, start, shop, clock, what):
        attempt = start()
        gateway.script["inquiryPayment"] = [ANOTHER[what](attempt)]
        gateway.script["cancelPayment"] = [CANCELLED]
        while clock.moment < attempt.expires_at + timedelta(seconds=10):
            clock.moment += timedelta(seconds=4)
            pay.reconcile()
        assert pay.find(attempt.payment_request_id).state is State.CANCELLED
        assert gateway.calls().count("cancelPayment") == 1
        assert len(shop.conflicts) == 1
        clock.moment += timedelta(seconds=1)
        assert start().payment_request_id != attempt.payment_request_id

    def test_does_not_keep_an_order_open_that_is_to_be_closed(
        self, pay, gateway, start, shop, clock, what
    ):
        attempt = start()
        gateway.script["inquiryPayment"] = [ANOTHER[what](attempt)]
        gateway.script["cancelPayment"] = [CANCELLED]
        assert pay.close_order("A-1").state is State.CANCELLED
        assert len(shop.conflicts) == 1

    def test_closes_no_code_before_its_end(self, pay, gateway, start, clock, what):
        """Our clock is ahead: Alipay+ says that the code can still be paid."""
        attempt = start()
        gateway.script["inquiryPayment"] = [ANOTHER[what](attempt)]
        gateway.script["cancelPayment"] = [CANCELLED]
        theirs = clock.moment
        gateway.clock = type(clock)()
        gateway.clock.moment = theirs + timedelta(seconds=60)
        clock.moment = attempt.expires_at + timedelta(seconds=1)
        pay.reconcile()
        after = pay.find(attempt.payment_request_id)
        assert (after.state, gateway.calls().count("cancelPayment")) == (State.PENDING, 0)
        assert after.next_call_at == clock.moment + Timing().inquiry


def breaking(store, outcome, times=1):
    """Let the store fail to record an outcome."""
    record, left = store.record, [None] * times

    def failing(payment_request_id, observation, inside):
        if observation.outcome is outcome and left:
            left.pop()
            raise StoreError("lock time-out")
        return record(payment_request_id, observation, inside)

    store.record = failing


class TestADecisionThatIsNotStored:
    """Nobody cancels then: who is told that it is being closed would believe it."""

    @pytest.fixture
    def attempt(self, start, gateway, clock):
        attempt = start()
        gateway.script["inquiryPayment"] = [inquired(attempt, OPEN)]
        gateway.script["cancelPayment"] = [CANCELLED]
        clock.moment += timedelta(seconds=30)
        return attempt

    def test_is_an_error_of_close_order_which_may_be_called_again(
        self, pay, gateway, attempt, clock
    ):
        breaking(pay.store, Outcome.CLOSING)
        with pytest.raises(StoreError, match="lock time-out"):
            pay.close_order("A-1")
        assert "cancelPayment" not in gateway.calls()
        clock.moment += timedelta(seconds=21)  # the claim of the first try has ended
        assert pay.close_order("A-1").state is State.CANCELLED

    def test_is_an_error_where_the_price_has_changed(self, pay, attempt, shop, start):
        breaking(pay.store, Outcome.CLOSING)
        shop.price = Amount("USD", 9900)
        with pytest.raises(StoreError, match="lock time-out"):
            start()

    def test_is_an_error_as_well_if_the_store_is_gone(self, pay, gateway, attempt):
        breaking(pay.store, Outcome.CLOSING)
        find, asked = pay.store.get, []

        def gone(payment_request_id):
            if "inquiryPayment" in gateway.calls():
                asked.append(payment_request_id)
                raise StoreError("gone")
            return find(payment_request_id)

        pay.store.get = gone
        with pytest.raises(StoreError, match="lock time-out"):
            pay.close_order("A-1")
        assert asked

    def test_a_hook_that_fails_about_an_end_is_an_error(self, pay, gateway, attempt, shop):
        gateway.script["inquiryPayment"] = [inquired(attempt, REFUSED)]
        shop.payment_changed = lambda details: 1 / 0
        with pytest.raises(HookError, match="payment_changed"):
            pay.close_order("A-1")

    def test_after_the_decision_the_stored_state_is_returned(self, pay, gateway, attempt):
        breaking(pay.store, Outcome.CANCELLED)
        assert pay.close_order("A-1").state is State.CLOSING

    def test_of_an_order_that_somebody_begins_meanwhile_is_an_error(
        self, pay, attempt, start, clock
    ):
        find_latest, begun = pay.store.latest, []

        def latest(order_ref):
            if not begun and pay.find(attempt.payment_request_id).state is State.CANCELLED:
                clock.moment += timedelta(seconds=1)
                begun.append(None)
                begun[0] = start()
                breaking(pay.store, Outcome.CLOSING)
            return find_latest(order_ref)

        pay.store.latest = latest
        with pytest.raises(StoreError, match="lock time-out"):
            pay.close_order("A-1")


def test_money_of_another_amount_that_nobody_returns_any_more_is_told_again(
    pay, gateway, start, tell, shop, clock, caplog
):
    """The cancellation would have returned it: that conflict was resolved so. Now it is refused."""
    attempt = start()
    gateway.script["inquiryPayment"] = [inquired(attempt, OPEN)]
    gateway.script["cancelPayment"] = [LOST]
    assert pay.close_order("A-1").state is State.CLOSING
    assert tell(attempt, paymentAmount=DOLLARS_50).state is State.CLOSING
    (first,) = pay.conflicts()
    pay.resolve_conflict(first.key, note="the cancellation returns it", by="Mei")
    gateway.script["cancelPayment"] = [{"result": TOO_LATE}]
    gateway.script["inquiryPayment"] = [inquired(attempt, PAID, paymentAmount=DOLLARS_50)]
    for _ in range(60):
        clock.moment += timedelta(minutes=1)
        pay.reconcile()
    after = pay.find(attempt.payment_request_id)
    assert (after.state, str(after.disputed)) == (State.PENDING, "50.00 USD")
    assert len(shop.conflicts) == 2
    assert shop.conflicts[1].reason.endswith(", and it can be cancelled no more")
    assert [found.payment_request_id for found in pay.list(needs_attention=True).attempts] == [
        attempt.payment_request_id
    ]
    said = [line for line in caplog.messages if "can be cancelled no more, and 50.00 USD" in line]
    assert len(said) == 1
    assert "asked about every 0:10:00" in said[0]
    assert "no inquiry says what became of it" not in caplog.text


def test_a_disputed_payment_is_cancelled_as_often_as_any_other(pay, gateway, start, tell, clock):
    attempt = start()
    gateway.script["inquiryPayment"] = [inquired(attempt, OPEN)]
    gateway.script["cancelPayment"] = [LOST]
    assert pay.close_order("A-1").state is State.CLOSING
    assert tell(attempt, paymentAmount=DOLLARS_50).disputed is not None
    began = clock.moment
    gateway.sent.clear()
    while clock.moment < began + timedelta(minutes=2):
        clock.moment += timedelta(seconds=1)
        pay.reconcile()
    assert gateway.calls().count("cancelPayment") == 6  # after 2, 3, 3, 5, 5 and 60 seconds


@pytest.mark.parametrize("result", [REFUSED, GONE, CLOSED], ids=lambda one: one["resultCode"])
def test_a_failure_that_is_notified_after_a_success_is_a_conflict(start, tell, shop, result):
    attempt = start()
    assert tell(attempt).state is State.SUCCEEDED
    after = tell(attempt, paymentResult=result, paymentAmount=None)
    assert (after.state, len(shop.conflicts)) == (State.SUCCEEDED, 1)


def test_an_absence_that_is_notified_closes_no_open_code(start, tell, shop):
    attempt = start()
    after = tell(attempt, paymentResult=GONE, paymentAmount=None)
    assert (after.state, shop.conflicts) == (State.PENDING, [])


@pytest.mark.parametrize("seconds", [1, 60])
def test_a_refusal_of_a_refund_is_not_believed_while_an_earlier_request_may_arrive(
    pay, gateway, start, tell, clock, seconds
):
    pay.config = type(pay.config)(
        accounts=pay.config.accounts, timing=Timing(after_refusal=timedelta(seconds=seconds))
    )
    attempt = start()
    tell(attempt)
    gateway.script["refund"] = [LOST]
    give_back(pay, attempt)
    asked_at = clock.moment
    gateway.script["refund"] = [{"result": REFUSED}]
    gateway.script["inquiryPayment"] = [inquired(attempt, PAID)]
    while pay.store.refunds(attempt.payment_request_id)[0].state.value == "created":
        clock.moment += timedelta(seconds=1)
        pay.reconcile()
    assert clock.moment - asked_at >= timedelta(minutes=1)
