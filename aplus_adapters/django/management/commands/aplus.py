"""`manage.py aplus ...`: the operators' commands of a Django shop."""

from __future__ import annotations

import argparse
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

try:
    import click

    from aplus_adapters.cli.shop_option import commands_of_named_shop
except ImportError:
    sys.exit("aplus: click is not installed; run pip install 'aplus_adapters[cli]'")

__all__ = ["Command"]


class Command(BaseCommand):  # type: ignore[misc]  # Django has no types
    """Hand every word over to the commands that `aplus` and `flask aplus` have, too.

    The shop is the setting APLUS_SHOP, such as "our_site.urls:pay", or the option --shop.
    """

    help = "The operators' commands for payments by Alipay+: manage.py aplus --help lists them."

    def run_from_argv(self, argv: list[str]) -> None:
        """Run `manage.py aplus WORDS`, and exit with the command's code."""
        _group().main(argv[2:], prog_name="manage.py aplus")

    def print_help(self, prog_name: str, subcommand: str) -> None:
        """Print the list of commands for `manage.py help aplus`."""
        _group().main(["--help"], prog_name=f"{prog_name} {subcommand}", standalone_mode=False)

    def add_arguments(self, parser: Any) -> None:
        """Take the words of `call_command("aplus", "list", "--json")`."""
        parser.add_argument("words", nargs=argparse.REMAINDER)

    def handle(self, *_args: Any, words: list[str], **options: Any) -> None:
        """Run a command for `call_command`; raise CommandError if its exit code is not 0."""
        out, err = options.get("stdout") or sys.stdout, options.get("stderr") or sys.stderr
        code: Any
        try:
            with redirect_stdout(out), redirect_stderr(err):
                code = _group().main(words, prog_name="aplus", standalone_mode=False)
        except SystemExit as end:
            code = end.code
        except click.Abort:
            code = 1
        except click.ClickException as error:
            raise CommandError(error.format_message(), returncode=error.exit_code) from None
        if code:
            raise CommandError(f"aplus {' '.join(words[:1])}: exit code {code}", returncode=code)


def _group() -> click.Group:
    group = click.Group("aplus", help="Look after payments by Alipay+.")
    for command in commands_of_named_shop(getattr(settings, "APLUS_SHOP", None)):
        # `manage.py` has obeyed these before it runs a command, wherever they stand.
        for name in ("--settings", "--pythonpath"):
            command.params.append(click.Option([name], hidden=True, expose_value=False))
        group.add_command(command)
    return group
