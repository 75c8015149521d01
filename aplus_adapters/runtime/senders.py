"""Sends a signed request over HTTPS, once, within a total time; raises only our errors.

httpx2 is the maintained continuation of httpx with the same interface. It is preferred if it is
installed. The shop may pass a client of either.
"""

from __future__ import annotations

import asyncio
import math
import os
import sys
import time
from threading import Lock
from typing import TYPE_CHECKING, Any

from aplus_adapters.errors import ConfigurationError, NotSent, OutcomeUnknown
from aplus_adapters.protocol.signed_messages import Answer
from aplus_adapters.runtime.deadline import NotConnected, deadline, guard, in_thread
from aplus_adapters.runtime.http_clients import make_client, preferred_library
from aplus_adapters.runtime.transports import forget_connections

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from aplus_adapters.protocol.signed_messages import SignedRequest

__all__ = ["AsyncSender", "Sender", "preferred_library"]

MAX_ANSWER = 1 << 20  # bytes; a legal answer has a few thousand
_CONNECT = 3.0  # seconds
_CHUNKS_PER_YIELD = 200  # then other tasks of the event loop may run
_NOT_SENT = ("ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol")


class Sender:
    """Blocking: one pooled client per account, or the shop's own for all.

    The shop's own client is held to the total time, too. If its transport cannot be limited
    (because it uses another HTTP library), each call runs in a thread, which is abandoned when the
    time is over.
    """

    def __init__(self, client: Any = None) -> None:
        self._library = _library_of(client, "Client")
        self._shops_own = client
        self._clients: dict[str, Any] = {}
        self._lock = Lock()
        self._process = os.getpid()

    def send(self, request: SignedRequest, timeout: float) -> Answer:
        """Return the answer to a request that is sent once; `timeout` is seconds in total.

        Raises NotSent or OutcomeUnknown. If no client can be made, the NotSent is also a
        ConfigurationError.
        """
        self._renew_after_fork()
        client = self._client(request) if self._shops_own is None else self._shops_own
        try:
            if guard(client):
                return self._send(client, request, timeout)
            return in_thread(lambda: self._send(client, request, timeout), timeout)
        except Exception as error:
            raise _translated(self._library, request, error) from error

    def _send(self, client: Any, request: SignedRequest, timeout: float) -> Answer:
        body = _Body(request, timeout)
        with (
            deadline(timeout),
            client.stream(**_arguments(self._library, request, timeout)) as response,
        ):
            if response.is_stream_consumed:  # of a MockTransport whose answer has `content`
                body.add(response.content)
            else:
                for chunk in response.iter_raw():
                    body.add(chunk)
            return _answer(response, body)

    def _client(self, request: SignedRequest) -> Any:
        with self._lock:  # making a client takes as long as many calls
            if request.client_id not in self._clients:
                client = make_client(self._library, "Client", request.url)
                self._clients[request.client_id] = client
            return self._clients[request.client_id]

    def _renew_after_fork(self) -> None:
        """In a forked worker, forget the connections of the master process."""
        if self._process != os.getpid():
            self._process, self._clients, self._lock = os.getpid(), {}, Lock()
            if self._shops_own is not None:
                forget_connections(self._shops_own)

    def close(self) -> None:
        """Close the clients that were made here."""
        self._renew_after_fork()
        while self._clients:
            self._clients.popitem()[1].close()


class AsyncSender:
    """Awaiting: one pooled client per account and event loop, or the shop's own for all.

    Clients made here are closed when their loop ends, as with `asyncio.run`.
    """

    def __init__(self, client: Any = None) -> None:
        self._library = _library_of(client, "AsyncClient")
        self._shops_own = client
        self._loops: dict[asyncio.AbstractEventLoop, _OfLoop] = {}
        self._process = os.getpid()

    async def send(self, request: SignedRequest, timeout: float) -> Answer:
        """Return the answer to a request that is sent once; `timeout` is seconds in total.

        Raises NotSent or OutcomeUnknown. If no client can be made, the NotSent is also a
        ConfigurationError.
        """
        self._renew_after_fork()
        client = await self._client(request) if self._shops_own is None else self._shops_own
        # asyncio.timeout watches the time. A second watch in the body could raise while it cancels.
        body = _Body(request, math.inf)
        try:
            async with (
                asyncio.timeout(timeout),
                client.stream(**_arguments(self._library, request, timeout)) as response,
            ):
                if response.is_stream_consumed:  # of a MockTransport whose answer has `content`
                    body.add(response.content)
                else:
                    async for chunk in response.aiter_raw():
                        if body.add(chunk) % _CHUNKS_PER_YIELD == 0:
                            await asyncio.sleep(0)  # chunks in the buffer come without a wait
                return _answer(response, body)
        except Exception as error:
            raise _translated(self._library, request, error) from error

    async def _client(self, request: SignedRequest) -> Any:
        loop = asyncio.get_running_loop()
        mine = self._loops.get(loop)
        if mine is None:
            # Of loops that have ended, as with `asyncio.run`: they must not pile up.
            for other in [other for other in list(self._loops) if other.is_closed()]:
                self._loops.pop(other, None)
            mine = self._loops[loop] = _OfLoop()
            await mine.closer.__anext__()
        if request.client_id not in mine.clients:
            client = make_client(self._library, "AsyncClient", request.url)
            mine.clients[request.client_id] = client
        return mine.clients[request.client_id]

    def _renew_after_fork(self) -> None:
        """In a forked worker, forget the connections of the master process."""
        if self._process != os.getpid():
            self._process, self._loops = os.getpid(), {}
            if self._shops_own is not None:
                forget_connections(self._shops_own)

    async def aclose(self) -> None:
        """Close the clients that were made here for the running loop."""
        self._renew_after_fork()
        mine = self._loops.pop(asyncio.get_running_loop(), None)
        if mine is not None:
            await mine.closer.aclose()


