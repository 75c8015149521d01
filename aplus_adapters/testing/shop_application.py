"""The shop's WSGI or ASGI application, called in this process without a socket."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

from attrs import frozen

from aplus_adapters import asgi, wsgi
from aplus_adapters.errors import ConfigurationError
from aplus_adapters.runtime.http_clients import preferred_library
from aplus_adapters.web.routing import NOTIFY_PATH

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aplus_adapters.aplus_pay import AplusPay
    from aplus_adapters.protocol.account import Account

__all__ = ["Answer", "Post", "ShopApplication", "payment_routes"]


@frozen(kw_only=True)
class Post:
    """One POST to the shop."""

    url: str
    headers: Mapping[str, str]
    body: bytes


@frozen(kw_only=True)
class Answer:
    """The shop's answer; names in `headers` are found in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class ShopApplication:
    """Posts to `app`: a WSGI or ASGI application, or Starlette's TestClient of one.

    A TestClient that was entered runs the application in one event loop, with its lifespan. An ASGI
    application itself is called in the test's own event loop, or in one that is made here.
    """

    def __init__(self, app: Any) -> None:
        self._is_async = _is_asgi(app)
        self.has_lifespan = _is_client(app)
        self._client = app if self.has_lifespan else _client_of(app, awaiting=self._is_async)
        self._runner: asyncio.Runner | None = None

    def post(self, post: Post) -> Answer:
        """Return the answer, blocking; raise ConfigurationError if it has to be awaited."""
        if not self._is_async:
            return self._answer(self._client.post(**_arguments(post)))
        if _is_awaiting():
            raise ConfigurationError(
                "testing kit: found a blocking call in a test that awaits, with an ASGI "
                "application; call the method's twin whose name ends in _async, and await it"
            )
        if self._runner is None:
            self._runner = asyncio.Runner()  # one loop for all calls: an engine may belong to it
        return self._runner.run(self.post_async(post))

    async def post_async(self, post: Post) -> Answer:
        """Return the answer; a WSGI application blocks the event loop meanwhile."""
        if not self._is_async:
            return self._answer(self._client.post(**_arguments(post)))
        return self._answer(await self._client.post(**_arguments(post)))

    def close(self) -> None:
        """Close the event loop that was made here."""
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.close()

    def _answer(self, response: Any) -> Answer:
        self._client.cookies.clear()  # Alipay+ brings no cookies of earlier answers
        return Answer(status=response.status_code, headers=response.headers, body=response.content)


def payment_routes(pay: AplusPay, account: Account) -> Any:
    """Return an application of the payment routes alone, mounted where the notify URL says.

    It is for shops whose application has no part in a test, such as a till.
    """
    mount = account.signed_path.removesuffix(NOTIFY_PATH)
    try:
        return wsgi.AplusMiddleware(_nothing_wsgi, pay, mount)
    except ConfigurationError:  # a hook or the store is async
        return asgi.AplusMiddleware(_nothing_asgi, pay, mount)


def _nothing_wsgi(_environ: Any, start_response: Any) -> list[bytes]:
    start_response("404 Not Found", [])
    return []


async def _nothing_asgi(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def _arguments(post: Post) -> dict[str, Any]:
    headers = dict(post.headers)
    return {"url": post.url, "content": post.body, "headers": headers, "follow_redirects": False}


def _is_awaiting() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _is_client(app: Any) -> bool:
    return hasattr(app, "build_request") and hasattr(app, "follow_redirects")


def _is_asgi(app: Any) -> bool:
    """Return whether an application awaits; raise ConfigurationError if it is none."""
    if _is_client(app):
        return hasattr(app, "aclose")
    if not callable(app):
        raise ConfigurationError(
            f"testing kit: found {type(app).__name__}, expected the shop's WSGI or ASGI "
            "application, such as the Flask or Starlette object, or Starlette's TestClient"
        )
    if inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(type(app).__call__):
        return True
    # Such as a function that returns the coroutine of another: ASGI has three parameters.
    required = [
        parameter
        for parameter in inspect.signature(app).parameters.values()
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    ]
    return len(required) == 3


def _client_of(app: Any, *, awaiting: bool) -> Any:
    library = preferred_library()
    if awaiting:
        return library.AsyncClient(transport=library.ASGITransport(app=app), trust_env=False)
    return library.Client(transport=library.WSGITransport(app=app), trust_env=False)
