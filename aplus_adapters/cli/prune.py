"""The command `prune`: delete old payments, and forget buyers."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from aplus_adapters.cli.commands import (
    PROGRESS_INTERVAL,
    ShopCommand,
    duration,
    no_context,
    open_shop,
)
from aplus_adapters.cli.options import examples
from aplus_adapters.payments.flows.prune import BATCH, prune

if TYPE_CHECKING:
    from aplus_adapters.cli.commands import ContextOf, FindPay
    from aplus_adapters.payments.flows.prune import PruneReport

__all__ = ["prune_command"]


def prune_command(find_pay: FindPay, context_of: ContextOf = no_context) -> click.Command:
    """Return the command that deletes what is old; `context_of` as for reconcile."""

    @click.command(
        "prune",
        cls=ShopCommand,
        epilog=examples(
            "aplus prune --older-than 400d --dry-run", "aplus prune --forget-after 90d"
        ),
    )
    @click.option(
        "--older-than", type=_age, metavar="AGE", help="Delete final payments of this age: 400d."
    )
    @click.option(
        "--forget-after", type=_age, metavar="AGE", help="Forget buyers at this age; else as above."
    )
    @click.option("--even-paid", is_flag=True, help="Also paid ones: their orders become payable.")
    @click.option("--even-refundable", is_flag=True, help="Also those that may be refunded still.")
    @click.option("--dry-run", is_flag=True, help="Change nothing: print what would be done.")
    @click.option("--batch", default=BATCH, show_default=True, type=click.IntRange(1, 1000))
    def command(
        *,
        older_than: timedelta | None,
        forget_after: timedelta | None,
        even_paid: bool,
        even_refundable: bool,
        dry_run: bool,
        batch: int,
    ) -> None:
        """Delete old payments, and forget the buyers of those that stay.

        The age of a payment is the time since its last change. Open payments, open refunds and
        unresolved conflicts are left alone. Paid payments stay unless --even-paid, and only their
        buyers are forgotten: without its payment an order can be paid again. It may be stopped at
        any time; the next run goes on.
        """
        with open_shop(find_pay, context_of) as (pay, run_flow):
            report = run_flow(
                prune(
                    pay.config,
                    older_than,
                    forget_after,
                    even_paid=even_paid,
                    even_refundable=even_refundable,
                    batch=batch,
                    dry_run=dry_run,
                    progress=_Progress(),
                )
            )
        click.echo(f"{'dry run, nothing is changed' if dry_run else 'done'}: {report}")

    return command


def _age(text: str) -> timedelta:
    return timedelta(seconds=duration(text))


class _Progress:
    """Prints the numbers so far, at most once a second."""

    def __init__(self) -> None:
        self._printed_at = time.monotonic()

    def __call__(self, report: PruneReport) -> None:
        if time.monotonic() - self._printed_at >= PROGRESS_INTERVAL:
            self._printed_at = time.monotonic()
            click.echo(f"so far: {report}")
