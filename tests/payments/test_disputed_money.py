"""Money that Alipay+ reports against our records: nobody ships for what goes back, none is lost."""

import logging
import threading
from datetime import timedelta

import pytest

from aplus_adapters import Amount, InvalidValue, MemoryStore, RefundState, State, StoreError
from aplus_adapters.web.view import PageState, view_of
from support.gateway import (
    CLOSED,
    LOST,
    OPEN,
    PAID,
    asked,
    done,
    give_back,
    inquired,
    listed,
)

TOO_LATE = {"resultCode": "CANCEL_WINDOW_EXCEED", "resultStatus": "F", "resultMessage": "no"}
REFUSED = {"resultCode": "PROCESS_FAIL", "resultStatus": "F", "resultMessage": "no"}
DOLLARS_50 = {"currency": "USD", "value": "5000"}
YEN = {"currency": "JPY", "value": "5000"}


@pytest.fixture
def failed(start, tell):
    attempt = start()
    assert tell(attempt, paymentResult=REFUSED, paymentAmount=None).state is State.FAILED
    return attempt


@pytest.fixture
def closing(pay, gateway, start, tell):
    """A payment that is being cancelled, and whose success was reported meanwhile."""
    attempt = start()
    gateway.script["inquiryPayment"] = [inquired(attempt, OPEN)]
    gateway.script["cancelPayment"] = [LOST]
    pay.close_order("A-1")
    after = tell(attempt)
    assert (after.state, after.success_reported) == (State.CLOSING, True)
    gateway.sent.clear()
    return attempt


def reasons(shop):
    return [conflict.reason for conflict in shop.conflicts]


class TestAnAmountThatIsLess:
    @pytest.mark.parametrize("value", ["0", "100"])
    def test_takes_nothing_of_what_is_disputed_away(
        self, pay, gateway, failed, tell, start, clock, value
    ):
        tell(failed)
        after = tell(failed, paymentAmount={"currency": "USD", "value": value})
        assert (after.disputed, after.occupies_order) == (failed.amount, True)
        gateway.script["refund"] = [done()]
        give_back(pay, failed, amount=Amount("USD", 1000))
        after = tell(failed, paymentAmount={"currency": "USD", "value": "1000"})
        assert (after.disputed, after.refunded) == (failed.amount, 1000)
        assert start().payment_request_id == failed.payment_request_id
        assert give_back(pay, failed, 2).amount == Amount("USD", 3200)
        clock.moment += timedelta(seconds=1)
        assert start().payment_request_id != failed.payment_request_id

    def test_nothing_at_all_is_not_refunded(self, start, tell):
        after = tell(start(), paymentAmount={"currency": "USD", "value": "0"})
        assert (after.disputed, after.is_refunded) == (after.amount, False)


class TestTwoCurrencies:
    def test_what_was_given_back_stays_given_back(self, pay, gateway, start, tell, clock):
        attempt = start()
        gateway.script["refund"] = [done()]
        tell(attempt, paymentAmount=YEN)
        assert give_back(pay, attempt).amount == Amount("JPY", 5000)
        assert tell(attempt).disputed == attempt.amount
        after = tell(attempt, paymentAmount=YEN)  # the first one, sent again
        assert (after.disputed, after.refunded, after.occupies_order) == (attempt.amount, 0, True)
        assert give_back(pay, attempt, 2).amount == attempt.amount
        after = tell(attempt, paymentAmount=YEN)
        assert (after.is_refunded, after.occupies_order) == (True, False)

    def test_a_part_that_was_given_back_counts_again_when_the_payment_is_paid(
        self, pay, gateway, start, tell
    ):
        attempt = start()
        gateway.script["refund"] = [done()]
        tell(attempt, paymentAmount=DOLLARS_50)
        give_back(pay, attempt, amount=Amount("USD", 1000))
        assert tell(attempt, paymentAmount=YEN).refunded == 0
        after = tell(attempt)
        assert (after.state, after.refunded) == (State.SUCCEEDED, 1000)
        assert give_back(pay, attempt, 2).amount == Amount("USD", 3200)
        assert pay.find(attempt.payment_request_id).is_refunded


