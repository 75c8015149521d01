"""AplusPay: one shop's accounts, store, hooks and timing, and what can be asked of them."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from aplus_adapters.errors import ConfigurationError
from aplus_adapters.payments import effects
from aplus_adapters.payments.flows.follow_up import close_order
from aplus_adapters.payments.flows.initiate import initiate
from aplus_adapters.payments.flows.reconcile import reconcile
from aplus_adapters.payments.flows.refund import refund
from aplus_adapters.payments.hooks import Visitor
from aplus_adapters.payments.policy import PaymentConfig, Timing
from aplus_adapters.payments.timeline import read_timeline
from aplus_adapters.protocol.account import Account
from aplus_adapters.runtime.argument_checks import (
    check_hooks,
    check_kind,
    check_methods,
    find_optional_hooks,
)
from aplus_adapters.runtime.clock import Clock, SystemClock
from aplus_adapters.runtime.open_hooks import refuse_inside
from aplus_adapters.runtime.runner import Runner
from aplus_adapters.web.context import WebContext
from aplus_adapters.web.endpoints import respond
from aplus_adapters.web.origins import check_origins
from aplus_adapters.web.page import PageDesign
from aplus_adapters.web.routing import ROUTES, Route, notify_path
from aplus_adapters.web.template import missing_packages

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from aplus_adapters.payments.effects import Flow
    from aplus_adapters.payments.flows.reconcile import ReconcileReport
    from aplus_adapters.payments.hooks import AsyncHooks, Hooks
    from aplus_adapters.payments.model import Attempt, Refund
    from aplus_adapters.payments.store import AsyncPaymentStore, PaymentStore
    from aplus_adapters.payments.timeline import Event
    from aplus_adapters.protocol.amounts import Amount
    from aplus_adapters.runtime.performers import AsyncPerformer, Performer
    from aplus_adapters.web.http import HttpRequest, HttpResponse

log = logging.getLogger("aplus_adapters")

__all__ = ["AplusPay"]

T = TypeVar("T")
C = TypeVar("C")  # what the store gives to hooks as `details.connection`
NOBODY = Visitor()
"""Who asks where no request of a browser is: the shop's own program."""

_CLOCK_METHODS = ("now", "sleep", "sleep_async", "draw", "new_request_id")


