"""The command line: `aplus ...`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

try:
    import click
except ImportError:
    sys.exit("aplus: click is not installed; run pip install 'aplus_adapters[cli]'")

from aplus_adapters.errors import AplusError

__all__ = ["main"]


class _Group(click.Group):
    """Turns our errors into one line and exit code 2."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except AplusError as error:
            raise click.UsageError(str(error)) from None


@click.group(cls=_Group)
def main() -> None:
    """Payments by Alipay+ order code."""


@main.command()
@click.option("--port", default=8100, show_default=True, help="0 takes a free one.")
@click.option(
    "--directory",
    default=".aplus",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Where keys, orders and shop.env are kept.",
)
@click.option(
    "--time-scale",
    default=1.0,
    show_default=True,
    help="Divides the pauses between re-sent notifications.",
)
@click.option("--json", "as_json", is_flag=True, help="Print each event as one JSON line.")
def simulator(port: int, directory: Path, time_scale: float, as_json: bool) -> None:
    """Run a local Alipay+: gateway, wallet pages and notifications, on this machine only."""
    if time_scale <= 0:
        raise click.BadParameter("expected a number above 0", param_hint="--time-scale")
    try:
        from aplus_adapters.simulator.server import serve  # noqa: PLC0415  # an extra
    except ImportError as error:
        message = f"{error.name} is not installed; run pip install 'aplus_adapters[simulator]'"
        raise click.UsageError(message) from None
    serve(directory, port, time_scale, as_json=as_json)


@main.command()
@click.option("--once", is_flag=True, help="Make one payment with a simulated buyer, then end.")
@click.option(
    "--framework",
    default="flask",
    show_default=True,
    type=click.Choice(["flask", "starlette"]),
    help="Which of the example shops to run.",
)
@click.option("--port", default=0, help="Where the shop listens; 0 takes a free one.")
@click.option(
    "--directory",
    default=".aplus/demo",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Where shop and simulator keep their files (not with --once).",
)
def demo(once: bool, framework: str, port: int, directory: Path) -> None:
    """Run a shop and a simulator, to pay in the browser; with --once pay and end.

    With --once the exit code is 0 only if the order is stored as paid exactly once.
    """
    try:
        from aplus_adapters.demo import pay_once, watch  # noqa: PLC0415  # extras
    except ImportError as error:
        message = f"{error.name} is not installed; run pip install 'aplus_adapters[demo]'"
        raise click.UsageError(message) from None
    started = time.monotonic()

    def say(what: str, details: str) -> None:
        click.echo(f"{time.monotonic() - started:6.2f} s  {what:<16} {details}")

    if once:
        sys.exit(0 if pay_once(framework, say) else 1)
    directory.mkdir(parents=True, exist_ok=True)
    watch(framework, directory.resolve(), port, say)


if __name__ == "__main__":
    main()