class TestMoneyThatIsGoingBack:
    @pytest.mark.parametrize("answer", [LOST, done()])
    def test_is_not_told_as_paid(self, pay, gateway, start, tell, shop, clock, answer):
        attempt = start()
        tell(attempt, paymentAmount=None if answer is LOST else DOLLARS_50)
        gateway.script["refund"] = [answer]
        give_back(pay, attempt, amount=Amount("USD", 4200))
        after = tell(attempt)
        assert (after.state, shop.changes) == (State.PENDING, [])
        reason = (
            "succeeded by notification although refunds of 42.00 USD were made or are under way"
        )
        assert reasons(shop)[-1] == reason

    def test_ends_the_payment_once_it_has_gone(self, pay, gateway, start, tell, shop, clock):
        attempt = start()
        tell(attempt, paymentAmount=None)
        gateway.script["refund"] = [LOST, done()]
        gateway.script["inquiryPayment"] = [LOST]
        give_back(pay, attempt)
        tell(attempt)
        clock.moment += timedelta(minutes=3)
        pay.reconcile()
        after = pay.find(attempt.payment_request_id)
        assert (after.state, after.refunded) == (State.CANCELLED, 4200)
        assert shop.changes == [("A-1", "cancelled")]

    def test_a_refused_refund_of_ours_that_was_carried_out_is_told(
        self, pay, gateway, start, tell, shop, clock
    ):
        attempt = start()
        tell(attempt, paymentAmount=None)
        gateway.script["refund"] = [{"result": REFUSED}]
        assert give_back(pay, attempt, amount=Amount("USD", 4100)).state is RefundState.FAILED
        told = inquired(attempt, PAID, transactions=[listed("4100", "credit-note-1")])
        gateway.script["inquiryPayment"] = [told]
        clock.moment += timedelta(minutes=15)
        assert asked(pay, attempt).state is State.SUCCEEDED
        assert reasons(shop)[-1] == "paid 42.00 USD, of which 41.00 USD were given back elsewhere"


class TestARefundThatCannotBeRead:
    @pytest.mark.parametrize(
        "more",
        [
            {"transactions": [listed("1.00")]},
            {"transactions": [{**listed("100"), "transactionStatus": {}}]},
            {"transactions": {}},
            {"paymentAmount": {"currency": "USD", "value": "42.00"}},
        ],
        ids=["its amount", "its status", "the list", "the payment's amount"],
    )
    def test_cancels_nothing_that_was_paid(self, pay, gateway, start, shop, clock, more):
        attempt = start()
        gateway.script["inquiryPayment"] = [inquired(attempt, PAID, **more)]
        for _ in range(60):
            clock.moment += timedelta(seconds=4)
            pay.reconcile()
        after = pay.find(attempt.payment_request_id)
        assert (after.state, after.disputed) == (State.PENDING, attempt.amount)
        assert "cancelPayment" not in gateway.calls()
        assert reasons(shop) == [
            "inquiry says paid without a clear amount to compare with 42.00 USD"
        ]
        assert gateway.calls().count("inquiryPayment") < 4

    def test_sums_that_no_payment_has_are_all_of_it(self, pay, gateway, start, clock):
        attempt = start()
        huge = [listed("9" * 18, name) for name in "ab"]
        gateway.script["inquiryPayment"] = [inquired(attempt, PAID, transactions=huge)]
        clock.moment = attempt.next_call_at
        assert asked(pay, attempt).state is State.CANCELLED


