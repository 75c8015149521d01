"""One thing that fails costs the others nothing: rows, hooks, claims of others."""

from datetime import timedelta

import pytest

from aplus_adapters import Amount, MemoryStore, State
from aplus_adapters.testing.store_values import an_attempt, an_observation, nothing
from support.databases import DATABASES
from support.gateway import OPEN, PAID, inquired
from support.shop import NOON

MANY = 130  # more than are read at once


@pytest.mark.parametrize("store", ["memory", *DATABASES[:1]], indirect=True)
def test_conflicts_whose_hook_fails_keep_no_other_from_being_told(pay, account, shop):
    for number in range(MANY):
        later = {"client_id": account.client_id, "next_call_at": NOON.replace(minute=1)}
        made = pay.store.add(an_attempt(number, f"A-{number}", **later))
        wrong = an_observation(client_id=account.client_id, amount=Amount("JPY", 1))
        pay.store.record(made.payment_request_id, wrong, nothing)
    told = []

    def broken_for_most(details):
        number = int(details.attempt.order_ref.removeprefix("A-"))
        if number < MANY - 10:
            raise RuntimeError("the pager is down")
        told.append(number)

    shop.payment_conflict = broken_for_most
    rounds = pay.reconcile()
    assert sorted(told) == list(range(MANY - 10, MANY))
    assert (rounds.conflicts, rounds.failed) == (10, MANY - 10)


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_attempts_that_others_take_keep_no_other_from_being_asked_about(
    pay, account, gateway, clock
):
    class Contended(MemoryStore):
        """Where others are always faster with all but the last attempts."""

        def claim(self, payment_request_id, token, until, /):
            number = int(payment_request_id.removeprefix("pay"))
            return number >= MANY - 10 and super().claim(payment_request_id, token, until)

    pay.store = Contended()
    pay.performer._store = pay.store
    for number in range(MANY):
        pay.store.add(an_attempt(number, f"A-{number}", client_id=account.client_id))
    clock.moment = NOON.replace(hour=13)
    gateway.script["inquiryPayment"] = [{"result": PAID, "paymentResult": OPEN}]
    gateway.script["cancelPayment"] = [{"result": PAID}]
    rounds = pay.reconcile()
    assert (rounds.taken, rounds.asked) == (MANY - 10, 10)
    assert pay.store.get(f"pay{MANY - 1}").state is State.CANCELLED


@pytest.mark.parametrize("column", ["state", "result", "order_code", "currency"])
@pytest.mark.parametrize("store", DATABASES[:1], indirect=True)
def test_rows_that_cannot_be_read_keep_no_other_from_being_asked_about(
    pay, account, gateway, clock, caplog, column
):
    sqlalchemy = pytest.importorskip("sqlalchemy")
    bad = MANY - 10
    for number in range(MANY):
        pay.store.add(an_attempt(number, f"A-{number}", client_id=account.client_id))
    broken = ", ".join(f"'pay{number}'" for number in range(bad))
    with pay.store.engine.begin() as connection:
        connection.execute(
            sqlalchemy.text(
                f"UPDATE aplus_payments SET {column} = '?' WHERE payment_request_id IN ({broken})"
            )
        )
    clock.moment = NOON.replace(hour=13)
    gateway.script["inquiryPayment"] = [{"result": PAID, "paymentResult": OPEN}]
    gateway.script["cancelPayment"] = [{"result": PAID}]
    rounds = pay.reconcile()
    assert (rounds.asked, rounds.became_final, rounds.failed) == (10, 10, 0)
    named = [one for one in caplog.records if "cannot be read" in one.getMessage()]
    assert len({one.payment_request_id for one in named}) == bad
    assert {(one.levelname, one.event) for one in named} == {("ERROR", "row_unreadable")}


@pytest.mark.parametrize("store", DATABASES[:1], indirect=True)
def test_many_rows_that_cannot_be_read_are_passed_over(pay):
    sqlalchemy = pytest.importorskip("sqlalchemy")
    for number in range(9):
        pay.store.add(an_attempt(number, f"A-{number}"))
    with pay.store.engine.begin() as connection:
        broken = "UPDATE aplus_payments SET state = '?' WHERE payment_request_id < 'pay7'"
        connection.execute(sqlalchemy.text(broken))
    due = pay.store.due(NOON.replace(hour=13), 2, {"C"})
    assert [attempt.payment_request_id for attempt in due] == ["pay7", "pay8"]


def test_a_round_whose_end_cannot_be_kept_is_said_by_its_event(pay, monkeypatch, caplog):
    monkeypatch.setattr(pay.store, "note", lambda *_: 1 / 0)
    assert pay.reconcile().failed == 1
    assert [getattr(one, "event", None) for one in caplog.records] == ["round_not_stored"]


@pytest.mark.parametrize(("took", "noted"), [(0.9, True), (1.1, False)])
def test_a_hook_that_fails_is_noted_unless_a_slow_database_would_be_waited_for_again(
    pay, gateway, start, clock, shop, took, noted
):
    attempt = start()

    def payment_changed(details):
        clock.moment += timedelta(seconds=took)
        raise RuntimeError("the shop's own bug")

    shop.payment_changed = payment_changed
    gateway.script["inquiryPayment"] = [inquired(attempt, PAID)]
    clock.moment = attempt.next_call_at
    assert pay.reconcile().asked == 1
    assert (pay.health().last_failed_hook is not None) is noted
