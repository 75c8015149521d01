"""Each rule of a connection to PostgreSQL: its time-outs, its transactions, and what its errors mean.

These rows are quick, so that faults in `postgresql.py`, `watchdog.py` and `loop_engines.py` can be
tried with them (`tests/mutation.py`). What takes seconds is in `test_dead_connections.py`.
"""

import asyncio
import gc
import select
import time

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from aplus_adapters import AsyncSQLStore, ConfigurationError, SQLStore, State, StoreError
from aplus_adapters.stores import watchdog
from aplus_adapters.stores.connection_info import INFO_TIME_LIMIT
from aplus_adapters.stores.loop_engines import _drop
from aplus_adapters.testing.store_values import an_attempt, an_observation, nothing

SETTINGS = ("lock_timeout", "statement_timeout", "synchronous_commit")
OURS = ["2500ms", "3s", "on"]


@pytest.fixture(params=["psycopg", "psycopg2"])
def address(request, postgres):
    pytest.importorskip(request.param)
    return postgres.database().replace("psycopg", request.param)


@pytest.fixture
def store(address):
    made = SQLStore(address)
    yield made
    made.close()


def settings(connection):
    return [connection.execute(text(f"SHOW {name}")).scalar_one() for name in SETTINGS]


def settle(store, inside=nothing):
    """Store a payment and record that it was paid; return its state."""
    store.add(an_attempt())
    store.record("pay1", an_observation(), inside)
    return store.get("pay1").state


def with_options(address, *options):
    return f"{address}?options=" + "%20".join(
        f"-c%20{option.replace('=', '%3D')}" for option in options
    )


def test_each_new_connection_has_our_time_outs_and_no_transaction(store):
    with store.engine.connect() as connection:
        driver = connection.connection.dbapi_connection
        assert (driver.autocommit, connection.info[INFO_TIME_LIMIT]) == (False, 3.0)
        assert driver.info.transaction_status == 0
        assert settings(connection) == OURS
        assert driver.info.transaction_status == 2
        if hasattr(driver, "prepare_threshold"):
            assert driver.prepare_threshold == 5


@pytest.mark.parametrize(
    ("options", "expected", "limit"),
    [
        (["statement_timeout=800", "lock_timeout=700"], ["700ms", "800ms", "on"], 0.8),
        (["statement_timeout=9000"], ["2500ms", "9s", "on"], 9.0),
        (["lock_timeout=9000"], ["9s", "3s", "on"], 3.0),
        (["synchronous_commit=off"], OURS, 3.0),
        (["synchronous_commit=local"], ["2500ms", "3s", "local"], 3.0),
    ],
)
def test_a_time_out_in_the_address_is_kept(address, options, expected, limit):
    store = SQLStore(with_options(address, *options))
    with store.engine.connect() as connection:
        assert settings(connection) == expected
        assert connection.info[INFO_TIME_LIMIT] == limit
    assert settle(store) is State.SUCCEEDED
    store.close()


@pytest.mark.parametrize(
    ("options", "inside"),
    [
        ([], OURS),
        (["statement_timeout=800", "lock_timeout=700"], ["700ms", "800ms", "on"]),
        (["statement_timeout=9000", "lock_timeout=9000"], OURS),
        (["statement_timeout=3000", "lock_timeout=2500"], OURS),
        (
            ["statement_timeout=1", "lock_timeout=1", "synchronous_commit=local"][1:],
            ["1ms", "3s", "local"],
        ),
        (["synchronous_commit=off"], OURS),
    ],
)
def test_each_transaction_on_the_shops_engine_has_our_time_outs_or_lower_ones(
    address, options, inside
):
    engine = create_engine(
        address, connect_args={"options": " ".join(f"-c {one}" for one in options)}
    )
    with engine.connect() as connection:
        before = settings(connection)
    store, seen = SQLStore(engine), []
    assert settle(store, lambda _, connection: seen.extend(settings(connection))) is State.SUCCEEDED
    assert seen == inside
    with engine.connect() as connection:
        assert settings(connection) == before
    engine.dispose()


def test_an_autocommit_engine_gets_a_transaction_and_is_autocommit_again_after_it(address):
    engine = create_engine(address, isolation_level="AUTOCOMMIT")
    store, seen = SQLStore(engine), []

    def inside(_transition, connection):
        driver = connection.connection.dbapi_connection
        seen.append((driver.autocommit, driver.info.transaction_status))

    assert settle(store, inside) is State.SUCCEEDED
    assert seen == [(False, 2)]
    with engine.connect() as connection:
        assert connection.connection.dbapi_connection.autocommit is True
    engine.dispose()


