"""What several commands share: kinds of options, settings, JSON output, and the exit codes."""

from __future__ import annotations

import io
import json
import re
import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "PORT",
    "echo_json",
    "examples",
    "sigterm_is_ctrl_c",
    "web_address",
    "write_every_character",
]

PORT = click.IntRange(0, 65535)
"""A TCP port; 0 is a free one where a command listens."""


def web_address(text: str) -> str:
    """Return an http or https address unchanged; raise BadParameter if it is none."""
    try:
        parts = urlsplit(text)
        is_whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError as error:  # such as a port above 65535
        raise click.BadParameter(f"found {text[:100]!r} ({error}), {_EXPECTED}") from None
    if not is_whole or re.fullmatch(r"[!-~]+", text) is None:
        raise click.BadParameter(f"found {text[:100]!r}, {_EXPECTED}")
    return text


_EXPECTED = "expected an address such as https://shop.example/aplus/notify"


def examples(*commands: str, exits: str = "0 right, 1 something is wrong") -> str:
    """Return the end of a command's help: an example on each line, and its exit codes."""
    lines = "\n".join(f"  {command}" for command in commands)
    return f"\b\nExamples:\n{lines}\n\nExit codes: {exits}, 2 the command was used wrongly."


@contextmanager
def sigterm_is_ctrl_c() -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does, with the processes that it has started."""
    if threading.current_thread() is not threading.main_thread():  # which alone gets signals
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def write_every_character() -> None:
    """Let standard output take what its encoding lacks, escaped, instead of failing.

    An order's number in another script must not end a command whose work is done.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def echo_json(value: Any) -> None:
    """Print a value as JSON on one line."""
    click.echo(json.dumps(value, ensure_ascii=False))
