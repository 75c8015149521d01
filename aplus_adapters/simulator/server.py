"""The simulator as a server: gateway, wallet, controls for tests, and what happens by time."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import sys
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.routing import Route

from aplus_adapters.errors import ConfigurationError
from aplus_adapters.simulator.alipayplus import SimulatedAlipayPlus
from aplus_adapters.simulator.controls import Controls
from aplus_adapters.simulator.delivery import Delivery
from aplus_adapters.simulator.desk import Desk
from aplus_adapters.simulator.identity import NOTIFY_URL, Identity
from aplus_adapters.simulator.ledger import Books, Order
from aplus_adapters.simulator.over_http import SameSite, hung_up, to_starlette
from aplus_adapters.simulator.pages import asset
from aplus_adapters.simulator.wallet import Wallet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

__all__ = ["Simulator", "serve"]

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_EVERYWHERE = "0.0.0.0"  # noqa: S104  # a comparison
_TICK = 0.05  # seconds between two searches for what is due


class Simulator:
    """One simulated Alipay+, which keeps keys and books in `folder` and listens at `address`.

    `time_scale` divides the pauses between re-sent notifications. `as_json` prints each event as
    one JSON line. `notify_url` is written to the shop's settings, and so is `gateway`, if the shop
    reaches it at another address than phones do. `lenient` accepts booleans, numbers and times in
    milliseconds, as some SDKs send them.
    """

    def __init__(
        self,
        folder: Path,
        address: str,
        time_scale: float = 1.0,
        *,
        as_json: bool = False,
        notify_url: str = NOTIFY_URL,
        lenient: bool = False,
        gateway: str | None = None,
    ) -> None:
        identity = Identity.open(folder, gateway or address, notify_url)
        self._as_json = as_json
        self.books = Books(folder / "books.sqlite")
        self.alipayplus = SimulatedAlipayPlus(
            self.books,
            identity,
            clock=_now,
            address=address,
            emit=self.emit,
            time_scale=time_scale,
            lenient=lenient,
        )
        self.delivery = Delivery(self.alipayplus.notifier, _now)

    def application(self) -> ASGIApp:
        """Return the ASGI application."""
        rooms = (
            Desk(self.alipayplus, self.delivery),
            Wallet(self.alipayplus),
            Controls(self.alipayplus, self.delivery),
        )
        return Starlette(
            routes=[
                Route("/assets/{name}", asset),
                *(route for room in rooms for route in room.routes()),
                Route("/{path:path}", self._call, methods=_METHODS),
            ],
            middleware=[Middleware(SameSite)],
            exception_handlers={ClientDisconnect: hung_up},
            lifespan=self._lifespan,
        )

    def emit(self, event: str, order: Order, **more: Any) -> None:
        """Print one event as one line; whether somebody reads it decides about nothing."""
        if self._as_json:
            row = {"event": event, "order": order.reference, "id": order.payment_request_id, **more}
            text = json.dumps(row)
        else:
            details = "".join(f" {key}={value}" for key, value in more.items())
            what = f"{event.replace('_', ' ')}: {order.reference} ({order.amount}){details}"
            text = f"{_now():%H:%M:%S} {what}"
        with suppress(OSError, ValueError):  # a closed pipe, a narrow encoding
            print(text, flush=True)  # noqa: T201  # the event stream, or the timeline

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        clockwork = asyncio.create_task(self._clockwork())
        try:
            yield
        finally:
            clockwork.cancel()
            with suppress(asyncio.CancelledError):
                await clockwork
            await self.delivery.aclose()
            self.books.close()

    async def _clockwork(self) -> None:
        """Close expired orders and send due notifications, as long as the server runs."""
        async with asyncio.TaskGroup() as sending:
            while True:
                # What fails for a moment, such as a locked or full disk, comes again by itself.
                with _said_if_it_fails():
                    self.alipayplus.do_what_is_due()
                    for order in self.alipayplus.notifier.take_due():
                        sending.create_task(self._send_due(order))
                await asyncio.sleep(_TICK)

    async def _send_due(self, order: Order) -> None:
        with _said_if_it_fails():
            await self.delivery.send_due(order)

    async def _call(self, request: Request) -> Response:
        steps = self.alipayplus.answer(
            method=request.method,
            path=request.url.path,
            headers=request.headers,
            body=await request.body(),
        )
        while True:
            try:
                seconds = next(steps)
            except StopIteration as end:
                return to_starlette(end.value)
            await asyncio.sleep(seconds)


@contextmanager
def _said_if_it_fails() -> Iterator[None]:
    """Log an error of the body, and go on after it: the simulator must not go silent."""
    try:
        yield
    except Exception:
        logging.getLogger("uvicorn.error").exception("simulator: a step failed; it is tried again")


def _now() -> datetime:
    return datetime.now(UTC)


def serve(
    folder: Path,
    port: int,
    time_scale: float,
    *,
    as_json: bool = False,
    notify_url: str = NOTIFY_URL,
    host: str = "127.0.0.1",
    lenient: bool = False,
) -> None:
    """Run the simulator on this machine until SIGTERM or SIGINT; port 0 takes a free one.

    `host` is where it listens; 0.0.0.0 lets phones of the same network open the codes. Print one
    line when it is ready. Raise ConfigurationError if the port is taken or `folder` is not ours.
    """
    config = uvicorn.Config(
        app=lambda: None, host=host, port=port, log_level="error", access_log=False
    )
    logging.getLogger("uvicorn.error").addFilter(_is_real_failure)
    # uvicorn raises a signal once more after its end.
    with closing(_listen(host, port)) as listener, suppress(KeyboardInterrupt):
        port = listener.getsockname()[1]
        address = f"http://{reachable_address(host)}:{port}"
        simulator = Simulator(
            folder,
            address,
            time_scale,
            as_json=as_json,
            notify_url=notify_url,
            lenient=lenient,
            # Plain http is for this machine only: a shop of today takes no other address of ours.
            gateway=f"http://127.0.0.1:{port}" if host == _EVERYWHERE else None,
        )
        config.app = simulator.application()
        ready = {"event": "ready", "address": address, "folder": str(folder)}
        ready_text = (
            f"simulator of Alipay+ ready: desk at {address}, wallet at {address}/wallet\n"
            f"wrote {folder / 'shop.env'} for a shop that takes notifications at {notify_url} "
            "(another address: --notify-url)"
        )
        print(json.dumps(ready) if as_json else ready_text, flush=True)  # noqa: T201  # tests wait for it
        uvicorn.Server(config).run(sockets=[listener])
    with suppress(OSError):
        sys.stdout.flush()


def _is_real_failure(record: logging.LogRecord) -> bool:
    """Return whether a log record must be shown: connections cut by a fault are left out."""
    return not (record.exc_info and isinstance(record.exc_info[1], ConnectionResetError))


def reachable_address(host: str) -> str:
    """Return the address under which others reach a server that listens at `host`.

    For 0.0.0.0 it is this machine's address in its network, else 127.0.0.1. Nothing is sent.
    """
    if host != _EVERYWHERE:
        return host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address for documentation: only the route counts
        except OSError:
            return "127.0.0.1"
        address: str = probe.getsockname()[0]
        return address


def _listen(host: str, port: int) -> socket.socket:
    try:
        listener = socket.create_server((host, port))
    except OSError as error:
        raise ConfigurationError(
            f"simulator: cannot listen on {host}:{port} ({error.strerror}); choose another --port"
        ) from None
    # asyncio sets it only where the protocol number is given; without it, each answer on a kept
    # connection comes 40 ms late.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
