"""What every command for a shop's own AplusPay needs: the shop, its context, its errors."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aplus_adapters.aplus_pay import AplusPay
from aplus_adapters.cli.options import write_every_character
from aplus_adapters.errors import (
    AplusError,
    ConfigurationError,
    InvalidValue,
    UnknownPayment,
    place_of,
)
from aplus_adapters.stores.memory import MemoryStore

if TYPE_CHECKING:
    from concurrent.futures import Future

    from aplus_adapters.payments.effects import Flow

__all__ = [
    "PROGRESS_INTERVAL",
    "ContextOf",
    "FindPay",
    "RunFlow",
    "ShopCommand",
    "ShopGroup",
    "duration",
    "flow_runner",
    "load_shop",
    "missing_file",
    "no_context",
    "open_shop",
    "reachable",
]

FindPay = Callable[[], AplusPay]
"""Returns the shop's AplusPay when a command begins."""

ContextOf = Callable[[click.Context], Callable[[], AbstractContextManager[Any]]]
"""Returns, once for each command, what makes contexts for hooks: `app.app_context` of Flask."""

RunFlow = Callable[["Flow[Any]"], Any]
"""Runs a flow to its end and returns its result."""

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST = 36_500 * 86_400.0  # what is much longer leads out of the calendar
PROGRESS_INTERVAL = 1.0
"""Seconds between two lines of progress."""


def duration(text: str) -> float:
    """Return the seconds of a duration such as 10s, 500ms or 2m; raise BadParameter if not one.

    The unit is wanted: a person who writes 400 may mean days. A century is the most.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise click.BadParameter(f"found {text!r}, expected a duration such as 10s, 2m, 1h or 90d")
    seconds = float(match[1]) * _SECONDS[match[2]]
    if seconds > _LONGEST:
        raise click.BadParameter(f"found {text!r}, expected at most 36500d")
    return seconds


class ShopCommand(click.Command):
    """A command that shows an error of this library as one line, without a traceback.

    The exit code is 2 if the words or the set-up are wrong, 1 for any other error.
    """

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with _short_errors():
            return super().invoke(ctx)


class ShopGroup(click.Group):
    """The same for a command that has others below it."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, and the one below it that was named."""
        with _short_errors():
            return super().invoke(ctx)


@contextmanager
def _short_errors() -> Iterator[None]:
    write_every_character()
    try:
        yield
    except (ConfigurationError, InvalidValue, UnknownPayment) as error:
        raise click.UsageError(str(error)) from None
    except AplusError as error:
        raise click.ClickException(str(error)) from None


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


def reachable(pay: AplusPay) -> AplusPay:
    """Return the shop if this process, which is not its own, can see its payments.

    Raise ConfigurationError if not: a command would find none, and say that all is well.
    """
    if type(pay.store) is MemoryStore:
        raise ConfigurationError(
            f"found {type(pay.store).__name__}, whose payments are in the memory of the shop's own "
            "process, expected a store that this command can see as well, such as SQLStore"
        )
    return pay


def missing_file(pay: AplusPay) -> str | None:
    """Return what is wrong if the SQLite file of the shop is not there, otherwise None.

    SQLite would make it: a command in another folder than the shop's would find no payment.
    """
    file = getattr(pay.store, "file", None)
    if not isinstance(file, Path) or file.exists():  # a store of the shop's may have another one
        return None
    return (
        f"found no file {file.absolute()}, expected the database of the shop's payments: nobody "
        "has begun one yet, or the shop runs in another folder; run the command there, or name the "
        "file by its whole path in the shop"
    )


@contextmanager
def open_shop(find_pay: FindPay, context_of: ContextOf) -> Iterator[tuple[AplusPay, RunFlow]]:
    """Yield the shop's AplusPay and what runs its flows, in a context of the shop's framework."""
    context = context_of(click.get_current_context())
    pay = find_pay()
    if problem := missing_file(pay):
        raise ConfigurationError(problem)
    with flow_runner(pay) as run_flow, context():
        yield pay, run_flow


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
        yield lambda flow: _result_of(asyncio.run_coroutine_threadsafe(pay.run_async(flow), loop))
    finally:
        try:
            asyncio.run_coroutine_threadsafe(pay.aclose(), loop).result()
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


def _result_of(running: Future[Any]) -> Any:
    """Return what it ends with; on Ctrl-C it is ended first, with what it has open."""
    try:
        return running.result()
    except KeyboardInterrupt:
        running.cancel()
        raise


def load_shop(address: str) -> AplusPay:
    """Return the AplusPay at `module:name`.

    There may be an AplusPay, what holds one (our middleware, an application with it as
    `app.state.pay`, a tuple), or what returns one of these when it is called without an argument,
    such as a function. Raises ConfigurationError for anything else, and if it cannot be loaded.
    """
    module_name, colon, name = address.partition(":")
    if not colon or not name:
        raise ConfigurationError(f"shop {address!r}: expected module:name, such as shop:pay")
    try:
        if os.environ.get("DJANGO_SETTINGS_MODULE") and importlib.util.find_spec("django"):
            importlib.import_module("django").setup()  # a Django shop's models cannot load before
        shop: Any = importlib.import_module(module_name)
        for part in name.split("."):
            shop = getattr(shop, part)
        found = _pay_in(shop)
        if found is None and _is_called_alone(shop):
            shop = shop()
            found = _pay_in(shop)
    except AplusError:
        raise
    except Exception as error:
        # The text of other errors may hold a secret, such as an address with its password.
        what = f"{type(error).__name__}"
        if isinstance(error, ImportError | AttributeError | NameError | TypeError | KeyError):
            what += f": {error}"
        raise ConfigurationError(
            f"shop {address!r}: cannot be loaded: {what:.300}{place_of(error)}"
        ) from error
    if found is None:
        raise ConfigurationError(f"shop {address!r}: {_wrong_shop(shop, module_name)}")
    return found


def _pay_in(shop: Any) -> AplusPay | None:
    """Return the AplusPay that this is or holds, None if it holds none."""
    of_app = getattr(getattr(shop, "state", None), "pay", None)
    parts = shop if isinstance(shop, tuple) else (shop, of_app, getattr(shop, "site", None))
    return next((part for part in parts if isinstance(part, AplusPay)), None)


def _is_called_alone(shop: Any) -> bool:
    """Return whether it can be called without an argument, which no application can."""
    if isinstance(shop, type):  # an object of the shop's own class is no AplusPay
        return False
    try:
        inspect.signature(shop).bind()
    except (TypeError, ValueError):
        return False
    return True


def _wrong_shop(shop: Any, module_name: str) -> str:
    expected = (
        "expected an AplusPay, an application with it as app.state.pay, or a function that returns "
        "one"
    )
    if inspect.iscoroutine(shop):
        shop.close()
        return f"found an async function, {expected} without awaiting"
    if inspect.isfunction(shop):
        return f"found a function that cannot be called without an argument, {expected}"
    if hasattr(shop, "register_blueprint"):
        return (
            f"found a Flask application, {expected}; its commands are those of Flask: "
            f"`flask --app {module_name} aplus list`"
        )
    return f"found {type(shop).__name__}, {expected}"
