"""What the hooks inside a transaction are told, whole, in each way of calling them."""

import asyncio
import os
from functools import partial
from types import SimpleNamespace

import httpx
import pytest

from aplus_adapters import AplusPay, HookError, MemoryStore
from aplus_adapters.payments.effects import Record
from aplus_adapters.payments.hooks import PaymentDetails, RefundDetails
from aplus_adapters.payments.model import RefundObservation, RefundOutcome, Source
from aplus_adapters.runtime import deadline, transports
from aplus_adapters.testing.store_values import LATER, a_refund, an_attempt, an_observation

RECORD = Record("pay1", an_observation())
REFUNDED = RefundObservation(
    source=Source.REFUND,
    outcome=RefundOutcome.REFUNDED,
    at=LATER,
    client_id="C",
    refund_request_id="refund1",
    refund_id="R-1",
)


class Plain:
    def __init__(self):
        self.details = []

    def load_order(self, details): ...

    def payment_conflict(self, details): ...

    def payment_changed(self, details):
        self.details.append(details)

    def refund_changed(self, details):
        self.details.append(details)


class Awaiting(Plain):
    async def payment_changed(self, details):
        super().payment_changed(details)

    async def refund_changed(self, details):
        super().refund_changed(details)


@pytest.fixture(params=["blocking", "in a thread", "awaited"])
def told(request, account):
    """Record observations of one payment and return what the hooks were told."""
    hooks = Awaiting() if request.param == "awaited" else Plain()
    pay = AplusPay(account=account, store=MemoryStore(), hooks=hooks)
    pay.store.add(an_attempt())

    async def main(observations):
        for observation in observations:
            if observation is REFUNDED:
                pay.store.add_refund(a_refund())
            await pay.async_performer(Record("pay1", observation))
        await pay.aclose()

    def told(*observations):
        if request.param != "blocking":
            asyncio.run(main(observations))
            return pay.store, hooks.details
        for observation in observations:
            if observation is REFUNDED:
                pay.store.add_refund(a_refund())
            pay.performer(Record("pay1", observation))
        return pay.store, hooks.details

    return told


def test_a_payment_that_became_final_is_told_whole(told):
    observation = an_observation()
    store, (details,) = told(observation)
    assert details == PaymentDetails(
        attempt=store.get("pay1"), observation=observation, connection=None
    )


def test_a_refund_that_became_final_is_told_whole_and_the_payment_not_again(told):
    store, (_, details) = told(an_observation(), REFUNDED)
    assert details == RefundDetails(
        attempt=store.get("pay1"),
        refund=store.refunds("pay1")[0],
        observation=REFUNDED,
        connection=None,
    )


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("method", ["start", "refund", "close_order", "reconcile"])
def test_a_call_inside_a_hook_is_refused_by_its_name(account, method, is_async):
    arguments = {
        "start": (("A-2",), {}),
        "refund": (("pay1",), {"refund_request_id": "r"}),
        "close_order": (("A-1",), {}),
        "reconcile": ((), {}),
    }
    positions, names = arguments[method]

    class Calling(Plain):
        def payment_changed(self, details):
            getattr(pay, method)(*positions, **names)

    class AsyncCalling(Plain):
        async def payment_changed(self, details):
            await getattr(pay, f"{method}_async")(*positions, **names)

    pay = AplusPay(
        account=account, store=MemoryStore(), hooks=AsyncCalling() if is_async else Calling()
    )
    pay.store.add(an_attempt())

    async def main():
        try:
            await pay.async_performer(RECORD)
        finally:
            await pay.aclose()

    call = partial(asyncio.run, main()) if is_async else partial(pay.performer, RECORD)
    with pytest.raises(HookError, match=rf"writes to the store \({method}\)"):
        call()
    assert pay.store.history("pay1") == []


@pytest.mark.parametrize("side", ["client", "async_client"])
def test_a_forked_worker_forgets_the_connections_of_the_shops_own_client(
    side, account, monkeypatch
):
    client = httpx.Client() if side == "client" else httpx.AsyncClient()
    pay = AplusPay(account=account, store=MemoryStore(), hooks=Plain(), **{side: client})
    (pool, *_) = [one._pool for one in transports.innermost_transports(client)]
    pool._connections = ["a connection"]
    before = pay.performer
    assert pool._connections == ["a connection"]
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert pay.performer is not before
    assert pool._connections == []


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
@pytest.mark.parametrize("kind", ["Client", "AsyncClient"])
def test_a_forked_process_forgets_the_connections_and_the_lock_of_a_client(library, kind):
    """The lock may be held by a thread of the other process, which never gives it back here."""
    client = getattr(pytest.importorskip(library), kind)()
    (pool, *_) = [one._pool for one in transports.innermost_transports(client)]
    pool._connections, pool._requests = ["a connection"], ["a request"]
    lock = pool._optional_thread_lock
    transports.forget_connections(client)
    assert (pool._connections, pool._requests) == ([], [])
    assert type(pool._optional_thread_lock) is type(lock)
    assert pool._optional_thread_lock is not lock


@pytest.mark.parametrize("kind", ["Client", "AsyncClient"])
def test_a_sender_forgets_what_was_opened_by_another_process(kind, monkeypatch):
    import httpx

    from aplus_adapters.runtime import senders

    forgotten = []
    monkeypatch.setattr(senders, "forget_connections", forgotten.append)
    sender_of = {"Client": senders.Sender, "AsyncClient": senders.AsyncSender}[kind]
    client = getattr(httpx, kind)()
    for shops_own in (client, None):
        sender = sender_of(shops_own)
        sender._renew_after_fork()
        assert forgotten == []
        sender._process = -1
        sender._renew_after_fork()
        sender._renew_after_fork()
        assert forgotten == ([] if shops_own is None else [client])
        forgotten.clear()


def test_a_coroutine_that_nobody_can_await_is_closed(account):
    """Otherwise Python would warn of it at some later time, in some other place."""

    async def load():
        """Return nothing."""

    made = []

    class Hooks(Plain):
        def load_order(self, details):
            made.append(load())
            return made[0]

    pay = AplusPay(account=account, store=MemoryStore(), hooks=Hooks())
    with pytest.raises(HookError, match="hook returned an awaitable"):
        pay.start("A-1")
    assert made[0].cr_frame is None


@pytest.mark.parametrize(
    "held", [list, tuple, lambda inner: {"all://": inner[0]}, lambda inner: inner[0]]
)
def test_transports_that_only_await_are_found_inside_others(held):
    class Awaiting:
        async def handle_async_request(self, request): ...

    inner = Awaiting()
    client = SimpleNamespace(_transport=SimpleNamespace(inner=held([inner])))
    assert list(transports.innermost_transports(client)) == [inner]


def test_an_open_connection_is_guarded_too():
    connection = SimpleNamespace(_connection=SimpleNamespace(_network_stream="stream"))
    pool = SimpleNamespace(_network_backend="backend", connections=[connection])
    client = SimpleNamespace(_transport=SimpleNamespace(_pool=pool))
    assert deadline.guard(client)
    assert type(connection._connection._network_stream).__name__ == "_Stream"
    assert type(pool._network_backend).__name__ == "_Backend"
