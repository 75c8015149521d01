"""`DjangoStore`: payments in a Django shop's own database and transactions."""

import os
import subprocess
import sys
import threading
import time
import unittest
from pathlib import Path

import pytest

pytest.importorskip("django")  # rows of old versions have none

import django
import django.db
import django.test
from django.core.management import call_command
from django.core.signals import request_finished, request_started
from django.db import connection as djangos
from django.db import transaction
from sqlalchemy import create_engine, inspect, text

from aplus_adapters import (
    AplusPay,
    ConfigurationError,
    DjangoStore,
    HookError,
    SQLStore,
    State,
    StoreError,
)
from aplus_adapters.stores import Tables
from aplus_adapters.testing.store_contract import PaymentStoreContract
from aplus_adapters.testing.store_values import an_attempt, an_observation
from support import django_databases
from support.databases import DATABASES, end_connections, new_database, ready_database


@pytest.fixture(params=DATABASES)
def empty(request, tmp_path):
    """Let Django use a new database without tables; return its address."""
    address = new_database(request.param, tmp_path, request)
    with django_databases.database(address):
        yield address


@pytest.fixture(params=DATABASES)
def migrated(request, tmp_path):
    """Let Django use a database with its tables, ours and those of the orders; return its address."""
    with (
        ready_database(
            request.param, tmp_path, request, make=django_databases.migrate_at
        ) as address,
        django_databases.database(address),
    ):
        yield address


@pytest.fixture
def store(migrated):
    return DjangoStore()


class TestDjangoStore(PaymentStoreContract):
    """By the fixture `store`: each database."""


def orders():
    from support.django_orders.models import Order

    return Order.objects


@pytest.fixture
def ordered(store):
    """The store with an order A-1 of the shop and its attempt, pay1."""
    orders().create(ref="A-1")
    store.add(an_attempt(1, "A-1"))
    return store


def status():
    return orders().get(ref="A-1").status


def pay_for(transition, _connection):
    order = orders().select_for_update().get(ref=transition.after.order_ref)
    order.status = "paid"
    order.save()


def record(store, hook):
    return store.record("pay1", an_observation(), hook)


def is_paid(store):
    """Return whether payment and order are; they are never of two minds."""
    payment, order = store.get("pay1").state is State.SUCCEEDED, status() == "paid"
    assert payment is order
    return payment


def test_what_a_hook_writes_by_the_orm_commits_with_the_payment(ordered):
    given = []

    def hook(transition, connection):
        given.append(connection)
        pay_for(transition, connection)

    record(ordered, hook)
    assert given == [django.db.connections["default"]]
    assert is_paid(ordered)


def test_a_hook_that_fails_after_its_orm_has_written_leaves_neither(ordered):
    def hook(transition, connection):
        pay_for(transition, connection)
        raise RuntimeError("after the write")

    with pytest.raises(RuntimeError):
        record(ordered, hook)
    assert not is_paid(ordered)
    record(ordered, pay_for)
    assert is_paid(ordered)


def swallow(transition, connection):
    pay_for(transition, connection)
    try:
        orders().create(ref="A-1")
    except django.db.IntegrityError:
        pass


def mark_for_rollback(transition, connection):
    pay_for(transition, connection)
    transaction.set_rollback(True)


def close(transition, connection):
    pay_for(transition, connection)
    connection.close()


def roll_back(transition, connection):
    pay_for(transition, connection)
    with connection.cursor() as cursor:
        cursor.execute("ROLLBACK")


def leave_a_block_open(transition, connection):
    pay_for(transition, connection)
    transaction.atomic().__enter__()


@pytest.mark.parametrize(
    ("hook", "expected"),
    [
        (swallow, "expected it to raise"),
        (mark_for_rollback, "expected it to raise"),
        (close, "expected it open"),
        (roll_back, "expected it open"),
        (leave_a_block_open, "expected it open"),
    ],
)
def test_a_hook_after_which_django_would_commit_nothing_is_not_acknowledged(
    ordered, hook, expected
):
    with pytest.raises(StoreError, match=expected):
        record(ordered, hook)
    assert not is_paid(ordered)
    record(ordered, pay_for)
    assert is_paid(ordered)


