"""How long the watchdog gives a statement, and that its thread keeps no process alive."""

import threading
from contextlib import contextmanager

import pytest
from sqlalchemy import create_engine, event

from aplus_adapters.stores.connection_info import INFO_TIME_LIMIT
from aplus_adapters.stores.postgresql import STATEMENT
from aplus_adapters.stores.watchdog import Watchdog


class Noting(Watchdog):
    def __init__(self):
        super().__init__()
        self.limits = []

    def watch(self, driver, seconds):
        self.limits.append(seconds)


@contextmanager
def guarded(watchdog, **info):
    engine = create_engine("sqlite://")
    watchdog.guard(engine, lambda _: None)
    event.listen(engine, "checkout", lambda _driver, record, _proxy: record.info.update(info))
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.mark.parametrize(("info", "limit"), [({}, STATEMENT), ({INFO_TIME_LIMIT: 9.0}, 9.0)])
def test_a_connection_is_cut_only_after_the_servers_own_time_out(info, limit):
    watchdog = Noting()
    with guarded(watchdog, **info) as connection:
        connection.exec_driver_sql("SELECT 1")
    assert watchdog.limits
    assert set(watchdog.limits) == {limit + 0.5}


def test_an_address_that_asks_for_no_limit_gets_none():
    watchdog = Noting()
    with guarded(watchdog, **{INFO_TIME_LIMIT: 0}) as connection:
        connection.exec_driver_sql("SELECT 1")
    assert watchdog.limits == []


def test_the_thread_that_watches_keeps_no_process_alive():
    before = set(threading.enumerate())
    watchdog = Watchdog()
    watchdog.watch(driver := object(), 60)
    watchdog.leave(driver)
    (thread,) = set(threading.enumerate()) - before
    assert (thread.daemon, thread.name) == (True, "aplus-watchdog")
