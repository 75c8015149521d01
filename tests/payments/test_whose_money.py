"""Money is compared with its currency, and belongs to one payment: what is another's counts for none."""

import logging
from datetime import timedelta

import pytest

from aplus_adapters import Amount, InconsistentRetry, OrderChanged, RefundState, State
from support.gateway import OPEN, PAID, asked, done, give_back, inquired, notified

YEN = {"currency": "JPY", "value": "4200"}  # as many as the cents that the order costs


@pytest.fixture
def alarms(caplog):
    """What is logged at a level that a default logger prints."""
    caplog.set_level(logging.WARNING)
    return lambda: [(one.levelname, one.getMessage()) for one in caplog.records]


class TestAsManyOfAnotherCurrency:
    def test_give_no_code(self, gateway, start, shop):
        code = gateway.code
        gateway.code = lambda request: code(request, paymentAmount=YEN)
        attempt = start()
        assert (attempt.state, attempt.order_code) == (State.CREATED, None)
        assert len(shop.conflicts) == 1

    def test_pay_nothing(self, pay, start, shop, alipayplus, clock, alarms):
        attempt = start()
        notified(pay, alipayplus, clock, alipayplus.notification(attempt, paymentAmount=YEN))
        stored = pay.store.get(attempt.payment_request_id)
        assert (stored.state, stored.disputed) == (State.PENDING, Amount("JPY", 4200))
        assert (shop.changes, len(shop.conflicts)) == ([], 1)
        ((level, message),) = alarms()
        assert level == "ERROR"
        assert attempt.payment_request_id in message
        assert "4200 JPY, the attempt is for 42.00 USD" in message

    def test_refund_nothing(self, pay, gateway, paid, shop, alarms):
        gateway.script["refund"] = [done(refundAmount=YEN)]
        assert give_back(pay, paid).state is RefundState.CREATED
        assert pay.store.get(paid.payment_request_id).refunded == 0
        assert len(shop.conflicts) == 1
        ((level, message),) = alarms()
        assert (level, paid.payment_request_id in message) == ("ERROR", True)

    def test_are_another_price_that_needs_another_code(self, pay, gateway, start, shop):
        first = start()
        shop.price = Amount("JPY", 4200)
        gateway.script["inquiryPayment"] = [inquired(first, OPEN)]
        gateway.script["cancelPayment"] = [{"result": PAID}]
        second = start()
        assert pay.store.get(first.payment_request_id).state is State.CANCELLED
        assert (second.state, second.amount) == (State.PENDING, Amount("JPY", 4200))

    def test_are_not_what_was_paid(self, paid, start, shop, alarms):
        shop.price = Amount("JPY", 4200)
        with pytest.raises(OrderChanged, match=r"paid with 42\.00 USD .* load_order says 4200 JPY"):
            start()
        ((level, message),) = alarms()
        assert (level, paid.payment_request_id in message) == ("ERROR", True)


class TestThePaymentIdOfTheCode:
    def test_is_kept(self, pay, start):
        attempt = start()
        assert attempt.payment_id == "P-0001"
        assert pay.store.get(attempt.payment_request_id).payment_id == "P-0001"
        (said,) = pay.store.history(attempt.payment_request_id)
        assert said.payment_id == "P-0001"

    def test_makes_news_of_another_one_a_conflict(self, pay, start, shop, alipayplus, clock):
        attempt = start()
        body = alipayplus.notification(attempt, paymentId="P-0002")
        assert notified(pay, alipayplus, clock, body).status == 200
        assert pay.store.get(attempt.payment_request_id).state is State.PENDING
        assert (shop.changes, len(shop.conflicts)) == ([], 1)


class TestRefundsOfTwoPayments:
    @pytest.fixture
    def other(self, pay, gateway, paid, start, clock):
        attempt = start("B-1")
        gateway.script["inquiryPayment"] = [inquired(attempt, PAID)]
        clock.moment = attempt.next_call_at
        assert asked(pay, attempt).state is State.SUCCEEDED
        gateway.script["refund"] = [done()]
        gateway.sent.clear()
        return attempt

    def test_do_not_count_against_each_other(self, pay, paid, other):
        for number, attempt in enumerate((paid, other)):
            refund = give_back(pay, attempt, number)
            assert (refund.state, refund.amount) == (RefundState.SUCCEEDED, Amount("USD", 4200))
            assert pay.store.refunds(attempt.payment_request_id) == [refund]
            assert pay.store.get(attempt.payment_request_id).refunded == 4200

    def test_never_have_the_same_id(self, pay, gateway, paid, other):
        first = give_back(pay, paid, 1, amount=Amount("USD", 1000))
        for amount in (Amount("USD", 1000), None):
            with pytest.raises(InconsistentRetry, match="nothing was sent"):
                give_back(pay, other, 1, amount=amount)
        assert pay.store.refunds(paid.payment_request_id) == [first]
        assert pay.store.refunds(other.payment_request_id) == []
        assert gateway.calls() == ["refund"]


class TestTheConnectionThatAHookIsGiven:
    """What the shop writes by it is committed together with the money, or not at all."""

    def check(self, store, told):
        (details,) = told
        if not hasattr(store, "engine"):
            assert details.connection is None
            return
        assert details.connection.engine is store.engine
        assert details.connection.closed  # by now

    def test_is_the_payments(self, pay, start, shop, store, alipayplus, clock):
        told = []
        shop.payment_changed = told.append
        attempt = start()
        notified(pay, alipayplus, clock, alipayplus.notification(attempt))
        self.check(store, told)
        assert told[0].attempt.state is State.SUCCEEDED

    def test_is_the_refunds(self, pay, gateway, paid, shop, store):
        told = []
        shop.refund_changed = told.append
        gateway.script["refund"] = [done()]
        give_back(pay, paid, amount=Amount("USD", 1000))
        self.check(store, told)
        assert (told[0].refund.state, told[0].attempt.refunded) == (RefundState.SUCCEEDED, 1000)


def test_a_pay_answer_without_a_code_is_no_refusal(pay, gateway, start, shop, clock):
    for result in (OPEN, PAID):
        gateway.script["pay"] = [{"result": result}, "code"]
        attempt = start(f"order {result['resultStatus']}")
        assert attempt.state is State.CREATED
        clock.moment += timedelta(seconds=2)
        assert asked(pay, attempt).state is State.PENDING
    assert shop.changes == []
