"""What a hook inside the store's transaction may do, and who waits for whom meanwhile."""

import asyncio
import threading
import time
from functools import partial

import pytest

from aplus_adapters import (
    Amount,
    AplusPay,
    ConfigurationError,
    Conflict,
    HookError,
    InvalidValue,
    MemoryStore,
    State,
    StoreError,
    WouldDeadlock,
)
from aplus_adapters.payments.effects import CallStore, call_hook, get, record
from aplus_adapters.payments.hooks import ConflictDetails, LoadOrderDetails, Visitor
from aplus_adapters.stores import memory
from aplus_adapters.testing.store_values import a_refund, an_attempt, an_observation
from support.shop import AsyncShop, Shop

AT_ONCE = 45  # more than there are threads of a kind


class Asking(Shop):
    """Its plain hook asks `ask(pay, details)` something while the transaction is open."""

    def __init__(self, ask):
        super().__init__()
        self.ask, self.pay, self.answers = ask, None, []

    def payment_changed(self, details):
        self.answers.append(self.ask(self.pay, details))


class AsyncAsking(AsyncShop):
    def __init__(self, ask):
        super().__init__()
        self.ask, self.pay, self.answers = ask, None, []

    async def payment_changed(self, details):
        self.answers.append(await self.ask(self.pay, details))


def a_shop(account, store, hooks):
    hooks.pay = AplusPay(account=account, store=store, hooks=hooks)
    return hooks.pay


def refund(pay, details):
    made = details.attempt.payment_request_id
    return pay.refund(made, refund_request_id="out-of-stock", amount=Amount("JPY", 100))


async def refund_async(pay, details):
    made = details.attempt.payment_request_id
    return await pay.refund_async(made, refund_request_id="out-of-stock", amount=Amount("JPY", 1))


def press_of_another(pay, details):
    return pay.performer(CallStore("add", (an_attempt(2, "A-2"),)))


def read(pay, details):
    return pay.run(get(details.attempt.payment_request_id)).state


async def read_async(pay, details):
    return (await pay.run_async(get(details.attempt.payment_request_id))).state


@pytest.mark.parametrize("ask", [refund, press_of_another], ids=["refund", "another order"])
def test_writing_inside_the_hook_is_refused_at_once_with_what_to_do(account, store, ask):
    pay = a_shop(account, store, Asking(ask))
    attempt = store.add(an_attempt())
    began = time.monotonic()
    with pytest.raises(HookError, match=r"payment_changed asked for .*after the hook has returned"):
        pay.run(record(attempt.payment_request_id, an_observation()))
    assert time.monotonic() - began < 2
    assert store.get(attempt.payment_request_id).state is State.CREATED
    pay.hooks.ask = lambda pay, details: None
    assert pay.run(record(attempt.payment_request_id, an_observation())).became_final


@pytest.mark.parametrize(
    ("shop", "ask"), [(Asking, refund), (AsyncAsking, refund_async)], ids=["plain", "async"]
)
def test_writing_inside_the_hook_is_refused_on_a_loop_as_well(account, store, shop, ask):
    pay = a_shop(account, store, shop(ask))
    attempt = store.add(an_attempt())

    async def main():
        with pytest.raises(HookError, match=r"payment_changed asked for .*after the hook has"):
            await pay.run_async(record(attempt.payment_request_id, an_observation()))
        await pay.aclose()

    asyncio.run(asyncio.wait_for(main(), 4))
    assert store.get(attempt.payment_request_id).state is State.CREATED


def test_a_task_that_the_hook_has_started_may_write_once_the_hook_has_returned(account, store):
    returned = asyncio.Event()

    async def later(pay, details):
        async def refund_when_paid():
            with pytest.raises(WouldDeadlock):  # the hook runs still
                await refund_async(pay, details)
            await returned.wait()
            with pytest.raises(ConfigurationError, match="no such account"):  # no deadlock
                await refund_async(pay, details)

        task = asyncio.create_task(refund_when_paid())
        await asyncio.sleep(0)
        return task

    pay = a_shop(account, store, AsyncAsking(later))
    attempt = store.add(an_attempt())

    async def main():
        await pay.run_async(record(attempt.payment_request_id, an_observation()))
        returned.set()
        await pay.hooks.answers[0]
        await pay.aclose()

    asyncio.run(asyncio.wait_for(main(), 4))


