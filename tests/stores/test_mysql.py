"""MySQL's and MariaDB's own matters: blanks, snapshots, DDL that commits, settings of the server."""

import asyncio
import logging
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import create_engine, event, inspect, make_url, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import sessionmaker

from aplus_adapters import (
    AplusError,
    AsyncSQLStore,
    ConfigurationError,
    Outcome,
    SQLStore,
    State,
    StoreError,
)
from aplus_adapters.stores import metadata
from aplus_adapters.testing.store_contract import an_attempt as attempt
from aplus_adapters.testing.store_contract import an_observation as said
from aplus_adapters.testing.store_contract import nothing

pytest.importorskip("pymysql")
PATIENCE = 5.0


@pytest.fixture
def database(mysql):
    return mysql.database()


def engine_of(address, **options):
    engine = create_engine(address, **options)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE mine (x INTEGER PRIMARY KEY, n INTEGER)"))
        connection.execute(text("INSERT INTO mine VALUES (1, 0), (2, 0)"))
    return engine


def numbers(engine):
    with engine.connect() as connection:
        return connection.execute(text("SELECT n FROM mine ORDER BY x")).scalars().all()


@pytest.mark.parametrize("scheme", ["mysql", "mariadb"])
def test_every_table_keeps_transactions_and_compares_each_character(database, mysql, scheme):
    SQLStore(database.replace("mysql+", f"{scheme}+")).set_up()
    name = make_url(database).database
    tables = "SELECT DISTINCT engine FROM information_schema.tables WHERE table_schema = '{}'"
    assert mysql.run(tables.format(name)) == (("InnoDB",),)
    texts = (
        "SELECT DISTINCT collation_name FROM information_schema.columns "
        "WHERE table_schema = '{}' AND collation_name IS NOT NULL"
    )
    assert mysql.run(texts.format(name)) == (("utf8mb4_nopad_bin",),)


def after_begin_reads(engine):
    """Make sessions of a shop that reads when each begins, such as the tenant's settings."""
    sessions = sessionmaker(engine)

    @event.listens_for(sessions, "after_begin")
    def reads(session, _transaction, connection):
        connection.execute(text("SELECT count(*) FROM mine")).scalar()

    return sessions


def test_a_transaction_that_reads_old_rows_is_refused_with_what_to_do(database):
    """Its snapshot is older than the lock: a payment that was paid meanwhile would be paid again."""
    engine = engine_of(database)
    SQLStore(engine).add(attempt())
    with pytest.raises(ConfigurationError, match="isolation_level='READ COMMITTED'"):
        SQLStore(after_begin_reads(engine)).record("pay1", said(), nothing)
    assert SQLStore(engine).get("pay1").state is State.CREATED
    engine.dispose()


@pytest.mark.parametrize("level", ["READ COMMITTED", "SERIALIZABLE"])
def test_of_eight_that_read_before_they_lock_one_pays(database, level):
    engine = engine_of(database, isolation_level=level, pool_size=20)
    store, paid = SQLStore(after_begin_reads(engine)), []

    def slow(_transition, _session):
        paid.append(True)
        time.sleep(0.05)

    for number in range(3):
        store.add(attempt(number, f"A-{number}"))
        with ThreadPoolExecutor(8) as threads:
            name = f"pay{number}"
            made = list(threads.map(lambda _, n=name: store.record(n, said(), slow), range(8)))
        assert [one.became_final for one in made].count(True) == 1
    assert len(paid) == 3
    engine.dispose()


def test_a_hook_whose_ddl_commits_gets_no_acknowledgement(database):
    engine = engine_of(database)
    store = SQLStore(engine)
    store.add(attempt())

    def hook(_transition, connection):
        connection.execute(text("CREATE TABLE other (x INTEGER)"))
        connection.execute(text("UPDATE mine SET n = 5"))

    with pytest.raises(StoreError, match="must not commit or roll back"):
        store.record("pay1", said(), hook)
    assert numbers(engine) == [0, 0]
    engine.dispose()


