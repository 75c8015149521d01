"""The values of a payment's life: attempt, observation, transition, conflict."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import TYPE_CHECKING

from attrs import field, frozen

from aplus_adapters.protocol.messages.pay import PayRequest

if TYPE_CHECKING:
    from datetime import datetime

    from aplus_adapters.protocol.amounts import Amount
    from aplus_adapters.protocol.messages.result import Result
    from aplus_adapters.protocol.timestamps import Timestamp

__all__ = [
    "Attempt",
    "Conflict",
    "News",
    "Observation",
    "OrderCode",
    "Refund",
    "RefundState",
    "Source",
    "State",
    "Transition",
]


class State(StrEnum):
    """Where an attempt is in its life."""

    CREATED = "created"  # durable; nothing sent yet, or no result yet
    PENDING = "pending"  # the code is issued
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Tell whether nothing leaves this state any more."""
        return self in (State.SUCCEEDED, State.FAILED, State.CANCELLED)

    @property
    def occupies_order(self) -> bool:
        """Tell whether its order may have no other attempt: it is open or it is paid."""
        return self not in (State.FAILED, State.CANCELLED)


class RefundState(StrEnum):
    """Where a refund is in its life."""

    CREATED = "created"  # durable; nothing sent yet, or no result yet
    SUCCEEDED = "succeeded"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        """Tell whether nothing leaves this state any more."""
        return self is not RefundState.CREATED


class Source(StrEnum):
    """Where an observation comes from."""

    PAY = "pay"
    NOTIFICATION = "notification"
    INQUIRY = "inquiry"
    CANCEL = "cancel"
    REFUND = "refund"


class News(StrEnum):
    """What an observation says of the payment."""

    CODE_ISSUED = "code issued"
    REFUSED = "refused"  # the pay call was answered F
    IN_PROCESS = "in process"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    ABSENT = "absent"  # Alipay+ has no such payment, and none is on its way any more
    REFUNDED = "refunded"  # a refund succeeded
    REFUND_REFUSED = "refund refused"


@frozen(kw_only=True)
class OrderCode:
    """The issued code: `text` is what the QR code says, `images` are addresses by display type."""

    text: str | None
    images: tuple[tuple[str, str], ...] = ()


@frozen(kw_only=True)
class Attempt:
    """One payment attempt for an order, as it is stored.

    `request_body` is the exact pay request, made durable before it is first sent. `expires_at` is
    when Alipay+ closes the code at the latest. `next_call_at` is the earliest time at which anyone
    may call Alipay+ about the attempt, None once it is final: who wants to call moves it first
    (`PaymentStore.schedule`), so that of any number of workers one calls. All times are aware.
    """

    payment_request_id: str
    order_ref: str
    client_id: str
    amount: Amount
    request_body: bytes = field(repr=False)
    created_at: datetime
    expires_at: datetime
    next_call_at: datetime | None
    state: State = State.CREATED
    changed_at: datetime
    payment_id: str | None = None
    order_code: OrderCode | None = field(default=None, repr=False)
    result: Result | None = None
    payment_time: Timestamp | None = None
    wallet: str | None = None

    @property
    def request(self) -> PayRequest:
        """Give the pay request that was stored."""
        return PayRequest.decode(self.request_body)


@frozen(kw_only=True)
class Refund:
    """Money that goes back for a paid attempt, in full or in part, as it is stored.

    `refund_request_id` is the shop's own id of this refund and its idempotency key. `request_body`
    is the exact refund request, made durable before it is first sent. `next_call_at` works as with
    an attempt. All times are aware.
    """

    refund_request_id: str
    payment_request_id: str
    client_id: str
    amount: Amount
    reason: str | None = None
    request_body: bytes = field(repr=False)
    created_at: datetime
    next_call_at: datetime | None
    state: RefundState = RefundState.CREATED
    changed_at: datetime
    refund_id: str | None = None
    result: Result | None = None


@frozen(kw_only=True)
class Observation:
    """Anything that tells of a payment's state, from a verified message.

    `at` is when it arrived, `client_id` the account that it arrived for. `next_call_at` is when to
    ask again if the attempt (or the refund) stays open. `refund_request_id` says of which refund it
    tells, `amount` is then that refund's and `refund_id` Alipay+'s name for it.
    """

    source: Source
    news: News
    at: datetime
    client_id: str
    result: Result | None = None
    payment_id: str | None = None
    amount: Amount | None = None
    order_code: OrderCode | None = field(default=None, repr=False)
    expires_at: datetime | None = None
    payment_time: Timestamp | None = None
    wallet: str | None = None
    next_call_at: datetime | None = None
    refund_request_id: str | None = None
    refund_id: str | None = None


@frozen(kw_only=True)
class Conflict:
    """An observation that contradicts a final state or the stored amount.

    `key` is the same for the same contradiction, so that its redeliveries are one conflict.
    `reason` is for an operator: money may have to be refunded.
    """

    attempt: Attempt
    observation: Observation
    reason: str
    key: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        said = self.observation
        parts = (
            self.attempt.payment_request_id,
            said.news,
            said.amount,
            said.payment_id,
            *filter(None, (said.refund_request_id,)),
        )
        digest = hashlib.sha256("\n".join(str(part) for part in parts).encode())
        object.__setattr__(self, "key", digest.hexdigest()[:32])


@frozen(kw_only=True)
class Transition:
    """What an observation changed: `after` is the attempt to store, `conflict` what to report.

    `refund` is the refund to store, where the observation tells of one.
    """

    before: Attempt
    after: Attempt
    observation: Observation
    conflict: Conflict | None = None
    refund_before: Refund | None = None
    refund: Refund | None = None

    @property
    def settles(self) -> bool:
        """Tell whether the attempt became final by it: the shop has to be told."""
        return self.after.state.is_final and not self.before.state.is_final

    @property
    def settles_refund(self) -> bool:
        """Tell whether the refund became final by it."""
        return self.refund is not None and self.refund != self.refund_before
