"""The simulator as a server: gateway, wallet, controls for tests, and what happens by time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from aplus_adapters.errors import ConfigurationError
from aplus_adapters.simulator.alipayplus import DECISIONS, SimulatedAlipayPlus
from aplus_adapters.simulator.delivery import Delivery
from aplus_adapters.simulator.identity import NOTIFY_URL, Identity
from aplus_adapters.simulator.ledger import Books, Order
from aplus_adapters.simulator.notifications import FORMS
from aplus_adapters.simulator.wallet import Wallet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from starlette.requests import Request

    from aplus_adapters.simulator.alipayplus import Reply

__all__ = ["Simulator", "serve"]

_TICK = 0.05  # seconds between two searches for what is due


class Simulator:
    """One simulated Alipay+, which keeps keys and books in `folder` and listens at `address`.

    `time_scale` divides the pauses between re-sent notifications. `as_json` prints each event as
    one JSON line. `notify_url` is written to the shop's settings. `lenient` accepts booleans,
    numbers and times in milliseconds, as some SDKs send them.
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
    ) -> None:
        identity = Identity.open(folder, address, notify_url)
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
        self.wallet = Wallet(self.books, self.alipayplus.decide)

    def application(self) -> Starlette:
        """Return the ASGI application."""
        methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
        wallet = self.wallet
        return Starlette(
            routes=[
                Route("/", wallet.orders),
                Route("/codes/{token}", wallet.code),
                Route("/codes/{token}/image", wallet.image),
                Route("/codes/{token}/{decision}", wallet.confirm, methods=["POST"]),
                Route("/simulator/orders", self._orders),
                Route("/simulator/orders/{id}", self._order),
                Route("/simulator/orders/{id}/{decision}", self._decide, methods=["POST"]),
                Route("/simulator/notify/{id}/{form}", self._notify, methods=["POST"]),
                Route("/simulator/faults", self._order_faults, methods=["POST"]),
                Route("/{path:path}", self._call, methods=methods),
            ],
            lifespan=self._lifespan,
        )

    def emit(self, event: str, order: Order, **more: Any) -> None:
        """Print one event as one line."""
        name = order.request["order"]["referenceOrderId"]
        if self._as_json:
            row = {"event": event, "order": name, "id": order.payment_request_id, **more}
            print(json.dumps(row), flush=True)  # noqa: T201  # the event stream
        else:
            details = "".join(f" {key}={value}" for key, value in more.items())
            line = f"{_now():%H:%M:%S} {event.replace('_', ' ')}: {name} ({order.amount}){details}"
            print(line, flush=True)  # noqa: T201  # the timeline

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        clockwork = asyncio.create_task(self._clockwork())
        try:
            yield
        finally:
            clockwork.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await clockwork
            await self.delivery.aclose()
            self.books.close()

    async def _clockwork(self) -> None:
        """Close expired orders and send due notifications, as long as the server runs."""
        async with asyncio.TaskGroup() as sending:
            while True:
                self.alipayplus.expire_overdue()
                for order in self.alipayplus.notifier.take_due():
                    sending.create_task(self.delivery.send_due(order))
                await asyncio.sleep(_TICK)

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
                return _response(end.value)
            await asyncio.sleep(seconds)

    async def _orders(self, _request: Request) -> Response:
        return JSONResponse([order.summary() for order in self.books.orders.values()])

    async def _order(self, request: Request) -> Response:
        order = self.books.orders.get(request.path_params["id"])
        return JSONResponse(order.summary()) if order else JSONResponse({}, 404)

    async def _decide(self, request: Request) -> Response:
        order = self.books.orders.get(request.path_params["id"])
        decision = request.path_params["decision"]
        if order is None or decision not in DECISIONS:
            return JSONResponse({"error": "expected a known id and pay, refuse or expire"}, 404)
        self.alipayplus.decide(order, decision)
        return JSONResponse(order.summary())

    async def _notify(self, request: Request) -> Response:
        order = self.books.orders.get(request.path_params["id"])
        form = request.path_params["form"]
        if order is None or form not in FORMS:
            return JSONResponse({"error": f"expected a known id and one of {FORMS}"}, 404)
        judged = await self.delivery.send(order, form)
        body = judged.body.decode(errors="replace")
        return JSONResponse({"status": judged.status, "outcome": judged.outcome, "body": body})

    async def _order_faults(self, request: Request) -> Response:
        try:
            self.alipayplus.faults.inject(json.loads(await request.body()))
        except (ValueError, TypeError) as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse({})


def _response(reply: Reply) -> Response:
    """Return a reply for Starlette; one that is cut announces more bytes than it sends."""
    if reply.cut:
        return _CutAnswer(b"", headers={"Content-Length": "4096"})
    if reply.trickle:
        length = {"Content-Length": str(len(reply.body))}
        return StreamingResponse(_trickle(reply), reply.status, headers={**reply.headers, **length})
    return Response(reply.body, reply.status, headers=dict(reply.headers))


async def _trickle(reply: Reply) -> AsyncIterator[bytes]:
    """Yield a body in 20 pieces over its seconds."""
    step = max(1, len(reply.body) // 20)
    for start in range(0, len(reply.body), step):
        await asyncio.sleep(reply.trickle / 20)
        yield reply.body[start : start + step]


class _CutAnswer(Response):
    async def __call__(self, _scope: Any, _receive: Any, send: Any) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        raise ConnectionResetError("a test ordered to cut the connection")


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

    Print one line when it is ready. Raise ConfigurationError if the port is taken.
    """
    config = uvicorn.Config(
        app=lambda: None, host=host, port=port, log_level="error", access_log=False
    )
    logging.getLogger("uvicorn.error").addFilter(_is_real_failure)
    listener = _listen(host, port)
    address = f"http://{host}:{listener.getsockname()[1]}"
    simulator = Simulator(
        folder, address, time_scale, as_json=as_json, notify_url=notify_url, lenient=lenient
    )
    config.app = simulator.application()
    ready = {"event": "ready", "address": address, "folder": str(folder)}
    ready_text = (
        f"simulator of Alipay+ ready: orders and wallet at {address}\n"
        f"wrote {folder / 'shop.env'} for a shop that takes notifications at {notify_url} "
        "(another address: --notify-url)"
    )
    print(json.dumps(ready) if as_json else ready_text, flush=True)  # noqa: T201  # tests wait for it
    uvicorn.Server(config).run(sockets=[listener])
    sys.stdout.flush()


def _is_real_failure(record: logging.LogRecord) -> bool:
    """Return whether a log record must be shown: connections cut by a fault are left out."""
    return not (record.exc_info and isinstance(record.exc_info[1], ConnectionResetError))


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port))
    except OSError as error:
        raise ConfigurationError(
            f"simulator: cannot listen on {host}:{port} ({error.strerror}); choose another --port"
        ) from None
