"""`timeout` is the total for one call, whatever the other side does: raw sockets that never end."""

import asyncio
import contextlib
import gc
import socket
import ssl
import threading
import time
import warnings
from contextvars import ContextVar

import pytest
from attrs import evolve

from aplus_adapters import NotSent, OutcomeUnknown
from aplus_adapters.runtime.senders import AsyncSender, Sender, _Body, preferred_library
from support.http_requests import certificate, request_to

TOTAL = 0.5  # seconds that each call may take
LATEST = 4.0  # and by when a machine that is busy with other things has noticed
GIVE_UP = 15  # seconds after which a test has hung
LIBRARIES = ["httpx", "httpx2"]


class Wire:
    """A server of one behaviour; `behave(connection, stop)` runs in a thread per connection."""

    def __init__(self, behave):
        self.behave, self.stop, self.threads = behave, threading.Event(), []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.acceptor = threading.Thread(target=self._accept)

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                thread = threading.Thread(target=self._serve, args=(connection,))
                self.threads.append(thread)
                thread.start()

    def _serve(self, connection):
        with connection, contextlib.suppress(OSError):
            self.behave(connection, self.stop)

    def __enter__(self):
        self.acceptor.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in (self.acceptor, *self.threads):
            thread.join(GIVE_UP)


def drip(connection, stop, piece):
    while not stop.wait(0.05):
        connection.sendall(piece)


def dripping(piece, start=b""):
    """Return a server's behaviour: it begins with `start`, then a piece comes now and then."""

    def behave(connection, stop):
        connection.recv(65536)
        connection.sendall(start)
        drip(connection, stop, piece)

    return behave


headers = dripping(b"a", b"HTTP/1.1 200 OK\r\nX: ")


def early_hints(connection, stop):
    connection.recv(65536)
    while not stop.is_set():  # without a pause
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")


def one_byte_chunks(connection, stop):
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not stop.is_set():
        connection.sendall(b"1\r\nx\r\n" * 1000)


def silence(connection, stop):
    connection.recv(65536)
    stop.wait(GIVE_UP)


ENDLESS = {
    "headers": headers,
    "status_line": dripping(b"O", b"HTTP/1.1 200 "),
    "continues": dripping(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": dripping(b"a", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"),
    "early_hints": early_hints,
    "one_byte_chunks": one_byte_chunks,
    "silence": silence,
}


def within_total(send):
    """Run `send` in a thread of its own, so that a hang fails; return its error and seconds."""
    outcome = {}

    def work():
        started = time.monotonic()
        try:
            outcome["answer"] = send()
        except Exception as error:
            outcome["error"] = error
        outcome["took"] = time.monotonic() - started

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(GIVE_UP)
    assert not thread.is_alive(), "the call hangs"
    assert outcome["took"] < LATEST
    error = outcome.pop("error", None)
    if error is not None:
        error.__traceback__ = error.__cause__ = error.__context__ = None
    with warnings.catch_warnings():
        # httpcore leaves a connection whose TLS handshake was cancelled to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
    return error


def blocking(request, client=None):
    def send():
        sender = Sender(client)
        try:
            return sender.send(request, TOTAL)
        finally:
            sender.close()

    return send


def awaiting(request, client=None):
    async def main():
        sender = AsyncSender(client)
        try:
            return await sender.send(request, TOTAL)
        finally:
            await sender.aclose()

    return lambda: asyncio.run(main())


both = pytest.mark.parametrize("send", [blocking, awaiting])


@both
@pytest.mark.parametrize("behaviour", ENDLESS)
def test_an_answer_without_end_is_left_at_the_total_time(send, behaviour):
    with Wire(ENDLESS[behaviour]) as wire:
        error = within_total(send(request_to(f"http://127.0.0.1:{wire.port}")))
    assert type(error) is OutcomeUnknown


@pytest.mark.parametrize("behaviour", ENDLESS)
@pytest.mark.parametrize("library", LIBRARIES)
def test_the_total_time_holds_with_a_client_of_the_shops(library, behaviour):
    http = pytest.importorskip(library)
    with Wire(ENDLESS[behaviour]) as wire, http.Client() as client:
        address = f"http://127.0.0.1:{wire.port}"
        assert type(within_total(blocking(request_to(address), client))) is OutcomeUnknown


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_total_time_holds_under_a_transport_of_the_shops_own(library):
    http = pytest.importorskip(library)

    class Counting(http.BaseTransport):
        def __init__(self):
            self.wrapped = http.HTTPTransport()

        def handle_request(self, request):
            return self.wrapped.handle_request(request)

        def close(self):
            self.wrapped.close()

    with Wire(headers) as wire, http.Client(mounts={"all://": Counting()}) as client:
        address = f"http://127.0.0.1:{wire.port}"
        assert type(within_total(blocking(request_to(address), client))) is OutcomeUnknown


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_total_time_holds_on_a_connection_that_the_shop_had_opened_before(library):
    http = pytest.importorskip(library)
    opened = []

    def answer_once(connection, stop):
        opened.append(connection)
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        headers(connection, stop)

    with Wire(answer_once) as wire, http.Client() as client:
        address = f"http://127.0.0.1:{wire.port}"
        assert client.get(address).status_code == 200
        assert type(within_total(blocking(request_to(address), client))) is OutcomeUnknown
    assert len(opened) == 1


