"""AplusPay: one shop's accounts, store, hooks and timing, and the methods that use them."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import evolve

from aplus_adapters.errors import ConfigurationError
from aplus_adapters.operations import Operations
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
from aplus_adapters.web.button import pay_path, payment_button
from aplus_adapters.web.context import WebContext
from aplus_adapters.web.endpoints import respond
from aplus_adapters.web.origins import check_origins
from aplus_adapters.web.page import PageDesign
from aplus_adapters.web.routing import ROUTES, Route, notify_path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

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
C = TypeVar("C")  # the type of `details.connection`, which the store passes to hooks
NOBODY = Visitor()
"""The visitor of calls that the shop's own program makes, without a browser's request."""

_CLOCK_METHODS = ("now", "sleep", "sleep_async", "draw", "new_request_id")


class AplusPay(Operations):
    """The payments of one shop: create it once, mount it by an adapter, and call its methods.

    `account` is one Account or several (the first is the default). `store` is a `PaymentStore` or
    an `AsyncPaymentStore`, `hooks` an object with the shop's `Hooks` or `AsyncHooks`. `timing`
    holds the pauses and time-outs. `shop_name` is shown on the page; `page` changes the page's
    look and texts. A page of another site may post to the routes only if its origin is in
    `trusted_origins` (such as `https://shop.example`, or `capacitor://localhost` for an app).

    `client` and `async_client` are the shop's own HTTP clients (httpx or httpx2). By default one is
    made per account, with TLS verified. A call through your client is given up at its time-out too;
    if its transport uses another HTTP library, the call goes on in its own thread. Allow enough
    connections (`httpx.Limits`): a request that waits for one is not sent. `clock` gives the time,
    pauses, random draws and new ids.

    Each method has a twin for programs that await, whose name ends in `_async`. Methods that write
    raise WouldDeadlock inside a hook whose transaction is open. Raises ConfigurationError if an
    argument cannot work.
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
        self.context.warn_of_page()

    # Methods for the shop.

    def start(self, order_ref: str, visitor: Visitor = NOBODY) -> Attempt:
        """Return the attempt by which an order is paid now, with its code if Alipay+ answers.

        For a till, a job or a test; the web routes do the same. `visitor` is passed to
        `load_order`. Raises before anything is sent: UnknownOrder, InvalidValue for an order that
        cannot be paid, OrderChanged if it was paid with another amount, TooManyAttempts, HookError
        and StoreError.
        """
        return self._write("start", initiate(self.config, order_ref, visitor))

    async def start_async(self, order_ref: str, visitor: Visitor = NOBODY) -> Attempt:
        """Do what `start` does, awaiting."""
        return await self._write_async("start", initiate(self.config, order_ref, visitor))

    def payment_button(
        self,
        order_ref: str,
        *,
        accept_language: str | None = None,
        action: str | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> str:
        """Return the form that pays an order, as HTML for the shop's own page.

        A template that escapes HTML inserts it as it is. `accept_language` is the buyer's header.
        `action` is the address of our route `/pay`; by default the path next to the notify URL's.
        `fields` are further hidden fields, such as a token. Link `/assets/button.css`, below the
        same mount, for its look. Raises InvalidValue for an `order_ref` that cannot be paid, and
        without an `action` if the notify URL does not end with `/notify`.
        """
        return payment_button(
            order_ref,
            action=action or pay_path(self.config.default_account.notify_url),
            accept_language=accept_language,
            design=self.context.design,
            fields=fields or {},
        )

    def find(self, payment_request_id: str) -> Attempt | None:
        """Return the attempt with this paymentRequestId, None if there is none."""
        return self.run(effects.get(payment_request_id))

    async def find_async(self, payment_request_id: str) -> Attempt | None:
        """Do what `find` does, awaiting."""
        return await self.run_async(effects.get(payment_request_id))

    def latest(self, order_ref: str) -> Attempt | None:
        """Return the attempt that occupies an order, otherwise its newest, None if it has none."""
        return self.run(effects.latest(order_ref))

    async def latest_async(self, order_ref: str) -> Attempt | None:
        """Do what `latest` does, awaiting."""
        return await self.run_async(effects.latest(order_ref))

    def timeline(self, payment_request_id: str) -> list[Event]:
        """Return the events of a payment, in order. Raises UnknownPayment."""
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
        """Refund a paid payment, or disputed money; return the refund.

        `refund_request_id` is your own id of this refund, such as the credit note's number. A
        second call with the same id returns the same refund. `amount` None refunds what is left. A
        refund that comes back CREATED is not lost: `reconcile` sends it again. Raises before
        anything is sent: UnknownPayment, InvalidValue for what is not paid or too much,
        InconsistentRetry for an id used with other content, ConfigurationError and StoreError.
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
        """Close the open code of an order that the shop cancels; return the attempt.

        Returns None if the order never had an attempt. SUCCEEDED means that the order was paid
        before: refund it. An attempt that comes back open is still being closed by `reconcile`.
        """
        return self._write("close_order", close_order(self.config, order_ref))

    async def close_order_async(self, order_ref: str) -> Attempt | None:
        """Do what `close_order` does, awaiting."""
        return await self._write_async("close_order", close_order(self.config, order_ref))

    def reconcile(
        self, progress: Callable[[ReconcileReport], None] = lambda _: None
    ) -> ReconcileReport:
        """Advance everything that is due, once; call `progress` after each item.

        Any number of threads, processes and machines may do this at once. Raises StoreError if the
        store cannot be searched. An error with one item is logged and counted; the others go on.
        """
        return self._write("reconcile", reconcile(self.config, progress))

    async def reconcile_async(
        self, progress: Callable[[ReconcileReport], None] = lambda _: None
    ) -> ReconcileReport:
        """Do what `reconcile` does, awaiting."""
        return await self._write_async("reconcile", reconcile(self.config, progress))

    # Methods for the adapters: `web.routing.Site`.

    @property
    def routes(self) -> tuple[Route, ...]:
        """Return every route that an adapter mounts."""
        return ROUTES

    def prepare(self, *, awaiting: bool) -> None:
        """Create the performer; raise ConfigurationError if something async cannot be awaited."""
        self._runner.prepare(awaiting=awaiting)

    def note_mount(self, prefix: str) -> None:
        """Compare the prefix of the routes with the notify URL; log a difference."""
        self.context.compare_mount(notify_path(prefix))

    def note_lifespan(self) -> None:
        """Note that the application will call `aclose` when it ends."""
        self.context.note_lifespan()

    def handle(self, route: Route, request: HttpRequest, parameter: str = "") -> HttpResponse:
        """Answer a request for one of `routes`; `parameter` is the value of the path's parameter.

        Raises no AplusError: each becomes a short response, and its reason is logged.
        """
        return self.run(respond(self.context, route, request, parameter))

    async def handle_async(
        self, route: Route, request: HttpRequest, parameter: str = ""
    ) -> HttpResponse:
        """Do what `handle` does, awaiting."""
        return await self.run_async(respond(self.context, route, request, parameter))

    async def stream(self, next_chunk: Callable[[], Flow[bytes]]) -> AsyncIterator[bytes]:
        """Yield the result of each flow that `next_chunk` returns, until one is empty.

        Some servers cancel the stream of a browser that leaves; a flow that has begun goes on then.
        """
        while chunk := await self._runner.run_to_its_end(next_chunk()):
            yield chunk

    # Running flows, and closing.

    @property
    def performer(self) -> Performer:
        """Return the blocking performer; ConfigurationError if a hook or the store is async."""
        return self._runner.performer

    @property
    def async_performer(self) -> AsyncPerformer:
        """Return the awaiting performer of effects."""
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
        """Serve as the lifespan of an ASGI application: close the awaiting side at its end.

        In a lifespan of your own write `async with pay.lifespan():` around its `yield`.
        """
        self.note_lifespan()
        try:
            yield
        finally:
            await self.aclose()

    @contextmanager
    def rewired(self, config: PaymentConfig, runner: Runner) -> Iterator[None]:
        """Meanwhile use another configuration and runner; the testing kit puts its own here."""
        kept = self.config, self.context, self._runner
        self.config, self._runner = config, runner
        self.context = evolve(self.context, config=config)
        try:
            yield
        finally:
            self.config, self.context, self._runner = kept
            runner.abandon()

    def close(self) -> None:
        """Close the HTTP clients and threads of the blocking side; the store stays open."""
        self._runner.close()

    async def aclose(self) -> None:
        """Close the HTTP clients and threads of the awaiting side, and an awaiting store's pool."""
        await self._runner.aclose()


def _by_client_id(account: Any) -> dict[str, Account]:
    """Return the accounts by client id; ConfigurationError if there is none or one comes twice."""
    accounts = account if isinstance(account, list | tuple) else (account,)
    for item in accounts:
        check_kind("account", item, Account, "Account.from_env()")
    by_id = {item.client_id: item for item in accounts}
    if not by_id or len(by_id) != len(accounts):
        raise ConfigurationError(
            f"AplusPay: found {len(accounts)} accounts with {len(by_id)} client ids, expected "
            "at least one account and each client id once"
        )
    return by_id
