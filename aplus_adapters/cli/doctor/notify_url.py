"""Check the shop's notify URL by posting to it: unsigned, forged, and signed where that can be.

Without Alipay+'s private key, which nobody has in production, a probe proves that the address leads
to this library's route and refuses strangers. It cannot prove that a real notification is accepted.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from aplus_adapters.cli.doctor.check import Check
from aplus_adapters.cli.doctor.in_front import explain_answer, explain_silence, is_refusal
from aplus_adapters.cli.notify_post import (
    build_notification,
    find_alipayplus_key,
    judge,
    post,
    sign_as_alipayplus,
)
from aplus_adapters.errors import AplusError, NotSent, OutcomeUnknown
from aplus_adapters.protocol.amounts import Amount
from aplus_adapters.protocol.signing import parse_header

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from aplus_adapters.cli.notify_post import Verdict
    from aplus_adapters.protocol.account import Account
    from aplus_adapters.protocol.keys import PrivateKey
    from aplus_adapters.protocol.signed_messages import Answer

__all__ = ["check_notify_url"]

_NAME = "notify URL answers"
_JSON = (("Content-Type", "application/json"), ("Accept", "application/json"))
_LIKELY = ("/aplus/notify", "/notify", "/alipayplus/notify", "/payments/notify", "/pay/notify")
_NOT_OURS = "if the shop is written without this library, compare this with what it should answer"


def check_notify_url(account: Account, environ: Mapping[str, str]) -> Iterator[Check]:
    """Yield the result of each probe of the notify URL. No probe changes a payment."""
    url = account.notify_url
    try:
        answer, _ = post(url, _JSON, b"{}")
    except (NotSent, OutcomeUnknown) as error:
        yield Check(_NAME, ok=False, found=str(error), remedy=explain_silence(url, str(error)))
        return
    reached = _judge_unsigned(url, answer)
    yield reached
    if not reached.ok:
        return
    yield _check_forged(account)
    key = find_alipayplus_key(account, environ)
    if key is None:
        yield Check(
            "signed probe",
            ok=True,
            found="not sent: only Alipay+ has its key; the first real notification proves the rest",
        )
    else:
        yield _check_signed(account, key)


def _judge_unsigned(url: str, answer: Answer) -> Check:
    if is_refusal(answer):
        found = "this library's route answers, and refuses an unsigned message"
        return Check(_NAME, ok=True, found=found)
    found = f"HTTP {answer.status} to an unsigned message, expected 400 notification refused"
    return Check(
        _NAME, ok=False, found=found, remedy=explain_answer(url, answer) or _other_address(url)
    )


def _other_address(url: str) -> str:
    """Return the address nearby at which this library's route does answer."""
    for candidate in _nearby(url):
        try:
            answer, _ = post(candidate, _JSON, b"{}")
        except (NotSent, OutcomeUnknown):
            continue
        if is_refusal(answer):
            return (
                f"wrong path: the route answers at {candidate}; set APLUS_NOTIFY_URL to it, or "
                "mount the routes elsewhere"
            )
    tried = ", ".join(urlsplit(candidate).path for candidate in _nearby(url))
    return (
        "the route is not here; compare the path with the mount in your application (tried too: "
        f"{tried}); {_NOT_OURS}"
    )


def _nearby(url: str) -> list[str]:
    """Return addresses of the same host with the paths that are likely meant."""
    parts = urlsplit(url)
    path = parts.path or "/"
    segments = path.strip("/").split("/")
    paths = [path.rstrip("/") if path.endswith("/") else path + "/"]
    paths += ["/" + "/".join(segments[count:]) for count in range(1, len(segments))]
    paths += [f"/{segments[0]}/notify", f"{path.rstrip('/')}/notify", *_LIKELY]
    paths += [f"/{segments[0]}{likely}" for likely in _LIKELY[:1]]
    return [
        urlunsplit((parts.scheme, parts.netloc, other, "", ""))
        for other in dict.fromkeys(paths)
        if other not in (path, "", "/")
    ]


def _check_forged(account: Account) -> Check:
    """Post a notification that is signed with our own key in place of Alipay+'s."""
    body = _probe_body()
    headers = sign_as_alipayplus(account.private_key, account.client_id, account.signed_path, body)
    try:
        answer, seconds = post(account.notify_url, (*headers, _JSON[1]), body)
    except (NotSent, OutcomeUnknown) as error:
        return Check("forged probe", ok=False, found=str(error), remedy="see the shop's log")
    verdict = judge(account, answer, seconds, account.signed_path)
    if answer.status in (400, 401) and not verdict.signed:
        return Check("forged probe", ok=True, found=f"refused with HTTP {answer.status}")
    remedy = "the shop must refuse what Alipay+ did not sign: see its log, its keys, its code"
    return Check("forged probe", ok=False, found=verdict.text, remedy=remedy)


def _check_signed(account: Account, key: PrivateKey) -> Check:
    """Post a notification, signed as the simulated Alipay+, about a payment that does not exist."""
    name, path = "signed probe", account.signed_path
    try:
        status, verdict, version = _send_signed(account, key, path)
    except (NotSent, OutcomeUnknown) as error:
        return Check(name, ok=False, found=str(error), remedy="see the shop's log")
    if verdict.accepted:
        remedy = "the shop must not acknowledge a payment that it does not know"
        return Check(name, ok=False, found=verdict.text, remedy=remedy)
    if verdict.signed and version != account.key_version:
        found = f"the shop signs with keyVersion {version}, the settings here say "
        found += f"{account.key_version}"
        remedy = "give the shop's processes and this command the same APLUS_KEY_VERSION, that of "
        remedy += "our key in the developer center"
        return Check(name, ok=False, found=found, remedy=remedy)
    if verdict.signed and status == 404:
        found = "verified by the shop, and answered that it does not know the payment, signed"
        return Check(name, ok=True, found=found)
    nearby = (account.notify_url, *_nearby(account.notify_url))
    for other in (urlsplit(url).path for url in nearby):
        _, at_other, _ = _send_signed(account, key, other)
        if at_other.signed:
            remedy = f"the shop verifies for the path {other}: its APLUS_NOTIFY_URL is another one"
            return Check(name, ok=False, found=verdict.text, remedy=remedy)
    remedy = (
        "the shop runs with other settings: compare its client id, Alipay+'s public key, its own "
        "key and its notify URL with those here; its log says which check failed"
    )
    return Check(name, ok=False, found=verdict.text, remedy=remedy)


def _send_signed(account: Account, key: PrivateKey, path: str) -> tuple[int, Verdict, str]:
    """Return the status, the verdict, and the keyVersion that the shop names, "" if none."""
    body = _probe_body()
    headers = sign_as_alipayplus(key, account.client_id, path, body)
    answer, seconds = post(account.notify_url, (*headers, _JSON[1]), body)
    signature = {name.lower(): value for name, value in answer.headers}.get("signature")
    try:
        version = parse_header(signature).key_version
    except AplusError:
        version = ""
    return answer.status, judge(account, answer, seconds, path), version


def _probe_body() -> bytes:
    unknown = f"doctor{secrets.token_hex(12)}"
    return build_notification(unknown, "F", "ORDER_IS_CLOSED", Amount("USD", 1))
