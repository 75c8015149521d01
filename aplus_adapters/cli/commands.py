"""The operator's commands for a shop's own AplusPay: `aplus` and `flask aplus` both use them."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import os
import re
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC
from typing import TYPE_CHECKING, Any, TypeVar

import click

from aplus_adapters.aplus_pay import AplusPay
from aplus_adapters.errors import AplusError, ConfigurationError
from aplus_adapters.payments.effects import get, latest
from aplus_adapters.payments.flows.reconcile import reconcile
from aplus_adapters.payments.timeline import read_timeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from datetime import datetime
    from types import FrameType

    from aplus_adapters.payments.effects import Flow
    from aplus_adapters.payments.flows.reconcile import ReconcileReport

__all__ = [
    "PROGRESS_INTERVAL",
    "duration",
    "flow_runner",
    "load_shop",
    "no_context",
    "reconcile_command",
    "show_command",
]

T = TypeVar("T")
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)?")
_SECONDS = {"ms": 0.001, None: 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
PROGRESS_INTERVAL = 1.0
"""Seconds between two lines of progress."""


def duration(text: str) -> float:
    """Return the seconds of a duration such as 10s, 500ms or 2m; raise BadParameter if not one."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise click.BadParameter(f"found {text!r}, expected a duration such as 10s, 2m, 1h or 90d")
    return float(match[1]) * _SECONDS[match[2]]


def no_context(_command: click.Context) -> Callable[[], AbstractContextManager[Any]]:
    """Return what makes contexts for commands outside a framework; they hold nothing."""
    return _without_djangos_connections


@contextmanager
def _without_djangos_connections() -> Iterator[None]:
    """Close what this thread's hooks have opened by Django's ORM, which has no request to end."""
    try:
        yield
    finally:
        database: Any = sys.modules.get("django.db")
        if database is not None and sys.modules["django.conf"].settings.configured:
            database.connections.close_all()


def reconcile_command(
    find_pay: Callable[[], AplusPay],
    context_of: Callable[[click.Context], Callable[[], AbstractContextManager[Any]]] = no_context,
) -> click.Command:
    """Return the command that reconciles the payments of the shop that `find_pay` returns.

    `context_of` is called once, when the command begins. It returns a maker of contexts, such as
    `app.app_context` of a Flask application. Each worker runs each round in a new context.
    """

    @click.command("reconcile")
    @click.option("--every", type=duration, help="Repeat: start a round every 10s, 2m.")
    @click.option("--threads", default=1, show_default=True, type=click.IntRange(1, 64))
    def command(every: float | None, threads: int) -> None:
        """Follow up what is due: payments without news, expired codes, open refunds.

        Any number of these may run at once on any number of machines. Without --every it does one
        round. The exit code is then 0 only if nothing failed in that round.
        """
        pay, context = find_pay(), context_of(click.get_current_context())
        with _stop_event() as stop, flow_runner(pay) as run_flow:
            while True:
                started = time.monotonic()
                failed = _run_round(pay, run_flow, threads, context)
                if every is None:
                    raise SystemExit(1 if failed else 0)
                if stop.wait(max(0.0, every - (time.monotonic() - started))):
                    return

    return command


def show_command(
    find_pay: Callable[[], AplusPay],
    context_of: Callable[[click.Context], Callable[[], AbstractContextManager[Any]]] = no_context,
) -> click.Command:
    """Return the command that shows one payment's timeline; `context_of` as for reconcile."""

    @click.command("show")
    @click.argument("payment")
    def command(payment: str) -> None:
        """Print a payment's timeline: each observation, its time, its source and what it changed.

        PAYMENT is a payment request id or an order. Of an order the latest payment is shown.
        """
        context = context_of(click.get_current_context())
        with flow_runner(find_pay()) as run_flow, context():
            attempt = run_flow(get(payment)) or run_flow(latest(payment))
            if attempt is None:
                raise click.UsageError(f"{payment}: found no such payment or order in the store")
            events = run_flow(read_timeline(attempt.payment_request_id))
        click.echo(f"payment  {attempt.payment_request_id}")
        click.echo(f"order    {attempt.order_ref}")
        click.echo(f"amount   {attempt.amount}")
        click.echo(f"account  {attempt.client_id}")
        click.echo(f"Alipay+  {attempt.payment_id or '-'}")
        click.echo(f"state    {attempt.state}, expires {_format_time(attempt.expires_at)}")
        if attempt.next_call_at is not None:
            click.echo(f"next     call not before {_format_time(attempt.next_call_at)}")
        for event in events:
            line = f"{_format_time(event.at)}  {event.source:<13} {event.text}  ->  {event.state}"
            click.echo(click.style(line, fg="red") if event.is_conflict else line)

    return command


