"""What every payment store promises, by the suite that is shipped, and what SQLStore adds to it."""

import importlib
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import sessionmaker

from aplus_adapters import (
    ConfigurationError,
    MemoryStore,
    Outcome,
    SQLStore,
    State,
    StoreError,
    UnknownPayment,
)
from aplus_adapters.payments.model import OrderCode, Source
from aplus_adapters.stores import lent
from aplus_adapters.stores.drivers import refuse_blocking_gevent
from aplus_adapters.stores.lent import LentSQLite
from aplus_adapters.testing.store_contract import (
    LATER,
    NOON,
    PaymentStoreContract,
    a_refund,
    nothing,
)
from aplus_adapters.testing.store_contract import an_attempt as attempt
from aplus_adapters.testing.store_contract import an_observation as said


class TestOurStores(PaymentStoreContract):
    """By the fixture `store`: in memory, and each database."""


IDS = ["A-1", "a-1", "A-1 ", " A-1", "\u00e4", "a\u0308", "a", "\uff21-1", "A\u20101", "\U0001f3ab"]


def test_an_order_is_never_taken_for_one_that_only_looks_like_it(store):
    """Otherwise the buyer of one order would be shown, and pay, the code of the other."""
    for number, ref in enumerate(IDS):
        assert store.add(attempt(number, ref)).order_ref == ref
    assert [store.latest(ref).order_ref for ref in IDS] == IDS


def test_a_payment_is_never_taken_for_one_that_only_looks_like_it(store):
    for number, name in enumerate(IDS):
        assert store.get(name) is None
        store.add(attempt(0, f"A-{number}", payment_request_id=name))
    assert [store.get(name).payment_request_id for name in IDS] == IDS


@pytest.fixture
def file(tmp_path):
    return tmp_path / "payments.db"


def make_table(address):
    engine = create_engine(address)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE mine (x INTEGER)"))
    return engine


def count(engine):
    with engine.connect() as connection:
        return connection.execute(text("SELECT count(*) FROM mine")).scalar_one()


def test_the_shops_own_rows_commit_with_the_payment_or_not_at_all(database):
    engine = make_table(database)
    store = SQLStore(database)
    store.add(attempt())

    def write(_transition, connection, *, fail=False):
        connection.execute(text("INSERT INTO mine VALUES (1)"))
        if fail:
            raise RuntimeError("after the write")

    with pytest.raises(RuntimeError):
        store.record("pay1", said(), lambda t, c: write(t, c, fail=True))
    assert count(engine) == 0
    store.record("pay1", said(), write)
    assert count(engine) == 1
    store.close()
    engine.dispose()


def test_something_else_is_no_database():
    with pytest.raises(ConfigurationError, match="found int, expected an address"):
        SQLStore(5)


def test_a_forked_worker_opens_connections_of_its_own(database):
    store = SQLStore(database)
    store.add(attempt())
    child = os.fork()
    if not child:
        try:
            for _ in range(50):
                assert store.get("pay1")
            os._exit(0)
        finally:
            os._exit(1)
    for _ in range(50):
        assert store.get("pay1")
    assert os.waitpid(child, 0)[1] == 0
    store.close()


def test_two_shops_in_one_database_do_not_see_each_other(database):
    one, other = SQLStore(database, shop="cinema"), SQLStore(database, shop="bookshop")
    assert one.add(attempt()) == attempt()
    assert other.get("pay1") is None
    assert other.latest("A-1") is None
    assert list(other.due(LATER, 10, ["C"])) == []
    with pytest.raises(UnknownPayment):
        other.record("pay1", said(), nothing)
    assert not other.claim("pay1", 0, LATER)
    assert other.add(attempt(2)) == attempt(2)
    for store, name in ((one, "pay1"), (other, "pay2")):
        store.record(name, said(), nothing)
        store.add_refund(a_refund(payment_request_id=name))
        store.record(name, said(outcome=Outcome.FAILED), nothing)
    assert [one.payment_request_id for one in other.due_refunds(LATER, 10, ["C"])] == ["pay2"]
    (conflict,) = other.unreported_conflicts(10, ["C"])
    assert conflict.attempt.payment_request_id == "pay2"
    other.conflict_reported(conflict)
    assert len(one.unreported_conflicts(10, ["C"])) == 1
    one.close()
    other.close()


@pytest.mark.parametrize("name", ["", "x" * 65, None])
def test_a_shop_without_a_usable_name_is_refused(tmp_path, name):
    with pytest.raises(ConfigurationError, match="expected a name of 1 to 64 characters"):
        SQLStore(f"sqlite:///{tmp_path}/x.db", shop=name)


def test_a_database_outlives_its_store(database):
    first = SQLStore(database)
    first.add(attempt())
    first.close()
    second = SQLStore(database)
    assert second.get("pay1") == attempt()
    second.close()


