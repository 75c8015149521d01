"""The database is down, locked, full, read-only or frozen, or dies around the commit.

In each case: an answer within 5 s that is no S, nothing believed, and one effect after the
re-delivery. That bound is a promise to users, not a speed.
"""

import contextlib
import os
import signal
import sqlite3
import threading
import time
import traceback
from contextlib import contextmanager

import httpx
import pytest
from sqlalchemy import create_engine, event, text

from aplus_adapters import SQLStore, State, StoreError
from aplus_adapters.payments.model import Observation, Outcome, Source
from support import mysql, postgres
from support.racing_shop import effects, make_pay

PATIENCE = 5.0
JSON = {"Accept": "application/json"}


SERVERS = {"postgresql": postgres, "mysql": mysql}


@pytest.fixture(scope="module", params=SERVERS)
def cluster(request):
    """A server of its own: what happens to it must happen to nobody else."""
    server = SERVERS[request.param]
    server.require()
    made = server.Cluster()
    yield made
    made.remove()


class ShopUnderTest:
    def __init__(self, database, account, alipayplus):
        from flask import Flask

        from aplus_adapters.flask import create_blueprint

        self.database = database
        self.pay = make_pay(account, database)
        app = Flask("shop")
        app.register_blueprint(create_blueprint(self.pay), url_prefix="/aplus")
        transport = httpx.WSGITransport(app)
        self.client = httpx.Client(transport=transport, base_url="http://shop.example")
        self.alipayplus = alipayplus
        started = self.press("A-1")
        assert started.status_code == 200, started.text
        self.request_id = started.json()["paymentRequestId"]
        attempt = self.pay.store.get(self.request_id)
        self.body = alipayplus.notification(attempt)
        self.headers = alipayplus.sign(self.body)

    def press(self, ref):
        return self.client.post("/aplus/pay", json={"order_ref": ref}, headers=JSON)

    def notify(self):
        """Deliver the notification; give the HTTP status, whether it was an S, and the seconds."""
        started = time.monotonic()
        reply = self.client.post("/aplus/notify", content=self.body, headers=self.headers)
        took = time.monotonic() - started
        said = self.alipayplus.accepts(reply.status_code, reply.headers, reply.content)
        return reply.status_code, said, took

    def suffers(self, name):
        """Check that nothing is promised while the trouble lasts."""
        for _ in range(2):
            status, said, took = self.notify()
            print(f"{name}: notification answered HTTP {status} after {took:.2f} s, S: {said}")
            assert (status, said) == (503, False)
            assert took < PATIENCE
        started = time.monotonic()
        assert self.press("A-2").status_code == 503
        page = self.client.get(f"/aplus/payments/{self.request_id}/status")
        assert page.status_code in (200, 503)  # reading may still work
        assert time.monotonic() - started < 2 * PATIENCE

    def recovers(self):
        """Check that the re-delivery, and one more, have one effect."""
        for _ in range(2):
            status, said, _ = self.notify()
            assert (status, said) == (200, True)
        assert self.pay.store.get(self.request_id).state is State.SUCCEEDED
        assert effects(self.pay.store) == [("A-1", "succeeded")]
        assert self.press("A-2").status_code == 200

    def close(self):
        self.client.close()
        self.pay.close()
        self.pay.store.close()


@pytest.fixture
def shop_on(simulated_account, simulated_alipayplus):
    made = []

    def make(database):
        made.append(ShopUnderTest(database, simulated_account, simulated_alipayplus))
        return made[-1]

    yield make
    for one in made:
        one.close()


@contextmanager
def sqlite_locked(shop):
    locker = sqlite3.connect(shop.database.removeprefix("sqlite:///"), isolation_level=None)
    locker.execute("BEGIN IMMEDIATE")
    yield
    locker.execute("ROLLBACK")
    locker.close()


