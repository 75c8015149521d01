"""The answer to one HTTP request as a value, and what each fault makes of it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from aplus_adapters.simulator.contents import encode, result
from aplus_adapters.simulator.identity import Identity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from aplus_adapters.simulator.faults import Fault
    from aplus_adapters.simulator.gateway import Call, Gateway

__all__ = ["JSON", "Reply", "reply_instead", "spoil"]

JSON = {"Content-Type": "application/json"}
_A_DAY = timedelta(days=1)
_HTML = """<!doctype html><html><head><title>502 Bad Gateway</title></head>
<body><h1>502 Bad Gateway</h1><hr>a test ordered this failure (fault html_502)</body></html>"""


@frozen(kw_only=True)
class Reply:
    """The answer to one HTTP request; if `cut`, the connection breaks before it is whole.

    `trickle` is over how many seconds its bytes come.
    """

    status: int = 200
    headers: Mapping[str, str] = field(factory=dict)
    body: bytes = b""
    cut: bool = False
    trickle: float = 0.0


def reply_instead(fault: Fault, sign: Callable[[bytes], dict[str, str]]) -> Reply:
    """Return the reply of a fault that keeps the gateway from acting.

    `sign` returns the headers with which a body is signed.
    """
    if fault.fault == "result":
        body = encode(result(fault.status, fault.code, "ordered by a test or a description"))
        return Reply(headers=JSON | (sign(body) if fault.signed else {}), body=body)
    if fault.fault == "rate_limit":
        code = "REQUEST_TRAFFIC_EXCEED_LIMIT"
        body = encode(result("U", code, "The request traffic exceeds the limit."))
        pause = {"Retry-After": f"{fault.seconds or 1:.0f}"}
        return Reply(headers=JSON | pause | sign(body), body=body)
    if fault.fault == "http_500":
        return Reply(status=500, body=b"a test ordered this failure (fault http_500)")
    if fault.fault == "html_502":
        page = {"Content-Type": "text/html; charset=utf-8"}
        return Reply(status=502, headers=page, body=_HTML.encode())
    return Reply(cut=True)


def spoil(fault: Fault, reply: Reply, call: Call, gateway: Gateway, now: datetime) -> Reply:
    """Return the reply of a call that has acted, as the fault changes it."""
    if fault.fault == "drop_answer":
        return Reply(cut=True)
    if fault.fault == "trickle":
        return evolve(reply, trickle=fault.seconds)
    if fault.fault == "truncated":
        return evolve(reply, body=reply.body[: len(reply.body) // 2])
    if fault.fault == "garbage":
        return evolve(reply, body=b"\x1f\x8b not json")
    if fault.fault == "bad_signature":
        return evolve(reply, body=reply.body + b" ")
    if fault.fault == "unsigned":
        return evolve(reply, headers=JSON)
    headers = None
    if fault.fault == "wrong_key":
        stranger = Identity.of_a_stranger()
        headers = gateway.sign(call.path, reply.body, now, call.client_id, stranger)
    elif fault.fault == "stale":
        headers = gateway.sign(call.path, reply.body, now - _A_DAY, call.client_id)
    elif fault.fault == "other_client":
        headers = gateway.sign(call.path, reply.body, now, "ANOTHER_CLIENT_0002")
    return reply if headers is None else evolve(reply, headers=JSON | headers)
