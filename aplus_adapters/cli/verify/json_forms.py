"""The other texts of the same JSON: spaces, order of keys, escapes and types."""

from __future__ import annotations

import json
import re
from itertools import islice, permutations, product
from typing import TYPE_CHECKING, Any

from aplus_adapters.protocol.messages import (
    inquiry,
    notification,
    order,
    pay,
    refund,
    result,
    settlement,
)
from aplus_adapters.protocol.messages.base import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["other_orders", "written_again"]

_LAYOUTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("compact", {"separators": (",", ":")}),
    ("with spaces after ',' and ':'", {"separators": (", ", ": ")}),
    ("with a space after ':'", {"separators": (",", ": ")}),
    ("with a space after ','", {"separators": (", ", ":")}),
    ("indented by 2", {"indent": 2}),
    ("indented by 4", {"indent": 4}),
    ("indented by tabs", {"indent": "\t"}),
)
# Of a notification, whose class has another order than the documentation's sample.
_SAMPLE = [
    "paymentResult",
    "acquirerId",
    "pspId",
    "paymentRequestId",
    "paymentId",
    "paymentTime",
    "paymentAmount",
    "customerId",
    "walletBrandName",
    "settlementAmount",
    "settlementQuote",
    "mppPaymentId",
]
_LARGEST = 65536  # bytes
_MOST_BRACKETS = 500
_MOST_ORDERS = 720  # of the keys of the outermost object: all orders of 6 keys


def written_again(body: bytes) -> Iterator[tuple[bytes, str]]:
    """Yield the JSON as other programs write it, and how: spaces, order, escapes, types."""
    content = _object(body)
    if not content:
        return
    for (shape, value), (layout, options), (escapes, rewrite) in product(
        _shapes(content), _LAYOUTS, _ESCAPES
    ):
        form = ", ".join(filter(None, (shape, layout, escapes)))
        text = rewrite(json.dumps(value, ensure_ascii=False, **options))
        yield text.encode("utf-8", "surrogatepass"), form


def other_orders(body: bytes) -> Iterator[tuple[bytes, str]]:
    """Yield the JSON with its outermost keys in each order, up to a limit, and that order.

    A program that sorts keys loses the order in which they came.
    """
    content = _object(body)
    documented = _documented(content)
    for keys in islice(permutations(content), _MOST_ORDERS):
        for inner in (content, documented, _flipped(documented)):
            yield _compact({key: inner[key] for key in keys}), ", ".join(keys)


def _object(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a body, empty if it is none or larger than any real message."""
    if len(body) > _LARGEST or body.count(b"[") + body.count(b"{") > _MOST_BRACKETS:
        return {}
    try:
        content = json.loads(body.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _compact(value: Any) -> bytes:
    data = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return data.encode("utf-8", "surrogatepass")


def _shapes(content: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "", content
    yield "with sorted keys", _sorted(content)
    documented = _documented(content)
    yield "in the documented order of keys", documented
    yield "in the documented order of keys, value before currency", _flipped(documented)
    yield "with value before currency", _flipped(content)
    yield "with every value a string", _each(content, _as_string)
    yield "with numbers in place of digits in strings", _each(content, _as_number)
    yield "without its null fields", _without(content, (None,))
    yield "without its empty fields", _without(content, (None, "", [], {}))


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(child) for child in value] if isinstance(value, list) else value


def _documented(value: Any) -> Any:
    """Return the content with the keys of each object in the order of the documentation."""
    if isinstance(value, dict):
        orders = ([codec.key for codec in kind.codecs] for kind in _kinds())
        keys = max((_SAMPLE, *orders), key=lambda known: len(value.keys() & set(known)))
        places = {key: place for place, key in enumerate(keys)}
        names = sorted(value, key=lambda key: places.get(key, len(places)))
        return {key: _documented(value[key]) for key in names}
    return [_documented(child) for child in value] if isinstance(value, list) else value


def _kinds() -> Iterator[type[Message]]:
    """Yield every class of a message and of an object inside one."""
    for module in (inquiry, notification, order, pay, refund, result, settlement):
        for kind in vars(module).values():
            if isinstance(kind, type) and issubclass(kind, Message):
                yield kind


def _flipped(value: Any) -> Any:
    """Return the content with the two keys of each amount in the other order."""
    if isinstance(value, dict):
        items = [(key, _flipped(child)) for key, child in value.items()]
        return dict(reversed(items) if set(value) == {"currency", "value"} else items)
    return [_flipped(child) for child in value] if isinstance(value, list) else value


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, dict):
        return {key: _each(child, change) for key, child in value.items()}
    return [_each(child, change) for child in value] if isinstance(value, list) else change(value)


def _as_string(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else value


def _as_number(value: Any) -> Any:
    if value in ("true", "false"):
        return value == "true"
    is_number = isinstance(value, str) and re.fullmatch(r"0|[1-9][0-9]{0,17}", value)
    return int(value) if is_number else value


def _without(value: Any, absent: tuple[Any, ...]) -> Any:
    if isinstance(value, dict):
        return {key: _without(child, absent) for key, child in value.items() if child not in absent}
    return [_without(child, absent) for child in value] if isinstance(value, list) else value


def _escaped(text: str, *, upper: bool = False) -> str:
    def escape(match: re.Match[str]) -> str:
        units = match[0].encode("utf-16-be", "surrogatepass").hex()
        units = units.upper() if upper else units
        return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))

    return re.sub(r"[^\x00-\x7f]", escape, text)


def _slashed(text: str) -> str:
    return text.replace("/", "\\/")


def _escape_each(characters: str, *, upper: bool = False) -> Callable[[str], str]:
    form = "\\u%04X" if upper else "\\u%04x"
    table = str.maketrans({character: form % ord(character) for character in characters})
    return lambda text: text.translate(table)


_go, _gson, _dotnet = _escape_each("<>&"), _escape_each("<>&='"), _escape_each("<>&+'`", upper=True)


_ESCAPES: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("", str),
    (r"with \/ for each /", _slashed),
    (r"with \u escapes", _escaped),
    (r"with \u escapes and \/ (as PHP writes)", lambda text: _escaped(_slashed(text))),
    (r"with \u escapes of upper-case digits", lambda text: _escaped(text, upper=True)),
    ("with <, > and & escaped (as Go writes)", _go),
    ("with <, >, &, = and ' escaped (as Gson writes)", _gson),
    ("with letters escaped as .NET does", lambda text: _escaped(_dotnet(text), upper=True)),
)
