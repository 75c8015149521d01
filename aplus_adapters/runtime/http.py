"""Sending signed requests over HTTPS, once each, with a total time and errors of our own.

httpx2 is the maintained continuation of httpx with the same interface: it is preferred when it is
installed, and a client of either may be handed in.
"""

from __future__ import annotations

import asyncio
import sys
import time
import weakref
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from aplus_adapters.errors import ConfigurationError, NotSent, OutcomeUnknown
from aplus_adapters.protocol.envelope import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aplus_adapters.protocol.envelope import SignedRequest

__all__ = ["AsyncSender", "Sender", "preferred_library"]

MAX_ANSWER = 1 << 20  # bytes; a legal answer has a few thousand
_CONNECT = 3.0  # seconds
_NOT_SENT = ("ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol")


def preferred_library() -> Any:
    """Give the HTTP library for clients of our own: httpx2 if it is installed, otherwise httpx."""
    return import_module("httpx2" if find_spec("httpx2") else "httpx")


class Sender:
    """Blocking: one pooled client per account, or the shop's own for all."""

    def __init__(self, client: Any = None) -> None:
        self._library = _library_of(client, "Client")
        self._shops_own = client
        self._clients: dict[str, Any] = {}

    def send(self, request: SignedRequest, timeout: float) -> Answer:
        """Send once; `timeout` is seconds for the whole call. Raises NotSent, OutcomeUnknown."""
        client = self._shops_own or self._client(request)
        started = time.monotonic()
        try:
            with client.stream(**_arguments(self._library, request, timeout)) as response:
                chunks: list[bytes] = _read_before(request, response)
                for chunk in () if response.is_stream_consumed else response.iter_raw():
                    chunks.append(chunk)
                    _check(request, chunks, time.monotonic() - started, timeout)
                return _answer(response, chunks)
        except Exception as error:
            raise _translated(self._library, request, error) from error

    def _client(self, request: SignedRequest) -> Any:
        client = self._clients.get(request.client_id)
        if client is None:
            made = self._library.Client(**_client_options(request))
            client = self._clients.setdefault(request.client_id, made)
        return client

    def close(self) -> None:
        """Close the clients that were made here."""
        while self._clients:
            self._clients.popitem()[1].close()


class AsyncSender:
    """Awaiting: one pooled client per account and event loop, or the shop's own for all."""

    def __init__(self, client: Any = None) -> None:
        self._library = _library_of(client, "AsyncClient")
        self._shops_own = client
        self._clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Any]] = (
            weakref.WeakKeyDictionary()
        )

    async def send(self, request: SignedRequest, timeout: float) -> Answer:
        """Send once; `timeout` is seconds for the whole call. Raises NotSent, OutcomeUnknown."""
        client = self._shops_own or self._client(request)
        try:
            async with (
                asyncio.timeout(timeout),
                client.stream(**_arguments(self._library, request, timeout)) as response,
            ):
                chunks: list[bytes] = _read_before(request, response)
                if not response.is_stream_consumed:
                    async for chunk in response.aiter_raw():
                        chunks.append(chunk)
                        _check(request, chunks, 0.0, timeout)
                return _answer(response, chunks)
        except Exception as error:
            raise _translated(self._library, request, error) from error

    def _client(self, request: SignedRequest) -> Any:
        clients = self._clients.setdefault(asyncio.get_running_loop(), {})
        if request.client_id not in clients:
            made = self._library.AsyncClient(**_client_options(request))
            clients[request.client_id] = made
        return clients[request.client_id]

    async def aclose(self) -> None:
        """Close the clients that were made here for the running loop."""
        for client in self._clients.pop(asyncio.get_running_loop(), {}).values():
            await client.aclose()


def _client_options(request: SignedRequest) -> dict[str, Any]:
    # A proxy of the environment must not get requests that are for this machine.
    return {"follow_redirects": False, "trust_env": request.url.startswith("https://")}


def _arguments(library: Any, request: SignedRequest, timeout: float) -> dict[str, Any]:
    return {
        "method": "POST",
        "url": request.url,
        "content": request.body,
        # The signature covers the bytes of the answer: nothing may compress them on the way.
        "headers": [*request.headers, ("Accept-Encoding", "identity")],
        "timeout": library.Timeout(timeout, connect=min(_CONNECT, timeout)),
        "follow_redirects": False,
    }


def _read_before(request: SignedRequest, response: Any) -> list[bytes]:
    """Return the body of a response that is read already: a MockTransport's with `content`."""
    chunks = [response.content] if response.is_stream_consumed else []
    _check(request, chunks, 0.0, 0.0)
    return chunks


def _check(request: SignedRequest, chunks: list[bytes], spent: float, timeout: float) -> None:
    if sum(map(len, chunks)) > MAX_ANSWER:
        raise OutcomeUnknown(f"{request.path}: found an answer over {MAX_ANSWER} bytes")
    if spent > timeout:
        raise OutcomeUnknown(f"{request.path}: no whole answer within {timeout:g} s")


def _answer(response: Any, chunks: list[bytes]) -> Answer:
    return Answer(
        status=response.status_code,
        headers=tuple(response.headers.multi_items()),
        body=b"".join(chunks),
    )


def _translated(library: Any, request: SignedRequest, error: Exception) -> Exception:
    if isinstance(error, OutcomeUnknown):
        return error
    name = type(error).__name__
    if isinstance(error, tuple(getattr(library, kind) for kind in _NOT_SENT)):
        return NotSent(
            f"{request.path}: could not connect to {_host(request)} ({name}: {str(error)[:200]}); "
            "nothing was sent, it will be safe to send again"
        )
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
