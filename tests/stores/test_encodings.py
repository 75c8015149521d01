"""Every character that Alipay+ may send is kept, or the store is refused before anybody pays.

A database or a connection in another encoding takes ASCII for years. The first payment whose
message has another character then could not be stored, and would be acknowledged never.
"""

import asyncio

import pytest
from attrs import evolve
from sqlalchemy import create_engine
from sqlalchemy.orm import sessionmaker

from aplus_adapters import AsyncSQLStore, ConfigurationError, SQLStore
from aplus_adapters.testing.store_values import an_attempt, an_observation, nothing

TEXT = "支付宝 🎉 é"
# Encodings that an address or the environment asks for, of our own connections.
ASKED = {
    "postgresql": ("client_encoding", ["latin1", "sql_ascii", "utf8"]),
    "mysql": ("charset", ["latin1", "utf8", "utf8mb3", "gbk", "utf8mb4"]),
}
ROWS = [(kind, asked) for kind, (_, encodings) in ASKED.items() for asked in encodings]
NAMED = {
    "postgresql": "found client_encoding LATIN1, expected UTF8",
    "mysql": r"found character_set_client \w+, expected utf8mb4.*charset=utf8mb4",
}
MADE = ["LATIN1", "SQL_ASCII", "EUC_JP"]


def new_address(request, kind):
    return request.getfixturevalue({"postgresql": "postgres"}.get(kind, kind)).database()


def observation():
    made = an_observation()
    return evolve(made, wallet=TEXT, result=evolve(made.result, result_message=TEXT))


def check(attempt):
    assert attempt.wallet == attempt.result.result_message == TEXT


def keep(store):
    store.add(an_attempt(order_ref=TEXT))
    store.record("pay1", observation(), nothing)
    check(store.latest(TEXT))
    store.close()


async def awaited_nothing(_transition, _connection):
    """Do nothing, as a hook that awaits."""


async def keep_awaiting(store):
    await store.add(an_attempt(order_ref=TEXT))
    await store.record("pay1", observation(), awaited_nothing)
    check(await store.latest(TEXT))
    await store.aclose()


@pytest.mark.parametrize(("kind", "asked"), ROWS)
def test_our_own_connections_carry_every_character_whatever_the_address_says(request, kind, asked):
    address = f"{new_address(request, kind)}?{ASKED[kind][0]}={asked}"
    keep(SQLStore(address))
    awaiting = address.replace("pymysql", "asyncmy")
    asyncio.run(keep_awaiting(AsyncSQLStore(awaiting)))


def test_our_own_connections_carry_every_character_whatever_the_environment_says(
    postgres, monkeypatch
):
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    keep(SQLStore(postgres.database()))


@pytest.mark.parametrize(("kind", "asked"), ROWS)
@pytest.mark.parametrize("make", [lambda engine: engine, sessionmaker], ids=["engine", "sessions"])
def test_a_shops_own_connections_carry_every_character_or_are_refused(request, kind, asked, make):
    if asked == "sql_ascii":
        pytest.skip("SQLAlchemy itself cannot connect with it")
    engine = create_engine(f"{new_address(request, kind)}?{ASKED[kind][0]}={asked}")
    store = SQLStore(make(engine))
    if asked in ("utf8mb4", "utf8") and (kind, asked) != ("mysql", "utf8"):
        keep(store)
    else:
        for use in (store.set_up, store.missing, lambda: store.add(an_attempt())):
            with pytest.raises(ConfigurationError, match=NAMED[kind]):
                use()
    engine.dispose()


@pytest.mark.parametrize("encoding", MADE)
@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "asyncpg"])
def test_a_database_that_lacks_characters_is_refused(postgres, encoding, driver):
    pytest.importorskip(driver)
    address = postgres.database(encoding).replace("psycopg", driver)
    refused = pytest.raises(
        ConfigurationError,
        match=f"found server_encoding {encoding}, expected UTF8.*ENCODING 'UTF8'",
    )
    if driver == "asyncpg":
        awaiting = AsyncSQLStore(address)
        for use in (awaiting.set_up, awaiting.missing):
            with refused:
                asyncio.run(use())
        return
    store = SQLStore(address)
    for use in (store.set_up, store.missing, lambda: store.add(an_attempt())):
        with refused:
            use()
    store.close()


@pytest.mark.parametrize(
    ("kind", "options", "found"),
    [
        # Django's own default before 5.2.
        ("mysql", {"OPTIONS": {"charset": "utf8"}}, "utf8mb3, expected utf8mb4.*OPTIONS of DATAB"),
        ("mysql", {"OPTIONS": {"charset": "utf8mb4"}}, None),
        # Newer versions ask PostgreSQL for UTF-8, whatever the options say.
        ("postgresql", {"OPTIONS": {"client_encoding": "LATIN1"}}, "client_encoding LATIN1"),
    ],
)
def test_djangos_connections_carry_every_character_or_are_refused(request, kind, options, found):
    pytest.importorskip("django")
    from django.db import connection

    from aplus_adapters import DjangoStore
    from support import django_databases

    def is_utf8():
        with connection.cursor() as cursor:
            if connection.vendor == "mysql":
                cursor.execute("SELECT @@character_set_client")
            else:
                cursor.execute("SELECT current_setting('client_encoding')")
            return cursor.fetchone()[0] in ("UTF8", "utf8mb4")

    address = new_address(request, kind)
    django_databases.migrate_at(address)
    with django_databases.database(address, **options):
        store = DjangoStore()
        if found is None or is_utf8():
            keep(store)
            return
        for use in (store.missing, lambda: store.add(an_attempt())):
            with pytest.raises(ConfigurationError, match=found):
                use()
