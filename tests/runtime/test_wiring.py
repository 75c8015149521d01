"""Hooks and stores, plain and async, find their place or are refused at start-up."""

import asyncio
import contextvars
import threading
from functools import partial

import pytest

from aplus_adapters import AplusPay, ConfigurationError, MemoryStore, SQLStore
from aplus_adapters.payments.effects import CallHook, Record
from aplus_adapters.payments.hooks import OrderDetails, Visitor
from aplus_adapters.runtime.clock import SystemClock
from aplus_adapters.runtime.wiring import AsyncPerformer
from aplus_adapters.testing.store_contract import an_attempt, an_observation
from conftest import AsyncShop, Shop

DETAILS = OrderDetails(order_ref="A-1", visitor=Visitor())


def test_async_hooks_are_refused_where_no_loop_runs_with_what_to_do(account):
    pay = AplusPay(account=account, store=MemoryStore(), hooks=AsyncShop())
    with pytest.raises(ConfigurationError, match=r"AsyncShop\.load_order.*serve the shop by ASGI"):
        _ = pay.performer


def test_an_async_hook_behind_a_partial_or_a_callable_object_is_found(account):
    class Callable:
        async def __call__(self, details):
            return None

    async def hook(extra, details):
        return None

    for made in (Callable(), partial(hook, 1)):
        shop = Shop()
        shop.load_order = made
        with pytest.raises(ConfigurationError, match="async function"):
            _ = AplusPay(account=account, store=MemoryStore(), hooks=shop).performer


def test_missing_hooks_and_store_methods_are_all_named(account):
    with pytest.raises(
        ConfigurationError, match="without load_order, payment_changed, payment_conflict"
    ):
        AplusPay(account=account, store=MemoryStore(), hooks=object())
    with pytest.raises(ConfigurationError, match="store: found Shop without add, get"):
        AplusPay(account=account, store=Shop(), hooks=Shop())


def test_accounts_need_distinct_client_ids(account):
    with pytest.raises(ConfigurationError, match="2 accounts with 1 client ids"):
        AplusPay(account=[account, account], store=MemoryStore(), hooks=Shop())


@pytest.mark.parametrize(
    "origins",
    [
        "https://shop.example",
        ["shop.example"],
        ["https://shop.example/cart"],
        ["https://Shop.example"],
        ["*"],
        [None],
    ],
    ids=repr,
)
def test_an_origin_that_no_browser_sends_is_refused(account, origins):
    with pytest.raises(ConfigurationError, match=r"trusted_origins.*such as \['https://shop"):
        AplusPay(
            account=account, store=MemoryStore(), hooks=Shop(), trusted_origins=origins
        )  # fmt: skip


def test_a_plain_hook_runs_in_a_thread_with_the_callers_context(account):
    language = contextvars.ContextVar("language", default="none")
    seen = []

    class Threaded(Shop):
        def load_order(self, details):
            seen.append((threading.current_thread().name, language.get()))

    async def main():
        pay = AplusPay(account=account, store=MemoryStore(), hooks=Threaded())
        language.set("en")
        await pay.async_performer(CallHook("load_order", DETAILS))
        await pay.aclose()

    asyncio.run(main())
    ((thread, value),) = seen
    assert thread.startswith("aplus")
    assert value == "en"


def test_a_memory_store_gets_no_thread_and_a_database_does(account, tmp_path, monkeypatch):
    from aplus_adapters.payments.effects import CallStore

    for store, expected in (
        (MemoryStore(), "MainThread"),
        (SQLStore(f"sqlite:///{tmp_path}/p.db"), "aplus"),
    ):
        seen = []
        original = store.get
        monkeypatch.setattr(
            store,
            "get",
            lambda *a, o=original, s=seen: (s.append(threading.current_thread().name), o(*a))[1],
        )

        async def main(store=store):
            pay = AplusPay(account=account, store=store, hooks=Shop())
            await pay.async_performer(CallStore("get", ("x",)))
            await pay.aclose()

        asyncio.run(main())
        assert seen[0].startswith(expected)
    store.close()


def test_a_memory_store_with_async_hooks_settles_once_without_a_thread():
    told = []

    class Slow(AsyncShop):
        async def payment_changed(self, details):
            told.append(threading.current_thread() is threading.main_thread())
            await asyncio.sleep(0.02)
            if len(told) == 1:
                raise RuntimeError("the shop's own bug")

    store = MemoryStore()
    store.add(an_attempt())
    performer = AsyncPerformer(store, Slow(), None, SystemClock())

    async def record():
        return await performer(Record("pay1", an_observation()))

    async def main():
        first = await asyncio.gather(record(), return_exceptions=True)
        assert [type(one).__name__ for one in first] == ["HookError"]
        assert store.get("pay1") == an_attempt()
        return await asyncio.gather(*(record() for _ in range(8)))

    transitions = asyncio.run(main())
    assert sum(one.settles for one in transitions) == 1
    assert told == [True, True]
    performer.close()