def test_a_hook_that_catches_its_deadlock_gets_no_acknowledgement(database):
    """The server has rolled the payment back: what the hook writes then would be kept alone."""
    engine = engine_of(database)
    store = SQLStore(engine)
    store.add(attempt())
    touch = "UPDATE mine SET n = n + 1 WHERE x = {}"
    with engine.connect() as job, ThreadPoolExecutor(1) as threads:
        job.execute(text(touch.format(1)))
        filler = [{"x": number} for number in range(10, 200)]
        job.execute(text("INSERT INTO mine VALUES (:x, 0)"), filler)  # so that the other goes back

        def hook(_transition, connection):
            connection.execute(text(touch.format(2)))
            threads.submit(lambda: (job.execute(text(touch.format(2))), job.rollback()))
            time.sleep(0.2)
            with pytest.raises(OperationalError, match="1213"):
                connection.execute(text(touch.format(1)))
            connection.execute(text("INSERT INTO mine VALUES (3, 9)"))

        with pytest.raises(StoreError, match="a deadlock rolls back"):
            store.record("pay1", said(), hook)
    assert numbers(engine) == [0, 0]
    assert store.get("pay1").state is State.CREATED
    assert store.record("pay1", said(), nothing).became_final
    engine.dispose()


SETTINGS = (
    "SELECT @@innodb_lock_wait_timeout, @@lock_wait_timeout, @@max_statement_time, @@sql_mode, "
    "@@autocommit, @@tx_isolation"
)


def test_the_shops_own_engine_is_what_it_was_after_a_payment(database):
    engine = engine_of(database, pool_size=1, connect_args={"init_command": "SET sql_mode = ''"})
    with engine.connect() as connection:
        before = connection.execute(text(SETTINGS)).one()
    inside = []
    store = SQLStore(engine)
    store.add(attempt())
    store.record("pay1", said(), lambda _, c: inside.append(c.execute(text(SETTINGS)).one()))
    assert tuple(inside[0][:5]) == (2, 2, 3.0, "STRICT_TRANS_TABLES", 0)
    with engine.connect() as connection:
        assert connection.execute(text(SETTINGS)).one() == before
        # In it a row is seen as it was at the first look, as the shop expects.
        connection.execute(text("SELECT n FROM mine")).all()
        with create_engine(database).begin() as other:
            other.execute(text("UPDATE mine SET n = 7"))
        assert connection.execute(text("SELECT n FROM mine")).scalars().all() == [0, 0]
    engine.dispose()


@pytest.mark.parametrize("given", ["address", "engine", "sessions"])
def test_a_value_that_is_too_long_is_never_cut(database, given):
    """A server without strict mode would keep its first part, with nothing but a warning."""
    engine = create_engine(database, connect_args={"init_command": "SET sql_mode = ''"})
    lax = database + "?init_command=SET%20sql_mode%3D''"
    store = SQLStore({"address": lax, "engine": engine}.get(given) or sessionmaker(engine))
    with pytest.raises(StoreError, match="DataError"):
        store.add(attempt(order_ref="A" * 65))
    assert store.get("pay1") is None
    store.close()
    engine.dispose()


def test_connections_that_count_only_what_changed_are_refused(database):
    import pymysql

    url = make_url(database)

    def connect():
        return pymysql.connect(
            host=url.host, port=url.port, user=url.username, password=url.password,
            database=url.database,
        )  # fmt: skip

    engine = create_engine("mysql+pymysql://", creator=connect)
    with pytest.raises(ConfigurationError, match=r"client_flag=CLIENT\.FOUND_ROWS"):
        SQLStore(engine).get("pay1")
    engine.dispose()


def test_an_order_never_gets_more_attempts_than_its_limit_however_fast_they_end(database):
    store = SQLStore(database)

    def press(number):
        mine = attempt(number)
        try:
            if store.add(mine, 5, mine.created_at) == mine:
                store.record(mine.payment_request_id, said(Outcome.FAILED), nothing)
        except AplusError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(8) as threads:
        refusals = {*threads.map(press, range(60))} - {""}
    kept = [number for number in range(60) if store.get(f"pay{number}") is not None]
    assert len(kept) == 5
    assert refusals
    store.close()


def test_a_worker_that_dies_while_it_makes_the_tables_is_no_obstacle(database):
    """Each CREATE is kept by itself: the next worker makes what is missing, with every index."""
    url = make_url(database)
    reached = 0
    while True:
        engine = create_engine(url)
        left = [reached]

        @event.listens_for(engine, "before_cursor_execute")
        def dies(_connection, _cursor, statement, *_, left=left):
            if statement.lstrip().startswith(("CREATE", "INSERT")):
                left[0] -= 1
                if left[0] < 0:
                    raise KeyboardInterrupt

        try:
            SQLStore(engine).set_up()
        except KeyboardInterrupt:
            reached += 1
        else:
            break
        finally:
            engine.dispose()
        SQLStore(database).set_up()
        engine = create_engine(url)
        looked = inspect(engine)
        for table in metadata.tables.values():
            there = {index["name"] for index in looked.get_indexes(table.name)}
            assert {index.name for index in table.indexes} <= there
        with engine.begin() as connection:
            assert connection.execute(text("SELECT version FROM aplus_schema")).all() == [(1,)]
            metadata.drop_all(connection)
        engine.dispose()
    assert reached >= len(metadata.tables)


