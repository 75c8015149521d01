"""What the simulator answers over HTTP, also broken as a fault wants it; and whom it refuses."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from aplus_adapters.simulator.pages import is_from_elsewhere

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import ASGIApp, Receive, Scope, Send

    from aplus_adapters.simulator.alipayplus import Reply

__all__ = ["SameSite", "hung_up", "to_starlette"]


async def hung_up(_request: Request, _error: Exception) -> Response:
    """Answer a caller that has gone before its message was whole: a shop was killed, no fault."""
    return Response("the request was not whole", 400)


def to_starlette(reply: Reply) -> Response:
    """Return a reply for Starlette; one that is cut announces more bytes than it sends."""
    if reply.cut:
        return _CutAnswer(b"", headers={"Content-Length": "4096"})
    if reply.trickle:
        length = {"Content-Length": str(len(reply.body))}
        return StreamingResponse(_trickle(reply), reply.status, headers={**reply.headers, **length})
    return Response(reply.body, reply.status, headers=dict(reply.headers))


async def _trickle(reply: Reply) -> AsyncIterator[bytes]:
    """Yield a body in 20 pieces over its seconds."""
    step = max(1, len(reply.body) // 20)
    for start in range(0, len(reply.body), step):
        await asyncio.sleep(reply.trickle / 20)
        yield reply.body[start : start + step]


class SameSite:
    """Refuses what a page of another site makes the browser post to pages and controls."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, or refuse it."""
        if scope["type"] == "http" and is_from_elsewhere(Request(scope)):
            await Response("refused: this was posted by a page of another site", 403)(
                scope, receive, send
            )
            return
        await self._app(scope, receive, send)


class _CutAnswer(Response):
    async def __call__(self, _scope: Any, _receive: Any, send: Any) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        raise ConnectionResetError("a test ordered to cut the connection")
