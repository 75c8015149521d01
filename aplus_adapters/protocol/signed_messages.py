"""The signed HTTP messages around the JSON: sign what we send, verify what arrives.

A request carries Client-Id, Request-Time and Signature; its answer Client-Id, Response-Time and
Signature. Notifications and acknowledgements are the same with the roles exchanged. Source:
protocol, "Transport" and "Signature".
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

from attrs import field, frozen

from aplus_adapters.errors import InvalidValue, MessageError, NotificationError, SignatureError
from aplus_adapters.protocol import signing
from aplus_adapters.protocol.account import Account
from aplus_adapters.protocol.messages.notification import PaymentNotification
from aplus_adapters.protocol.timestamps import Timestamp, check_aware

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

log = logging.getLogger("aplus_adapters")

__all__ = [
    "JSON_TYPE",
    "MAX_AGE",
    "MAX_AHEAD",
    "MAX_SKEW",
    "Answer",
    "SignedRequest",
    "acknowledge",
    "read_headers",
    "read_notification_headers",
    "sign_request",
    "verify_answer",
    "verify_notification",
    "verify_read_notification",
]

JSON_TYPE = "application/json; charset=UTF-8"

# Servers disagree about a header that comes twice or with an underscore for its hyphen (joined,
# first wins, last wins), so none of these may come in such a shape.
_PROTOCOL_HEADERS = frozenset(
    {"client-id", "request-time", "response-time", "signature", "agent-token", "tracerid"}
)
# These decide nothing: if they are repeated the first counts.
_INFORMAL = frozenset({"tracerid"})
_MAX_ID = 128

MAX_AGE = timedelta(hours=48)
"""How old a notification may be: the last re-send comes after 24 h 22 min."""

MAX_SKEW = timedelta(minutes=10)
"""How far an answer's Response-Time may be from our clock; the allowed skew is not documented."""

NOTABLE_SKEW = timedelta(seconds=30)
"""A larger difference between the clocks is logged."""

MAX_AHEAD = timedelta(minutes=15)
"""How far ahead of ours Alipay+'s clock may be; the allowed skew is not documented."""


@frozen(kw_only=True)
class SignedRequest:
    """One request on its way to Alipay+; `body` is what was stored and signed."""

    client_id: str
    url: str
    path: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)  # an Agent-Token is a secret
    body: bytes = field(repr=False)


@frozen(kw_only=True)
class Answer:
    """An HTTP answer that is not verified yet."""

    status: int
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)


def sign_request(account: Account, path: str, body: bytes, now: datetime) -> SignedRequest:
    """Sign `body` for the API path at the time `now` (aware): UTC with milliseconds is sent."""
    time = Timestamp.of(now).text
    content = signing.signed_content(path, account.client_id, time, body)
    return SignedRequest(
        client_id=account.client_id,
        url=account.gateway + path,
        path=path,
        headers=_signed_headers(account, "Request-Time", time, content, account.agent_token),
        body=body,
    )


def verify_answer(
    account: Account, request: SignedRequest, answer: Answer, *, now: datetime
) -> datetime:
    """Return the answer's Response-Time if Alipay+ signed it, byte for byte, for this request.

    `now` is when it arrived (aware). The signature does not cover the request: an answer more than
    MAX_SKEW older or newer may belong to another one. Raises SignatureError.
    """
    headers = read_headers(answer.headers, SignatureError)
    time = headers.get("response-time")
    if not headers.get("signature"):
        raise SignatureError(
            "answer: found no signature, which proves nothing; Alipay+ leaves it out where it "
            "cannot accept ours: compare client id, our key's fingerprint and APLUS_KEY_VERSION "
            "with the developer center (`aplus doctor`)"
        )
    if time is None:
        raise SignatureError("answer: found no Response-Time header, expected a signed answer")
    # It may be missing: the signature covers our client id in any case.
    if headers.get("client-id", account.client_id) != account.client_id:
        raise SignatureError("answer: found another Client-Id than ours")
    content = signing.signed_content(request.path, account.client_id, time, answer.body)
    signing.verify(account.alipayplus_keys, headers.get("signature"), content)
    try:
        said_at = Timestamp(time).moment
    except InvalidValue as error:
        raise SignatureError(f"answer Response-Time: {error}") from None
    if abs(now - said_at) > MAX_SKEW:
        raise SignatureError(
            f"answer: found Response-Time {time}, at {now.isoformat()} expected one at most "
            f"{MAX_SKEW} away; it answers another request, or this machine's clock is wrong"
        )
    if abs(now - said_at) > NOTABLE_SKEW:
        log.warning(
            "this machine's clock is %+.0f s away from Alipay+'s; synchronize it, as codes expire "
            "by Alipay+'s clock",
            (now - said_at).total_seconds(),
            extra={"event": "clock_differs"},
        )
    return said_at


def verify_notification(
    account: Account,
    headers: Iterable[tuple[str, str]],
    body: bytes,
    *,
    now: datetime,
    max_age: timedelta = MAX_AGE,
    max_ahead: timedelta = MAX_AHEAD,
) -> PaymentNotification:
    """Return the notification if Alipay+ signed it for this account, otherwise NotificationError.

    `headers` are all pairs as they arrived, `body` the raw bytes, `now` is aware. Request-Time may
    be at most `max_age` old and at most `max_ahead` in the future, both inclusive. Nothing of the
    body is parsed before its signature is verified. The error carries the HTTP status: 400
    malformed, 401 not authentic. Raises InvalidValue for arguments of another kind, such as a
    dictionary of headers, in which those that came twice are lost.
    """
    _check_kinds(account, body, max_age=max_age, max_ahead=max_ahead)
    check_aware(now)
    listed = isinstance(headers, Iterable) and not isinstance(headers, Mapping)
    pairs = tuple(headers) if listed else ()
    if not listed or not all(map(_is_pair, pairs)):
        raise InvalidValue(
            f"headers: found {type(headers).__name__}, expected all pairs of name and value as "
            "text, such as request.headers.items()"
        )
    read = read_notification_headers(pairs)
    return verify_read_notification(
        {account.client_id: account}, read, body, now=now, max_age=max_age, max_ahead=max_ahead
    )[1]