def test_a_hook_that_commits_by_sql_is_not_acknowledged(ordered):
    def hook(transition, connection):
        with connection.cursor() as cursor:
            cursor.execute("COMMIT")

    with pytest.raises(StoreError, match="expected it open"):
        record(ordered, hook)


def test_a_statement_that_fails_in_a_block_of_its_own_harms_nothing(ordered):
    def hook(transition, connection):
        pay_for(transition, connection)
        with pytest.raises(django.db.IntegrityError), transaction.atomic():
            orders().create(ref="A-1")

    record(ordered, hook)
    assert is_paid(ordered)


def test_a_constraint_that_breaks_at_the_commit_is_an_error_of_the_store(ordered):
    from support.django_orders.models import Line

    if djangos.vendor == "mysql":
        pytest.skip("checks at each statement")

    def hook(transition, connection):
        pay_for(transition, connection)
        Line.objects.create(order_id="no such order")

    with pytest.raises(StoreError, match="IntegrityError"):
        record(ordered, hook)
    assert not is_paid(ordered)


MUST_MOVE = r"transaction of Django open.*non_atomic_requests.*on_commit"


def test_within_a_transaction_of_the_shop_every_call_says_what_to_do(ordered):
    with transaction.atomic():
        orders().update(status="by the view")
        for call in (lambda: ordered.get("pay1"), lambda: record(ordered, pay_for)):
            with pytest.raises(ConfigurationError, match=MUST_MOVE):
                call()
        assert status() == "by the view"
        transaction.on_commit(lambda: ordered.add(an_attempt(2, "A-2")))
    assert ordered.latest("A-2") is not None
    assert status() == "by the view"


def test_with_autocommit_switched_off_it_is_refused(ordered):
    transaction.set_autocommit(False)
    with pytest.raises(ConfigurationError, match="autocommit of database 'default' switched off"):
        ordered.get("pay1")
    transaction.rollback()
    transaction.set_autocommit(True)
    assert ordered.get("pay1") is not None


def test_a_callback_after_the_commit_that_fails_does_not_undo_the_acknowledgement(ordered, caplog):
    def hook(transition, connection):
        pay_for(transition, connection)
        transaction.on_commit(lambda: 1 / 0)

    record(ordered, hook)
    assert is_paid(ordered)
    assert "on_commit failed after a payment's commit (ZeroDivisionError)" in caplog.text


def test_in_a_testcase_the_payments_end_with_the_test(migrated):
    store = DjangoStore()
    seen = []

    class ShopTest(django.test.TestCase):
        databases = ("default",)

        def test_one(self):
            orders().create(ref="A-1")
            store.add(an_attempt(1, "A-1"))
            with pytest.raises(RuntimeError):
                record(store, fail)
            assert not is_paid(store)
            record(store, pay_for)
            seen.append(is_paid(store))
            with transaction.atomic(), pytest.raises(ConfigurationError, match=MUST_MOVE):
                store.get("pay1")

        test_two = test_one

    def fail(transition, connection):
        pay_for(transition, connection)
        raise RuntimeError

    result = unittest.TestResult()
    unittest.TestSuite(map(ShopTest, ("test_one", "test_two"))).run(result)
    assert result.wasSuccessful(), result.errors + result.failures
    assert seen == [True, True]
    assert store.get("pay1") is None
    assert not orders().exists()


