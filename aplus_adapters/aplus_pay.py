"""The composition: one shop's accounts, store, hooks and rules, ready for an adapter."""

from __future__ import annotations

import logging
import os
import re
from contextlib import asynccontextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from aplus_adapters.errors import ConfigurationError
from aplus_adapters.payments.flows.reconcile import reconcile
from aplus_adapters.payments.flows.refund import refund
from aplus_adapters.payments.policy import Rules
from aplus_adapters.payments.setup import Setup
from aplus_adapters.protocol.account import Account
from aplus_adapters.runtime.argument_checks import (
    check_hooks,
    check_kind,
    check_methods,
    find_optional_hooks,
)
from aplus_adapters.runtime.clock import Clock, SystemClock
from aplus_adapters.runtime.drivers import run, run_async
from aplus_adapters.runtime.open_hooks import refuse_inside
from aplus_adapters.runtime.performers import AsyncPerformer, Performer
from aplus_adapters.runtime.senders import AsyncSender, Sender
from aplus_adapters.runtime.transports import forget_connections
from aplus_adapters.web.context import ShopFront
from aplus_adapters.web.page import PageDesign
from aplus_adapters.web.template import missing_packages

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from aplus_adapters.payments.effects import Flow
    from aplus_adapters.payments.flows.reconcile import Round
    from aplus_adapters.payments.model import Refund
    from aplus_adapters.protocol.amounts import Amount

log = logging.getLogger("aplus_adapters")

__all__ = ["AplusPay"]

T = TypeVar("T")
_CLOCK_METHODS = ("now", "sleep", "sleep_async", "draw", "new_request_id")


