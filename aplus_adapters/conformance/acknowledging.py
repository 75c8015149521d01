"""Scenarios of the acknowledgement: the first notification, duplicates, other spellings."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from aplus_adapters.conformance.cases import Case, NotTried, Scenario
from aplus_adapters.conformance.notifications import (
    encode,
    is_acknowledged,
    is_crash,
    says_s,
    time_problem,
)
from aplus_adapters.simulator.identity import CLIENT_ID
from aplus_adapters.simulator.ledger import OrderState

if TYPE_CHECKING:
    from aplus_adapters.conformance.evidence import Exchange
    from aplus_adapters.conformance.play import Payment, Play

__all__ = ["ACKNOWLEDGING", "NO_ACK", "describe", "paid_payment"]

_ACK = "notifyPayment: acknowledge"
NO_ACK = "the shop does not acknowledge rightly at all"
"""Why a case is left out. What is wrong has been said by the cases of the first notification."""


def _play_paid(play: Play) -> None:
    payment = _open_payment(play)
    play.gateway.finish(payment.id, OrderState.PAID)
    exchange = play.notifier.send("true", play.notifier.content(payment.id))
    judge = play.results.judge
    if exchange.answer is None:
        play.results.wrong("ack-status", exchange.failure, exchange)
        raise NotTried("the notification was not answered")
    headers = exchange.answer.headers
    judge("ack-status", exchange.status == 200, f"HTTP {exchange.status}", exchange)
    in_time = exchange.seconds < play.pace.answer
    judge("ack-in-time", in_time, f"{exchange.seconds:.2f} s", exchange)
    found = str(exchange.answer.json().get("result"))[:200]
    judge("ack-says-s", says_s(exchange), found, exchange)
    client_id = headers.get("client-id")
    judge("ack-client-id", client_id == CLIENT_ID, f"{client_id}", exchange)
    problem = time_problem(headers.get("response-time"))
    judge("ack-response-time", not problem, problem or headers["response-time"], exchange)
    media_type = headers.get("content-type", "none")
    is_json = media_type.partition(";")[0].strip().lower() == "application/json"
    judge("ack-content-type", is_json, media_type, exchange)
    play.acknowledges = is_acknowledged(exchange)
    if "response-time" in headers:
        problem = play.notifier.explain_answer(exchange)
        judge("ack-signature", not problem, problem or "right", exchange)
    else:
        play.results.leave_out("ack-signature", "there is no Response-Time to verify it with")
    paid = play.shop.becomes_paid(payment.order, payment.id, min(5.0, play.pace.patience))
    if paid is None:
        play.results.leave_out("paid-shown", "give --status-url to see it")
    else:
        play.is_paid_shown = paid
        judge("paid-shown", paid, f"the status {'says' if paid else 'does not say'} paid", exchange)
    play.picture("Paid", payment.page.url)


def _play_duplicates(play: Play) -> None:
    payment = paid_payment(play)
    if not play.acknowledges:
        raise NotTried(NO_ACK)
    # The first one came in the scenario before.
    first = play.notifier.send("true", play.notifier.content(payment.id))
    same = play.notifier.send("true", first.request.body, dict(first.request.headers))
    ok = is_acknowledged(first) and is_acknowledged(same)
    found = f"{describe(first)}; {describe(same)}"
    play.results.judge("duplicate", ok, found, first, same)
    if not ok:
        raise NotTried("duplicates are not acknowledged")
    with ThreadPoolExecutor(3) as senders:
        body = first.request.body
        at_once = list(senders.map(lambda _: play.notifier.send("true", body), range(3)))
    crashes = [exchange for exchange in at_once if is_crash(exchange)]
    found = ", ".join(map(describe, at_once))
    play.results.judge("duplicates-at-once", not crashes, found, *at_once)
    _judge_spellings(play, payment, first)


def _judge_spellings(play: Play, payment: Payment, first: Exchange) -> None:
    content = play.notifier.content(payment.id)
    spellings = {
        "spaces and line ends": json.dumps(content, indent=3).replace("\n", "\r\n").encode(),
        "a line end after it": encode(content) + b"\n",
        "no spaces": json.dumps(content, separators=(",", ":")).encode(),
        "CJK in UTF-8": encode({**content, "walletBrandName": "支付宝 カカオ"}),
        "escapes": json.dumps({**content, "walletBrandName": "支付宝"})
        .replace("/", "\\/")
        .encode(),
        "another order of fields": encode(dict(reversed(content.items()))),
    }
    _judge_each(play, "byte-for-byte", {n: (body, None) for n, body in spellings.items()})
    more: dict[str, Any] = {
        "newField": "x",
        "newObject": {"a": ["b", {"c": "d"}]},
        "settlementQuote": None,
        "mppPaymentId": None,
    }
    _judge_each(play, "unknown-fields", {"more fields": (encode(content | more), None)})
    body = encode(content)
    headers = play.notifier.sign(body)
    lower = {name.lower(): value for name, value in headers.items()}
    lower["content-type"] = "application/json; charset=UTF-8"
    lower["tracerid"] = "conformance"
    _judge_each(play, "header-names", {"lower case": (body, lower)})


def _judge_each(
    play: Play, name: str, forms: dict[str, tuple[bytes, dict[str, str] | None]]
) -> None:
    sent = {form: play.notifier.send("true", body, how) for form, (body, how) in forms.items()}
    wrong = {form: exchange for form, exchange in sent.items() if not is_acknowledged(exchange)}
    found = "; ".join(f"{form}: {describe(exchange)}" for form, exchange in wrong.items())
    evidence = list((wrong or sent).values())[:3]
    play.results.judge(name, not wrong, found or "acknowledged: " + ", ".join(sent), *evidence)


def _open_payment(play: Play) -> Payment:
    payment = play.payments.get("paid")
    if payment is None or play.gateway.order(payment.id) is None:
        raise NotTried("no payment was begun before")
    return payment


def paid_payment(play: Play) -> Payment:
    """Return the payment that was notified as paid; raise NotTried if there is none."""
    payment = _open_payment(play)
    order = play.gateway.order(payment.id)
    if order is None or order.state is not OrderState.PAID:
        raise NotTried("no payment was paid before")
    return payment


def describe(exchange: Exchange) -> str:
    """Return an answer to a notification in a few words."""
    if is_acknowledged(exchange):
        return "acknowledged"
    if exchange.answer is None or exchange.failure:
        return exchange.failure
    signature = exchange.answer.signature or "unsigned"
    result = "says S" if says_s(exchange) else "no S"
    return f"HTTP {exchange.status}, {result}, signature: {signature[:80]}"


def _case(name: str, rule: str, expected: str, source: str = _ACK) -> Case:
    return Case(name=name, rule=rule, expected=expected, source=source)


ACKNOWLEDGING = (
    Scenario(
        name="paid",
        title="The buyer pays, and Alipay+ notifies the shop",
        play=_play_paid,
        cases=(
            _case("ack-status", "A notification is answered with HTTP 200.", "HTTP 200"),
            _case("ack-in-time", "Alipay+ waits 5 seconds for the answer.", "less than 5 s"),
            _case("ack-says-s", "The answer says that it was received.", "resultStatus S"),
            _case("ack-client-id", "The answer has the client's own Client-Id.", CLIENT_ID),
            _case(
                "ack-response-time",
                "The answer has the time at which it was signed.",
                "a Response-Time of now, ISO 8601 with a zone",
            ),
            _case("ack-content-type", "The answer is JSON.", "Content-Type: application/json"),
            _case(
                "ack-signature",
                "The answer is signed: path, Client-Id, Response-Time and the exact body.",
                "a signature that the client's public key verifies",
            ),
            _case("paid-shown", "A paid order is paid in the shop.", "a status that says paid"),
        ),
    ),
    Scenario(
        name="duplicates",
        title="The same notification comes again, and in other spellings",
        play=_play_duplicates,
        cases=(
            _case("duplicate", "Duplicates are normal.", "each of them acknowledged"),
            _case("duplicates-at-once", "Three come at once.", "no unsigned HTTP 5xx"),
            _case(
                "byte-for-byte",
                "Signatures are verified over the bytes as they came.",
                "every spelling of the JSON acknowledged",
                "verify a notification",
            ),
            _case(
                "unknown-fields",
                "Alipay+ adds fields, and null is an absent field.",
                "acknowledged",
                "data types",
            ),
            _case("header-names", "Names of headers have no case.", "acknowledged", "headers"),
        ),
    ),
)
