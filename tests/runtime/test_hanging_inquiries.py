"""While inquiries hang, a refund and a press go out at once: they wait for nothing of theirs."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from attrs import evolve

from aplus_adapters import AplusPay, MemoryStore, RefundState, SQLStore, State, Visitor
from aplus_adapters.payments.effects import Send
from aplus_adapters.payments.flows.initiate import initiate
from aplus_adapters.protocol.signed_messages import SignedRequest
from aplus_adapters.runtime.clock import SystemClock
from aplus_adapters.runtime.senders import AsyncSender, Sender
from support.gateway import PAID, Gateway, asked, inquired
from support.http_requests import request_to
from support.shop import Clock

HANGING = 30  # inquiries of one process
ANY_NUMBER = 120  # more than httpx lets through by itself
PATIENCE = 20  # seconds after which a test has failed


class Hanging(ThreadingHTTPServer):
    """A gateway whose inquiries get no answer until `released`; anything else is answered."""

    request_queue_size = 200

    def __init__(self, answer):
        self.answer, self.released = answer, threading.Event()
        self.hanging = threading.Semaphore(0)  # released once for each inquiry that has come
        super().__init__(("127.0.0.1", 0), Answering)
        self.address = f"http://127.0.0.1:{self.server_address[1]}"
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})

    def wait_for(self, number):
        for _ in range(number):
            assert self.hanging.acquire(timeout=PATIENCE)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.released.set()
        self.shutdown()
        self.server_close()
        self.thread.join()


class Answering(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("inquiryPayment"):
            self.server.hanging.release()
            self.server.released.wait(PATIENCE)
            self.close_connection = True
            return
        headers, content = self.server.answer(self.path, body)
        self.send_response(200)
        for name, value in (*headers, ("Content-Length", str(len(content)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


def call(address, name):
    path = f"/aps/api/v1/payments/{name}"
    return evolve(request_to(""), url=f"{address}{path}", path=path)


def test_a_blocking_refund_goes_out_while_any_number_of_inquiries_hang():
    with Hanging(lambda *_: ((), b"{}")) as gateway, ThreadPoolExecutor(ANY_NUMBER) as threads:
        sender = Sender()
        inquiry = call(gateway.address, "inquiryPayment")
        calls = [threads.submit(sender.send, inquiry, PATIENCE) for _ in range(ANY_NUMBER)]
        gateway.wait_for(ANY_NUMBER)
        assert sender.send(call(gateway.address, "refund"), 3.0).status == 200
        assert not any(one.done() for one in calls)
        gateway.released.set()
        assert all(one.exception(PATIENCE) for one in calls)
        sender.close()


def test_an_awaiting_refund_goes_out_while_any_number_of_inquiries_hang():
    async def main(gateway):
        sender = AsyncSender()
        inquiry = call(gateway.address, "inquiryPayment")
        calls = [asyncio.ensure_future(sender.send(inquiry, PATIENCE)) for _ in range(ANY_NUMBER)]
        await asyncio.to_thread(gateway.wait_for, ANY_NUMBER)
        assert (await sender.send(call(gateway.address, "refund"), 3.0)).status == 200
        assert not any(one.done() for one in calls)
        gateway.released.set()
        await asyncio.gather(*calls, return_exceptions=True)
        await sender.aclose()

    with Hanging(lambda *_: ((), b"{}")) as gateway:
        asyncio.run(main(gateway))


@pytest.fixture(params=["memory", "sqlite"])
def shop_store(request, tmp_path):
    if request.param == "memory":
        yield MemoryStore()
        return
    store = SQLStore(f"sqlite:///{tmp_path}/shop.db")
    yield store
    store.close()


@pytest.fixture
def busy(account, their_key, shop_store, shop):
    """A shop with a paid payment and as many due inquiries as are to hang, and its gateway."""
    script = Gateway(account, their_key, Clock(datetime.now(UTC) - timedelta(minutes=1)))
    before = AplusPay(account=account, store=shop_store, hooks=shop, clock=script.clock)
    before.performer._table[Send] = lambda effect: script.send(effect.request, effect.timeout)
    attempts = [
        before.run(initiate(before.config, f"A-{number}", Visitor()))
        for number in range(HANGING + 1)
    ]
    paid = attempts.pop()
    script.clock.moment = paid.next_call_at
    script.script["inquiryPayment"] = [inquired(paid, PAID)]
    assert asked(before, paid).state is State.SUCCEEDED
    script.clock, script.script["refund"] = SystemClock(), [{"result": PAID, "refundId": "R-1"}]

    def answer(path, body):
        request = SignedRequest(client_id="CLIENT-1", url="", path=path, headers=(), body=body)
        answered = script.send(request, 1.0)
        return answered.headers, answered.body

    with Hanging(answer) as gateway:
        here = evolve(account, gateway=gateway.address, environment="simulator")
        pay = AplusPay(account=here, store=shop_store, hooks=shop)
        yield pay, gateway, paid
        pay.close()


def test_a_refund_and_a_press_do_not_wait_for_the_inquiries_of_reconcile(busy):
    pay, gateway, paid = busy
    with ThreadPoolExecutor(HANGING) as threads:
        rounds = [threads.submit(pay.reconcile) for _ in range(HANGING)]
        gateway.wait_for(HANGING)
        started = time.monotonic()
        refund = pay.refund(paid.payment_request_id, refund_request_id="credit-note-1")
        pressed = pay.run(initiate(pay.config, "A-NEW", Visitor()))
        took = time.monotonic() - started
        assert not any(one.done() for one in rounds)
        gateway.released.set()
        asked_about = sum(one.result(PATIENCE).asked for one in rounds)
    assert (refund.state, pressed.state) == (RefundState.SUCCEEDED, State.PENDING)
    assert took < 4  # less than an inquiry's 5 seconds
    assert asked_about == HANGING


def test_an_awaited_refund_and_press_do_not_wait_for_the_inquiries_of_reconcile(busy):
    pay, gateway, paid = busy

    async def main():
        rounds = [asyncio.ensure_future(pay.reconcile_async()) for _ in range(HANGING)]
        await asyncio.to_thread(gateway.wait_for, HANGING)
        started = time.monotonic()
        refund = await pay.refund_async(paid.payment_request_id, refund_request_id="credit-note-1")
        pressed = await pay.run_async(initiate(pay.config, "A-NEW", Visitor()))
        took = time.monotonic() - started
        assert not any(one.done() for one in rounds)
        gateway.released.set()
        await asyncio.gather(*rounds)
        await pay.aclose()
        return refund, pressed, took

    refund, pressed, took = asyncio.run(main())
    assert (refund.state, pressed.state) == (RefundState.SUCCEEDED, State.PENDING)
    assert took < 4
