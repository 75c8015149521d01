"""Alipay+ in a shop's own tests: sign notifications and check acknowledgements."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aplus_adapters.protocol import signing, wire
from aplus_adapters.protocol.keys import KeyRing, PrivateKey
from aplus_adapters.protocol.timestamps import Timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aplus_adapters.payments.model import Attempt
    from aplus_adapters.protocol.account import Account

__all__ = ["AlipayPlus"]


class AlipayPlus:
    """Signs as Alipay+ with `private_key`; the account's key ring holds its public key."""

    def __init__(self, account: Account, private_key: PrivateKey, key_version: str = "1") -> None:
        self.account, self._key, self._version = account, private_key, key_version

    def with_key(self, private_key: PrivateKey) -> AlipayPlus:
        """Return a signer with another key, whose notifications the shop must refuse."""
        return AlipayPlus(self.account, private_key, self._version)

    def notification(self, attempt: Attempt, status: str = "S", **changes: Any) -> bytes:
        """Return the body of a notification about an attempt.

        `status` is S or F. `changes` replace fields by their wire names; None removes a field.
        """
        code = {"S": "SUCCESS", "F": "ORDER_IS_CLOSED"}[status]
        fields = {
            "paymentResult": {"resultCode": code, "resultStatus": status, "resultMessage": code},
            "acquirerId": "1021000000000000001",
            "pspId": "1022000000000000002",
            "paymentRequestId": attempt.payment_request_id,
            "paymentId": attempt.payment_id or "2026112319401080010018800000000001",
            "paymentTime": "2026-11-23T12:01:07+00:00",
            "paymentAmount": attempt.amount.to_wire(),
            "customerId": "1235678",
            "walletBrandName": "SOMEWALLET",
            **changes,
        }
        return wire.dumps({name: value for name, value in fields.items() if value is not None})

    def sign(
        self, body: bytes, *, at: datetime | None = None, path: str | None = None
    ) -> dict[str, str]:
        """Return the headers of a notification with this body, sent `at` an aware time or now."""
        time = Timestamp.of(at or datetime.now(UTC)).text
        client_id = self.account.client_id
        content = signing.signed_content(path or self.account.signed_path, client_id, time, body)
        return {
            "Content-Type": "application/json",
            "Client-Id": client_id,
            "Request-Time": time,
            "Signature": signing.sign(self._key, self._version, content),
        }

    def accepts(self, status: int, headers: Mapping[str, str], body: bytes) -> bool:
        """Return whether a response is 200 with result S; raise SignatureError if unsigned."""
        lower_case = {name.lower(): value for name, value in headers.items()}
        if status != 200 or wire.loads(body)["result"]["resultStatus"] != "S":
            return False
        self.check_signature(lower_case, body)
        return True

    def check_signature(self, headers: Mapping[str, str], body: bytes) -> None:
        """Raise SignatureError if the shop did not sign this response; names are in lower case."""
        account = self.account
        content = signing.signed_content(
            account.signed_path, account.client_id, headers.get("response-time", ""), body
        )
        shop_keys = KeyRing.of({account.key_version: account.private_key.public_key})
        signing.verify(shop_keys, headers.get("signature"), content)
