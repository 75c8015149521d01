"""How commands that change something ask a person, and what they say when they are interrupted."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["confirm", "interruptible"]


def confirm(question: str, *, yes: bool) -> bool:
    """Return whether a person agrees; `yes` agrees at once. Ask on standard error.

    Raise UsageError without a terminal, since nobody is there to answer.
    """
    if yes:
        return True
    if not _has_terminal():
        raise click.UsageError("found no terminal to ask at, expected --yes")
    return click.confirm(question, err=True)


@contextmanager
def interruptible(what_may_be: str) -> Iterator[None]:
    """Run the body of `with`; on Ctrl-C say what may have been done, and exit with 1."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo(f"interrupted: {what_may_be}", err=True)
        raise SystemExit(1) from None


def _has_terminal() -> bool:
    return sys.stdin.isatty()
