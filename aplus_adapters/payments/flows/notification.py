"""Receive a notification: verify, record, and only then acknowledge."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from attrs import field, frozen

from aplus_adapters.errors import (
    HookError,
    StoreError,
    UnknownPayment,
)
from aplus_adapters.payments.effects import now
from aplus_adapters.payments.flows.record import record_observation
from aplus_adapters.payments.observations import observe_notification
from aplus_adapters.protocol.messages.notification import ACKNOWLEDGED, NOT_ACKNOWLEDGED
from aplus_adapters.protocol.signed_messages import (
    acknowledge,
    read_notification_headers,
    verify_read_notification,
)

if TYPE_CHECKING:
    from aplus_adapters.payments.effects import Flow
    from aplus_adapters.payments.policy import PaymentConfig

__all__ = ["Reply", "claimed_payment", "receive"]

log = logging.getLogger("aplus_adapters")


@frozen(kw_only=True)
class Reply:
    """Our signed answer to an authentic notification; only status 200 carries an S."""

    status: int
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes


def receive(
    config: PaymentConfig, headers: tuple[tuple[str, str], ...], body: bytes
) -> Flow[Reply]:
    """Receive one notification: all header pairs as they arrived, and the raw body.

    Acknowledges with S only after the observation or the conflict is durable and the shop's hook
    has returned. An authentic notification that cannot be accepted now is answered with a signed U
    and status 503 (404 for a payment that is not ours). Alipay+ then sends it again, whether it
    reads the body or the status. Raises NotificationError if the notification is not authentic or
    not legal; it gets no signed answer. Source: protocol, "notifyPayment".
    """
    moment = yield from now()
    read = read_notification_headers(headers)
    account, notification = verify_read_notification(
        config.accounts,
        read,
        body,
        now=moment,
        max_age=config.timing.max_age,
        max_ahead=config.timing.max_ahead,
    )
    # S says *received*, also for a payment that failed.
    status, answer = 200, ACKNOWLEDGED
    request_id = notification.payment_request_id
    try:
        observation = observe_notification(notification, moment, account.client_id)
        yield from record_observation(request_id, observation)
    except UnknownPayment as error:
        # Without S it is sent again; what we never asked for gets no row in the store.
        status, answer = 404, NOT_ACKNOWLEDGED
        log.warning(
            "notification not acknowledged: %s",
            error,
            extra={"event": "notification_unknown", **_ids(read, request_id)},
        )
    except (StoreError, HookError) as error:
        status, answer = 503, NOT_ACKNOWLEDGED
        log.exception(
            "payment %s: notification not acknowledged: %s; it is sent again, see to the hook or "
            "the store until then",
            request_id,
            error,
            extra={"event": "notification_failed", **_ids(read, request_id)},
        )
    # The hook may have taken seconds since the first time was read.
    moment = yield from now()
    signed = acknowledge(account, answer, moment, read.get("agent-token"))
    return Reply(status=status, headers=signed, body=answer)


def claimed_payment(body: bytes) -> str:
    """Return the paymentRequestId in an unverified body, for the log only."""
    match = re.search(rb'"paymentRequestId"\s*:\s*"([\w.:-]{1,64})"', body)
    return match[1].decode() if match else "unknown"


def _ids(headers: dict[str, str], payment_request_id: str) -> dict[str, str]:
    return {
        "payment_request_id": payment_request_id,
        "tracerid": headers.get("tracerid", "")[:128],
    }
