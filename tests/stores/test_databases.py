"""Databases as they are found: poolers, schemas, roles, settings, and those that are refused."""

import asyncio
import os
import shutil
import subprocess
import tempfile
import time
import types
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.orm import sessionmaker

from aplus_adapters import AsyncSQLStore, ConfigurationError, SQLStore, State, StoreError
from aplus_adapters.simulator.ports import ReservedPort
from aplus_adapters.stores import database, migrations
from aplus_adapters.stores.schema import TABLES
from aplus_adapters.stores.waiting import pause
from aplus_adapters.testing.store_contract import an_attempt as attempt
from aplus_adapters.testing.store_contract import an_observation as said
from aplus_adapters.testing.store_contract import nothing

# The rows of old versions have the driver alone that the package brings.
DRIVERS = [name for name in ("psycopg", "psycopg2") if find_spec(name)]


def pay(store, number=1):
    store.add(attempt(number, f"A-{number}"))
    store.record(f"pay{number}", said(), nothing)
    assert store.get(f"pay{number}").state is State.SUCCEEDED


def ask(address, question):
    engine = create_engine(address)
    with engine.connect() as connection:
        answer = connection.execute(text(question)).all()
    engine.dispose()
    return answer


class PgBouncer:
    """The real pooler in transaction mode, before one database."""

    def __init__(self, address):
        url = make_url(address)
        self.folder = Path(tempfile.mkdtemp(prefix="aplus-pgbouncer-"))
        self._port = ReservedPort()
        settings = self.folder / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\n{url.database} = host=127.0.0.1 port={url.port} user=postgres\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self._port.number}\n"
            "unix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 3\n"
            "so_reuseport = 1\n"
        )
        command = [shutil.which("pgbouncer") or "/usr/sbin/pgbouncer", str(settings)]
        if os.getuid() == 0:  # it refuses to run as root
            shutil.chown(self.folder, "postgres")
            settings.chmod(0o644)
            command = ["runuser", "-u", "postgres", "--", *command]
        self._port.release()
        self._log = (self.folder / "log").open("wb")
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log)
        self.address = url.set(port=self._port.number).render_as_string()
        deadline = time.monotonic() + 10
        while True:
            try:
                psycopg.connect(self.address.replace("+psycopg", "")).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise AssertionError((self.folder / "log").read_text()) from None
                time.sleep(0.1)

    def close(self):
        self._process.terminate()
        self._process.wait()
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.mark.process
@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("given", ["address", "engine"])
def test_behind_pgbouncer_in_transaction_mode_payments_are_right(postgres, driver, given):
    bouncer = PgBouncer(postgres.database())
    address = bouncer.address.replace("+psycopg", f"+{driver}")
    options = {"connect_args": {"prepare_threshold": None}} if driver == "psycopg" else {}
    store = SQLStore(address if given == "address" else create_engine(address, **options))
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: pay(store, number), range(40)))
    # What was set for a payment is not left behind for whoever gets the connection next.
    shown = ask(bouncer.address, "SELECT current_setting('statement_timeout')")
    assert shown == [("0",)]
    store.engine.dispose()
    bouncer.close()


@pytest.mark.process
@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_behind_pgbouncer_an_awaiting_store_is_right_or_says_which_driver_is(postgres, driver):
    bouncer = PgBouncer(postgres.database())
    store = AsyncSQLStore(bouncer.address.replace("+psycopg", f"+{driver}"))

    async def pay_one(eight, number):
        async def hook(_transition, _connection):
            await asyncio.sleep(0)

        async with eight:
            await store.add(attempt(number, f"A-{number}"))
            await store.record(f"pay{number}", said(), hook)
            return (await store.get(f"pay{number}")).state

    async def main():
        eight = asyncio.Semaphore(8)
        try:
            return set(await asyncio.gather(*(pay_one(eight, number) for number in range(40))))
        finally:
            await store.aclose()

    if driver == "psycopg":
        assert asyncio.run(main()) == {State.SUCCEEDED}
    else:  # its statements are prepared on one server and executed on another
        with pytest.raises(ConfigurationError, match=r"use postgresql\+psycopg"):
            asyncio.run(main())
    # What was set for a payment is not left behind for whoever gets the connection next.
    assert ask(bouncer.address, "SELECT current_setting('statement_timeout')") == [("0",)]
    bouncer.close()


@pytest.mark.parametrize("level", ["AUTOCOMMIT", "SERIALIZABLE"])
@pytest.mark.parametrize("driver", DRIVERS)
def test_each_driver_keeps_all_of_a_payment_or_nothing(postgres, driver, level):
    address = postgres.database().replace("+psycopg", f"+{driver}")
    engine = create_engine(address, isolation_level=level)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE mine (x INTEGER)"))
    store = SQLStore(engine)
    store.add(attempt())

    def broken(_transition, connection):
        connection.execute(text("INSERT INTO mine VALUES (1)"))
        raise RuntimeError("after the write")

    with pytest.raises(RuntimeError):
        store.record("pay1", said(), broken)
    assert store.get("pay1").state is State.CREATED
    assert ask(address, "SELECT * FROM mine") == []
    beside = create_engine(address)
    with beside.connect() as view, engine.connect() as own:
        view.execute(text("UPDATE aplus_payments SET wallet = 'x'"))
        with pytest.raises(StoreError, match="move this call of aplus_adapters"):
            store.record("pay1", said(), nothing)
        view.rollback()
        own.execute(text("INSERT INTO mine VALUES (2)"))  # the engine is what it was before
        assert ask(address, "SELECT x FROM mine") == ([(2,)] if level == "AUTOCOMMIT" else [])
    pay(store)
    beside.dispose()
    engine.dispose()