class Raising:
    """A hook whose statement ends with this SQLSTATE, the first time or each time."""

    def __init__(self, state, times):
        self.state, self.left, self.calls = state, times, 0

    def __call__(self, _transition, connection):
        self.calls += 1
        if self.left:
            self.left -= 1
            raising = f"DO $$ BEGIN RAISE SQLSTATE '{self.state}'; END $$"
            connection.exec_driver_sql(raising)


@pytest.mark.parametrize("state", ["40001", "40P01"])
def test_what_postgresql_rolled_back_is_repeated(store, state):
    hook = Raising(state, 2)
    assert settle(store, hook) is State.SUCCEEDED
    assert hook.calls == 3


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("55P03", "store record: waited too long for a lock of another open transaction"),
        ("57014", "store record: waited too long for a lock of another open transaction"),
        ("42501", "this role lacks the permission; let a role that may make tables"),
        ("P0001", "expected a working database with the tables"),
    ],
)
def test_an_error_of_postgresql_is_said_by_what_it_means(store, state, said):
    store.add(an_attempt())
    hook = Raising(state, 1)
    with pytest.raises(StoreError) as error:
        store.record("pay1", an_observation(), hook)
    assert said in str(error.value)
    assert hook.calls == 1
    assert store.get("pay1").state is State.CREATED


def commits(_transition, connection):
    connection.exec_driver_sql("COMMIT")


def goes_on_after_an_error(_transition, connection):
    with pytest.raises(DBAPIError):
        connection.exec_driver_sql("SELECT 1/0")


@pytest.mark.parametrize("hook", [commits, goes_on_after_an_error])
def test_a_transaction_that_the_hook_ended_or_spoilt_is_an_error(store, hook):
    store.add(an_attempt())
    with pytest.raises(StoreError):
        store.record("pay1", an_observation(), hook)
    if hook is goes_on_after_an_error:
        assert store.get("pay1").state is State.CREATED


def test_a_connection_is_checked_after_a_rest_and_a_dead_one_replaced(store, postgres, monkeypatch):
    monkeypatch.setattr(watchdog, "_MOST_UNCHECKED", -1.0)
    assert settle(store) is State.SUCCEEDED
    with store.engine.connect() as connection:
        first = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        driver = connection.connection.dbapi_connection
    with store.engine.connect() as connection:  # checked, alive and ready
        assert connection.connection.dbapi_connection is driver
        assert (driver.autocommit, driver.info.transaction_status) == (False, 0)
    with postgres._connect() as admin:
        admin.execute(f"SELECT pg_terminate_backend({first}, 5000)")
    with store.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one() != first
    assert store.get("pay1").state is State.SUCCEEDED


def test_a_statement_is_cut_after_its_time_and_no_other_one_is(store, monkeypatch):
    monkeypatch.setattr(watchdog, "_GRACE", 0.05)
    monkeypatch.setattr(watchdog, "_INTERVAL", 0.02)
    began = time.monotonic()
    with store.engine.connect() as connection:
        connection.info[INFO_TIME_LIMIT] = 0.2
        connection.exec_driver_sql("SET statement_timeout = 0")
        connection.exec_driver_sql("SELECT 1")
        time.sleep(0.5)  # it rests, so nothing is cut
        connection.exec_driver_sql("SELECT pg_sleep(0.05)")
        with pytest.raises(DBAPIError) as error:
            connection.exec_driver_sql("SELECT pg_sleep(30)")
        assert error.value.connection_invalidated
    assert time.monotonic() - began < 10
    assert settle(store) is State.SUCCEEDED


def test_an_answer_that_a_busy_process_has_not_read_yet_is_no_reason_to_cut(postgres, monkeypatch):
    """Threads of a busy process wait for their turn while the server has answered long ago."""
    monkeypatch.setattr(watchdog, "_INTERVAL", 0.02)
    store, guard = SQLStore(postgres.database()), watchdog.Watchdog()
    with store.engine.connect() as connection:
        driver = connection.connection.dbapi_connection
        driver.pgconn.send_query(b"SELECT 8")
        assert select.select([driver], [], [], 5)[0]
        guard.watch(driver, 0.05)
        time.sleep(0.4)
        assert driver.pgconn.get_result().get_value(0, 0) == b"8"
        assert driver.pgconn.get_result() is None
        guard.leave(driver)
        assert connection.exec_driver_sql("SELECT 8").scalar_one() == 8
        guard.watch(driver, 0.05)
        time.sleep(0.4)  # nothing comes
        with pytest.raises(DBAPIError):
            connection.exec_driver_sql("SELECT 9")
    store.close()


def test_a_limit_of_nothing_is_no_limit(store, monkeypatch):
    monkeypatch.setattr(watchdog, "_GRACE", -1.0)
    monkeypatch.setattr(watchdog, "_INTERVAL", 0.02)
    with store.engine.connect() as connection:
        connection.info[INFO_TIME_LIMIT] = 0
        connection.exec_driver_sql("SET statement_timeout = 0")
        assert connection.exec_driver_sql("SELECT pg_sleep(0.2), 7").one()[1] == 7