async def press_of_another_async(pay, details):
    return await pay.async_performer(CallStore("add", (an_attempt(2, "A-2"),)))


def test_what_is_refused_inside_the_hook_is_named(account, store):
    attempt = store.add(an_attempt())
    named = r"payment_changed asked for something that writes to the store \(add\)"
    with pytest.raises(HookError, match=named):
        a_shop(account, store, Asking(press_of_another)).run(
            record(attempt.payment_request_id, an_observation())
        )
    pay = a_shop(account, store, AsyncAsking(press_of_another_async))

    async def main():
        with pytest.raises(HookError, match=named):
            await pay.run_async(record(attempt.payment_request_id, an_observation()))
        await pay.aclose()

    asyncio.run(asyncio.wait_for(main(), 4))


def test_reading_inside_the_hook_gives_what_is_committed(account, store):
    pay = a_shop(account, store, Asking(read))
    attempt = store.add(an_attempt())
    pay.run(record(attempt.payment_request_id, an_observation()))
    assert pay.hooks.answers == [State.CREATED]


class Blocking(MemoryStore):
    """Gets a thread for each call, as a store over a network does."""

    try_record = record_async = None  # so it is no ImmediateStore

    def __init__(self):
        super().__init__()
        self.go_on = threading.Event()
        self.go_on.set()

    def add(self, attempt, /, *limit):
        assert self.go_on.wait(20)
        return super().add(attempt, *limit)


def test_many_hooks_that_read_at_once_do_not_use_up_all_threads(account):
    store = Blocking()

    class Reading(AsyncAsking):
        """Reads when as many hooks as there are threads run."""

        def __init__(self):
            super().__init__(read_async)
            self.inside, self.full = 0, asyncio.Event()

        async def payment_changed(self, details):
            self.inside += 1
            if self.inside == 40:
                self.full.set()
            await self.full.wait()
            await super().payment_changed(details)

    made = [store.add(an_attempt(n, f"A-{n}")) for n in range(AT_ONCE)]

    async def main():
        pay = a_shop(account, store, Reading())
        flows = (record(one.payment_request_id, an_observation()) for one in made)
        await asyncio.gather(*map(pay.run_async, flows))
        await pay.aclose()
        return pay.hooks.answers

    answers = asyncio.run(asyncio.wait_for(main(), 20))
    assert answers == [State.CREATED] * AT_ONCE


def test_a_hook_that_reads_waits_for_nobody_who_waits_to_write(account):
    store = Blocking()
    made = store.add(an_attempt())
    store.go_on.clear()  # as if the transaction of the hook held a lock

    async def main():
        pay = a_shop(account, store, AsyncAsking(read_async))
        presses = [
            asyncio.create_task(pay.async_performer(CallStore("add", (an_attempt(n, f"A-{n}"),))))
            for n in range(2, 2 + AT_ONCE)
        ]
        await asyncio.sleep(0.05)
        told = pay.run_async(record(made.payment_request_id, an_observation()))
        assert (await asyncio.wait_for(told, 5)).became_final
        store.go_on.set()
        await asyncio.gather(*presses)
        await pay.aclose()

    asyncio.run(main())


def test_a_notification_waits_for_no_buyer_whose_order_is_slow_to_load(account):
    class Selling(Shop):
        def __init__(self):
            super().__init__()
            self.loaded = threading.Event()

        def load_order(self, details):
            self.loaded.wait(20)
            return super().load_order(details)

    store, shop = Blocking(), Selling()
    pay = AplusPay(account=account, store=store, hooks=shop)
    attempt = store.add(an_attempt())

    async def main():
        details = LoadOrderDetails(order_ref="A-1", visitor=Visitor())
        buyers = [
            asyncio.create_task(pay.run_async(call_hook("load_order", details)))
            for _ in range(AT_ONCE)
        ]
        await asyncio.sleep(0.05)
        told = pay.run_async(record(attempt.payment_request_id, an_observation()))
        assert (await asyncio.wait_for(told, 5)).became_final
        conflict = Conflict(attempt=attempt, observation=an_observation(), reason="another amount")
        reported = call_hook("payment_conflict", ConflictDetails(conflict=conflict))
        await asyncio.wait_for(pay.run_async(reported), 5)
        assert shop.conflicts == [conflict]
        shop.loaded.set()
        await asyncio.gather(*buyers)
        await pay.aclose()

    asyncio.run(main())


