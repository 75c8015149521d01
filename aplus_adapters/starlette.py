"""Starlette: the payment routes to mount.

app = Starlette(routes=[Mount("/aplus", routes=create_routes(pay))])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aplus_adapters.errors import ConfigurationError

try:
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import Response, StreamingResponse
    from starlette.routing import Route
except ImportError:
    raise ConfigurationError(
        "aplus_adapters.starlette: Starlette is not installed; "
        "run pip install 'aplus_adapters[starlette]'"
    ) from None

from aplus_adapters.web.http import HttpRequest, collect, decode_headers
from aplus_adapters.web.routing import METHODS, Site, prepare_site
from aplus_adapters.web.routing import Route as PaymentRoute

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["create_routes", "make_view"]


def create_routes(pay: Site, name: str = "aplus") -> list[Route]:
    """Return the routes that take payments with `pay`, relative to their mount.

    `name` begins the routes' names. Hooks and store may be sync or async. Give the application
    `lifespan=pay.lifespan` (or write `async with pay.lifespan():` in your own).
    """
    prepare_site(pay, "create_routes(pay)", awaiting=True)
    return [
        Route(
            route.path,
            make_view(pay, route),
            methods=list(METHODS),
            name=f"{name}_{route.name}",
        )
        for route in pay.routes
    ]


def make_view(site: Site, route: PaymentRoute) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoint of one route."""

    async def view(request: Request) -> Response:
        parameter = request.path_params.get(route.parameter or "", "")
        answer = await site.handle_async(route, await _read(request), parameter)
        if answer.next_chunk is None:
            response: Response = Response(answer.body, answer.status)
        else:
            response = StreamingResponse(site.stream(answer.next_chunk), answer.status)
        for name, value in answer.headers:
            response.headers.append(name, value)
        return response

    return view


async def _read(request: Request) -> HttpRequest:
    return HttpRequest(
        method=request.method,
        path=request.scope["path"],
        headers=decode_headers(request.headers.raw),
        body=await _body(request),
        client_ip=request.client.host if request.client else None,
        native=request,
        can_stream=True,
    )


async def _body(request: Request) -> bytes:
    try:
        return await collect(request.stream())
    except (ClientDisconnect, RuntimeError):
        return b""  # consumed by the application before, or the sender is gone
