"""SQLite of our own: what is acknowledged survives a power cut, and who reads waits for nobody."""

import sqlite3
import threading
from contextlib import ExitStack

import pytest
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import OperationalError

from aplus_adapters import SQLStore, State
from aplus_adapters.stores.sqlite import may_be_repeated
from aplus_adapters.testing.store_values import an_attempt, an_observation, nothing

FULL = 2


@pytest.fixture
def lax():
    """Make all engines of the process careless, by the recipe of SQLAlchemy's documentation."""

    def careless(driver, _record):
        driver.execute("PRAGMA synchronous=OFF")
        driver.execute("PRAGMA foreign_keys=OFF")

    event.listen(Engine, "connect", careless)
    yield
    event.remove(Engine, "connect", careless)


def settings(connection):
    names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
    return {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names}


def test_each_connection_of_our_engine_is_durable_whatever_the_shop_sets_for_all(lax, tmp_path):
    store = SQLStore(f"sqlite:///{tmp_path / 'payments.db'}")
    store.add(an_attempt())
    ours = {"journal_mode": "wal", "synchronous": FULL, "foreign_keys": 1, "busy_timeout": 3500}
    with store.engine.connect() as one, store.engine.connect() as other:
        assert [settings(one), settings(other)] == [ours, ours]
    inside = []
    store.record("pay1", an_observation(), lambda _, found: inside.append(settings(found)))
    assert inside == [ours]
    store.close()


def test_a_payment_on_the_shops_careless_engine_is_durable(lax, tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path / 'shop.db'}")
    store = SQLStore(engine)
    store.add(an_attempt())
    inside = []
    store.record("pay1", an_observation(), lambda _, found: inside.append(settings(found)))
    assert [one["synchronous"] for one in inside] == [FULL]
    with engine.connect() as connection:
        assert settings(connection)["synchronous"] == 0  # it is the shop's own
    engine.dispose()


def test_who_reads_waits_for_no_hook_and_no_hook_for_who_reads(tmp_path):
    store = SQLStore(f"sqlite:///{tmp_path / 'payments.db'}")
    store.add(an_attempt())
    seen = []
    with store.engine.connect() as reader:
        reader.execute(text("SELECT * FROM aplus_payments")).all()  # a view that is not done yet

        def hook(_transition, _connection):
            seen.append(store.get("pay1").state)

        assert store.record("pay1", an_observation(), hook).became_final
    assert seen == [State.CREATED]
    assert store.record("pay1", an_observation(), nothing).after.state is State.SUCCEEDED
    store.close()


def test_as_many_wait_for_the_lock_as_there_are_each_on_a_connection(tmp_path):
    store = SQLStore(f"sqlite:///{tmp_path / 'payments.db'}")
    with ExitStack() as stack:
        lent = [stack.enter_context(store.engine.connect()) for _ in range(40)]
    assert len(lent) == 40  # without a wait for the pool, which gives up after seconds
    store.close()


def test_a_new_file_that_another_process_is_writing_to_is_waited_for(tmp_path):
    file = tmp_path / "payments.db"
    other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    other.execute("CREATE TABLE theirs (x)")
    other.execute("BEGIN EXCLUSIVE")  # with which the journal cannot be switched to WAL
    later = threading.Timer(0.3, other.execute, ["COMMIT"])
    later.start()
    store = SQLStore(f"sqlite:///{file}")
    store.add(an_attempt())
    later.join()
    other.close()
    with store.engine.connect() as connection:
        assert settings(connection)["journal_mode"] == "wal"
    store.close()


def test_the_switch_to_a_write_ahead_log_waits_for_who_has_the_file(tmp_path):
    """SQLite itself does not wait there, whatever its time-out."""
    file = tmp_path / "payments.db"
    held = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    held.execute("CREATE TABLE theirs (number)")
    held.execute("BEGIN EXCLUSIVE")
    threading.Timer(0.3, held.execute, ["COMMIT"]).start()
    store = SQLStore(f"sqlite:///{file}")
    store.add(an_attempt())
    assert store.get("pay1") is not None
    store.close()
    held.close()


def test_a_stale_view_is_repeated_and_a_mere_wait_is_not(tmp_path):
    file = tmp_path / "shop.db"
    one, other = (sqlite3.connect(file, isolation_level=None, timeout=0) for _ in range(2))
    one.execute("PRAGMA journal_mode=WAL")
    one.execute("CREATE TABLE t (n)")
    one.execute("BEGIN")
    one.execute("SELECT * FROM t").fetchall()
    other.execute("BEGIN IMMEDIATE")
    errors = []
    for end in ("INSERT INTO t VALUES (1)", "COMMIT"):
        try:
            one.execute("INSERT INTO t VALUES (2)")
        except sqlite3.OperationalError as error:
            errors.append(OperationalError("INSERT", None, error))
        other.execute(end)
        if end == "COMMIT":
            with pytest.raises(sqlite3.OperationalError) as stale:
                one.execute("INSERT INTO t VALUES (2)")
            errors.append(OperationalError("INSERT", None, stale.value))
    assert [may_be_repeated(error) for error in errors] == [False, False, True]
    one.close()
    other.close()
