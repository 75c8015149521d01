"""What was made before a fork: nothing of it is used after it, and no lock of it is waited for."""

import os
import signal
import threading
import traceback
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import sessionmaker

from aplus_adapters import AplusPay, SQLStore, StoreError
from aplus_adapters.simulator.ports import ReservedPort
from aplus_adapters.stores import connections
from aplus_adapters.stores.watchdog import Watchdog
from aplus_adapters.testing.store_contract import an_attempt as attempt

FORKS = 60 if os.environ.get("APLUS_LONG") else 5
FILES = Path("/proc/self/fd")


def in_child(work):
    """Run it in a forked process; return its exit status, the signal that ended it if it hung."""
    child = os.fork()
    if not child:
        try:
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    kill = threading.Timer(60, os.kill, (child, signal.SIGKILL))
    kill.start()
    status = os.waitpid(child, 0)[1]
    kill.cancel()
    return os.waitstatus_to_exitcode(status)


GIVEN = {
    "address": lambda address, engine: address,
    "engine": lambda address, engine: engine,
    "sessions": lambda address, engine: sessionmaker(engine),
}


@pytest.mark.parametrize("given", GIVEN)
def test_a_fork_at_any_moment_of_other_threads_leaves_a_child_that_sells(server_database, given):
    """SQLite is not asked for this: its own locks do not survive a fork of a busy process.

    Nor do those of OpenSSL, where a driver makes a TLS context for each connection (PyMySQL): so
    each thread has its connection before the first fork.
    """
    address = server_database
    engine = create_engine(address)
    store = SQLStore(GIVEN[given](address, engine))
    store.add(attempt())
    over, connected = threading.Event(), threading.Barrier(4)

    def look():
        with store.engine.connect() if given != "sessions" else engine.connect():
            connected.wait(timeout=60)
        while not over.is_set():
            store.get("pay1")

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    connected.wait(timeout=60)

    def sell():
        for number in range(2, 5):
            assert store.add(attempt(number, f"A-{number}")).order_ref == f"A-{number}"
            assert store.get("pay1").order_ref == "A-1"

    ended = [in_child(sell) for _ in range(FORKS)]
    over.set()
    for thread in threads:
        thread.join()
    store.close()
    engine.dispose()
    assert ended == [0] * FORKS


def test_no_lock_of_a_parents_thread_is_waited_for_in_the_child(
    server_database, account, shop, monkeypatch
):
    """Each of them is held here for the whole fork, which a test by chance would rarely hit."""
    watchdogs = []

    class Noted(Watchdog):
        def __init__(self):
            super().__init__()
            watchdogs.append(self)

    monkeypatch.setattr(connections, "Watchdog", Noted)
    store = SQLStore(server_database)
    pay = AplusPay(account=account, store=store, hooks=shop)
    store.add(attempt())
    _ = pay.performer
    (watchdog,) = watchdogs
    locks = [watchdog._watches[os.getpid()]._condition, store.engine.pool._pool.mutex]
    locks += [connections._LOCKS[os.getpid()], pay._runner._lock()]
    held, over = threading.Event(), threading.Event()

    def hold():
        for lock in locks:
            lock.acquire()
        held.set()
        over.wait()
        for lock in locks:
            lock.release()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()

    def use():
        assert store.get("pay1").order_ref == "A-1"
        _ = pay.performer

    ended = in_child(use)
    over.set()
    holder.join()
    store.close()
    pay.close()
    assert ended == 0


@pytest.mark.parametrize("given", GIVEN)
def test_a_constructor_opens_nothing(tmp_path, account, shop, given):
    """No file, no connection and no thread; a database that is not there is no error either."""
    port = ReservedPort()
    nowhere = f"postgresql+psycopg://shop@127.0.0.1:{port.number}/shop"

    def construct():
        for address in (f"sqlite:///{tmp_path / 'shop.db'}", nowhere):
            engine = create_engine(address)
            threads, files = {*threading.enumerate()}, len([*FILES.iterdir()])
            store = SQLStore(GIVEN[given](address, engine))
            AplusPay(account=account, store=store, hooks=shop)
            assert {*threading.enumerate()} == threads
            assert len([*FILES.iterdir()]) == files
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(StoreError, match="OperationalError"):
            store.get("pay1")

    assert in_child(construct) == 0  # where no thread of an earlier test opens or ends anything
    port.release()


def test_a_child_has_a_pool_of_its_own_from_its_first_line(tmp_path):
    store = SQLStore(f"sqlite:///{tmp_path}/payments.db")
    store.set_up()
    engine = store.engine
    inherited = engine.pool

    def look():
        assert engine.pool is not inherited

    assert in_child(look) == 0
    assert engine.pool is inherited
    store.close()
