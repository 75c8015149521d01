"""Several on one database: shops, accounts, and two versions of the library in two processes."""

import subprocess
import sys
from datetime import timedelta

import pytest
from attrs import evolve
from sqlalchemy import create_engine, text

from aplus_adapters import AplusPay, SQLStore, State
from aplus_adapters.stores import migrations
from aplus_adapters.testing.store_values import an_attempt, an_observation, nothing
from support.gateway import CLOSED, PAID, Gateway
from support.shop import NOON, Clock, Shop

MANY = 130  # more than are read at once

# Each line that comes is the number of one more payment.
OLDER = """
import sys
from aplus_adapters import SQLStore
from aplus_adapters.testing.store_values import an_attempt, an_observation, nothing
store = SQLStore(sys.argv[1])
for line in sys.stdin:
    number = int(line)
    try:
        store.add(an_attempt(number, f"A-{number}"))
        store.record(f"pay{number}", an_observation(), nothing)
        print(store.get(f"pay{number}").state.value, flush=True)
    except Exception as error:
        print(error, flush=True)
"""


class OlderWorker:
    """A process with the library as it is, while this one plays the next version."""

    def __init__(self, address):
        command = [sys.executable, "-c", OLDER, address]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def pay(self, number):
        self.process.stdin.write(f"{number}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def end(self):
        self.process.communicate(timeout=10)


@pytest.mark.process
def test_an_older_worker_goes_on_while_a_newer_one_adds_a_column_and_a_late_one_is_refused(
    database, monkeypatch
):
    running = OlderWorker(database)
    assert running.pay(1) == "succeeded"
    add = text("ALTER TABLE aplus_payments ADD COLUMN shoe_size INTEGER")
    monkeypatch.setitem(
        migrations._MIGRATIONS, 1, lambda connection, _tables: connection.execute(add)
    )
    monkeypatch.setattr(migrations, "SCHEMA_VERSION", 2)
    newer = SQLStore(database)
    assert newer.get("pay1").state is State.SUCCEEDED
    assert running.pay(2) == "succeeded"
    assert newer.get("pay2").state is State.SUCCEEDED
    newer.add(an_attempt(3, "A-3"))
    newer.record("pay3", an_observation(), nothing)
    late = OlderWorker(database)
    assert "found version 2, expected at most 1; a newer aplus_adapters made it" in late.pay(4)
    assert "upgrade this installation" in late.pay(4)
    assert running.pay(5) == "succeeded"
    assert newer.get("pay4") is None
    running.end()
    late.end()
    newer.close()


def open_pay(account, their_key, database, shop):
    """Return the `pay` of one shop, with many payments that are due, and its hooks."""
    clock, hooks = Clock(), Shop()
    gateway = Gateway(account, their_key, clock)
    gateway.script["inquiryPayment"] = [{"result": PAID, "paymentResult": CLOSED}]
    store = SQLStore(database, shop=shop)
    pay = AplusPay(account=account, store=store, hooks=hooks, clock=clock)
    pay.performer._table[_send()] = lambda effect: gateway.send(effect.request, effect.timeout)
    return pay, hooks, clock


def _send():
    from aplus_adapters.payments.effects import Send

    return Send


@pytest.mark.parametrize("names", [("cinema", "bookshop"), ("shop", "shop")])
@pytest.mark.parametrize("fault", ["hook", "row"])
def test_what_fails_for_one_account_costs_another_on_the_same_database_nothing(
    account, their_key, database, names, fault
):
    """Two shops, or one shop's name with two accounts in two programs."""
    accounts = account, evolve(account, client_id="CLIENT-2")
    pairs = zip(accounts, names, strict=True)
    made = [open_pay(one, their_key, database, name) for one, name in pairs]
    (bad, bad_hooks, _), (good, good_hooks, clock) = made
    for number in range(MANY):
        bad.store.add(an_attempt(number, f"B-{number}", client_id=account.client_id))
    for number in range(MANY, MANY + 10):
        good.store.add(an_attempt(number, f"G-{number}", client_id="CLIENT-2"))
    if fault == "hook":
        bad_hooks.fail = RuntimeError("the pager is down")
    else:
        engine = create_engine(database)
        with engine.begin() as connection:
            ours = {"name": account.client_id}
            statement = "UPDATE aplus_payments SET state = '?' WHERE client_id = :name"
            connection.execute(text(statement), ours)
        engine.dispose()
    clock.moment = NOON + timedelta(hours=1)
    made[0][2].moment = clock.moment
    first = bad.reconcile()
    assert (first.became_final, bad_hooks.changes) == (0, [])
    done = good.reconcile()
    assert (done.asked, done.became_final, done.failed) == (10, 10, 0)
    expected = {(f"G-{number}", "failed") for number in range(MANY, MANY + 10)}
    assert set(good_hooks.changes) == expected
    assert len(good_hooks.changes) == 10
    assert bad_hooks.changes == []
    for pay, _, _ in made:
        pay.store.close()
