"""Each operation on a socket: the seconds that it gets, and what it raises once there are none."""

import pytest

from aplus_adapters.runtime.deadline import NotConnected, TooLate, _Backend, _Stream, deadline

NEVER = 1000.0  # seconds: no call here takes that long


class Inner:
    """A network that notes the seconds which it is given."""

    def __init__(self):
        self.given, self.closed = [], False

    def _note(self, timeout):
        self.given.append(timeout)
        return self

    def connect_tcp(self, host, port, timeout=None, **options):
        assert (host, port, options) == ("192.0.2.1", 443, {"local_address": None})
        return self._note(timeout)

    def connect_unix_socket(self, path, timeout=None, **options):
        assert (path, options) == ("/run/gateway", {"socket_options": []})
        return self._note(timeout)

    def sleep(self, seconds):
        return self._note(seconds)

    def read(self, max_bytes, timeout=None):
        self._note(timeout)
        return b"x" * max_bytes

    def write(self, buffer, timeout=None):
        self._note(timeout)

    def start_tls(self, ssl_context, server_hostname=None, timeout=None):
        assert (ssl_context, server_hostname) == ("context", "gateway.example")
        return self._note(timeout)

    def get_extra_info(self, info):
        return f"the {info}"

    def close(self):
        self.closed = True


def connect(inner, seconds):
    _Backend(inner).connect_tcp("192.0.2.1", 443, timeout=seconds, local_address=None)


def connect_unix(inner, seconds):
    _Backend(inner).connect_unix_socket("/run/gateway", timeout=seconds, socket_options=[])


def sleep(inner, seconds):
    _Backend(inner).sleep(seconds)


def start_tls(inner, seconds):
    _Stream(inner).start_tls("context", server_hostname="gateway.example", timeout=seconds)


def read(inner, seconds):
    assert _Stream(inner).read(7, timeout=seconds) == b"x" * 7


def write(inner, seconds):
    _Stream(inner).write(b"x", timeout=seconds)


# Whether nothing of the request can have been sent when it is too late for the operation.
OPERATIONS = {
    connect: True,
    connect_unix: True,
    sleep: True,
    start_tls: True,
    read: False,
    write: False,
}


@pytest.fixture(params=OPERATIONS, ids=lambda operation: operation.__name__)
def operation(request):
    return request.param


def test_too_late_to_connect_is_not_sent_and_too_late_after_it_is_in_doubt(operation):
    inner = Inner()
    with deadline(-1.0), pytest.raises(TooLate) as late:
        operation(inner, NEVER)
    assert (type(late.value) is NotConnected) is OPERATIONS[operation]
    assert inner.given == []


@pytest.mark.parametrize(("timeout", "left"), [(3.0, NEVER), (NEVER, 3.0)])
def test_an_operation_gets_its_own_seconds_and_no_more_than_are_left(operation, timeout, left):
    inner = Inner()
    with deadline(left):
        operation(inner, timeout)
    assert inner.given == pytest.approx([3.0], abs=1.0)


def test_an_operation_without_seconds_of_its_own_gets_those_that_are_left(operation):
    inner = Inner()
    if operation is sleep:
        return
    with deadline(3.0):
        operation(inner, None)
    assert inner.given == pytest.approx([3.0], abs=1.0)


def test_a_call_that_the_shop_makes_itself_has_its_own_seconds_alone(operation):
    inner = Inner()
    operation(inner, 7.0)
    assert inner.given == [7.0]


@pytest.mark.parametrize(("size", "pieces"), [(0, 0), (4096, 1), (4097, 2), (8193, 3)])
def test_a_buffer_is_written_in_pieces_each_of_which_is_within_the_deadline(size, pieces):
    class Noting(Inner):
        written = b""

        def write(self, buffer, timeout=None):
            assert len(buffer) <= 4096
            self.written += buffer
            super().write(buffer, timeout)

    inner = Noting()
    body = bytes(number % 251 for number in range(size))
    with deadline(3.0):
        _Stream(inner).write(body, timeout=NEVER)
    assert inner.written == body
    assert inner.given == pytest.approx([3.0] * pieces, abs=1.0)


def test_a_stream_shows_and_closes_what_is_under_it():
    inner = Inner()
    stream = _Stream(inner)
    assert stream.get_extra_info("socket") == "the socket"
    stream.close()
    assert inner.closed