def test_the_addresss_own_options_hold(postgres):
    with_options = (
        postgres.database() + "?connect_timeout=4&options=-csearch_path%3Dmine%20"
        "-cstatement_timeout%3D1500"
    )
    ask_schema = create_engine(with_options)
    with ask_schema.begin() as connection:
        connection.execute(text("CREATE SCHEMA mine"))
    ask_schema.dispose()
    store = SQLStore(with_options)
    pay(store)
    with store.engine.connect() as connection:
        settings = connection.execute(
            text("SELECT current_setting('statement_timeout'), current_setting('lock_timeout')")
        ).one()
        timeout = connection.connection.dbapi_connection.info.get_parameters()["connect_timeout"]
    store.close()
    assert (settings, timeout) == (("1500ms", "2500ms"), "4")
    tables = ask(
        with_options.partition("?")[0],
        "SELECT DISTINCT schemaname FROM pg_tables WHERE tablename LIKE 'aplus_%'",
    )
    assert tables == [("mine",)]


@pytest.mark.parametrize("wrap", [lambda engine: engine, sessionmaker])
def test_translated_schemas_have_one_version_however_often_the_shop_starts(postgres, wrap):
    address = postgres.database()
    engine = create_engine(address)
    with engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA mine"))
    moved = engine.execution_options(schema_translate_map={None: "mine"})
    for number in range(3):
        pay(SQLStore(wrap(moved)), number)
    assert len(ask(address, "SELECT * FROM mine.aplus_schema")) == 1
    engine.dispose()


@pytest.mark.parametrize("create", [True, False])
def test_a_role_that_may_make_no_tables_takes_payments_once_they_are_there(postgres, create):
    address = postgres.database()
    url = make_url(address)
    name = f"clerk_{url.database}"
    admin = create_engine(address)
    with admin.begin() as connection:
        connection.execute(text(f"CREATE ROLE {name} LOGIN"))
    clerk = SQLStore(url.set(username=name).render_as_string(), create=create)
    refused = r"set_up\(\).*grant" if create else r"found no table.*set_up\(\)"
    with pytest.raises(StoreError, match=refused):
        clerk.get("pay1")
    SQLStore(admin).set_up()
    with admin.begin() as connection:
        for kind in ("TABLES", "SEQUENCES"):
            rights = "SELECT, INSERT, UPDATE" if kind == "TABLES" else "USAGE"
            connection.execute(text(f"GRANT {rights} ON ALL {kind} IN SCHEMA public TO {name}"))
    pay(clerk)
    clerk.close()
    with admin.begin() as connection:
        connection.execute(text(f"DROP OWNED BY {name}"))
        connection.execute(text(f"DROP ROLE {name}"))
    admin.dispose()


@pytest.mark.parametrize("given", ["address", "engine", "sessions"])
def test_a_payment_is_on_the_disk_before_it_is_acknowledged_whatever_the_database_says(
    postgres, given
):
    address = postgres.database()
    engine = create_engine(address)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        name = make_url(address).database
        connection.execute(text(f"ALTER DATABASE {name} SET synchronous_commit = off"))
    engine.dispose()
    store = SQLStore({"address": address, "engine": engine}.get(given) or sessionmaker(engine))
    store.add(attempt())
    shown = []

    def look(_transition, connection):
        query = text("SELECT current_setting('synchronous_commit')")
        shown.append(connection.execute(query).scalar())

    store.record("pay1", said(), look)
    assert shown == ["on"]
    with engine.connect() as connection:  # the shop's own work is as fast as it wants
        look(None, connection)
    assert shown == ["on", "off"]
    store.close()
    engine.dispose()


