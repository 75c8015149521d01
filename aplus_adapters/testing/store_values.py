"""Values and helpers of the store contract: legal attempts, and calls from many threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import evolve

from aplus_adapters.errors import AplusError
from aplus_adapters.payments.model import Attempt, Observation, Outcome, Refund, Source
from aplus_adapters.protocol.amounts import Amount
from aplus_adapters.protocol.messages.result import Result
from aplus_adapters.protocol.timestamps import Timestamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from aplus_adapters.payments.model import Transition

__all__ = [
    "LATER",
    "NOON",
    "WORKERS",
    "a_refund",
    "an_attempt",
    "an_observation",
    "at_once",
    "attempt_to",
    "expect",
    "nothing",
]

T = TypeVar("T")

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LATER = NOON + timedelta(seconds=30, microseconds=7)
WORKERS = 8


def an_attempt(number: int = 1, order_ref: str = "A-1", **changes: Any) -> Attempt:
    """Return a legal attempt over 4200 JPY, not stored yet."""
    attempt = Attempt(
        payment_request_id=f"pay{number}",
        order_ref=order_ref,
        client_id="C",
        amount=Amount("JPY", 4200),
        request_body=b'{"\xc3\xbc":1}',
        created_at=NOON,
        expires_at=NOON + timedelta(minutes=3),
        next_call_at=NOON,
        changed_at=NOON,
    )
    return evolve(attempt, **changes)


def an_observation(outcome: Outcome = Outcome.SUCCEEDED, **changes: Any) -> Observation:
    """Return the observation of a notification about that attempt."""
    observation = Observation(
        source=Source.NOTIFICATION,
        outcome=outcome,
        at=LATER,
        client_id="C",
        result=Result(result_code="SUCCESS", result_status="S", result_message="支付 🍜"),
        payment_id="P-1",
        amount=Amount("JPY", 4200),
        payment_time=Timestamp("2026-11-23T12:01:07.5+08:00"),
        wallet="WALLET",
    )
    return evolve(observation, **changes)


def a_refund(number: int = 1, value: int = 1000, **changes: Any) -> Refund:
    """Return a legal refund of that attempt, not stored yet."""
    refund = Refund(
        refund_request_id=f"refund{number}",
        payment_request_id="pay1",
        client_id="C",
        amount=Amount("JPY", value),
        reason="the seat was broken",
        request_body=f'{{"refundRequestId":"refund{number}","value":"{value}"}}'.encode(),
        created_at=NOON,
        next_call_at=NOON,
        changed_at=NOON,
    )
    return evolve(refund, **changes)


def nothing(_transition: Transition, _connection: Any) -> None:
    """Do nothing, as a hook of a shop that ignores the transition."""


def at_once(work: Callable[[int], T]) -> list[T]:
    """Call `work` from WORKERS threads that start together, and return their results."""
    start = threading.Barrier(WORKERS)

    def run(number: int) -> T:
        start.wait()
        return work(number)

    with ThreadPoolExecutor(WORKERS) as threads:
        return list(threads.map(run, range(WORKERS)))


def attempt_to(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return the result of a call, or the AplusError that it raises."""
    try:
        return function(*arguments)
    except AplusError as error:
        return error


def expect(kind: type[Exception], function: Callable[..., Any], *arguments: Any) -> None:
    """Raise AssertionError if a call does not raise an error of this kind."""
    try:
        answer = function(*arguments)
    except kind:
        return
    raise AssertionError(f"found {answer!r}, expected the store to raise {kind.__name__}")
