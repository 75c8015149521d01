"""The bodies that may have been signed in place of the captured one."""

from __future__ import annotations

import gzip
import json
import re
import unicodedata
import zlib
from typing import TYPE_CHECKING

from aplus_adapters.cli.verify.json_forms import other_orders, written_again
from aplus_adapters.cli.verify.values import Cause, Variant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["body_variants", "reordered_bodies"]

_RAW = "verify and sign the raw bytes that travel; never parse and write the JSON again"
_CHARSETS = ("latin-1", "cp1252", "utf-16-le", "utf-16", "gb18030", "shift_jis", "euc_kr", "big5")


def body_variants(body: bytes) -> list[Variant]:
    """Return the captured body first, then what may have been signed, each once, likely ones first.

    `cause` says how the captured body differs from it.
    """
    rows = (*_edges(body), *_encodings(body), *_written_again(body))
    seen: dict[bytes, Variant] = {body: Variant(body)}
    for value, code, text, remedy in rows:
        seen.setdefault(value, Variant(value, Cause(code=code, text=text, remedy=remedy)))
    return list(seen.values())


def reordered_bodies(body: bytes) -> Iterator[Variant]:
    """Yield the body with its outermost keys in each order, up to a limit: only to try alone."""
    for value, keys in other_orders(body):
        text = f"the keys of the body are in another order; signed was {keys}"
        yield Variant(value, Cause(code="key_order", text=text, remedy=_RAW))


_Row = tuple[bytes, str, str, str]


def _edges(body: bytes) -> Iterator[_Row]:
    """Yield what differs at the ends and in the line ends."""
    raw = "capture and send the body without an editor, and sign the very bytes that are sent"
    code = "trailing_newline"
    for end in (b"\n", b"\r\n"):
        yield body + end, code, "the signed body ends with a line end that is lost here", raw
        if body.endswith(end):
            text = "a line end was added at the end of the body after signing"
            yield body.removesuffix(end), code, text, raw
    stripped = body.strip()
    yield stripped, "outer_space", "white space was added around the body after signing", raw
    unix = body.replace(b"\r\n", b"\n")
    text = "the line ends of the signed body are CRLF and here LF"
    yield unix.replace(b"\n", b"\r\n"), "line_ends", text, raw
    yield unix, "line_ends", "the line ends of the signed body are LF and here CRLF", raw
    for lines in (re.sub(rb"[\r\n]", b"", body), re.sub(rb"[\r\n]\s*", b"", body)):
        yield lines, "line_ends", "line ends were added inside the body after signing", raw
    mark = b"\xef\xbb\xbf"
    yield mark + body, "byte_order_mark", "the signed body begins with a byte order mark", raw
    text = "a byte order mark was added to the body after signing"
    yield body.removeprefix(mark), "byte_order_mark", text, raw
    yield b"", "empty_body", "the signature is over no body at all", "sign the body's bytes"


def _encodings(body: bytes) -> Iterator[_Row]:
    """Yield the same text in other bytes."""
    code, remedy = "charset", "write the body as UTF-8 once, and sign and send these bytes"
    for charset in _CHARSETS:
        for value in (_coded(body, "utf-8", charset), _coded(body, charset, "utf-8")):
            text = f"the body is in another charset than it was signed in ({charset})"
            yield value, code, text, remedy
    for charset in ("ascii", "latin-1"):
        text = "letters of the signed body had become '?': it was encoded as " + charset
        yield _coded(body, "utf-8", charset, "replace"), code, text, remedy
    for form, normal in (("NFC", _composed), ("NFD", _decomposed)):
        text = f"letters of the signed body are composed otherwise (Unicode {form})"
        yield _text(body, normal), "unicode_form", text, _RAW
    text = "the captured body is compressed, the signed one is not"
    yield _inflated(body), "compressed", text, "verify the body before anything compresses it"
    text = "the body was signed as a JSON string of itself"
    as_string = _text(body, lambda plain: json.dumps(plain, ensure_ascii=False))
    yield as_string, "json_string", text, "encode the object once, not its text again"
    text = "HTML escapes stand in the captured body, not in the signed one"
    yield _text(body, _without_html), "html_escapes", text, _RAW


def _written_again(body: bytes) -> Iterator[_Row]:
    for value, form in written_again(body):
        text = f"the body was parsed and written again; the signed one is {form}"
        yield value, "body_written_again", text, _RAW


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _decomposed(text: str) -> str:
    return unicodedata.normalize("NFD", text)


def _without_html(text: str) -> str:
    for escape, character in (("&quot;", '"'), ("&#34;", '"'), ("&lt;", "<"), ("&gt;", ">")):
        text = text.replace(escape, character)
    return text.replace("&amp;", "&")


def _coded(body: bytes, source: str, target: str, errors: str = "strict") -> bytes:
    """Return the body's text in another charset; the body itself if that cannot be."""
    try:
        return body.decode(source).encode(target, errors)
    except UnicodeError:
        return body


def _text(body: bytes, change: Callable[[str], str]) -> bytes:
    try:
        return change(body.decode()).encode()
    except UnicodeError:
        return body


def _inflated(body: bytes) -> bytes:
    try:
        return gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body
    except (OSError, EOFError, zlib.error):
        return body
