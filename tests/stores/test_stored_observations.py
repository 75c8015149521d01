"""What is stored of an observation: each field, by a name that later versions read."""

import pytest
from attrs import evolve, fields

from aplus_adapters import Amount
from aplus_adapters.payments.model import RefundObservation, RefundOutcome, Source
from aplus_adapters.stores.rows import dump_observation, load_observation
from aplus_adapters.testing.store_values import LATER, NOON, an_observation

ELSEWHERE = ["order_code", "first_at"]  # the attempt keeps it; a column of its own
FULL = an_observation(
    expires_at=LATER,
    said_at=NOON,
    claim=3,
    next_call_at=LATER,
    given_back=Amount("JPY", 1000),
)
REFUND = RefundObservation(
    source=Source.REFUND,
    outcome=RefundOutcome.REFUNDED,
    at=LATER,
    client_id="C",
    refund_request_id="refund1",
    refund_id="R-1",
    result=FULL.result,
    amount=Amount("JPY", 1000),
    said_at=NOON,
    claim=2,
)
KINDS = {"payment": FULL, "refund": REFUND}


@pytest.mark.parametrize("kind", KINDS)
def test_no_field_of_an_observation_is_left_out_here(kind):
    full = KINDS[kind]
    empty = [one.name for one in fields(type(full)) if getattr(full, one.name) is None]
    assert empty == (ELSEWHERE if kind == "payment" else [])


@pytest.mark.parametrize("kind", KINDS)
def test_each_field_comes_back_with_the_others_and_alone(kind):
    full = KINDS[kind]
    assert load_observation(dump_observation(full)) == full
    for field in fields(type(full)):
        if field.default is None:
            without = evolve(full, **{field.name: None})
            assert load_observation(dump_observation(without)) == without