def test_deadlocks_are_repeated_with_the_hook(ordered):
    """Two payments whose hooks take the rows of two orders in opposite order."""
    if djangos.vendor == "sqlite":
        pytest.skip("one writes at a time")
    orders().create(ref="A-2")
    ordered.add(an_attempt(2, "A-2"))
    met, calls, errors = threading.Barrier(2), [], []

    def work(name, first, second):
        def hook(transition, connection):
            calls.append(name)
            orders().filter(ref=first).update(status="paid")
            if len(calls) <= 2:
                met.wait(10)
            orders().filter(ref=second).update(status="paid")

        try:
            ordered.record(name, an_observation(), as_the_performer(hook))
        except Exception as error:
            errors.append(error)
        finally:
            django_databases.close()

    workers = [
        threading.Thread(target=work, args=args)
        for args in (("pay1", "A-1", "A-2"), ("pay2", "A-2", "A-1"))
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert errors == []
    assert len(calls) > 2
    assert {ordered.get(name).state for name in ("pay1", "pay2")} == {State.SUCCEEDED}


def test_a_wait_for_the_views_own_lock_ends_in_time_and_says_which_call_to_move(ordered):
    beside = create_engine(django_databases.ADDRESS[0])
    with beside.begin() as connection:
        connection.execute(text("UPDATE orders SET status = 'held' WHERE ref = 'A-1'"))
        started = time.monotonic()
        with pytest.raises((StoreError, HookError)) as caught:
            record(ordered, as_the_performer(pay_for))
        assert time.monotonic() - started < 5
        assert "move this call of aplus_adapters" in str(caught.value)
        connection.rollback()
    beside.dispose()
    record(ordered, pay_for)
    assert is_paid(ordered)


def as_the_performer(hook):
    def inside(transition, connection):
        try:
            hook(transition, connection)
        except Exception as error:
            raise HookError(
                f"hook payment_changed raised {type(error).__name__}", hook="x"
            ) from error

    return inside


def test_a_connection_that_the_server_has_closed_is_replaced(ordered):
    if djangos.vendor == "sqlite":
        pytest.skip("has no server")
    djangos.ensure_connection()
    beside = create_engine(django_databases.ADDRESS[0])
    assert end_connections(beside) >= 1
    record(ordered, pay_for)
    assert is_paid(ordered)
    beside.dispose()


def test_a_connection_is_left_as_it_was_found(ordered):
    django_databases.close()
    ordered.get("pay1")
    assert djangos.connection is None
    djangos.ensure_connection()
    ordered.get("pay1")
    assert djangos.connection is not None
    django_databases.close()
    request_started.send(None)
    ordered.get("pay1")
    assert djangos.connection is not None  # the request may want it again
    request_finished.send(None)
    assert djangos.connection is None


def test_the_settings_of_djangos_connection_are_as_before(ordered):
    queries = {
        "sqlite": ["PRAGMA busy_timeout", "PRAGMA synchronous"],
        "postgresql": ["SHOW lock_timeout", "SHOW statement_timeout", "SHOW synchronous_commit"],
        "mysql": [
            "SELECT @@autocommit, @@innodb_lock_wait_timeout, @@lock_wait_timeout, @@sql_mode"
        ],
    }[djangos.vendor]

    def settings():
        with djangos.cursor() as cursor:
            return [(cursor.execute(query), cursor.fetchone())[1] for query in queries]

    django_databases.close()  # no call of ours has touched the next one
    before = settings()
    record(ordered, pay_for)
    assert settings() == before
    ordered.add(an_attempt(2, "A-2"))
    with pytest.raises(ZeroDivisionError):
        ordered.record("pay2", an_observation(), lambda t, c: 1 / 0)
    assert settings() == before


@pytest.mark.parametrize("use_tz", [True, False])
def test_times_are_the_same_whatever_the_shops_zone(migrated, use_tz):
    from django.conf import settings

    with django.test.override_settings(USE_TZ=use_tz, TIME_ZONE="Asia/Tokyo"):
        django_databases.close()
        store = DjangoStore()
        store.add(an_attempt(1, "A-1"))
        assert store.get("pay1") == an_attempt(1, "A-1")
        orders().create(ref="A-1")
        record(store, pay_for)
        assert settings.USE_TZ is use_tz
    django_databases.close()
    beside = SQLStore(django_databases.ADDRESS[0])
    assert beside.get("pay1") == DjangoStore().get("pay1")
    beside.close()


class AsyncShop:
    def load_order(self, details):
        return None

    async def payment_changed(self, details):
        pass

    def payment_conflict(self, details):
        pass


def test_an_async_hook_that_would_write_beside_the_payment_is_refused_at_start(store, account):
    pay = AplusPay(account=account, store=store, hooks=AsyncShop())
    with pytest.raises(
        ConfigurationError, match=r"AsyncShop.payment_changed.*expected a plain one"
    ):
        pay.prepare(awaiting=True)


@pytest.mark.parametrize("mode", ["IMMEDIATE", "EXCLUSIVE", "DEFERRED"])
def test_on_sqlite_a_mode_of_djangos_own_waits_no_longer(tmp_path, mode):
    if django.VERSION < (5, 1):
        pytest.skip("Django has no such option")
    address = f"sqlite:///{tmp_path / 'shop.db'}"
    with django_databases.database(address, OPTIONS={"transaction_mode": mode, "timeout": 20}):
        django_databases.migrate()
        store = DjangoStore()
        assert store.get("pay1") is None
        beside = create_engine(address)
        with beside.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            started = time.monotonic()
            with pytest.raises(StoreError, match="waited too long for a lock"):
                store.add(an_attempt(1, "A-1"))
            assert time.monotonic() - started < 5
        beside.dispose()
        assert djangos.transaction_mode == mode
        assert store.add(an_attempt(1, "A-1")) == an_attempt(1, "A-1")


def test_threads_that_pay_at_once_give_one_attempt(store):
    answers = []

    def work(number):
        answers.append(store.add(an_attempt(number, "A-1")).payment_request_id)
        assert django.db.connections["default"].connection is None

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
    assert len(set(answers)) == 1


def test_a_project_without_our_application_is_told_to_install_it(migrated, monkeypatch):
    from django.apps import apps

    others = [one for one in apps.get_app_configs() if one.name != "aplus_adapters.django"]
    monkeypatch.setattr(apps, "get_app_configs", lambda: others)
    with pytest.raises(
        ConfigurationError, match=r"INSTALLED_APPS: found no 'aplus_adapters\.django'"
    ):
        DjangoStore().set_up()


PROJECT = """
import os

SECRET_KEY, ROOT_URLCONF = "of a test", "shop"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["FILE"]}}
INSTALLED_APPS = ["aplus_adapters.django", "support.django_orders"]
DATABASES["default"]["ATOMIC_REQUESTS"] = True
"""
PAY = """
from django.http import HttpResponse
from django.urls import include, path
from support.django_orders.models import Order
from aplus_adapters import Account, Amount, AplusPay, DjangoStore, OrderToPay
from aplus_adapters.django import create_urls

class Shop:
    def load_order(self, details):
        order = Order.objects.get(ref=details.order_ref)
        return OrderToPay(amount=Amount("JPY", 4200), description=order.ref)

    def payment_changed(self, details):
        Order.objects.filter(ref=details.attempt.order_ref).update(status="paid")

    def payment_conflict(self, details):
        pass

pay = AplusPay(account=Account.from_env(), store=DjangoStore(), hooks=Shop())
urlpatterns = [path("aplus/", include(create_urls(pay)))]
"""
PRESS = """
import django; django.setup()
from django.core.wsgi import get_wsgi_application
import httpx
from support.django_orders.models import Order
Order.objects.create(ref="A-1")
client = httpx.Client(transport=httpx.WSGITransport(get_wsgi_application()), base_url="http://localhost")
answer = client.post("/aplus/pay", data={"order_ref": "A-1"}, headers={"Accept": "application/json"})
print(answer.json()["paymentRequestId"])
"""


@pytest.mark.process
def test_a_project_is_paid_under_atomic_requests_and_reconciled_by_the_command(tmp_path, simulator):
    (tmp_path / "project.py").write_text(PROJECT)
    (tmp_path / "shop.py").write_text(PAY)
    environ = {
        **os.environ,
        **simulator.environ,
        "APLUS_NOTIFY_URL": "http://127.0.0.1:9/aplus/notify",
        "DJANGO_SETTINGS_MODULE": "project",
        "FILE": str(tmp_path / "shop.db"),
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent.parent), str(tmp_path)]),
    }

    def run(*words):
        command = [sys.executable, *words]
        return subprocess.run(
            command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=False
        )

    def aplus(*words):
        return run("-m", "aplus_adapters.cli", *words, "--shop", "shop:pay")

    assert "missing: table aplus_payments" in aplus("schema", "--check").stdout
    assert "manage.py migrate" in aplus("reconcile").stderr
    assert run("-m", "django", "migrate", "--run-syncdb").returncode == 0
    assert run("-m", "django", "makemigrations", "--check", "aplus_adapters").returncode == 0
    assert aplus("schema", "--check").returncode == 0
    pressed = run("-c", PRESS)
    assert pressed.returncode == 0, pressed.stderr
    request_id = pressed.stdout.strip()
    simulator.decide(request_id, "pay")
    beside = create_engine(f"sqlite:///{tmp_path / 'shop.db'}")
    with beside.begin() as connection:
        connection.execute(text("UPDATE aplus_payments SET next_call_at = created_at"))
    done = aplus("reconcile", "--threads", "2")
    assert done.returncode == 0, done.stderr
    assert "1 became final" in done.stdout
    with beside.begin() as connection:
        assert connection.execute(text("SELECT status FROM orders")).scalar_one() == "paid"
    beside.dispose()


