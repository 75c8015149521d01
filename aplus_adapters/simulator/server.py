"""The simulator as a server: the gateway, the wallet, the controls for tests, and the clockwork."""

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
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aplus_adapters.errors import ConfigurationError
from aplus_adapters.simulator.faults import AFTER, Fault, Faults
from aplus_adapters.simulator.gateway import Call, Gateway, encode
from aplus_adapters.simulator.identity import NOTIFY_URL, Identity
from aplus_adapters.simulator.ledger import Books, Order
from aplus_adapters.simulator.notifications import FORMS, Notifier
from aplus_adapters.simulator.wallet import Wallet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from starlette.requests import Request

__all__ = ["Simulator", "serve"]

_CALLS = ("pay", "inquiryPayment", "cancelPayment", "refund")
_BEAT = 0.05  # seconds between two looks at what is due


class Simulator:
    """One simulated Alipay+, keeping keys and books in `folder`.

    `address` is where it listens, `time_scale` divides the pauses between re-sent notifications,
    `as_json` prints each event as one JSON line, `notify_url` is what the shop's settings say.
    `lenient` takes booleans, numbers and times in milliseconds as some SDKs send them.
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
        self.faults = Faults()
        self.gateway = Gateway(self.books, identity, address, lenient=lenient)
        self.notifier = Notifier(self.books, identity, time_scale, self.emit)
        self.wallet = Wallet(self.books, _now, self.emit)

    def application(self) -> Starlette:
        """Return the ASGI application."""
        every = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
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
                Route("/{path:path}", self._call, methods=every),
            ],
            lifespan=self._lifespan,
        )

    def emit(self, event: str, order: Order, **more: Any) -> None:
        """Print what happened, one line."""
        name = order.request["order"]["referenceOrderId"]
        if self._as_json:
            details = {"event": event, "order": name, "id": order.payment_request_id, **more}
            print(json.dumps(details), flush=True)  # noqa: T201  # the event stream
        else:
            words = "".join(f" {key}={value}" for key, value in more.items())
            line = f"{_now():%H:%M:%S} {event.replace('_', ' ')}: {name} ({order.amount}){words}"
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
            await self.notifier.aclose()
            self.books.close()

    async def _clockwork(self) -> None:
        """Close what has expired and send what is due, for as long as the server runs."""
        async with asyncio.TaskGroup() as sending:
            while True:
                for order in self.books.overdue(_now()):
                    self.wallet.decide(order, "expire")
                for order in self.notifier.due(_now()):
                    sending.create_task(self.notifier.send_due(order, _now()))
                    await asyncio.sleep(0)  # so that it is marked as on its way
                await asyncio.sleep(_BEAT)

    async def _call(self, request: Request) -> Response:
        path = request.url.path
        name = path.removeprefix("/aps/api/v1/payments/")
        if name not in _CALLS:
            return _failure("NO_INTERFACE_DEF", "The API is not defined.")
        if request.method != "POST":
            return _failure("METHOD_NOT_SUPPORTED", "The method is not supported.")
        call = Call(name=name, path=path, headers=request.headers, body=await request.body())
        fault = self.faults.take(name)
        if fault is not None and fault.fault not in AFTER:
            instead = await self._before(fault, path)
            if instead is not None:
                return instead
        known = set(self.books.orders)
        content, signed = self.gateway.answer(call, _now())
        for order_id in self.books.orders.keys() - known:
            self.emit("order_created", self.books.orders[order_id])
        body = encode(content)
        headers = self.gateway.sign(path, body, _now()) if signed else {}
        if fault is not None and fault.fault in AFTER:
            return await _after(fault, body, headers)
        return Response(body, headers=headers, media_type="application/json")

    async def _before(self, fault: Fault, path: str) -> Response | None:
        if fault.fault == "delay":
            await asyncio.sleep(fault.seconds)
            return None
        if fault.fault == "result":
            result = {"resultCode": fault.code, "resultStatus": fault.status}
            body = encode({"result": result})
            headers = self.gateway.sign(path, body, _now())
            return Response(body, headers=headers, media_type="application/json")
        if fault.fault == "http_500":
            return Response("the simulator was told to fail", 500)
        return _cut()

    async def _orders(self, _request: Request) -> Response:
        return JSONResponse([order.summary() for order in self.books.orders.values()])

    async def _order(self, request: Request) -> Response:
        order = self.books.orders.get(request.path_params["id"])
        return JSONResponse(order.summary()) if order else JSONResponse({}, 404)

    async def _decide(self, request: Request) -> Response:
        order = self.books.orders.get(request.path_params["id"])
        decision = request.path_params["decision"]
        if order is None or decision not in ("pay", "refuse", "expire"):
            return JSONResponse({"error": "expected a known id and pay, refuse or expire"}, 404)
        self.wallet.decide(order, decision)
        return JSONResponse(order.summary())

    async def _notify(self, request: Request) -> Response:
        order = self.books.orders.get(request.path_params["id"])
        form = request.path_params["form"]
        if order is None or form not in FORMS:
            return JSONResponse({"error": f"expected a known id and one of {FORMS}"}, 404)
        status, outcome, body = await self.notifier.send(order, form, _now())
        report = {"status": status, "outcome": outcome, "body": body.decode(errors="replace")}
        return JSONResponse(report)

    async def _order_faults(self, request: Request) -> Response:
        try:
            self.faults.inject(json.loads(await request.body()))
        except (ValueError, TypeError) as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse({})


async def _after(fault: Fault, body: bytes, headers: dict[str, str]) -> Response:
    if fault.fault == "late_answer":
        await asyncio.sleep(fault.seconds)
    if fault.fault == "drop_answer":
        return _cut()
    if fault.fault == "garbage":
        body = b"\x1f\x8b not json"
    if fault.fault == "unsigned":
        headers = {}
    if fault.fault == "bad_signature":
        body += b" "
    return Response(body, headers=headers, media_type="application/json")


def _cut() -> Response:
    """Promise more bytes than are sent: the server closes the connection in the middle."""
    return _Cut(b"", headers={"Content-Length": "4096"})


class _Cut(Response):
    async def __call__(self, _scope: Any, _receive: Any, send: Any) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        raise ConnectionResetError("the simulator was told to cut the connection")


def _failure(code: str, message: str) -> Response:
    result = {"resultCode": code, "resultStatus": "F", "resultMessage": message}
    return JSONResponse({"result": result})


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

    Prints one line when it is ready. Raises ConfigurationError if the port is taken.
    """
    config = uvicorn.Config(
        app=lambda: None, host=host, port=port, log_level="error", access_log=False
    )
    logging.getLogger("uvicorn.error").addFilter(_was_not_ordered)
    listening = _listen(host, port)
    address = f"http://{host}:{listening.getsockname()[1]}"
    simulator = Simulator(
        folder, address, time_scale, as_json=as_json, notify_url=notify_url, lenient=lenient
    )
    config.app = simulator.application()
    ready = {"event": "ready", "address": address, "folder": str(folder)}
    words = (
        f"simulator of Alipay+ ready: orders and wallet at {address}\n"
        f"wrote {folder / 'shop.env'} for a shop that takes notifications at {notify_url} "
        "(else: --notify-url)"
    )
    print(json.dumps(ready) if as_json else words, flush=True)  # noqa: T201  # it is waited for
    uvicorn.Server(config).run(sockets=[listening])
    sys.stdout.flush()


def _was_not_ordered(record: logging.LogRecord) -> bool:
    """Return whether to log a record: not if a fault cut the connection on purpose."""
    return not (record.exc_info and isinstance(record.exc_info[1], ConnectionResetError))


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port))
    except OSError as error:
        raise ConfigurationError(
            f"simulator: cannot listen on {host}:{port} ({error.strerror}); choose another --port"
        ) from None
