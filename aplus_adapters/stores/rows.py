"""Convert attempts, refunds, observations and conflicts to rows and back, without SQL."""

from __future__ import annotations

import json
import logging
from datetime import datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import evolve

from aplus_adapters.errors import AplusError
from aplus_adapters.payments.model import (
    Attempt,
    Conflict,
    Observation,
    OrderCode,
    Outcome,
    Refund,
    RefundObservation,
    RefundOutcome,
    RefundState,
    Source,
    Stage,
    State,
)
from aplus_adapters.payments.search import ConflictRecord
from aplus_adapters.protocol.amounts import Amount
from aplus_adapters.protocol.messages.result import Result
from aplus_adapters.protocol.timestamps import Timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = [
    "attempt_changes",
    "attempt_of",
    "attempt_row",
    "conflict_of",
    "dump_observation",
    "load_observation",
    "observation_of",
    "readable",
    "record_of",
    "refund_changes",
    "refund_of",
    "refund_row",
]

log = logging.getLogger("aplus_adapters")

T = TypeVar("T")


def attempt_row(attempt: Attempt) -> dict[str, Any]:
    """Return all columns of an attempt."""
    return {
        "payment_request_id": attempt.payment_request_id,
        "order_ref": attempt.order_ref,
        "client_id": attempt.client_id,
        "currency": attempt.amount.currency,
        "amount_value": attempt.amount.value,
        "request_body": attempt.request_body,
        "created_at": attempt.created_at,
        **attempt_changes(attempt),
    }


def attempt_changes(attempt: Attempt, before: Attempt | None = None) -> dict[str, Any]:
    """Return the columns of an attempt that may change; with `before` only those that do."""
    return {
        name: dump(value_of(attempt))
        for name, (value_of, dump) in _CHANGING.items()
        if before is None or value_of(before) != value_of(attempt)
    }


def attempt_of(row: Mapping[Any, Any]) -> Attempt:
    """Return the attempt of a row."""
    return Attempt(
        payment_request_id=row["payment_request_id"],
        order_ref=row["order_ref"],
        client_id=row["client_id"],
        state=State(row["state"]),
        amount=Amount(row["currency"], row["amount_value"]),
        request_body=bytes(row["request_body"]),  # psycopg2 returns a memoryview
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        next_call_at=row["next_call_at"],
        changed_at=row["changed_at"],
        payment_id=row["payment_id"],
        order_code=_load_order_code(row["order_code"]),
        result=_load_result(row["result"]),
        payment_time=Timestamp(row["payment_time"]) if row["payment_time"] else None,
        wallet=row["wallet"],
        claim=row["claim"],
        claimed_until=row["claimed_until"],
        success_reported=row["success_reported"],
        disputed=_load_amount(row["disputed"]),
        refunded=row["refunded"],
        last_answer=row["last_answer"],
    )


def refund_row(refund: Refund) -> dict[str, Any]:
    """Return all columns of a refund."""
    return {
        "refund_request_id": refund.refund_request_id,
        "payment_request_id": refund.payment_request_id,
        "client_id": refund.client_id,
        "currency": refund.amount.currency,
        "amount_value": refund.amount.value,
        "reason": refund.reason,
        "request_body": refund.request_body,
        "created_at": refund.created_at,
        **refund_changes(refund),
    }


def refund_changes(refund: Refund) -> dict[str, Any]:
    """Return the columns of a refund that may change."""
    return {
        "state": refund.state.value,
        "next_call_at": refund.next_call_at,
        "changed_at": refund.changed_at,
        "refund_id": refund.refund_id,
        "result": _dump_result(refund.result),
        "claim": refund.claim,
        "claimed_until": refund.claimed_until,
    }


def refund_of(row: Mapping[Any, Any]) -> Refund:
    """Return the refund of a row."""
    return Refund(
        refund_request_id=row["refund_request_id"],
        payment_request_id=row["payment_request_id"],
        client_id=row["client_id"],
        state=RefundState(row["state"]),
        amount=Amount(row["currency"], row["amount_value"]),
        reason=row["reason"],
        request_body=bytes(row["request_body"]),
        created_at=row["created_at"],
        next_call_at=row["next_call_at"],
        changed_at=row["changed_at"],
        refund_id=row["refund_id"],
        result=_load_result(row["result"]),
        claim=row["claim"],
        claimed_until=row["claimed_until"],
    )


def dump_observation(observation: Observation | RefundObservation) -> str:
    """Return an observation as JSON text, without its order code, which the attempt keeps."""
    details: dict[str, Any] = {
        "source": observation.source.value,
        "outcome": observation.outcome.value,
        "at": observation.at.isoformat(),
        "clientId": observation.client_id,
        "result": observation.result and observation.result.to_wire(),
        "amount": observation.amount and observation.amount.to_wire(),
        "saidAt": observation.said_at and observation.said_at.isoformat(),
        "claim": observation.claim,
    }
    if isinstance(observation, RefundObservation):
        details["refundRequestId"] = observation.refund_request_id
        details["refundId"] = observation.refund_id
    else:
        details |= {
            "paymentId": observation.payment_id,
            "expiresAt": observation.expires_at and observation.expires_at.isoformat(),
            "paymentTime": observation.payment_time and observation.payment_time.text,
            "wallet": observation.wallet,
            "givenBack": observation.given_back and observation.given_back.to_wire(),
            "nextCallAt": observation.next_call_at and observation.next_call_at.isoformat(),
        }
    return json.dumps({key: value for key, value in details.items() if value is not None})


