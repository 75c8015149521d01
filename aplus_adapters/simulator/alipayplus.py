"""The simulated Alipay+ without a server: what both forms share, in process and as a process.

Nothing here sleeps, reads the machine's clock or opens a connection. Who runs it does: the server
with an event loop, the testing kit with a virtual clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from aplus_adapters.simulator.faults import AFTER, Fault, Faults
from aplus_adapters.simulator.gateway import Call, Gateway, encode
from aplus_adapters.simulator.ledger import OrderState
from aplus_adapters.simulator.notifications import Notifier

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from datetime import datetime

    from aplus_adapters.simulator.identity import Identity
    from aplus_adapters.simulator.ledger import Books, Order

__all__ = ["DECISIONS", "Reply", "SimulatedAlipayPlus"]

DECISIONS = {"pay": OrderState.PAID, "refuse": OrderState.REFUSED, "expire": OrderState.CLOSED}
"""What a buyer or the time does to an open order, and the state that follows."""

_CALLS = ("pay", "inquiryPayment", "cancelPayment", "refund")
_BASE = "/aps/api/v1/payments/"
_JSON = {"Content-Type": "application/json"}


@frozen(kw_only=True)
class Reply:
    """The answer to one HTTP request; if `cut`, the connection breaks before it is whole."""

    status: int = 200
    headers: Mapping[str, str] = field(factory=dict)
    body: bytes = b""
    cut: bool = False


class SimulatedAlipayPlus:
    """Gateway, wallet and notifications over one set of books.

    `clock` returns the time as an aware datetime. `address` is the base of the codes' links.
    `time_scale` divides the pauses between re-sent notifications. `emit` is called for each event
    with its name, its order and details by keyword. `lenient` accepts what some SDKs send.
    """

    def __init__(
        self,
        books: Books,
        identity: Identity,
        *,
        clock: Callable[[], datetime],
        address: str,
        emit: Callable[..., None],
        time_scale: float = 1.0,
        lenient: bool = False,
    ) -> None:
        self.books, self.clock, self.address = books, clock, address
        self.faults = Faults()
        self.gateway = Gateway(books, identity, address, lenient=lenient)
        self.notifier = Notifier(books, identity, clock, emit, time_scale)
        self._emit = emit

    def answer(
        self, *, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> Generator[float, None, Reply]:
        """Return the reply to a request; yield the seconds to wait first, as faults order.

        A wait may come before the call acts, and another one before it is answered. Names in
        `headers` are in lower case. `path` has no query.
        """
        name = path.removeprefix(_BASE)
        if name not in _CALLS:
            return _refusal("NO_INTERFACE_DEF", "The API is not defined.")
        if method != "POST":
            return _refusal("METHOD_NOT_SUPPORTED", "The method is not supported.")
        fault = self.faults.take(name)
        if fault is not None and fault.fault not in AFTER:
            if fault.fault != "delay":
                return self._instead(fault, path)
            yield fault.seconds
        reply = self._act(Call(name=name, path=path, headers=headers, body=body))
        if fault is None or fault.fault not in AFTER:
            return reply
        if fault.fault == "late_answer":
            yield fault.seconds
        return _spoil(fault, reply)

    def decide(self, order: Order, decision: str) -> None:
        """Make one of DECISIONS about an open order; a final order stays as it is."""
        if self.books.finish(order, DECISIONS[decision], self.clock()):
            self._emit("order_" + order.state.value.lower(), order)

    def expire_overdue(self) -> None:
        """Close the orders whose code has expired."""
        for order in self.books.overdue(self.clock()):
            self.decide(order, "expire")

    def _act(self, call: Call) -> Reply:
        known = len(self.books.orders)
        content, signed = self.gateway.answer(call, self.clock())
        if len(self.books.orders) > known:
            self._emit("order_created", next(reversed(self.books.orders.values())))
        return self._reply(call.path, content, signed=signed)

    def _reply(self, path: str, content: dict[str, Any], *, signed: bool) -> Reply:
        body = encode(content)
        headers = self.gateway.sign(path, body, self.clock()) if signed else {}
        return Reply(headers=_JSON | headers, body=body)

    def _instead(self, fault: Fault, path: str) -> Reply:
        """Return the reply of a fault that keeps the gateway from acting."""
        if fault.fault == "result":
            result = {"resultCode": fault.code, "resultStatus": fault.status}
            return self._reply(path, {"result": result}, signed=True)
        if fault.fault == "http_500":
            return Reply(status=500, body=b"a test ordered this failure (fault http_500)")
        return Reply(cut=True)


def _spoil(fault: Fault, reply: Reply) -> Reply:
    """Return the reply of a call that has acted, as the fault changes it."""
    if fault.fault == "drop_answer":
        return Reply(cut=True)
    if fault.fault == "garbage":
        return Reply(headers=reply.headers, body=b"\x1f\x8b not json")
    if fault.fault == "unsigned":
        return Reply(headers=_JSON, body=reply.body)
    if fault.fault == "bad_signature":
        return Reply(headers=reply.headers, body=reply.body + b" ")
    return reply


def _refusal(code: str, message: str) -> Reply:
    """Return the unsigned answer of the server in front of the gateway."""
    result = {"resultCode": code, "resultStatus": "F", "resultMessage": message}
    return Reply(headers=_JSON, body=encode({"result": result}))
