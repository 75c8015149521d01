"""What every payment store promises, on memory and on SQLite."""

import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from attrs import evolve

from aplus_adapters import (
    Amount,
    Attempt,
    ConfigurationError,
    InconsistentRetry,
    News,
    Observation,
    OrderCode,
    Source,
    SQLStore,
    State,
    StoreError,
    Timestamp,
    UnknownPayment,
)
from aplus_adapters.protocol.messages.result import Result
from conftest import NOON

LATER = NOON + timedelta(seconds=30, microseconds=7)


def attempt(number=1, order_ref="A-1", **changes):
    made = Attempt(
        payment_request_id=f"pay{number}",
        order_ref=order_ref,
        client_id="C",
        amount=Amount("JPY", 4200),
        request_body=b'{"\xc3\xbc":1}',
        created_at=NOON,
        expires_at=NOON + timedelta(minutes=3),
        next_call_at=NOON,
        changed_at=NOON,
    )
    return evolve(made, **changes)


def said(news=News.SUCCEEDED, **changes):
    made = Observation(
        source=Source.NOTIFICATION,
        news=news,
        at=LATER,
        client_id="C",
        result=Result(result_code="SUCCESS", result_status="S", result_message="支付 🍜"),
        payment_id="P-1",
        amount=Amount("JPY", 4200),
        payment_time=Timestamp("2026-11-23T12:01:07.5+08:00"),
        wallet="WALLET",
    )
    return evolve(made, **changes)


def nothing(_transition, _connection):
    pass


def test_what_was_added_comes_back_whole(store):
    code = OrderCode(text="https://c.example/1", images=(("BIGIMAGE", "https://c.example/i"),))
    made = attempt(order_code=code, payment_id="P", state=State.PENDING, next_call_at=LATER)
    assert store.add(made) == made
    assert store.get("pay1") == made == store.latest("A-1")


def test_an_order_has_one_attempt_that_is_open_or_paid(store):
    first = store.add(attempt(1))
    assert store.add(attempt(2)) == first
    store.record("pay1", said(), nothing)
    assert store.add(attempt(3)).payment_request_id == "pay1"
    assert store.add(attempt(4, "A-2")).payment_request_id == "pay4"


@pytest.mark.parametrize("news", [News.FAILED, News.CANCELLED, News.REFUSED])
def test_a_closed_attempt_leaves_its_order_free(store, news):
    store.add(attempt(1))
    store.record("pay1", said(news), nothing)
    second = attempt(2, created_at=LATER)
    assert store.add(second) == second == store.latest("A-1")


def test_the_same_id_with_other_content_is_refused_and_with_the_same_is_given_again(store):
    first = store.add(attempt(1))
    assert store.add(attempt(1)) == first
    with pytest.raises(InconsistentRetry, match="nothing was sent"):
        store.add(attempt(1, request_body=b"other"))


def test_what_does_not_exist_is_none_or_unknown(store):
    assert store.get("x") is None
    assert store.latest("x") is None
    assert store.history("x") == []
    assert not store.schedule("x", NOON, LATER)
    with pytest.raises(UnknownPayment):
        store.record("x", said(), nothing)


def test_a_recorded_observation_changes_the_attempt_and_is_kept(store):
    store.add(attempt())
    told = []
    transition = store.record("pay1", said(), lambda t, _c: told.append(t.after.state))
    assert transition.settles
    assert told == [State.SUCCEEDED]
    stored = store.get("pay1")
    assert stored == transition.after
    assert (stored.wallet, stored.payment_time.text) == ("WALLET", "2026-11-23T12:01:07.5+08:00")
    assert stored.result.result_message == "支付 🍜"
    assert store.history("pay1") == [said()]


def test_when_the_hook_raises_nothing_at_all_is_stored(store):
    store.add(attempt())

    def broken(_transition, _connection):
        raise RuntimeError("the shop's own bug")

    with pytest.raises(RuntimeError):
        store.record("pay1", said(), broken)
    assert store.get("pay1") == attempt()
    assert store.history("pay1") == []
    assert store.record("pay1", said(), nothing).settles


def test_a_turn_is_given_to_one_of_many(store):
    store.add(attempt())
    start = threading.Barrier(8)

    def take(number):
        start.wait()
        return store.schedule("pay1", NOON, LATER + timedelta(seconds=number))

    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(take, range(8))) == [False] * 7 + [True]


def test_of_many_new_attempts_at_once_one_is_kept(store):
    start = threading.Barrier(8)

    def add(number):
        start.wait()
        return store.add(attempt(number)).payment_request_id

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(add, range(8)))) == 1


