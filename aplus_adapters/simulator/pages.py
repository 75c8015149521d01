"""How the simulator's pages are rendered, and what protects them.

They work without a script, by loading them again; a small script of their own does that for them.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from jinja2 import Environment, PackageLoader
from starlette.responses import HTMLResponse, Response

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = ["asset", "is_from_elsewhere", "not_found", "read_form", "render"]

# Other pages of this machine may show them in a frame, as `aplus demo` does; no other site may.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'self' http://127.0.0.1:* http://localhost:*"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_ASSETS = {"desk.css": "text/css", "desk.js": "text/javascript"}
_MAX_FORM = 10_000  # bytes; no form of these pages is as long


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("aplus_adapters.simulator"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: str, status: int = 200, **values: Any) -> Response:
    """Return a page."""
    text = _environment().get_template(template).render(**values)
    return HTMLResponse(text, status, headers=_HEADERS)


def not_found(what: str) -> Response:
    """Return the page that says what is not there."""
    return render("nothing.html", 404, what=what)


async def asset(request: Request) -> Response:
    """Return the style or the script of the pages."""
    name = request.path_params["name"]
    if name not in _ASSETS:
        return not_found("file")
    content = files("aplus_adapters.simulator").joinpath("templates", name).read_bytes()
    return Response(content, media_type=_ASSETS[name], headers={"Cache-Control": "no-cache"})


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of a posted form; the last value of a name that comes twice."""
    body = (await request.body())[:_MAX_FORM].decode("utf-8", "replace")
    return {name: values[-1].strip() for name, values in parse_qs(body).items()}


def is_from_elsewhere(request: Request) -> bool:
    """Return whether a page of another site makes the browser post: it may change nothing here."""
    origin = request.headers.get("origin")
    if request.method in ("GET", "HEAD") or origin is None:
        return False
    return urlsplit(origin).netloc != request.headers.get("host", "")
