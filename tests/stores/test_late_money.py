"""An order with money of an older attempt gets no new one when its newer attempt ends."""

from datetime import timedelta

import pytest
from attrs import evolve

from aplus_adapters.payments.model import (
    Outcome,
    RefundObservation,
    RefundOutcome,
    Source,
)
from aplus_adapters.testing.store_values import (
    LATER,
    a_refund,
    an_attempt,
    an_observation,
    nothing,
)

FAILED, PAID = an_observation(Outcome.FAILED), an_observation()


@pytest.fixture
def order(store):
    """An order whose attempts 1 and 2 were paid after their end, while attempt 3 is open."""
    for number in (1, 2, 3):
        created = LATER + timedelta(seconds=number)
        store.add(an_attempt(number, created_at=created))
        if number < 3:
            store.record(f"pay{number}", FAILED, nothing)
    for number in (1, 2):
        store.record(f"pay{number}", evolve(PAID, payment_id=f"P-{number}"), nothing)
    return store


def refund(store, payment, value=4200):
    name = f"refund{payment}-{value}"
    changes = {"refund_request_id": name, "payment_request_id": payment}
    store.add_refund(a_refund(1, value, **changes, request_body=name.encode()))
    observation = RefundObservation(
        source=Source.REFUND, outcome=RefundOutcome.REFUNDED, at=LATER, client_id="C",
        refund_request_id=name, refund_id="R", amount=evolve(PAID.amount, value=value), claim=0,
    )  # fmt: skip
    store.record(payment, observation, nothing)


def occupant(store):
    """Return the attempt that stands in a new one's way, None if there is none."""
    found = store.add(an_attempt(9, created_at=LATER + timedelta(minutes=1)))
    return None if found.payment_request_id == "pay9" else found.payment_request_id


def test_the_newest_with_money_takes_the_order_then_the_next_and_then_nobody(order):
    order.record("pay3", FAILED, nothing)
    assert occupant(order) == order.latest("A-1").payment_request_id == "pay2"
    refund(order, "pay2")
    assert occupant(order) == order.latest("A-1").payment_request_id == "pay1"
    refund(order, "pay1", 4000)
    assert occupant(order) == "pay1"
    refund(order, "pay1", 200)
    assert occupant(order) is None


def test_a_refunded_order_belongs_to_the_older_money(order):
    order.record("pay3", PAID, nothing)
    assert occupant(order) == "pay3"
    refund(order, "pay3")
    assert occupant(order) == "pay2"


def test_what_is_refunded_behind_an_open_attempt_changes_nothing_for_it(order):
    refund(order, "pay1")
    assert occupant(order) == "pay3"
    refund(order, "pay2", 4000)
    assert occupant(order) == "pay3"
    refund(order, "pay2", 200)
    order.record("pay3", FAILED, nothing)
    assert occupant(order) is None


def test_when_nobody_occupies_the_order_its_latest_attempt_is_the_newest(order):
    order.record("pay3", FAILED, nothing)
    refund(order, "pay2")
    refund(order, "pay1")
    assert order.latest("A-1").payment_request_id == "pay3"


def test_of_several_with_money_the_newest_takes_the_order_not_the_last_that_was_told(order):
    order.record("pay3", FAILED, nothing)
    order.record("pay3", evolve(PAID, payment_id="P-3"), nothing)  # pay2 has the order
    assert occupant(order) == "pay2"
    refund(order, "pay2")
    assert occupant(order) == "pay3"