def read_notification_headers(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return a notification's headers by lower-case name.

    Raises NotificationError for one that is missing, comes twice or has an underscore twin.
    """
    read = read_headers(headers, NotificationError)
    for name in ("client-id", "request-time", "signature"):
        if name not in read:
            raise NotificationError(f"notification: found no {name} header, expected one")
    return read


def verify_read_notification(
    accounts: Mapping[str, Account],
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: datetime,
    max_age: timedelta,
    max_ahead: timedelta,
) -> tuple[Account, PaymentNotification]:
    """Return the account (by its client id) that a notification is for, and what it says.

    `headers` are what `read_notification_headers` returns; the rest is as in `verify_notification`.
    """
    # The header only chooses the keys; it is part of what the signature covers.
    account = accounts.get(headers["client-id"])
    if account is None:
        raise NotificationError(
            f"notification: found Client-Id {headers['client-id'][:_MAX_ID]!r}, expected one of "
            f"ours ({', '.join(accounts)}); pass every account to AplusPay",
            status=401,
        )
    time = headers["request-time"]
    try:
        moment = Timestamp(time).moment
    except InvalidValue as error:
        raise NotificationError(f"notification Request-Time: {error}") from None
    # The configured path: mounts, proxies and a forged Host change the one that we see.
    content = signing.signed_content(account.signed_path, account.client_id, time, body)
    try:
        signing.verify(account.alipayplus_keys, headers["signature"], content)
    except SignatureError as error:
        raise NotificationError(f"notification: {error}", status=401) from None
    if not -max_ahead <= now - moment <= max_age:
        raise NotificationError(
            f"notification: found Request-Time {time}, at {now.isoformat()} expected one at most "
            f"{max_age} old and {max_ahead} ahead; compare this machine's clock",
            status=401,
        )
    try:
        return account, PaymentNotification.decode(body)
    except MessageError as error:
        raise NotificationError(f"notification: {error}") from None


def acknowledge(
    account: Account, body: bytes, now: datetime, agent_token: str | None = None
) -> tuple[tuple[str, str], ...]:
    """Return the headers that make `body` our signed acknowledgement at the time `now` (aware).

    Response-Time is cut to whole seconds, so that equal acknowledgements within a second are equal
    byte for byte: RSA with PKCS#1 v1.5 is deterministic, and one signature serves them all.
    `agent_token` is echoed when the notification brought one. Raises InvalidValue for an account or
    a body of another kind.
    """
    _check_kinds(account, body)
    check_aware(now)
    time = _response_time(now.replace(microsecond=0))
    content = signing.signed_content(account.signed_path, account.client_id, time, body)
    return _signed_headers(account, "Response-Time", time, content, agent_token, sign=_sign_once)


def _check_kinds(account: object, body: object, **durations: object) -> None:
    """Raise InvalidValue unless these are an account, raw bytes and durations."""
    expected = [("account", account, Account), ("body", body, bytes)]
    expected += [(name, duration, timedelta) for name, duration in durations.items()]
    for name, value, kind in expected:
        if not isinstance(value, kind):
            raise InvalidValue(
                f"{name}: found {type(value).__name__}, expected {kind.__name__}; the body is the "
                "raw bytes, as they arrived or are sent"
            )


def _is_pair(item: object) -> bool:
    if not isinstance(item, tuple | list) or len(item) != 2:
        return False
    return all(isinstance(part, str) for part in item)


def read_headers(
    headers: Iterable[tuple[str, str]], error: type[SignatureError | NotificationError]
) -> dict[str, str]:
    """Return the protocol's headers by lower-case name.

    Raises `error` for one that comes twice or has an underscore twin.
    """
    values: dict[str, str] = {}
    for name, value in headers:
        plain = name.lower().replace("_", "-")
        if plain not in _PROTOCOL_HEADERS:
            continue
        if plain in _INFORMAL:
            values.setdefault(plain, value.strip(" \t"))
            continue
        if plain in values or "_" in name:
            raise error(
                f"headers: found {plain} twice or spelt with an underscore, expected it once; "
                "something between here and the sender adds headers"
            )
        # In HTTP only blanks and tabs around a value do not belong to it.
        values[plain] = value.strip(" \t")
    return values


# Keyed by the key object and the whole content; a second's worth for a few accounts.
_sign_once = lru_cache(maxsize=16)(signing.sign)


@lru_cache(maxsize=16)
def _response_time(second: datetime) -> str:
    return Timestamp.of(second).text


def _signed_headers(
    account: Account,
    time_name: str,
    time: str,
    content: bytes,
    agent_token: str | None,
    *,
    sign: Callable[..., str] = signing.sign,
) -> tuple[tuple[str, str], ...]:
    signature = sign(
        account.private_key, account.key_version, content, urlsafe=account.urlsafe_signatures
    )
    headers = (
        ("Content-Type", JSON_TYPE),
        # Ours in both directions, also in the acknowledgement of a notification.
        ("Client-Id", account.client_id),
        (time_name, time),
        ("Signature", signature),
    )
    return headers if agent_token is None else (*headers, ("Agent-Token", agent_token))
