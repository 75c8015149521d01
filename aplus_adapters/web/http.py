"""The request and the response that every adapter translates from and to, without a framework."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterable, Mapping

    from aplus_adapters.payments.effects import Flow

__all__ = [
    "MAX_BODY",
    "HttpRequest",
    "HttpResponse",
    "collect",
    "decode_headers",
    "json_response",
    "problem",
    "to_json",
]

MAX_BODY = 128 * 1024  # bytes; a legal notification has about 1,200

_BODY_TIMEOUT = 10.0  # seconds for a whole body; a worker must not wait for a slow sender

_NO_STORE = ("Cache-Control", "no-store")
_NOSNIFF = ("X-Content-Type-Options", "nosniff")


@frozen(kw_only=True)
class HttpRequest:
    """One request as it arrived.

    `path` is the whole path that this process knows, mounts included. `headers` are all pairs, in
    their order. `body` is the raw bytes, at most MAX_BODY + 1 of them. `native` is the framework's
    own request, for the shop's hooks. `can_stream` is whether a response may be sent in pieces over
    time.
    """

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    client_ip: str | None = field(default=None, repr=False)
    native: Any = field(default=None, repr=False, eq=False)
    can_stream: bool = False
    _first: dict[str, str] = field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        # Reversed, so that of several values the first one stays.
        first = {key.lower(): value for key, value in reversed(self.headers)}
        object.__setattr__(self, "_first", first)

    def header(self, name: str) -> str | None:
        """Return the first value of a header, None if there is none; `name` is in lower case."""
        return self._first.get(name)

    @property
    def media_type(self) -> str:
        """Return the content type without its parameters, in lower case."""
        return (self.header("content-type") or "").partition(";")[0].strip().lower()

    @property
    def wants_json(self) -> bool:
        """Return whether the client asks for JSON and not for a page."""
        accept = (self.header("accept") or "").lower()
        return "json" in accept and "text/html" not in accept


@frozen(kw_only=True)
class HttpResponse:
    """One response, to be sent byte for byte.

    If `next_chunk` is set, each flow that it returns makes one more piece after the body. An empty
    piece ends the response. Only a request that `can_stream` gets such a response. `kind` is which
    of the texts `error_...` tells a buyer of it, if the status alone does not say it.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""
    next_chunk: Callable[[], Flow[bytes]] | None = field(default=None, repr=False, eq=False)
    kind: str | None = field(default=None, eq=False)


def json_response(
    status: int, content: Mapping[str, Any], content_type: str = "application/json"
) -> HttpResponse:
    """Return a JSON response that no cache may store."""
    return HttpResponse(
        status=status,
        headers=(("Content-Type", content_type), _NO_STORE, _NOSNIFF),
        body=to_json(content),
    )


def to_json(content: Mapping[str, Any]) -> bytes:
    """Return JSON on one line, in UTF-8."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def problem(
    request: HttpRequest, status: int, title: str, *headers: tuple[str, str]
) -> HttpResponse:
    """Return a short error response: problem+json (RFC 9457) or one line of text."""
    if request.wants_json:
        reply = json_response(
            status,
            {"type": "about:blank", "title": title, "status": status},
            "application/problem+json",
        )
        return HttpResponse(status=status, headers=(*reply.headers, *headers), body=reply.body)
    return HttpResponse(
        status=status,
        headers=(("Content-Type", "text/plain; charset=utf-8"), _NO_STORE, _NOSNIFF, *headers),
        body=f"{title}\n".encode(),
    )


def decode_headers(raw: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[str, str], ...]:
    """Return ASGI's pairs of bytes as text; each byte becomes one character."""
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in raw)


async def collect(chunks: AsyncIterable[bytes]) -> bytes:
    """Return the raw bytes of a body; stop after the first chunk that exceeds MAX_BODY.

    Returns no byte if the body does not arrive within 10 s or if the sender breaks off (OSError).
    A sender may be slow, or a middleware may have consumed the body, so that no chunk ever comes.
    """
    received, size = [], 0
    try:
        async with asyncio.timeout(_BODY_TIMEOUT):
            async for chunk in chunks:
                received.append(chunk)
                size += len(chunk)
                if size > MAX_BODY:
                    break
    except OSError:  # TimeoutError is one
        return b""
    return b"".join(received)