class _OfLoop:
    """The clients of one event loop.

    `closer` is an asynchronous generator, because a loop closes its generators before it ends.
    That is the only public way to close connections while the loop still runs.
    """

    def __init__(self) -> None:
        self.clients: dict[str, Any] = {}
        self.closer = _closing(self.clients)


async def _closing(clients: dict[str, Any]) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        while clients:
            await clients.popitem()[1].aclose()


class _Body:
    """The bytes of an answer that have arrived."""

    def __init__(self, request: SignedRequest, timeout: float) -> None:
        self._path, self._timeout = request.path, timeout
        self._ends = time.monotonic() + timeout
        self._length = 0
        self._chunks: list[bytes] = []

    def add(self, chunk: bytes) -> int:
        """Keep a chunk, return how many there are; raise OutcomeUnknown at too much or too late."""
        self._length += len(chunk)
        self._chunks.append(chunk)
        if self._length > MAX_ANSWER:
            raise OutcomeUnknown(f"{self._path}: found an answer over {MAX_ANSWER} bytes")
        if time.monotonic() > self._ends:
            raise OutcomeUnknown(f"{self._path}: no whole answer within {self._timeout:g} s")
        return len(self._chunks)

    def whole(self) -> bytes:
        """Return all bytes."""
        return b"".join(self._chunks)


def _arguments(library: Any, request: SignedRequest, timeout: float) -> dict[str, Any]:
    # Shorter than the whole call, so that a late connection is known as NotSent.
    before = 0.9 * timeout
    return {
        "method": "POST",
        "url": request.url,
        "content": request.body,
        # The signature is over these bytes: nothing may compress them on the way.
        "headers": [*request.headers, ("Accept-Encoding", "identity")],
        "timeout": library.Timeout(timeout, connect=min(_CONNECT, before), pool=before),
        "follow_redirects": False,
    }


def _answer(response: Any, body: _Body) -> Answer:
    return Answer(
        status=response.status_code,
        headers=tuple(response.headers.multi_items()),
        body=body.whole(),
    )


def _translated(library: Any, request: SignedRequest, error: Exception) -> Exception:
    if isinstance(error, OutcomeUnknown):
        return error
    name = type(error).__name__
    not_sent = (NotConnected, *(getattr(library, kind) for kind in _NOT_SENT))
    if isinstance(error, not_sent):
        return NotSent(
            f"{request.path}: could not connect to {_host(request)} ({name}: {str(error)[:200]}); "
            "nothing was sent, it will be safe to send again"
        )
    # In doubt it was sent, since "not sent" is a promise that the caller relies on.
    return OutcomeUnknown(
        f"{request.path}: no answer from {_host(request)} ({name}: {str(error)[:200]}); "
        "it may have been acted on"
    )


def _host(request: SignedRequest) -> str:
    return request.url.removesuffix(request.path)


def _library_of(client: Any, kind: str) -> Any:
    if client is None:
        return preferred_library()
    for library in _loaded():
        if isinstance(client, getattr(library, kind)):
            return library
    raise ConfigurationError(
        f"HTTP client: found {type(client).__module__}.{type(client).__name__}, expected an "
        f"httpx.{kind} or httpx2.{kind}; pass one, or none to have one made"
    )


def _loaded() -> Iterator[Any]:
    for name in ("httpx", "httpx2"):
        if name in sys.modules:
            yield sys.modules[name]
