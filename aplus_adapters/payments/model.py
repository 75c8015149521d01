"""The values of a payment's life: attempt, observation, transition, conflict."""

from __future__ import annotations

import hashlib
from enum import Enum
from typing import TYPE_CHECKING

from attrs import field, frozen

from aplus_adapters.protocol.messages.pay import PayRequest

if TYPE_CHECKING:
    from datetime import datetime

    from aplus_adapters.protocol.amounts import Amount
    from aplus_adapters.protocol.messages.result import Result
    from aplus_adapters.protocol.timestamps import Timestamp

__all__ = [
    "CANCEL_WINDOW_EXCEED",
    "DOUBTS",
    "FORGOTTEN",
    "WALLET_LENGTH",
    "Attempt",
    "Conflict",
    "Observation",
    "OrderCode",
    "Outcome",
    "Refund",
    "RefundObservation",
    "RefundOutcome",
    "RefundState",
    "RefundTransition",
    "Source",
    "Stage",
    "State",
    "Transition",
]

CANCEL_WINDOW_EXCEED = "CANCEL_WINDOW_EXCEED"
# Parts of reasons: each doubt is another conflict.
DOUBTS = (" although a success was reported", " although refunds of ", " cancelled no more")
WALLET_LENGTH = 128
FORGOTTEN = "buyerForgotten"
"""The field by which a stored pay request says that its buyer was forgotten."""

_FORGOTTEN_END = f'"{FORGOTTEN}":"true"}}'.encode()  # JSON writes quotes in a text otherwise


class _Word(Enum):
    """A closed set of words, which print as they are stored.

    They are no strings: type checkers report a comparison such as `state == "paid"`. Without a type
    checker it raises TypeError, since a shop must not take a paid order for an unpaid one.
    """

    def __str__(self) -> str:
        """Return the word."""
        return str(self._value_)

    if not TYPE_CHECKING:  # a comparison of their own would silence the type checkers

        def __eq__(self, other: object) -> bool:
            """Return whether it is the same member; raise TypeError for text."""
            if isinstance(other, str):
                kind = type(self).__name__
                raise TypeError(
                    f"{kind}: found a comparison with the text {other[:40]!r}, expected a member; "
                    f"write `is {kind}.{self.name}`, or compare str() of it"
                )
            return self is other

        # Python takes the hash away from a class that defines __eq__. Members are unique.
        __hash__ = object.__hash__


class State(_Word):
    """Where an attempt is in its life; nothing leaves a state that `is_final`."""

    CREATED = "created"  # durable; nothing sent yet, or no result yet
    PENDING = "pending"  # the code is issued
    CLOSING = "closing"  # we decided to close it; cancelPayment is sent until it is answered
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    is_final: bool

    def __init__(self, word: str) -> None:
        self.is_final = word in {"succeeded", "failed", "cancelled"}


class Stage(_Word):
    """What retention may still do with a final attempt."""

    OVER = "over"  # its order is free: it may be deleted
    OVER_FORGOTTEN = "over forgotten"  # the same, and its buyer was forgotten
    PAID = "paid"  # it occupies its order, which keeps the order from being paid again
    PAID_FORGOTTEN = "paid forgotten"


class RefundState(_Word):
    """Where a refund is in its life; nothing leaves a state that `is_final`."""

    CREATED = "created"  # durable; nothing sent yet, or no result yet
    SUCCEEDED = "succeeded"
    FAILED = "failed"

    is_final: bool

    def __init__(self, word: str) -> None:
        self.is_final = word != "created"


class Source(_Word):
    """Where an observation comes from."""

    PAY = "pay"
    NOTIFICATION = "notification"
    INQUIRY = "inquiry"
    CANCEL = "cancel"
    REFUND = "refund"
    SHOP = "shop"  # our own decision to close an attempt


class Outcome(_Word):
    """What an observation says of the payment."""

    CODE_ISSUED = "code issued"
    REFUSED = "refused"  # the pay call was answered F
    IN_PROCESS = "in process"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    ABSENT = "absent"  # Alipay+ knows no such payment (yet)
    CLOSING = "closing"  # we are going to cancel: durable before cancelPayment is sent
    CANCEL_REFUSED = "cancel refused"  # for good: it can no longer be cancelled
    RETURNED = "returned"  # it was paid, and all of it was given back elsewhere


