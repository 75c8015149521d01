"""Any WSGI application: a middleware that answers the payment routes and passes the rest on.

app = AplusMiddleware(app, pay, prefix="/aplus")
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from aplus_adapters.errors import ConfigurationError
from aplus_adapters.web.http import MAX_BODY, HttpRequest
from aplus_adapters.web.routing import Site, find_route, mounted_twice, prepare_site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Environ = dict[str, Any]
    App = Callable[[Environ, Any], Iterable[bytes]]

__all__ = ["AplusMiddleware"]


class AplusMiddleware:
    """Answers the payment routes below `prefix` with `pay`; everything else is the application's.

    Raises ConfigurationError if a hook or the store is async (WSGI has no event loop for it), or if
    `app` answers the same prefix already.
    """

    prefix: str
    site: Site

    def __init__(self, app: App, pay: Site, prefix: str = "/aplus") -> None:
        prepare_site(pay, "AplusMiddleware(app, pay): pay", awaiting=False)
        if not callable(app):
            raise ConfigurationError(
                f"AplusMiddleware(app, pay): found {type(app).__name__} as app, expected the "
                "application that answers everything else"
            )
        if isinstance(app, AplusMiddleware) and app.prefix.strip("/") == prefix.strip("/"):
            raise ConfigurationError(mounted_twice(prefix))
        pay.note_mount(prefix)
        self._app, self.site, self.prefix = app, pay, prefix

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """Serve one request."""
        # PEP 3333: each byte of the path is one character; SCRIPT_NAME is not part of it.
        path = environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "replace")
        match = find_route(self.site.routes, path, self.prefix)
        if match is None:
            return self._app(environ, start_response)
        route, parameter = match
        request = HttpRequest(
            method=environ["REQUEST_METHOD"],
            path=environ.get("SCRIPT_NAME", "") + path,
            headers=tuple(_headers(environ)),
            body=_body(environ),
            client_ip=environ.get("REMOTE_ADDR"),
            native=environ,
        )
        answer = self.site.handle(route, request, parameter)
        length = ("Content-Length", str(len(answer.body)))
        status = f"{answer.status} {HTTPStatus(answer.status).phrase}"
        start_response(status, [*answer.headers, length])
        return [b"" if request.method == "HEAD" else answer.body]


def _headers(environ: Environ) -> Iterator[tuple[str, str]]:
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(name):
            yield name.replace("_", "-").title(), environ[name]
    for name, value in environ.items():
        if name.startswith("HTTP_"):
            yield name[5:].replace("_", "-").title(), value


def _body(environ: Environ) -> bytes:
    """Return the raw bytes, at most MAX_BODY + 1; none if the sender breaks off."""
    try:
        return _read(environ)
    except Exception:  # each server has its own error for a lost sender
        return b""


def _read(environ: Environ) -> bytes:
    length = environ.get("CONTENT_LENGTH") or "0"
    stream = environ["wsgi.input"]
    if environ.get("wsgi.input_terminated"):  # chunked: the server ends the stream itself
        chunks: bytes = stream.read(MAX_BODY + 1)
        return chunks
    if not (length.isascii() and length.isdigit()):
        return b""
    size = min(int(length), MAX_BODY + 1) if len(length) < 19 else MAX_BODY + 1
    body: bytes = stream.read(size)
    return body
