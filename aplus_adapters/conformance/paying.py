"""Scenarios of the pay call: the request itself, and several presses of the button."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from attrs import evolve

from aplus_adapters.conformance.cases import Case, NotTried, Scenario
from aplus_adapters.conformance.notifications import time_problem
from aplus_adapters.simulator.identity import CLIENT_ID

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from aplus_adapters.conformance.evidence import Exchange
    from aplus_adapters.conformance.play import Payment, Play

__all__ = ["PAYING", "calls_of_order"]

_PAGE = "pay (order code)"
_AUTHENTICITY = ("INVALID_SIGNATURE", "INVALID_CLIENT", "KEY_NOT_FOUND", "MEDIA_TYPE")


def _play_pay(play: Play) -> None:
    judge = play.results.judge
    try:
        payment = play.begin("paid")
    except NotTried as reason:
        last = play.evidence.exchanges[-1] if play.evidence.exchanges else None
        play.results.wrong("pay-arrives", str(reason), last)
        raise
    request = payment.request
    play.results.right("pay-arrives", f"paymentRequestId {payment.id}", request)
    found = "; ".join(_header_problems(request.request.headers))
    judge("pay-headers", not found, found or "as documented", request)
    signature = request.request.signature
    judge("pay-signature", signature == "right", signature, request)
    if request.refusal.startswith(_AUTHENTICITY):
        play.results.leave_out("pay-well-formed", f"it was refused before: {request.refusal}")
    else:
        judge("pay-well-formed", not request.refusal, request.refusal or "legal", request)
    _judge_notify_url(play, request)
    order = play.gateway.order(payment.id)
    if order is None:
        raise NotTried(f"the pay request was refused: {request.refusal}")
    _judge_status_page(play, payment)
    texts = [payment.page.text, *play.look(payment)]
    play.code_is_visible = any(order.token in text for text in texts)
    found = "its text is on the page" if play.code_is_visible else "its text is nowhere on the page"
    judge("code-shown", play.code_is_visible, found, payment.page.last)
    play.picture("The code is shown", payment.page.url)


def _header_problems(headers: Mapping[str, str]) -> Iterator[str]:
    """Yield what is wrong with the headers of a pay request."""
    if headers.get("client-id") != CLIENT_ID:
        yield f"Client-Id {headers.get('client-id')!r}, expected {CLIENT_ID}"
    problem = time_problem(headers.get("request-time"))
    if problem:
        yield f"Request-Time: {problem}"
    media_type = headers.get("content-type", "none")
    if media_type.partition(";")[0].strip().lower() != "application/json":
        yield f"Content-Type {media_type}, expected application/json"


def _judge_status_page(play: Play, payment: Payment) -> None:
    paid = play.shop.is_paid(payment.order, payment.id)
    if paid is None:
        play.results.leave_out("status-page", "give --status-url to see what is paid")
        return
    seen = play.evidence.exchanges[-1]
    if not paid:
        play.results.right("status-page", "the status does not say paid", seen)
        return
    play.shop.ways = evolve(play.shop.ways, status_url=None)  # nothing can be learnt from it
    found = f"the status matches {play.shop.ways.paid} from the beginning; choose another --paid"
    play.results.wrong("status-page", found, seen)


def _judge_notify_url(play: Play, request: Exchange) -> None:
    url = str(request.request.json().get("paymentNotifyUrl", ""))
    path, expected = "/" + url.partition("://")[2].partition("/")[2], play.notifier.path
    ok = path.partition("?")[0] == expected
    play.results.judge("pay-notify-url", ok, url[:200] or "none", request)


def _play_double_press(play: Play) -> None:
    order = play.shop.new_order()
    mark = len(play.evidence.exchanges)
    with ThreadPoolExecutor(2) as buyers:
        pages = list(buyers.map(lambda _: play.shop.press_pay(order), range(2)))
    patience = 0.5 if play.is_silent else play.pace.patience
    if not play.gateway.wait(lambda: play.gateway.calls("pay", after=mark), patience):
        raise NotTried(f"no pay request of order {order} arrived")
    _judge_one_code(play, "double-press", order, mark)
    play.shop.press_pay(order)
    _judge_one_code(play, "press-again", order, mark)
    crashes = [page.last for page in pages if page.status >= 500]
    found = ", ".join(f"HTTP {page.status}" for page in pages)
    play.results.judge("double-press-answers", not crashes, found, *(page.last for page in pages))


def _judge_one_code(play: Play, name: str, order: str, mark: int) -> None:
    calls = calls_of_order(play, order, mark)
    ids = sorted({call.payment_request_id for call in calls})
    payable = play.gateway.payable(ids)
    found = f"{len(calls)} pay requests with {len(ids)} ids, {len(payable)} payable codes"
    play.results.judge(name, len(payable) <= 1, found, *calls)


def calls_of_order(play: Play, order: str, mark: int) -> list[Exchange]:
    """Return the pay requests of an order; the shop may call it otherwise than the buyer does."""
    calls = play.gateway.calls("pay", after=mark)
    background = {payment.id for payment in play.payments.values() if payment.order != order}
    return [call for call in calls if call.payment_request_id not in background]


PAYING = (
    Scenario(
        name="pay",
        title="The buyer presses pay",
        play=_play_pay,
        cases=(
            Case(
                name="pay-arrives",
                rule="The shop's pay route makes it call pay.",
                expected="a pay request at the gateway",
                source=_PAGE,
            ),
            Case(
                name="pay-headers",
                rule="A request has the client's Client-Id, a Request-Time and a JSON type.",
                expected="Client-Id, Request-Time of now, Content-Type: application/json",
                source="message headers",
            ),
            Case(
                name="pay-signature",
                rule="The signature covers path, Client-Id, Request-Time and the exact body.",
                expected="a signature that the client's public key verifies",
                source="sign a request",
            ),
            Case(
                name="pay-well-formed",
                rule="Every required field is there, and every scalar is a string.",
                expected="a request that breaks no rule of the API page",
                source=_PAGE,
            ),
            Case(
                name="pay-notify-url",
                rule="The paymentNotifyUrl is where this shop takes notifications.",
                expected="the path of the tested endpoint, as signatures cover it",
                source=_PAGE,
            ),
            Case(
                name="status-page",
                rule="Before a payment is paid, its status page does not say so.",
                expected="a status that does not say paid",
                source="",
            ),
            Case(
                name="code-shown",
                rule="The page (or the JSON) holds the code as text, to open by a link.",
                expected="the code's text; a picture of it alone cannot be judged here",
                source=_PAGE,
                is_advice=True,
            ),
        ),
    ),
    Scenario(
        name="double press",
        title="The buyer presses pay twice at once, and once more",
        play=_play_double_press,
        cases=(
            Case(
                name="double-press",
                rule="However often pay is pressed, an order has one payable code at most.",
                expected="one paymentRequestId, or the earlier one closed first",
                source="idempotency of paymentRequestId",
            ),
            Case(
                name="press-again",
                rule="A later press shows the same code while it can be paid.",
                expected="no second payable code",
                source="idempotency of paymentRequestId",
            ),
            Case(
                name="double-press-answers",
                rule="Both presses are answered.",
                expected="no HTTP 5xx",
                source="",
            ),
        ),
    ),
)
