"""Attempts, observations and conflicts as JSON details and back: nothing of SQL in here."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from aplus_adapters.payments.attempt import (
    News,
    Observation,
    OrderCode,
    Source,
)
from aplus_adapters.protocol.amounts import Amount
from aplus_adapters.protocol.messages.result import Result
from aplus_adapters.protocol.timestamps import Timestamp

__all__ = ["dump_observation", "dump_order_code", "load_observation", "load_order_code"]


def dump_order_code(code: OrderCode | None) -> str | None:
    """Write an order code as JSON text."""
    return None if code is None else json.dumps({"text": code.text, "images": code.images})


def load_order_code(text: str | None) -> OrderCode | None:
    """Read what `dump_order_code` wrote."""
    if text is None:
        return None
    found = json.loads(text)
    return OrderCode(text=found["text"], images=tuple((kind, url) for kind, url in found["images"]))


def dump_observation(observation: Observation) -> str:
    """Write everything of an observation but the order code as JSON text.

    The code is with the attempt already and of no use afterwards.
    """
    details: dict[str, Any] = {
        "source": observation.source,
        "news": observation.news,
        "at": observation.at.isoformat(),
        "clientId": observation.client_id,
        "result": observation.result and observation.result.to_wire(),
        "paymentId": observation.payment_id,
        "amount": observation.amount and observation.amount.to_wire(),
        "expiresAt": observation.expires_at and observation.expires_at.isoformat(),
        "paymentTime": observation.payment_time and observation.payment_time.text,
        "wallet": observation.wallet,
        "nextCallAt": observation.next_call_at and observation.next_call_at.isoformat(),
    }
    return json.dumps({key: value for key, value in details.items() if value is not None})


def load_observation(text: str) -> Observation:
    """Read what `dump_observation` wrote."""
    found = json.loads(text)

    def moment(key: str) -> datetime | None:
        return datetime.fromisoformat(found[key]) if key in found else None

    return Observation(
        source=Source(found["source"]),
        news=News(found["news"]),
        at=datetime.fromisoformat(found["at"]),
        client_id=found["clientId"],
        result=Result.from_wire(found["result"]) if "result" in found else None,
        payment_id=found.get("paymentId"),
        amount=Amount.from_wire(found["amount"]) if "amount" in found else None,
        expires_at=moment("expiresAt"),
        payment_time=Timestamp(found["paymentTime"]) if "paymentTime" in found else None,
        wallet=found.get("wallet"),
        next_call_at=moment("nextCallAt"),
    )