def test_many_processes_may_make_the_tables_at_once(database):
    script = f"from aplus_adapters import SQLStore; SQLStore({database!r}).set_up()"
    processes = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4


def test_a_newer_database_is_refused_with_what_to_do(database):
    store = SQLStore(database)
    store.set_up()
    engine = create_engine(database)
    with engine.begin() as connection:
        connection.execute(text("UPDATE aplus_schema SET version = 99"))
    engine.dispose()
    late = SQLStore(database)
    with pytest.raises(StoreError, match=r"version 99.*upgrade"):
        late.get("pay1")
    store.get("pay1")  # who has found it in order goes on
    store.close()
    late.close()


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("sqlite://", "in-memory"),
        ("sqlite:///:memory:", "in-memory"),
        ("sqlite:///file:shop?mode=memory&uri=true", "in-memory"),
        ("nonsense", "cannot use the database address"),
        ("nodb://x/y", "cannot use the database address"),
    ],
)
def test_a_useless_address_is_refused_with_what_to_do(address, found):
    with pytest.raises(ConfigurationError, match=found):
        SQLStore(address)


def test_a_database_that_cannot_be_opened_is_our_error(tmp_path):
    with pytest.raises(StoreError, match="OperationalError"):
        SQLStore(f"sqlite:///{tmp_path}/no/such/folder/x.db").get("pay1")


def test_in_memory_a_claim_that_is_taken_while_an_answer_is_recorded_is_kept(monkeypatch):
    store = MemoryStore()
    store.add(attempt())
    advance = store._advance

    def advance_and_claim(*arguments):
        transition = advance(*arguments)
        assert store.claim("pay1", 0, LATER)
        return transition

    monkeypatch.setattr(store, "_advance", advance_and_claim)
    code = OrderCode(text="https://codes.example/1", images=(), expires_at=LATER)
    answer = said(Outcome.CODE_ISSUED, amount=None, order_code=code, next_call_at=NOON)
    transition = store.record("pay1", answer, nothing)
    after = store.get("pay1")
    assert transition.after == after
    assert (after.state, after.order_code) == (State.PENDING, code)
    assert (after.claim, after.claimed_until, after.next_call_at) == (1, LATER, LATER)


def test_two_shops_count_the_answers_about_payments_of_one_id_apart(database):
    stores = [SQLStore(database, shop=name) for name in ("cinema", "bookshop")]
    silent = said(Outcome.IN_PROCESS, source=Source.INQUIRY, amount=None)
    for store in stores:
        store.add(attempt())
    for _ in range(3):
        for store in stores:
            store.record("pay1", silent, nothing)
    for store in stores:
        assert [one.count for one in store.history("pay1")] == [3]
        store.close()


@pytest.mark.parametrize("driver", ["psycopg2", "psycopg"])
def test_a_driver_that_would_block_every_greenlet_is_refused_in_this_process_too(
    driver, monkeypatch
):
    pytest.importorskip(driver)
    engine = create_engine(f"postgresql+{driver}://x/y")
    refuse_blocking_gevent(engine)
    patched = SimpleNamespace(is_module_patched=lambda name: name == "socket")
    monkeypatch.setitem(sys.modules, "gevent.monkey", patched)
    if driver == "psycopg":
        waiting = importlib.import_module("psycopg.waiting")
        monkeypatch.setattr(waiting, "wait_c", waiting.wait, raising=False)
    with pytest.raises(ConfigurationError, match=f"found {driver} "):
        refuse_blocking_gevent(engine)
    patched.is_module_patched = lambda name: name != "socket"
    refuse_blocking_gevent(engine)


def test_a_time_that_django_has_read_is_left_alone_and_a_text_is_read():
    read = lent._ReadTime().result_processor(LentSQLite(), None)
    assert read(NOON) is NOON
    assert read("2026-11-23 12:00:00.000000") == NOON.replace(tzinfo=None)


def test_what_the_blocking_store_cannot_use_is_named_with_what_to_pass():
    engine = create_async_engine("sqlite+aiosqlite:///x.db")
    for given, found in (
        (engine.connect(), "found AsyncConnection, .*; an open one belongs to the code .*maker$"),
        (AsyncSession(engine), "found AsyncSession, .*; an open one belongs to the code .*maker$"),
        (5, "found int, .* or Flask-SQLAlchemy's db$"),
        (async_sessionmaker(engine), "found async_sessionmaker, .* AsyncSQLStore takes"),
        (sessionmaker(class_=AsyncSession), "found sessionmaker of AsyncSession, .* AsyncSQL"),
    ):
        with pytest.raises(ConfigurationError, match=found):
            SQLStore(given).get("pay1")
