"""What only a socket can bring: headers twice, under_scored twins, odd lengths, lost senders."""

import socket
from itertools import count

import pytest

from support.forms import SERVERS

pytestmark = pytest.mark.parametrize("served", SERVERS, indirect=True, scope="session")
# These leave out a header with an underscore before any application sees it; the others pass it on,
# and it is refused.
DROP_TWINS = {"flask-gunicorn", "flask-gunicorn-gthread", "flask-waitress", "flask-granian"}
# It passes on what has come of a body in chunks as if that were all.
HIDES_A_CUT = {"flask-granian"}
_number = count()


@pytest.fixture
def told(served):
    """A true notification of a new order: the order, the body, the lines of its headers."""
    order = f"S-{next(_number)}"
    attempt = served.attempt(served.pay(order)["paymentRequestId"])
    body = served.alipayplus.notification(attempt)
    headers = served.alipayplus.sign(body)
    return order, body, [f"{name}: {value}" for name, value in headers.items()]


def exchange(served, lines, body, *, hang_up=False, path="notify"):
    """Send lines and bytes as they are; give the whole answer."""
    url = served.client.base_url
    head = [f"POST /aplus/{path} HTTP/1.1", f"Host: {url.host}:{url.port}", "Connection: close"]
    request = "\r\n".join([*head, *lines, "", ""]).encode("latin-1") + body
    with socket.create_connection((url.host, url.port), timeout=30) as connection:
        connection.sendall(request)
        if hang_up:
            return b""
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    return answer


def status_of(answer):
    return int(answer.split(b" ", 2)[1])


def length_of(body):
    return f"Content-Length: {len(body)}"


@pytest.mark.parametrize("name", ["Client-Id", "Request-Time", "Signature"])
@pytest.mark.parametrize("other", ["the same", "another first", "another last"])
def test_a_protocol_header_that_comes_twice_is_refused(served, told, name, other):
    order, body, lines = told
    (true,) = (line for line in lines if line.startswith(f"{name}:"))
    twin = true if other == "the same" else f"{name}: OF-SOMEONE-ELSE"
    lines = [twin, *lines] if other == "another first" else [*lines, twin]
    answer = exchange(served, [*lines, length_of(body)], body)
    assert 400 <= status_of(answer) < 500
    assert served.changes(order) == []


@pytest.mark.parametrize("name", ["Client_Id", "Request_Time", "client_id"])
@pytest.mark.parametrize("place", ["first", "last"])
def test_a_twin_with_an_underscore_never_takes_the_headers_place(served, told, name, place):
    order, body, lines = told
    twin = f"{name}: OF-SOMEONE-ELSE"
    lines = [twin, *lines] if place == "first" else [*lines, twin]
    status = status_of(exchange(served, [*lines, length_of(body)], body))
    if served.form in DROP_TWINS:
        assert (status, served.changes(order)) == (200, ["succeeded"])
    else:
        assert 400 <= status < 500
        assert served.changes(order) == []


def test_a_body_in_chunks_of_one_byte_arrives_whole(served, told):
    order, body, lines = told
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    lines = [*lines, "Transfer-Encoding: chunked"]
    if served.form == "flask-wsgiref":  # HTTP/1.0: it knows no chunks, and gives us no byte
        answer = exchange(served, lines, chunks)
        assert status_of(answer) == 400
        assert answer.endswith(b"the body was consumed or cut off before it could be read\n")
        assert served.changes(order) == []
        return
    assert status_of(exchange(served, lines, chunks)) == 200
    assert served.changes(order) == ["succeeded"]


@pytest.mark.parametrize(
    "length", ["-1", "+5", "1_0", "x", "5, 5", "\uff15".encode().decode("latin-1")]
)
def test_a_length_that_is_none_is_refused(served, told, length):
    order, body, lines = told
    answer = exchange(served, [*lines, f"Content-Length: {length}"], body)
    assert answer == b"" or 400 <= status_of(answer) < 500
    assert served.changes(order) == []


def test_a_sender_who_hangs_up_harms_nobody(served, told):
    order, body, lines = told
    for part in (0, 1, len(body) - 1):
        exchange(served, [*lines, length_of(body)], body[:part], hang_up=True)
    assert served.changes(order) == []
    assert status_of(exchange(served, [*lines, length_of(body)], body)) == 200
    assert served.changes(order) == ["succeeded"]


@pytest.mark.parametrize("chunked", [False, True])
def test_an_order_that_is_cut_off_is_not_another_order(served, chunked):
    """What arrives of A-10010 is A-1001: nobody asked to pay that one."""
    whole, number = f"C-{next(_number)}", len(served.simulator.orders())
    body = f"order_ref={whole}".encode()
    lines = ["Content-Type: application/x-www-form-urlencoded"]
    if chunked:
        body = b"%x\r\n%s\r\n" % (len(body), body)
        lines.append("Transfer-Encoding: chunked")
    else:
        lines.append(length_of(body + b"0"))
    url = served.client.base_url
    with socket.create_connection((url.host, url.port), timeout=30) as connection:
        head = ["POST /aplus/pay HTTP/1.1", f"Host: {url.host}:{url.port}", *lines, "", ""]
        connection.sendall("\r\n".join(head).encode() + body)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(65536)
    if chunked and served.form in HIDES_A_CUT:
        assert status_of(answer) == 303
        return
    assert answer == b"" or 400 <= status_of(answer) < 500
    assert len(served.simulator.orders()) == number


@pytest.mark.parametrize("chunk", [b"zz\r\nxx\r\n0\r\n\r\n", b"5\r\nab"])
def test_broken_chunks_are_no_5xx(served, told, chunk):
    order, _, lines = told
    url = served.client.base_url
    with socket.create_connection((url.host, url.port), timeout=30) as connection:
        head = ["POST /aplus/notify HTTP/1.1", f"Host: {url.host}:{url.port}", *lines,
                "Transfer-Encoding: chunked", "", ""]  # fmt: skip
        connection.sendall("\r\n".join(head).encode("latin-1") + chunk)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(65536)
    assert answer == b"" or 400 <= status_of(answer) < 500
    assert served.changes(order) == []