@contextmanager
def _pragma(shop, pragma, back):
    """Set a pragma on every connection of the shop, those in the pool included."""

    def set_it(connection, *_):
        connection.execute(pragma)

    engine = shop.pay.store.engine
    event.listen(engine, "checkout", set_it)
    yield
    event.remove(engine, "checkout", set_it)
    with engine.connect() as connection:
        connection.exec_driver_sql(back)


def fill(shop):
    """Use up the free room inside the pages, where small writes would still fit."""
    connection = sqlite3.connect(shop.database.removeprefix("sqlite:///"), timeout=5)
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count={pages}")
    for size in (300, 30, 1):
        with contextlib.suppress(sqlite3.OperationalError):
            while True:
                with connection:
                    connection.execute("INSERT INTO effects VALUES (?, 'filler')", ("x" * size,))
    connection.close()
    number = 0
    while shop.press(f"filler-{number}").status_code == 200:
        number += 1


@contextmanager
def sqlite_full(shop):
    with shop.pay.store.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    with _pragma(shop, f"PRAGMA max_page_count={pages}", "PRAGMA max_page_count=1073741823"):
        fill(shop)
        yield
    with shop.pay.store.engine.begin() as connection:
        connection.execute(text("DELETE FROM effects WHERE state = 'filler'"))


@contextmanager
def sqlite_read_only(shop):
    with _pragma(shop, "PRAGMA query_only=ON", "PRAGMA query_only=OFF"):
        yield


SQLITE = {"locked": sqlite_locked, "full": sqlite_full, "read-only": sqlite_read_only}


@pytest.mark.parametrize("name", SQLITE)
def test_sqlite_in_trouble_gets_no_acknowledgement_and_loses_nothing(shop_on, tmp_path, name):
    shop = shop_on(f"sqlite:///{tmp_path / 'shop.db'}")
    with SQLITE[name](shop):
        shop.suffers(f"SQLite {name}")
    shop.recovers()


@contextmanager
def locked(shop, cluster):
    engine = create_engine(shop.database)
    with engine.begin() as connection:
        if engine.dialect.name == "mysql":
            connection.execute(text("LOCK TABLES aplus_payments WRITE"))
        else:
            connection.execute(text("LOCK TABLE aplus_payments IN ACCESS EXCLUSIVE MODE"))
        yield
        if engine.dialect.name == "mysql":
            connection.execute(text("UNLOCK TABLES"))
    engine.dispose()


@contextmanager
def down(shop, cluster):
    cluster.stop()
    yield
    cluster.start()


@contextmanager
def frozen(shop, cluster):
    cluster.freeze()
    yield
    cluster.thaw()


@contextmanager
def read_only(shop, cluster):
    if shop.database.startswith("mysql"):
        cluster.run("SET GLOBAL read_only = ON")
        yield
        cluster.run("SET GLOBAL read_only = OFF")
        return
    engine = create_engine(shop.database, isolation_level="AUTOCOMMIT")
    name = engine.url.database
    with engine.connect() as connection:
        connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
    shop.pay.store.engine.dispose()
    yield
    with engine.connect() as connection:
        connection.execute(text("SET default_transaction_read_only = off"))
        connection.execute(text(f"ALTER DATABASE {name} RESET default_transaction_read_only"))
    engine.dispose()
    shop.pay.store.engine.dispose()


TROUBLE = {"locked": locked, "down": down, "frozen": frozen, "read-only": read_only}


@pytest.mark.parametrize("name", TROUBLE)
def test_a_server_in_trouble_gets_no_acknowledgement_and_loses_nothing(shop_on, cluster, name):
    shop = shop_on(cluster.database())
    with TROUBLE[name](shop, cluster):
        shop.suffers(f"server {name}")
    shop.recovers()