class RefundOutcome(_Word):
    """What an observation says of a refund."""

    REFUNDED = "refunded"
    REFUND_REFUSED = "refund refused"


@frozen(kw_only=True)
class OrderCode:
    """The issued code: `text` is what the QR code says, `images` are addresses by display type.

    `expires_at` is when Alipay+ closes it, by Alipay+'s own clock.
    """

    text: str | None  # None if Alipay+ sent pictures alone
    images: tuple[tuple[str, str], ...] = ()
    expires_at: datetime | None = None


@frozen(kw_only=True)
class Attempt:
    """One payment attempt for an order, as it is stored.

    `request_body` is the exact pay request, made durable before it is first sent. `expires_at` is
    when Alipay+ closes the code at the latest, by our clock. `next_call_at` is when Alipay+ should
    be asked next, None once the attempt is final. All times are aware.

    Only the worker that holds the claim calls Alipay+ about the attempt. `claim` is its token,
    which grows with each claim; `claimed_until` is when it ends (None: nobody holds it).
    `success_reported` is True if Alipay+ reported success during or after closing; the cancellation
    returns that money. `disputed` is an amount that Alipay+ says was paid, against our records,
    and that no cancellation returns: a person has to decide. `refunded` is the sum of our
    successful refunds, in minor units. `last_answer` identifies what the last inquiry said, None if
    something else was observed since then.
    """

    payment_request_id: str
    order_ref: str
    client_id: str  # whose keys sign for it; a worker without them leaves it alone
    amount: Amount
    # Alipay+ refuses a repeat with other content as REPEAT_REQ_INCONSISTENT.
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
    wallet: str | None = None  # for people to read; no code compares it
    claim: int = 0  # only grows, so what was asked under an older claim is recognized
    claimed_until: datetime | None = None
    success_reported: bool = False
    disputed: Amount | None = None
    refunded: int = 0
    last_answer: str | None = None

    @property
    def paid_amount(self) -> Amount | None:
        """Return what the buyer paid and no cancellation returned, None if nothing."""
        return self.amount if self.state is State.SUCCEEDED else self.disputed

    @property
    def is_refunded(self) -> bool:
        """Return whether our refunds cover all that was paid."""
        paid = self.paid_amount
        return paid is not None and self.refunded >= paid.value > 0

    @property
    def is_doubted(self) -> bool:
        """Return whether a cancellation was refused: only a new inquiry says what became of it."""
        # An earlier cancelPayment may have acted although its answer was lost.
        is_refused = self.result and self.result.result_code == CANCEL_WINDOW_EXCEED
        return self.state is State.PENDING and bool(is_refused or self.success_reported)

    @property
    def occupies_order(self) -> bool:
        """Return whether its order may have no other attempt: open, or paid and not refunded."""
        if not self.state.is_final:
            return True
        # Refunded in full, the order may be paid anew. With disputed money a buyer might pay twice.
        return self.paid_amount is not None and not self.is_refunded

    @property
    def is_forgotten(self) -> bool:
        """Return whether its buyer's data was removed from the request."""
        return self.request_body.endswith(_FORGOTTEN_END)

    @property
    def stage(self) -> Stage | None:
        """Return what retention may still do with it, None while it is open."""
        if not self.state.is_final:
            return None
        if self.occupies_order:
            return Stage.PAID_FORGOTTEN if self.is_forgotten else Stage.PAID
        return Stage.OVER_FORGOTTEN if self.is_forgotten else Stage.OVER

    @property
    def wallet_key(self) -> str | None:
        """Return what a search compares of the wallet's name: its first 128 characters."""
        # A name has no limit, but an index has one.
        return self.wallet and self.wallet[:WALLET_LENGTH]

    @property
    def request(self) -> PayRequest:
        """Return the pay request that was stored."""
        return PayRequest.decode(self.request_body)


