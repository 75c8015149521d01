"""Make the question of a captured message and of what is known about the account."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from attrs import frozen

from aplus_adapters.cli.verify.places import API_PATHS
from aplus_adapters.cli.verify.values import Captured, Kind, NamedKey, Question
from aplus_adapters.errors import InvalidValue

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Known", "ask", "guess_kind"]

_API = ("/aps/", "/ams/")


@frozen(kw_only=True)
class Known:
    """What is known besides the capture: from options and settings; "" is unknown."""

    keys: tuple[NamedKey, ...]
    client_id: str = ""
    gateway: str = ""
    notify_url: str = ""
    signed_path: str = ""
    key_version: str | None = None
    path: str = ""
    try_paths: tuple[str, ...] = ()
    try_client_ids: tuple[str, ...] = ()

    @property
    def notify_path(self) -> str:
        """Return the path that the settings say is signed in notifications; "" if unknown."""
        if self.signed_path or not self.notify_url:
            return self.signed_path
        return urlsplit(self.notify_url).path or "/"


def guess_kind(captured: Captured, known: Known) -> Kind:
    """Return which of the four messages it probably is."""
    path = known.path or urlsplit(captured.url).path
    names = _top_keys(captured.body)
    if path:
        is_call = path.startswith(_API) or (
            bool(known.gateway) and captured.url.startswith(known.gateway + "/")
        )
    elif captured.is_response:
        is_call = names != {"result"}  # an acknowledgement has nothing else
    else:
        is_call = "paymentResult" not in names
    if captured.is_response:
        return Kind.RESPONSE if is_call else Kind.ACKNOWLEDGEMENT
    return Kind.REQUEST if is_call else Kind.NOTIFICATION


def ask(captured: Captured, kind: Kind, known: Known) -> Question:
    """Return the question; raise InvalidValue if path or client id are nowhere to be found."""
    client_id = captured.header("client-id") or known.client_id
    if not client_id:
        raise InvalidValue(
            "client id: found none in the capture, expected one; pass --client-id or set "
            "APLUS_CLIENT_ID"
        )
    return Question(
        kind=kind,
        paths=_paths(captured, kind, known),
        client_id=client_id,
        own_client_id=known.client_id or None,
        time=captured.header(kind.time_header) or "",
        body=captured.body,
        signature=captured.header("signature"),
        keys=known.keys,
        key_version=known.key_version,
        hints=tuple(_hints(captured)),
        other_paths=tuple(_other_paths(captured, known)),
        other_client_ids=tuple(_other_client_ids(captured, known)),
        other_times=tuple(_other_times(captured, kind)),
    )


def _paths(captured: Captured, kind: Kind, known: Known) -> tuple[str, ...]:
    if known.path:
        return (known.path,)
    parts = urlsplit(captured.url)
    captured_path = (parts.path or "/") if captured.url else ""
    if kind in (Kind.REQUEST, Kind.RESPONSE):
        return (captured_path,) if captured_path else API_PATHS
    path = known.notify_path or captured_path
    if not path:
        raise InvalidValue(
            "path: found none in the capture, expected one; pass --path or set APLUS_NOTIFY_URL"
        )
    return (path,)


def _other_paths(captured: Captured, known: Known) -> Iterator[tuple[str, str]]:
    for path in known.try_paths:
        yield path, "a path that was given to try"
    if captured.url:
        parts = urlsplit(captured.url)
        if parts.query:
            yield f"{parts.path}?{parts.query}", "the query string was signed, too"
        yield parts.path or "/", "the path of the capture, which is not the configured one"
        if parts.netloc:
            yield captured.url, "the whole address was signed"
    if known.notify_url:
        parts = urlsplit(known.notify_url)
        yield parts.path or "/", "the path of APLUS_NOTIFY_URL"
        if parts.query:
            yield f"{parts.path}?{parts.query}", "the query string was signed, too"
        yield known.notify_url, "the whole notify URL was signed"


def _other_client_ids(captured: Captured, known: Known) -> Iterator[tuple[str, str]]:
    if known.client_id:
        yield known.client_id, "that of the settings"
    for client_id in known.try_client_ids:
        yield client_id, "one that was given to try"
    try:
        content = json.loads(captured.body)
    except (ValueError, RecursionError):
        return
    if isinstance(content, dict):
        for name, value in content.items():
            if isinstance(value, str) and 0 < len(value) <= 64:
                yield value, f"the body's {name}"


def _other_times(captured: Captured, kind: Kind) -> Iterator[tuple[str, str]]:
    for message in filter(None, (captured, captured.request)):
        for name in ("Request-Time", "Response-Time", "Date"):
            value = message.header(name)
            if value and not (message is captured and name == kind.time_header):
                whose = "" if message is captured else "the request's "
                yield value, f"{whose}{name} in place of {kind.time_header}"


def _hints(captured: Captured) -> Iterator[str]:
    length = captured.header("content-length") or ""
    is_coded = captured.header("content-encoding") or captured.header("transfer-encoding")
    if length.isdigit() and int(length) != len(captured.body) and not is_coded:
        yield (
            f"Content-Length says {length} bytes and the captured body has {len(captured.body)}: "
            "the capture does not hold the body as it travelled"
        )
    if "\ufffd".encode() in captured.body:
        yield "the captured body holds U+FFFD: bytes of it were lost when it was decoded"
    names = [name.lower() for name, _ in captured.headers]
    for name in ("client-id", "request-time", "response-time", "signature"):
        if names.count(name) > 1:
            yield f"the header {name} comes {names.count(name)} times, which this library refuses"


def _top_keys(body: bytes) -> set[str]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return set()
    return set(content) if isinstance(content, dict) else set()
