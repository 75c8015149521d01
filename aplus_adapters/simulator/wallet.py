"""The simulated wallet: pages where a person opens a code and pays or refuses."""

from __future__ import annotations

import io
from functools import cache
from typing import TYPE_CHECKING, Any

import segno
from jinja2 import Environment, PackageLoader
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from aplus_adapters.simulator.ledger import Books, Order

__all__ = ["Wallet"]

_SCALES = {"S": 3, "M": 6, "L": 10}  # pixels for one module of the QR code


class Wallet:
    """The pages of a buyer; `decide` is called with an order and "pay" or "refuse"."""

    def __init__(self, books: Books, decide: Callable[[Order, str], None]) -> None:
        self._books, self._decide = books, decide

    async def orders(self, _request: Request) -> Response:
        """Show the 50 newest orders."""
        newest = sorted(self._books.orders.values(), key=lambda o: o.expires_at, reverse=True)
        return HTMLResponse(_page("orders.html", orders=newest[:50]))

    async def code(self, request: Request) -> Response:
        """Show the page that a scanned code opens."""
        order = self._books.by_token.get(request.path_params["token"])
        if order is None:
            return HTMLResponse("There is no such code.", 404)
        return HTMLResponse(_page("code.html", order=order))

    async def confirm(self, request: Request) -> Response:
        """Pay or refuse an order; answer people with a redirect and programs with JSON."""
        order = self._books.by_token.get(request.path_params["token"])
        decision = request.path_params["decision"]
        if order is None or decision not in ("pay", "refuse"):
            return JSONResponse({"error": "there is no such code"}, 404)
        self._decide(order, decision)
        if "json" in request.headers.get("accept", ""):
            return JSONResponse(order.summary())
        return RedirectResponse(f"/codes/{order.token}", 303)

    async def image(self, request: Request) -> Response:
        """Return the picture of a code in one of three sizes."""
        order = self._books.by_token.get(request.path_params["token"])
        if order is None:
            return HTMLResponse("There is no such code.", 404)
        code = str(request.url.replace(query="")).removesuffix("/image")
        picture = io.BytesIO()
        scale = _SCALES.get(request.query_params.get("picSize", "M"), _SCALES["M"])
        segno.make_qr(code, error="q").save(picture, kind="png", scale=scale)
        return Response(picture.getvalue(), media_type="image/png")


@cache
def _environment() -> Environment:
    return Environment(loader=PackageLoader("aplus_adapters.simulator"), autoescape=True)


def _page(template: str, **values: Any) -> str:
    return _environment().get_template(template).render(**values)
