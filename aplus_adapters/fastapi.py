"""FastAPI: a router with the payment routes and their OpenAPI entries.

app.include_router(create_router(pay), prefix="/aplus")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aplus_adapters.errors import ConfigurationError

try:
    from fastapi import APIRouter, Request, Response
except ImportError:
    raise ConfigurationError(
        "aplus_adapters.fastapi: FastAPI is not installed; run pip install "
        "'aplus_adapters[fastapi]'"
    ) from None

from aplus_adapters.starlette import make_view
from aplus_adapters.web.openapi import OPERATIONS
from aplus_adapters.web.routing import METHODS, Site, prepare_site

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

__all__ = ["create_router"]


def create_router(
    pay: Site,
    name: str = "aplus",
    *,
    dependencies: Sequence[Any] = (),
    tags: Sequence[str] = ("payments",),
) -> APIRouter:
    """Return the router that takes payments with `pay`, relative to its prefix.

    `name` begins the routes' names and operation ids; several routers need several.
    `dependencies` are the shop's own `Depends(...)` for the routes of buyers and tills. Hooks find
    their `request.state` at `details.visitor.native.state`; an error that they raise is the answer.
    The notification route has none, because Alipay+ signs and cannot log in. Hooks and store may
    be sync or async. Give the application `lifespan=pay.lifespan` (or write
    `async with pay.lifespan():` in your own).
    """
    for one in dependencies:
        if not hasattr(one, "dependency"):
            raise ConfigurationError(
                f"create_router dependencies: found {type(one).__name__}, expected Depends(...); "
                "write dependencies=[Depends(your_function)]"
            )
    prepare_site(pay, "create_router(pay)", awaiting=True)
    router = APIRouter(tags=list(tags))
    for route in pay.routes:
        checks = list(dependencies) if route.is_private else []
        endpoint = _endpoint(make_view(pay, route))
        operation = dict(OPERATIONS[route.name])
        router.add_api_route(
            route.path,
            endpoint,
            methods=[route.method],
            name=f"{name}_{route.name}",
            operation_id=f"{name}_{route.name}",
            summary=operation.pop("summary"),
            response_class=Response,
            dependencies=checks,
            responses=operation.pop("responses"),
            openapi_extra=operation,
        )
        # The wrong methods come here too, so that they are answered as everywhere else.
        others = [method for method in METHODS if method != route.method]
        router.add_api_route(
            route.path, endpoint, methods=others, dependencies=checks, include_in_schema=False
        )
    return router


def _endpoint(
    view: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return await view(request)

    return endpoint
