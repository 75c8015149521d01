"""What holds for each call whatever the shop's own client is set to: redirects, time, encoding."""

import asyncio
import json

import pytest

from aplus_adapters import AplusPay, MemoryStore
from aplus_adapters.runtime.senders import AsyncSender, Sender, preferred_library
from support.http_requests import request_to
from support.shop import AsyncShop, Shop

GATEWAY = "https://gateway.example"


class Gateway:
    """A client of the shop's own that follows redirects and has time for ever; it notes requests."""

    def __init__(self, status=200, **headers):
        self.seen = []
        self._answer = {"status_code": status, "headers": headers, "content": b"{}"}

    def _handle(self, request):
        self.seen.append(request)
        return preferred_library().Response(**self._answer)

    def client(self, kind):
        library = preferred_library()
        return getattr(library, kind)(
            transport=library.MockTransport(self._handle), follow_redirects=True, timeout=None
        )


def send_blocking(gateway, timeout):
    return Sender(gateway.client("Client")).send(request_to(GATEWAY), timeout)


def send_awaiting(gateway, timeout):
    sender = AsyncSender(gateway.client("AsyncClient"))
    return asyncio.run(sender.send(request_to(GATEWAY), timeout))


both = pytest.mark.parametrize("send", [send_blocking, send_awaiting])


@both
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_signed_request_is_never_sent_to_where_a_redirect_points(send, status):
    gateway = Gateway(status, Location="https://elsewhere.example/")
    answer = send(gateway, 5.0)
    assert [request.url.host for request in gateway.seen] == ["gateway.example"]
    assert (answer.status, answer.body) == (status, b"{}")


@both
@pytest.mark.parametrize(
    ("timeout", "limits"),
    [
        (8.0, {"connect": 3.0, "read": 8.0, "write": 8.0, "pool": 7.2}),
        (1.0, {"connect": 0.9, "read": 1.0, "write": 1.0, "pool": 0.9}),
    ],
)
def test_each_step_of_a_call_has_its_time_and_none_has_more_than_the_call(send, timeout, limits):
    gateway = Gateway()
    send(gateway, timeout)
    (request,) = gateway.seen
    assert request.extensions["timeout"] == pytest.approx(limits)


@both
def test_the_signed_answer_comes_as_it_was_signed(send):
    gateway = Gateway()
    send(gateway, 5.0)
    (request,) = gateway.seen
    assert (request.method, str(request.url)) == ("POST", request_to(GATEWAY).url)
    assert request.headers.get_list("accept-encoding")[-1] == "identity"
    assert request.content == request_to(GATEWAY).body


@pytest.mark.parametrize("hooks", [Shop, AsyncShop])
def test_a_payments_calls_have_the_times_of_its_timing(account, clock, hooks):
    """Of a call, of the repeats, and whether the shop is served blocking or awaiting."""
    gateway = Gateway(500)
    kind = "client" if hooks is Shop else "async_client"
    client = gateway.client("Client" if hooks is Shop else "AsyncClient")
    pay = AplusPay(
        account=account, store=MemoryStore(), hooks=hooks(), clock=clock, **{kind: client}
    )
    if hooks is Shop:
        pay.start("A-1")
    else:
        asyncio.run(pay.start_async("A-1"))
    assert [request.extensions["timeout"]["read"] for request in gateway.seen] == [8.0, 8.0, 8.0]
    assert len({request.content for request in gateway.seen}) == 1
    assert json.loads(gateway.seen[0].content)["order"]["referenceOrderId"] == "A-1"