class AplusPay:
    """What a shop makes once, mounts by an adapter, and asks about its payments.

    `account` is one Account or several (the first is the default). `store` is a `PaymentStore` or
    an `AsyncPaymentStore`, `hooks` an object with the shop's `Hooks` or `AsyncHooks`. `timing` are
    the pauses and time-outs. `shop_name` is shown on the page, `page` changes how that looks and
    what it says. Pages of other sites cannot make a buyer's browser post to the routes, except
    those of `trusted_origins` (such as `https://shop.example`, or `capacitor://localhost` for an
    app). `client` and `async_client` are the shop's own HTTP clients (httpx or httpx2); by default
    one is made per account, with TLS verified. Each call ends in its time with your client too;
    where its transport uses another HTTP library, that call goes on in a thread of its own. Let it
    have connections enough (`httpx.Limits`): what waits for one is not sent.

    Each method that asks has a twin whose name ends in `_async`, for programs that await. Those
    that write raise WouldDeadlock inside a hook whose transaction is open: they would wait for it.
    Raises ConfigurationError for anything that cannot work.
    """

    def __init__(
        self,
        *,
        account: Account | Sequence[Account],
        store: PaymentStore[C] | AsyncPaymentStore[C],
        hooks: Hooks[C] | AsyncHooks[C],
        timing: Timing | None = None,
        shop_name: str | None = None,
        page: PageDesign | None = None,
        trusted_origins: Sequence[str] = (),
        client: Any = None,
        async_client: Any = None,
        clock: Clock | None = None,
    ) -> None:
        by_id = _by_client_id(account)
        check_hooks(hooks, store)
        if timing is not None:
            check_kind("timing", timing, Timing, "Timing(), or leave it out")
        if shop_name is not None:
            check_kind("shop_name", shop_name, str, "shop_name='Corner Shop', or leave it out")
        if page is not None:
            check_kind("page", page, PageDesign, "PageDesign(texts=...), or leave it out")
        if clock is not None:
            check_methods("clock", clock, _CLOCK_METHODS)
        check_origins(trusted_origins)
        self.store: Any = store
        self.hooks: Any = hooks
        self._runner = Runner(
            store, hooks, client=client, async_client=async_client, clock=clock or SystemClock()
        )
        self.config = PaymentConfig(accounts=by_id, timing=timing or Timing())
        self.context = WebContext(
            config=self.config,
            name=shop_name,
            design=page or PageDesign(),
            trusted_origins=frozenset(trusted_origins),
            optional_hooks=find_optional_hooks(hooks),
        )
        missing = missing_packages()
        if missing and "render_order_code" not in self.context.optional_hooks:
            log.warning(
                "order-code page: %s not installed, so that only JSON can be answered; run pip "
                "install 'aplus_adapters[page]', or implement the hook render_order_code",
                " and ".join(missing),
            )

    # What a shop asks.

    def start(self, order_ref: str, visitor: Visitor = NOBODY) -> Attempt:
        """Return the attempt by which an order is paid now, with its code if Alipay+ answers.

        For a till, a job or a test: the web routes do the same. `visitor` is what `load_order` is
        given. Raises what `payments.flows.initiate.initiate` raises.
        """
        return self._write("start", initiate(self.config, order_ref, visitor))

    async def start_async(self, order_ref: str, visitor: Visitor = NOBODY) -> Attempt:
        """Do what `start` does, awaiting."""
        return await self._write_async("start", initiate(self.config, order_ref, visitor))

    def find(self, payment_request_id: str) -> Attempt | None:
        """Return the attempt with this paymentRequestId, None if there is none."""
        return self.run(effects.get(payment_request_id))

    async def find_async(self, payment_request_id: str) -> Attempt | None:
        """Do what `find` does, awaiting."""
        return await self.run_async(effects.get(payment_request_id))

    def latest(self, order_ref: str) -> Attempt | None:
        """Return the newest attempt of an order, None if there is none."""
        return self.run(effects.latest(order_ref))

    async def latest_async(self, order_ref: str) -> Attempt | None:
        """Do what `latest` does, awaiting."""
        return await self.run_async(effects.latest(order_ref))

    def timeline(self, payment_request_id: str) -> list[Event]:
        """Return what happened to a payment, in order. Raises UnknownPayment."""
        return self.run(read_timeline(payment_request_id))

    async def timeline_async(self, payment_request_id: str) -> list[Event]:
        """Do what `timeline` does, awaiting."""
        return await self.run_async(read_timeline(payment_request_id))

    def refund(
        self,
        payment_request_id: str,
        *,
        refund_request_id: str,
        amount: Amount | None = None,
        reason: str | None = None,
    ) -> Refund:
        """Return money; `payments.flows.refund.refund` says what holds and what is raised.

        `refund_request_id` is your own id of this refund, such as the credit note's number: asked
        again with the same id it is the same refund. `amount` None returns what is left. A refund
        that comes back CREATED is not lost: `reconcile` goes on with it.
        """
        flow = refund(
            self.config,
            payment_request_id,
            refund_request_id=refund_request_id,
            amount=amount,
            reason=reason,
        )
        return self._write("refund", flow)

    async def refund_async(
        self,
        payment_request_id: str,
        *,
        refund_request_id: str,
        amount: Amount | None = None,
        reason: str | None = None,
    ) -> Refund:
        """Do what `refund` does, awaiting."""
        flow = refund(
            self.config,
            payment_request_id,
            refund_request_id=refund_request_id,
            amount=amount,
            reason=reason,
        )
        return await self._write_async("refund", flow)

    def close_order(self, order_ref: str) -> Attempt | None:
        """Close the order's open code, when the shop cancels the order; return the attempt.

        None if the order never had one. SUCCEEDED means that it was paid before: refund it. An
        attempt that comes back open is still being closed: `reconcile` goes on with it.
        """
        return self._write("close_order", close_order(self.config, order_ref))

    async def close_order_async(self, order_ref: str) -> Attempt | None:
        """Do what `close_order` does, awaiting."""
        return await self._write_async("close_order", close_order(self.config, order_ref))

    def reconcile(
        self, progress: Callable[[ReconcileReport], None] = lambda _: None
    ) -> ReconcileReport:
        """Advance everything that is due, once; `progress` is called after each of them.

        Any number of threads, processes and machines may do this at once. Raises StoreError if the
        store cannot be searched; anything less is logged, counted and costs the others nothing.
        """
        return self._write("reconcile", reconcile(self.config, progress))

    async def reconcile_async(
        self, progress: Callable[[ReconcileReport], None] = lambda _: None
    ) -> ReconcileReport:
        """Do what `reconcile` does, awaiting."""
        return await self._write_async("reconcile", reconcile(self.config, progress))

    # What an adapter asks: `web.routing.Site`.

    @property
    def routes(self) -> tuple[Route, ...]:
        """Return every address that an adapter mounts."""
        return ROUTES

    def prepare(self, *, awaiting: bool) -> None:
        """Get ready to answer; ConfigurationError if something async cannot be awaited."""
        _ = self.async_performer if awaiting else self.performer

    def note_mount(self, prefix: str) -> None:
        """Compare the prefix of the routes with the notify URL; a difference is logged."""
        self.context.compare_mount(notify_path(prefix))

    def note_lifespan(self) -> None:
        """Take note that the application's end will be heard of, by `aclose`."""
        self.context.note_lifespan()

    def handle(self, route: Route, request: HttpRequest, parameter: str = "") -> HttpResponse:
        """Answer a request for one of `routes`; `parameter` is the value of the path's parameter.

        Raises nothing of ours: each error becomes a short response, its reason is in the log.
        """
        return self.run(respond(self.context, route, request, parameter))

    async def handle_async(
        self, route: Route, request: HttpRequest, parameter: str = ""
    ) -> HttpResponse:
        """Do what `handle` does, awaiting."""
        return await self.run_async(respond(self.context, route, request, parameter))

    async def stream(self, next_chunk: Callable[[], Flow[bytes]]) -> AsyncIterator[bytes]:
        """Yield the result of each flow that `next_chunk` returns, until one is empty."""
        while chunk := await self.run_async(next_chunk()):
            yield chunk

    # How flows run, and how all of it ends.

    @property
    def performer(self) -> Performer:
        """Return what does effects blocking; ConfigurationError if a hook or the store is async."""
        return self._runner.performer

    @property
    def async_performer(self) -> AsyncPerformer:
        """Return what does effects awaiting."""
        return self._runner.async_performer

    def run(self, flow: Flow[T]) -> T:
        """Run a flow to its end, blocking."""
        return self._runner.run(flow)

    async def run_async(self, flow: Flow[T]) -> T:
        """Run a flow to its end, awaiting."""
        return await self._runner.run_async(flow)

    def _write(self, method: str, flow: Flow[T]) -> T:
        refuse_inside(self.store, method)
        return self.run(flow)

    async def _write_async(self, method: str, flow: Flow[T]) -> T:
        refuse_inside(self.store, method)
        return await self.run_async(flow)

    @asynccontextmanager
    async def lifespan(self, _app: object = None) -> AsyncIterator[None]:
        """Be the lifespan of an ASGI application: closes the awaiting side at its end.

        In a lifespan of your own write `async with pay.lifespan():` around its `yield`.
        """
        self.note_lifespan()
        try:
            yield
        finally:
            await self.aclose()

    def close(self) -> None:
        """Close the HTTP clients and threads of the blocking side; the store stays open."""
        self._runner.close()

    async def aclose(self) -> None:
        """Close the HTTP clients and threads of the awaiting side; the store stays open."""
        await self._runner.aclose()


def _by_client_id(account: Any) -> dict[str, Account]:
    """Return the accounts by their client ids; ConfigurationError if they are none."""
    accounts = account if isinstance(account, list | tuple) else (account,)
    for one in accounts:
        check_kind("account", one, Account, "Account.from_env()")
    by_id = {one.client_id: one for one in accounts}
    if not by_id or len(by_id) != len(accounts):
        raise ConfigurationError(
            f"AplusPay: found {len(accounts)} accounts with {len(by_id)} client ids, expected "
            "at least one account and each client id once"
        )
    return by_id
