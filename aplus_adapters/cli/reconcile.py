"""The command `reconcile`: follow up what is due, once or again and again."""

from __future__ import annotations

import logging
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from attrs import asdict

from aplus_adapters.cli.commands import (
    PROGRESS_INTERVAL,
    ShopCommand,
    duration,
    flow_runner,
    missing_file,
    no_context,
)
from aplus_adapters.cli.options import examples
from aplus_adapters.errors import AplusError
from aplus_adapters.payments.flows.reconcile import ReconcileReport, reconcile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from types import FrameType

    from aplus_adapters.cli.commands import ContextOf, FindPay, RunFlow
    from aplus_adapters.payments.policy import PaymentConfig

__all__ = ["reconcile_command"]

_LOG_INTERVAL = 10.0  # seconds between two lines of progress in a log, which is kept

log = logging.getLogger("aplus_adapters")

_LEAST = 0.1  # seconds between the starts of two rounds


def reconcile_command(find_pay: FindPay, context_of: ContextOf = no_context) -> click.Command:
    """Return the command that reconciles the payments of the shop that `find_pay` returns.

    `context_of` is called once, when the command begins. It returns a maker of contexts, such as
    `app.app_context` of a Flask application. Each worker runs each round in a new context.
    """

    @click.command(
        "reconcile",
        cls=ShopCommand,
        epilog=examples(
            "aplus reconcile --shop shop:pay",
            "aplus reconcile --shop shop:pay --every 10s --threads 4",
        ),
    )
    @click.option(
        "--every", type=_interval, help="Repeat: start a round every 10s, 2m (at least 100ms)."
    )
    @click.option("--threads", default=1, show_default=True, type=click.IntRange(1, 64))
    def command(every: float | None, threads: int) -> None:
        """Follow up what is due: payments without news, expired codes, open refunds.

        Any number of these may run at once on any number of machines. Without --every it does one
        round and prints what it did. The exit code is then 0 only if nothing failed in that round.

        With --every it writes one line for each round to the log (logger aplus_adapters): INFO, or
        ERROR if something failed. SIGTERM and Ctrl-C end it between two payments.
        """
        context = context_of(click.get_current_context())
        pay = find_pay()
        if problem := missing_file(pay):  # nobody may have paid yet, so it is no error here
            click.echo(f"warning: {problem}", err=True)
        with _stop_event() as stop, flow_runner(pay) as run_flow:
            if every is None:
                single = _Round(stop, _print, PROGRESS_INTERVAL)
                single.run(pay.config, run_flow, context, threads)
                raise SystemExit(1 if single.is_incomplete or single.total.failed else 0)
            with _visible_log():
                while not stop.is_set():
                    started = time.monotonic()
                    _Round(stop, _log, _LOG_INTERVAL).run(pay.config, run_flow, context, threads)
                    stop.wait(max(0.0, every - (time.monotonic() - started)))

    return command


def _interval(text: str) -> float:
    """Return the seconds between two rounds; raise BadParameter if there is no time between."""
    seconds = duration(text)
    if seconds < _LEAST:
        raise click.BadParameter(f"found {text}, expected 100ms or more, such as 10s")
    return seconds


class _Stopped(Exception):
    """Raised between two payments when the command was asked to end."""


class _Round:
    """One round by several workers: adds up their reports and says what they did.

    `say` takes a level, a text and its arguments, as `Logger.log` does. Progress is said at most
    once in `interval` seconds.
    """

    def __init__(self, stop: threading.Event, say: Callable[..., None], interval: float) -> None:
        self._stop, self._say, self._interval = stop, say, interval
        self._said_at = time.monotonic()
        self._lock = threading.Lock()
        self._reports: dict[int, ReconcileReport] = {}
        self.is_incomplete = False

    @property
    def total(self) -> ReconcileReport:
        """Return what all workers have done together."""
        rows = [asdict(report) for report in self._reports.values()]
        names = asdict(ReconcileReport())
        return ReconcileReport(**{name: sum(row[name] for row in rows) for name in names})

    def run(
        self,
        config: PaymentConfig,
        run_flow: RunFlow,
        context: Callable[[], AbstractContextManager[Any]],
        threads: int,
    ) -> None:
        """Run the round to its end, or until `stop` is set."""

        def work(worker: int) -> None:
            def progress(report: ReconcileReport) -> None:
                self._note(worker, report)

            try:
                with context():
                    report = run_flow(reconcile(config, progress))
            except _Stopped:
                self.is_incomplete = True
            except AplusError as error:  # the other workers and the next round go on
                self.is_incomplete = True
                self._say(logging.ERROR, "reconcile: worker %d: %s", worker, error)
            else:
                with self._lock:
                    self._reports[worker] = report

        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(work, range(1, threads + 1)):
                pass
        level = logging.ERROR if self.total.failed else logging.INFO
        end = "round ended early" if self.is_incomplete else "round done"
        self._say(level, "reconcile: %s: %s", end, self.total)

    def _note(self, worker: int, report: ReconcileReport) -> None:
        """Keep what a worker has done so far; raise _Stopped if it should not go on."""
        with self._lock:
            self._reports[worker] = report
            is_time = time.monotonic() - self._said_at >= self._interval
            if is_time:
                self._said_at = time.monotonic()
                self._say(logging.INFO, "reconcile: so far: %s", self.total)
        if self._stop.is_set():
            raise _Stopped


def _log(level: int, text: str, *arguments: object) -> None:
    if level >= logging.ERROR:
        log.error(text, *arguments, extra={"event": "round_failed"})
    else:
        log.info(text, *arguments, extra={"event": "round_done"})


def _print(level: int, text: str, *arguments: object) -> None:
    """Print what else would be logged; what is wrong goes to standard error."""
    click.echo(text % arguments, err=level >= logging.ERROR)


@contextmanager
def _visible_log() -> Iterator[None]:
    """Print our log on standard error from INFO on, unless the shop has set up logging."""
    if log.hasHandlers():
        yield
        return
    handler, level = logging.StreamHandler(), log.level
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(level or logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


@contextmanager
def _stop_event() -> Iterator[threading.Event]:
    """Yield an event that SIGTERM and Ctrl-C set, so that the payment in hand is finished."""
    stop = threading.Event()

    def request_stop(_signal: int, _frame: FrameType | None) -> None:
        if stop.is_set():  # the second signal: the operator does not want to wait any longer
            raise KeyboardInterrupt
        stop.set()

    # Another thread gets no signals, as where a shop's own program calls Django's command.
    is_main = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGTERM, signal.SIGINT) if is_main else ()
    old_handlers = {number: signal.signal(number, request_stop) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in old_handlers.items():
            signal.signal(number, handler)
