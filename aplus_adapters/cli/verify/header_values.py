"""Read a `Signature` header, also in the damaged spellings that are known."""

from __future__ import annotations

import base64
import contextlib
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from attrs import field, frozen

from aplus_adapters.cli.verify.values import Cause
from aplus_adapters.errors import SignatureError
from aplus_adapters.protocol import signing

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["HeaderValue", "read_values"]

_ENCODING = "encode the value as base64 with padding, then percent-encode it once"


@frozen(kw_only=True)
class HeaderValue:
    """One reading of the header: `causes` is empty if the library reads it so itself."""

    signature: bytes = field(repr=False)
    key_version: str | None
    causes: tuple[Cause, ...] = ()
    remarks: tuple[str, ...] = ()


def read_values(header: str) -> Iterator[HeaderValue]:
    """Yield each reading that gives bytes: first as the library reads it, then as repaired."""
    seen: set[bytes] = set()
    with contextlib.suppress(SignatureError):
        parsed = signing.parse_header(header)
        remarks = (_base64url(),) if _is_urlsafe(header) else ()
        seen.add(parsed.signature)
        yield HeaderValue(
            signature=parsed.signature, key_version=parsed.key_version, remarks=remarks
        )
    items, causes = _items(header)
    for value, cause in _repaired(items.get("signature", "")):
        signature = _decode(value)
        if signature is not None and signature not in seen:
            seen.add(signature)
            every = causes if cause is None else (*causes, cause)
            yield HeaderValue(
                signature=signature,
                key_version=items.get("keyVersion"),
                causes=every or (_loose_base64(),),
            )


def _items(header: str) -> tuple[dict[str, str], tuple[Cause, ...]]:
    """Return the items of a header that the library refuses, and what is wrong around the value."""
    causes: list[Cause] = []
    if "signature=" not in header:
        text = "the Signature header holds the bare value, expected algorithm=RSA256,keyVersion=..."
        remedy = "send algorithm=RSA256,keyVersion=1,signature=<value>"
        return {"signature": header}, (_cause("bare_header", text, remedy),)
    before, _, value = header.rpartition("signature=")
    items = {"signature": value.strip().rstrip(",")}
    for part in re.split(r"[,;]", before):
        name, equals, content = part.strip().partition("=")
        if equals:
            items[name.strip()] = content.strip().strip('"')
    algorithm = items.get("algorithm", "")
    if algorithm.upper() != "RSA256":
        text = f"the Signature header names the algorithm {algorithm[:20]!r}, expected RSA256"
        causes.append(_cause("algorithm_name", text, "write algorithm=RSA256"))
    if not items.get("keyVersion"):
        text = "the Signature header names no keyVersion, expected one"
        causes.append(_cause("no_key_version", text, "write keyVersion=1"))
    if ";" in before:
        text = "the items of the Signature header are separated by ';', expected ','"
        causes.append(_cause("header_separator", text, "write commas"))
    return items, tuple(causes)


def _repaired(value: str) -> Iterator[tuple[str, Cause | None]]:
    yield value, None
    plain = value.strip("\"'")
    if plain != value:
        text = "the signature's value stands in quotes, expected it bare"
        yield plain, _cause("quoted", text, "leave the quotes out")
    once = unquote(plain)
    twice = unquote(once)
    if twice != once:
        text = "the signature was percent-encoded twice, expected once"
        yield twice, _cause("percent_encoded_twice", text, _ENCODING)
    if " " in once:
        text = "each '+' of the signature became a space: it was decoded as a form's field"
        remedy = "percent-encode the value (+ as %2B), and never decode it with unquote_plus"
        yield once.replace(" ", "+"), _cause("plus_became_space", text, remedy)
    folded = re.sub(r"\s+", "", once)
    if folded != once:
        text = "white space stands inside the signature: its base64 was broken into lines"
        yield folded, _cause("broken_into_lines", text, "encode base64 without line breaks")
    if re.fullmatch(r"(?:[0-9a-fA-F]{2}){128,512}", once):
        again = base64.b64encode(bytes.fromhex(once)).decode()
        text = "the signature is written in hexadecimal digits, expected base64"
        yield again, _cause("hexadecimal", text, _ENCODING)
    inner = _decode(once)
    if inner is not None and re.fullmatch(rb"[A-Za-z0-9+/=_\-]+", inner):
        text = "the signature was encoded in base64 twice, expected once"
        yield inner.decode(), _cause("base64_twice", text, _ENCODING)


def _decode(value: str) -> bytes | None:
    """Return the bytes of base64 or base64url with or without padding, otherwise None."""
    text = unquote(value).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True) or None
    except ValueError:
        return None


def _is_urlsafe(header: str) -> bool:
    value = unquote(header.rpartition("signature=")[2])
    return "-" in value or "_" in value


def _base64url() -> str:
    return (
        "the signature is base64url; this library reads it, but the official SDKs send and expect "
        "base64 that is percent-encoded"
    )


def _loose_base64() -> Cause:
    text = "the signature's base64 has wrong padding, or bits that no byte needs"
    return _cause("loose_base64", text, _ENCODING)


def _cause(code: str, text: str, remedy: str) -> Cause:
    return Cause(code=code, text=text, remedy=remedy)
