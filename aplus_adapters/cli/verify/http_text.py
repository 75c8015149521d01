"""Read a captured message that is written as raw HTTP, or as headers and a body in two files."""

from __future__ import annotations

import gzip
import re
import zlib

from aplus_adapters.cli.verify.values import Captured
from aplus_adapters.errors import InvalidValue

__all__ = ["read_http", "read_parts"]

_START = re.compile(rb"(?:[A-Z]{3,8} \S+(?: HTTP/[0-9.]+)?|HTTP/[0-9.]+ [0-9]{3}.*)")
_LINE_END = re.compile(rb"\r?\n")


def read_http(content: bytes) -> Captured:
    """Return the message of a file that holds one: start line, headers, blank line, body.

    Raises InvalidValue if it is none.
    """
    head, blank, body = _split(content)
    if not blank:
        raise InvalidValue(
            "captured message: found no blank line after the headers, expected start line, "
            "headers, a blank line and the body"
        )
    return read_parts(head, body)


def read_parts(head: bytes, body: bytes) -> Captured:
    """Return the message of its headers, with or without a start line, and of its body."""
    lines = _LINE_END.split(head.strip(b"\r\n"))
    start = b""
    if lines and _START.fullmatch(lines[0].strip()):
        start = lines.pop(0).strip()
    headers = tuple(_header(line) for line in lines if line.strip())
    if not headers:
        raise InvalidValue("captured message: found no header, expected Client-Id and Signature")
    names = {name.lower(): value for name, value in headers}
    is_response = start.startswith(b"HTTP/") or (not start and "response-time" in names)
    url = ""
    if start and not is_response:
        url = start.split()[1].decode("latin-1")
    url = url or names.get(":path", "")  # HTTP/2 has no start line
    if url.startswith("/") and names.get("host"):
        url = f"https://{names['host']}{url}"
    return Captured(
        is_response=is_response, url=url, headers=headers, body=_plain_body(names, body)
    )


def _split(content: bytes) -> tuple[bytes, bytes, bytes]:
    match = re.search(rb"\r?\n\r?\n", content)
    if match is None:
        return content, b"", b""
    return content[: match.start()], match[0], content[match.end() :]


def _header(line: bytes) -> tuple[str, str]:
    name, colon, value = line.decode("latin-1").lstrip(":").partition(":")
    if not colon or " " in name.strip():
        raise InvalidValue(
            f"captured message: found the line {line[:40]!r}, expected a header such as "
            "Client-Id: C1, then a blank line and the body"
        )
    prefix = ":" if line.startswith(b":") else ""
    # In HTTP only blanks and tabs around a value do not belong to it.
    return prefix + name.strip(), value.strip(" \t")


def _plain_body(headers: dict[str, str], body: bytes) -> bytes:
    """Return the body without what HTTP puts around it on the way."""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = _without_chunks(body)
    if headers.get("content-encoding", "").lower() == "gzip" and body.startswith(b"\x1f\x8b"):
        try:
            body = gzip.decompress(body)
        except (OSError, EOFError, zlib.error):
            return body
    return body


def _without_chunks(body: bytes) -> bytes:
    """Return the joined chunks; the body itself if the capture has joined them already."""
    joined, rest = b"", body
    while match := re.match(rb"([0-9a-fA-F]{1,8})(?:;[^\r\n]*)?\r\n", rest):
        size = int(match[1], 16)
        joined += rest[match.end() : match.end() + size]
        if size == 0:
            return joined
        rest = rest[match.end() + size :].removeprefix(b"\r\n")
    return body
