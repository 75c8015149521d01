"""The shop of the adapter contract, and a blocking client that calls it without a server."""

from __future__ import annotations

import asyncio
import inspect
import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx

from aplus_adapters.aplus_pay import AplusPay
from aplus_adapters.payments.hooks import OrderToPay
from aplus_adapters.protocol.amounts import Amount
from aplus_adapters.stores.sql import SQLStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator, Mapping
    from pathlib import Path

    from aplus_adapters.payments.hooks import ConflictDetails, LoadOrderDetails, PaymentDetails
    from aplus_adapters.payments.model import Attempt
    from aplus_adapters.protocol.account import Account
    from aplus_adapters.simulator.process import SimulatorProcess
    from aplus_adapters.testing.signer import AlipayPlus

__all__ = [
    "JSON",
    "TRUSTED_ORIGIN",
    "AsgiClient",
    "RecordingShop",
    "ServedShop",
    "make_pay",
    "reach",
]

JSON = {"Accept": "application/json"}
TRUSTED_ORIGIN = "https://storefront.example"
_TIMEOUT = 30.0  # seconds


class RecordingShop:
    """Hooks that sell every order but "missing", and store each change with the payment."""

    def load_order(self, details: LoadOrderDetails) -> OrderToPay | None:
        """Return the order; raise RuntimeError for "broken", as a shop with a bug does."""
        if details.order_ref == "broken":
            raise RuntimeError("the shop's own bug")
        if details.order_ref == "missing":
            return None
        return OrderToPay(amount=Amount.parse("42.00", "USD"), description="2 tickets <b>&")

    def payment_changed(self, details: PaymentDetails) -> None:
        """Store the attempt's final state, in the transaction of the payment."""
        attempt = details.attempt
        details.connection.exec_driver_sql(
            "INSERT INTO changes VALUES (?, ?)", (attempt.order_ref, attempt.state.value)
        )

    def payment_conflict(self, details: ConflictDetails) -> None:
        """Ignore the conflict: the contract reads conflicts from the store."""


def make_pay(
    database: Path | str, account: Account, hooks: Any | None = None, **options: Any
) -> AplusPay:
    """Return the recording shop's AplusPay with a SQLite file, which may exist already."""
    store = SQLStore(f"sqlite:///{database}")
    with store.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS changes (ref TEXT, state TEXT)")
    return AplusPay(
        account=account,
        store=store,
        hooks=hooks or RecordingShop(),
        shop_name="Cinema",
        trusted_origins=[TRUSTED_ORIGIN],
        **options,
    )


class AsgiClient:
    """A blocking client of an ASGI application; its event loop runs in a thread."""

    def __init__(self, app: Any, address: str, root_path: str = "") -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        transport = httpx.ASGITransport(app, root_path=root_path)
        self._client = httpx.AsyncClient(transport=transport, base_url=address)

    def request(self, *arguments: Any, **options: Any) -> httpx.Response:
        """Send a request and return its response, as `httpx.Client.request` does."""
        response: httpx.Response = self.wait(self._client.request(*arguments, **options))
        return response

    def get(self, *arguments: Any, **options: Any) -> httpx.Response:
        """Send a GET and return its response."""
        return self.request("GET", *arguments, **options)

    def post(self, *arguments: Any, **options: Any) -> httpx.Response:
        """Send a POST and return its response."""
        return self.request("POST", *arguments, **options)

    def wait(self, awaitable: Awaitable[Any]) -> Any:
        """Await it on the client's loop and return its result, within 30 seconds."""
        coroutine = _as_coroutine(awaitable)
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(_TIMEOUT)

    def close(self) -> None:
        """Close the client, its loop and its thread."""
        self.wait(self._client.aclose())
        self.wait(self.loop.shutdown_default_executor())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


async def _as_coroutine(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


@contextmanager
def reach(
    app: Any, pay: AplusPay, address: str = "http://shop.example", root_path: str = ""
) -> Iterator[httpx.Client | AsgiClient]:
    """Yield a client of a WSGI or ASGI application, as if it were at `address`; then close `pay`.

    `address` may end with the path below which the routes are mounted. `root_path` is the
    `root_path` that an ASGI server would pass to the application.
    """
    if inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(type(app).__call__):
        client = AsgiClient(app, address, root_path)
        try:
            yield client
            client.wait(pay.aclose())
        finally:
            client.close()
        return
    transport = httpx.WSGITransport(app)
    try:
        with httpx.Client(transport=transport, base_url=address) as blocking:
            yield blocking
    finally:
        pay.close()


class ServedShop:
    """A recording shop that is served, as the adapter contract needs it.

    `client` calls it and `database` is its SQLite file. `alipayplus` signs notifications for it.
    It pays at `simulator`. `form` names the way in which it is served.
    """

    def __init__(
        self,
        form: str,
        client: Any,
        database: Path,
        alipayplus: AlipayPlus,
        simulator: SimulatorProcess,
    ) -> None:
        self.form, self.client, self.database = form, client, database
        self.alipayplus, self.simulator = alipayplus, simulator
        self.store = SQLStore(f"sqlite:///{database}")

    @property
    def is_async(self) -> bool:
        """Return whether `client` calls an ASGI application."""
        return isinstance(self.client, AsgiClient)

    @property
    def is_wsgi_transport(self) -> bool:
        """Return whether `client` calls a WSGI application without a server."""
        return not self.is_async and isinstance(self.client._transport, httpx.WSGITransport)  # noqa: SLF001  # httpx offers no other way

    def pay(self, order_ref: str) -> dict[str, Any]:
        """Start the payment of an order by JSON and return the answer."""
        response = self.client.post("/aplus/pay", json={"order_ref": order_ref}, headers=JSON)
        assert response.status_code == 200, response.text
        payment: dict[str, Any] = response.json()
        return payment

    def attempt(self, payment_request_id: str) -> Attempt:
        """Return a stored attempt; raise AssertionError if there is none."""
        attempt = self.store.get(payment_request_id)
        assert attempt is not None
        return attempt

    def changes(self, order_ref: str) -> list[str]:
        """Return the states that `payment_changed` has stored for an order."""
        connection = sqlite3.connect(self.database)
        try:
            query = "SELECT state FROM changes WHERE ref = ?"
            return [state for (state,) in connection.execute(query, (order_ref,))]
        finally:
            connection.close()

    def notify(
        self, body: bytes, headers: Mapping[str, str] | None = None, **changes: str
    ) -> httpx.Response:
        """Send a notification, signed if no `headers` are given; `changes` replace headers."""
        signed = {**(headers or self.alipayplus.sign(body)), **changes}
        response: httpx.Response = self.client.post("/aplus/notify", content=body, headers=signed)
        return response

    def acknowledged(self, response: httpx.Response) -> bool:
        """Return whether a response is an acknowledgement that Alipay+ accepts."""
        return self.alipayplus.accepts(response.status_code, response.headers, response.content)
