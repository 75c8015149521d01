"""The simulator's controls for tests: JSON over HTTP below /simulator."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aplus_adapters.errors import ConfigurationError
from aplus_adapters.simulator.alipayplus import DECISIONS
from aplus_adapters.simulator.notifications import FORMS

if TYPE_CHECKING:
    from starlette.requests import Request

    from aplus_adapters.simulator.alipayplus import SimulatedAlipayPlus
    from aplus_adapters.simulator.delivery import Delivery

__all__ = ["Controls"]

_MOST_ORDERS = 10_000  # in one answer; the newest
_DECISIONS = (*DECISIONS, "two_wallets")


class Controls:
    """What a test may ask of the simulator and tell it."""

    def __init__(self, alipayplus: SimulatedAlipayPlus, delivery: Delivery) -> None:
        self._alipayplus, self._books, self._delivery = alipayplus, alipayplus.books, delivery

    def routes(self) -> list[Route]:
        """Return the routes of the controls."""
        return [
            Route("/simulator/orders", self.orders),
            Route("/simulator/orders/{id}", self.order),
            Route("/simulator/orders/{id}/{decision}", self.decide, methods=["POST"]),
            Route("/simulator/notify/{id}/{form}", self.notify, methods=["POST"]),
            Route("/simulator/faults", self.faults, methods=["POST"]),
            Route("/simulator/messages", self.messages),
            Route("/simulator/clients", self.clients, methods=["POST"]),
            Route("/simulator/keys/rotate", self.rotate, methods=["POST"]),
        ]

    async def orders(self, request: Request) -> Response:
        """Return the orders, oldest first; `state` and `order` in the query select some."""
        query = request.query_params
        orders = self._books.newest(
            _MOST_ORDERS, state=query.get("state", ""), reference=query.get("order", "")
        )
        return JSONResponse([order.summary() for order in reversed(orders)])

    async def order(self, request: Request) -> Response:
        """Return one order."""
        order = self._books.orders.get(request.path_params["id"])
        return JSONResponse(order.summary()) if order else JSONResponse({}, 404)

    async def decide(self, request: Request) -> Response:
        """Let the buyer or the time end an order; `code` in the query is a wallet's refusal."""
        order = self._books.orders.get(request.path_params["id"])
        decision = request.path_params["decision"]
        if order is None or decision not in _DECISIONS:
            return _problem(f"expected a known id and one of {_DECISIONS}", 404)
        self._alipayplus.decide(order, decision, request.query_params.get("code", ""))
        return JSONResponse(order.summary())

    async def notify(self, request: Request) -> Response:
        """Send a notification now, in one of FORMS."""
        order = self._books.orders.get(request.path_params["id"])
        form = request.path_params["form"]
        if order is None or form not in FORMS:
            return _problem(f"expected a known id and one of {FORMS}", 404)
        judged = await self._delivery.send(order, form)
        body = judged.body.decode(errors="replace")
        return JSONResponse({"status": judged.status, "outcome": judged.outcome, "body": body})

    async def faults(self, request: Request) -> Response:
        """Replace the faults of the next calls and notifications."""
        try:
            self._alipayplus.faults.inject(json.loads(await request.body()))
        except (ValueError, TypeError) as error:
            return _problem(str(error))
        return JSONResponse({})

    async def messages(self, request: Request) -> Response:
        """Return the newest messages, newest first; `order` in the query selects some."""
        order_id = request.query_params.get("order", "")
        return JSONResponse(self._books.log.newest(200, order_id=order_id))

    async def clients(self, request: Request) -> Response:
        """Register a client or replace its public keys: {"clientId": ..., "keys": {...}}."""
        try:
            content: Any = json.loads(await request.body())
            self._alipayplus.identity.set_client(content["clientId"], dict(content["keys"]))
        except (ValueError, TypeError, KeyError):
            return _problem('expected {"clientId": "...", "keys": {"1": "a public key"}}')
        except ConfigurationError as error:
            return _problem(str(error))
        return JSONResponse({"clients": sorted(self._alipayplus.identity.clients)})

    async def rotate(self, _request: Request) -> Response:
        """Let Alipay+ sign with a new key; return it, so that the shop can be given it."""
        identity = self._alipayplus.identity
        version = identity.rotate()
        key = identity.public_keys[version]
        return JSONResponse(
            {"keyVersion": version, "publicKey": key.to_base64(), "fingerprint": key.fingerprint}
        )


def _problem(text: str, status: int = 400) -> Response:
    return JSONResponse({"error": text}, status)
