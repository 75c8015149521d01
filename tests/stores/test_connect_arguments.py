"""How long each driver may take to connect, unless the address says it itself, and its encoding."""

import pytest
from sqlalchemy.engine import make_url

from aplus_adapters.stores import mysql, postgresql, sqlite
from aplus_adapters.stores.connections import _connect_args

WAITS = {"connect_timeout": mysql.CONNECT, "read_timeout": mysql.READ, "write_timeout": mysql.READ}
PG, MYSQL = {"client_encoding": "utf8"}, {"charset": "utf8mb4"}


@pytest.mark.parametrize(
    ("address", "arguments"),
    [
        ("sqlite:///x.db", {"timeout": sqlite.LOCK}),
        ("sqlite:///x.db?timeout=9", {}),
        ("sqlite+aiosqlite:///x.db", {"timeout": sqlite.LOCK}),
        ("postgresql+psycopg://host/shop", {"connect_timeout": postgresql.CONNECT, **PG}),
        ("postgresql+psycopg2://host/shop", {"connect_timeout": postgresql.CONNECT, **PG}),
        ("postgresql+psycopg://host/shop?connect_timeout=9&client_encoding=latin1", PG),
        ("postgresql+asyncpg://host/shop", {"timeout": postgresql.CONNECT}),
        ("postgresql+asyncpg://host/shop?timeout=9", {}),
        ("mysql+pymysql://host/shop", {**WAITS, **MYSQL}),
        ("mysql+mysqldb://host/shop", {"connect_timeout": mysql.CONNECT, **MYSQL}),
        ("mysql+asyncmy://host/shop", {"connect_timeout": mysql.CONNECT, **MYSQL}),
        (
            "mariadb+pymysql://host/shop?read_timeout=9&connect_timeout=9",
            {"write_timeout": mysql.READ, **MYSQL},
        ),
    ],
    ids=range(12),  # the rows of servers are left out by name where faults are tried
)
def test_each_driver_gets_utf_8_and_its_time_outs_unless_the_address_sets_them(address, arguments):
    assert _connect_args(make_url(address)) == arguments
