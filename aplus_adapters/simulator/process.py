"""Run the simulator in its own process, for tests and for the demonstration."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from queue import Empty, Queue
from typing import TYPE_CHECKING, Any, Self

import httpx

from aplus_adapters.errors import ConfigurationError
from aplus_adapters.simulator.identity import read_environ
from aplus_adapters.simulator.ports import ReservedPort

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["SimulatorProcess"]

_START_TIMEOUT = 30.0  # seconds until it is ready, enough on a busy machine


class SimulatorProcess:
    """A process that runs `aplus simulator`; also a context manager.

    `folder` keeps its keys, its books and the shop's settings over restarts. `time_scale` divides
    the pauses between re-sent notifications. `events` is a queue of its events, as dictionaries.
    """

    def __init__(self, folder: Path, *, time_scale: float = 1.0, port: int = 0) -> None:
        self.folder = folder
        self._time_scale = time_scale
        self._requested_port = port
        self._port: ReservedPort | None = None
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self.events: Queue[dict[str, Any]] = Queue()
        self.address = ""

    def start(self) -> Self:
        """Start it on its old port; raise ConfigurationError if it does not get ready."""
        if self._port is None:
            self._port = ReservedPort(self._requested_port)
        command = [sys.executable, "-m", "aplus_adapters.cli", "simulator", "--json"]
        command += ["--directory", str(self.folder), "--port", str(self._port.number)]
        command += ["--time-scale", str(self._time_scale)]
        self.events = Queue()  # the events of an earlier run must not be taken for new ones
        self._process = subprocess.Popen(  # noqa: S603  # our own program
            command, stdout=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(
            target=_read_events, args=(self._process, self.events), daemon=True
        )
        self._reader.start()
        ready = self.wait_for("ready", _START_TIMEOUT)
        self.address = ready["address"]
        return self

    def wait_for(self, event: str, timeout: float = 10.0) -> dict[str, Any]:
        """Return the next event of this name within `timeout` seconds; drop all before it."""
        while True:
            try:
                row = self.events.get(timeout=timeout)
            except Empty:
                raise ConfigurationError(
                    f"simulator: no event {event!r} within {timeout:g} s"
                ) from None
            if row["event"] == event:
                return row
            if row["event"] == "ended":
                raise ConfigurationError("simulator: the process ended; see its messages above")

    @property
    def pid(self) -> int:
        """Return the id of the running process, 0 if it does not run."""
        return self._process.pid if self._process is not None else 0

    def stop(self) -> None:
        """End it with SIGTERM, so that it closes its files."""
        self._end(subprocess.Popen.terminate)

    def kill(self) -> None:
        """Kill it, without time to finish its work, as in a crash."""
        self._end(subprocess.Popen.kill)

    @property
    def environ(self) -> dict[str, str]:
        """Return the APLUS_* variables of a shop that pays here; set your own APLUS_NOTIFY_URL."""
        return read_environ(self.folder)

    def orders(self) -> list[dict[str, Any]]:
        """Return the books: every order with its requests, refunds and notifications."""
        orders: list[dict[str, Any]] = self._get("/simulator/orders")
        return orders

    def order(self, payment_request_id: str) -> dict[str, Any]:
        """Return one order of the books, or an empty dictionary if there is none."""
        order: dict[str, Any] = self._get(f"/simulator/orders/{payment_request_id}")
        return order

    def decide(self, payment_request_id: str, decision: str) -> dict[str, Any]:
        """End an open order as the buyer or the clock does: `pay`, `refuse` or `expire`."""
        order: dict[str, Any] = self._post(f"/simulator/orders/{payment_request_id}/{decision}")
        return order

    def notify(self, payment_request_id: str, form: str) -> dict[str, Any]:
        """Send a notification now; return the HTTP `status`, the `outcome` and the shop's `body`.

        `form` is true, forged, altered, unsigned, other_amount or other_path.
        """
        answer: dict[str, Any] = self._post(f"/simulator/notify/{payment_request_id}/{form}")
        return answer

    def fault(self, *faults: dict[str, Any]) -> None:
        """Replace the faults of the next calls, such as {"fault": "drop_answer", "call": "pay"}."""
        self._post("/simulator/faults", list(faults))

    def _get(self, path: str) -> Any:
        with _client() as client:
            return client.get(self.address + path).json()

    def _post(self, path: str, content: Any = None) -> Any:
        with _client() as client:
            response = client.post(self.address + path, json=content)
        if response.is_error:
            raise ConfigurationError(f"simulator: {response.text}")
        return response.json()

    def _end(self, end: Callable[[subprocess.Popen[str]], None]) -> None:
        process, self._process = self._process, None
        if process is not None:
            end(process)
            process.wait(timeout=10)
        if self._reader is not None:
            self._reader.join(timeout=10)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_error: object) -> None:
        self.stop()
        if self._port is not None:
            self._port.release()
            self._port = None


def _client() -> httpx.Client:
    # Plain HTTP on this machine: reading the certificates would take longer than the request.
    return httpx.Client(trust_env=False, timeout=10, verify=False)  # noqa: S501  # no TLS at all


def _read_events(process: subprocess.Popen[str], events: Queue[dict[str, Any]]) -> None:
    assert process.stdout is not None  # noqa: S101  # Popen was asked for a pipe
    with process.stdout as lines:
        for line in lines:
            events.put(json.loads(line))
    events.put({"event": "ended"})