@pytest.mark.parametrize("trouble", ["frozen", "down"])
def test_a_server_that_dies_in_the_commit_gets_no_acknowledgement_and_loses_nothing(
    shop_on, cluster, trouble
):
    """Whether the commit was done is unknown: no S, and the re-delivery has no second effect."""
    shop = shop_on(cluster.database())
    engine = shop.pay.store.engine

    struck = []

    def strike(connection):
        if not struck:
            struck.append(True)
            (cluster.freeze if trouble == "frozen" else cluster.stop)()

    event.listen(engine, "commit", strike)
    try:
        status, said, took = shop.notify()
    finally:
        (cluster.thaw if trouble == "frozen" else cluster.start)()
    assert struck
    print(f"server {trouble} in the commit: HTTP {status} after {took:.2f} s, S: {said}")
    assert (status, said) == (503, False)
    assert took < PATIENCE
    shop.recovers()


def test_a_database_that_dies_between_commit_and_acknowledgement_has_kept_what_was_said(
    shop_on, cluster
):
    shop = shop_on(cluster.database())
    record = shop.pay.store.record

    def record_and_die(*arguments):
        transition = record(*arguments)
        cluster.stop()
        return transition

    shop.pay.store.record = record_and_die
    status, said, _ = shop.notify()
    shop.pay.store.record = record
    assert (status, said) == (200, True)  # it is durable, so it may be said
    cluster.start()
    shop.pay.store.engine.dispose()
    shop.recovers()


def test_a_slow_hook_is_the_shops_own_matter_and_not_cut_off(shop_on, cluster):
    """Time-outs are for the database; a hook that thinks for long keeps its transaction."""
    shop = shop_on(cluster.database())
    changed = shop.pay.hooks.payment_changed

    def slow(details):
        time.sleep(4)
        changed(details)

    shop.pay.hooks.payment_changed = slow
    status, said, _ = shop.notify()
    assert (status, said) == (200, True)
    assert effects(shop.pay.store) == [("A-1", "succeeded")]


def test_a_waiting_worker_is_woken_when_the_lock_is_released(shop_on, cluster):
    shop = shop_on(cluster.database())
    with locked(shop, cluster):
        replies = []
        waiting = threading.Thread(target=lambda: replies.append(shop.notify()))
        waiting.start()
        time.sleep(0.5)
    waiting.join(10)
    assert replies[0][:2] == (200, True)


def test_an_observation_of_an_earlier_version_is_still_read(shop_on, tmp_path):
    shop = shop_on(f"sqlite:///{tmp_path / 'shop.db'}")
    details = '{"source": "inquiry", "outcome": "in process", "at": "2026-11-23T12:00:00+00:00", "clientId": "C"}'
    with shop.pay.store.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO aplus_observations (shop, payment_request_id, details, source, count, "
                "first_at) VALUES ('shop', :id, :details, 'inquiry', 1, '2026-11-23 12:00:00')"
            ),
            {"id": shop.request_id, "details": details},
        )
    last = shop.pay.store.history(shop.request_id)[-1]
    assert isinstance(last, Observation)
    assert (last.source, last.outcome) == (Source.INQUIRY, Outcome.IN_PROCESS)


def test_a_database_that_is_down_when_the_shop_starts_is_used_as_soon_as_it_is_there(cluster):
    database = cluster.database()
    cluster.stop()
    store = SQLStore(database)
    started = time.monotonic()
    for _ in range(2):
        with pytest.raises(StoreError, match="OperationalError"):
            store.get("pay1")
    assert time.monotonic() - started < 2 * PATIENCE
    cluster.start()
    assert store.get("pay1") is None
    store.close()


def test_a_forked_worker_has_a_watchdog_of_its_own(cluster):
    """The thread that watched in the master does not live on in the worker."""
    store = SQLStore(cluster.database())
    assert store.get("pay1") is None  # the master's thread runs
    ready, frozen = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        signal.alarm(20)  # who hangs is ended
        try:
            store.get("pay1")
            os.write(ready[1], b"x")
            os.read(frozen[0], 1)
            started = time.monotonic()
            with pytest.raises(StoreError):
                store.get("pay1")
            assert time.monotonic() - started < PATIENCE
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    os.read(ready[0], 1)
    cluster.freeze()
    os.write(frozen[1], b"x")
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    cluster.thaw()
    for end in (*ready, *frozen):
        os.close(end)
    store.close()
    assert ended == 0
