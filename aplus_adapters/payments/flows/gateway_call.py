"""One call to Alipay+: sign, send, verify, and repeat the identical body while nothing is known."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

from attrs import frozen

from aplus_adapters.errors import (
    ConfigurationError,
    InvalidValue,
    MessageError,
    NotSent,
    OutcomeUnknown,
    SignatureError,
)
from aplus_adapters.payments.effects import draw, now, send, sleep
from aplus_adapters.protocol.messages.pay import PayRequest, check_expiry
from aplus_adapters.protocol.results import Action, Rejected, look_up
from aplus_adapters.protocol.signed_messages import (
    Answer,
    SignedRequest,
    sign_request,
    verify_answer,
)

if TYPE_CHECKING:
    from datetime import datetime

    from aplus_adapters.payments.effects import Flow
    from aplus_adapters.payments.policy import Retry
    from aplus_adapters.protocol.account import Account
    from aplus_adapters.protocol.messages.cancel import CancelRequest
    from aplus_adapters.protocol.messages.inquiry import InquiryRequest
    from aplus_adapters.protocol.messages.refund import RefundRequest
    from aplus_adapters.protocol.messages.result import Result

__all__ = ["Answered", "call", "exchange"]

_MIN_TIMEOUT = 0.1  # seconds for a send near the deadline
_SLOW_DOWN = 5.0  # seconds, where REQUEST_TRAFFIC_EXCEED_LIMIT comes without Retry-After

log = logging.getLogger("aplus_adapters")


class Response(Protocol):
    """A response message; each has a result."""

    @property
    def result(self) -> Result:
        """Return the result of the call."""
        ...

    @classmethod
    def decode(cls, body: bytes, strict: bool = False) -> Self:
        """Read the bytes of an answer."""
        ...


R = TypeVar("R", bound=Response)


@frozen
class Answered(Generic[R]):
    """A verified answer; `said_at` is its Response-Time, `sends` how often the request was sent."""

    message: R
    said_at: datetime
    sends: int


def exchange(
    account: Account,
    path: str,
    body: bytes,
    response: type[R],
    *,
    retry: Retry,
    timeout: float,
    until: datetime | None = None,
    payment_request_id: str | None = None,
) -> Flow[Answered[R]]:
    """Send `body` until a verified answer says something, and return that answer.

    The same bytes are sent again, with a new Request-Time and signature, after no answer, after an
    answer that does not verify, and after a result that asks for it (UNKNOWN_EXCEPTION,
    REQUEST_TRAFFIC_EXCEED_LIMIT, an unknown U). `timeout` is seconds per send. When `retry` is used
    up, raises NotSent if no byte of any send can have arrived, otherwise OutcomeUnknown. `until` is
    the end of the claim. A call that could outlast it is not begun (NotSent), as another worker may
    be calling by then. The log names `payment_request_id`. Source: the seed page, "Result
    processing logic".
    """
    about = "" if payment_request_id is None else f"payment {payment_request_id}: "
    started = yield from now()
    longest = timedelta(seconds=max(timeout, retry.longest))
    if until is not None and started + longest > until:
        raise NotSent(f"{path}: the claim ends at {until.isoformat()}; who claims next goes on")
    # NotSent promises that no byte arrived; one doubtful send ends that promise.
    nothing_arrived = True
    repetition = 0
    while True:
        moment = yield from now()
        request = sign_request(account, path, body, moment)
        try:
            # A single send has no deadline but its own time-out.
            left = (retry.longest or timeout) - (moment - started).total_seconds()
            answer = yield from send(request, max(_MIN_TIMEOUT, min(timeout, left)))
            arrived = yield from now()
            message, said_at = _read(account, request, answer, response, arrived)
            return Answered(message, said_at, repetition + 1)
        except (NotSent, OutcomeUnknown) as error:
            nothing_arrived = nothing_arrived and isinstance(error, NotSent)
            log.warning(
                "%ssend %d brought no result: %s",
                about,
                repetition + 1,
                error,
                extra={"event": "send_failed", "payment_request_id": payment_request_id},
            )
            pause = yield from _pause(retry, repetition, error, started)
            if pause is None and (nothing_arrived or isinstance(error, OutcomeUnknown)):
                raise
            if pause is None:  # this one was not sent, an earlier one may have been
                raise OutcomeUnknown(str(error)) from error
        yield from sleep(pause)
        repetition += 1


def _pause(
    retry: Retry, repetition: int, error: NotSent | OutcomeUnknown, started: datetime
) -> Flow[float | None]:
    """Return the seconds before the next repetition, None if there is none."""
    if repetition == len(retry.pauses) or isinstance(error, ConfigurationError):
        return None  # a wrong set-up stays wrong during a retry
    pause = retry.pause(repetition, (yield from draw()))
    if isinstance(error, OutcomeUnknown) and error.retry_after is not None:
        pause = max(pause, error.retry_after)
    moment = yield from now()
    spent = (moment - started).total_seconds()
    return pause if spent + pause <= retry.deadline else None


def _read(
    account: Account,
    request: SignedRequest,
    answer: Answer,
    response: type[R],
    arrived: datetime,
) -> tuple[R, datetime]:
    """Return a verified answer and its Response-Time; raise OutcomeUnknown for any other."""
    retry_after = _retry_after(answer)
    try:
        # Verified before it is read: an unsigned S or order code proves nothing.
        said_at = verify_answer(account, request, answer, now=arrived)
        message = response.decode(answer.body)
    except (SignatureError, MessageError) as error:
        # Answers to a wrong key or signature come unsigned; what they claim helps to mend it.
        hint = _hint(response, answer)
        raise OutcomeUnknown(
            f"{request.path}: found an answer (HTTP {answer.status}) that proves nothing: {error}"
            + (f"; it claims {hint}" if hint else ""),
            retry_after=retry_after,
            hint=hint,
        ) from error
    action = look_up(message.result).action
    log.info(
        "%s: %s",
        request.path,
        message.result,
        extra={"event": "gateway_answered", **_trace(answer)},
    )
    if action is Action.SLOW_DOWN and retry_after is None:
        retry_after = _SLOW_DOWN
    if action in (Action.RETRY, Action.SLOW_DOWN):
        raise OutcomeUnknown(
            f"{request.path}: found result {message.result}, which asks for the same again",
            retry_after=retry_after,
        )
    return message, said_at


def _hint(response: type[Any], answer: Answer) -> str | None:
    """Return the result that an unverified answer claims, for the operator's log only."""
    try:
        claimed = str(response.decode(answer.body).result)
        return f"{claimed[:80].encode('unicode_escape').decode()} (not verified)"
    except MessageError:
        return None


