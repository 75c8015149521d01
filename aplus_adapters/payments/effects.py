"""What a flow may ask for. A flow is a generator that yields these and is sent their results.

Errors of an effect are raised inside the flow, at its `yield`. The functions below are how flows
ask: each gives the typed result of one effect.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import frozen

if TYPE_CHECKING:
    from datetime import datetime

    from aplus_adapters.payments.model import Attempt, Observation, Refund, Transition
    from aplus_adapters.protocol.signed_messages import Answer, SignedRequest

__all__ = [
    "CallHook",
    "CallStore",
    "Draw",
    "Effect",
    "Flow",
    "NewRequestId",
    "Now",
    "Record",
    "Send",
    "Sleep",
    "add",
    "add_refund",
    "call_hook",
    "call_store",
    "claim",
    "draw",
    "get",
    "new_request_id",
    "now",
    "record",
    "release",
    "send",
    "sleep",
]


@frozen
class Now:
    """The time, as an aware datetime."""


@frozen
class Draw:
    """A random float in [0, 1)."""


@frozen
class NewRequestId:
    """A new paymentRequestId that cannot be guessed."""


@frozen
class Sleep:
    """A pause."""

    seconds: float


@frozen
class Send:
    """A signed request to Alipay+: an Answer, or NotSent or OutcomeUnknown is raised."""

    request: SignedRequest
    timeout: float


@frozen
class CallStore:
    """A method of the payment store; `record` has its own effect."""

    method: str
    arguments: tuple[Any, ...]


@frozen
class Record:
    """An observation, stored in one transaction with the shop's `payment_changed`."""

    payment_request_id: str
    observation: Observation


@frozen
class CallHook:
    """A hook of the shop; HookError if it raises."""

    name: str
    details: Any


Effect = Now | Draw | NewRequestId | Sleep | Send | CallStore | Record | CallHook

T = TypeVar("T")
Flow = Generator[Effect, Any, T]
"""A generator that yields effects and returns a T."""


def now() -> Flow[datetime]:
    """Ask for the time."""
    moment: datetime = yield Now()
    return moment


def draw() -> Flow[float]:
    """Ask for a random float in [0, 1)."""
    drawn: float = yield Draw()
    return drawn


def new_request_id() -> Flow[str]:
    """Ask for a new paymentRequestId."""
    made: str = yield NewRequestId()
    return made


def sleep(seconds: float) -> Flow[None]:
    """Ask for a pause."""
    yield Sleep(seconds)


def send(request: SignedRequest, timeout: float) -> Flow[Answer]:
    """Ask for a request to be sent; `timeout` is seconds for the whole call."""
    answer: Answer = yield Send(request, timeout)
    return answer


def add(attempt: Attempt, most: int, since: datetime) -> Flow[Attempt]:
    """Ask the store to keep a new attempt; gives the one that occupies the order now."""
    stored: Attempt = yield CallStore("add", (attempt, most, since))
    return stored


def get(payment_request_id: str) -> Flow[Attempt | None]:
    """Ask the store for an attempt."""
    found: Attempt | None = yield CallStore("get", (payment_request_id,))
    return found


def add_refund(refund: Refund) -> Flow[Refund]:
    """Ask the store to keep a new refund; gives the stored one if its id is known."""
    stored: Refund = yield CallStore("add_refund", (refund,))
    return stored


def call_store(method: str, *arguments: Any) -> Flow[Any]:
    """Ask the store for anything else."""
    answer = yield CallStore(method, arguments)
    return answer


def claim(payment_request_id: str, token: int, until: datetime) -> Flow[bool]:
    """Ask the store for the claim of an attempt whose last token was `token`."""
    is_mine: bool = yield CallStore("claim", (payment_request_id, token, until))
    return is_mine


def release(payment_request_id: str, token: int, at: datetime) -> Flow[bool]:
    """Ask the store to give a claim back; the next call is to come at `at`."""
    was_mine: bool = yield CallStore("release", (payment_request_id, token, at))
    return was_mine


def record(payment_request_id: str, observation: Observation) -> Flow[Transition]:
    """Ask the store to record an observation in one transaction with the shop's hook."""
    transition: Transition = yield Record(payment_request_id, observation)
    return transition


def call_hook(name: str, details: Any) -> Flow[Any]:
    """Ask a hook of the shop."""
    answer = yield CallHook(name, details)
    return answer
