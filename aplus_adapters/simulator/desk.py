"""The desk: pages that show orders and messages as they happen, and let a person interfere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from aplus_adapters.errors import InvalidValue
from aplus_adapters.protocol.amounts import Amount
from aplus_adapters.protocol.results import CODES
from aplus_adapters.simulator.faults import CALL_FAULTS, NOTIFICATION_FAULTS
from aplus_adapters.simulator.ledger import OrderState, Refusal
from aplus_adapters.simulator.notifications import FORMS
from aplus_adapters.simulator.outcomes import BUYERS
from aplus_adapters.simulator.pages import not_found, read_form, render

if TYPE_CHECKING:
    from starlette.requests import Request

    from aplus_adapters.simulator.alipayplus import SimulatedAlipayPlus
    from aplus_adapters.simulator.delivery import Delivery
    from aplus_adapters.simulator.ledger import Order

__all__ = ["Desk"]

_REFUSALS = sorted(code for code, row in CODES.items() if row.status == "F")


class Desk:
    """The pages of whoever tries a shop; `delivery` sends the notifications that are asked for."""

    def __init__(self, alipayplus: SimulatedAlipayPlus, delivery: Delivery) -> None:
        self._alipayplus, self._books = alipayplus, alipayplus.books
        self._faults, self._delivery = alipayplus.faults, delivery

    def routes(self) -> list[Route]:
        """Return the routes of the pages."""
        return [
            Route("/", self.orders),
            Route("/orders/{token}", self.order),
            Route("/orders/{token}/{action}", self.act, methods=["POST"]),
            Route("/messages/{number:int}", self.message),
            Route("/faults", self.faults, methods=["GET", "POST"]),
        ]

    async def orders(self, request: Request) -> Response:
        """Show the newest orders and messages; `state` and `order` in the query select some."""
        state = request.query_params.get("state", "")
        reference = request.query_params.get("order", "").strip()
        orders = self._books.newest(50, state=state, reference=reference)
        return render(
            "desk.html",
            orders=orders,
            messages=self._books.log.newest(50, reference=reference),
            states=[one.value for one in OrderState],
            state=state,
            reference=reference,
            open_faults=self._faults.open(),
        )

    async def order(self, request: Request) -> Response:
        """Show one order with its messages and buttons."""
        order = self._books.by_token.get(request.path_params["token"])
        return not_found("order") if order is None else self._show(order)

    def _show(self, order: Order, status: int = 200, **values: Any) -> Response:
        messages = self._books.log.newest(100, order_id=order.payment_request_id)
        return render(
            "order.html",
            status,
            order=order,
            messages=messages,
            refusals=_REFUSALS,
            forms=FORMS,
            amount_of=Amount.from_wire,
            rest=Amount(order.amount.currency, order.amount.value - order.refunded),
            open_faults=self._faults.open(),
            **values,
        )

    async def act(self, request: Request) -> Response:
        """Do what a button of an order's page says, and show the page again."""
        order = self._books.by_token.get(request.path_params["token"])
        action = request.path_params["action"]
        fields = await read_form(request)
        if order is None:
            return not_found("order")
        try:
            if action in BUYERS:
                self._alipayplus.decide(order, action, _known_code(fields))
            elif action == "notify" and fields.get("form") in FORMS:
                await self._delivery.send(order, fields["form"])
            elif action == "refund":
                self._refund(order, fields.get("amount", ""))
            else:
                return not_found("button")
        except Refusal as refusal:
            return self._show(order, 409, problem=f"{refusal.code}: {refusal.message}")
        except InvalidValue as error:
            return self._show(order, 400, problem=str(error))
        return RedirectResponse(f"/orders/{order.token}", 303)

    def _refund(self, order: Order, text: str) -> None:
        """Refund as the shop's operator does in Alipay+'s portal; inquiries show it."""
        amount = Amount.parse(text, order.amount.currency)
        amount.check_payable("amount")
        name = f"desk-{len(order.refunds) + 1}"
        self._books.refund(order, name, amount, self._alipayplus.clock())

    async def message(self, request: Request) -> Response:
        """Show one message laid open."""
        message = self._books.log.get(request.path_params["number"])
        if message is None:
            return not_found("message")
        order = self._books.orders.get(message["order"])
        return render("message.html", message=message, order=order)

    async def faults(self, request: Request) -> Response:
        """Show what can go wrong, and order it."""
        problem, status = "", 200
        if request.method == "POST":
            fields = await read_form(request)
            try:
                if "clear" in fields:
                    self._faults.inject([])
                else:
                    self._faults.add(_read_fault(fields))
                return RedirectResponse(_way_back(fields), 303)
            except (ValueError, TypeError) as error:
                problem, status = str(error), 400
        return render(
            "faults.html",
            status,
            problem=problem,
            call_faults=CALL_FAULTS,
            notification_faults=NOTIFICATION_FAULTS,
            codes=CODES.values(),
            open_faults=self._faults.open(),
        )


def _known_code(fields: dict[str, str]) -> str:
    code = fields.get("code", "")
    return code if code in CODES else ""


def _read_fault(fields: dict[str, str]) -> dict[str, Any]:
    """Return the fault of a form; a notification's is chosen as `notify fault`."""
    call, _, fault = fields.get("fault", "").rpartition(" ")
    return {
        "fault": fault,
        "call": call or fields.get("call", "*"),
        "times": int(fields.get("times") or 1),
        "seconds": float(fields.get("seconds") or 0),
        "code": fields.get("code") or "UNKNOWN_EXCEPTION",
        "order": fields.get("order", ""),
    }


def _way_back(fields: dict[str, str]) -> str:
    """Return the page to show again: that of the order, if the form was there."""
    token = fields.get("token", "")
    return f"/orders/{token}" if token.isascii() and token.isdigit() else "/faults"
