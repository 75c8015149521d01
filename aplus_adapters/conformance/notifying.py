"""Scenarios of true notifications: acknowledged, again, in other spellings, failed, other amounts."""

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
from aplus_adapters.conformance.refusing import as_paid
from aplus_adapters.simulator.identity import CLIENT_ID
from aplus_adapters.simulator.ledger import OrderState

if TYPE_CHECKING:
    from aplus_adapters.conformance.evidence import Exchange
    from aplus_adapters.conformance.play import Payment, Play

__all__ = ["NOTIFYING", "describe"]

_ACK = "notifyPayment: acknowledge"
# Why not has been said once, by the cases of the first notification.
_NO_ACK = "the shop does not acknowledge rightly at all"


def _play_paid(play: Play) -> None:
    payment = _open_payment(play)
    play.gateway.finish(payment.id, OrderState.PAID)
    exchange = play.notifier.send("true", play.notifier.content(payment.id))
    judge = play.results.judge
    if exchange.answer is None:
        judge("ack-status", False, exchange.failure, exchange)
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
    payment = _paid_payment(play)
    if not play.acknowledges:
        raise NotTried(_NO_ACK)
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
        "escapes": json.dumps({**content, "walletBrandName": "支付宝"}).replace("/", "\\/").encode(),
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


def _play_after(play: Play) -> None:
    payment = _paid_payment(play)
    _judge_contradiction(play, payment)
    mark = len(play.evidence.exchanges)
    page = play.shop.press_pay(payment.order)
    known = {other.id for other in play.payments.values()}

    def news() -> list[Exchange]:
        calls = play.gateway.calls("pay", after=mark)
        return [call for call in calls if call.payment_request_id not in known]

    calls = play.gateway.wait(news, play.pace.poll)
    payable = play.gateway.payable([call.payment_request_id for call in calls])
    found = f"{len(payable)} new payable codes"
    play.results.judge("paid-not-again", not payable, found, *calls[:1], page.last)


def _judge_contradiction(play: Play, payment: Payment) -> None:
    result = {"resultCode": "ORDER_IS_CLOSED", "resultStatus": "F", "resultMessage": "closed"}
    content = play.notifier.content(payment.id, paymentResult=result, paymentTime=None)
    exchange = play.notifier.send("true", content)
    if is_crash(exchange):
        play.results.judge("paid-stays-paid", False, describe(exchange), exchange)
        return
    paid = play.shop.is_paid(payment.order, payment.id)
    if paid is None:
        play.results.leave_out("paid-stays-paid", "give --status-url to see it")
    elif not play.is_paid_shown:
        play.results.leave_out("paid-stays-paid", "the status never said paid")
    else:
        found = f"the status {'still says' if paid else 'does not say any more that it is'} paid"
        play.results.judge("paid-stays-paid", paid, found, exchange)


def _play_failed(play: Play) -> None:
    payment = play.begin_open("failed")
    play.gateway.finish(payment.id, OrderState.REFUSED)
    content = play.notifier.content(payment.id, paymentId=None)
    exchange = play.notifier.send("true", content)
    if play.acknowledges:
        ok = is_acknowledged(exchange)
        play.results.judge("failed-acknowledged", ok, describe(exchange), exchange)
    else:
        play.results.leave_out("failed-acknowledged", _NO_ACK)
    paid = play.shop.is_paid(payment.order, payment.id)
    if paid is None:
        play.results.leave_out("failed-not-paid", "give --status-url to see it")
    else:
        found = f"the status {'says' if paid else 'does not say'} paid"
        play.results.judge("failed-not-paid", not paid, found, exchange)
    mark = len(play.evidence.exchanges)
    page = play.shop.press_pay(payment.order)
    calls = play.gateway.wait(lambda: play.gateway.calls("pay", after=mark), 0.5)
    if not calls:
        reason = f"the shop does not let it be paid anew (HTTP {page.status})"
        play.results.leave_out("new-code-new-id", reason)
        return
    ok = calls[-1].payment_request_id != payment.id
    found = "a new paymentRequestId" if ok else f"{payment.id} again, which is over"
    play.results.judge("new-code-new-id", ok, found, payment.request, calls[-1])


def _play_amounts(play: Play) -> None:
    payment = play.begin_open("other amount")
    amount = dict(play.gateway.notification(payment.id)["paymentAmount"])
    other_currency = "JPY" if amount["currency"] != "JPY" else "KRW"
    changed = {
        "other-amount": {**amount, "value": str(int(amount["value"]) + 1)},
        "other-currency": {**amount, "currency": other_currency},
    }
    for name, wrong in changed.items():
        exchange = play.notifier.send("true", as_paid(play, payment, paymentAmount=wrong))
        if is_crash(exchange):
            play.results.judge(name, False, describe(exchange), exchange)
            continue
        paid = play.shop.is_paid(payment.order, payment.id)
        if paid is None:
            play.results.leave_out(name, "give --status-url to see it")
            continue
        found = f"the status {'says' if paid else 'does not say'} paid ({describe(exchange)})"
        play.results.judge(name, not paid, found, exchange)


def _open_payment(play: Play) -> Payment:
    payment = play.payments.get("paid")
    if payment is None or play.gateway.order(payment.id) is None:
        raise NotTried("no payment was begun before")
    return payment


def _paid_payment(play: Play) -> Payment:
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
    said = "says S" if says_s(exchange) else "no S"
    return f"HTTP {exchange.status}, {said}, signature: {signature[:80]}"


def _case(name: str, rule: str, expected: str, source: str = _ACK) -> Case:
    return Case(name=name, rule=rule, expected=expected, source=source)


NOTIFYING = (
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
    Scenario(
        name="after paid",
        title="What comes after the order is paid",
        play=_play_after,
        cases=(
            _case(
                "paid-stays-paid",
                "A final result stays, whatever is notified later.",
                "a status that says paid, and no unsigned HTTP 5xx",
                "notifyPayment",
            ),
            _case("paid-not-again", "A paid order has no new code.", "no new payable code", ""),
        ),
    ),
    Scenario(
        name="failed",
        title="The buyer refuses in the wallet",
        play=_play_failed,
        cases=(
            _case("failed-acknowledged", "S means received, also of a failure.", "acknowledged"),
            _case(
                "failed-not-paid",
                "The result is paymentResult.",
                "a status that does not say paid",
                "notifyPayment: paymentResult",
            ),
            _case(
                "new-code-new-id",
                "A new code is a new payment.",
                "another paymentRequestId",
                "idempotency of paymentRequestId",
            ),
        ),
    ),
    Scenario(
        name="amounts",
        title="Another amount, another currency than was asked for",
        play=_play_amounts,
        cases=tuple(
            _case(
                name,
                f"The {word} is compared with the shop's own record.",
                "a status that does not say paid, and no unsigned HTTP 5xx",
                "notifyPayment: verify the notification",
            )
            for name, word in (("other-amount", "amount"), ("other-currency", "currency"))
        ),
    ),
)