class TestACancellationThatIsRefused:
    """An earlier one may have acted: a success that was reported before says nothing any more."""

    @pytest.mark.parametrize(
        ("answer", "transactions", "state"),
        [
            (CLOSED, [], State.CANCELLED),
            (PAID, [listed("4200")], State.CANCELLED),
            (PAID, [], State.SUCCEEDED),
            (PAID, [listed("1000")], State.SUCCEEDED),
        ],
        ids=["cancelled before", "given back", "paid", "a part given back"],
    )
    def test_asks_what_has_become_of_the_money(
        self, pay, gateway, closing, shop, clock, answer, transactions, state
    ):
        told = inquired(closing, answer, transactions=transactions)
        gateway.script["cancelPayment"] = [{"result": TOO_LATE}]
        gateway.script["inquiryPayment"] = [told]
        clock.moment += timedelta(minutes=1)
        pay.reconcile()
        assert gateway.calls() == ["cancelPayment", "inquiryPayment"]
        assert pay.find(closing.payment_request_id).state is state
        assert shop.changes == [("A-1", state.value)]
        part = "paid 42.00 USD, of which 10.00 USD were given back elsewhere"
        assert reasons(shop) == ([part] if transactions == [listed("1000")] else [])

    def test_an_old_success_that_is_sent_again_decides_nothing(
        self, pay, gateway, closing, shop, clock, tell
    ):
        gateway.script["cancelPayment"] = [{"result": TOO_LATE}]
        gateway.script["inquiryPayment"] = [LOST]
        clock.moment += timedelta(minutes=1)
        pay.reconcile()
        after = tell(closing)
        assert (after.state, after.success_reported) == (State.PENDING, True)
        assert (shop.changes, shop.conflicts) == ([], [])
        gateway.script["inquiryPayment"] = [inquired(closing, PAID)]
        clock.moment += timedelta(minutes=1)
        pay.reconcile()
        assert shop.changes == [("A-1", "succeeded")]

    @pytest.mark.parametrize("answer", [LOST, OPEN])
    def test_is_an_error_each_minute_and_no_more_calls_than_that(
        self, pay, gateway, start, clock, caplog, answer
    ):
        attempt = start()
        gateway.script["cancelPayment"] = [{"result": TOO_LATE}]
        told = LOST if answer is LOST else inquired(attempt, OPEN)
        gateway.script["inquiryPayment"] = [told]
        clock.moment = attempt.expires_at + timedelta(minutes=1)
        gateway.sent.clear()
        for _ in range(600):
            pay.reconcile()
            clock.moment += timedelta(seconds=1)
        assert 9 <= gateway.calls().count("cancelPayment") <= 11
        alarms = [one for one in caplog.records if getattr(one, "event", "") == "cannot_close"]
        assert 9 <= len(alarms) <= 11
        assert {one.levelno for one in alarms} == {logging.ERROR}

    def test_a_success_that_comes_first_after_it_decides_nothing_either(
        self, pay, gateway, start, shop, clock, tell
    ):
        attempt = start()
        gateway.script["inquiryPayment"] = [inquired(attempt, OPEN)]
        gateway.script["cancelPayment"] = [LOST, {"result": TOO_LATE}]
        pay.close_order("A-1")
        gateway.script["inquiryPayment"] = [LOST]
        clock.moment += timedelta(minutes=1)
        pay.reconcile()
        after = tell(attempt)
        assert (after.state, after.success_reported, after.is_doubted) == (
            State.PENDING,
            True,
            True,
        )
        view = view_of(after, clock.now(), None)
        assert (view.state, view.code_text) == (PageState.CHECKING, None)
        gateway.script["inquiryPayment"] = [inquired(attempt, CLOSED)]
        clock.moment += timedelta(minutes=1)
        pay.reconcile()
        assert shop.changes == [("A-1", "cancelled")]

    def test_a_failure_after_a_reported_success_is_disputed_and_asked_about_much_later(
        self, pay, gateway, closing, shop, clock
    ):
        gateway.script["cancelPayment"] = [{"result": TOO_LATE}]
        gateway.script["inquiryPayment"] = [inquired(closing, REFUSED)]
        clock.moment += timedelta(minutes=1)
        pay.reconcile()
        after = pay.find(closing.payment_request_id)
        assert (after.state, after.disputed) == (State.PENDING, closing.amount)
        gateway.sent.clear()
        for _ in range(100):
            clock.moment += timedelta(seconds=2)
            asked(pay, closing)
        assert gateway.calls() == []
        gateway.script["refund"] = [done()]
        give_back(pay, closing)
        assert shop.changes == [("A-1", "cancelled")]

    def test_a_failure_invents_no_money_and_takes_none_away(
        self, pay, gateway, start, shop, clock, tell
    ):
        attempt = start()
        gateway.script["cancelPayment"] = [{"result": TOO_LATE}]
        failed = inquired(attempt, REFUSED, paymentId="P-9")
        gateway.script["inquiryPayment"] = [LOST, failed]
        clock.moment = attempt.expires_at + timedelta(minutes=1)
        pay.reconcile()
        clock.moment += timedelta(minutes=1)
        assert asked(pay, attempt).disputed is None  # nobody has reported a success
        assert tell(attempt, paymentAmount=DOLLARS_50).disputed == Amount("USD", 5000)
        gateway.script["inquiryPayment"] = [inquired(attempt, REFUSED, paymentAmount=DOLLARS_50)]
        clock.moment += timedelta(minutes=11)
        assert asked(pay, attempt).disputed == Amount("USD", 5000)

    def test_money_that_nobody_returns_any_more_is_told_although_the_doubt_was_resolved(
        self, pay, gateway, closing, shop, clock
    ):
        gateway.script["inquiryPayment"] = [inquired(closing, REFUSED)]
        clock.moment += timedelta(minutes=1)
        pay.reconcile()
        (doubt,) = pay.conflicts()
        pay.resolve_conflict(doubt.key, note="the cancellation returns it", by="Mei")
        gateway.script["cancelPayment"] = [{"result": TOO_LATE}]
        clock.moment += timedelta(minutes=1)
        pay.reconcile()
        assert pay.find(closing.payment_request_id).disputed == closing.amount
        (told,) = pay.conflicts()
        assert told.conflict.reason.endswith("reported, and it can be cancelled no more")

    def test_costs_a_stranger_who_presses_nothing(self, pay, gateway, start, clock):
        attempt = start()
        gateway.script["cancelPayment"] = [{"result": TOO_LATE}]
        gateway.script["inquiryPayment"] = [inquired(attempt, OPEN)]
        clock.moment = attempt.expires_at + timedelta(seconds=1)
        pay.reconcile()
        assert pay.find(attempt.payment_request_id).is_doubted
        gateway.sent.clear()
        for _ in range(20):
            clock.moment += timedelta(seconds=1)
            assert start().payment_request_id == attempt.payment_request_id
            assert pay.close_order("A-1").state is State.PENDING
        assert gateway.calls() == []


