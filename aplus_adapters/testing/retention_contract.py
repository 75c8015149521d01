"""The part of the store contract that retention relies on: old payments go whole, or stay."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from aplus_adapters.errors import AplusError, UnknownPayment
from aplus_adapters.payments.model import (
    Outcome,
    RefundObservation,
    RefundOutcome,
    Source,
    Stage,
    State,
)
from aplus_adapters.payments.retention import Retention
from aplus_adapters.payments.timeline import timeline
from aplus_adapters.protocol.amounts import Amount
from aplus_adapters.protocol.messages.order import Address, Buyer, Env, Order, Shipping, UserName
from aplus_adapters.protocol.messages.pay import PayRequest
from aplus_adapters.testing.store_values import (
    LATER,
    NOON,
    a_refund,
    an_attempt,
    an_observation,
    at_once,
    attempt_to,
    expect,
    nothing,
)

__all__ = ["BUYER", "RetentionContract", "a_request"]

_ROUNDS = 5
_LONG_AFTER = LATER + timedelta(days=500)
_DELETE = Retention(deletes_before=_LONG_AFTER)
_DELETE_PAID = Retention(deletes_before=_LONG_AFTER, even_paid=True)
_FORGET = Retention(forgets_before=_LONG_AFTER)
BUYER = (
    "Mei",
    "Tanaka",
    "mei@shop.example",
    "+8190",
    "Ginza",
    "Firefox",
    "customer-7",
    "203.0.113",
)
"""Words of `a_request` that tell who the buyer is."""


def a_request(number: int = 1) -> PayRequest:
    """Return the pay request of `an_attempt`, with everything that may be said of a buyer."""
    address = Address(region="JP", city="Tokyo", address1="Ginza 4-5-6")
    name = UserName(first_name="Mei", last_name="Tanaka")
    return PayRequest(
        order=Order(
            reference_order_id="A-1",
            order_description="2 tickets",
            order_amount=Amount("JPY", 4200),
            buyer=Buyer(
                reference_buyer_id="customer-7",
                buyer_name=name,
                buyer_phone_no="+8190",
                buyer_email="mei@shop.example",
            ),
            shipping=Shipping(shipping_name=name, shipping_address=address),
            env=Env(terminal_type="WEB", user_agent="Firefox", client_ip="203.0.113.7"),
        ),
        payment_request_id=f"pay{number}",
        payment_amount=Amount("JPY", 4200),
        payment_notify_url="https://shop.example/aplus/notify",
    )


class RetentionContract:
    """Tests of what a store deletes and forgets; `PaymentStoreContract` inherits them."""

    def test_old_payments_come_by_stage_the_longest_unchanged_first(self, store: Any) -> None:
        """Check each stage, the pages, and that open payments are in none."""
        for number in range(1, 8):
            store.add(an_attempt(number, f"A-{number}"))
        for number, outcome in (
            (2, Outcome.FAILED),
            (1, Outcome.CANCELLED),
            (5, Outcome.SUCCEEDED),
            (4, Outcome.FAILED),
            (6, Outcome.FAILED),
        ):
            observation = an_observation(outcome, at=LATER + timedelta(seconds=number % 4))
            store.record(f"pay{number}", observation, nothing)
        store.record("pay6", an_observation(), nothing)  # paid after its end: disputed
        assert _ids(store, Stage.OVER, 9) == ["pay4", "pay1", "pay2"]
        assert _ids(store, Stage.OVER, 1) == _ids(store, Stage.OVER, 2) == ["pay4", "pay1", "pay2"]
        assert _ids(store, Stage.OVER, 9, LATER + timedelta(seconds=1)) == ["pay4"]
        assert _ids(store, Stage.PAID, 9) == ["pay5", "pay6"]
        assert _ids(store, Stage.OVER_FORGOTTEN, 9) == _ids(store, Stage.PAID_FORGOTTEN, 9) == []
        _refund_in_full(store, 5)
        assert _ids(store, Stage.OVER, 9) == ["pay4", "pay1", "pay5", "pay2"]
        (disputed,) = store.old_payments(Stage.PAID, _LONG_AFTER, 9, None)
        assert [record.conflict.attempt for record in disputed.conflicts] == [store.get("pay6")]
        (refunded,) = (
            old
            for old in store.old_payments(Stage.OVER, _LONG_AFTER, 9, None)
            if old.attempt == store.get("pay5")
        )
        assert list(refunded.refunds) == list(store.refunds("pay5"))

    def test_a_deleted_payment_takes_everything_with_it_and_nothing_else(self, store: Any) -> None:
        """Check that nothing is found of it afterwards, and that its neighbour is whole."""
        for number in (1, 2):
            _paid_back_with_a_conflict(store, number)
        other = _everything(store, "pay2")
        assert store.delete_payments(["pay1", "unknown"], _DELETE) == 1
        assert _everything(store, "pay1") == (None, [], [], [])
        assert store.latest("A-1") is None
        assert _everything(store, "pay2") == other
        assert list(store.unreported_conflicts(9, ["C"])) == []
        assert store.delete_payments(["pay1"], _DELETE) == store.delete_payments([], _DELETE) == 0
        expect(UnknownPayment, store.record, "pay1", an_observation(), nothing)
        assert store.add(an_attempt(1)) == an_attempt(1)
        assert list(store.history("pay1")) == list(store.refunds("pay1")) == []

    def test_what_waits_for_something_is_never_deleted_nor_forgotten(self, store: Any) -> None:
        """Check open payments, open refunds, and conflicts that are unresolved or unreported."""
        rule = Retention(deletes_before=_LONG_AFTER, forgets_before=_LONG_AFTER, even_paid=True)
        for number in range(1, 7):
            store.add(an_attempt(number, f"A-{number}"))
        store.record("pay2", an_observation(Outcome.CLOSING, source=Source.SHOP, claim=0), nothing)
        store.record("pay3", an_observation(), nothing)
        store.add_refund(a_refund(3, payment_request_id="pay3"))
        for number in (4, 5, 6):
            store.record(f"pay{number}", an_observation(Outcome.FAILED), nothing)
        for number in (4, 5):
            store.record(f"pay{number}", an_observation(), nothing)
        fourth, fifth = store.conflicts(None, 9, None)
        store.conflict_reported(fourth.conflict)
        store.resolve_conflict(fifth.key, LATER, "Mei", "asked the buyer")
        ids = [f"pay{number}" for number in range(1, 7)]
        before = [_everything(store, request_id) for request_id in ids]
        assert store.forget_buyers(ids, rule) == 0
        assert store.delete_payments(ids, rule) == 1
        assert [_everything(store, name) for name in ids[:5]] == before[:5]
        assert store.get("pay6") is None
        store.resolve_conflict(fourth.key, LATER, "Mei", "asked the buyer")
        store.conflict_reported(fifth.conflict)
        assert store.delete_payments(ids, rule) == 2

    def test_a_paid_payment_keeps_its_order_unless_told(self, store: Any) -> None:
        """Check that its order cannot be paid again, and that refundable ones stay even then."""
        store.add(an_attempt())
        store.record("pay1", an_observation(), nothing)
        assert store.delete_payments(["pay1"], _DELETE) == 0
        refundable = Retention(deletes_before=_LONG_AFTER, even_paid=True, refundable_since=LATER)
        assert store.delete_payments(["pay1"], refundable) == 0
        assert store.add(an_attempt(2)).payment_request_id == "pay1"
        assert store.forget_buyers(["pay1"], _FORGET) == 1
        assert store.add(an_attempt(2)).payment_request_id == "pay1"
        assert store.delete_payments(["pay1"], _DELETE) == 0
        assert store.delete_payments(["pay1"], _DELETE_PAID) == 1
        assert store.add(an_attempt(2)).payment_request_id == "pay2"

    def test_what_changed_since_then_is_kept(self, store: Any) -> None:
        """Check that a refund and a resolved conflict count as changes of the payment."""
        _paid_back_with_a_conflict(store, 1, LATER)
        store.add(an_attempt(2, "A-2"))
        store.record("pay2", an_observation(Outcome.FAILED), nothing)
        for at, expected in ((LATER, 0), (LATER + timedelta(seconds=1), 2)):
            rule = Retention(deletes_before=at, forgets_before=at)
            assert store.forget_buyers(["pay1", "pay2"], rule) == 0
            assert store.delete_payments(["pay1", "pay2"], rule) == expected
        _paid_back_with_a_conflict(store, 3, LATER + timedelta(days=1))
        rule = Retention(deletes_before=LATER + timedelta(days=1))
        assert store.delete_payments(["pay3"], rule) == 0

    def test_a_forgotten_buyer_leaves_a_payment_that_works(self, store: Any) -> None:
        """Check that nothing tells who it was, and that every read, and a refund, goes on."""
        store.add(an_attempt(request_body=a_request().encode()))
        store.record("pay1", an_observation(), nothing)
        store.record("pay1", an_observation(Outcome.FAILED), nothing)
        (record,) = store.conflicts(None, 9, None)
        store.conflict_reported(record.conflict)
        store.resolve_conflict(record.key, LATER, "Operator", "asked Alipay+")
        history = list(store.history("pay1"))
        before = store.get("pay1")
        assert (store.forget_buyers(["pay1"], _FORGET), before.is_forgotten) == (1, False)
        after = store.get("pay1")
        assert (after.is_forgotten, after.stage) == (True, Stage.PAID_FORGOTTEN)
        assert (after.state, after.amount, after.payment_id, after.changed_at) == (
            (before.state, before.amount, before.payment_id, before.changed_at)
        )
        order = after.request.order
        assert (order.reference_order_id, order.order_amount) == ("A-1", Amount("JPY", 4200))
        (kept,) = store.conflicts("pay1", 9, None)
        for body in (after.request_body, kept.conflict.attempt.request_body):
            assert not [word for word in BUYER if word.encode() in body]
        assert list(store.history("pay1")) == history
        assert len(timeline(after, history, store.refunds("pay1"))) == 3
        assert store.forget_buyers(["pay1"], _FORGET) == 0
        assert _ids(store, Stage.PAID_FORGOTTEN, 9) == ["pay1"]
        _refund_in_full(store, 1)
        refunded = store.get("pay1")
        assert (refunded.is_refunded, refunded.is_forgotten) == (True, True)
        assert _ids(store, Stage.OVER_FORGOTTEN, 9) == ["pay1"]
        assert store.delete_payments(["pay1"], _DELETE) == 1

    def test_late_money_for_a_forgotten_buyer_is_a_conflict_as_ever(self, store: Any) -> None:
        """Check that a payment whose buyer was forgotten still takes a late notification."""
        store.add(an_attempt(request_body=b"of another version"))
        store.record("pay1", an_observation(Outcome.FAILED), nothing)
        assert store.forget_buyers(["pay1"], _FORGET) == 1
        assert store.record("pay1", an_observation(), nothing).conflict is not None
        attempt = store.get("pay1")
        assert (attempt.state, attempt.stage) == (State.FAILED, Stage.PAID_FORGOTTEN)
        assert store.delete_payments(["pay1"], _DELETE_PAID) == 0

    def test_a_deleted_payment_leaves_its_order_to_the_money_that_stays(self, store: Any) -> None:
        """Check that an order with money of two attempts is not free once one is deleted."""
        store.add(an_attempt(1))
        store.record("pay1", an_observation(Outcome.FAILED), nothing)
        store.add(an_attempt(2, created_at=LATER))
        store.record("pay1", an_observation(), nothing)  # a conflict, which is kept
        store.record("pay2", an_observation(payment_id="P-2"), nothing)
        assert store.delete_payments(["pay1", "pay2"], _DELETE_PAID) == 1
        assert store.get("pay2") is None
        assert store.add(an_attempt(3, created_at=LATER)).payment_request_id == "pay1"

    def test_of_a_deletion_and_late_money_one_comes_first(self, store: Any) -> None:
        """Check that a late success is never lost with the payment that it is about."""
        for number in range(1, _ROUNDS + 1):
            request_id, order_ref = f"pay{number}", f"A-{number}"
            store.add(an_attempt(number, order_ref))
            store.record(request_id, an_observation(Outcome.FAILED), nothing)

            def race(worker: int, request_id: str = request_id) -> Any:
                if worker % 2:
                    return attempt_to(store.record, request_id, an_observation(), nothing)
                return store.delete_payments([request_id], _DELETE)

            answers = at_once(race)
            recorded = [answer for answer in answers[1::2] if not isinstance(answer, AplusError)]
            assert sum(answers[::2]) == (0 if recorded else 1)
            if recorded:
                assert store.get(request_id).disputed == Amount("JPY", 4200)
                assert len(store.history(request_id)) == 1 + len(recorded)
            else:
                assert _everything(store, request_id) == (None, [], [], [])

    def test_of_a_deletion_and_a_refund_one_comes_first(self, store: Any) -> None:
        """Check that no refund is stored without its payment, and that one that is stays."""
        for number in range(1, _ROUNDS + 1):
            request_id = f"pay{number}"
            store.add(an_attempt(number, f"A-{number}"))
            store.record(request_id, an_observation(), nothing)

            def race(worker: int, request_id: str = request_id) -> Any:
                if worker % 2:
                    refund = a_refund(number, payment_request_id=request_id)  # noqa: B023  # at once
                    return attempt_to(store.add_refund, refund)
                return store.delete_payments([request_id], _DELETE_PAID)

            answers = at_once(race)
            added = [answer for answer in answers[1::2] if not isinstance(answer, AplusError)]
            assert sum(answers[::2]) == (0 if added else 1)
            stored = [refund.refund_request_id for refund in store.refunds(request_id)]
            assert stored == ([f"refund{number}"] if added else [])
            assert (store.get(request_id) is not None) == bool(added)


def _ids(store: Any, stage: Stage, limit: int, before: Any = _LONG_AFTER) -> list[str]:
    """Return the ids of all pages of a stage in turn."""
    ids: list[str] = []
    after = None
    while True:
        page = store.old_payments(stage, before, limit, after)
        ids += [old.attempt.payment_request_id for old in page]
        if page.after is None:
            return ids
        after = page.after


def _everything(store: Any, request_id: str) -> tuple[Any, ...]:
    return (
        store.get(request_id),
        list(store.history(request_id)),
        list(store.refunds(request_id)),
        list(store.conflicts(request_id, 9, None)),
    )


def _refund_in_full(store: Any, number: int, at: Any = LATER) -> None:
    refund = a_refund(number, 4200, payment_request_id=f"pay{number}")
    store.add_refund(refund)
    refunded = RefundObservation(
        source=Source.REFUND,
        outcome=RefundOutcome.REFUNDED,
        at=at,
        client_id="C",
        refund_request_id=refund.refund_request_id,
    )
    store.record(f"pay{number}", refunded, nothing)


def _paid_back_with_a_conflict(store: Any, number: int, at: Any = LATER) -> None:
    """Store a payment that was paid, contradicted, and refunded in full at a moment."""
    request_id = f"pay{number}"
    store.add(an_attempt(number, f"A-{number}", created_at=NOON))
    store.record(request_id, an_observation(), nothing)
    store.record(request_id, an_observation(Outcome.FAILED), nothing)
    (record,) = store.conflicts(request_id, 9, None)
    store.conflict_reported(record.conflict)
    store.resolve_conflict(record.key, LATER, "Mei", "asked Alipay+")
    _refund_in_full(store, number, at)
