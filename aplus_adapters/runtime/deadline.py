"""The total time of a blocking call: every socket operation ends within it.

A time-out of httpx is for one operation, so an answer that comes byte by byte never times out.
Therefore the network under a client is wrapped: each operation may take at most the seconds that
are left of the call. The shop's other calls with the same client are not limited. If a transport
cannot be wrapped, the call runs in a thread, which is abandoned when the time is over.
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
_PIECE = 4096  # bytes in one write: a slow reader delays each write only a little
_AT: ContextVar[float | None] = ContextVar("aplus_deadline", default=None)


class TooLate(Exception):
    """The total time of the call is over."""


class NotConnected(TooLate):
    """There was no connection in time: nothing of the request was sent."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """End each socket operation of this thread's guarded clients `seconds` from now."""
    token = _AT.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _AT.reset(token)


def _left(timeout: float | None, *, is_connecting: bool = False) -> float | None:
    """Return the seconds for one operation; raise TooLate if there are none."""
    at = _AT.get()
    if at is None:
        return timeout  # a call that the shop makes itself
    left = at - time.monotonic()
    if left <= 0:
        kind = NotConnected if is_connecting else TooLate
        raise kind("the time for the whole call is over")
    return left if timeout is None else min(left, timeout)


def in_thread(function: Callable[[], T], timeout: float | None) -> T:
    """Return what `function` returns; raise TooLate if that takes longer than `timeout` seconds.

    It runs in a new thread with the caller's context. The thread is not stopped when it is late.
    """
    outcome: list[tuple[bool, Any]] = []

    def work() -> None:
        try:
            outcome.append((True, function()))
        # Raised again by the caller: in this thread nobody would see it.
        except BaseException as error:
            outcome.append((False, error))

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(work,), name="aplus-call", daemon=True)
    thread.start()
    thread.join(timeout)
    if not outcome:
        raise TooLate("the time for the whole call is over")
    is_result, value = outcome[0]
    if not is_result:
        raise value
    result: T = value
    return result


def guard(client: Any) -> bool:
    """Wrap the network under every transport of a client; return whether all could be wrapped.

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
    """Wrap the backend of a connection pool and its open connections."""
    if isinstance(pool._network_backend, _Backend):  # noqa: SLF001  # httpx offers no other way
        return
    pool._network_backend = _Backend(pool._network_backend)  # noqa: SLF001  # likewise
    for connection in pool.connections:
        inner = connection
        while hasattr(inner, "_connection"):  # a tunnel holds a connection, which holds another
            if hasattr(inner, "_network_backend"):
                inner._network_backend = pool._network_backend  # noqa: SLF001  # likewise
            inner = inner._connection  # noqa: SLF001  # likewise
        if hasattr(inner, "_network_stream"):
            inner._network_stream = _Stream(inner._network_stream)  # noqa: SLF001  # likewise


class _Backend:
    """Opens connections as `inner` does, within the deadline."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, **options: Any
    ) -> _Stream:
        """Connect to the first address that answers; each address gets a share of the time.

        So there is time left for the next one if an address is dead, as IPv6 often is.
        """
        if _AT.get() is None:  # a call that the shop makes itself
            return _Stream(self._inner.connect_tcp(host, port, timeout=timeout, **options))
        # The shop's own backend may resolve names that the system does not know.
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

    It is resolved in a thread, because `getaddrinfo` has no time-out.
    """
    with suppress(ValueError):
        return [str(ipaddress.ip_address(host))]
    try:
        answers = in_thread(
            lambda: socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM),
            _left(None, is_connecting=True),
        )
    except TooLate as error:
        raise NotConnected(f"the name {host} was not resolved in time") from error
    except (OSError, UnicodeError):
        return [host]  # the library raises its own error for it
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


class _Stream:
    """Reads and writes as `inner` does, within the deadline."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read at most `max_bytes`."""
        content: bytes = self._inner.read(max_bytes, timeout=_left(timeout))
        return content

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write the whole buffer."""
        for start in range(0, len(buffer), _PIECE):
            self._inner.write(buffer[start : start + _PIECE], timeout=_left(timeout))

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> _Stream:
        """Return a stream with TLS over this one."""
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
        """Return a detail of the socket, such as `ssl_object`."""
        return self._inner.get_extra_info(info)


class _Wire:
    """A TLS socket that carries TLS: each of its many operations is within the deadline."""

    def __init__(self, inner: ssl.SSLSocket) -> None:
        self._inner = inner
        self._timeout: float | None = None

    def settimeout(self, timeout: float | None) -> None:
        """Set the seconds that one operation may take."""
        self._timeout = timeout

    def recv(self, size: int) -> bytes:
        """Receive at most `size` bytes within the deadline."""
        self._inner.settimeout(_left(self._timeout))
        return self._inner.recv(size)

    def sendall(self, buffer: bytes) -> None:
        """Send the whole buffer within the deadline."""
        self._inner.settimeout(_left(self._timeout))
        self._inner.sendall(buffer)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
