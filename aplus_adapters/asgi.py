"""Any ASGI application: a middleware that answers the payment routes and passes the rest on.

app = AplusMiddleware(app, pay, prefix="/aplus")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aplus_adapters.errors import ConfigurationError
from aplus_adapters.web.http import HttpRequest, collect, decode_headers
from aplus_adapters.web.routing import Site, find_route, mounted_twice, prepare_site

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
    App = Callable[[Scope, Receive, Send], Awaitable[None]]

__all__ = ["AplusMiddleware"]


class AplusMiddleware:
    """Answers the payment routes below `prefix` with `pay`; everything else is the application's.

    Lifespan and websockets are passed through; when the application's lifespan ends, the HTTP
    clients of `pay` are closed. Hooks and store may be sync or async. Raises ConfigurationError if
    `app` answers the same prefix already.
    """

    prefix: str
    site: Site

    def __init__(self, app: App, pay: Site, prefix: str = "/aplus") -> None:
        prepare_site(pay, "AplusMiddleware(app, pay): pay", awaiting=True)
        if not callable(app):
            raise ConfigurationError(
                f"AplusMiddleware(app, pay): found {type(app).__name__} as app, expected the "
                "application that answers everything else"
            )
        if isinstance(app, AplusMiddleware) and app.prefix.strip("/") == prefix.strip("/"):
            raise ConfigurationError(mounted_twice(prefix))
        pay.note_mount(prefix)
        self._app, self.site, self.prefix = app, pay, prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            self.site.note_lifespan()
            await self._app(scope, receive, self._closing(send))
            return
        match = None
        if scope["type"] == "http":
            match = find_route(self.site.routes, _below_root(scope), self.prefix)
        if match is None:
            await self._app(scope, receive, send)
            return
        route, parameter = match
        client = scope.get("client")
        request = HttpRequest(
            method=scope["method"],
            path=scope["path"],
            headers=decode_headers(scope["headers"]),
            body=await collect(_chunks(receive)),
            client_ip=client[0] if client else None,
            native=scope,
            can_stream=True,
        )
        answer = await self.site.handle_async(route, request, parameter)
        streams = answer.next_chunk is not None
        length = [] if streams else [("Content-Length", str(len(answer.body)))]
        headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in (*answer.headers, *length)
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        if answer.next_chunk is not None:
            async for chunk in self.site.stream(answer.next_chunk):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        body = b"" if request.method == "HEAD" else answer.body
        await send({"type": "http.response.body", "body": body})

    def _closing(self, send: Send) -> Send:
        async def sending(message: MutableMapping[str, Any]) -> None:
            if message["type"].startswith("lifespan.shutdown"):
                await self.site.aclose()
            await send(message)

        return sending


def _below_root(scope: Scope) -> str:
    """Return the path without the root path; only some servers include it."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


async def _chunks(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionAbortedError("the sender broke off")
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return
