r"""Signatures over messages: what is signed, the `Signature` header, and its verification.

Signed are the UTF-8 bytes of `POST {path}\n{client-id}.{time}.{body}`, with the time as it
stands in the header and the body exactly as it travels. Source: protocol, "Signature".
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes

from attrs import frozen

from aplus_adapters.errors import SignatureError

if TYPE_CHECKING:
    from aplus_adapters.protocol.keys import KeyRing, PrivateKey

__all__ = ["SignatureHeader", "parse_header", "sign", "signed_content", "verify"]

_MAX_HEADER = 4096  # a 4096-bit signature with every character percent-encoded is 2100 long
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_"
# What the last character may be, by padding: the bits that it carries beyond whole bytes are zero,
# so that each signature has one spelling and no flipped bit goes unnoticed.
_LAST = (_ALPHABET, _ALPHABET[0:64:4], _ALPHABET[0:64:16], "")


@frozen(repr=False)
class SignatureHeader:
    """The parsed `Signature` header: which key made it, and its bytes."""

    key_version: str
    signature: bytes

    def __repr__(self) -> str:
        return f"SignatureHeader(key_version={self.key_version!r})"


def signed_content(path: str, client_id: str, time: str, body: bytes) -> bytes:
    r"""Give the bytes that a signature covers.

    `path` has its leading slash and neither host nor query string, `time` is the header's own text.

    >>> signed_content("/aplus/notify", "C1", "2026-11-23T12:00:00Z", b"{}")
    b'POST /aplus/notify\nC1.2026-11-23T12:00:00Z.{}'
    """
    return b"POST %b\n%b.%b.%b" % (path.encode(), client_id.encode(), time.encode(), body)


def sign(key: PrivateKey, key_version: str, content: bytes, *, urlsafe: bool = False) -> str:
    """Give the value of the `Signature` header over `content`.

    The value is percent-encoded base64, as the official SDKs send it; with `urlsafe` it is
    base64url without padding, as the documentation's formula says.
    """
    raw = key.sign(content)
    if urlsafe:
        value = base64.urlsafe_b64encode(raw).decode().rstrip("=")
    else:
        value = quote(base64.b64encode(raw), safe="")
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
    RSA256.
    """
    if not header:
        raise SignatureError("signature: found no Signature header, expected a signed message")
    if len(header) > _MAX_HEADER:
        raise SignatureError(
            f"signature: found a header of {len(header)} characters, expected at most {_MAX_HEADER}"
        )
    items: dict[str, str] = {}
    for item in header.split(","):
        name, equals, value = item.partition("=")
        name = name.strip(" \t")
        if not equals or name in items:
            raise SignatureError(
                "signature: found an item twice or one without '=', expected "
                "algorithm=RSA256,keyVersion=...,signature=..."
            )
        items[name] = value.strip(" \t")
    if items.get("algorithm") != "RSA256":
        raise SignatureError(
            f"signature: found algorithm {items.get('algorithm', '')[:20]!r}, expected RSA256"
        )
    if not items.get("keyVersion") or not items.get("signature"):
        raise SignatureError("signature: found no keyVersion or no signature, expected both")
    return SignatureHeader(items["keyVersion"], _decode(items["signature"]))


def _decode(value: str) -> bytes:
    if "%" in value:
        # Not unquote_plus: a raw + is a + here. The three escapes that the SDKs send go first
        # because unquoting in general costs a quarter of a verification.
        value = value.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=")
        if "%" in value:
            try:
                value = unquote_to_bytes(value).decode("ascii")
            except UnicodeDecodeError:
                raise _not_base64() from None
    text = value.rstrip("=")
    padding = -len(text) % 4
    if len(value) - len(text) not in (0, padding) or text[-1:] not in _LAST[padding]:
        raise _not_base64()
    if "-" in text or "_" in text:
        text = text.replace("-", "+").replace("_", "/")
    try:
        return binascii.a2b_base64(text + "=" * padding, strict_mode=True)
    except ValueError:
        raise _not_base64() from None


def _not_base64() -> SignatureError:
    return SignatureError("signature: found a value that is not base64, expected base64")
