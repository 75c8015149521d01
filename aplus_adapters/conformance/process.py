"""The shop as a process of ours, and the wait until a shop answers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aplus_adapters.conformance.ways import split_command
from aplus_adapters.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["started", "wait_until_it_listens"]

_END_TIMEOUT = 10.0  # seconds for the shop to end by itself


@contextmanager
def started(
    command: str, environ: Mapping[str, str], notify_url: str, log: Path, seconds: float
) -> Iterator[None]:
    """Run the shop's command until the end of the block; `seconds` is its time to get ready.

    Its environment is `environ`, with the notify URL's port in PORT. What it prints goes to `log`.
    Raise ConfigurationError if it cannot be started or does not listen.
    """
    host, port = _address(notify_url)
    if _listens(host, port) is None:
        raise ConfigurationError(
            f"--start: another program listens at {host}:{port} already; end it, or choose another "
            "port in URL"
        )
    with log.open("wb") as output:
        try:
            shop = subprocess.Popen(  # noqa: S603  # the user's own command
                split_command(command, "--start"),
                env={**environ, "PORT": str(port)},
                stdout=output,
                stderr=output,
                start_new_session=True,  # so that its reloaders and workers end with it
            )
        except (OSError, ValueError) as error:  # such as a NUL in it
            raise ConfigurationError(f"--start {command!r}: cannot be run: {error}") from None
    try:
        wait_until_it_listens(notify_url, seconds, shop, log)
        yield
    finally:
        _end(shop)


def wait_until_it_listens(
    notify_url: str,
    seconds: float,
    shop: subprocess.Popen[bytes] | None = None,
    log: Path | None = None,
) -> None:
    """Wait until somebody listens at the notify URL's host and port.

    Raise ConfigurationError after `seconds`, or if the process of the shop ends before.
    """
    host, port = _address(notify_url)
    deadline = time.monotonic() + seconds
    while True:
        reason = _listens(host, port)
        if reason is None:
            return
        if shop is not None and shop.poll() is not None:
            raise ConfigurationError(f"the shop ended (exit {shop.returncode}){_tail(log)}")
        if time.monotonic() > deadline:
            raise ConfigurationError(
                f"the shop: nobody listens at {host}:{port} ({reason}); start it with the settings "
                f"that were written, or let --start do it{_tail(log)}"
            )
        time.sleep(0.05)


def _listens(host: str, port: int) -> str | None:
    """Return None if somebody listens there, otherwise the reason why a connection fails."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError as error:
        return error.strerror or str(error)
    return None


def _address(notify_url: str) -> tuple[str, int]:
    parts = urlsplit(notify_url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _tail(log: Path | None) -> str:
    text = log.read_text(errors="replace")[-1500:].strip() if log is not None else ""
    return f"; it printed:\n{text}" if text else ""


def _end(shop: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(shop.pid, number)
        except ProcessLookupError:
            break
        try:
            shop.wait(_END_TIMEOUT)
            break
        except subprocess.TimeoutExpired:
            continue
    shop.wait()
