"""The simulated Alipay+ inside a test's process: no socket, no sleep, the time moves by hand.

Gateway, books and notifications are those of the command `aplus simulator`.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Self, TypeVar

from aplus_adapters.errors import ConfigurationError
from aplus_adapters.payments.model import Attempt
from aplus_adapters.payments.policy import PaymentConfig
from aplus_adapters.runtime.http_clients import preferred_library
from aplus_adapters.runtime.runner import Runner
from aplus_adapters.simulator.alipayplus import SimulatedAlipayPlus
from aplus_adapters.simulator.ledger import Books, Order
from aplus_adapters.testing.clock import VirtualClock
from aplus_adapters.testing.deliveries import Deliveries
from aplus_adapters.testing.shop_application import ShopApplication, payment_routes
from aplus_adapters.testing.simulated_keys import ADDRESS, SimulatedKeys
from aplus_adapters.testing.simulated_transport import SimulatedNetwork

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from aplus_adapters.aplus_pay import AplusPay
    from aplus_adapters.protocol import account as protocol
    from aplus_adapters.testing.deliveries import Delivery, Steps

__all__ = ["NOTIFY_URL", "Simulator"]

T = TypeVar("T")

NOTIFY_URL = "https://testserver/aplus/notify"
"""Where a shop takes notifications, unless it says otherwise. Django's tests allow this host."""


