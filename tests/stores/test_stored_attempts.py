"""A change of an attempt writes the columns that change, and only those."""

import re
from datetime import timedelta

import pytest
from attrs import evolve, fields
from sqlalchemy import event

from aplus_adapters import Amount, SQLStore
from aplus_adapters.payments.model import Attempt, OrderCode, Outcome, Source, State
from aplus_adapters.protocol.messages.result import Result
from aplus_adapters.protocol.timestamps import Timestamp
from aplus_adapters.stores.rows import attempt_changes, attempt_of, attempt_row
from aplus_adapters.testing.store_values import LATER, NOON, an_attempt, an_observation, nothing

CODE = OrderCode(text="281", images=(("M", "https://pictures.example/m"),), expires_at=LATER)
BEFORE = an_attempt(state=State.PENDING, order_code=CODE, last_answer="1")
AFTER = {
    "expires_at": LATER,
    "next_call_at": None,
    "state": State.SUCCEEDED,
    "changed_at": LATER,
    "payment_id": "P-1",
    "order_code": evolve(CODE, text="282"),
    "result": Result(result_code="SUCCESS", result_status="S", result_message="支付"),
    "payment_time": Timestamp("2026-11-23T12:01:07.5+08:00"),
    "wallet": "WALLET",
    "claim": 1,
    "claimed_until": LATER,
    "success_reported": True,
    "disputed": Amount("JPY", 1),
    "refunded": 7,
    "last_answer": "2",
}
ALSO = {  # columns that follow from a field, for searches and for the index of open orders
    "state": {"stage"},
    "wallet": {"wallet_key"},
}
NEVER = {"payment_request_id", "order_ref", "client_id", "amount", "request_body", "created_at"}


def test_every_field_that_may_change_is_here():
    assert {field.name for field in fields(Attempt)} == NEVER | set(AFTER)


@pytest.mark.parametrize("name", AFTER)
def test_a_field_that_changes_is_written_alone_in_both_directions(name):
    after = evolve(BEFORE, **{name: AFTER[name]})
    for old, new in ((BEFORE, after), (after, BEFORE)):
        changes = attempt_changes(new, old)
        assert set(changes) - ALSO.get(name, set()) == {name}
        assert attempt_of(attempt_row(old) | changes) == new


def test_an_attempt_that_is_over_frees_its_order():
    changes = attempt_changes(evolve(BEFORE, state=State.FAILED), BEFORE)
    assert (changes["occupied_order"], changes["stage"]) == (None, "over")


def test_a_notification_leaves_the_order_code_alone(tmp_path):
    store = SQLStore(f"sqlite:///{tmp_path / 'payments.db'}")
    store.add(an_attempt())
    expires_at = LATER + timedelta(minutes=3)
    issued = {"source": Source.PAY, "order_code": CODE, "expires_at": expires_at}
    store.record("pay1", an_observation(Outcome.CODE_ISSUED, at=NOON, **issued), nothing)
    sent = []
    event.listen(
        store.engine, "before_cursor_execute", lambda *arguments: sent.append(arguments[2])
    )
    store.record("pay1", an_observation(), nothing)
    columns = [re.findall(r"(\w+)=\?", text) for text in sent if text.startswith("UPDATE")]
    (written,) = [names for names in columns if "state" in names]
    assert {"state", "stage", "changed_at"} <= set(written)
    assert not {"order_code", "refunded", "disputed", "occupied_order"} & set(written)
    assert store.get("pay1").order_code == CODE
    store.close()
