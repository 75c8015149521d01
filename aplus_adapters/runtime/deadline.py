"""The end of a blocking call: nothing that it waits for lets it go on beyond its total time.

The time-outs of httpx are for one operation each: an answer that trickles is in time for ever. So
the network under a client is wrapped, and each operation gets at most what is left of the call. A
client that the shop uses for other calls as well does those as before. A call by a transport that
cannot be wrapped is made in a thread, which is left to itself when the time is over.
"""

from __future__ import annotations

import contextvars
import ipaddress
import socket
import ssl
import sys
import threading
import time
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from aplus_adapters.runtime.transports import innermost_transports, is_of_library

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["NotConnected", "TooLate", "deadline", "guard", "in_thread"]

T = TypeVar("T")
_PIECE = 4096  # bytes that are written at once: a reader that trickles gains little by each
_AT: ContextVar[float | None] = ContextVar("aplus_deadline", default=None)


class TooLate(Exception):
    """The call's time was over."""


class NotConnected(TooLate):
    """No connection came about in time, so that no byte of the request left."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Let no socket operation of this thread's guarded clients go on beyond `seconds` from now."""
    token = _AT.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _AT.reset(token)


def _left(timeout: float | None, *, is_connecting: bool = False) -> float | None:
    """Return the seconds for one operation; raise TooLate if there are none."""
    at = _AT.get()
    if at is None:
        return timeout
    left = at - time.monotonic()
    if left <= 0:
        kind = NotConnected if is_connecting else TooLate
        raise kind("the time for the whole call was over")
    return left if timeout is None else min(left, timeout)


def in_thread(function: Callable[[], T], timeout: float | None) -> T:
    """Return what `function` returns; raise TooLate if that takes longer than `timeout` seconds.

    It runs in a thread of its own, with the context of the caller; nobody can end it.
    """
    outcome: list[tuple[bool, Any]] = []

    def work() -> None:
        try:
            outcome.append((True, function()))
        except BaseException as error:
            outcome.append((False, error))

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(work,), name="aplus-call", daemon=True)
    thread.start()
    thread.join(timeout)
    if not outcome:
        raise TooLate("the time for the whole call was over")
    is_result, value = outcome[0]
    if not is_result:
        raise value
    result: T = value
    return result


def guard(client: Any) -> bool:
    """Wrap the network under every transport of a client; return whether that could be done.

    Transports of httpx that have no network, such as MockTransport, need no guard.
    """
    is_guarded = True
    for transport in innermost_transports(client):
        pool = getattr(transport, "_pool", None)
        if hasattr(pool, "_network_backend"):
            _guard_pool(pool)
        elif pool is not None or not is_of_library(transport):
            is_guarded = False
    return is_guarded


def _guard_pool(pool: Any) -> None:
    """Wrap the backend of a connection pool, and the connections that are open already."""
    if isinstance(pool._network_backend, _Backend):  # noqa: SLF001  # httpx offers no other way
        return
    pool._network_backend = _Backend(pool._network_backend)  # noqa: SLF001
    for connection in pool.connections:
        inner = connection
        while hasattr(inner, "_connection"):  # a tunnel holds a connection, which holds another
            if hasattr(inner, "_network_backend"):
                inner._network_backend = pool._network_backend  # noqa: SLF001
            inner = inner._connection  # noqa: SLF001
        if hasattr(inner, "_network_stream"):
            inner._network_stream = _Stream(inner._network_stream)  # noqa: SLF001


class _Backend:
    """Opens connections as `inner` does, within the deadline."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, **options: Any
    ) -> _Stream:
        """Connect to the first address of the host that answers; each gets its share of the time.

        A host with a dead address (often that of IPv6) is reached by the next one in time.
        """
        if _AT.get() is None:  # a call of the shop's own
            return _Stream(self._inner.connect_tcp(host, port, timeout=timeout, **options))
        # A backend of the shop's own may know hosts that the system does not.
        is_plain = type(self._inner).__name__ == "SyncBackend"
        addresses = _addresses(host, port) if is_plain else [host]
        while True:
            address = addresses.pop(0)
            left = _left(None, is_connecting=True) or 0.0
            share = left / (len(addresses) + 1)
            share = share if timeout is None else min(share, timeout)
            try:
                return _Stream(self._inner.connect_tcp(address, port, timeout=share, **options))
            except Exception:
                if not addresses:
                    raise

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, **options: Any
    ) -> _Stream:
        """Connect to a socket of this machine."""
        left = _left(timeout, is_connecting=True)
        return _Stream(self._inner.connect_unix_socket(path, timeout=left, **options))

    def sleep(self, seconds: float) -> None:
        """Wait, before the library connects again."""
        self._inner.sleep(_left(seconds, is_connecting=True))


def _addresses(host: str, port: int) -> list[str]:
    """Return the addresses of a host; raise NotConnected if its name is not resolved in time.

    The system's resolver knows no time-out, so it is asked in a thread.
    """
    with suppress(ValueError):
        return [str(ipaddress.ip_address(host))]
    try:
        found = in_thread(
            lambda: socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM),
            _left(None, is_connecting=True),
        )
    except TooLate as error:
        raise NotConnected(f"the name {host} was not resolved in time") from error
    except (OSError, UnicodeError):
        return [host]  # the library has its own error for it
    return list(dict.fromkeys(str(one[4][0]) for one in found))


class _Stream:
    """Reads and writes as `inner` does, within the deadline."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what is there."""
        content: bytes = self._inner.read(max_bytes, timeout=_left(timeout))
        return content

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all of it."""
        for start in range(0, len(buffer), _PIECE):
            self._inner.write(buffer[start : start + _PIECE], timeout=_left(timeout))

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> _Stream:
        """Shake hands."""
        left = _left(timeout, is_connecting=True)
        wire = self._inner.get_extra_info("socket")
        library = vars(sys.modules[type(self._inner).__module__])
        if isinstance(wire, ssl.SSLSocket) and "TLSinTLSStream" in library:
            # Through a proxy that speaks TLS itself.
            try:
                within = library["TLSinTLSStream"](_Wire(wire), ssl_context, server_hostname, left)
            except (OSError, TooLate) as error:
                wire.close()
                raise NotConnected(f"TLS through the proxy: {error}") from error
            return _Stream(within)
        inner = self._inner.start_tls(ssl_context, server_hostname=server_hostname, timeout=left)
        return _Stream(inner)

    def close(self) -> None:
        """Close the socket."""
        self._inner.close()

    def get_extra_info(self, info: str) -> Any:
        """Return what the library wants to know of the socket."""
        return self._inner.get_extra_info(info)


class _Wire:
    """A socket under two layers of TLS, where one read of the upper is many of the lower one."""

    def __init__(self, inner: ssl.SSLSocket) -> None:
        self._inner = inner
        self._timeout: float | None = None

    def settimeout(self, timeout: float | None) -> None:
        """Set the seconds that one operation may take."""
        self._timeout = timeout

    def recv(self, size: int) -> bytes:
        """Receive within what is left."""
        self._inner.settimeout(_left(self._timeout))
        return self._inner.recv(size)

    def sendall(self, buffer: bytes) -> None:
        """Send within what is left."""
        self._inner.settimeout(_left(self._timeout))
        self._inner.sendall(buffer)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
