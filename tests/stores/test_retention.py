"""Retention in a real database: whole payments, beside running payments, and at the cost of a batch."""

import asyncio
import os
import random
import signal
import threading
import time
from datetime import timedelta

import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import make_url

from aplus_adapters import (
    AplusPay,
    AsyncSQLStore,
    Outcome,
    PruneReport,
    RefundObservation,
    Source,
    SQLStore,
    State,
    StoreError,
    UnknownPayment,
)
from aplus_adapters.payments.model import RefundOutcome, Stage
from aplus_adapters.payments.retention import Retention
from aplus_adapters.testing.retention_contract import BUYER, a_request
from aplus_adapters.testing.store_contract import (
    LATER,
    a_refund,
    an_attempt,
    an_observation,
    nothing,
)
from support.databases import AWAITING, new_awaiting_database
from support.many_payments import ManyPayments
from support.shop import AsyncShop, Clock, Shop

LONG = bool(os.environ.get("APLUS_LONG"))
AGE = timedelta(days=400)
MUCH_LATER = LATER + timedelta(days=500)
ORPHANS = """
SELECT count(*) FROM {table} t WHERE NOT EXISTS
(SELECT 1 FROM aplus_payments p WHERE p.shop = t.shop AND p.payment_request_id = t.payment_request_id)
"""


def orphans(store):
    """Return how many rows are left of payments that are gone."""
    with store.engine.connect() as connection:
        return sum(
            connection.execute(text(ORPHANS.format(table=f"aplus_{name}"))).scalar_one()
            for name in ("observations", "conflicts", "refunds")
        )


def fill(store, number, order_ref=None):
    """Store a payment with rows in every table that may be deleted: contradicted and refunded."""
    request_id = f"pay{number}"
    body = a_request(number).encode()
    store.add(an_attempt(number, order_ref or f"A-{number}", request_body=body))
    store.record(request_id, an_observation(), nothing)
    store.record(request_id, an_observation(Outcome.FAILED), nothing)
    (record,) = store.conflicts(request_id, 9, None)
    store.conflict_reported(record.conflict)
    store.resolve_conflict(record.key, LATER, "Operator", "settled")
    store.add_refund(a_refund(number, 4200, payment_request_id=request_id))
    store.record(request_id, refunded(number), nothing)


def refunded(number):
    return RefundObservation(
        source=Source.REFUND,
        outcome=RefundOutcome.REFUNDED,
        at=LATER,
        client_id="C",
        refund_request_id=f"refund{number}",
    )


def pruner(store, account, hooks=None):
    return AplusPay(account=account, store=store, hooks=hooks or Shop(), clock=Clock(MUCH_LATER))


# A crash in the middle of a batch.


def die_at(number, database):
    """Delete three payments, and be killed just before one of the statements; return whether it was."""
    child = os.fork()
    if not child:
        store = SQLStore(database)
        store.get("pay1")
        seen = []

        def count(*_):
            seen.append(1)
            if len(seen) == number:
                os.kill(os.getpid(), signal.SIGKILL)

        event.listen(store.engine, "before_cursor_execute", count)
        event.listen(store.engine, "commit", count)
        store.delete_payments(["pay1", "pay2", "pay3"], Retention(deletes_before=MUCH_LATER))
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def test_a_process_that_is_killed_in_a_batch_leaves_whole_payments(database):
    store = SQLStore(database)
    for number in (1, 2, 3):
        fill(store, number)
    store.close()
    before = [store.history(f"pay{number}") for number in (1, 2, 3)]
    store.close()
    deaths = 0
    while die_at(deaths + 1, database):
        deaths += 1
        assert [store.history(f"pay{number}") for number in (1, 2, 3)] == before
        assert orphans(store) == 0
        assert all(store.get(f"pay{number}").is_refunded for number in (1, 2, 3))
        store.close()
    print(f"{deaths} deaths, no payment in parts")
    assert (
        deaths >= 8
    )  # the statements of our own settings, three reads, four deletions, the commit
    assert [store.get(f"pay{number}") for number in (1, 2, 3)] == [None] * 3
    assert orphans(store) == 0
    store.close()


# Beside running payments.


