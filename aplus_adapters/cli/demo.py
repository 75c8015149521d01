"""`aplus demo`: a simulator and a shop on this machine, and a buyer for it.

The shop is one of the examples, unchanged, in a process of its own with a SQLite file.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from aplus_adapters.errors import ConfigurationError
from aplus_adapters.simulator.ports import ReservedPort
from aplus_adapters.simulator.process import SimulatorProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FRAMEWORKS", "Demo", "pay_once", "watch"]

FRAMEWORKS = ("flask", "starlette", "fastapi", "django")
_START = 30.0  # seconds for the shop to answer, on a busy machine too
_PAID = 10.0  # seconds for the notification to arrive
Say = Callable[[str, str], None]


class Demo:
    """A running shop and simulator; `folder` holds everything that they write.

    `time_scale` divides the pauses between re-sent notifications.
    """

    def __init__(
        self, framework: str, folder: Path, port: int = 0, time_scale: float = 60.0
    ) -> None:
        if find_spec(framework) is None:
            raise ConfigurationError(
                f"{framework} is not installed; run pip install {framework}, or choose another"
            )
        self.simulator = SimulatorProcess(folder / "simulator", time_scale=time_scale)
        self.database = folder / "shop.db"
        self.script = _example(f"{framework}_shop.py")
        self._port = _reserve(port)
        self.address = f"http://127.0.0.1:{self._port.number}"
        self._log = folder / "shop.log"
        self._shop: subprocess.Popen[bytes] | None = None

    @contextmanager
    def running(self) -> Iterator[Demo]:
        """Run the simulator and the shop inside the block."""
        with ExitStack() as stack:
            stack.callback(self._port.release)
            stack.enter_context(self.simulator)
            stack.callback(self.kill_shop)
            self.start_shop()
            yield self

    def start_shop(self) -> None:
        """Start the shop and wait until it answers; else raise ConfigurationError with its log."""
        with self._log.open("ab") as log:
            self._shop = subprocess.Popen(  # noqa: S603  # our own example
                [sys.executable, str(self.script)], env=self.environ, stdout=log, stderr=log
            )
        deadline = time.monotonic() + _START
        while not self._answers():
            if self._shop.poll() is not None or time.monotonic() > deadline:
                log_text = self._log.read_text(errors="replace")[-2000:]
                raise ConfigurationError(f"the shop does not start:\n{log_text}")
            time.sleep(0.05)

    @property
    def environ(self) -> dict[str, str]:
        """Return the environment in which the shop and its commands run."""
        return {
            **os.environ,
            **self.simulator.environ,
            "APLUS_NOTIFY_URL": f"{self.address}/aplus/notify",
            "DATABASE": f"sqlite:///{self.database}",
            "PORT": str(self._port.number),
        }

    def kill_shop(self) -> None:
        """End the shop in the middle of whatever it does."""
        shop, self._shop = self._shop, None
        if shop is not None:
            shop.kill()
            shop.wait()

    def _answers(self) -> bool:
        try:
            return httpx.get(self.address, trust_env=False, timeout=1).is_success
        except httpx.HTTPError:
            return False

    def paid_attempts(self, order_ref: str) -> list[tuple[str, int, str]]:
        """Return the paid attempts in the shop's database: request id, minor units, currency."""
        connection = sqlite3.connect(self.database)
        try:
            return connection.execute(
                "SELECT payment_request_id, amount_value, currency FROM aplus_payments p "
                "JOIN orders o ON o.ref = p.order_ref "
                "WHERE p.order_ref = ? AND p.state = 'succeeded' AND o.status = 'paid'",
                (order_ref,),
            ).fetchall()
        finally:
            connection.close()


def pay_once(framework: str, say: Say) -> bool:
    """Make one payment through the shop's pages; return whether it is stored as paid exactly once.

    `say` is called with the name and the details of each step.
    """
    with tempfile.TemporaryDirectory(prefix="aplus-demo-") as folder:
        demo = Demo(framework, Path(folder))
        with demo.running(), httpx.Client(base_url=demo.address, trust_env=False) as buyer:
            say("shop", f"{framework} at {demo.address}")
            say("simulator", demo.simulator.address)
            return _buy(demo, buyer, say)


def _buy(demo: Demo, buyer: httpx.Client, say: Say) -> bool:
    order = buyer.post("/orders", data={"item": "Ticket"})
    order_ref = order.headers["location"].rpartition("/")[2]
    say("order", order_ref)
    payment = _json(buyer.post("/aplus/pay", data={"order_ref": order_ref}, headers=_WANTS_JSON))
    request_id = payment["paymentRequestId"]
    say("request id", request_id)
    say("code", str(payment["code"]))
    page = buyer.get(f"/aplus/payments/{request_id}", headers={"Accept": "text/html"})
    if "<svg" not in page.text:
        raise ConfigurationError("the payment's page shows no QR code")
    wallet = httpx.post(f"{payment['code']}/pay", headers=_WANTS_JSON, trust_env=False)
    say("wallet", f"confirmed, order is {_json(wallet)['state']} at Alipay+")
    answered = demo.simulator.wait_for("notification_answered", _PAID)
    say("notification", f"sent signed, answered with HTTP {answered['status']}")
    say("acknowledgement", answered["outcome"])
    status = _json(buyer.get(f"/aplus/payments/{request_id}/status"))
    stored = demo.paid_attempts(order_ref)
    books = [order for order in demo.simulator.orders() if order["referenceOrderId"] == order_ref]
    amount = payment["amount"]
    once = len(stored) == 1 and stored[0] == (request_id, int(amount["value"]), amount["currency"])
    if status["state"] == "paid" and once and len(books) == 1:
        say("PAID", f"{amount['value']} minor units {amount['currency']}, stored exactly once")
        return True
    say("NOT PAID", f"page says {status['state']}, stored: {stored}, at Alipay+: {len(books)}")
    return False


def watch(framework: str, folder: Path, port: int, say: Say) -> None:
    """Run shop and simulator until interrupted, and say what happens."""
    demo = Demo(framework, folder, port)
    with demo.running():
        say("shop", f"{demo.address} (buy something, press pay)")
        say("simulator", f"{demo.simulator.address} (pay without a phone: open the order there)")
        say("files", str(folder))
        try:
            while True:
                event = demo.simulator.events.get()
                if event["event"] == "ended":
                    raise ConfigurationError("the simulator ended; start the demo again")
                details = (f"{k} {v}" for k, v in event.items() if k not in ("event", "id"))
                say(event["event"].replace("_", " "), ", ".join(details))
        except KeyboardInterrupt:
            say("end", "shop and simulator are stopped")


_WANTS_JSON = {"Accept": "application/json"}


def _json(response: httpx.Response) -> Any:
    if response.is_error:
        raise ConfigurationError(
            f"{response.request.url.path}: answered HTTP {response.status_code}: "
            f"{response.text[:300]}"
        )
    return response.json()


def _reserve(port: int) -> ReservedPort:
    try:
        return ReservedPort(port)
    except OSError as error:
        raise ConfigurationError(
            f"port {port}: cannot be used ({error.strerror}); choose another --port"
        ) from None


def _example(name: str) -> Path:
    """Return an example's path: beside the package in a clone, inside it when installed."""
    package = Path(__file__).parent.parent
    for path in (package / "examples" / name, package.parent / "examples" / name):
        if path.exists():
            return path
    raise ConfigurationError(f"the example {name} is not installed; install the package again")