def test_eight_workers_migrate_while_a_payments_transaction_is_open(postgres, monkeypatch):
    """Buyers of the old workers are not held up by those that wait to migrate."""
    address = postgres.database()
    engine = create_engine(address, connect_args={"options": "-c lock_timeout=1500"})
    pay(SQLStore(engine))
    runs = []

    def add_a_column(connection, _tables):
        runs.append(connection)
        connection.execute(text("ALTER TABLE aplus_payments ADD COLUMN shoe_size INTEGER"))

    # There is one version so far; the next one will have to lock the busiest table like this.
    monkeypatch.setitem(migrations._MIGRATIONS, 1, add_a_column)
    monkeypatch.setattr(migrations, "SCHEMA_VERSION", 2)
    workers = [SQLStore(address) for _ in range(8)]
    touch = text("UPDATE aplus_payments SET wallet = wallet WHERE payment_request_id = 'pay2'")
    with engine.connect() as holder, ThreadPoolExecutor(8) as threads:
        holder.execute(text("UPDATE aplus_payments SET wallet = wallet"))
        started = [threads.submit(worker.get, "pay1") for worker in workers]
        for _ in range(4):
            with engine.begin() as buyer:
                buyer.execute(touch)
            time.sleep(1)  # longer altogether than a buyer waits for a lock
        assert not any(one.done() for one in started)
        holder.rollback()
        assert [one.result().state for one in started] == [State.SUCCEEDED] * 8
    assert ask(address, "SELECT * FROM aplus_schema") == [(2,)]
    assert ask(address, "SELECT shoe_size FROM aplus_payments") == [(None,)]
    assert runs
    for worker in workers:
        worker.close()
    engine.dispose()


@pytest.fixture
def slow_tables(monkeypatch):
    """Make the tables for longer than anybody waits for a connection of the pool."""

    def migrate(connection, tables, *, create):
        migrations.migrate(connection, tables, create=create)
        pause(4.5, is_async=connection.dialect.is_async)

    monkeypatch.setattr(database, "migrate", migrate)


def test_threads_that_wait_for_the_first_to_make_the_tables_keep_no_connection(
    postgres, slow_tables
):
    store = SQLStore(postgres.database())
    with ThreadPoolExecutor(40) as threads:
        added = threads.map(lambda number: store.add(attempt(number, f"A-{number}")), range(40))
        assert len({one.order_ref for one in added}) == 40
    store.close()


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_tasks_that_wait_for_the_first_to_make_the_tables_keep_no_connection(
    postgres, slow_tables, driver
):
    async def main():
        store = AsyncSQLStore(postgres.database().replace("+psycopg", f"+{driver}"))
        tasks = (store.add(attempt(number, f"A-{number}")) for number in range(40))
        added = {one.order_ref for one in await asyncio.gather(*tasks)}
        await store.aclose()
        return added

    assert len(asyncio.run(main())) == 40


def test_a_thread_that_waits_for_tables_in_vain_says_who_makes_them(
    postgres, slow_tables, monkeypatch
):
    monkeypatch.setattr(database, "_MIGRATE_WITHIN", 0.1)
    store = SQLStore(postgres.database())
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(store.add, attempt())
        while not store._database._migrating or not store.engine.pool.checkedout():
            time.sleep(0.01)
        time.sleep(0.3)
        with pytest.raises(StoreError, match=r"another thread or task makes.*within 0\.1 s"):
            store.get("pay1")
        assert first.result().order_ref == "A-1"
    assert store.get("pay1").order_ref == "A-1"
    store.close()


ADDRESSES = {
    "oracle+oracledb://x:secret@host/y": "kind oracle, expected sqlite, postgresql, mysql or mariadb",
    "mysql+mysqldb://x:secret@host/y": "the driver mysql.mysqldb, expected mysql.pymysql",
    "mariadb+mysqlconnector://x:secret@host/y": "the driver mariadb.mysqlconnector",
    "mysql+asyncmy://x:secret@host/y": "async driver mysql.asyncmy.*AsyncSQLStore takes this kind",
    "mysql+aiomysql://x:secret@host/y": "async driver mysql.aiomysql",
    "mssql+pyodbc://x:secret@host/y": "kind mssql",
    "postgresql+asyncpg://x:secret@host/y": "async driver postgresql.asyncpg",
    "sqlite+aiosqlite:///y.db": "async driver sqlite.aiosqlite",
    "postgresql+pg8000://x:secret@host/y": "driver postgresql.pg8000",
    "nonsense+x://x:secret@host/y": "cannot use the database address",
    "x:secret@host": "found text that is not one",
}


class MicrosoftSQL(types.ModuleType):
    """As much of a driver as an engine asks for when it is made."""

    paramstyle, Error, version, Cursor = "qmark", RuntimeError, "5.0", object


@pytest.mark.parametrize("wrap", [lambda engine: engine, sessionmaker])
def test_the_shops_own_engine_of_another_database_is_refused_by_name(wrap):
    engine = create_engine("mssql+pyodbc://x:secret@dsn", module=MicrosoftSQL("pyodbc"))
    with pytest.raises(ConfigurationError, match="kind mssql, expected sqlite, postgresql, mysql"):
        SQLStore(wrap(engine))
    binds = dict.fromkeys(TABLES.metadata.tables.values(), engine)
    with pytest.raises(ConfigurationError, match="kind mssql, expected sqlite, postgresql, mysql"):
        SQLStore(sessionmaker(binds=binds)).get("pay1")


# By numbers: a name such as mysql would count these as tests that ask a server.
@pytest.mark.parametrize("address", ADDRESSES, ids=map(str, range(len(ADDRESSES))))
def test_what_payments_cannot_be_kept_in_is_refused_by_name_at_construction(address):
    with pytest.raises(ConfigurationError, match=ADDRESSES[address]) as refused:
        SQLStore(address)
    assert "secret" not in str(refused.value)