class Buyer:
    """Makes payments of every kind, and notes of each what may have become of it."""

    def __init__(self, store, number):
        self.store, self.random = store, random.Random(number)
        self.prefix, self.made = number * 100_000, 0
        self.stay = {}  # by id: how many observations are kept for good
        self.may_go = []
        self.forgotten = set()  # before they had a refund
        self.late = 0

    def run(self, until):
        while time.monotonic() < until:
            self.made += 1
            self.one(self.prefix + self.made)

    def one(self, number):
        store, request_id = self.store, f"pay{number}"
        kind = self.random.choice(
            ["open", "paid", "failed", "late", "late", "refunding", "refunded"]
        )
        store.add(an_attempt(number, f"A-{number}", request_body=a_request(number).encode()))
        store.record(request_id, an_observation(Outcome.IN_PROCESS), nothing)
        if kind == "open":
            self.stay[request_id] = 1
            return
        failed = kind in ("failed", "late")
        store.record(
            request_id, an_observation(Outcome.FAILED if failed else Outcome.SUCCEEDED), nothing
        )
        if kind == "late":
            try:
                store.record(request_id, an_observation(), nothing)
                self.stay[request_id] = 3
                self.late += 1
            except UnknownPayment:  # deleted before
                self.may_go.append(request_id)
            return
        if kind == "failed":
            self.may_go.append(request_id)
            return
        self.stay[request_id] = 2
        if kind in ("refunding", "refunded"):
            store.add_refund(a_refund(number, 4200, payment_request_id=request_id))
            if store.get(request_id).is_forgotten:  # which a refund that is open prevents
                self.forgotten.add(request_id)
        if kind == "refunded":
            del self.stay[request_id]
            store.record(request_id, refunded(number), nothing)
            self.may_go.append(request_id)


