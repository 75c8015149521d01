"""JSON as the protocol uses it: every scalar is a string, and ambiguous JSON is refused.

What Python's `json` accepts and an attacker could use is refused here: duplicate keys, NaN, lone
surrogates, NUL, deep nesting, a byte order mark, anything that is not UTF-8. Numbers keep their own
digits: they never pass through int or float. `read` is for messages that Alipay+ signed: it repairs
details that decide nothing, so that the message is not lost.
"""

from __future__ import annotations

import json
import logging
from json.encoder import encode_basestring as quoted
from typing import Any, Never

from aplus_adapters.errors import InvalidValue, MessageError

__all__ = ["MAX_DEPTH", "Ambiguous", "dumps", "encoded", "loads", "quoted", "read", "text_of"]

MAX_DEPTH = 32  # the deepest legal message (goods inside order) has 5 levels

log = logging.getLogger("aplus_adapters")

_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def dumps(message: dict[str, Any]) -> bytes:
    """Encode a message to the exact bytes that are signed and sent.

    `message` holds only strings, objects and arrays. Raises InvalidValue for text that UTF-8 cannot
    hold.

    >>> dumps({"paymentRequestId": "pay-1", "isInStorePayment": "true"})
    b'{"paymentRequestId":"pay-1","isInStorePayment":"true"}'
    """
    return encoded(text_of(message))


def text_of(message: dict[str, Any]) -> str:
    """Return the JSON text of a message; InvalidValue if it holds what JSON does not have."""
    try:
        return _encoder.encode(message)
    except (TypeError, ValueError, RecursionError):
        raise InvalidValue(
            "message: found a Python object or NaN, which JSON cannot hold, expected text, "
            "objects and arrays"
        ) from None


def encoded(text: str) -> bytes:
    """Return the bytes of a JSON text; InvalidValue for text that UTF-8 cannot hold."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidValue(
            "message: found a lone surrogate, which UTF-8 cannot hold, expected text; "
            "clean the text before it is put into the message"
        ) from None


def loads(body: bytes) -> dict[str, Any]:
    """Decode a received message; numbers come out as the text of their digits.

    Returns the object. Raises MessageError for any other bytes.

    >>> loads(b'{"value": 1e400, "isInStorePayment": true}')
    {'value': '1e400', 'isInStorePayment': True}
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MessageError(
            f"message body: found bytes that are not UTF-8 at offset {error.start}, expected JSON"
        ) from None
    message = _decode(_strict, text, body)
    # Only an escape can bring in what is checked: raw, UTF-8 and JSON refuse it.
    if b"\\u" in body:
        _check_escapes(message)
    return message


class Ambiguous(dict[str, Any]):
    """A JSON object with repeated keys (`keys_twice`); the last value of each counts."""

    keys_twice: frozenset[str] = frozenset()


def read(body: bytes) -> dict[str, Any]:
    r"""Decode a message whose signature is verified, repairing what databases cannot store.

    Bytes that are not UTF-8, lone surrogates and NUL become U+FFFD. A byte order mark is dropped,
    NaN becomes text. An object with a repeated key becomes an `Ambiguous`: a field that decides is
    refused if its key is repeated. Raises MessageError if it is no JSON object.

    >>> read(b'{"a": "\\ud83c", "a": "x\\u0000"}')
    {'a': 'x�'}
    """
    # The signature was verified over the bytes, so that a repair here forges nothing.
    text = body.decode("utf-8", "replace").removeprefix("\ufeff")
    message = _decode(_tolerant, text, body)
    repaired = text.encode() != body
    if b"\\u" in body or b"\0" in body:
        cleaned = _cleaned(message)
        repaired, message = repaired or cleaned != message, cleaned
    if repaired:
        log.warning(
            "message: found text that is not UTF-8 or cannot be stored; it was replaced",
            extra={"event": "text_replaced"},
        )
    return message


def _decode(decoder: json.JSONDecoder, text: str, body: bytes) -> dict[str, Any]:
    try:
        message = decoder.decode(text)
        # Python's decoder recurses, so that very deep nesting ends it before we can count.
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        where = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise MessageError(
            f"message body: found no legal JSON{where}, expected an object"
        ) from None
    if not isinstance(message, dict):
        raise MessageError(
            f"message body: found a JSON {type(message).__name__}, expected an object"
        )
    # With fewer brackets it cannot be nested too deep, and need not be walked through.
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH:
        _check_depth(message)
    return message


def _marked(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) == len(pairs):
        return values
    ambiguous = Ambiguous(values)
    names = [name for name, _ in pairs]
    ambiguous.keys_twice = frozenset(name for name in values if names.count(name) > 1)
    return ambiguous


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        text = value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
        return text.replace("\0", "\ufffd")  # PostgreSQL stores no NUL
    if isinstance(value, list):
        return [_cleaned(child) for child in value]
    if not isinstance(value, dict):
        return value
    cleaned = _marked([(_cleaned(key), _cleaned(child)) for key, child in value.items()])
    if isinstance(value, Ambiguous):
        twice = cleaned.keys_twice if isinstance(cleaned, Ambiguous) else frozenset()
        cleaned = Ambiguous(cleaned)
        cleaned.keys_twice = twice | {_cleaned(key) for key in value.keys_twice}
    return cleaned


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise MessageError("message body: found a key twice in one object, expected it once")
    return values


def _refuse_constant(token: str) -> Never:
    raise MessageError(f"message body: found {token}, which JSON does not have")


_strict = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=str, parse_float=str, parse_constant=_refuse_constant
)
# strict=False: a raw control character in a text decides nothing.
_tolerant = json.JSONDecoder(
    object_pairs_hook=_marked, parse_int=str, parse_float=str, parse_constant=str, strict=False
)


def _check_depth(message: Any) -> None:
    level = [message]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for value in level
            for child in (value.values() if isinstance(value, dict) else value)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise _too_deep()


def _too_deep() -> MessageError:
    return MessageError(
        f"message body: found more than {MAX_DEPTH} levels of nesting, expected fewer"
    )


def _check_escapes(value: Any) -> None:
    """Raise MessageError for an escaped NUL or lone surrogate, which no database stores."""
    if isinstance(value, str):
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            raise MessageError("message body: found an escaped NUL or lone surrogate in a string")
    elif isinstance(value, dict):
        for key, child in value.items():
            _check_escapes(key)
            _check_escapes(child)
    elif isinstance(value, list):
        for child in value:
            _check_escapes(child)
