r"""Signatures over messages: what is signed, the `Signature` header, and its verification.

Signed are the UTF-8 bytes of `POST {path}\n{client-id}.{time}.{body}`, with the time as it
stands in the header and the body exactly as it travels. Source: protocol, "Signature".
"""

from __future__ import annotations

import base64
import binascii
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote_to_bytes

from aplus_adapters.errors import SignatureError

if TYPE_CHECKING:
    from aplus_adapters.protocol.keys import KeyRing, PrivateKey

__all__ = ["SignatureHeader", "parse_header", "sign", "signed_content", "verify"]

_MAX_HEADER = 4096  # a 4096-bit signature with every character percent-encoded is 2100 long
_ESCAPES = (("+", "%2B"), ("/", "%2F"), ("=", "%3D"))
_SAFE = (("+", "-"), ("/", "_"), ("=", ""))


class SignatureHeader(NamedTuple):
    """The parsed `Signature` header: which key made it, and its bytes."""

    key_version: str
    signature: bytes

    def __repr__(self) -> str:
        return f"SignatureHeader(key_version={self.key_version!r})"


def signed_content(path: str, client_id: str, time: str, body: bytes) -> bytes:
    r"""Return the bytes that a signature covers.

    `path` has its leading slash and neither host nor query string, `time` is the header's own text.

    >>> signed_content("/aplus/notify", "C1", "2026-11-23T12:00:00Z", b"{}")
    b'POST /aplus/notify\nC1.2026-11-23T12:00:00Z.{}'
    """
    # The body as it travels: read and written again it could differ in a byte.
    return f"POST {path}\n{client_id}.{time}.".encode() + body


def sign(key: PrivateKey, key_version: str, content: bytes, *, urlsafe: bool = False) -> str:
    """Return the value of the `Signature` header over `content`.

    The value is percent-encoded base64, as the official SDKs send it; with `urlsafe` it is
    base64url without padding, as the documentation's formula says.
    """
    value = base64.b64encode(key.sign(content)).decode()
    for character, escape in _SAFE if urlsafe else _ESCAPES:
        value = value.replace(character, escape)
    return f"algorithm=RSA256,keyVersion={key_version},signature={value}"


def verify(keys: KeyRing, header: str | None, content: bytes) -> None:
    """Raise SignatureError unless `header` holds a valid signature over `content`.

    `header` is the value of the `Signature` header, None if there was none.
    """
    parsed = parse_header(header)
    keys.verify(parsed.key_version, parsed.signature, content)


def parse_header(header: str | None) -> SignatureHeader:
    """Read a `Signature` header; SignatureError if it is missing or malformed.

    Accepts spaces around commas, any order, unknown keys, and the value in base64, percent-encoded
    base64 or base64url with or without padding. Refuses a key named twice and every algorithm but
    RSA256, in any case.
    """
    if not header:
        raise SignatureError("signature: found no Signature header, expected a signed message")
    if len(header) > _MAX_HEADER:
        raise SignatureError(
            f"signature: found a header of {len(header)} characters, expected at most {_MAX_HEADER}"
        )
    # The SDKs send it last, so the part before it is the same for a key and can be cached.
    before, usual, value = header.rpartition(",signature=")
    if usual and "," not in value:
        return SignatureHeader(_key_version(before), _decode(value.strip(" \t")))
    items = _items(header)
    value = items.pop("signature", "")
    return SignatureHeader(_check(items), _decode(value))


def _items(text: str) -> dict[str, str]:
    items: dict[str, str] = {}
    for item in text.split(","):
        # At the first = only, because base64 may end with some.
        name, equals, value = item.partition("=")
        name = name.strip(" \t")
        # With a key twice, two readers could take two different values.
        if not equals or name in items:
            raise _malformed()
        items[name] = value.strip(" \t")
    return items


def _check(items: dict[str, str]) -> str:
    """Return the keyVersion of all items but the signature."""
    algorithm = items.get("algorithm", "")
    # upper() turns some letters that are not ASCII into ASCII ones.
    if not algorithm.isascii() or algorithm.upper() != "RSA256":
        raise SignatureError(
            f"signature: found algorithm {items.get('algorithm', '')[:20]!r}, expected RSA256"
        )
    # The one at the end was taken out before, so this one is a second.
    if "signature" in items:
        raise _malformed()
    if not items.get("keyVersion"):
        raise SignatureError("signature: found no keyVersion, expected one")
    return items["keyVersion"]


@lru_cache(maxsize=64)
def _key_version(before: str) -> str:
    return _check(_items(before))


def _malformed() -> SignatureError:
    return SignatureError(
        "signature: found an item twice or one without '=', expected "
        "algorithm=RSA256,keyVersion=...,signature=..."
    )


def _decode(value: str) -> bytes:
    if not value:
        raise SignatureError("signature: found no signature, expected one")
    text = _unquote(value) if "%" in value else value
    # base64url is what the documentation says and what some integrations send.
    text = text.replace("-", "+").replace("_", "/")
    if not text.endswith("="):
        text += "=" * (-len(text) % 4)
    try:
        raw = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        raise _not_base64() from None
    # The decoder ignores the unused bits at the end, and padding where none belongs. We allow one
    # spelling only, so that every flipped bit is noticed.
    end = raw[-(len(raw) % 3 or 3) :]
    if binascii.b2a_base64(end, newline=False) != text[-4:].encode():
        raise _not_base64()
    return raw


def _unquote(value: str) -> str:
    """Undo percent-encoding; not unquote_plus, because a raw + is a + here."""
    # What base64 needs, and fast.
    value = value.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=")
    return unquote_to_bytes(value).decode("latin-1") if "%" in value else value


def _not_base64() -> SignatureError:
    return SignatureError("signature: found a value that is not base64, expected base64")
