"""The option --shop: commands that are told by name which AplusPay they are about."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aplus_adapters.cli.commands import load_shop, reachable
from aplus_adapters.cli.shop_commands import shop_commands

if TYPE_CHECKING:
    from aplus_adapters.aplus_pay import AplusPay

__all__ = ["commands_of_named_shop"]


def commands_of_named_shop(default: str | None = None) -> list[click.Command]:
    """Return every command for a shop, with --shop; `default` is the shop if none is named."""
    commands = shop_commands(_find_pay)
    for command in commands:
        _add_option(command, default)
    return commands


def _add_option(command: click.Command, default: str | None) -> None:
    command.params.append(
        click.Option(
            ["--shop"],
            envvar="APLUS_SHOP",
            default=default,
            expose_value=False,
            callback=_remember,
            help="The shop's AplusPay as module:name, such as shop:pay (or APLUS_SHOP).",
        )
    )
    if isinstance(command, click.Group):  # the option may stand before or after the second word
        for below in command.commands.values():
            _add_option(below, default)


def _remember(context: click.Context, _option: click.Parameter, value: str | None) -> None:
    """Keep the shop for this command and those below it; a default replaces nothing."""
    if value is not None and (
        "shop" not in context.meta
        or context.get_parameter_source("shop") is click.core.ParameterSource.COMMANDLINE
    ):
        context.meta["shop"] = value


def _find_pay() -> AplusPay:
    sys.path.insert(0, str(Path.cwd()))  # an installed command does not look in the shop's folder
    shop = click.get_current_context().meta.get("shop")
    if shop is None:
        raise click.UsageError(
            "found no --shop and no APLUS_SHOP, expected the shop's AplusPay as module:name, such "
            "as --shop shop:pay"
        )
    return reachable(load_shop(shop))