def test_what_was_doubted_and_is_certain_now_is_another_conflict(
    pay, gateway, start, tell, shop, clock
):
    attempt = start()
    tell(attempt, paymentAmount=None)
    gateway.script["refund"] = [LOST, {"result": REFUSED}]
    gateway.script["inquiryPayment"] = [{"result": PAID, "paymentResult": OPEN}]
    give_back(pay, attempt)
    tell(attempt)
    for record in pay.conflicts(payment_request_id=attempt.payment_request_id):
        pay.resolve_conflict(record.key, note="wait for the refund", by="Mei")
    clock.moment += timedelta(minutes=3)
    pay.reconcile()
    (refund,) = pay.store.refunds(attempt.payment_request_id)
    assert refund.state is RefundState.FAILED
    assert tell(attempt, paymentResult=REFUSED, paymentAmount=None).state is State.FAILED
    heard = len(shop.conflicts)
    assert tell(attempt).disputed == attempt.amount
    assert reasons(shop)[heard:] == ["succeeded by notification although it is failed"]
    assert [one.conflict.reason for one in pay.conflicts()] == reasons(shop)[heard:]


def test_alipayplus_itself_corrects_an_amount_that_was_too_large(
    pay, gateway, start, tell, shop, clock
):
    attempt = start()
    tell(attempt, paymentAmount={"currency": "USD", "value": "500000"})
    said = {"paymentAmount": DOLLARS_50}
    gateway.script["inquiryPayment"] = [inquired(attempt, PAID, **said)]
    clock.moment += timedelta(minutes=11)
    assert asked(pay, attempt).disputed == Amount("USD", 5000)
    gateway.script["refund"] = [done()]
    assert give_back(pay, attempt).amount == Amount("USD", 5000)
    assert shop.changes == [("A-1", "cancelled")]


