"""Connections that the server closed while they lay in a pool: no buyer and no notification notices."""

import asyncio
import time

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.orm import sessionmaker

from aplus_adapters import AsyncSQLStore, SQLStore, State
from aplus_adapters.stores import watchdog
from aplus_adapters.testing.store_values import LATER, an_attempt, an_observation, nothing
from support.databases import end_connections

CALLS = {
    "a page": lambda store: store.get("pay1"),
    "a press": lambda store: store.add(an_attempt()),
    "a claim": lambda store: store.claim("pay1", 0, LATER),
    "a notification": lambda store: store.record("pay1", an_observation(), nothing).became_final,
}


@pytest.mark.parametrize("given", ["address", "engine", "sessions"])
def test_a_restart_of_the_database_between_two_calls_costs_no_error(server_database, given):
    address = server_database
    engine, admin = create_engine(address), create_engine(address)
    store = SQLStore({"address": address, "engine": engine}.get(given) or sessionmaker(engine))
    store.add(an_attempt())
    outcomes = {}
    for name, call in CALLS.items():
        assert end_connections(admin) == 1, "no connection lay in the pool"
        outcomes[name] = bool(call(store))
    assert outcomes == dict.fromkeys(CALLS, True)
    assert store.get("pay1").state is State.SUCCEEDED
    assert len(store.history("pay1")) == 1
    store.close()
    for one in (engine, admin):
        one.dispose()


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_shops_connection_of_our_engine_may_rest_after_its_transaction(
    postgres, monkeypatch, end
):
    """Nothing is asked of the server then, so a frozen one cannot be the reason."""
    monkeypatch.setattr(watchdog, "_GRACE", 0.05)
    address = f"{postgres.database()}?options=-c%20statement_timeout%3D200"
    store = SQLStore(address)
    store.set_up()
    with store.engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        getattr(connection, end)()
        time.sleep(1)
        assert connection.execute(text("SELECT 2")).scalar() == 2
    store.close()


INSERT = text("INSERT INTO orders VALUES (1)")
COUNT = text("SELECT count(*) FROM orders")


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_after_a_statement_of_ours_that_was_alone_our_engine_has_transactions(postgres, driver):
    pytest.importorskip(driver)
    store = SQLStore(postgres.database().replace("+psycopg", f"+{driver}"))
    with store.engine.begin() as connection:
        connection.execute(text("CREATE TABLE orders (x INTEGER)"))
    for ours in (lambda: store.get("pay1"), lambda: store.add(an_attempt())):
        ours()
        with store.engine.connect() as connection:
            connection.execute(INSERT)
            connection.rollback()
            assert connection.execute(COUNT).scalar() == 0
    store.close()


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_after_such_a_statement_an_awaiting_engine_has_them_too(postgres, driver):
    pytest.importorskip(driver)

    async def main():
        store = AsyncSQLStore(postgres.database().replace("+psycopg", f"+{driver}"))
        await store.set_up()
        async with store.engine.begin() as connection:
            await connection.execute(text("CREATE TABLE orders (x INTEGER)"))
        for ours in (lambda: store.get("pay1"), lambda: store.add(an_attempt())):
            await ours()
            async with store.engine.connect() as connection:
                await connection.execute(INSERT)
                await connection.rollback()
                assert (await connection.execute(COUNT)).scalar() == 0
        await store.aclose()

    asyncio.run(main())
