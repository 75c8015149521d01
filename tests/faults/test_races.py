"""Many at once: notifications with an inquiry racing, buyers' clicks, refunds, reconcilers."""

import asyncio
import base64
import json
import os
import re
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aplus_adapters import (
    Account,
    Amount,
    AplusPay,
    InvalidValue,
    RefundState,
    State,
    StoreError,
)
from aplus_adapters.payments.effects import Send
from aplus_adapters.payments.flows.follow_up import follow_up
from aplus_adapters.payments.flows.initiate import initiate, new_attempt
from aplus_adapters.protocol.messages.pay import DEFAULT_EXPIRY
from support import racing_shop
from support.gateway import PAID, Gateway
from support.racing_shop import BUYER, at_once, deliver, effects, make_pay
from support.shop import NOTIFY_URL, Clock

LONG = bool(os.environ.get("APLUS_LONG"))
PAYMENTS = 300 if LONG else 40
HERE = Path(racing_shop.__file__).parent


def worker(environ, *words):
    return subprocess.Popen(
        [sys.executable, str(HERE / "racing_shop.py"), *words],
        env={**os.environ, **environ}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.fixture
def shop(database, our_key, their_key, tmp_path):
    """A shop with many open payments, and the environment of its other processes."""
    environ = {
        "APLUS_CLIENT_ID": "CLIENT-1",
        "APLUS_PRIVATE_KEY": our_key.to_pem(),
        "APLUS_PUBLIC_KEY": their_key.public_key.to_pem(),
        "APLUS_GATEWAY": "https://gateway.example",
        "APLUS_NOTIFY_URL": NOTIFY_URL,
        "DATABASE": database,
    }
    pay = make_pay(Account.from_env(environ), database)
    yield pay, environ
    pay.store.close()


def open_payments(pay, count):
    made, now = [], datetime.now(UTC)
    account = pay.config.default_account
    order = racing_shop.Shop().load_order(None)
    for number in range(count):
        attempt = new_attempt(
            account, order, f"A-{number}", expiry=DEFAULT_EXPIRY, claim=timedelta(0),
            payment_request_id=f"pay{number:04}", visitor=BUYER, moment=now,
        )  # fmt: skip
        made.append(pay.store.add(attempt))
    return made


def notifications(alipayplus, attempts):
    told = []
    for attempt in attempts:
        body = alipayplus.notification(attempt)
        headers = list(alipayplus.sign(body, at=datetime.now(UTC)).items())
        told.append((headers, base64.b64encode(body).decode()))
    return told


def inquire_all(pay, their_key, attempts):
    """Ask about each payment at its gateway, which says paid, as the page's poll would."""
    account = pay.config.default_account
    clock = Clock(datetime.now(UTC) + timedelta(minutes=4))
    gateway = Gateway(account, their_key, clock)

    def send(effect):
        request_id = json.loads(effect.request.body)["paymentRequestId"]
        amount = Amount("JPY", 4200).to_wire()
        content = {"result": PAID, "paymentResult": PAID, "paymentAmount": amount,
                   "paymentRequestId": request_id}  # fmt: skip
        return gateway.answer(effect.request, content)

    asking = AplusPay(account=account, store=pay.store, hooks=pay.hooks, clock=clock)
    asking.performer._table[Send] = send
    for attempt in attempts:
        found = pay.store.get(attempt.payment_request_id)
        if found.next_call_at is not None:
            asking.run(follow_up(asking.config, found))


def check(pay, attempts, how):
    told = Counter(effects(pay.store))
    wanted = Counter((one.order_ref, "succeeded") for one in attempts)
    doubled = sum((told - wanted).values())
    lost = sum((wanted - told).values())
    print(
        f"{how}: {sum(told.values())} effects of {len(attempts)} payments, {doubled} doubled, {lost} lost"
    )
    assert told == wanted
    assert all(pay.store.get(one.payment_request_id).state is State.SUCCEEDED for one in attempts)


def test_eight_notifications_at_once_with_an_inquiry_racing_by_threads(shop, their_key, alipayplus):
    pay, _ = shop
    attempts = open_payments(pay, PAYMENTS)
    told = notifications(alipayplus, attempts)
    with ThreadPoolExecutor(1) as racing:
        asked = racing.submit(inquire_all, pay, their_key, attempts)
        for headers, body in told:
            at_once(8, lambda _, h=headers, b=body: deliver(pay, h, base64.b64decode(b)))
        asked.result()
    check(pay, attempts, "8 threads and an inquiry")


def test_eight_notifications_at_once_with_an_inquiry_racing_by_four_processes(
    shop, their_key, alipayplus, tmp_path
):
    pay, environ = shop
    attempts = open_payments(pay, PAYMENTS)
    file = tmp_path / "told.json"
    file.write_text(json.dumps(notifications(alipayplus, attempts)))
    processes = [worker(environ, "notify", str(file)) for _ in range(4)]
    inquire_all(pay, their_key, attempts)
    printed = [json.loads(process.communicate(timeout=300)[0]) for process in processes]
    assert [one["acknowledged"] for one in printed] == [2 * PAYMENTS] * 4
    check(pay, attempts, "4 processes and an inquiry")


@pytest.fixture
def live(database, simulated_account):
    pay = make_pay(simulated_account, database)
    yield pay
    pay.close()
    pay.store.close()


def one_order(simulator, made, ref):
    known = {request_id for request_id, _ in made}
    orders = [one for one in simulator.orders() if one["referenceOrderId"] == ref]
    print(f"{len(made)} clicks: {len(known)} attempt, {len(orders)} order at Alipay+")
    assert len(orders) == len(known) == 1
    assert {state for _, state in made} <= {"pending", "created"}


def test_fifty_clicks_by_threads_are_one_order(live, simulator, tmp_path):
    ref = f"threads-{tmp_path.name}"[-60:]

    def click(_):
        while True:
            try:
                return live.run(initiate(live.config, ref, BUYER))
            except StoreError as error:
                # They share 15 connections. On a slow machine some wait too long for one, or for
                # what a new one asks the server first. Then the buyer presses again.
                if not re.search("QueuePool limit|closed the connection|Lost conn", str(error)):
                    raise

    made = at_once(50, click)
    one_order(simulator, [(one.payment_request_id, one.state.value) for one in made], ref)


def test_fifty_clicks_by_tasks_are_one_order(live, simulator, tmp_path):
    ref = f"tasks-{tmp_path.name}"[-60:]

    async def click():
        flows = [live.run_async(initiate(live.config, ref, BUYER)) for _ in range(50)]
        try:
            return await asyncio.gather(*flows)
        finally:
            await live.aclose()

    made = asyncio.run(click())
    one_order(simulator, [(one.payment_request_id, one.state.value) for one in made], ref)


def test_fifty_clicks_by_processes_are_one_order(database, simulator, simulated_account, tmp_path):
    ref = f"processes-{tmp_path.name}"[-60:]
    racing_shop.make_store(database).close()
    environ = {
        **simulator.environ,
        "APLUS_NOTIFY_URL": simulated_account.notify_url,
        "DATABASE": database,
    }
    processes = [worker(environ, "press", ref, "10") for _ in range(5)]
    made = [pair for one in processes for pair in json.loads(one.communicate(timeout=120)[0])]
    one_order(simulator, made, ref)


def test_refunds_at_once_never_exceed_what_was_paid(live, simulator, tmp_path):
    ref = f"refunds-{tmp_path.name}"[-60:]
    attempt = live.run(initiate(live.config, ref, BUYER))
    request_id = attempt.payment_request_id
    simulator.decide(request_id, "pay")
    live.run(follow_up(live.config, attempt_due(live, request_id)))

    def give_back(number):
        try:
            refund_id = f"{ref[-50:]}-{number}"
            return live.refund(request_id, refund_request_id=refund_id, amount=Amount("JPY", 1000))
        except InvalidValue:
            return None

    made = at_once(16, lambda number: give_back(number // 2))  # each is pressed twice
    given = {one.refund_request_id for one in made if one is not None}
    books = simulator.order(request_id)["refunds"]
    live.reconcile()
    assert len(given) == len(books) == 4
    assert all(one.state is RefundState.SUCCEEDED for one in live.store.refunds(request_id))


def attempt_due(pay, request_id):
    found = pay.store.get(request_id)
    assert pay.store.release(request_id, found.claim, found.created_at)
    return pay.store.get(request_id)


def test_four_reconcilers_ask_about_each_open_payment_once(
    server_database, simulator, simulated_account
):
    count = 1000 if LONG else 80
    database = server_database
    pay = make_pay(simulated_account, database)
    with ThreadPoolExecutor(4) as threads:
        refs = [f"reconcile-{os.getpid()}-{number}" for number in range(count)]
        attempts = list(threads.map(lambda ref: pay.run(initiate(pay.config, ref, BUYER)), refs))
    for one in attempts:
        attempt_due(pay, one.payment_request_id)
    environ = {
        **simulator.environ,
        "APLUS_NOTIFY_URL": simulated_account.notify_url,
        "DATABASE": database,
    }
    command = [
        sys.executable,
        "-m",
        "aplus_adapters.cli",
        "reconcile",
        "--shop",
        "racing_shop:make_pay",
    ]
    processes = [
        subprocess.Popen(
            command, env={**os.environ, **environ}, cwd=HERE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    printed = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    mine = {one.payment_request_id for one in attempts}
    asked = Counter(
        sum(call["call"] == "inquiryPayment" for call in order["requests"])
        for order in simulator.orders()
        if order["paymentRequestId"] in mine
    )
    print(f"4 processes, {count} open payments: asked {dict(asked)} (times: payments)")
    print("".join(text.splitlines(keepends=True)[-1] for text in printed))
    assert asked == {1: count}
    if LONG:
        assert any(len(text.splitlines()) > 1 for text in printed)  # progress was visible
    pay.close()
    pay.store.close()