def _trace(answer: Answer) -> dict[str, str]:
    """Return the tracerid, which Alipay+'s support asks for first."""
    for name, value in answer.headers:
        if name.lower() == "tracerid":
            return {"tracerid": value[:128]}
    return {}


def _retry_after(answer: Answer) -> float | None:
    for name, value in answer.headers:
        # `isdigit` alone also takes digits of other scripts, such as full-width ones.
        if name.lower() == "retry-after" and value.isascii() and value.isdigit() and len(value) < 6:
            return float(value)
    return None


def call(
    account: Account,
    request: PayRequest | InquiryRequest | CancelRequest | RefundRequest,
    response: type[R],
    *,
    retry: Retry,
    timeout: float,
) -> Flow[R]:
    """Send a request until a verified answer says something, and return that answer.

    Raises Rejected for a verified F (never repeated), NotSent or OutcomeUnknown when `retry` is
    used up, InvalidValue before anything is sent.
    """
    if isinstance(request, PayRequest):
        # Alipay+ ignores a later time silently: the code would live longer than was asked for.
        check_expiry(request.payment_expiry_time, (yield from now()))
        _check_settlement(account, request)
    answered = yield from exchange(
        account, request.path, request.encode(), response, retry=retry, timeout=timeout
    )
    answer = answered.message
    if answer.result.result_status == "F":
        known = look_up(answer.result)
        raise Rejected(
            f"{request.path}: {answer.result}: {known.meaning} To do: {known.advice}",
            result=answer.result,
        )
    return answer


def _check_settlement(account: Account, request: PayRequest) -> None:
    """Raise InvalidValue if the settlement needs a strategy that is missing (seed page)."""
    wanted, paid = account.settlement_currency, request.payment_amount.currency
    if wanted and wanted != paid and request.settlement_strategy is None:
        raise InvalidValue(
            f"PayRequest.settlementStrategy: missing, required as the account settles in {wanted} "
            f"and the payment is in {paid}; pass SettlementStrategy(settlement_currency={wanted!r})"
        )
