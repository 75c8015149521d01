"""A shop for commands: blocking hooks and a store in memory, unless a test asks for each kind."""

import pytest

from support.operated import Operated
from support.shop import AsyncShop, Clock, SeenStore, Shop


@pytest.fixture
def new_shop(tmp_path, account, their_key, monkeypatch):
    """Return what makes a shop with another store: sync, async or async-sqlite."""

    def make(kind="sync"):
        hooks = Shop() if kind == "sync" else AsyncShop()
        store = SeenStore()
        if kind == "async-sqlite":
            pytest.importorskip("aiosqlite")
            from aplus_adapters import AsyncSQLStore

            store = AsyncSQLStore(f"sqlite+aiosqlite:///{tmp_path / 'payments.db'}")
        return Operated(account, their_key, Clock(), store, hooks, monkeypatch)

    return make


@pytest.fixture
def aplus(new_shop):
    return new_shop()