@pytest.mark.parametrize(
    "more", [{"paymentAmount": None}, {"paymentAmount": {"currency": "USD", "value": "50.00"}}]
)
def test_an_inquiry_that_names_no_amount_corrects_none(pay, gateway, start, tell, clock, more):
    attempt = start()
    tell(attempt, paymentAmount=DOLLARS_50)
    said = inquired(attempt, PAID, **more)
    gateway.script["inquiryPayment"] = [{k: v for k, v in said.items() if v is not None}]
    clock.moment += timedelta(minutes=11)
    assert asked(pay, attempt).disputed == Amount("USD", 5000)


def test_an_amount_that_is_corrected_to_what_was_given_back_already_ends_the_payment(
    pay, gateway, start, tell, shop, clock
):
    attempt = start()
    tell(attempt, paymentAmount=DOLLARS_50)
    gateway.script["refund"] = [done()]
    give_back(pay, attempt, amount=Amount("USD", 4300))
    said = {"paymentAmount": {"currency": "USD", "value": "4300"}}
    gateway.script["inquiryPayment"] = [inquired(attempt, PAID, **said)]
    clock.moment += timedelta(minutes=11)
    after = asked(pay, attempt)
    assert (after.state, after.is_refunded) == (State.CANCELLED, True)
    assert shop.changes == [("A-1", "cancelled")]
    assert start().payment_request_id != attempt.payment_request_id


@pytest.mark.parametrize("earlier", [0, 1])
def test_a_timeline_ends_as_the_payment_did_whatever_the_refunds_clock(
    pay, gateway, start, tell, clock, earlier
):
    attempt = start()
    tell(attempt, paymentAmount=None)
    clock.moment += timedelta(seconds=5)
    tell(attempt)
    clock.moment -= timedelta(seconds=earlier)  # of the machine that refunds
    gateway.script["refund"] = [done()]
    give_back(pay, attempt)
    states = [event.state for event in pay.timeline(attempt.payment_request_id)]
    assert states.count("succeeded") == 2  # the payment, and its refund
    assert sum(state.startswith("CONFLICT") for state in states) == 1


def test_a_code_that_somebody_begins_while_the_order_is_closed_is_closed_too(
    pay, gateway, start, clock
):
    first = start()
    gateway.script["inquiryPayment"] = [{"result": PAID, "paymentResult": OPEN}]
    gateway.script["cancelPayment"] = [{"result": PAID}]
    begun = []
    find_latest = pay.store.latest

    def latest(order_ref):
        if not begun and pay.find(first.payment_request_id).state is State.CANCELLED:
            begun.append(None)
            clock.moment += timedelta(seconds=1)
            begun[0] = start()
        return find_latest(order_ref)

    pay.store.latest = latest
    closed = pay.close_order("A-1")
    assert closed.payment_request_id == begun[0].payment_request_id
    assert closed.state is State.CANCELLED


@pytest.mark.parametrize("trouble", ["the store fails", "somebody always begins another"])
def test_closing_an_order_comes_to_an_end_and_tells_what_is_known(
    pay, gateway, start, clock, trouble
):
    first = start()
    gateway.script["inquiryPayment"] = [{"result": PAID, "paymentResult": OPEN}]
    gateway.script["cancelPayment"] = [{"result": PAID}]
    find_latest = pay.store.latest

    def latest(order_ref):
        if pay.find(first.payment_request_id).state is State.CANCELLED:
            if trouble == "the store fails":
                raise StoreError("gone")
            clock.moment += timedelta(seconds=1)
            pay.store.latest = find_latest
            begun = start()
            pay.store.latest = latest
            return begun
        return find_latest(order_ref)

    pay.store.latest = latest
    last = pay.close_order("A-1")
    is_first = trouble != "somebody always begins another"
    assert gateway.calls().count("cancelPayment") == (1 if is_first else 6)
    assert (last.payment_request_id == first.payment_request_id) is is_first
    assert last.state is State.CANCELLED


def meanwhile(gateway, call, happens):
    """Let something happen between a question and its answer, once."""
    send = gateway.send

    def sending(request, timeout):
        if request.path.endswith(call):
            gateway.send = send
            happens()
        return send(request, timeout)

    gateway.send = sending


