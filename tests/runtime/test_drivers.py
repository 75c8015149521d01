"""Sync and async cannot drift: each scenario gives the same trace of effects through both drivers."""

import asyncio

import pytest

from aplus_adapters import Account, AplusPay, MemoryStore, PrivateKey, SQLStore, Visitor
from aplus_adapters.payments.effects import Send
from aplus_adapters.payments.flows.follow_up import follow_up
from aplus_adapters.payments.flows.initiate import initiate
from aplus_adapters.payments.flows.notification import receive
from aplus_adapters.runtime.drivers import run, run_async
from support.gateway import CLOSED, DOWN, FORGED, GONE, LOST, OPEN, PAID, Gateway
from support.shop import AsyncShop, Clock, Shop

BROWSER = Visitor(user_agent="Mozilla/5.0")
FAILED = {"resultCode": "RISK_REJECT", "resultStatus": "F", "resultMessage": "no"}


def traced(flow, trace):
    """Pass a flow through, writing down each effect and what came of it."""
    outcome, error = None, None
    try:
        while True:
            effect = flow.throw(error) if error else flow.send(outcome)
            try:
                outcome, error = (yield effect), None
                trace.append((repr(effect), repr(outcome)))
            except Exception as raised:
                error = raised
                trace.append((repr(effect), repr(raised)))
    except StopIteration as stop:
        return stop.value


def scenario_paid_by_notification(world):
    attempt = yield from initiate(world.config, "A-1", BROWSER)
    body = world.alipayplus.notification(attempt)
    for _ in range(2):
        headers = world.alipayplus.sign(body, at=world.clock.now())
        yield from receive(world.config, tuple(headers.items()), body)


def scenario_paid_by_inquiry(world):
    attempt = yield from initiate(world.config, "A-1", BROWSER)
    world.later(world.config.timing.first_inquiry)
    details = {"paymentAmount": attempt.amount.to_wire()}
    world.gateway.script["inquiryPayment"] = [{"result": PAID, "paymentResult": PAID, **details}]
    yield from follow_up(world.config, attempt)


def scenario_refused(world):
    world.gateway.script["pay"] = [{"result": FAILED}]
    yield from initiate(world.config, "A-1", BROWSER)


def scenario_answers_lost(world):
    world.gateway.script["pay"] = [LOST, FORGED, "code"]
    yield from initiate(world.config, "A-1", BROWSER)


def scenario_gateway_down(world):
    world.gateway.script["pay"] = [DOWN]
    yield from initiate(world.config, "A-1", BROWSER)


def scenario_expired_and_cancelled(world):
    attempt = yield from initiate(world.config, "A-1", BROWSER)
    world.later(world.config.timing.expiry * 2)
    world.gateway.script["inquiryPayment"] = [{"result": PAID, "paymentResult": OPEN}]
    world.gateway.script["cancelPayment"] = [{"result": PAID}]
    yield from follow_up(world.config, attempt)


def scenario_expired_then_new_code(world):
    yield from initiate(world.config, "A-1", BROWSER)
    world.later(world.config.timing.expiry * 2)
    world.gateway.script["inquiryPayment"] = [{"result": PAID, "paymentResult": CLOSED}]
    yield from initiate(world.config, "A-1", BROWSER)


def scenario_unknown_after_expiry(world):
    world.gateway.script["pay"] = [LOST]
    attempt = yield from initiate(world.config, "A-1", BROWSER)
    world.later(world.config.timing.expiry * 2)
    world.gateway.script["inquiryPayment"] = [{"result": GONE}]
    world.gateway.script["cancelPayment"] = [{"result": GONE}]
    attempt = world.store.get(attempt.payment_request_id)
    yield from follow_up(world.config, attempt)


def scenario_conflict(world):
    attempt = yield from initiate(world.config, "A-1", BROWSER)
    body = world.alipayplus.notification(attempt, paymentAmount={"currency": "USD", "value": "1"})
    headers = world.alipayplus.sign(body, at=world.clock.now())
    yield from receive(world.config, tuple(headers.items()), body)


def scenario_hook_fails(world):
    attempt = yield from initiate(world.config, "A-1", BROWSER)
    world.shop.fail = RuntimeError("the shop's own bug")
    body = world.alipayplus.notification(attempt)
    headers = world.alipayplus.sign(body, at=world.clock.now())
    yield from receive(world.config, tuple(headers.items()), body)


SCENARIOS = [value for name, value in globals().items() if name.startswith("scenario_")]


class World:
    def __init__(self, account, alipayplus, their_key, store, shop):
        self.clock, self.store, self.shop, self.alipayplus = Clock(), store, shop, alipayplus
        self.gateway = Gateway(account, their_key, self.clock)
        self.pay = AplusPay(account=account, store=store, hooks=shop, clock=self.clock)
        self.config = self.pay.config

    def later(self, delta):
        self.clock.moment += delta

    def run(self, scenario):
        trace = []
        performer = self.pay.performer
        performer._table[Send] = lambda e: self.gateway.send(e.request, e.timeout)
        run(traced(scenario(self), trace), performer)
        return trace

    def run_async(self, scenario):
        trace = []

        async def main():
            performer = self.pay.async_performer
            performer._table[Send] = lambda e: self.gateway.send_async(e.request, e.timeout)
            await run_async(traced(scenario(self), trace), performer)
            await self.pay.aclose()

        asyncio.run(main())
        return trace


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_both_drivers_do_the_same(scenario, kind, account, alipayplus, their_key, tmp_path):
    traces = []
    for number, (hooks, how) in enumerate(
        [(Shop, "run"), (Shop, "run_async"), (AsyncShop, "run_async")]
    ):
        store = MemoryStore() if kind == "memory" else SQLStore(f"sqlite:///{tmp_path}/{number}.db")
        world = World(account, alipayplus, their_key, store, hooks())
        traces.append(getattr(world, how)(scenario))
        if kind == "sqlite":
            store.close()
    assert len(traces[0]) >= 8
    assert traces[0] == traces[1] == traces[2]


def test_the_traces_show_no_secret(account, alipayplus, their_key, our_key):
    trace = World(account, alipayplus, their_key, MemoryStore(), Shop()).run(
        scenario_paid_by_notification
    )
    text = repr(trace) + repr(account)
    assert "signature=" not in text
    assert our_key.to_pem()[100:150] not in text
    assert "BEGIN" not in text


def test_a_flow_that_ends_early_is_closed():
    closed = []

    def flow():
        try:
            yield Send(None, 1.0)
        finally:
            closed.append(True)

    def stop(_effect):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(flow(), stop)
    assert closed == [True]


def test_a_cancelled_task_closes_its_flow_and_the_flow_never_sees_it():
    seen = []

    def flow():
        try:
            yield Send(None, 1.0)
        except Exception as error:
            seen.append(error)
        finally:
            seen.append("closed")

    async def forever(_effect):
        await asyncio.Event().wait()

    async def main():
        task = asyncio.create_task(run_async(flow(), forever))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert seen == ["closed"]


def test_several_accounts_work_in_one_shop(account, their_key, alipayplus):
    other_key = PrivateKey.generate()
    other = Account(
        client_id="CLIENT-2",
        private_key=other_key,
        alipayplus_keys=their_key.public_key,
        gateway="https://other.example",
        notify_url="https://shop.example/aplus/notify",
    )
    pay = AplusPay(account=[account, other], store=MemoryStore(), hooks=Shop())
    assert pay.config.account(None) is account
    assert pay.config.account("CLIENT-2") is other