@frozen(kw_only=True)
class Refund:
    """Money that goes back for a paid attempt, in full or in part, as it is stored.

    `refund_request_id` is the shop's own id of this refund and its idempotency key. `request_body`
    is the exact refund request, made durable before it is first sent. `next_call_at`, `claim` and
    `claimed_until` work as with an attempt. All times are aware.
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
    claim: int = 0
    claimed_until: datetime | None = None


@frozen(kw_only=True)
class Observation:
    """What a verified message, or our decision to close, says of a payment's state.

    `at` is when it arrived by our clock, `said_at` when Alipay+ said it by its own (Response-Time),
    `client_id` the account that it arrived for. `claim` is the token under which the question was
    asked, None if nobody asked. `next_call_at` is when to ask again if the attempt stays open.
    `given_back` is the sum of refunds made elsewhere, from an inquiry's transactions. In a history
    one observation stands for `count` identical answers in a row: the first came at `first_at`
    (None for a single one), and the other fields are the last one's.
    """

    source: Source
    outcome: Outcome
    at: datetime
    client_id: str
    result: Result | None = None
    payment_id: str | None = None
    amount: Amount | None = None
    order_code: OrderCode | None = field(default=None, repr=False)
    expires_at: datetime | None = None
    payment_time: Timestamp | None = None
    wallet: str | None = None
    said_at: datetime | None = None
    claim: int | None = None
    next_call_at: datetime | None = None
    given_back: Amount | None = None
    count: int = 1
    first_at: datetime | None = None


@frozen(kw_only=True)
class RefundObservation:
    """What a verified message says of a refund.

    `refund_request_id` is the shop's id of the refund, `refund_id` is Alipay+'s. `amount` is what
    was refunded, None if the message does not repeat it. The other fields are as in `Observation`.
    """

    source: Source
    outcome: RefundOutcome
    at: datetime
    client_id: str
    refund_request_id: str
    refund_id: str | None = None
    result: Result | None = None
    amount: Amount | None = None
    said_at: datetime | None = None
    claim: int | None = None


@frozen(kw_only=True)
class Conflict:
    """An observation that contradicts a final state or the stored amount.

    `key` is the same for the same contradiction, so that its redeliveries are one conflict.
    `reason` is for an operator: money may have to be refunded.
    """

    attempt: Attempt
    observation: Observation | RefundObservation
    reason: str
    key: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        seen = self.observation
        about = seen.payment_id if isinstance(seen, Observation) else seen.refund_request_id
        # No source and no time: a notification and an inquiry that agree are one conflict.
        parts: list[object] = [self.attempt.payment_request_id, seen.outcome, seen.amount, about]
        parts += [doubt for doubt in DOUBTS if doubt in self.reason]  # certain, it is another one
        digest = hashlib.sha256("\n".join(str(part) for part in parts).encode())
        object.__setattr__(self, "key", digest.hexdigest()[:32])


@frozen(kw_only=True)
class Transition:
    """What an observation changed: `after` is the attempt to store, `conflict` what to report."""

    before: Attempt
    after: Attempt
    observation: Observation | RefundObservation
    conflict: Conflict | None = None

    @property
    def became_final(self) -> bool:
        """Return whether the attempt became final."""
        # A duplicate finds the attempt final already, so the hook is not called for it again.
        return self.after.state.is_final and not self.before.state.is_final

    @property
    def repeats(self) -> bool:
        """Return whether the last observation said the same, so that this one is counted there."""
        before, after = self.before, self.after
        return (
            after.last_answer is not None
            and after.last_answer == before.last_answer
            and after.state is before.state
        )

    @property
    def calls_hooks(self) -> bool:
        """Return whether the shop must be notified: the attempt, or the refund, became final."""
        return self.became_final


@frozen(kw_only=True)
class RefundTransition(Transition):
    """What an observation of a refund changed: `refund` is the refund to store."""

    observation: RefundObservation
    refund_before: Refund
    refund: Refund

    @property
    def refund_became_final(self) -> bool:
        """Return whether the refund became final."""
        return self.refund.state is not self.refund_before.state

    @property
    def calls_hooks(self) -> bool:
        """Return whether the shop must be notified: the attempt, or the refund, became final."""
        return self.became_final or self.refund_became_final