@pytest.mark.parametrize("library", LIBRARIES)
def test_other_calls_of_the_shops_client_keep_their_own_time(library):
    http = pytest.importorskip(library)

    def slow(connection, stop):
        while connection.recv(65536):
            stop.wait(TOTAL * 1.5)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with Wire(slow) as wire, http.Client() as client:
        address = f"http://127.0.0.1:{wire.port}"
        assert type(within_total(blocking(request_to(address), client))) is OutcomeUnknown
        assert client.get(address).status_code == 200


def reads_nothing(connection, stop):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stop.wait(GIVE_UP)


@both
def test_a_gateway_that_reads_nothing_is_left_at_the_total_time(send):
    with Wire(reads_nothing) as wire:
        request = evolve(request_to(f"http://127.0.0.1:{wire.port}"), body=b"x" * 20_000_000)
        assert type(within_total(send(request))) is OutcomeUnknown


def tls_never_ends(connection, stop):
    connection.recv(65536)
    connection.sendall(b"\x16\x03\x03\x40\x00")  # the head of a handshake record of 16 KiB
    drip(connection, stop, b"\0")


@both
def test_a_tls_handshake_without_end_is_left_and_nothing_was_sent(send):
    with Wire(tls_never_ends) as wire:
        error = within_total(send(request_to(f"https://127.0.0.1:{wire.port}")))
    assert type(error) is NotSent


@both
def test_an_answer_without_end_over_tls_is_left_at_the_total_time(send, tmp_path, monkeypatch):
    path = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)

    def secured(connection, stop):
        with context.wrap_socket(connection, server_side=True) as inner:
            headers(inner, stop)

    with Wire(secured) as wire:
        error = within_total(send(request_to(f"https://127.0.0.1:{wire.port}")))
    assert type(error) is OutcomeUnknown


def tunnel(connection, stop):
    """Be a proxy that opens the tunnel, and the gateway behind it that trickles its TLS."""
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
    tls_never_ends(connection, stop)


@both
@pytest.mark.parametrize("behaviour", [headers, tunnel, tls_never_ends])
def test_a_proxy_without_end_is_left_at_the_total_time(send, behaviour, monkeypatch):
    with Wire(behaviour) as wire:
        scheme = "https" if behaviour is tls_never_ends else "http"
        monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://127.0.0.1:{wire.port}")
        error = within_total(send(request_to("https://gateway.example")))
    # Whether the handshake or the whole call ended first: NotSent is said only if that is sure.
    assert (
        type(error) is OutcomeUnknown
        if behaviour is headers
        else isinstance(error, (NotSent, OutcomeUnknown))
    )
    assert send is awaiting or behaviour is headers or type(error) is NotSent


@pytest.mark.parametrize("library", LIBRARIES)
def test_an_answer_without_end_through_a_proxy_with_tls_is_left(library, tmp_path):
    """TLS within TLS: one read of the inner layer is any number of reads of the outer one."""
    http = pytest.importorskip(library)
    path = certificate(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    trusting = ssl.create_default_context(cafile=str(path))

    def proxy(connection, stop):
        with server.wrap_socket(connection, server_side=True) as outer:
            outer.recv(65536)
            outer.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            outer.recv(65536)
            outer.sendall(b"\x16\x03\x03\x40\x00")
            drip(outer, stop, b"\0")

    with Wire(proxy) as wire:
        through = http.Proxy(f"https://127.0.0.1:{wire.port}", ssl_context=trusting)
        with http.Client(proxy=through, verify=trusting) as client:
            error = within_total(blocking(request_to("https://127.0.0.1:9"), client))
    assert type(error) is NotSent


def test_a_dead_address_of_a_host_leaves_time_for_the_next_one(monkeypatch):
    """As where a host has an address of IPv6 that leads nowhere."""

    def answer(connection, stop):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    full = socket.socket()  # whose queue takes nobody: connecting waits
    full.bind(("127.0.0.2", 0))
    port = full.getsockname()[1]
    full.listen(0)
    waiting = [socket.socket() for _ in range(4)]
    for one in waiting:
        one.settimeout(0)
        one.connect_ex(("127.0.0.2", port))
    wire = Wire(answer)
    wire.listener.close()
    wire.listener = socket.create_server(("127.0.0.1", port))
    found = socket.getaddrinfo

    def both_addresses(host, *rest):
        if host != "gateway.example":
            return found(host, *rest)
        return [
            *found("127.0.0.2", port, 0, socket.SOCK_STREAM),
            *found("127.0.0.1", port, 0, socket.SOCK_STREAM),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", both_addresses)
    with wire:
        request = request_to(f"http://gateway.example:{port}")
        assert within_total(blocking(request)) is None
    for one in (full, *waiting):
        one.close()


def test_the_addresses_of_a_name_are_those_for_connections(monkeypatch):
    asked = []

    def noting(*arguments):
        asked.append(arguments)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 1))]

    monkeypatch.setattr(socket, "getaddrinfo", noting)
    assert within_total(blocking(request_to("http://gateway.example:1"))) is not None
    assert asked[0] == ("gateway.example", 1, 0, socket.SOCK_STREAM)


