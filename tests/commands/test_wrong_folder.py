"""A command in another folder than the shop's says so: SQLite would make an empty file there."""

import sys

import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import scoped_session, sessionmaker

from aplus_adapters import AplusPay, AsyncSQLStore, MemoryStore, SQLStore
from aplus_adapters.cli.commands import missing_file
from aplus_adapters.cli.main import main
from aplus_adapters.testing.store_values import an_attempt
from support.shop import AsyncShop, Shop

READING = [
    ["list"], ["show", "A-1"], ["conflicts"], ["health"], ["close", "--yes", "A-1"],
    ["refund", "--yes", "P-1"], ["prune", "--older-than", "400d"],
]  # fmt: skip
KINDS = {
    "an address": lambda: (SQLStore("sqlite:///payments.db"), Shop()),
    "an engine": lambda: (SQLStore(create_engine("sqlite:///payments.db")), Shop()),
    "sessions": lambda: (SQLStore(sessionmaker(create_engine("sqlite:///payments.db"))), Shop()),
    "scoped sessions": lambda: (
        SQLStore(scoped_session(sessionmaker(create_engine("sqlite:///payments.db")))), Shop(),
    ),
    "awaiting sessions": lambda: (
        AsyncSQLStore(async_sessionmaker(create_async_engine("sqlite+aiosqlite:///payments.db"))), AsyncShop(),
    ),
    "an awaiting address": lambda: (AsyncSQLStore("sqlite+aiosqlite:///payments.db"), AsyncShop()),
}  # fmt: skip


@pytest.fixture
def run(account, monkeypatch, tmp_path):
    """Return what runs a command for the shop with a kind of store, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def command(kind, words):
        store, hooks = KINDS[kind]()
        shop = type(sys)("wrong_folder_shop")
        shop.pay = AplusPay(account=account, store=store, hooks=hooks)
        monkeypatch.setitem(sys.modules, shop.__name__, shop)
        return CliRunner().invoke(main, [*words, "--shop", f"{shop.__name__}:pay"])

    return command


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_a_command_where_the_file_of_the_payments_is_not_makes_none(run, tmp_path, kind, words):
    result = run(kind, words)
    assert result.exit_code != 0
    assert f"found no file {tmp_path / 'payments.db'}, expected the database of" in result.output
    assert list(tmp_path.iterdir()) == []


def test_with_the_file_a_command_finds_its_payments(run, tmp_path):
    store = SQLStore("sqlite:///payments.db")
    store.add(an_attempt())
    store.close()
    result = run("an address", ["list"])
    assert (result.exit_code, "A-1" in result.output) == (0, True), result.output


def test_reconcile_goes_on_and_warns_as_nobody_may_have_paid_yet(run, tmp_path):
    result = run("an address", ["reconcile"])
    assert (result.exit_code, "warning: found no file" in result.output) == (0, True), result.output
    assert "warning" not in run("an address", ["reconcile"]).output


def test_schema_makes_the_file(run, tmp_path):
    assert run("an address", ["schema"]).exit_code == 0
    assert (tmp_path / "payments.db").exists()


def test_the_file_of_a_store_is_that_of_sqlite_only(tmp_path):
    assert str(SQLStore("sqlite:///payments.db").file) == "payments.db"
    assert SQLStore("postgresql+psycopg://u@h/payments").file is None
    assert SQLStore(sessionmaker()).file is None


def test_a_store_of_the_shops_may_have_a_file_of_another_kind(account):
    store = MemoryStore()
    store.file = "payments.log"
    assert missing_file(AplusPay(account=account, store=store, hooks=Shop())) is None


def test_an_address_of_sqlites_own_says_itself_what_may_be_made():
    assert SQLStore("sqlite:///file:payments.db?mode=rw&uri=true").file is None
