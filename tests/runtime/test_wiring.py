"""Hooks and stores, plain and async, find their place or are refused at start-up."""

import asyncio
import contextvars
import subprocess
import sys
import threading
from functools import partial, wraps

import pytest

from aplus_adapters import (
    AplusPay,
    ConfigurationError,
    HookError,
    MemoryStore,
    SQLStore,
    StoreError,
)
from aplus_adapters.payments.effects import CallHook, Record
from aplus_adapters.payments.hooks import LoadOrderDetails, Visitor
from aplus_adapters.runtime.clock import SystemClock
from aplus_adapters.runtime.performers import AsyncPerformer
from aplus_adapters.testing.store_contract import an_attempt, an_observation
from support.shop import AsyncShop, Shop

DETAILS = LoadOrderDetails(order_ref="A-1", visitor=Visitor())


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
        ["https://*.shop.example"],
        ["null"],
        ["file:///"],
        ["file://shop.example"],
        ["https://shop.example:443"],
        ["http://shop.example:80"],
        ["http://[::1]:80"],
        ["https://shop.example/"],
        ["capacitor:localhost"],
        ["https://shop.example\n"],
        [None],
    ],
    ids=lambda origins: repr(origins).replace("\\", ""),  # pytest finds no test by a backslash
)
def test_an_origin_that_no_browser_sends_is_refused(account, origins):
    with pytest.raises(ConfigurationError, match=r"trusted_origins.*such as \['https://shop"):
        AplusPay(
            account=account, store=MemoryStore(), hooks=Shop(), trusted_origins=origins
        )  # fmt: skip


def test_origins_that_browsers_and_apps_send_are_taken(account):
    origins = {"https://shop.example", "http://localhost:8100", "capacitor://localhost", "ionic://localhost",
               "app://shop", "https://shop.example:8443", "http://[::1]:8000", "chrome-extension://abc"}  # fmt: skip
    for given in (origins, frozenset(origins), list(origins), tuple(origins)):
        pay = AplusPay(account=account, store=MemoryStore(), hooks=Shop(), trusted_origins=given)
        assert pay.context.trusted_origins == origins


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
    assert sum(one.became_final for one in transitions) == 1
    assert told == [True, True]
    performer.close()


def decorated(hook):
    """Do what a decorator that knows nothing of async does."""

    @wraps(hook)
    def around(*arguments):
        return hook(*arguments)

    return around


class Decorated(AsyncShop):
    load_order = decorated(AsyncShop.load_order)
    payment_changed = decorated(AsyncShop.payment_changed)
    payment_conflict = decorated(AsyncShop.payment_conflict)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_an_async_hook_behind_a_plain_decorator_is_awaited_all_the_same(account, tmp_path, kind):
    store = MemoryStore() if kind == "memory" else SQLStore(f"sqlite:///{tmp_path / 's.db'}")
    hooks = Decorated()
    pay = AplusPay(account=account, store=store, hooks=hooks)
    attempt = an_attempt()
    store.add(attempt)

    async def main():
        order = await pay.async_performer(CallHook("load_order", DETAILS))
        await pay.async_performer(Record(attempt.payment_request_id, an_observation()))
        await pay.aclose()
        return order

    assert asyncio.run(main()).description == "2 tickets"
    assert hooks.changes == [(attempt.order_ref, "succeeded")]
    store.close() if kind == "sqlite" else None


def test_without_a_loop_an_answer_that_has_to_be_awaited_is_an_error_and_settles_nothing(account):
    store, hooks = MemoryStore(), Decorated()
    performer = AplusPay(account=account, store=store, hooks=hooks).performer
    attempt = an_attempt()
    store.add(attempt)
    remedy = r"raised ConfigurationError: hook returned an awaitable.*make it synchronous or"
    with pytest.raises(HookError, match=remedy):
        performer(CallHook("load_order", DETAILS))
    with pytest.raises(HookError, match=remedy):
        performer(Record(attempt.payment_request_id, an_observation()))
    assert store.get(attempt.payment_request_id).state == attempt.state
    assert hooks.changes == []


def test_an_async_call_that_a_class_inherits_is_found(account):
    class Base:
        async def __call__(self, details):
            return None

    class Callable(Base):
        pass

    shop = Shop()
    shop.load_order = Callable()
    with pytest.raises(ConfigurationError, match="async function"):
        _ = AplusPay(account=account, store=MemoryStore(), hooks=shop).performer