def test_a_prune_beside_running_payments_takes_nothing_that_is_open_or_paid(database, account):
    """Every payment is old enough here, so that its state alone protects it."""
    store = SQLStore(database)
    store.set_up()
    buyers = [Buyer(store, number) for number in range(1, 5)]
    pay, deleted = pruner(store, account), []
    until = time.monotonic() + (60 if LONG else 4)
    errors = []

    def prune():
        while time.monotonic() < until:
            deleted.append(pay.prune(timedelta(days=2), batch=7).deleted)

    def guarded(work, *arguments):
        try:
            work(*arguments)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(buyer.run, until)) for buyer in buyers]
    threads += [threading.Thread(target=guarded, args=(prune,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert pay.prune(timedelta(days=2)) is not None
    made = sum(buyer.made for buyer in buyers)
    late = sum(buyer.late for buyer in buyers)
    print(f"{made} payments beside 3 prunes: {sum(deleted)} deleted, {late} late successes kept")
    assert sum(deleted) > 0
    for buyer in buyers:
        for request_id, observations in buyer.stay.items():
            attempt = store.get(request_id)
            assert attempt is not None, request_id
            assert len(store.history(request_id)) == observations
            is_settled_and_paid = attempt.state is State.SUCCEEDED and not store.refunds(request_id)
            may_be_forgotten = is_settled_and_paid or request_id in buyer.forgotten
            assert attempt.is_forgotten == may_be_forgotten, request_id
        assert [store.get(request_id) for request_id in buyer.may_go] == [None] * len(buyer.may_go)
    assert orphans(store) == 0
    store.close()


def test_a_payment_whose_hook_runs_is_not_waited_for(server_database, account):
    """On a server; a file has one writer at a time."""
    store = SQLStore(server_database)
    for number in (1, 2):
        store.add(an_attempt(number, f"A-{number}"))
        store.record(f"pay{number}", an_observation(), nothing)
    for number in (1, 2):
        store.add_refund(a_refund(number, 4200, payment_request_id=f"pay{number}"))
    store.record("pay2", refunded(2), nothing)
    reports = []
    store.record(
        "pay1", refunded(1), lambda *_: reports.append(store_prune(server_database, account))
    )
    assert reports == [PruneReport(deleted=1)]
    assert store.get("pay1").is_refunded
    assert store_prune(server_database, account) == PruneReport(deleted=1)
    store.close()


def store_prune(database, account):
    store = SQLStore(database)
    try:
        return pruner(store, account).prune(AGE)
    finally:
        store.close()


def test_many_prunes_at_once_delete_each_payment_once(database, account):
    store = SQLStore(database)
    for number in range(1, 41):
        store.add(an_attempt(number, f"A-{number}"))
        store.record(f"pay{number}", an_observation(Outcome.FAILED), nothing)
    pay = pruner(store, account)
    reports = []
    threads = [
        threading.Thread(target=lambda: reports.append(pay.prune(AGE, batch=3))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rest = pay.prune(AGE)  # what one left because another was at it
    assert sum(report.deleted for report in [*reports, rest]) == 40
    assert rest.kept == 0
    assert len(store.old_payments(Stage.OVER, MUCH_LATER, 99, None).payments) == 0
    store.close()


# Other databases, shops and roles.


@pytest.mark.parametrize("driver", AWAITING)
def test_an_awaiting_shop_prunes_on_its_event_loop(driver, tmp_path, request, account):
    async def live():
        store = AsyncSQLStore(new_awaiting_database(driver, tmp_path, request))
        for number, outcome in ((1, Outcome.FAILED), (2, Outcome.SUCCEEDED)):
            body = a_request(number).encode()
            await store.add(an_attempt(number, f"A-{number}", request_body=body))

            async def hook(*_): ...

            await store.record(f"pay{number}", an_observation(outcome), hook)
        pay = pruner(store, account, AsyncShop())
        would = await pay.prune_async(AGE, dry_run=True)
        done = await pay.prune_async(AGE)
        assert would == done == PruneReport(deleted=1, forgotten=1)
        left = await store.get("pay2")
        await pay.aclose()
        await store.aclose()
        return left

    left = asyncio.run(live())
    assert not [word for word in BUYER if word.encode() in left.request_body]


def test_another_shop_of_the_database_keeps_its_payments(database, account):
    stores = [SQLStore(database, shop=name) for name in ("cinema", "bookshop")]
    for store in stores:
        fill(store, 1)
    assert pruner(stores[0], account).prune(AGE) == PruneReport(deleted=1)
    assert stores[0].get("pay1") is None
    assert len(stores[1].history("pay1")) == 3
    assert orphans(stores[1]) == 0
    for store in stores:
        store.close()


def test_no_word_of_the_buyer_is_left_in_any_table(database, account):
    store = SQLStore(database)
    fill(store, 1)
    fill(store, 2)
    store.record("pay2", an_observation(Outcome.FAILED, payment_id="P-9"), nothing)  # a conflict
    pruner(store, account).prune(forget_after=AGE)
    with store.engine.connect() as connection:
        for number, expected in ((1, False), (2, True)):
            words = [
                str(row)
                for table in ("payments", "observations", "conflicts", "refunds")
                for row in connection.execute(
                    text(f"SELECT * FROM aplus_{table} WHERE payment_request_id = 'pay{number}'")
                )
            ]
            bodies = store.get(f"pay{number}").request_body.decode()
            assert any(word in "".join([*words, bodies]) for word in BUYER) is expected
    store.close()


def test_a_table_of_the_shop_that_refers_to_a_payment_keeps_the_batch_and_says_so(
    database, account
):
    store = SQLStore(database)
    fill(store, 1)
    if store.engine.dialect.name == "sqlite":
        store.close()
        pytest.skip("SQLite checks foreign keys only where the shop turns them on")
    with store.engine.begin() as connection:
        name = "VARCHAR(64)"
        if store.engine.dialect.name != "postgresql":
            name += " CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
            kept = connection.execute(text("SHOW CREATE TABLE aplus_refunds")).one()[1]
            collation = kept.partition("COLLATE ")[2].split()[0].rstrip(",")
            name = name.replace("utf8mb4_bin", collation)
        connection.execute(
            text(
                f"CREATE TABLE mine (shop {name}, payment {name}, FOREIGN KEY (shop, payment) "
                "REFERENCES aplus_payments (shop, payment_request_id))"
            )
        )
        connection.execute(text("INSERT INTO mine VALUES ('shop', 'pay1')"))
    with pytest.raises(StoreError, match="rows that refer to a payment"):
        pruner(store, account).prune(AGE)
    assert len(store.history("pay1")) == 3
    store.close()


def test_a_role_that_may_not_delete_is_told_what_to_grant(postgres, account):
    address = postgres.database()
    admin = create_engine(address)
    owner = SQLStore(admin)
    fill(owner, 1)
    url = make_url(address)
    name = f"clerk_{url.database}"
    with admin.begin() as connection:
        connection.execute(text(f"CREATE ROLE {name} LOGIN"))
        rights = "SELECT, INSERT, UPDATE"
        connection.execute(text(f"GRANT {rights} ON ALL TABLES IN SCHEMA public TO {name}"))
    clerk = SQLStore(url.set(username=name).render_as_string())
    assert pruner(clerk, account).prune(forget_after=AGE) == PruneReport(forgotten=1)
    with pytest.raises(StoreError, match=r"grant this one .*`prune` DELETE"):
        pruner(clerk, account).prune(AGE)
    assert len(owner.history("pay1")) == 3
    with admin.begin() as connection:
        connection.execute(text(f"GRANT DELETE ON ALL TABLES IN SCHEMA public TO {name}"))
    assert pruner(clerk, account).prune(AGE) == PruneReport(deleted=1)
    clerk.close()
    with admin.begin() as connection:
        connection.execute(text(f"DROP OWNED BY {name}"))
        connection.execute(text(f"DROP ROLE {name}"))
    admin.dispose()


@pytest.mark.parametrize("isolation", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_stricter_isolation_deletes_nothing_that_a_refund_refers_to(postgres, account, isolation):
    engine = create_engine(postgres.database(), isolation_level=isolation)
    store = SQLStore(engine)
    rule = Retention(deletes_before=MUCH_LATER, even_paid=True)
    for number in range(1, 11):
        request_id = f"pay{number}"
        store.add(an_attempt(number, f"A-{number}"))
        store.record(request_id, an_observation(), nothing)
        answers = []

        def refund(number=number, request_id=request_id, answers=answers):
            try:
                store.add_refund(a_refund(number, payment_request_id=request_id))
                answers.append("refunding")
            except UnknownPayment:
                answers.append("deleted")

        thread = threading.Thread(target=refund)
        thread.start()
        deleted = store.delete_payments([request_id], rule)
        thread.join()
        assert (deleted, answers) in ((1, ["deleted"]), (0, ["refunding"]))
    assert orphans(store) == 0
    engine.dispose()


def test_a_row_that_cannot_be_read_holds_up_no_other(database, account):
    store = SQLStore(database)
    for number in (1, 2, 3):
        fill(store, number)
    with store.engine.begin() as connection:
        change = "UPDATE aplus_payments SET currency = 'Q' WHERE payment_request_id = 'pay2'"
        connection.execute(text(change))
    assert pruner(store, account).prune(AGE, batch=1) == PruneReport(deleted=2)
    assert len(store.history("pay2")) == 3
    store.close()


def test_a_batch_reads_its_own_rows_whatever_else_is_stored(tmp_path, postgres):
    """By the plans; a million payments that stay are not looked at."""
    for kind, address in (
        ("sqlite", f"sqlite:///{tmp_path}/x.db"),
        ("postgresql", postgres.database()),
    ):
        side = ManyPayments(kind, address, 20_000)
        before = side.now - timedelta(seconds=1000)
        rule = Retention(deletes_before=before, forgets_before=before)

        def look(side=side, before=before, rule=rule):
            page = side.store.old_payments(Stage.OVER, before, 50, None)
            side.store.old_payments(Stage.OVER, before, 50, page.after)
            ids = [old.attempt.payment_request_id for old in page]
            assert side.store.delete_payments(ids, rule) == len(ids) == 50
            paid = side.store.old_payments(Stage.PAID, before, 50, None)
            assert (
                side.store.forget_buyers([one.attempt.payment_request_id for one in paid], rule)
                == 50
            )

        by_stage = 0
        for statement, plan in side.plans([look]):
            print(statement)
            for line in plan:
                print(f"      {line}")
                assert "Seq Scan on aplus_payments" not in line
                assert "Seq Scan on aplus_observations" not in line
                assert not line.startswith(("SCAN aplus_payments", "SCAN aplus_observations"))
                by_stage += "ix_aplus_payments_stage" in line
        assert by_stage >= 2
        side.store.close()