@pytest.mark.process
def test_the_same_holds_with_psycopg2(postgres):
    """Django takes psycopg where it is installed, for the whole process."""
    pytest.importorskip("psycopg2")
    chosen = "postgresql and (orm or acknowledged or times or closed or deadlocks or refund)"
    command = [sys.executable, "-m", "pytest", "-p", "support.without_psycopg", __file__]
    command += ["-q", "-p", "no:cacheprovider", "-k", chosen]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    print("with psycopg2:", done.stdout.splitlines()[-1])


def columns_of(address):
    engine = create_engine(address)
    found = inspect(engine)
    names = sorted(name for name in found.get_table_names() if name.startswith("aplus_"))
    shape = {
        name: (
            [(c["name"], repr(c["type"]), c["nullable"]) for c in found.get_columns(name)],
            found.get_pk_constraint(name)["constrained_columns"],
            sorted((i["name"], *i["column_names"], i["unique"]) for i in found.get_indexes(name)),
            sorted(u["name"] for u in found.get_unique_constraints(name)),
            sorted(f["name"] or "" for f in found.get_foreign_keys(name)),
        )
        for name in names
    }
    engine.dispose()
    return shape


def test_the_migration_makes_exactly_the_tables_of_sqlstore(migrated, request, tmp_path):
    (tmp_path / "other").mkdir()
    other = new_database(migrated.partition(":")[0].partition("+")[0], tmp_path / "other", request)
    made = SQLStore(other)
    made.set_up()
    made.close()
    assert len(columns_of(migrated)) == 6
    assert columns_of(migrated) == columns_of(other)
    assert DjangoStore().missing() == []


