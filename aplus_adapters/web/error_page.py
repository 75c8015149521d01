"""The page that tells a buyer of an error, in place of one line of text."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from aplus_adapters.errors import ConfigurationError
from aplus_adapters.web.http import HttpResponse
from aplus_adapters.web.page import PageDesign, render_error

if TYPE_CHECKING:
    from aplus_adapters.web.http import HttpRequest
    from aplus_adapters.web.routing import Route

__all__ = ["STYLED", "style_problem"]

log = logging.getLogger("aplus_adapters")

STYLED = frozenset({"pay", "payment", "new_code"})
"""The routes whose address stands in a buyer's browser."""

_KINDS = {403: "order", 404: "payment", 409: "changed", 429: "often", 500: "shop", 503: "shop"}
_OURS = ("content-type", "content-length", "cache-control", "x-content-type-options")


def style_problem(
    design: PageDesign, route: Route, request: HttpRequest, response: HttpResponse
) -> HttpResponse:
    """Return a problem as a page with a way back, if a browser asks; otherwise as it is."""
    if "text/html" not in (request.header("accept") or "").lower():
        return response
    kind = response.kind or _KINDS.get(response.status, "request")
    repeats = None
    if response.status == 503:
        repeats = "get" if request.method in ("GET", "HEAD") else "post"
    try:
        body = render_error(
            f"error_{kind}",
            f"{response.status}: {response.body.decode(errors='replace').strip()}",
            request.header("accept-language"),
            design,
            assets_url="../" * (route.path.count("/") - 1) + "assets",
            order_ref=_order_ref(request) if repeats == "post" else None,
            repeats=repeats,
        )
    except ConfigurationError as error:
        log.warning(
            "%s; the buyer is shown one line of text", error, extra={"event": "error_page_failed"}
        )
        return response
    kept = tuple(pair for pair in response.headers if pair[0].lower() not in _OURS)
    return HttpResponse(status=response.status, headers=(*design.headers, *kept), body=body)


def _order_ref(request: HttpRequest) -> str | None:
    """Return the order that the form named, for the form that sends it once more."""
    try:
        return parse_qs(request.body.decode(), max_num_fields=20).get("order_ref", [None])[0]
    except ValueError:
        return None
