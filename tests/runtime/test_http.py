"""Real HTTP over loopback: what is sent, how time-outs and TLS behave, what is believed."""

import asyncio
import socket
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from aplus_adapters import ConfigurationError, NotSent, OutcomeUnknown
from aplus_adapters.runtime.senders import MAX_ANSWER, AsyncSender, Sender, preferred_library
from aplus_adapters.simulator.ports import ReservedPort
from support.http_requests import certificate, request_to


class Recorder(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.client_address, self.path, dict(self.headers), body))
        self.server.behave(self)

    def log_message(self, *_):
        pass


def reply(handler, status=200, body=b"{}", **headers):
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


@pytest.fixture
def server():
    made = ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
    made.seen, made.behave = [], reply
    made.address = f"http://127.0.0.1:{made.server_address[1]}"
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def send_blocking(*requests, timeout=5.0, client=None):
    sender = Sender(client)
    try:
        return [sender.send(request, timeout) for request in requests][-1]
    finally:
        sender.close()


def send_awaiting(*requests, timeout=5.0, client=None):
    async def main():
        sender = AsyncSender(client)
        try:
            return [await sender.send(request, timeout) for request in requests][-1]
        finally:
            await sender.aclose()

    return asyncio.run(main())


both = pytest.mark.parametrize("send", [send_blocking, send_awaiting])


@both
def test_the_signed_bytes_are_the_bytes_sent(server, send):
    answer = send(request_to(server.address))
    ((_, path, headers, body),) = server.seen
    assert (path, body) == ("/aps/api/v1/payments/pay", '{"a":"ü"}'.encode())
    assert headers["Content-Type"] == "application/json; charset=UTF-8"
    assert headers["Accept-Encoding"] == "identity"
    assert (answer.status, answer.body) == (200, b"{}")


@both
def test_connections_are_kept_and_shared_by_one_account_only(server, send):
    send(*[request_to(server.address)] * 3, request_to(server.address, "OTHER"))
    ports = [address for address, *_ in server.seen]
    assert ports[0] == ports[1] == ports[2] != ports[3]


@both
def test_where_nobody_listens_nothing_was_sent(send):
    silent = ReservedPort()
    with pytest.raises(NotSent, match="nothing was sent"):
        send(request_to(f"http://127.0.0.1:{silent.number}"))
    silent.release()


@both
def test_an_answer_that_does_not_come_in_time_is_unknown(server, send):
    released = threading.Event()
    server.behave = lambda handler: released.wait(10)
    started = time.monotonic()
    with pytest.raises(OutcomeUnknown, match="may have been acted on"):
        send(request_to(server.address), timeout=0.3)
    assert time.monotonic() - started < 3
    released.set()


@both
def test_an_answer_that_trickles_is_cut_off_at_the_total_deadline(server, send):
    def trickle(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        try:
            for _ in range(100):
                handler.wfile.write(b" ")
                handler.wfile.flush()
                time.sleep(0.05)
        except OSError:
            pass

    server.behave = trickle
    started = time.monotonic()
    with pytest.raises(OutcomeUnknown):
        send(request_to(server.address), timeout=0.4)
    assert time.monotonic() - started < 3


@both
def test_an_endless_answer_is_not_read_to_its_end(server, send):
    server.behave = lambda handler: reply(handler, body=b" " * (MAX_ANSWER + 100_000))
    with pytest.raises(OutcomeUnknown, match="over 1048576 bytes"):
        send(request_to(server.address))


@both
def test_a_cut_connection_is_unknown(server, send):
    server.behave = lambda handler: handler.connection.shutdown(socket.SHUT_RDWR)
    with pytest.raises(OutcomeUnknown):
        send(request_to(server.address))


@both
def test_a_redirect_is_an_answer_and_is_not_followed(server, send):
    server.behave = lambda handler: reply(handler, 307, Location=f"{server.address}/elsewhere")
    assert send(request_to(server.address)).status == 307
    assert len(server.seen) == 1


def test_the_shops_own_client_is_used_and_not_closed(server):
    with preferred_library().Client(headers={"X-Shop": "1"}, follow_redirects=True) as client:
        send_blocking(request_to(server.address), client=client)
        assert not client.is_closed
    assert server.seen[0][2]["X-Shop"] == "1"


def test_the_shops_own_async_client_is_used_and_not_closed(server):
    async def main():
        async with preferred_library().AsyncClient(headers={"X-Shop": "1"}) as client:
            sender = AsyncSender(client)
            await sender.send(request_to(server.address), 5.0)
            await sender.aclose()
            assert not client.is_closed

    asyncio.run(main())
    assert server.seen[0][2]["X-Shop"] == "1"


def test_a_client_of_the_older_library_works_as_well(server):
    import httpx

    with httpx.Client() as client:
        assert send_blocking(request_to(server.address), client=client).status == 200


def test_something_that_is_no_client_is_refused():
    with pytest.raises(
        ConfigurationError, match=r"found builtins\.object, expected an httpx\.Client"
    ):
        Sender(object())


def secured(server, path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None
    return server.address.replace("http:", "https:")


@both
def test_tls_with_a_trusted_certificate_works(server, send, tmp_path, monkeypatch):
    path = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    assert send(request_to(secured(server, path))).status == 200


@both
@pytest.mark.parametrize(
    ("flaw", "trusted"),
    [({}, False), ({"host": "elsewhere.example"}, True), ({"days": -1}, True)],
    ids=["self-signed", "wrong host", "expired"],
)
def test_tls_that_proves_nothing_is_refused_before_anything_is_sent(
    server, send, tmp_path, monkeypatch, flaw, trusted
):
    path = certificate(tmp_path, **flaw)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
    with pytest.raises(NotSent, match=r"(?i)certificate"):
        send(request_to(secured(server, path)))
    assert server.seen == []


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
@pytest.mark.parametrize("content", [b'{"a":"1"}', b""], ids=["a body", "no body"])
def test_a_shops_own_client_may_be_mocked_with_a_response_that_is_read_already(library, content):
    """`Response(content=...)` is how every example of MockTransport writes it."""
    http = pytest.importorskip(library)

    def handle(request):
        assert request.read() == request_to("").body
        return http.Response(200, content=content, headers={"X-Seen": "yes"})

    client = http.Client(transport=http.MockTransport(handle))
    async_client = http.AsyncClient(transport=http.MockTransport(handle))
    for send, given in ((send_blocking, client), (send_awaiting, async_client)):
        answer = send(request_to("https://gateway.example"), client=given)
        assert (answer.status, answer.body) == (200, content)
        assert ("x-seen", "yes") in answer.headers


@both
def test_a_mocked_response_over_the_limit_is_no_answer(send):
    import httpx

    content = b"x" * (MAX_ANSWER + 1)
    kind = httpx.Client if send is send_blocking else httpx.AsyncClient
    client = kind(transport=httpx.MockTransport(lambda _: httpx.Response(200, content=content)))
    with pytest.raises(OutcomeUnknown, match="over 1048576 bytes"):
        send(request_to("https://gateway.example"), client=client)