class Simulator:
    """A simulated Alipay+ for one test; also a context manager.

    Connect the shop to it with `connect(pay, app)`. `clock` is the time of both sides. `account` is
    the shop's account here, with `notify_url` as its address. `lenient` accepts pay requests as
    some SDKs send them. `alipayplus` is the simulated Alipay+ itself.
    """

    def __init__(
        self,
        *,
        clock: VirtualClock | None = None,
        notify_url: str = NOTIFY_URL,
        lenient: bool = False,
    ) -> None:
        self.clock = clock or VirtualClock()
        self._keys = SimulatedKeys.of_this_process()
        self.account: protocol.Account = self._keys.account(notify_url)
        self.alipayplus = SimulatedAlipayPlus(
            Books(),
            self._keys.identity(),
            clock=self.clock.now,
            address=ADDRESS,
            emit=lambda *_event, **_details: None,
            lenient=lenient,
        )
        self.steps = Deliveries(self.alipayplus, self.clock)
        self.clock.attach(self._travel, self._travel_async)
        self._network = SimulatedNetwork(self.alipayplus, self.clock)
        self._pay: AplusPay | None = None
        self._application: ShopApplication | None = None
        self._connection = ExitStack()

    # Connecting a shop.

    @property
    def environ(self) -> dict[str, str]:
        """Return the APLUS_* variables from which `Account.from_env` makes `account`."""
        return {**self._keys.settings, "APLUS_NOTIFY_URL": self.account.notify_url}

    def transport(self, library: Any = None) -> Any:
        """Return what leads an HTTP client here: `httpx.Client(transport=...)`, or AsyncClient.

        `library` is httpx or httpx2; without it, the one that aplus_adapters prefers. A connected
        shop needs none; it is for calls by `aplus_adapters.Client`.
        """
        return self._network.transport(library or preferred_library())

    def connect(self, pay: AplusPay, app: Any = None) -> None:
        """Let a shop pay here, by this clock, and bring its notifications to its application.

        `pay` is the shop's AplusPay as it stands: until `close` its account is replaced by this
        one (which keeps the shop's notify URL and settlement currency), and so are its HTTP clients
        and its clock. Of a shop with several accounts each keeps its client id and its key, and is
        known here. `app` is its WSGI or ASGI application, or Starlette's TestClient; without it
        the payment routes are called by themselves. Raises ConfigurationError if that cannot be.
        """
        self.close()
        accounts = self._accounts_here(list(pay.config.accounts.values()))
        account = accounts[0]
        application = ShopApplication(payment_routes(pay, account) if app is None else app)
        library = preferred_library()
        network = {"transport": self.transport(library), "trust_env": False}
        runner = Runner(
            pay.store,
            pay.hooks,
            client=library.Client(**network),
            async_client=library.AsyncClient(**network),
            clock=self.clock,
        )
        by_id = {one.client_id: one for one in accounts}
        config = PaymentConfig(accounts=by_id, timing=pay.config.timing)
        self._connection.callback(application.close)
        self._connection.enter_context(pay.rewired(config, runner))
        if not application.has_lifespan:
            pay.note_lifespan()  # nobody runs one here: what is opened is closed by `close`
        self._pay, self._application, self.account = pay, application, account
        self.steps.is_reachable = True

    def _accounts_here(self, accounts: list[protocol.Account]) -> list[protocol.Account]:
        if len(accounts) == 1:
            return [self._keys.account(self.account.notify_url, like=accounts[0])]
        return [self._keys.known(account, self.alipayplus.identity) for account in accounts]

    @property
    def pay(self) -> AplusPay:
        """Return the connected shop's AplusPay; raise ConfigurationError if there is none."""
        if self._pay is None:
            raise ConfigurationError(
                "testing kit: found no shop; connect it in a fixture of yours: "
                "aplus_simulator.connect(pay, app)"
            )
        return self._pay

    def close(self) -> None:
        """Restore the connected shop's own account, clients and clock."""
        self._pay = self._application = None
        self.steps.is_reachable = False
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    # What a test asks and orders.

    @property
    def orders(self) -> list[Order]:
        """Return Alipay+'s books, the oldest order first."""
        return list(self.alipayplus.books.orders.values())

    @property
    def deliveries(self) -> list[Delivery]:
        """Return all notifications that were sent so far, in order."""
        return self.steps.sent

    def order(self, which: Attempt | Order | str | None = None) -> Order:
        """Return an order of the books: the newest, or the one that `which` names.

        `which` is an attempt, a paymentRequestId, the text of a code, or the shop's own order_ref
        (its newest payment). Raises LookupError if there is none.
        """
        if isinstance(which, Order):
            return which
        word = which.payment_request_id if isinstance(which, Attempt) else which
        for order in reversed(self.orders):
            token = (word or "").rpartition("/")[2]
            if word in (None, order.payment_request_id, _ref(order)) or token == order.token:
                return order
        known = ", ".join(_ref(order) for order in self.orders[-5:]) or "no order at all"
        raise LookupError(
            f"simulated Alipay+: found no order {word or 'yet'}, only {known}; did the shop send "
            "its pay request, and is it connected?"
        )

    def fault(self, fault: str, **options: Any) -> None:
        """Order a fault of the next calls, such as `fault("drop_answer", call="pay", times=2)`.

        The faults and their options are those of `aplus_adapters.simulator.faults`. Raises
        ValueError for an unknown fault, TypeError for an unknown option.
        """
        self.alipayplus.faults.add({"fault": fault, **options})

    @contextmanager
    def shop_unreachable(self) -> Iterator[None]:
        """Let no notification reach the shop meanwhile; each comes again by the schedule."""
        self.steps.is_reachable = False
        try:
            yield
        finally:
            self.steps.is_reachable = self._application is not None

    def deliver(self) -> list[Delivery]:
        """Send the notifications that are due now, and return them."""
        return self.run(self.steps.due())

    async def deliver_async(self) -> list[Delivery]:
        """Do what `deliver` does, awaiting."""
        return await self.run_async(self.steps.due())

    # The two drivers of steps.

    def run(self, steps: Steps[T]) -> T:
        """Do the steps, blocking."""
        try:
            post = next(steps)
            while True:
                post = steps.send(self._shop().post(post))
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            steps.close()

    async def run_async(self, steps: Steps[T]) -> T:
        """Do the steps, awaiting."""
        try:
            post = next(steps)
            while True:
                post = steps.send(await self._shop().post_async(post))
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            steps.close()

    def _shop(self) -> ShopApplication:
        _ = self.pay  # raises if there is none
        assert self._application is not None  # noqa: S101  # it comes and goes with `pay`
        return self._application

    def _travel(self, moment: datetime) -> None:
        self.run(self.steps.until(moment))

    async def _travel_async(self, moment: datetime) -> None:
        await self.run_async(self.steps.until(moment))


def _ref(order: Order) -> str:
    ref: str = order.request["order"]["referenceOrderId"]
    return ref
