"""The command `schema`: make, migrate, check or print the tables of a shop's store."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

import click

from aplus_adapters.cli.commands import ShopCommand, missing_file, no_context
from aplus_adapters.cli.options import examples

if TYPE_CHECKING:
    from collections.abc import Callable

    from aplus_adapters.aplus_pay import AplusPay
    from aplus_adapters.cli.commands import ContextOf, FindPay

__all__ = ["schema_command"]


def schema_command(find_pay: FindPay, context_of: ContextOf = no_context) -> click.Command:
    """Return the command that makes the store's tables; `context_of` as for reconcile."""

    @click.command(
        "schema",
        cls=ShopCommand,
        epilog=examples("aplus schema --check", "aplus schema --print --dialect postgresql"),
    )
    @click.option("--check", is_flag=True, help="Make nothing: say what is missing; exit with 1.")
    @click.option("--print", "prints", is_flag=True, help="Make nothing: print the SQL.")
    @click.option("--dialect", help="With --print: for this database; without it for the store's.")
    def command(*, check: bool, prints: bool, dialect: str | None) -> None:
        """Make the payments' tables, or migrate tables of an older version.

        Without this command the first payment does it. Use it if the shop's own database role may
        not make tables: run it with a role that may, or have the SQL printed for somebody else.
        """
        if check and prints:
            raise click.UsageError("found --check and --print, expected one of them")
        if dialect and not prints:
            raise click.UsageError("found --dialect, expected it with --print only")
        context = click.get_current_context()
        if prints and dialect and _names_no_shop(context):
            click.echo(_default_ddl(dialect))
            return
        pay = find_pay()
        store = _store_of(pay)
        if check and (problem := missing_file(pay)):  # to look would make it
            raise click.ClickException(problem)
        with context_of(context)():
            if prints:
                click.echo(_answer(store.ddl, dialect))
            elif check:
                _check(_answer(store.missing))
            else:
                _answer(store.set_up)
                click.echo("the tables are there, in their newest version")

    return command


def _names_no_shop(context: click.Context) -> bool:
    """Return whether this is `aplus schema`, which can name a shop, without one."""
    can_name = any(parameter.name == "shop" for parameter in context.command.params)
    return can_name and "shop" not in context.meta


def _default_ddl(dialect: str) -> str:
    try:
        from aplus_adapters.stores.schema import TABLES  # noqa: PLC0415  # an extra
    except ImportError:
        message = "SQLAlchemy is not installed; run pip install 'aplus_adapters[sql]'"
        raise click.UsageError(message) from None
    return TABLES.ddl(dialect)


def _store_of(pay: AplusPay) -> Any:
    if not hasattr(pay.store, "set_up"):
        raise click.UsageError(
            f"found {type(pay.store).__name__}, expected a store with tables, such as SQLStore"
        )
    return pay.store


def _answer(method: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a store's method returns, of a blocking store or of one that awaits."""
    answer = method(*arguments)
    return asyncio.run(answer) if inspect.iscoroutine(answer) else answer


def _check(lacks: list[str]) -> None:
    for lack in lacks:
        click.echo(f"missing: {lack}")
    if lacks:
        click.echo("to do: run this command without --check, with a role that may make tables")
        raise SystemExit(1)
    click.echo("the tables are complete")