def test_what_a_plain_hook_leaves_in_its_thread_is_gone_for_the_next_one(account):
    local = threading.local()

    class Session:
        """Counts how many of its kind are open, as connections would be."""

        open = 0

        def __init__(self):
            Session.open += 1

        def __del__(self):
            Session.open -= 1

    class Scoped(Shop):
        def load_order(self, details):
            assert not hasattr(local, "session")
            local.session = Session()
            return super().load_order(details)

        def payment_changed(self, details):
            assert not hasattr(local, "session")
            local.session = Session()

    store = MemoryStore()
    pay = AplusPay(account=account, store=store, hooks=Scoped())

    async def main():
        for n in range(50):
            made = store.add(an_attempt(n, f"A-{n}"))
            details = LoadOrderDetails(order_ref=f"A-{n}", visitor=Visitor())
            await pay.run_async(call_hook("load_order", details))
            await pay.run_async(record(made.payment_request_id, an_observation()))
        until = time.monotonic() + 5
        while Session.open and time.monotonic() < until:  # noqa: ASYNC110  # counted by __del__
            await asyncio.sleep(0.01)
        await pay.aclose()

    asyncio.run(main())
    assert Session.open == 0


def test_refunds_of_one_payment_at_once_hold_nobody_up(account):
    """`refund_changed` of the first is running when the second is stored."""

    class Slow(AsyncShop):
        def __init__(self):
            super().__init__()
            self.inside, self.go_on = asyncio.Event(), asyncio.Event()

        async def payment_changed(self, details):
            self.inside.set()
            await self.go_on.wait()

    store = MemoryStore()

    async def main():
        shop = Slow()
        pay = AplusPay(account=account, store=store, hooks=shop)
        made = store.add(an_attempt())
        first = asyncio.create_task(
            pay.run_async(record(made.payment_request_id, an_observation()))
        )
        await shop.inside.wait()
        began = time.monotonic()
        with pytest.raises(InvalidValue):
            store.add_refund(a_refund())
        assert time.monotonic() - began < 1
        shop.go_on.set()
        assert (await first).became_final
        await pay.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("shop", [Shop, AsyncShop])
def test_a_hook_that_never_returns_lets_others_fail_with_its_name(account, monkeypatch, shop):
    monkeypatch.setattr(memory, "_WAIT", 0.1)
    store, go_on = MemoryStore(), threading.Event()

    def hang(transition, connection):
        go_on.wait(20)

    made = store.add(an_attempt()).payment_request_id
    first = threading.Thread(target=partial(store.record, made, an_observation(), hang))
    first.start()
    pay = AplusPay(account=account, store=store, hooks=shop())

    async def main():
        with pytest.raises(StoreError, match=f"payment {made}: its hook is still running after"):
            await pay.run_async(record(made, an_observation()))
        await pay.aclose()

    try:
        asyncio.run(main())
    finally:
        go_on.set()
        first.join()


def test_another_store_may_be_written_to_inside_the_hook(account):
    other = MemoryStore()
    second = AplusPay(account=account, store=other, hooks=Shop())

    def elsewhere(pay, details):
        return second.performer(CallStore("add", (an_attempt(2),))).payment_request_id

    store = MemoryStore()
    pay = a_shop(account, store, Asking(elsewhere))
    made = store.add(an_attempt())
    pay.run(record(made.payment_request_id, an_observation()))
    assert pay.hooks.answers == ["pay2"]
    assert other.get("pay2") is not None