def test_a_migration_may_take_a_minute_for_a_statement(store):
    from aplus_adapters.stores import postgresql

    with store.engine.connect() as connection, connection.begin():
        with postgresql.long_statements(connection):
            assert settings(connection)[1] == "1min"
            assert connection.info[INFO_TIME_LIMIT] == 60.0
        assert connection.info[INFO_TIME_LIMIT] == 3.0
        connection.info[INFO_TIME_LIMIT] = 0
        with postgresql.long_statements(connection):
            assert connection.info[INFO_TIME_LIMIT] == 0
        assert connection.info[INFO_TIME_LIMIT] == 0


class TestAwaiting:
    """The same rules by the drivers that await."""

    @pytest.fixture(params=["psycopg", "asyncpg"])
    def address(self, request, postgres):
        pytest.importorskip(request.param)
        pytest.importorskip("greenlet")
        return postgres.database().replace("psycopg", request.param)

    def test_a_payment_is_settled_with_our_time_outs(self, address):
        seen = []

        async def inside(_transition, connection):
            seen.extend(
                [(await connection.execute(text(f"SHOW {name}"))).scalar_one() for name in SETTINGS]
            )

        async def main():
            store = AsyncSQLStore(address)
            await store.add(an_attempt())
            await store.record("pay1", an_observation(), inside)
            assert (await store.get("pay1")).state is State.SUCCEEDED
            await store.aclose()

        asyncio.run(main())
        assert seen == OURS

    @pytest.mark.parametrize("hook", ["commits", "goes on after an error", "is repeated"])
    def test_a_hook_that_ends_its_transaction_is_an_error_and_a_deadlock_is_repeated(
        self, address, hook
    ):
        calls = []

        async def inside(_transition, connection):
            calls.append(hook)
            if hook == "commits":
                await connection.commit()
            elif hook == "is repeated" and len(calls) == 1:
                await connection.exec_driver_sql("DO $$ BEGIN RAISE SQLSTATE '40P01'; END $$")
            elif hook == "goes on after an error":
                with pytest.raises(DBAPIError):
                    await connection.exec_driver_sql("SELECT 1/0")

        async def main():
            store = AsyncSQLStore(address)
            await store.add(an_attempt())
            try:
                await store.record("pay1", an_observation(), inside)
                return (await store.get("pay1")).state
            except StoreError:
                return "an error"
            finally:
                await store.aclose()

        assert asyncio.run(main()) == (State.SUCCEEDED if hook == "is repeated" else "an error")
        assert len(calls) == (2 if hook == "is repeated" else 1)

    def test_a_statement_is_cut_after_its_time(self, address, monkeypatch):
        monkeypatch.setattr(watchdog, "_GRACE", 0.05)
        monkeypatch.setattr(watchdog, "_INTERVAL", 0.02)

        async def main():
            store = AsyncSQLStore(address)
            await store.get("pay1")
            async with asyncio.timeout(10), store.engine.connect() as connection:
                await connection.exec_driver_sql("SET statement_timeout = 0")
                connection.sync_connection.info[INFO_TIME_LIMIT] = 0.1
                with pytest.raises(DBAPIError):
                    await connection.exec_driver_sql("SELECT pg_sleep(30)")
            await store.aclose()

        asyncio.run(main())

    # The loop was closed without a word to its transports, which is what is tried.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    @pytest.mark.filterwarnings("ignore::ResourceWarning")
    def test_the_connections_of_a_loop_that_ended_are_dropped_by_the_next_one(
        self, address, postgres
    ):
        store = AsyncSQLStore(address)
        name = address.rpartition("/")[2]

        def connected():
            with postgres._connect() as admin:
                query = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}'"
                return admin.execute(query).fetchone()[0]

        loop = asyncio.new_event_loop()
        loop.run_until_complete(store.get("pay1"))
        assert connected() == 1
        loop.close()  # without shutdown_asyncgens, as some servers do

        async def main():
            await store.get("pay1")
            await store.aclose()

        asyncio.run(main())
        until = time.monotonic() + 5
        while connected() and time.monotonic() < until:
            time.sleep(0.02)
        assert connected() == 0
        assert store._store._database._engines._of_loop == {}
        del loop
        gc.collect()

    def test_a_store_outside_a_loop_says_what_to_do(self, address):
        with pytest.raises(ConfigurationError, match="found no running event loop of asyncio"):
            _ = AsyncSQLStore(address).engine


def test_a_connection_that_cannot_be_dropped_disturbs_nobody():
    class Broken:
        def terminate(self):
            raise OSError("gone")

    _drop(Broken())
