"""Many tasks at once on a store that awaits: clicks, notifications with an inquiry, a bad network."""

import asyncio
import os
from collections import Counter
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import create_engine, text

from aplus_adapters import (
    Account,
    Amount,
    AplusPay,
    AsyncSQLStore,
    OrderToPay,
    Retry,
    State,
    StoreError,
    Timing,
)
from aplus_adapters.payments.flows.initiate import initiate
from aplus_adapters.payments.flows.notification import receive
from support.databases import AWAITING, blocking, new_awaiting_database
from support.lossy import LossyProxy
from support.racing_shop import BUYER

LONG = bool(os.environ.get("APLUS_LONG"))
PAYMENTS = 300 if LONG else 12
LOSSY = 1000 if LONG else 24
EFFECTS = text("SELECT ref, state FROM effects")
FAST = Timing(
    pay=Retry(pauses=(0.05, 0.1), deadline=3),
    timeout=0.5,
    inquiry_timeout=0.5,
    claim=timedelta(seconds=4),
    retry_pay=timedelta(milliseconds=200),
)


class Shop:
    async def load_order(self, details):
        return OrderToPay(amount=Amount("JPY", 4200), description="2 tickets")

    async def payment_changed(self, details):
        values = {"ref": details.attempt.order_ref, "state": details.attempt.state.value}
        await details.connection.execute(text("INSERT INTO effects VALUES (:ref, :state)"), values)

    async def payment_conflict(self, details):
        pass


@pytest.fixture(params=AWAITING)
def address(request, tmp_path):
    pytest.importorskip(request.param)
    return new_awaiting_database(request.param, tmp_path, request)


@asynccontextmanager
async def shop(account, address, **options):
    store = AsyncSQLStore(address)
    await store.set_up()
    async with store.engine.begin() as connection:
        await connection.execute(text("CREATE TABLE effects (ref VARCHAR(64), state VARCHAR(16))"))
    pay = AplusPay(account=account, store=store, hooks=Shop(), **options)
    yield pay
    await pay.aclose()
    await store.aclose()


def effects(address):
    engine = create_engine(blocking(address))
    with engine.connect() as connection:
        rows = [tuple(row) for row in connection.execute(EFFECTS)]
    engine.dispose()
    return Counter(rows)


async def patiently(call):
    """Press again after a wait that was too long: many tasks share 15 connections and SQLite's lock."""
    while True:
        try:
            return await call()
        except StoreError as error:
            if "QueuePool limit" not in str(error) and "waited too long" not in str(error):
                raise


def test_fifty_clicks_are_one_order(address, simulator, simulated_account, tmp_path):
    ref = f"awaiting-{tmp_path.name}"[-60:]

    async def click_at_once():
        async with shop(simulated_account, address) as pay:
            clicks = [
                patiently(lambda: pay.run_async(initiate(pay.config, ref, BUYER)))
                for _ in range(50)
            ]
            return await asyncio.gather(*clicks)

    attempts = asyncio.run(click_at_once())
    orders = [one for one in simulator.orders() if one["referenceOrderId"] == ref]
    assert len(orders) == len({attempt.payment_request_id for attempt in attempts}) == 1


def test_eight_notifications_at_once_with_an_inquiry_racing_take_effect_once(
    address, simulator, simulated_account, simulated_alipayplus, tmp_path
):
    refs = [f"racing-{tmp_path.name[-40:]}-{number}" for number in range(PAYMENTS)]

    async def deliver(pay, attempt):
        body = simulated_alipayplus.notification(attempt)
        while True:  # as Alipay+ does
            headers = simulated_alipayplus.sign(body, at=datetime.now(UTC))
            answer = await pay.run_async(receive(pay.config, tuple(headers.items()), body))
            if answer.status == 200:
                return

    async def ask(pay, attempt):
        await pay.store.release(attempt.payment_request_id, attempt.claim, attempt.created_at)
        await pay.reconcile_async()

    async def race():
        async with shop(simulated_account, address) as pay:
            for ref in refs:
                attempt = await pay.run_async(initiate(pay.config, ref, BUYER))
                simulator.decide(attempt.payment_request_id, "pay")
                racing = [deliver(pay, attempt) for _ in range(8)]
                await asyncio.gather(ask(pay, attempt), *racing)
                found = await pay.store.get(attempt.payment_request_id)
                assert found.state is State.SUCCEEDED

    asyncio.run(race())
    assert effects(address) == Counter((ref, "succeeded") for ref in refs)


def test_lost_reset_and_delayed_answers_make_no_second_order(address, simulator, tmp_path):
    refs = [f"lossy-{tmp_path.name[-40:]}-{number}" for number in range(LOSSY)]

    async def press(pay, ref, at_once):
        async with at_once:
            return await patiently(lambda: pay.run_async(initiate(pay.config, ref, BUYER)))

    async def pay_by(account):
        at_once = asyncio.Semaphore(50)  # a thousand in one moment would wait until codes expire
        async with shop(account, address, timing=FAST) as pay:
            attempts = await asyncio.gather(*(press(pay, ref, at_once) for ref in refs))
            ids = [attempt.payment_request_id for attempt in attempts]
            for _ in range(200):
                found = [await pay.store.get(request_id) for request_id in ids]
                if all(attempt.state is State.PENDING for attempt in found):
                    return ids
                # A round of reconcile would inquire about the thousand others as well.
                without = (one.order_ref for one in found if one.state is State.CREATED)
                await asyncio.gather(*(press(pay, ref, at_once) for ref in without))
                await asyncio.sleep(0.1)
            raise AssertionError("some payments have no code")

    with LossyProxy(simulator.address, lost=0.3, reset=0.1, seed=13) as proxy:
        environ = {
            **simulator.environ,
            "APLUS_GATEWAY": proxy.address,
            "APLUS_NOTIFY_URL": "http://127.0.0.1:9/aplus/notify",
        }
        ids = asyncio.run(pay_by(Account.from_env(environ)))
    orders = [one for one in simulator.orders() if one["referenceOrderId"] in set(refs)]
    sent = [[one for one in order["requests"] if one["call"] == "pay"] for order in orders]
    assert sorted(one["referenceOrderId"] for one in orders) == sorted(refs)
    assert {one["paymentRequestId"] for one in orders} == set(ids)
    assert all(len({call["bodySha256"] for call in calls}) == 1 for calls in sent)
    assert sum(map(len, sent)) > LOSSY  # the network did lose answers