def test_a_worker_waits_for_the_one_that_makes_the_tables_and_for_no_dead_one(database):
    engine = create_engine(database)
    name = f"aplus_schema.{engine.url.database}"
    with engine.connect() as making, ThreadPoolExecutor(1) as threads:
        making.execute(text("SELECT get_lock(:name, 0)"), {"name": name})
        waiting = threads.submit(SQLStore(database).set_up)
        time.sleep(2)
        assert not waiting.done()
        assert inspect(engine).get_table_names() == []
        making.invalidate()  # it is gone, and never released anything
        waiting.result(PATIENCE)
    engine.dispose()


def test_of_workers_that_start_at_once_one_says_that_the_tables_are_there(database):
    stores = [SQLStore(database) for _ in range(3)]
    for store in stores:
        event.listen(store.engine, "commit", lambda _: time.sleep(0.5))
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(SQLStore.set_up, stores))
    engine = create_engine(database)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT version FROM aplus_schema")).all() == [(1,)]
    engine.dispose()
    for store in stores:
        store.close()


def test_a_user_that_may_make_no_tables_is_told_what_to_grant(database, mysql):
    url = make_url(database)
    name = url.database
    mysql.run(f"CREATE USER clerk_{name}@'127.0.0.1' IDENTIFIED BY 'x'")
    mysql.run(f"GRANT SELECT, INSERT, UPDATE ON {name}.* TO clerk_{name}@'127.0.0.1'")
    clerk = SQLStore(url.set(username=f"clerk_{name}").render_as_string(hide_password=False))
    with pytest.raises(StoreError, match=r"set_up\(\).*grant"):
        clerk.get("pay1")
    SQLStore(database).set_up()
    clerk.add(attempt())
    assert clerk.record("pay1", said(), nothing).became_final
    clerk.close()


def test_a_server_that_may_lose_what_it_has_committed_is_warned_of_once(mysql, caplog):
    mysql.run("SET GLOBAL innodb_flush_log_at_trx_commit = 2")
    try:
        with caplog.at_level(logging.WARNING):
            store = SQLStore(mysql.database())
            for number in range(3):
                store.add(attempt(number, f"A-{number}"))
            store.close()
    finally:
        mysql.run("SET GLOBAL innodb_flush_log_at_trx_commit = 1")
    (line,) = caplog.messages
    assert "innodb_flush_log_at_trx_commit=2, expected 1" in line


SECRET = "Pat O'Neill for key x"
BREAKING = {
    "a duplicate": "INSERT INTO names VALUES (:name)",
    "a wrong type": "INSERT INTO mine SELECT 9, :name + 1",
    "no SQL": "INSERT INTO mine :name",
    "over two lines": "INSERT INTO mine\n:name",
}


@pytest.mark.parametrize("statement", BREAKING.values(), ids=BREAKING)
def test_no_error_of_a_statement_shows_what_it_wrote(database, statement):
    engine = engine_of(database)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE names (name VARCHAR(64) PRIMARY KEY)"))
        connection.execute(text("INSERT INTO names VALUES (:name)"), {"name": SECRET})
    store = SQLStore(engine)
    store.add(attempt())
    with pytest.raises(StoreError) as refused:
        store.record("pay1", said(), lambda _, c: c.execute(text(statement), {"name": SECRET}))
    shown = "".join(traceback.format_exception(refused.value))
    assert "Pat" not in shown
    assert "Neill" not in shown
    engine.dispose()


@pytest.mark.parametrize("moment", ["at the first connection", "in the pool", "at work"])
def test_a_frozen_server_is_given_up_in_time_by_who_awaits(mysql, moment):
    pytest.importorskip("asyncmy")
    address = mysql.database().replace("pymysql", "asyncmy")

    async def scenario():
        store = AsyncSQLStore(address)
        if moment != "at the first connection":
            await store.add(attempt())
        if moment == "in the pool":
            await asyncio.sleep(1.2)
        mysql.freeze()
        started = time.monotonic()
        try:
            with pytest.raises(StoreError):
                await store.get("pay1")
            assert time.monotonic() - started < PATIENCE
        finally:
            mysql.thaw()
        assert (await store.get("pay1") is None) == (moment == "at the first connection")
        await store.aclose()

    asyncio.run(scenario())
