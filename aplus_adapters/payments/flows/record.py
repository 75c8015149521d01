"""Record an observation and report a conflict to the shop: the last step of every flow."""

from __future__ import annotations

import contextlib
import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from aplus_adapters.errors import AplusError, HookError, StoreError
from aplus_adapters.payments.effects import call_hook, conflict_reported, note, now, record
from aplus_adapters.payments.hooks import ConflictDetails
from aplus_adapters.payments.model import RefundObservation, RefundTransition, Source
from aplus_adapters.protocol.results import Audience, look_up

if TYPE_CHECKING:
    from aplus_adapters.payments.effects import Flow
    from aplus_adapters.payments.model import (
        Attempt,
        Conflict,
        Observation,
        Refund,
        Transition,
    )

__all__ = ["FAILED_HOOK", "record_observation", "record_refund", "report_conflict"]

FAILED_HOOK = "hook failed"
"""The name under which the store keeps when a hook failed last in a payment's transaction."""
_QUICKLY = timedelta(seconds=1)

log = logging.getLogger("aplus_adapters")


def record_observation(payment_request_id: str, observation: Observation) -> Flow[Attempt]:
    """Store an observation in one transaction with the shop's hook; return the attempt.

    A conflict is reported before this returns. Raises UnknownPayment, StoreError and HookError;
    after an error nothing may be acknowledged.
    """
    transition = yield from _record(payment_request_id, observation)
    return transition.after


def record_refund(payment_request_id: str, observation: RefundObservation) -> Flow[Refund]:
    """Store an observation of a refund as `record_observation` does; return the refund."""
    transition = yield from _record(payment_request_id, observation)
    if not isinstance(transition, RefundTransition):
        raise StoreError(
            f"store record: gave no refund for an observation of {observation.refund_request_id}, "
            "expected the one that it advanced; run the contract suite against the store"
        )
    return transition.refund


def _record(
    payment_request_id: str, observation: Observation | RefundObservation
) -> Flow[Transition]:
    try:
        transition = yield from record(payment_request_id, observation)
    except HookError:
        # Nothing else is stored of it, so that a person would look in vain. After a hook that has
        # waited for a slow database, there is no time left to wait for it once more.
        moment = yield from now()
        if moment - observation.at < _QUICKLY:
            with contextlib.suppress(AplusError):
                yield from note(FAILED_HOOK, moment)
        raise
    log.info(
        "payment %s: %s by %s, %s -> %s",
        payment_request_id,
        observation.outcome,
        observation.source,
        transition.before.state,
        transition.after.state,
        extra={
            "event": "payment_observed",
            "payment_request_id": payment_request_id,
            "order_ref": transition.after.order_ref,
            "state": str(transition.after.state),
        },
    )
    _advise(payment_request_id, observation)
    if transition.conflict is not None:
        # Before this returns: no notification is acknowledged until the shop knows of the conflict.
        yield from report_conflict(transition.conflict)
    return transition


def _advise(payment_request_id: str, observation: Observation | RefundObservation) -> None:
    """Log a refusal that the shop has to fix: contract, keys, limits, balance."""
    result, source = observation.result, observation.source
    is_own_request = source in (Source.PAY, Source.REFUND)
    if result is None or result.result_status != "F" or not is_own_request:
        return
    known = look_up(result)
    if known.audience not in (Audience.OPERATOR, Audience.ENGINEER):
        return
    refused = str(source)
    if isinstance(observation, RefundObservation):
        refused = f"refund {observation.refund_request_id}"
    log.error(
        "payment %s: %s was refused: %s (%s); %s",
        payment_request_id,
        refused,
        result,
        known.meaning,
        known.advice,
        extra={"event": "call_refused", "payment_request_id": payment_request_id},
    )


def report_conflict(conflict: Conflict) -> Flow[None]:
    """Report a conflict to the shop, then mark it as reported: at least once after any crash."""
    log.error(
        "payment %s: conflict: %s; compare it with Alipay+'s records, then deliver or refund "
        "(docs/conflicts.md)",
        conflict.attempt.payment_request_id,
        conflict.reason,
        extra={"event": "conflict", "payment_request_id": conflict.attempt.payment_request_id},
    )
    # The mark comes last: a crash in between makes the shop hear it twice, not never.
    yield from call_hook("payment_conflict", ConflictDetails(conflict=conflict))
    yield from conflict_reported(conflict)
