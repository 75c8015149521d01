"""What every scenario uses: begin a payment, and watch what the shop does with it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from aplus_adapters.conformance.cases import NotTried
from aplus_adapters.conformance.notifications import Notifier
from aplus_adapters.conformance.plan import Plan
from aplus_adapters.simulator.ledger import OrderState

if TYPE_CHECKING:
    from collections.abc import Callable

    from aplus_adapters.conformance.cases import Results
    from aplus_adapters.conformance.evidence import Evidence, Exchange
    from aplus_adapters.conformance.gateway import PlayedGateway
    from aplus_adapters.conformance.shop import Page, Shop

__all__ = ["Pace", "Payment", "Play"]


@frozen(kw_only=True)
class Pace:
    """How long things take, in seconds.

    `expiry` is the life of a code that nobody pays, `patience` how long the shop may take for its
    next step, `poll` the pause between two looks at a page. `answer` is how long Alipay+ waits for
    an acknowledgement: 5 seconds, and nothing else outside tests.
    """

    answer: float = 5.0
    expiry: float = 5.0
    patience: float = 12.0
    poll: float = 1.0


@define
class Payment:
    """One payment that the shop began; `id` is the paymentRequestId in its pay request."""

    order: str
    id: str
    page: Page
    mark: int
    request: Exchange
    background: threading.Thread | None = field(default=None, repr=False)


@define
class Play:
    """One run against one shop; `picture` takes a picture of a page, by its name and URL."""

    gateway: PlayedGateway
    shop: Shop
    evidence: Evidence
    results: Results
    pace: Pace
    picture: Callable[[str, str], None]
    notifier: Notifier = field(init=False)
    payments: dict[str, Payment] = field(factory=dict)
    code_is_visible: bool = False
    acknowledges: bool = False
    is_silent: bool = False
    is_paid_shown: bool = False
    _ending: threading.Event = field(factory=threading.Event)

    def __attrs_post_init__(self) -> None:
        self.notifier = Notifier(self.gateway, self.shop)

    def begin(self, role: str, plan: Plan | None = None) -> Payment:
        """Press pay for a new order; return the payment that arrives. Raise NotTried if none does.

        `role` is its name in this run.
        """
        order = self.shop.new_order()
        mark = len(self.evidence.exchanges)
        known = {call.payment_request_id for call in self.gateway.calls("pay")}
        self.gateway.plan(plan or Plan())
        page = self.shop.press_pay(order)

        def arrived() -> list[Exchange]:
            calls = self.gateway.calls("pay", after=mark)
            return [call for call in calls if call.payment_request_id not in known]

        # Where the first did not come, no other one is waited for.
        patience = self.pace.patience if page.status < 400 and not self.is_silent else 0.5
        calls = self.gateway.wait(arrived, patience)
        if not calls:
            self.is_silent = not self.payments
            raise NotTried(
                f"no pay request of order {order} arrived; {page.url} answered "
                f"{page.exchanges[-1].failure or f'HTTP {page.status}'}"
            )
        payment = Payment(order, calls[0].payment_request_id, page, mark, calls[0])
        self.payments[role] = payment
        return payment

    def begin_open(self, role: str, plan: Plan | None = None) -> Payment:
        """Begin a payment as `begin` does; raise NotTried if Alipay+ refused its pay request."""
        payment = self.begin(role, plan)
        if self.gateway.order(payment.id) is None:
            raise NotTried(f"the pay request was refused: {payment.request.refusal}")
        return payment

    def watch(self, payment: Payment, find: Callable[[], Any], seconds: float) -> Any:
        """Look at the payment's pages as a browser does until `find` is true; return its result."""
        deadline = time.monotonic() + seconds
        while not (found := find()) and time.monotonic() < deadline:
            self.look(payment)
            found = self.gateway.wait(find, min(self.pace.poll, deadline - time.monotonic()))
            if found:
                return found
        return found

    def watch_in_background(
        self, payment: Payment, find: Callable[[], Any], seconds: float
    ) -> None:
        """Watch a payment in a thread, while other scenarios are played; see `await_background`."""
        work = threading.Thread(
            target=self.watch, args=(payment, lambda: find() or self._ending.is_set(), seconds)
        )
        payment.background = work
        work.start()

    def look(self, payment: Payment) -> list[str]:
        """Open the payment's page and its status once; return what they show."""
        texts = []
        led_to = payment.page.exchanges[-1]
        if led_to.method == "GET":  # the pay route led to a page
            texts.append(self.shop.look_at("page", payment.page.url).text)
        status_url = self.shop.ways.status_url
        if status_url is not None:
            texts.append(self.shop.status_text(payment.order, payment.id))
        return texts

    def paid(self, role: str, plan: Plan | None = None) -> Payment:
        """Begin a payment, let the buyer pay it, and bring the true notification."""
        payment = self.begin_open(role, plan)
        self.gateway.finish(payment.id, OrderState.PAID)
        self.notifier.send("true", self.notifier.content(payment.id))
        return payment

    def end(self) -> None:
        """End what still runs in the background."""
        self._ending.set()
        for payment in self.payments.values():
            if payment.background is not None:
                payment.background.join()