def test_a_hook_that_times_out_is_its_own_error(account, tmp_path):
    class Slow(AsyncShop):
        async def payment_changed(self, details):
            raise TimeoutError

    store = SQLStore(f"sqlite:///{tmp_path / 's.db'}")
    pay = AplusPay(account=account, store=store, hooks=Slow())
    store.add(an_attempt())

    async def main():
        with pytest.raises(HookError, match="payment_changed: raised TimeoutError"):
            await pay.async_performer(Record(an_attempt().payment_request_id, an_observation()))
        await pay.aclose()

    asyncio.run(main())
    store.close()


def test_a_store_thread_does_not_wait_for_a_hook_whose_loop_has_ended(account, tmp_path):
    class Endless(AsyncShop):
        async def payment_changed(self, details):
            begun.set()
            await asyncio.sleep(3600)

    begun, ended = threading.Event(), threading.Event()
    store = SQLStore(f"sqlite:///{tmp_path / 's.db'}")
    performer = AplusPay(account=account, store=store, hooks=Endless()).async_performer
    store.add(an_attempt())
    record = store.record

    def noting(*arguments):
        try:
            record(*arguments)
        except HookError as error:
            ended.error = error
        ended.set()

    store.record = noting
    loop = asyncio.new_event_loop()
    task = loop.create_task(performer(Record(an_attempt().payment_request_id, an_observation())))
    while not begun.is_set():
        loop.run_until_complete(asyncio.sleep(0.01))
    pending = asyncio.all_tasks(loop)
    loop.close()
    assert ended.wait(5)
    assert "the event loop ended" in str(ended.error)
    assert store.get(an_attempt().payment_request_id).state.value == "created"
    for one in (task, *pending):
        one._log_destroy_pending = False
        one.get_coro().close()
    performer.close()
    store.close()


def test_closing_while_a_request_is_answered_is_an_error_of_ours(account):
    class Threaded(Shop):
        pass

    pay = AplusPay(account=account, store=MemoryStore(), hooks=Threaded())
    performer = pay.async_performer

    async def main():
        await pay.aclose()
        with pytest.raises(StoreError, match="closed while a request"):
            await performer(CallHook("load_order", DETAILS))

    asyncio.run(main())


FORKING = """
import asyncio, os, sys
from aplus_adapters import Account, AplusPay, MemoryStore, PrivateKey
from aplus_adapters.payments.effects import CallHook
from aplus_adapters.payments.hooks import LoadOrderDetails, Visitor

class Shop:
    def load_order(self, details): return None
    def payment_changed(self, details): pass
    def payment_conflict(self, details): pass

theirs = PrivateKey.generate()
account = Account(client_id="C", private_key=PrivateKey.generate(), gateway="https://x.example",
                  alipayplus_keys=theirs.public_key, notify_url="https://shop.example/notify")
pay = AplusPay(account=account, store=MemoryStore(), hooks=Shop())
asked = CallHook("load_order", LoadOrderDetails(order_ref="A-1", visitor=Visitor()))
asyncio.run(pay.async_performer(asked))
blocking, awaiting = pay.performer, pay.async_performer
child = os.fork()
if child == 0:
    async def main():
        async with asyncio.timeout(5):
            await pay.async_performer(asked)
    asyncio.run(main())
    assert pay.async_performer is not awaiting and pay.performer is not blocking
    os._exit(0)
_, status = os.waitpid(child, 0)
assert pay.async_performer is awaiting and pay.performer is blocking
os._exit(os.waitstatus_to_exitcode(status))
"""


def test_a_forked_worker_has_threads_and_connections_of_its_own():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKING],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_clients_of_another_process_are_forgotten_and_the_own_ones_kept(account):
    pay = AplusPay(account=account, store=MemoryStore(), hooks=Shop())
    blocking, awaiting = pay.performer, pay.async_performer
    assert (pay.performer, pay.async_performer) == (blocking, awaiting)
    pay._runner._process = -1  # as in a worker that was forked from another process
    renewed = pay.performer
    assert renewed is not blocking
    assert pay.async_performer is not awaiting
    assert pay.performer is renewed
    pay.close()
    assert pay.performer is not renewed
