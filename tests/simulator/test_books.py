"""The books: flat in memory, durable before an answer, and readable after an update."""

import gc
import json
import sqlite3
from datetime import UTC, datetime, timedelta

import pytest

from aplus_adapters import Account, Amount, Client
from aplus_adapters.messages import Env, PayRequest
from aplus_adapters.messages import Order as PaidOrder
from aplus_adapters.simulator.ledger import Books, OrderState
from aplus_adapters.simulator.orders import Order
from aplus_adapters.testing import Simulator

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def pay_request(number, notify_url="http://127.0.0.1:9/notify"):
    amount = Amount("USD", 4200)
    return PayRequest(
        order=PaidOrder(
            reference_order_id=f"A-{number}",
            order_description="2 tickets",
            order_amount=amount,
            env=Env(user_agent="Mozilla/5.0"),
        ),
        payment_request_id=f"pay-{number}",
        payment_amount=amount,
        payment_notify_url=notify_url,
    )


@pytest.fixture
def books(tmp_path):
    books = Books(tmp_path / "books.sqlite", messages=5)
    yield books
    books.close()


def test_no_order_stays_in_memory_that_nobody_holds(books):
    kept, _ = books.pay(pay_request("kept"), NOON, "C")
    for number in range(50):
        books.pay(pay_request(number), NOON, "C")
    gc.collect()
    alive = [one for one in gc.get_objects() if type(one) is Order]
    assert alive == [kept]
    assert len(books.orders) == 51
    assert books.orders["pay-kept"] is kept  # who holds it sees what others change
    assert books.orders["pay-7"].reference == "A-7"


def test_what_is_due_is_found_by_an_index(books):
    plans = []
    for condition in (
        "state = 'OPEN' AND expires_at <= 1",
        "next_notification <= 1",
        "next_decision <= 1",
    ):
        query = f"EXPLAIN QUERY PLAN SELECT * FROM book_orders WHERE {condition}"
        plans += [row[3] for row in books._file.execute(query)]
    assert [plan.partition(" USING ")[2].partition(" (")[0] for plan in plans] == [
        "INDEX by_expiry", "INDEX by_notification", "INDEX by_decision",
    ]  # fmt: skip


def test_only_the_newest_messages_are_kept(books):
    for number in range(12):
        books.log.add("call", "pay", NOON, order_id=f"pay-{number % 2}", outcome=str(number))
    assert [row["outcome"] for row in books.log.newest()] == ["11", "10", "9", "8", "7"]
    assert [row["outcome"] for row in books.log.newest(order_id="pay-0")] == ["10", "8"]
    assert books.log.get(1) is None


def test_a_change_that_fails_half_way_is_taken_back(books):
    order, _ = books.pay(pay_request(1), NOON, "C")

    def fail():
        with books.transaction():
            books.finish(order, OrderState.PAID, NOON)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert books.orders["pay-1"].state is OrderState.OPEN


def test_the_orders_of_an_older_version_are_taken_over(tmp_path):
    path = tmp_path / "books.sqlite"
    old = {
        "payment_request_id": "pay-1", "payment_id": "P-1", "token": "281" + "0" * 33,
        "request": pay_request(1).to_wire(), "expires_at": NOON.isoformat(), "state": "PAID",
        "final_at": (NOON - timedelta(minutes=1)).isoformat(), "cancelled": False,
        "refunds": [], "requests": [{"call": "pay", "bodySha256": "0", "requestTime": "t"}],
        "notifications": [{"at": "t", "status": 200, "outcome": "acknowledged"}],
        "next_notification": None,
    }  # fmt: skip
    file = sqlite3.connect(path)
    file.execute("CREATE TABLE orders (id TEXT PRIMARY KEY, data TEXT)")
    file.execute("INSERT INTO orders VALUES ('pay-1', ?)", [json.dumps(old)])
    file.commit()
    file.close()
    for _ in range(2):
        books = Books(path)
        order = books.orders["pay-1"]
        assert order.state is OrderState.PAID
        assert order.final_at == NOON - timedelta(minutes=1)
        assert order.summary()["requests"] == old["requests"]
        assert order.summary()["notifications"] == old["notifications"]
        books.close()


@pytest.mark.process
def test_a_killed_simulator_has_lost_no_order_that_it_answered(tmp_path):
    from threading import Thread

    from aplus_adapters.errors import AplusError
    from aplus_adapters.simulator.process import SimulatorProcess

    with SimulatorProcess(tmp_path) as simulator:
        account = Account.from_env(simulator.environ)
        answered = {}

        def work(first):
            with Client(account, deadline=0.5) as client:
                for number in range(first, first + 10_000, 2):
                    try:
                        answer = client.pay(pay_request(number))
                    except AplusError:
                        return  # it is dead
                    answered[f"pay-{number}"] = answer.payment_id

        threads = [Thread(target=work, args=[first]) for first in (0, 1)]
        for thread in threads:
            thread.start()
        for _ in range(40):
            simulator.wait_for("order_created")
        simulator.kill()
        for thread in threads:
            thread.join()
        assert len(answered) >= 30
        simulator.start()
        kept = {row["paymentRequestId"]: row["paymentId"] for row in simulator.orders()}
        assert answered.items() <= kept.items()


def test_when_thousands_are_due_at_once_only_some_are_taken_at_a_time(world):
    from aplus_adapters.simulator.notifications import Judged

    books, notifier = world.alipayplus.books, world.alipayplus.notifier
    now = world.simulator.clock.now()
    with books.transaction():
        for number in range(450):
            order, _ = books.pay(pay_request(number), now, "C")
            books.finish(order, OrderState.PAID, now)
    sent = set()
    for expected in (200, 200, 50, 0):
        due = notifier.take_due()
        assert len(due) == expected
        assert notifier.take_due() == []  # they are on their way
        for order in due:
            sent.add(order.payment_request_id)
            notifier.record(order, now, Judged(status=200, outcome="acknowledged"))
    assert len(sent) == 450


def test_books_that_nobody_holds_are_closed():
    """Python 3.13 warns of a connection left open, which ends tests that make warnings errors."""
    with Simulator() as simulator:
        connection = simulator.alipayplus.books._rows.connection
    del simulator
    gc.collect()
    with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
        connection.execute("SELECT 1")
