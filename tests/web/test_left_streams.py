"""A browser that leaves the events of a payment takes no answer of Alipay+ with it."""

import asyncio
import json

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount

from aplus_adapters import AplusPay, MemoryStore, PageDesign, State, asgi, fastapi, starlette
from aplus_adapters.payments.effects import Send
from aplus_adapters.testing import Simulator
from support.shop import Shop


def of_fastapi(pay):
    app = FastAPI()
    app.include_router(fastapi.create_router(pay), prefix="/aplus")
    return app


APPLICATIONS = {
    "starlette": lambda pay: Starlette(routes=[Mount("/aplus", routes=starlette.create_routes(pay))]),
    "fastapi": of_fastapi,
    "middleware": lambda pay: asgi.AplusMiddleware(Starlette(), pay),
}  # fmt: skip


@pytest.fixture
def sold():
    """A shop of a simulated Alipay+, and a payment that is paid without the shop having heard it."""
    with Simulator() as simulator:
        pay = AplusPay(
            account=simulator.account, store=MemoryStore(), hooks=Shop(),
            page=PageDesign(events=True),
        )  # fmt: skip
        simulator.connect(pay)
        attempt = pay.start("A-1")
        simulator.clock.advance(seconds=21)  # an inquiry is due
        with simulator.shop_unreachable():
            simulator.alipayplus.decide(simulator.order(attempt), "pay")
            yield pay, attempt.payment_request_id


def events_of(request_id):
    path = f"/aplus/payments/{request_id}/events"
    # With this version Starlette cancels a stream when its browser has left; servers announce it.
    return {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
        "method": "GET", "path": path, "raw_path": path.encode(), "root_path": "",
        "query_string": b"", "headers": [], "client": ("203.0.113.9", 1),
        "server": ("shop.example", 443), "scheme": "https",
    }  # fmt: skip


async def leave_while_alipayplus_is_asked(app, pay, request_id, *, ends=False):
    """Open the events, leave during the inquiry, and let its answer come then."""
    asked, answers, left = asyncio.Event(), asyncio.Event(), asyncio.Event()
    table = pay.async_performer._table
    send = table[Send]

    async def held(effect):
        asked.set()
        await answers.wait()
        return await send(effect)

    table[Send] = held
    messages = [{"type": "http.request", "body": b""}]

    async def receive():
        if not messages:
            await left.wait()
            return {"type": "http.disconnect"}
        return messages.pop()

    async def nothing(_message):
        """Somebody who has left reads nothing."""

    request = asyncio.create_task(app(events_of(request_id), receive, nothing))
    await asyncio.wait_for(asked.wait(), 5)
    left.set()
    await asyncio.sleep(0.05)
    request.cancel()  # if the framework has not done it
    await asyncio.gather(request, return_exceptions=True)
    if ends:
        ending = asyncio.create_task(pay.aclose())
        await asyncio.sleep(0.05)
        answers.set()
        await ending
        return
    answers.set()
    await asyncio.sleep(0.05)
    await pay.aclose()


@pytest.mark.parametrize("kind", APPLICATIONS)
@pytest.mark.parametrize("ends", [False, True], ids=["the shop goes on", "the shop ends"])
def test_an_inquiry_under_way_is_recorded_although_its_browser_has_left(sold, kind, ends):
    pay, request_id = sold
    asyncio.run(
        leave_while_alipayplus_is_asked(APPLICATIONS[kind](pay), pay, request_id, ends=ends)
    )
    after = pay.find(request_id)
    assert (after.state, after.claimed_until) == (State.SUCCEEDED, None)


@pytest.mark.parametrize("kind", APPLICATIONS)
def test_a_stream_says_each_change_and_that_it_is_there(sold, kind):
    pay, request_id = sold

    async def read():
        sent, first = [], [{"type": "http.request", "body": b""}]

        async def receive():
            return first.pop() if first else await asyncio.sleep(60)

        async def send(message):
            sent.append(message.get("body", b""))

        await APPLICATIONS[kind](pay)(events_of(request_id), receive, send)
        await pay.aclose()
        return b"".join(sent)

    (event,) = asyncio.run(read()).strip().split(b"\n\n")
    assert json.loads(event.removeprefix(b"data: "))["state"] == "paid"