def test_of_many_identical_observations_at_once_one_settles(store):
    store.add(attempt())
    told, start = [], threading.Barrier(8)

    def record(_):
        start.wait()
        store.record("pay1", said(), lambda *_: told.append(1))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(record, range(8)))
    assert told == [1]
    assert len(store.history("pay1")) == 8


def test_due_are_the_open_ones_whose_time_has_come_longest_waiting_first(store):
    for number, seconds in enumerate([5, 1, 9, 3]):
        when = NOON + timedelta(seconds=seconds)
        store.add(attempt(number, f"A-{number}", next_call_at=when))
    store.record("pay1", said(), nothing)
    now = NOON + timedelta(seconds=5)
    assert [one.payment_request_id for one in store.due(now, 10)] == ["pay3", "pay0"]
    assert [one.payment_request_id for one in store.due(now, 1)] == ["pay3"]


def test_a_final_attempt_is_never_scheduled(store):
    store.add(attempt())
    store.record("pay1", said(), nothing)
    assert not store.schedule("pay1", None, LATER)
    assert not store.schedule("pay1", NOON, LATER)


def test_a_turn_survives_an_observation_that_says_nothing_of_time(store):
    store.add(attempt())
    store.schedule("pay1", NOON, LATER)
    store.record("pay1", said(News.IN_PROCESS, amount=None), nothing)
    assert store.get("pay1").next_call_at == LATER


def test_a_conflict_is_handed_out_until_it_is_reported_and_is_one_however_often_it_comes(store):
    store.add(attempt())
    wrong = said(amount=Amount("JPY", 1))
    first = store.record("pay1", wrong, nothing).conflict
    again = store.record("pay1", wrong, nothing).conflict
    assert first.key == again.key
    (pending,) = store.unreported_conflicts(10)
    assert (pending.key, pending.reason) == (first.key, first.reason)
    assert pending.observation == wrong
    store.conflict_reported(first)
    assert store.unreported_conflicts(10) == []
    assert store.record("pay1", wrong, nothing).conflict is None
    assert len(store.history("pay1")) == 3


@pytest.fixture
def database(tmp_path):
    return tmp_path / "payments.db"


def test_the_shops_own_rows_commit_with_the_payment_or_not_at_all(database):
    from sqlalchemy import text

    store = SQLStore(f"sqlite:///{database}")
    store.add(attempt())
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()

    def write(_transition, connection, *, fail=False):
        connection.execute(text("INSERT INTO mine VALUES (1)"))
        if fail:
            raise RuntimeError("after the write")

    with pytest.raises(RuntimeError):
        store.record("pay1", said(), lambda t, c: write(t, c, fail=True))
    store.record("pay1", said(), write)
    store.close()
    connection = sqlite3.connect(database)
    assert connection.execute("SELECT count(*) FROM mine").fetchone() == (1,)
    connection.close()


def test_a_database_outlives_its_store(database):
    first = SQLStore(f"sqlite:///{database}")
    first.add(attempt())
    first.close()
    second = SQLStore(f"sqlite:///{database}")
    assert second.get("pay1") == attempt()
    second.close()


def test_many_processes_may_make_the_tables_at_once(database):
    script = f"from aplus_adapters import SQLStore; SQLStore('sqlite:///{database}').close()"
    processes = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4


def test_a_newer_database_is_refused_with_what_to_do(database):
    SQLStore(f"sqlite:///{database}").close()
    connection = sqlite3.connect(database)
    with connection:
        connection.execute("UPDATE aplus_schema SET version = 99")
    connection.close()
    with pytest.raises(StoreError, match=r"version 99.*upgrade"):
        SQLStore(f"sqlite:///{database}")


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("sqlite://", "in-memory"),
        ("sqlite:///:memory:", "in-memory"),
        ("nonsense", "cannot use the database address"),
        ("nodb://x/y", "cannot use the database address"),
    ],
)
def test_a_useless_address_is_refused_with_what_to_do(address, found):
    with pytest.raises(ConfigurationError, match=found):
        SQLStore(address)


def test_a_database_that_cannot_be_opened_is_our_error(tmp_path):
    with pytest.raises(StoreError, match="OperationalError"):
        SQLStore(f"sqlite:///{tmp_path}/no/such/folder/x.db")


def test_a_locked_database_gives_an_answer_within_five_seconds(database):
    import time

    store = SQLStore(f"sqlite:///{database}")
    store.add(attempt())
    locker = sqlite3.connect(database, isolation_level=None)
    locker.execute("BEGIN IMMEDIATE")
    started = time.monotonic()
    with pytest.raises(StoreError):
        store.record("pay1", said(), nothing)
    assert time.monotonic() - started < 5  # a bound that users were promised, not a speed
    locker.execute("ROLLBACK")
    locker.close()
    assert store.record("pay1", said(), nothing).settles
    store.close()