def test_the_migration_can_be_undone_and_done_again(migrated, capsys):
    call_command("makemigrations", "--check", "--dry-run", "aplus_adapters")
    assert "No changes detected" in capsys.readouterr().out
    call_command("migrate", "aplus_adapters", "zero", verbosity=0)
    assert columns_of(migrated) == {}
    with pytest.raises(StoreError, match=r"no payments' tables.*manage\.py migrate"):
        DjangoStore().get("pay1")
    assert columns_of(migrated) == {}  # the first use makes nothing
    store = DjangoStore()
    store.set_up()
    assert store.get("pay1") is None
    django_databases.migrate()


def test_tables_that_sqlstore_has_made_are_kept(empty):
    old = SQLStore(empty)
    old.add(an_attempt(1, "A-1"))
    old.close()
    django_databases.migrate()
    assert DjangoStore().get("pay1") == an_attempt(1, "A-1")


def test_what_belongs_to_sqlstore_alone_says_what_to_use(store):
    with pytest.raises(ConfigurationError, match="use the ORM"):
        _ = store.engine
    with pytest.raises(ConfigurationError, match="expected the alias of a database"):
        DjangoStore(5)
    assert store.ddl() == Tables().ddl(store._database.dialect())


def test_nothing_of_a_payment_reaches_djangos_log_of_queries(ordered):
    with django.test.utils.CaptureQueriesContext(djangos) as queries:
        record(ordered, pay_for)
    assert any("orders" in one["sql"] for one in queries)
    assert not any("aplus_payments" in one["sql"] for one in queries)