class TestWhatBecomesDisputedWhileItIsAskedAbout:
    def test_our_refund_is_known_as_ours(self, pay, gateway, start, tell, shop, clock):
        attempt = start()
        gateway.script["refund"] = [done()]

        def happens():
            tell(attempt, paymentAmount=None)
            give_back(pay, attempt, amount=Amount("USD", 1000))

        meanwhile(gateway, "inquiryPayment", happens)
        told = inquired(attempt, PAID, transactions=[listed("1000", "credit-note-1")])
        gateway.script["inquiryPayment"] = [told]
        clock.moment = attempt.next_call_at
        after = asked(pay, attempt)
        assert (after.state, after.refunded) == (State.SUCCEEDED, 1000)
        assert len(shop.conflicts) == 1  # the success without an amount

    def test_is_not_closed(self, pay, gateway, start, tell):
        attempt = start()
        gateway.script["inquiryPayment"] = [inquired(attempt, OPEN)]
        meanwhile(gateway, "inquiryPayment", lambda: tell(attempt, paymentAmount=DOLLARS_50))
        assert pay.close_order("A-1").state is State.PENDING
        assert "cancelPayment" not in gateway.calls()


def test_while_a_payment_is_cancelled_nothing_of_it_is_refunded_beside(pay, start, gateway, tell):
    attempt = start()
    gateway.script["inquiryPayment"] = [inquired(attempt, OPEN)]
    gateway.script["cancelPayment"] = [LOST]
    pay.close_order("A-1")
    assert tell(attempt, paymentAmount=DOLLARS_50).disputed == Amount("USD", 5000)
    with pytest.raises(InvalidValue, match="being cancelled, which returns all of its money"):
        give_back(pay, attempt)
    assert "refund" not in gateway.calls()


def test_what_is_being_recorded_is_not_refunded_by_what_was_known_before(
    pay, gateway, start, tell, shop
):
    attempt = start()
    tell(attempt, paymentAmount=DOLLARS_50)
    gateway.script["refund"] = [done()]
    in_hook, go_on = threading.Event(), threading.Event()
    take = shop.payment_changed

    def payment_changed(details):
        in_hook.set()
        go_on.wait(5)
        take(details)

    shop.payment_changed = payment_changed
    thread = threading.Thread(target=lambda: tell(attempt))
    thread.start()
    assert in_hook.wait(5)
    if not isinstance(pay.store, MemoryStore):
        threading.Timer(0.2, go_on.set).start()  # the refund waits for the hook
    with pytest.raises((StoreError, InvalidValue), match="nothing was sent"):
        give_back(pay, attempt, amount=Amount("USD", 5000))
    go_on.set()
    thread.join()
    assert pay.store.refunds(attempt.payment_request_id) == []
    assert give_back(pay, attempt, 2).amount == attempt.amount


def test_of_two_attempts_of_one_moment_every_store_takes_the_same_for_the_newest(
    pay, gateway, start, tell
):
    gateway.script["inquiryPayment"] = [{"result": PAID, "paymentResult": OPEN}]
    gateway.script["cancelPayment"] = [{"result": PAID}]
    first = start()
    pay.close_order("A-1")
    second = start()
    assert first.created_at == second.created_at
    tell(second)
    gateway.script["refund"] = [done()]
    give_back(pay, second)
    assert pay.latest("A-1").payment_request_id == second.payment_request_id


def test_close_order_returns_the_older_attempt_whose_money_occupies_the_order_from_then_on(
    pay, gateway, failed, start, tell, clock
):
    clock.moment += timedelta(seconds=1)
    newer = start()
    tell(failed)
    gateway.script["inquiryPayment"] = [inquired(newer, OPEN)]
    gateway.script["cancelPayment"] = [{"result": PAID}]
    occupant = pay.close_order("A-1")
    assert pay.find(newer.payment_request_id).state is State.CANCELLED
    assert occupant.payment_request_id == failed.payment_request_id
    assert occupant.disputed == failed.amount
