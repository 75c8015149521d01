"""Django: the payment routes as URL patterns, and the application of the payments' tables.

urlpatterns += [path("aplus/", include(create_urls(pay)))]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aplus_adapters.errors import ConfigurationError

try:
    from django.db import connections, transaction
    from django.http import HttpResponse, RawPostDataException, UnreadablePostError
    from django.urls import path
    from django.views.decorators.csrf import csrf_exempt
except ImportError:
    raise ConfigurationError(
        "aplus_adapters.django: Django is not installed; run pip install 'aplus_adapters[django]'"
    ) from None

from aplus_adapters.web.http import MAX_BODY, HttpRequest
from aplus_adapters.web.routing import prepare_site

if TYPE_CHECKING:
    from collections.abc import Callable

    from aplus_adapters.web.routing import Route, Site

__all__ = ["create_urls"]


def create_urls(pay: Site) -> list[Any]:
    """Return the URL patterns that take payments with `pay`, for `include` in `urlpatterns`.

    They need no CSRF token: Alipay+ has none, and for buyers the routes compare the origin. Under
    ATOMIC_REQUESTS they have no transaction around them. Raises ConfigurationError if a hook or the
    store is async.
    """
    prepare_site(pay, "create_urls(pay)", awaiting=False)
    patterns = []
    for route in pay.routes:
        view = csrf_exempt(_view(pay, route))
        for alias in connections:
            view = transaction.non_atomic_requests(using=alias)(view)
        address = route.path.lstrip("/").replace("{", "<").replace("}", ">")
        patterns.append(path(address, view, name=f"aplus_{route.name}"))
    return patterns


def _view(site: Site, route: Route) -> Callable[..., Any]:
    def view(request: Any, **parameters: str) -> Any:
        answer = site.handle(route, _read(request), parameters.get(route.parameter or "", ""))
        body = b"" if request.method == "HEAD" else answer.body
        response: Any = HttpResponse(body, status=answer.status)
        del response["Content-Type"]
        for name, value in answer.headers:
            response[name] = value
        response["Content-Length"] = str(len(answer.body))
        return response

    return view


def _read(request: Any) -> HttpRequest:
    return HttpRequest(
        method=request.method,
        path=request.path,
        headers=tuple(request.headers.items()),
        body=_body(request),
        client_ip=request.META.get("REMOTE_ADDR"),
        native=request,
    )


def _body(request: Any) -> bytes:
    """Return the raw bytes; none if the sender breaks off, or if they were read before."""
    length = request.META.get("CONTENT_LENGTH") or "0"
    if length.isascii() and length.isdigit() and int(length[:19]) > MAX_BODY:
        return b"\0" * (MAX_BODY + 1)
    try:
        body: bytes = request.body
    except (UnreadablePostError, RawPostDataException):
        return b""
    return body