def load_observation(text: str) -> Observation | RefundObservation:
    """Return the observation that `dump_observation` wrote."""
    details = json.loads(text)

    def moment(key: str) -> datetime | None:
        return datetime.fromisoformat(details[key]) if key in details else None

    common: dict[str, Any] = {
        "source": Source(details["source"]),
        "at": datetime.fromisoformat(details["at"]),
        "client_id": details["clientId"],
        "result": Result.from_wire(details["result"]) if "result" in details else None,
        "amount": Amount.from_wire(details["amount"]) if "amount" in details else None,
        "said_at": moment("saidAt"),
        "claim": details.get("claim"),
    }
    if "refundRequestId" in details:
        return RefundObservation(
            outcome=RefundOutcome(details["outcome"]),
            refund_request_id=details["refundRequestId"],
            refund_id=details.get("refundId"),
            **common,
        )
    return Observation(
        outcome=Outcome(details["outcome"]),
        payment_id=details.get("paymentId"),
        expires_at=moment("expiresAt"),
        payment_time=Timestamp(details["paymentTime"]) if "paymentTime" in details else None,
        wallet=details.get("wallet"),
        given_back=Amount.from_wire(details["givenBack"]) if "givenBack" in details else None,
        next_call_at=moment("nextCallAt"),
        **common,
    )


def observation_of(row: Mapping[Any, Any]) -> Observation | RefundObservation:
    """Return the observation of a row, which may stand for several."""
    observation = load_observation(row["details"])
    if isinstance(observation, Observation) and row["count"] > 1:
        return evolve(observation, count=row["count"], first_at=row["first_at"])
    return observation


def conflict_of(row: Mapping[Any, Any]) -> Conflict:
    """Return the conflict of a row of an attempt with the conflict's own columns."""
    observation = load_observation(row["details"])
    return Conflict(attempt=attempt_of(row), observation=observation, reason=row["reason"])


def record_of(row: Mapping[Any, Any]) -> ConflictRecord:
    """Return the conflict of such a row with what became of it."""
    return ConflictRecord(
        conflict=conflict_of(row),
        is_reported=row["unreported"] is None,
        resolved_at=row["resolved_at"],
        resolved_by=row["resolved_by"],
        note=row["note"],
    )


def readable(rows: Iterable[Mapping[Any, Any]], item_of: Callable[[Any], T]) -> Iterator[T]:
    """Yield the items of rows; skip and log a row that cannot be read."""
    for row in rows:
        try:
            yield item_of(row)
        except (AplusError, ValueError, TypeError, LookupError, AttributeError) as error:
            log.error(  # without text and traceback, which may hold buyers' data
                "payment %s: found a row that cannot be read (%s), expected one of this version; "
                "the payment waits: update this worker if a newer one wrote it, or repair the row",
                row["payment_request_id"],
                type(error).__name__,
                extra={"event": "row_unreadable", "payment_request_id": row["payment_request_id"]},
            )


def _occupied_order(attempt: Attempt) -> str | None:
    # The unique index ignores NULL, so closed attempts do not stand in a new one's way.
    return attempt.order_ref if attempt.occupies_order else None


def _dump_order_code(code: OrderCode | None) -> str | None:
    if code is None:
        return None
    expires_at = code.expires_at and code.expires_at.isoformat()
    return json.dumps({"text": code.text, "images": code.images, "expiresAt": expires_at})


def _load_order_code(text: str | None) -> OrderCode | None:
    if text is None:
        return None
    details = json.loads(text)
    expires_at = details["expiresAt"]
    return OrderCode(
        text=details["text"],
        images=tuple((kind, url) for kind, url in details["images"]),
        expires_at=datetime.fromisoformat(expires_at) if expires_at else None,
    )


def _dump_amount(amount: Amount | None) -> str | None:
    return None if amount is None else json.dumps(amount.to_wire())


def _load_amount(text: str | None) -> Amount | None:
    return None if text is None else Amount.from_wire(json.loads(text))


def _dump_result(result: Result | None) -> str | None:
    return None if result is None else result.to_json()


def _load_result(text: str | None) -> Result | None:
    return None if text is None else Result.decode(text.encode())


def _dump_word(word: State | Stage | None) -> str | None:
    return None if word is None else word.value


def _dump_timestamp(timestamp: Timestamp | None) -> str | None:
    return None if timestamp is None else timestamp.text


def _as_it_is(value: Any) -> Any:
    return value


# For each column what it keeps of an attempt, and how.
_CHANGING: dict[str, tuple[Callable[[Attempt], Any], Callable[[Any], Any]]] = {
    "occupied_order": (_occupied_order, _as_it_is),
    "state": (attrgetter("state"), _dump_word),
    "order_code": (attrgetter("order_code"), _dump_order_code),
    "result": (attrgetter("result"), _dump_result),
    "payment_time": (attrgetter("payment_time"), _dump_timestamp),
    "disputed": (attrgetter("disputed"), _dump_amount),
    "stage": (attrgetter("stage"), _dump_word),
    **{
        name: (attrgetter(name), _as_it_is)
        for name in (
            *("expires_at", "next_call_at", "changed_at", "payment_id", "wallet", "claim"),
            *("claimed_until", "success_reported", "refunded", "last_answer", "wallet_key"),
        )
    },
}
