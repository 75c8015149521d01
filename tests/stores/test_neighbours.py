"""Several on one database: shops, accounts, and two versions of the library in two processes."""

import json
import subprocess
import sys
from datetime import timedelta

import pytest
from attrs import evolve
from sqlalchemy import create_engine, text

from aplus_adapters import AplusPay, SQLStore, State
from aplus_adapters.stores import migrations, sql
from aplus_adapters.testing.store_values import an_attempt, an_observation, nothing
from support.gateway import CLOSED, PAID, Gateway
from support.shop import NOON, Clock, Shop

MANY = 130  # more than are read at once

# Each line that comes is what to do, and the number of a payment.
OLDER = """
import sys
from aplus_adapters import SQLStore
from aplus_adapters.testing.store_values import an_attempt, an_observation, nothing
store = SQLStore(sys.argv[1])
for line in sys.stdin:
    word, number = line.split()
    payment = f"pay{number}"
    try:
        if word in ("add", "pay"):
            store.add(an_attempt(number, f"A-{number}"))
        if word in ("record", "pay"):
            store.record(payment, an_observation(), nothing)
        print(store.get(payment).state.value, len(store.history(payment)), flush=True)
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

    def ask(self, word, number):
        """Return the payment's state and how many observations the worker reads, or its error."""
        self.process.stdin.write(f"{word} {number}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def pay(self, number):
        return self.ask("pay", number).removesuffix(" 1")

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


@pytest.mark.process
def test_two_versions_with_one_schema_version_continue_each_others_payments(database, monkeypatch):
    """The next version notes something more of each observation; the tables are the same."""
    older, newer = OlderWorker(database), SQLStore(database)
    dump = sql.dump_observation

    def dump_more(observation):
        return json.dumps({**json.loads(dump(observation)), "heardBy": {"version": "0.2.0"}})

    monkeypatch.setattr(sql, "dump_observation", dump_more)
    assert older.ask("add", 1) == "created 0"
    assert newer.record("pay1", an_observation(), nothing).became_final
    assert older.ask("look", 1) == "succeeded 1"
    newer.add(an_attempt(2, "A-2"))
    assert older.ask("record", 2) == "succeeded 1"
    assert newer.get("pay2").state is State.SUCCEEDED
    assert not newer.record("pay2", an_observation(), nothing).became_final
    assert older.ask("record", 2) == "succeeded 3"
    assert len(newer.history("pay2")) == 3
    assert newer.add(an_attempt(3, "A-1")).payment_request_id == "pay1"
    older.end()
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