def test_a_name_that_is_not_resolved_in_time_is_left_and_nothing_was_sent(monkeypatch):
    """The system's resolver has a time-out of its own, often 30 seconds."""
    asked = threading.Event()
    released = threading.Event()

    def hanging(*_):
        asked.set()
        released.wait(GIVE_UP)
        raise OSError("no answer")

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    error = within_total(blocking(request_to("http://gateway.example")))
    released.set()
    assert type(error) is NotSent
    assert "gateway.example was not resolved in time" in str(error)
    assert asked.is_set()


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_transport_over_another_http_library_is_left_at_the_total_time(library):
    """Its network cannot be guarded: the call is left to itself, in a thread."""
    http = pytest.importorskip(library)
    who = ContextVar("who")
    seen = []
    released = threading.Event()

    class Foreign(http.BaseTransport):
        def handle_request(self, request):
            seen.append(who.get())
            if request.read() == b"hang":
                released.wait(GIVE_UP)
            if request.read() == b"fail":
                raise http.ConnectError("nobody listens")
            return http.Response(200, content=b"{}")

    who.set("the caller's context")
    with http.Client(transport=Foreign()) as client:
        sender = Sender(client)
        request = request_to("https://gateway.example")
        assert sender.send(request, TOTAL).body == b"{}"
        with pytest.raises(NotSent, match="nobody listens"):
            sender.send(evolve(request, body=b"fail"), TOTAL)
        started = time.monotonic()
        with pytest.raises(OutcomeUnknown, match="the time for the whole call is over"):
            sender.send(evolve(request, body=b"hang"), TOTAL)
        assert time.monotonic() - started < LATEST
        released.set()
    assert seen == ["the caller's context"] * 3


def test_a_mocked_call_stays_in_the_thread_of_its_caller():
    """As a test's own database connection does, and whatever else belongs to a thread."""
    threads = []

    def handle(_request):
        threads.append(threading.current_thread())
        return preferred_library().Response(200, content=b"{}")

    http = preferred_library()
    with http.Client(transport=http.MockTransport(handle)) as client:
        Sender(client).send(request_to("https://gateway.example"), TOTAL)
    assert threads == [threading.current_thread()]


def test_no_thread_is_left_behind_by_a_call():
    with Wire(headers) as wire:
        send = blocking(request_to(f"http://127.0.0.1:{wire.port}"))
        within_total(send)
        before = {one for one in threading.enumerate() if one not in wire.threads}
        within_total(send)
        assert {one for one in threading.enumerate() if one not in wire.threads} <= before


def test_an_answer_in_two_hundred_thousand_chunks_costs_no_more_than_its_bytes():
    """Each chunk was counted over all before it, while the event loop stood still."""

    def add(number):
        whole = _Body(request_to(""), 60.0)
        started = time.thread_time()
        for _ in range(number):
            whole.add(b"x")
        return time.thread_time() - started

    few, many = (min(add(number) for _ in range(3)) for number in (2_000, 200_000))
    assert many < 400 * few  # quadratic would be 10,000 times


def test_the_event_loop_goes_on_while_an_answer_comes_in_tiny_chunks():
    worst = 0.0

    async def main(port):
        nonlocal worst
        sender = AsyncSender()
        call = asyncio.ensure_future(sender.send(request_to(f"http://127.0.0.1:{port}"), TOTAL))
        while not call.done():
            before = time.thread_time()
            await asyncio.sleep(0.01)
            worst = max(worst, time.thread_time() - before)
        with pytest.raises(OutcomeUnknown):
            await call
        await sender.aclose()

    with Wire(one_byte_chunks) as wire:
        asyncio.run(main(wire.port))
    assert worst < 1.0  # of work; what others do on a busy machine does not count
