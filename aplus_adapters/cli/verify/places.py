"""The paths, client ids and layouts that may have been signed in place of the right ones."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from attrs import frozen

from aplus_adapters.cli.verify.values import Cause, Kind, Variant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["API_PATHS", "LAYOUTS", "Layout", "client_id_variants", "path_variants"]

_REMEDIES = {
    Kind.REQUEST: "sign the path of the call: no host, no query, no change",
    Kind.RESPONSE: "verify with the path to which the request was sent",
    Kind.NOTIFICATION: (
        "set APLUS_NOTIFY_URL to the address that Alipay+ has, or APLUS_SIGNED_PATH to the signed "
        "path; never take the path from the request"
    ),
    Kind.ACKNOWLEDGEMENT: "sign the path of the notify URL that Alipay+ has",
}
_API = "/aps/api/v1/payments/"
API_PATHS = tuple(_API + name for name in ("pay", "inquiryPayment", "cancelPayment", "refund"))
"""The paths of the four calls."""
_LIKELY_PATHS = ("/aplus/notify", "/notify", "/", "")


def path_variants(
    kind: Kind, paths: tuple[str, ...], others: tuple[tuple[str, str], ...]
) -> list[Variant]:
    """Return the right paths first, then what else a signer or a proxy makes of them."""
    seen = {path: Variant(path.encode()) for path in paths}
    for path, code, meaning in (*_given(others), *_changed(paths, others), *_known()):
        text = f"signed was the path {path!r}, expected {paths[0]!r}: {meaning}"
        cause = Cause(code=code, text=text, remedy=_REMEDIES[kind])
        seen.setdefault(path, Variant(path.encode(), cause))
    return list(seen.values())


_Row = tuple[str, str, str]


def _given(others: tuple[tuple[str, str], ...]) -> Iterator[_Row]:
    for path, meaning in others:
        yield path, "query_signed" if "?" in path else "other_path", meaning


def _changed(paths: tuple[str, ...], others: tuple[tuple[str, str], ...]) -> Iterator[_Row]:
    expected = paths[0]
    for url in dict.fromkeys((*paths, *(other for other, _ in others))):
        parts = urlsplit(url) if "://" in url else None
        path = url if parts is None else parts.path
        if parts is not None:
            yield path, "other_path", "it is the path of another address"
            yield f"{parts.netloc}{path}", "host_signed", "the host was signed, too"
        bare = path.partition("?")[0]
        yield bare, "query_signed", "the query string was left out"
        yield bare.removesuffix("/"), "other_path", "the slash at its end is missing"
        yield bare + "/", "other_path", "a slash was added at its end"
        yield bare.lstrip("/"), "other_path", "the slash at its beginning is missing"
        yield unquote(bare), "other_path", "its percent-escapes were decoded"
        yield quote(bare), "other_path", "characters of it were percent-encoded"
        yield bare.lower(), "other_path", "in lower case"
        yield bare.replace("//", "/"), "other_path", "a double slash became one"
        segments = bare.strip("/").split("/")
        for count in range(1, len(segments)):
            prefix, rest = "/".join(segments[:count]), "/" + "/".join(segments[count:])
            text = f"without the prefix '/{prefix}', as a proxy or a mount takes it away"
            yield rest, "path_prefix", text
            text = f"with the prefix '/{prefix}', as a proxy or a mount adds it"
            yield f"/{prefix}{expected.partition('?')[0]}", "path_prefix", text


def _known() -> Iterator[_Row]:
    for path in API_PATHS:
        yield path, "other_path", "the path of another call"
        yield path.replace("/aps/", "/ams/"), "other_path", "a path of the sister API, Antom"
    for path in _LIKELY_PATHS:
        yield path, "other_path", "another path than the right one"


def client_id_variants(client_id: str, others: tuple[tuple[str, str], ...]) -> list[Variant]:
    """Return the right client id first, then others that may have been signed."""
    seen = {client_id: Variant(client_id.encode())}
    spellings = (client_id.strip(), client_id.lower(), client_id.upper(), "")
    meant = (*others, *((text, "the same spelt otherwise, or none") for text in spellings))
    for text, meaning in meant:
        cause = Cause(
            code="client_id",
            text=f"signed was the client id {text!r}: {meaning}; expected {client_id!r}",
            remedy="use one client id in settings, header and signature: that of this environment",
        )
        seen.setdefault(text, Variant(text.encode(), cause))
    return list(seen.values())


def _sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def _sha256_digits(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


@frozen
class Layout:
    """How path, client id, time and body are put together; `cause` is None for the right way."""

    template: bytes
    cause: Cause | None = None
    convert: Callable[[bytes], bytes] = bytes

    def write(self, path: bytes, client_id: bytes, time: bytes, body: bytes) -> bytes:
        """Return the signed content."""
        # Not `signing.signed_content`: what is tried here need not be UTF-8.
        parts = {b"path": path, b"client": client_id, b"time": time, b"body": body}
        return self.convert(self.template % parts)


_RIGHT = b"POST %(path)b\n%(client)b.%(time)b.%(body)b"
_ODD: tuple[tuple[str, bytes, Callable[[bytes], bytes]], ...] = (
    ("separated by CRLF, expected LF", _RIGHT.replace(b"\n", b"\r\n"), bytes),
    ("without its line end", _RIGHT.replace(b"\n", b""), bytes),
    ("with a space for its line end", _RIGHT.replace(b"\n", b" "), bytes),
    ("with a backslash and an n for its line end", _RIGHT.replace(b"\n", b"\\n"), bytes),
    ("without POST", _RIGHT.removeprefix(b"POST "), bytes),
    ("with post for POST", _RIGHT.replace(b"POST", b"post"), bytes),
    ("with GET for POST", _RIGHT.replace(b"POST", b"GET"), bytes),
    ("without method and path", _RIGHT.partition(b"\n")[2], bytes),
    ("without the points", _RIGHT.replace(b".", b""), bytes),
    ("the body alone", b"%(body)b", bytes),
    ("followed by a line end", _RIGHT + b"\n", bytes),
    ("hashed before signing", _RIGHT, _sha256),
    ("the hexadecimal digits of its hash", _RIGHT, _sha256_digits),
)
_FORM = r"sign POST {path}\n{client-id}.{time}.{body}, without a hash before"
LAYOUTS = (
    Layout(_RIGHT),
    *(
        Layout(
            template,
            Cause(code="content_form", text=f"the signed content is {text}", remedy=_FORM),
            convert,
        )
        for text, template, convert in _ODD
    ),
)
"""The right layout first, then others that were seen."""
