"""Whatever the shop's own store or hook raises is named by its method, in each way of calling it."""

import asyncio
import threading

import pytest

from aplus_adapters import AplusPay, HookError, MemoryStore, StoreError
from aplus_adapters.payments.effects import CallHook, CallStore, Record
from aplus_adapters.payments.hooks import OPTIONAL_HOOKS, REQUIRED_HOOKS
from aplus_adapters.payments.store import STORE_METHODS
from aplus_adapters.testing.store_values import an_attempt, an_observation
from support.shop import AsyncShop, Shop

CALLED = [name for name in STORE_METHODS if name != "record"]
HOOKS = (*REQUIRED_HOOKS, *OPTIONAL_HOOKS)
HOOKED = [("blocking", False), ("in a thread", False), ("in a thread", True)]
WAYS = ["blocking", "in a thread", "awaited", "immediate"]


def failing_store(way):
    """Return a store each method of which raises an error of its own."""

    def fail(self, *_):
        raise OSError(28, "No space left on device")

    async def fail_async(self, *_):
        fail(self)

    methods = dict.fromkeys(STORE_METHODS, fail_async if way == "awaited" else fail)
    if way == "immediate":
        methods |= {"try_record": fail, "record_async": fail_async}
    return type("OwnStore", (), methods)()


def failing_shop(is_async):
    """Return hooks each of which raises an error of its own."""

    def fail(self, details):
        raise LookupError("a buyer's name")

    async def fail_async(self, details):
        fail(self, details)

    return type("OwnShop", (), dict.fromkeys(HOOKS, fail_async if is_async else fail))()


def perform(account, store, hooks, way, effect):
    """Perform one effect and return its result."""
    pay = AplusPay(account=account, store=store, hooks=hooks)
    if way == "blocking":
        return pay.performer(effect)

    async def main():
        try:
            return await pay.async_performer(effect)
        finally:
            await pay.aclose()

    return asyncio.run(main())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("method", CALLED)
def test_a_stores_own_error_names_the_method(account, way, method):
    hooks = AsyncShop() if way == "awaited" else Shop()
    effect = CallStore(method, ())
    with pytest.raises(StoreError) as error:
        perform(account, failing_store(way), hooks, way, effect)
    assert str(error.value) == (
        f"store {method}: raised OSError ([Errno 28] No space left on device); nothing is "
        "acknowledged until it works again"
    )


@pytest.mark.parametrize("way", WAYS)
def test_the_error_of_a_record_names_it(account, way):
    hooks = AsyncShop() if way == "awaited" else Shop()
    effect = Record("pay1", an_observation())
    with pytest.raises(StoreError, match=r"^store record: raised OSError \("):
        perform(account, failing_store(way), hooks, way, effect)


def test_the_error_of_a_record_that_awaits_its_hooks_names_it(account):
    class Half(MemoryStore):
        async def record_async(self, *_):
            raise OSError(28, "No space left on device")

    store = Half()
    store.add(an_attempt())
    effect = Record("pay1", an_observation())
    with pytest.raises(StoreError, match=r"^store record: raised OSError \("):
        perform(account, store, AsyncShop(), "immediate", effect)


@pytest.mark.parametrize(("way", "is_async"), HOOKED)
@pytest.mark.parametrize("hook", HOOKS)
def test_a_hooks_own_error_names_the_hook_and_its_line(account, way, hook, is_async):
    with pytest.raises(HookError) as error:
        perform(account, MemoryStore(), failing_shop(is_async), way, CallHook(hook, None))
    line = failing_shop.__code__.co_firstlineno + 4
    file = "test_named_errors.py"
    assert str(error.value) == f"hook {hook}: raised LookupError in {file} line {line}"
    assert error.value.hook == hook


@pytest.mark.parametrize(("way", "is_async"), HOOKED)
def test_a_hook_that_fails_in_a_record_is_named_and_nothing_is_stored(account, way, is_async):
    store = MemoryStore()
    store.add(an_attempt())
    effect = Record("pay1", an_observation())
    with pytest.raises(HookError, match=r"^hook payment_changed: raised Look"):
        perform(account, store, failing_shop(is_async), way, effect)
    assert store.history("pay1") == []


def test_a_thread_is_named_after_what_it_does(account):
    """Whoever reads a dump of the threads of a server that hangs sees what it waits for."""
    seen = {}

    def note(name):
        def call(self, *_):
            seen[name] = threading.current_thread().name.rpartition("_")[0] or (
                threading.current_thread().name
            )

        return call

    store = type("OwnStore", (), {name: note(name) for name in STORE_METHODS})()
    shop = type("OwnShop", (), {name: note(name) for name in HOOKS})()
    pay = AplusPay(account=account, store=store, hooks=shop)

    async def main():
        for method in CALLED:
            await pay.async_performer(CallStore(method, ()))
        for hook in HOOKS:
            await pay.async_performer(CallHook(hook, None))
        await pay.async_performer(Record("pay1", an_observation()))
        await pay.aclose()

    asyncio.run(main())
    kinds = {name: thread.removesuffix("_0") for name, thread in seen.items()}
    assert kinds["get"] == kinds["due"] == "aplus-read"
    assert kinds["add"] == kinds["claim"] == kinds["release_refund"] == "aplus-write"
    assert kinds["record"].startswith("aplus-report")
    assert kinds["payment_changed"].startswith("aplus-report")
    assert kinds["payment_conflict"].startswith("aplus-report")
    assert kinds["load_order"].startswith("aplus-hook")
    assert kinds["authorize"].startswith("aplus-hook")
