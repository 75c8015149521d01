"""What `aplus conformance` does: gateway, shop, run, printed lines and report."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from aplus_adapters.cli.files import make_folder
from aplus_adapters.cli.options import sigterm_is_ctrl_c
from aplus_adapters.conformance.cases import Verdict
from aplus_adapters.conformance.evidence import Evidence
from aplus_adapters.conformance.gateway import PlayedGateway
from aplus_adapters.conformance.pictures import Camera
from aplus_adapters.conformance.play import Pace
from aplus_adapters.conformance.process import started, wait_until_it_listens
from aplus_adapters.conformance.run import examine
from aplus_adapters.conformance.server import GatewayServer
from aplus_adapters.conformance.shop import Shop
from aplus_adapters.conformance.ways import PAID, Ways, check_ways
from aplus_adapters.errors import ConfigurationError
from aplus_adapters.runtime.settings import without_settings
from aplus_adapters.simulator.identity import NOTIFY_URL

if TYPE_CHECKING:
    from pathlib import Path

    from aplus_adapters.conformance.cases import Result
    from aplus_adapters.conformance.run import Run

__all__ = ["play_against"]

_QUICK = Pace(expiry=2.0, patience=6.0, poll=0.5)
_COLOURS = {Verdict.RIGHT: "green", Verdict.WRONG: "red", Verdict.ADVICE: "yellow"}
_SHOP_TIMEOUT = 15.0  # seconds for a page of the shop


def play_against(
    url: str,
    ways: dict[str, Any],
    *,
    start: str | None,
    acceptance: bool,
    report_folder: Path | None,
    directory: Path,
    port: int,
    host: str,
    gateway_url: str | None,
    quick: bool,
    timeout: float | None,
    wait: float,
    as_json: bool,
) -> bool:
    """Play Alipay+ against the shop at `url`, print what is found; return whether all is right.

    `ways` are the fields of `Ways`. Raise ConfigurationError if it cannot be tried.
    """
    how = _ways(url, ways)
    if report_folder is not None and find_spec("jinja2") is None:
        raise ConfigurationError("the report needs Jinja2: run pip install 'aplus_adapters[page]'")
    if report_folder is not None:  # now: a whole run would be lost
        make_folder(report_folder, "--report")
    evidence, camera = Evidence(), Camera() if acceptance else Camera(browser=None)
    server = GatewayServer(port, host)
    with ExitStack() as stack:
        stack.callback(server.close)
        stack.enter_context(sigterm_is_ctrl_c())  # the shop that was started ends as well
        address = (gateway_url or server.address).rstrip("/")
        gateway = PlayedGateway(directory, address, how.notify_url, evidence)
        stack.callback(gateway.close)
        stack.enter_context(server.serving(gateway.receive))
        if not as_json:
            click.echo(f"Alipay+ is played at {address}")
            click.echo(f"the shop's settings: {directory / 'shop.env'}")
        environ = {**without_settings(os.environ), **gateway.environ}
        if start is not None:
            log = directory / "shop.log"
            stack.enter_context(started(start, environ, how.notify_url, log, wait))
        else:
            wait_until_it_listens(how.notify_url, wait)
        shop = Shop(how, evidence, timeout=_SHOP_TIMEOUT, environ=environ)
        stack.callback(shop.close)
        run = examine(
            gateway,
            shop,
            evidence,
            pace=_pace(quick=quick, timeout=timeout),
            acceptance=acceptance,
            report=_print_json if as_json else _Printer(),
            picture=camera.take,
        )
    run.pictures = camera.pictures
    if report_folder is not None:
        from aplus_adapters.conformance.report import write_report  # noqa: PLC0415  # an extra

        write_report(run, report_folder)
    if not as_json:
        _print_summary(run, report_folder)
    return run.results.is_right


def _ways(url: str, given: dict[str, Any]) -> Ways:
    with suppress(ValueError):  # such as half an IPv6 address, which `check_ways` says
        if urlsplit(url).path in ("", "/"):  # the shop's address alone
            url = url.rstrip("/") + urlsplit(NOTIFY_URL).path
    orders = given.pop("orders") or ("A-{n}",)
    as_json = given.pop("pay_json")
    paid = given.pop("paid") or PAID
    ways = Ways(notify_url=url, as_json=as_json, orders=orders, paid=paid, **given)
    check_ways(ways)
    return ways


def _pace(*, quick: bool, timeout: float | None) -> Pace:
    pace = _QUICK if quick else Pace()
    if timeout is None:
        return pace
    return Pace(expiry=pace.expiry, patience=timeout, poll=pace.poll)


class _Printer:
    """Prints one line for each result, below the title of its scenario."""

    def __init__(self) -> None:
        self._scenario = self._reason = ""

    def __call__(self, result: Result) -> None:
        if result.scenario != self._scenario:
            self._scenario = result.scenario
            click.echo(click.style(f"\n{result.scenario}", bold=True))
        found = result.found[:200]
        if result.verdict is Verdict.NOT_TRIED:  # a reason of many cases is printed once
            found, self._reason = "" if found == self._reason else found, found
        verdict = click.style(f"{result.verdict.value:<9}", fg=_COLOURS.get(result.verdict))
        click.echo(f"  {verdict}  {result.case.name:<24} {found}")
        if result.verdict in (Verdict.WRONG, Verdict.ADVICE):
            click.echo(f"             rule: {result.case.rule}")
            click.echo(f"             expected: {result.case.expected}")


def _print_json(result: Result) -> None:
    row = {"name": result.case.name, "verdict": result.verdict.value, "found": result.found}
    more = {"scenario": result.scenario, "rule": result.case.rule, "expected": result.case.expected}
    click.echo(json.dumps(row | more, ensure_ascii=False))


def _print_summary(run: Run, folder: Path | None) -> None:
    counts = ", ".join(f"{run.results.count(verdict)} {verdict.value}" for verdict in Verdict)
    click.echo(f"\n{counts}; {len(run.evidence.exchanges)} messages in {run.seconds:.1f} s")
    if folder is not None:
        click.echo(f"report: {folder / 'report.html'} and report.json")
