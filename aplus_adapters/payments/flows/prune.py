"""Delete old payments and forget buyers, batch by batch."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from aplus_adapters.errors import InvalidValue, UnknownPayment
from aplus_adapters.payments import effects
from aplus_adapters.payments.model import Stage
from aplus_adapters.payments.retention import Retention, check_age, refundable_since
from aplus_adapters.payments.search import check_limit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from aplus_adapters.payments.effects import Flow
    from aplus_adapters.payments.model import Attempt
    from aplus_adapters.payments.policy import PaymentConfig
    from aplus_adapters.payments.retention import OldPayment

__all__ = ["BATCH", "PruneReport", "forget_buyer", "prune"]

BATCH = 100
"""How many payments one transaction deletes, unless told."""

_END = datetime.max.replace(tzinfo=UTC)  # whatever happened was before it

log = logging.getLogger("aplus_adapters")


@frozen(kw_only=True)
class PruneReport:
    """What one run of `prune` did, or would do: numbers of payments.

    `deleted` are gone with all that belonged to them. Of `forgotten` the buyer's data is gone.
    `kept` were old enough to be deleted and had to stay: an unresolved conflict, an open refund, a
    change since then, or another worker was at them. Paid payments are not among them.
    """

    deleted: int = 0
    forgotten: int = 0
    kept: int = 0

    def __str__(self) -> str:
        return f"{self.deleted} deleted, {self.forgotten} buyers forgotten, {self.kept} kept"


def prune(
    config: PaymentConfig,
    older_than: timedelta | None,
    forget_after: timedelta | None,
    *,
    even_paid: bool = False,
    even_refundable: bool = False,
    batch: int = BATCH,
    dry_run: bool = False,
    progress: Callable[[PruneReport], None] = lambda _: None,
) -> Flow[PruneReport]:
    """Delete final payments that changed last before `older_than`; forget buyers after a time.

    Open payments, those with an open refund, and those with a conflict that is unresolved or
    unreported are left alone. So is a paid payment unless `even_paid`: it keeps its order from
    being paid again. Only its buyer is forgotten, after `forget_after` (None: `older_than`).
    `even_paid` still keeps what may be refunded (`retention.refundable_since`) unless
    `even_refundable`.

    Each batch is a transaction of its own: an end in between loses nothing, and the next run goes
    on. Any number may run at once, beside running workers. With `dry_run` nothing is changed.
    `progress` is called after each batch. Raises InvalidValue for an age that cannot be meant, and
    StoreError.
    """
    _check(config, older_than, forget_after, even_paid=even_paid, even_refundable=even_refundable)
    check_limit(batch)
    moment = yield from effects.now()
    forgets_after = forget_after or older_than
    rule = Retention(
        deletes_before=moment - older_than if older_than is not None else None,
        forgets_before=moment - forgets_after if forgets_after is not None else None,
        even_paid=even_paid,
        refundable_since=None if even_refundable else refundable_since(moment),
    )
    done = PruneReport()
    deleting = [(stage, rule.deletes_before) for stage in (Stage.OVER, Stage.OVER_FORGOTTEN)]
    paid_before = rule.deletes_paid_before
    deleting += [(stage, paid_before) for stage in (Stage.PAID, Stage.PAID_FORGOTTEN)]
    for stage, before in deleting:
        walk = _Walk(stage, before, batch)
        while old := (yield from walk.following()):
            ids = _ids(old, rule.may_delete)
            number = len(ids)
            if ids and not dry_run:
                number = yield from effects.delete_payments(ids, rule)
            kept = done.kept + len(old) - number
            done = evolve(done, deleted=done.deleted + number, kept=kept)
            progress(done)
    for stage in (Stage.OVER, Stage.PAID):
        walk = _Walk(stage, rule.forgets_before, batch)
        while old := (yield from walk.following()):
            ids = _ids(old, rule.may_forget)
            number = len(ids)
            if ids and not dry_run:
                number = yield from effects.forget_buyers(ids, rule)
            done = evolve(done, forgotten=done.forgotten + number)
            progress(done)
    log.info("prune%s: %s", " (dry run)" if dry_run else "", done, extra={"event": "prune_done"})
    return done


def forget_buyer(payment_request_id: str) -> Flow[Attempt]:
    """Forget the buyer of one final payment now, however old; return the payment.

    Raises UnknownPayment, InvalidValue if the payment is open or something of it waits, StoreError.
    """
    attempt = yield from effects.get(payment_request_id)
    if attempt is not None and not attempt.is_forgotten:
        rule = Retention(forgets_before=_END)
        yield from effects.forget_buyers([payment_request_id], rule)
        attempt = yield from effects.get(payment_request_id)
    if attempt is None:
        raise UnknownPayment(
            f"forget_buyer of {payment_request_id[:64]!r}: found no such payment in the store, "
            "expected a paymentRequestId; `list` finds those of an order"
        )
    if not attempt.is_forgotten:
        raise InvalidValue(
            f"forget_buyer of {payment_request_id}: found a payment that is {attempt.state}, "
            "expected one that is final, without an open refund and without a conflict that is "
            "unresolved or unreported; settle that first, then try again"
        )
    return attempt


class _Walk:
    """Finds old payments of a stage, each once; what stays does not come again."""

    def __init__(self, stage: Stage, before: datetime | None, batch: int) -> None:
        self._stage, self._before, self._batch = stage, before, batch
        self._after: tuple[datetime, str] | None = None
        self._is_over = before is None

    def following(self) -> Flow[Sequence[OldPayment]]:
        """Return the next batch; an empty one at the end."""
        while not self._is_over and self._before is not None:
            old = yield from effects.old_payments(
                self._stage, self._before, self._batch, self._after
            )
            self._after, self._is_over = old.after, old.after is None
            if old.payments:  # none if no row of a batch can be read
                return old.payments
        return ()


def _ids(old: Sequence[OldPayment], may: Callable[[OldPayment], bool]) -> list[str]:
    return [payment.attempt.payment_request_id for payment in old if may(payment)]


def _check(
    config: PaymentConfig,
    older_than: timedelta | None,
    forget_after: timedelta | None,
    *,
    even_paid: bool,
    even_refundable: bool,
) -> None:
    if older_than is None and forget_after is None:
        raise InvalidValue("prune: found no age, expected older_than, forget_after, or both")
    for name, age in (("older_than", older_than), ("forget_after", forget_after)):
        if age is not None:
            check_age(name, age, config.timing)
    if older_than is not None and forget_after is not None and forget_after > older_than:
        raise InvalidValue(
            f"prune forget_after: found {forget_after}, which is more than older_than "
            f"({older_than}), expected less: leave it out to forget at the same age"
        )
    if even_paid and older_than is None:
        raise InvalidValue("prune even_paid: found no older_than, expected an age for deleting")
    if even_refundable and not even_paid:
        raise InvalidValue(
            "prune even_refundable: found even_paid=False, which keeps all paid payments; set "
            "both if payments shall go that can still be refunded"
        )
