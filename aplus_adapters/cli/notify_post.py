"""Post to the shop's notify URL as Alipay+ does, and judge the acknowledgement."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from attrs import frozen

from aplus_adapters.errors import AplusError, ConfigurationError, SignatureError
from aplus_adapters.protocol import signing, wire
from aplus_adapters.protocol.keys import KeyRing, PrivateKey
from aplus_adapters.protocol.messages.notification import PaymentNotification
from aplus_adapters.protocol.messages.result import Result
from aplus_adapters.protocol.signed_messages import Answer, SignedRequest, read_headers
from aplus_adapters.protocol.timestamps import Timestamp
from aplus_adapters.runtime.senders import Sender

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aplus_adapters.protocol.account import Account
    from aplus_adapters.protocol.amounts import Amount

__all__ = [
    "ALLOWED",
    "Verdict",
    "build_notification",
    "find_alipayplus_key",
    "judge",
    "post",
    "sign_as_alipayplus",
]

ALLOWED = 5.0
"""Seconds that Alipay+ waits for an acknowledgement (protocol, "notifyPayment")."""

_KEY_FILE = "alipayplus_private.pem"  # as the simulator names it


@frozen(kw_only=True)
class Verdict:
    """Whether Alipay+ would take an answer for an acknowledgement, and why not."""

    accepted: bool
    signed: bool
    text: str


def post(
    url: str, headers: Iterable[tuple[str, str]], body: bytes, timeout: float = 2 * ALLOWED
) -> tuple[Answer, float]:
    """Send one POST; return the answer and the seconds that it took.

    Raises NotSent or OutcomeUnknown as the library's own sender does.
    """
    request = SignedRequest(
        client_id="", url=url, path=urlsplit(url).path or "/", headers=tuple(headers), body=body
    )
    sender = Sender()
    started = time.monotonic()
    try:
        return sender.send(request, timeout), time.monotonic() - started
    finally:
        sender.close()


def judge(account: Account, answer: Answer, seconds: float, path: str) -> Verdict:
    """Return the verdict of Alipay+'s side; `path` is what it had signed."""
    signed, problem = _is_signed(account, answer, path)
    try:
        result = Result.from_wire(wire.loads(answer.body).get("result"))
    except AplusError:
        text = f"HTTP {answer.status}, the body is no JSON with a result; {problem}"
        return Verdict(accepted=False, signed=signed, text=text)
    is_late = seconds > ALLOWED
    accepted = answer.status == 200 and result.result_status == "S" and signed and not is_late
    late = f", after {seconds:.1f} s where Alipay+ waits {ALLOWED:g} s" if is_late else ""
    text = f"HTTP {answer.status}, result {result}, {problem}{late}"
    if signed and result.result_status == "U":
        why = "it does not know this payment" if answer.status == 404 else "see its log"
        text += f": the shop verified the notification and did not take it, {why}"
    return Verdict(accepted=accepted, signed=signed, text=text)


def sign_as_alipayplus(
    key: PrivateKey, client_id: str, path: str, body: bytes, key_version: str = "1"
) -> tuple[tuple[str, str], ...]:
    """Return the headers of a notification that is signed now with the given key."""
    now = Timestamp.of(datetime.now(UTC)).text
    content = signing.signed_content(path, client_id, now, body)
    return (
        ("Content-Type", "application/json"),
        ("Client-Id", client_id),
        ("Request-Time", now),
        ("Signature", signing.sign(key, key_version, content)),
    )


def build_notification(
    payment_request_id: str, status: str, code: str, amount: Amount | None
) -> bytes:
    """Return the body of a notification; `status` is S or F."""
    paid = status == "S"
    return PaymentNotification(
        payment_result=Result(result_code=code, result_status=status, result_message=code),
        acquirer_id="1021000000000000001",
        psp_id="1022000000000000002" if paid else None,
        payment_request_id=payment_request_id,
        payment_id="2026112319401080010018800000000001" if paid else None,
        payment_time=Timestamp.of(datetime.now(UTC)) if paid else None,
        payment_amount=amount,
        wallet_brand_name="SOMEWALLET" if paid else None,
    ).encode()


def find_alipayplus_key(account: Account, environ: Mapping[str, str]) -> PrivateKey | None:
    """Return Alipay+'s private key if the simulator's folder has it, otherwise None.

    It has to fit the public key of the account.
    """
    folders = [Path(".aplus")]
    if public_file := environ.get("APLUS_PUBLIC_KEY_FILE"):
        folders.insert(0, Path(public_file).parent)
    versions = account.alipayplus_keys.fingerprints.values()
    known = {fingerprint for fingerprints in versions for fingerprint in fingerprints}
    for folder in folders:
        try:
            key = PrivateKey.load((folder / _KEY_FILE).read_bytes(), _KEY_FILE)
        except (OSError, ConfigurationError):
            continue
        if key.public_key.fingerprint in known:
            return key
    return None


def _is_signed(account: Account, answer: Answer, path: str) -> tuple[bool, str]:
    ours = KeyRing.of({account.key_version: account.private_key.public_key})
    try:
        headers = read_headers(answer.headers, SignatureError)
        content = signing.signed_content(
            path, account.client_id, headers.get("response-time", ""), answer.body
        )
        signing.verify(ours, headers.get("signature"), content)
    except SignatureError:
        is_there = any(name.lower() == "signature" for name, _ in answer.headers)
        return False, "its signature does not match our key" if is_there else "not signed"
    return True, "signed with our key"
