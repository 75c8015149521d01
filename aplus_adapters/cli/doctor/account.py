"""Check the account: its settings, its keys, and a signed inquiry to the gateway."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aplus_adapters.cli.doctor.check import Check
from aplus_adapters.errors import AplusError, ConfigurationError, NotSent, OutcomeUnknown
from aplus_adapters.protocol import signing
from aplus_adapters.protocol.account import Environment
from aplus_adapters.protocol.keys import KeyRing
from aplus_adapters.protocol.messages.inquiry import InquiryRequest, InquiryResponse
from aplus_adapters.protocol.results import look_up
from aplus_adapters.protocol.signed_messages import Answer, sign_request, verify_answer
from aplus_adapters.runtime.senders import Sender
from aplus_adapters.simulator.identity import CLIENT_ID

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aplus_adapters.runtime.settings import Account

__all__ = ["check_account", "check_gateway"]

_MAX_SKEW = 60.0  # seconds by which this machine's clock may differ from the gateway's
_TIMEOUT = 10.0  # seconds for the gateway's answer


def check_account(account: Account) -> Iterator[Check]:
    """Yield the result of each check of an account's keys and addresses, without the network."""
    yield _check_environment(account)
    yield _check_own_keys(account)
    for version, hashes in account.alipayplus_keys.fingerprints.items():
        yield Check("Alipay+'s key", ok=True, found=f"keyVersion {version}: {', '.join(hashes)}")
    yield _check_notify_url(account)


def _check_environment(account: Account) -> Check:
    found = f"{account.client_id} ({account.environment})"
    if account.client_id == CLIENT_ID and account.environment is not Environment.SIMULATOR:
        remedy = "this client id is the simulator's; use the developer center's, with its keys"
        return Check("configuration", ok=False, found=found, remedy=remedy)
    return Check("configuration", ok=True, found=found)


def _check_own_keys(account: Account) -> Check:
    content = signing.signed_content("/check", account.client_id, "2026-01-01T00:00:00Z", b"{}")
    public = account.private_key.public_key
    try:
        header = signing.sign(account.private_key, account.key_version, content)
        signing.verify(KeyRing.of({account.key_version: public}), header, content)
    except AplusError as error:
        return Check("our key", ok=False, found=str(error), remedy="make a new pair: aplus keygen")
    found = f"keyVersion {account.key_version}: {public.fingerprint} signs and verifies"
    return Check("our key", ok=True, found=found)


def _check_notify_url(account: Account) -> Check:
    parts = urlsplit(account.notify_url)
    found = f"{account.notify_url} (signed path {account.signed_path})"
    local = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if local and account.environment is not Environment.SIMULATOR:
        remedy = "Alipay+ cannot reach this machine's loopback; use the public address"
        return Check("notify URL", ok=False, found=found, remedy=remedy)
    return Check("notify URL", ok=True, found=found)


def check_gateway(account: Account) -> Iterator[Check]:
    """Send the gateway an inquiry about a payment that does not exist, and check its answer.

    It costs and changes nothing.
    """
    body = InquiryRequest(payment_request_id=f"doctor{secrets.token_hex(12)}").encode()
    request = sign_request(account, InquiryRequest.path, body, datetime.now(UTC))
    sender = Sender()
    try:
        answer = sender.send(request, _TIMEOUT)
    except (NotSent, OutcomeUnknown) as error:
        remedy = "check APLUS_GATEWAY, the network, a proxy and the machine's certificates"
        if isinstance(error, ConfigurationError):
            remedy = "correct what it names, in the environment of the shop's processes too"
        yield Check("gateway", ok=False, found=str(error), remedy=remedy)
        return
    finally:
        sender.close()
    yield Check("gateway", ok=True, found=f"{account.gateway} answers HTTP {answer.status}")
    yield _check_clock(answer)
    try:
        verify_answer(account, request, answer, now=datetime.now(UTC))
        result = InquiryResponse.decode(answer.body).result
    except AplusError as error:
        yield _explain_unverified(answer, error)
        return
    row = look_up(result)
    ok = result.result_status == "S" or result.result_code == "ORDER_NOT_EXIST"
    remedy = "" if ok else f"{row.meaning} {row.advice}"
    yield Check("signature round trip", ok=ok, found=f"verified answer: {result}", remedy=remedy)


def _explain_unverified(answer: Answer, error: AplusError) -> Check:
    """Return what an unverified answer claims: only a hint for a person, it proves nothing."""
    try:
        result = InquiryResponse.decode(answer.body).result
    except AplusError:
        remedy = "check that APLUS_GATEWAY is the gateway and that no proxy answers in its place"
        return Check("signature round trip", ok=False, found=str(error), remedy=remedy)
    row = look_up(result)
    is_signed = any(name.lower() == "signature" for name, _ in answer.headers)
    if result.result_status == "F" and not is_signed:  # so it answers a request it cannot verify
        remedy = f"the gateway seems to refuse us: {row.meaning} {row.advice}"
    else:
        remedy = "compare the fingerprint of Alipay+'s key above with the developer center's, and "
        remedy += "the environment: sandbox and production have different keys"
    return Check("signature round trip", ok=False, found=f"{result}, {error}", remedy=remedy)


def _check_clock(answer: Answer) -> Check:
    date = {name.lower(): value for name, value in answer.headers}.get("date", "")
    try:
        gateway_time = parsedate_to_datetime(date)
        skew = (datetime.now(UTC) - gateway_time).total_seconds()
    except (ValueError, TypeError):
        return Check("clock", ok=True, found="the gateway's answer has no Date to compare with")
    found = f"{skew:+.0f} s from the gateway's clock"
    remedy = "" if abs(skew) <= _MAX_SKEW else "set this machine's clock, best with NTP"
    return Check("clock", ok=not remedy, found=found, remedy=remedy)
