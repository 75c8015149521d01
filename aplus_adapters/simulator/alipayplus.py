"""The simulated Alipay+ without a server: what both forms share, in process and as a process.

Nothing here sleeps, reads the machine's clock or opens a connection. Who runs it does: the server
with an event loop, the testing kit with a virtual clock.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from attrs import evolve

from aplus_adapters.protocol import signing
from aplus_adapters.simulator.contents import encode, result
from aplus_adapters.simulator.faults import AFTER, Fault, Faults
from aplus_adapters.simulator.gateway import Answered, Call, Gateway
from aplus_adapters.simulator.ledger import OrderState, Refusal
from aplus_adapters.simulator.message_log import lay_open
from aplus_adapters.simulator.notifications import Notifier
from aplus_adapters.simulator.outcomes import read_outcomes
from aplus_adapters.simulator.replies import JSON, Reply, reply_instead, spoil

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
_OVERTAKE = 5.0  # seconds at most that the answer to pay waits for a notification to overtake it
_STEP = 0.1  # seconds between two looks at whether it has


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
        self.books, self.clock, self.address, self.identity = books, clock, address, identity
        self.faults = Faults()
        self.gateway = Gateway(books, identity, address, lenient=lenient)
        self.notifier = Notifier(books, identity, clock, emit, time_scale, faults=self.faults)
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
            return _refusal("NO_INTERFACE_DEF", f"The API is not defined: {path[:80]}.")
        if method != "POST":
            return _refusal(
                "METHOD_NOT_SUPPORTED", f"HTTP method: found {method[:10]}, expected POST."
            )
        call = Call(name=name, path=path, headers=headers, body=body)
        order_id, reference = self._concerned(call)
        fault = self.faults.take(name, order_id, reference)
        answered = Answered(content={}, signed=False, verification="not looked at")
        if fault is not None and fault.fault == "delay":
            yield fault.seconds
        if fault is not None and fault.fault not in (*AFTER, "delay", "lag"):
            reply = reply_instead(fault, lambda content: self._sign(call, content))
        else:
            if fault is not None and fault.fault == "lag":
                call = evolve(call, lag=timedelta(seconds=fault.seconds))
            answered = self.gateway.answer(call, self.clock())
            if answered.is_new and answered.order is not None:
                self._emit("order_created", answered.order)
                if self.notifier.is_early(answered.order):
                    yield from self._let_notification_overtake(answered.order)
            content = encode(answered.content)
            signature = self._sign(call, content) if answered.signed else {}
            reply = Reply(headers=JSON | signature, body=content)
            if fault is not None and fault.fault in AFTER:
                if fault.fault == "late_answer":
                    yield fault.seconds
                reply = spoil(fault, reply, call, self.gateway, self.clock())
        self._log(call, answered, reply, fault=fault, names=(order_id, reference))
        return reply

    def decide(self, order: Order, decision: str, code: str = "") -> None:
        """Make one of DECISIONS about an open order; `code` is why a wallet refuses.

        A final order stays as it is: Alipay+ gives a payment that comes for it back by itself.
        """
        if decision == "two_wallets":
            self.decide(order, "pay")
            decision = "pay"
        if self.books.finish(order, DECISIONS[decision], self.clock(), code):
            self._emit("order_" + order.state.value.lower(), order)
        elif decision == "pay":
            self.books.return_payment(order, "ANOTHERWALLET", self.clock())
            self._emit("payment_returned", order)

    def do_what_is_due(self) -> None:
        """Let planned buyers act, and close the orders whose code has expired."""
        now = self.clock()
        with self.books.transaction():
            for order in self.books.due_decisions(now):
                if order.next_decision is not None and order.next_decision < order.expires_at:
                    self.decide(order, order.decision, order.result_code)
            for order in self.books.overdue(now):
                self.decide(order, "expire")

    def _let_notification_overtake(self, order: Order) -> Generator[float, None, None]:
        """Let the buyer pay, and hold the answer to pay back until the shop was notified."""
        self.decide(order, "pay")
        waited = 0.0
        while not order.notifications and waited < _OVERTAKE:
            yield _STEP
            waited += _STEP

    def next_due(self) -> datetime | None:
        """Return when a buyer, a code's end or a notification is due next; None if nothing is."""
        return self.books.next_due()

    def _concerned(self, call: Call) -> tuple[str, str]:
        """Return the ids by which faults know the order of a call; plan what it describes."""
        try:
            fields = json.loads(call.body)
            order_id = fields.get("paymentRequestId") or ""
            if call.name == "pay":
                reference = str(fields["order"]["referenceOrderId"])
                description = str(fields["order"]["orderDescription"])
            else:
                known = self.books.find_own(
                    call.client_id, order_id or None, fields.get("paymentId")
                )
                if known is None:
                    return str(order_id), ""
                order_id, reference = known.payment_request_id, known.reference
                description = known.description
            if "sim:" in description:
                self.faults.plan(order_id, lambda: [*read_outcomes(description).faults])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, Refusal):
            return "", ""  # the gateway says what is wrong with it
        return str(order_id), reference

    def _sign(self, call: Call, body: bytes) -> dict[str, str]:
        return self.gateway.sign(call.path, body, self.clock(), call.client_id)

    def _log(
        self,
        call: Call,
        answered: Answered,
        reply: Reply,
        *,
        fault: Fault | None,
        names: tuple[str, str],
    ) -> None:
        request = lay_open(
            call.headers, call.body, signed=call.signed_content, verification=answered.verification
        )
        self.books.log.add(
            "call",
            call.name,
            self.clock(),
            order_id=names[0],
            reference=names[1],
            path=call.path,
            request=request,
            answer=self._lay_open(call, reply),
            outcome="connection cut" if reply.cut else _outcome(reply),
            fault=fault.fault if fault is not None else "",
        )

    def _lay_open(self, call: Call, reply: Reply) -> dict[str, Any]:
        time, client_id = reply.headers.get("Response-Time", ""), reply.headers.get("Client-Id", "")
        signed = signing.signed_content(call.path, client_id, time, reply.body)
        verification = self.identity.verify_own(reply.headers.get("Signature"), signed)
        content = lay_open(reply.headers, reply.body, signed=signed, verification=verification)
        return {"status": 0 if reply.cut else reply.status, **content}


def _outcome(reply: Reply) -> str:
    """Return the result code of a reply, or its HTTP status."""
    try:
        return str(json.loads(reply.body)["result"]["resultCode"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {reply.status}"


def _refusal(code: str, message: str) -> Reply:
    """Return the unsigned answer of the server in front of the gateway."""
    return Reply(headers=JSON, body=encode(result("F", code, message)))
