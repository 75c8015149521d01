"""How long each driver may take to connect, unless the address says it itself."""

import pytest
from sqlalchemy.engine import make_url

from aplus_adapters.stores import mysql, postgresql, sqlite
from aplus_adapters.stores.connections import _connect_args

WAITS = {"connect_timeout": mysql.CONNECT, "read_timeout": mysql.READ, "write_timeout": mysql.READ}


@pytest.mark.parametrize(
    ("address", "arguments"),
    [
        ("sqlite:///x.db", {"timeout": sqlite.LOCK}),
        ("sqlite:///x.db?timeout=9", {}),
        ("sqlite+aiosqlite:///x.db", {"timeout": sqlite.LOCK}),
        ("postgresql+psycopg://host/shop", {"connect_timeout": postgresql.CONNECT}),
        ("postgresql+psycopg2://host/shop", {"connect_timeout": postgresql.CONNECT}),
        ("postgresql+psycopg://host/shop?connect_timeout=9", {}),
        ("postgresql+asyncpg://host/shop", {"timeout": postgresql.CONNECT}),
        ("postgresql+asyncpg://host/shop?timeout=9", {}),
        ("mysql+pymysql://host/shop", WAITS),
        ("mysql+mysqldb://host/shop", {"connect_timeout": mysql.CONNECT}),
        ("mysql+asyncmy://host/shop", {"connect_timeout": mysql.CONNECT}),
        (
            "mariadb+pymysql://host/shop?read_timeout=9&connect_timeout=9",
            {"write_timeout": mysql.READ},
        ),
    ],
    ids=range(12),  # the rows of servers are left out by name where faults are tried
)
def test_each_driver_gets_its_time_outs_unless_the_address_sets_them(address, arguments):
    assert _connect_args(make_url(address)) == arguments