class AplusPay:
    """What a shop makes once and mounts by an adapter.

    `account` is one Account or several (the first is the default). `store` is a `PaymentStore`,
    `hooks` an object with the shop's `Hooks`, sync or async. `shop_name` is shown on the page,
    `page` changes how that looks and what it says. Pages of other sites cannot make a buyer's
    browser post to the routes, except those of `trusted_origins` (such as `https://shop.example`,
    or `capacitor://localhost` for an app). `client` and `async_client` are the shop's own HTTP
    clients (httpx or httpx2); by default one is made per account, with TLS verified. Each call ends
    in its time with a client of yours too; where its transport uses another HTTP library, that call
    goes on in a thread of its own. Let it have connections enough (`httpx.Limits`): what waits for
    one is not sent.

    Raises ConfigurationError for anything that cannot work.
    """

    def __init__(
        self,
        *,
        account: Account | Sequence[Account],
        store: Any,
        hooks: Any,
        rules: Rules | None = None,
        shop_name: str | None = None,
        page: PageDesign | None = None,
        trusted_origins: Sequence[str] = (),
        client: Any = None,
        async_client: Any = None,
        clock: Clock | None = None,
    ) -> None:
        by_id = _by_client_id(account)
        check_hooks(hooks, store)
        if rules is not None:
            check_kind("rules", rules, Rules, "Rules(), or leave it out")
        if shop_name is not None:
            check_kind("shop_name", shop_name, str, "shop_name='Corner Shop', or leave it out")
        if page is not None:
            check_kind("page", page, PageDesign, "PageDesign(texts=...), or leave it out")
        if clock is not None:
            check_methods("clock", clock, _CLOCK_METHODS)
        # A sender that is given a client opens nothing; it knows which clients it can use.
        if client is not None:
            Sender(client)
        if async_client is not None:
            AsyncSender(async_client)
        _check_origins(trusted_origins)
        self.setup = Setup(accounts=by_id, rules=rules or Rules())
        self.front = ShopFront(
            setup=self.setup,
            name=shop_name,
            design=page or PageDesign(),
            trusted_origins=frozenset(trusted_origins),
            optional_hooks=find_optional_hooks(hooks),
        )
        if "render_order_code" not in self.front.optional_hooks and (missing := missing_packages()):
            log.warning(
                "order-code page: %s not installed, so that only JSON can be answered; run pip "
                "install 'aplus_adapters[page]', or implement the hook render_order_code",
                " and ".join(missing),
            )
        self.store, self.hooks = store, hooks
        self._client, self._async_client = client, async_client
        self._clock = clock or SystemClock()
        # By process: one that a master's thread held at the fork would stay locked for ever.
        self._locks: dict[int, Lock] = {}
        self._process = os.getpid()
        self._blocking: tuple[Performer, Sender] | None = None
        self._awaiting: tuple[AsyncPerformer, AsyncSender] | None = None

    @property
    def performer(self) -> Performer:
        """Return what does effects blocking; ConfigurationError if a hook or the store is async."""
        with self._lock():
            self._leave_to_master()
            if self._blocking is None:
                sender = Sender(self._client)
                made = Performer(self.store, self.hooks, sender, self._clock)
                self._blocking = (made, sender)
            return self._blocking[0]

    @property
    def async_performer(self) -> AsyncPerformer:
        """Return what does effects awaiting."""
        with self._lock():
            self._leave_to_master()
            if self._awaiting is None:
                sender = AsyncSender(self._async_client)
                made = AsyncPerformer(self.store, self.hooks, sender, self._clock)
                self._awaiting = (made, sender)
            return self._awaiting[0]

    def _lock(self) -> Lock:
        return self._locks.setdefault(os.getpid(), Lock())

    def _leave_to_master(self) -> None:
        """Make everything anew in a forked worker: connections and threads are its master's."""
        if self._process != os.getpid():
            self._process, self._blocking, self._awaiting = os.getpid(), None, None
            for client in (self._client, self._async_client):
                if client is not None:
                    forget_connections(client)

    def run(self, flow: Flow[T]) -> T:
        """Run a flow to its end, blocking."""
        return run(flow, self.performer)

    async def run_async(self, flow: Flow[T]) -> T:
        """Run a flow to its end, awaiting."""
        return await run_async(flow, self.async_performer)

    async def stream(self, next_chunk: Callable[[], Flow[bytes]]) -> AsyncIterator[bytes]:
        """Yield what the flows of `next_chunk` give, one after another, until one gives nothing."""
        while chunk := await self.run_async(next_chunk()):
            yield chunk

    def refund(
        self,
        payment_request_id: str,
        *,
        refund_request_id: str,
        amount: Amount | None = None,
        reason: str | None = None,
    ) -> Refund:
        """Give money back, blocking; `payments.refund.refund` says what holds and what is raised.

        `refund_request_id` is your own id of this refund, such as the credit note's number: asked
        again with the same id it is the same refund. `amount` None gives back what is left. A
        refund that comes back CREATED is not lost: `reconcile` goes on with it.
        Inside a hook whose transaction is open it is refused (ConfigurationError).
        """
        refuse_inside(self.store, "refund")
        return self.run(
            refund(
                self.setup,
                payment_request_id,
                refund_request_id=refund_request_id,
                amount=amount,
                reason=reason,
            )
        )

    async def refund_async(
        self,
        payment_request_id: str,
        *,
        refund_request_id: str,
        amount: Amount | None = None,
        reason: str | None = None,
    ) -> Refund:
        """Do what `refund` does, awaiting."""
        refuse_inside(self.store, "refund")
        return await self.run_async(
            refund(
                self.setup,
                payment_request_id,
                refund_request_id=refund_request_id,
                amount=amount,
                reason=reason,
            )
        )

    def reconcile(self, progress: Callable[[Round], None] = lambda _: None) -> Round:
        """Go once after whatever needs asking, blocking; `progress` is told after each.

        Any number of threads, processes and machines may do this at once. Raises StoreError if the
        store cannot be searched; anything less is logged, counted and costs the others nothing.
        """
        refuse_inside(self.store, "reconcile")
        return self.run(reconcile(self.setup, progress))

    async def reconcile_async(self, progress: Callable[[Round], None] = lambda _: None) -> Round:
        """Do what `reconcile` does, awaiting."""
        refuse_inside(self.store, "reconcile")
        return await self.run_async(reconcile(self.setup, progress))

    @asynccontextmanager
    async def lifespan(self, _app: object = None) -> AsyncIterator[None]:
        """Be the lifespan of an ASGI application: closes the awaiting side at its end.

        In a lifespan of your own write `async with pay.lifespan():` around its `yield`.
        """
        self.front.note_lifespan()
        try:
            yield
        finally:
            await self.aclose()

    def close(self) -> None:
        """Close the HTTP clients and threads of the blocking side; the store stays open."""
        with self._lock():
            self._leave_to_master()
            blocking, self._blocking = self._blocking, None
        if blocking is not None:
            blocking[1].close()

    async def aclose(self) -> None:
        """Close the HTTP clients and threads of the awaiting side; the store stays open."""
        with self._lock():
            self._leave_to_master()
            awaiting, self._awaiting = self._awaiting, None
        if awaiting is not None:
            awaiting[0].close()
            await awaiting[1].aclose()


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


def _check_origins(origins: object) -> None:
    """Raise ConfigurationError for what no browser sends as Origin (RFC 6454, 6.2).

    Pages of an app have a scheme of their own, such as capacitor. A default port is never sent, and
    files are sent as "null", which any page can be.
    """
    legal = r"(?!file:)[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?"
    default_port = re.compile("http:.*:80|https:.*:443")
    if not isinstance(origins, list | tuple | set | frozenset) or not all(
        isinstance(one, str) and re.fullmatch(legal, one) and not default_port.fullmatch(one)
        for one in origins
    ):
        raise ConfigurationError(
            f"AplusPay trusted_origins: found {str(origins)[:100]}, expected a list of scheme and "
            "host in lower case, without a path or a default port, such as ['https://shop.example']"
            " or ['capacitor://localhost']"
        )
