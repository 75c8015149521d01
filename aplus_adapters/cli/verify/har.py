"""Read the messages of a HAR file, as browsers and proxies save it."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from aplus_adapters.cli.verify.values import Captured
from aplus_adapters.errors import InvalidValue

__all__ = ["is_har", "read_har"]


def is_har(content: bytes) -> bool:
    """Return whether the content looks like a HAR file."""
    return content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and b'"log"' in content[:4096]


def read_har(content: bytes, entry: int | None) -> list[Captured]:
    """Return request and response of an entry, counted from 1; None takes the only signed one.

    Raises InvalidValue if it is no HAR file, or which entries there are if it is not clear.
    """
    try:
        entries = json.loads(content.decode("utf-8-sig"))["log"]["entries"]
        exchanges = [_exchange(item) for item in entries]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidValue(
            f"HAR file: found no log of entries ({type(error).__name__}), expected HAR 1.2, such "
            "as a browser's 'Save all as HAR'"
        ) from None
    if entry is not None:
        if not 1 <= entry <= len(exchanges):
            raise InvalidValue(f"--entry: found {entry}, expected 1 to {len(exchanges)}")
        return exchanges[entry - 1]
    signed = [
        (number, exchange)
        for number, exchange in enumerate(exchanges, 1)
        if any(message.header("signature") for message in exchange)
    ]
    if len(signed) != 1:
        shown = signed or list(enumerate(exchanges, 1))
        rows = "; ".join(f"{number}: {exchange[0].url[:80]}" for number, exchange in shown[:20])
        raise InvalidValue(
            f"HAR file: found {len(signed)} entries with a signature, expected one; choose one by "
            f"--entry N: {rows}"
        )
    return signed[0][1]


def _exchange(item: dict[str, Any]) -> list[Captured]:
    sent, received = item["request"], item.get("response") or {}
    request = Captured(
        is_response=False,
        url=_text(sent["url"]),
        headers=_headers(sent),
        body=str((sent.get("postData") or {}).get("text") or "").encode("utf-8", "surrogatepass"),
    )
    if not received.get("status"):  # there was no answer
        return [request]
    answer = Captured(
        is_response=True,
        url=_text(sent["url"]),
        headers=_headers(received),
        body=_content(received.get("content") or {}),
        request=request,
    )
    return [request, answer]


def _headers(message: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((_text(row["name"]), _text(row["value"])) for row in message["headers"])


def _text(value: Any) -> str:
    # JSON can hold half a character, which no header or address can.
    return str(value).encode("utf-8", "replace").decode()


def _content(content: dict[str, Any]) -> bytes:
    text = str(content.get("text") or "")
    if content.get("encoding") != "base64":
        return text.encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(text)
    except binascii.Error:
        return b""
