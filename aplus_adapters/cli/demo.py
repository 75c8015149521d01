"""`aplus demo`: run a simulator and a shop on this machine, and buy something there.

The shop is one of the examples, unchanged. It runs in its own process, with a SQLite file or the
database that is named.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import httpx

from aplus_adapters.cli.demo_database import check_database, read_address, read_paid
from aplus_adapters.cli.demo_page import side_by_side
from aplus_adapters.errors import ConfigurationError
from aplus_adapters.runtime.settings import without_settings
from aplus_adapters.simulator.ports import ReservedPort
from aplus_adapters.simulator.process import SimulatorProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FRAMEWORKS", "Demo", "pay_once", "watch"]

FRAMEWORKS = ("flask", "starlette", "fastapi", "django")
_START_TIMEOUT = 60.0  # seconds for the shop to answer, enough on a busy machine
_NOTIFICATION_TIMEOUT = 10.0  # seconds for the notification to arrive
_ACCEPT_JSON = {"Accept": "application/json"}
ReportStep = Callable[[str, str], None]


class Demo:
    """A shop and its simulator, as two processes; `folder` holds all files that they write.

    `port` is the shop's; 0 takes a free one. `time_scale` divides the pauses between re-sent
    notifications. `database` is an address for SQLAlchemy; None is a SQLite file in the folder.
    Raise ConfigurationError if the framework is not installed, the port is taken, or the database
    cannot be used.
    """

    def __init__(
        self,
        framework: str,
        folder: Path,
        port: int = 0,
        time_scale: float = 60.0,
        database: str | None = None,
    ) -> None:
        if find_spec(framework) is None:
            raise ConfigurationError(
                f"{framework} is not installed; run pip install {framework}, or choose another"
            )
        self.simulator = SimulatorProcess(folder / "simulator", time_scale=time_scale)
        self.database = folder / f"{framework}_shop.db"
        self.database_url = read_address(database or f"sqlite:///{self.database}")
        check_database(self.database_url, framework)
        self.script = _find_example(f"{framework}_shop.py")
        self._port = _reserve_port(port)
        self.address = f"http://127.0.0.1:{self._port.number}"
        self._log = folder / "shop.log"
        self._shop: subprocess.Popen[bytes] | None = None

    @contextmanager
    def running(self) -> Iterator[Demo]:
        """Start simulator and shop, and end both at the end of the block."""
        with ExitStack() as stack:
            stack.callback(self._port.release)
            stack.enter_context(self.simulator)
            stack.callback(self.kill_shop)
            self.start_shop()
            yield self

    def start_shop(self) -> None:
        """Start the shop and wait until it answers; raise ConfigurationError if it does not."""
        with self._log.open("ab") as log:
            self._shop = subprocess.Popen(  # noqa: S603  # our own example
                [sys.executable, str(self.script)], env=self.environ, stdout=log, stderr=log
            )
        deadline = time.monotonic() + _START_TIMEOUT
        while not self._answers():
            if self._shop.poll() is not None or time.monotonic() > deadline:
                log_text = self._log.read_text(errors="replace")[-2000:]
                raise ConfigurationError(f"the shop does not start; its log says:\n{log_text}")
            time.sleep(0.05)

    @property
    def environ(self) -> dict[str, str]:
        """Return the environment in which the shop and its commands run."""
        return {
            **without_settings(os.environ),
            **self.simulator.environ,
            "APLUS_NOTIFY_URL": f"{self.address}/aplus/notify",
            "DATABASE": self.database_url.render_as_string(hide_password=False),
            "PORT": str(self._port.number),
        }

    def kill_shop(self) -> None:
        """Kill the shop, without time to finish its work, as in a crash."""
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
        """Return request id, minor units and currency of each attempt that is stored as paid."""
        return read_paid(self.database_url, order_ref)


def pay_once(framework: str, report_step: ReportStep, database: str | None = None) -> bool:
    """Pay once through the shop's pages and return whether it is stored as paid exactly once.

    `database` is as for `Demo`. `report_step` is called with each step of the timeline: its name
    and its details.
    """
    with tempfile.TemporaryDirectory(prefix="aplus-demo-") as folder:
        demo = Demo(framework, Path(folder), database=database)
        with demo.running(), httpx.Client(base_url=demo.address, trust_env=False) as buyer:
            report_step("shop", f"{framework} at {demo.address}")
            report_step("simulator", demo.simulator.address)
            if database is not None:
                report_step("database", str(demo.database_url))  # its password is hidden
            return _buy(demo, buyer, report_step)


def _buy(demo: Demo, buyer: httpx.Client, report_step: ReportStep) -> bool:
    order = buyer.post("/orders", data={"item": "Ticket"})
    order_ref = order.headers["location"].rpartition("/")[2]
    report_step("order", order_ref)
    fields = {"order_ref": order_ref}
    payment = _read_json(buyer.post("/aplus/pay", data=fields, headers=_ACCEPT_JSON))
    request_id = payment["paymentRequestId"]
    report_step("request id", request_id)
    report_step("code", str(payment["code"]))
    page = buyer.get(f"/aplus/payments/{request_id}", headers={"Accept": "text/html"})
    if "<svg" not in page.text:
        raise ConfigurationError("the payment's page shows no QR code")
    wallet = httpx.post(f"{payment['code']}/pay", headers=_ACCEPT_JSON, trust_env=False)
    report_step("wallet", f"confirmed, order is {_read_json(wallet)['state']} at Alipay+")
    event = demo.simulator.wait_for("notification_answered", _NOTIFICATION_TIMEOUT)
    report_step("notification", f"sent signed, answered with HTTP {event['status']}")
    report_step("acknowledgement", event["outcome"])
    status = _read_json(buyer.get(f"/aplus/payments/{request_id}/status"))
    stored = demo.paid_attempts(order_ref)
    orders = [row for row in demo.simulator.orders() if row["referenceOrderId"] == order_ref]
    value, currency = payment["amount"]["value"], payment["amount"]["currency"]
    is_stored_once = stored == [(request_id, int(value), currency)]
    if status["state"] == "paid" and is_stored_once and len(orders) == 1:
        report_step("PAID", f"{value} minor units {currency}, stored exactly once")
        return True
    details = f"page says {status['state']}, stored: {stored}, at Alipay+: {len(orders)}"
    report_step("NOT PAID", details)
    return False


def watch(
    framework: str,
    folder: Path,
    port: int,
    report_step: ReportStep,
    database: str | None = None,
) -> None:
    """Run shop and simulator until Ctrl-C; raise ConfigurationError if the simulator ends."""
    demo = Demo(framework, folder, port, database=database)
    try:
        with demo.running(), side_by_side(demo.address, demo.simulator.address) as page:
            report_step("open this", f"{page} (shop, desk and wallet side by side)")
            report_step("shop", f"{demo.address} (buy something, press pay)")
            report_step("desk", f"{demo.simulator.address} (what Alipay+ sees and sends)")
            report_step("wallet", f"{demo.simulator.address}/wallet (scan the code, pay or refuse)")
            report_step("database", str(demo.database_url))  # its password is hidden
            report_step("files", str(folder))
            _report_events(demo, report_step)
    except KeyboardInterrupt:
        report_step("end", "shop and simulator are stopped")


def _report_events(demo: Demo, report_step: ReportStep) -> NoReturn:
    while True:
        event = demo.simulator.events.get()
        if event["event"] == "ended":
            raise ConfigurationError("the simulator ended; start the demo again")
        details = (f"{k} {v}" for k, v in event.items() if k not in ("event", "id"))
        report_step(event["event"].replace("_", " "), ", ".join(details))


def _read_json(response: httpx.Response) -> Any:
    if response.is_error:
        raise ConfigurationError(
            f"{response.request.url.path}: answered HTTP {response.status_code}: "
            f"{response.text[:300]}"
        )
    return response.json()


def _reserve_port(port: int) -> ReservedPort:
    try:
        return ReservedPort(port)
    except OSError as error:
        raise ConfigurationError(
            f"port {port}: cannot be used ({error.strerror}); choose another --port"
        ) from None


def _find_example(name: str) -> Path:
    """Return an example's file: inside the installed package, beside the package in a clone."""
    package = Path(__file__).parent.parent
    for path in (package / "examples" / name, package.parent / "examples" / name):
        if path.exists():
            return path
    raise ConfigurationError(f"the example {name} is not installed; install the package again")
