"""Two attempts of one order change at the same moment: money keeps the order, whoever is first."""

import threading
import time
from datetime import timedelta

import pytest
from attrs import evolve
from sqlalchemy import create_engine, insert

from aplus_adapters import SQLStore
from aplus_adapters.payments.model import Outcome, RefundObservation, RefundOutcome, Source
from aplus_adapters.stores.rows import attempt_row
from aplus_adapters.stores.schema import TABLES
from aplus_adapters.testing.store_values import (
    LATER,
    a_refund,
    an_attempt,
    an_observation,
    nothing,
)

FAILED, PAID = an_observation(Outcome.FAILED), an_observation()
LEVELS = ["our own", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"]
ROUNDS = 40


@pytest.fixture(params=LEVELS)
def sql(request, server_database):
    if request.param == "our own":
        store = SQLStore(server_database)
    else:
        options = {}
        if server_database.startswith("mysql"):
            from pymysql.constants import CLIENT

            options = {"client_flag": CLIENT.FOUND_ROWS}
        engine = create_engine(server_database, isolation_level=request.param, connect_args=options)
        store = SQLStore(engine)
    store.set_up()
    yield store
    store.engine.dispose()


def attempt(number, order_ref="A-1"):
    return an_attempt(number, order_ref, created_at=LATER + timedelta(seconds=number))


def begin(store, *over, order_ref="A-1"):
    """Store attempts in order, of which only the last is open."""
    for number in over:
        store.add(attempt(number, order_ref))
        if number != over[-1]:
            store.record(f"pay{number}", FAILED, nothing)


def paid(number):
    return evolve(PAID, payment_id=f"P-{number}")


def given_back(store, number):
    """Begin the full refund of a payment; return what says that it is done."""
    name, payment = f"refund{number}", f"pay{number}"
    refund = a_refund(number, 4200, payment_request_id=payment, request_body=name.encode())
    store.add_refund(refund)
    return RefundObservation(
        source=Source.REFUND, outcome=RefundOutcome.REFUNDED, at=LATER, client_id="C",
        refund_request_id=name, refund_id="R", amount=PAID.amount, claim=0,
    )  # fmt: skip


def occupant(store, order_ref="A-1", number=900):
    found = store.add(attempt(number, order_ref))
    return None if found.payment_request_id == f"pay{number}" else found.payment_request_id


def while_its_hook_runs(store, first, second):
    """Record `first`; while its hook runs record `second`, which may have to wait for it."""
    raised, other = [], []

    def record():
        try:
            store.record(*second, nothing)
        except Exception as error:
            raised.append(error)

    def inside(_transition, _connection):
        if not other:  # a repetition finds it running
            other.append(threading.Thread(target=record))
            other[0].start()
        other[0].join(0.7)

    store.record(*first, inside)
    other[0].join()
    assert raised == []


def test_late_money_for_the_older_one_while_the_newer_one_ends(sql):
    begin(sql, 1, 2)
    while_its_hook_runs(sql, ("pay2", FAILED), ("pay1", paid(1)))
    assert occupant(sql) == "pay1"


def test_the_newer_money_is_refunded_while_the_newest_one_ends(sql):
    begin(sql, 1, 2, 3)
    for number in (1, 2):
        sql.record(f"pay{number}", paid(number), nothing)
    while_its_hook_runs(sql, ("pay2", given_back(sql, 2)), ("pay3", FAILED))
    assert occupant(sql) == "pay1"


def test_late_money_for_the_middle_one_while_the_newest_passes_the_order_on(sql):
    begin(sql, 1, 2, 3)
    sql.record("pay1", paid(1), nothing)
    while_its_hook_runs(sql, ("pay3", FAILED), ("pay2", paid(2)))
    assert occupant(sql) in ("pay1", "pay2")


def test_late_money_while_that_of_the_occupant_is_refunded(sql):
    begin(sql, 1, 2)
    sql.record("pay2", paid(2), nothing)
    while_its_hook_runs(sql, ("pay2", given_back(sql, 2)), ("pay1", paid(1)))
    assert occupant(sql) == "pay1"


def test_late_money_while_another_worker_begins_a_new_attempt_waits_for_it(sql):
    begin(sql, 1)
    sql.record("pay1", FAILED, nothing)
    raised = []

    def late():
        try:
            sql.record("pay1", PAID, nothing)
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=late)
    with sql.engine.begin() as connection:  # as `add` of the other, just before its commit
        row = {"shop": "shop", **attempt_row(attempt(2))}
        connection.execute(insert(TABLES.payments).values(row))
        thread.start()
        time.sleep(0.3)
    thread.join()
    assert raised == []
    assert occupant(sql) == "pay2"
    sql.record("pay2", FAILED, nothing)
    assert occupant(sql) == "pay1"


@pytest.mark.parametrize("sql", ["our own"], indirect=True)
def test_whatever_comes_first_an_order_with_money_is_occupied(sql):
    """Unforced: the end of the newer, late money for the older, and a press of the buyer."""
    for number in range(1, 3 * ROUNDS, 3):
        order_ref = f"A-{number}"
        begin(sql, number, number + 1, order_ref=order_ref)
        calls = [
            (sql.record, f"pay{number + 1}", FAILED, nothing),
            (sql.record, f"pay{number}", paid(number), nothing),
            (sql.add, attempt(number + 2, order_ref)),
        ]
        start = threading.Barrier(3)

        def run(call, *arguments, start=start):
            start.wait()
            call(*arguments)

        threads = [threading.Thread(target=run, args=call) for call in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if sql.get(f"pay{number + 2}") is not None:  # it came first, and stands before the money
            sql.record(f"pay{number + 2}", FAILED, nothing)
        assert occupant(sql, order_ref, number + 1000) == f"pay{number}"
