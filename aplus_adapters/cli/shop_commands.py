"""The commands for a shop's AplusPay, which `aplus`, `flask aplus` and `manage.py aplus` have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aplus_adapters.cli.close import close_command
from aplus_adapters.cli.commands import no_context
from aplus_adapters.cli.conflicts import conflicts_command
from aplus_adapters.cli.health import health_command
from aplus_adapters.cli.listing import list_command
from aplus_adapters.cli.prune import prune_command
from aplus_adapters.cli.reconcile import reconcile_command
from aplus_adapters.cli.refund import refund_command
from aplus_adapters.cli.schema import schema_command
from aplus_adapters.cli.show import show_command

if TYPE_CHECKING:
    import click

    from aplus_adapters.cli.commands import ContextOf, FindPay

__all__ = ["shop_commands"]

_MAKERS = (
    close_command,
    conflicts_command,
    health_command,
    list_command,
    prune_command,
    reconcile_command,
    refund_command,
    schema_command,
    show_command,
)


def shop_commands(find_pay: FindPay, context_of: ContextOf = no_context) -> list[click.Command]:
    """Return every command for the shop that `find_pay` returns; `context_of` as for reconcile."""
    return [make(find_pay, context_of) for make in _MAKERS]
