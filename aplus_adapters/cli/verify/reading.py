"""Read captured messages from whatever file holds them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aplus_adapters.cli.verify.curl import is_curl, read_curl
from aplus_adapters.cli.verify.har import is_har, read_har
from aplus_adapters.cli.verify.http_text import read_http, read_parts

if TYPE_CHECKING:
    from aplus_adapters.cli.verify.values import Captured

__all__ = ["read_captured"]


def read_captured(
    file: Path | None,
    *,
    headers: Path | None = None,
    body: Path | None = None,
    entry: int | None = None,
) -> list[Captured]:
    """Return the messages of a HAR, a curl command, raw HTTP, or of a header and a body file.

    A HAR entry gives request and response, everything else one message. Raise UsageError for a
    wrong choice of files and InvalidValue for a file that holds no message.
    """
    if headers is not None and body is not None and file is None:
        return [read_parts(headers.read_bytes(), body.read_bytes())]
    if file is None or headers is not None or body is not None:
        raise click.UsageError("expected FILE, or --headers and --body together")
    try:
        content = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        message = f"cannot read {file} ({error.strerror}), expected a captured message"
        raise click.BadParameter(message, param_hint="FILE") from None
    if is_har(content):
        return read_har(content, entry)
    if entry is not None:
        raise click.UsageError("found --entry, expected it with a HAR file only")
    folder = Path() if str(file) == "-" else file.parent
    return [read_curl(content, folder) if is_curl(content) else read_http(content)]