def _run_round(
    pay: AplusPay,
    run_flow: Callable[[Flow[Any]], Any],
    threads: int,
    context: Callable[[], AbstractContextManager[Any]],
) -> bool:
    """Run one round in each of several workers and return whether anything failed."""
    failed = False

    def work(number: int) -> ReconcileReport | None:
        try:
            with context():
                report: ReconcileReport = run_flow(reconcile(pay.config, _Progress(number)))
        except AplusError as error:  # the other workers and the next round go on
            click.echo(f"worker {number}: {error}", err=True)
            return None
        return report

    with ThreadPoolExecutor(threads) as pool:
        for number, report in enumerate(pool.map(work, range(1, threads + 1)), 1):
            failed = failed or report is None or report.failed > 0
            if report is not None:
                click.echo(f"worker {number}: round done: {report}")
    return failed


class _Progress:
    """Prints one worker's numbers so far, at most once a second."""

    def __init__(self, worker: int) -> None:
        self._worker, self._printed_at = worker, time.monotonic()

    def __call__(self, report: ReconcileReport) -> None:
        if time.monotonic() - self._printed_at >= PROGRESS_INTERVAL:
            self._printed_at = time.monotonic()
            click.echo(f"worker {self._worker}: {report}")


@contextmanager
def flow_runner(pay: AplusPay) -> Iterator[Callable[[Flow[Any]], Any]]:
    """Yield a function that runs flows, on an event loop in a thread if hooks are async."""
    try:
        pay.prepare(awaiting=False)
    except ConfigurationError:  # the shop has async hooks, which a blocking runner cannot call
        pass
    else:
        try:
            yield pay.run
        finally:
            pay.close()
        return
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True, name="aplus-loop")
    thread.start()
    try:
        yield lambda flow: asyncio.run_coroutine_threadsafe(pay.run_async(flow), loop).result()
    finally:
        try:
            asyncio.run_coroutine_threadsafe(pay.aclose(), loop).result()
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


@contextmanager
def _stop_event() -> Iterator[threading.Event]:
    """Yield an event that SIGTERM and Ctrl-C set, so that the running round can end first."""
    stop = threading.Event()

    def request_stop(_signal: int, _frame: FrameType | None) -> None:
        if stop.is_set():  # the second signal: the operator does not want to wait for the round
            raise KeyboardInterrupt
        stop.set()

    old_handlers = {n: signal.signal(n, request_stop) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in old_handlers.items():
            signal.signal(number, handler)


def _format_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"


def load_shop(address: str) -> AplusPay:
    """Return the AplusPay at `module:name`, or call the function that is there to make it.

    Raise ConfigurationError if it cannot be loaded or is something else.
    """
    if os.environ.get("DJANGO_SETTINGS_MODULE") and importlib.util.find_spec("django"):
        importlib.import_module("django").setup()  # before it a Django shop's models cannot load
    module_name, colon, name = address.partition(":")
    if not colon or not name:
        raise ConfigurationError(f"shop {address!r}: expected module:name, such as shop:pay")
    try:
        shop: Any = importlib.import_module(module_name)
        for part in name.split("."):
            shop = getattr(shop, part)
        if inspect.isfunction(shop):
            shop = shop()
    except (ImportError, AttributeError, TypeError) as error:
        raise ConfigurationError(f"shop {address!r}: cannot be loaded: {error}") from error
    if not isinstance(shop, AplusPay):
        raise ConfigurationError(
            f"shop {address!r}: found {type(shop).__name__}, expected an AplusPay or a function "
            "that returns one"
        )
    return shop
