"""The simulated wallet: pages where a person opens a code and pays or refuses."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import segno
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from aplus_adapters.simulator.pages import not_found, read_form, render

if TYPE_CHECKING:
    from starlette.requests import Request

    from aplus_adapters.simulator.alipayplus import SimulatedAlipayPlus

__all__ = ["Wallet"]

_SCALES = {"S": 3, "M": 6, "L": 10}  # pixels for one module of the QR code
_TOKEN = re.compile(r"281\d{33}")


class Wallet:
    """The pages of a buyer; a test can make the same decisions."""

    def __init__(self, alipayplus: SimulatedAlipayPlus) -> None:
        self._alipayplus, self._books = alipayplus, alipayplus.books

    def routes(self) -> list[Route]:
        """Return the routes of the pages."""
        return [
            Route("/wallet", self.scan, methods=["GET", "POST"]),
            Route("/codes/{token}", self.code),
            Route("/codes/{token}/image", self.image),
            Route("/codes/{token}/{decision}", self.confirm, methods=["POST"]),
        ]

    async def scan(self, request: Request) -> Response:
        """Show where a link or a code is pasted, and open what was pasted."""
        if request.method != "POST":
            return render("wallet.html", pasted="")
        pasted = (await read_form(request)).get("code", "")
        match = _TOKEN.search(pasted)
        if match is None or match[0] not in self._books.by_token:
            return render("wallet.html", 404, pasted=pasted[:300])
        return RedirectResponse(f"/codes/{match[0]}", 303)

    async def code(self, request: Request) -> Response:
        """Show the page that a scanned code opens."""
        order = self._books.by_token.get(request.path_params["token"])
        return not_found("code") if order is None else render("code.html", order=order)

    async def confirm(self, request: Request) -> Response:
        """Pay or refuse an order; answer people with a redirect and programs with JSON."""
        order = self._books.by_token.get(request.path_params["token"])
        decision = request.path_params["decision"]
        if order is None or decision not in ("pay", "refuse", "expire"):
            return JSONResponse({"error": "there is no such code"}, 404)
        self._alipayplus.decide(order, decision)
        if "json" in request.headers.get("accept", ""):
            return JSONResponse(order.summary())
        return RedirectResponse(f"/codes/{order.token}", 303)

    async def image(self, request: Request) -> Response:
        """Return the picture of a code in one of three sizes."""
        order = self._books.by_token.get(request.path_params["token"])
        if order is None:
            return not_found("code")
        picture = io.BytesIO()
        scale = _SCALES.get(request.query_params.get("picSize", "M"), _SCALES["M"])
        code = f"{self._alipayplus.address}/codes/{order.token}"
        segno.make_qr(code, error="q").save(picture, kind="png", scale=scale)
        return Response(picture.getvalue(), media_type="image/png")
