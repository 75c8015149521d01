"""Scenarios of the pay call: the request itself, two presses, lost and false answers, a refusal."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from aplus_adapters.conformance.cases import Case, NotTried, Scenario
from aplus_adapters.conformance.gateway import Plan, false_codes
from aplus_adapters.conformance.notifications import time_problem
from aplus_adapters.simulator.identity import CLIENT_ID

if TYPE_CHECKING:
    from aplus_adapters.conformance.evidence import Exchange
    from aplus_adapters.conformance.play import Payment, Play

__all__ = ["PAYING"]

_PAGE = "pay (order code)"
_AUTHENTICITY = ("INVALID_SIGNATURE", "INVALID_CLIENT", "KEY_NOT_FOUND", "MEDIA_TYPE")


def _play_pay(play: Play) -> None:
    judge = play.results.judge
    try:
        payment = play.begin("paid")
    except NotTried as reason:
        last = play.evidence.exchanges[-1] if play.evidence.exchanges else None
        judge("pay-arrives", False, str(reason), last)
        raise
    request = payment.request
    judge("pay-arrives", True, f"paymentRequestId {payment.id}", request)
    headers = request.request.headers
    problems = [
        f"Client-Id {headers.get('client-id')!r}, expected {CLIENT_ID}"
        if headers.get("client-id") != CLIENT_ID
        else "",
        time_problem(headers.get("request-time")) and f"Request-Time: {time_problem(headers.get('request-time'))}",
        ""
        if headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"
        else f"Content-Type {headers.get('content-type')!r}, expected application/json",
    ]
    found = "; ".join(filter(None, problems))
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
    texts = [payment.page.text, *play.look(payment)]
    play.code_is_visible = any(order.token in text for text in texts)
    found = "its text is on the page" if play.code_is_visible else "its text is nowhere on the page"
    judge("code-shown", play.code_is_visible, found, payment.page.last)
    play.picture("The code is shown", payment.page.url)


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
    if not play.gateway.wait(lambda: play.gateway.calls("pay", after=mark), play.pace.patience):
        raise NotTried(f"no pay request of order {order} arrived")
    _judge_one_code(play, "double-press", order, mark)
    play.shop.press_pay(order)
    _judge_one_code(play, "press-again", order, mark)
    crashes = [page.last for page in pages if page.status >= 500]
    found = ", ".join(f"HTTP {page.status}" for page in pages)
    play.results.judge("double-press-answers", not crashes, found, *(page.last for page in pages))


def _judge_one_code(play: Play, name: str, order: str, mark: int) -> None:
    calls = _calls_of_order(play, order, mark)
    ids = sorted({call.payment_request_id for call in calls})
    payable = play.gateway.payable(ids)
    found = f"{len(calls)} pay requests with {len(ids)} ids, {len(payable)} payable codes"
    play.results.judge(name, len(payable) <= 1, found, *calls)


def _calls_of_order(play: Play, order: str, mark: int) -> list[Exchange]:
    """Return the pay requests of an order; the shop may call it otherwise than the buyer does."""
    calls = play.gateway.calls("pay", after=mark)
    background = {
        payment.id for payment in play.payments.values() if payment.order != order
    }
    return [call for call in calls if call.payment_request_id not in background]


def _play_lost_answer(play: Play) -> None:
    payment = play.begin("lost", Plan(pay=["lost"]))
    again = _follow_up(play, payment, 1)
    if not again:
        play.shop.press_pay(payment.order)
        again = _follow_up(play, payment, 1)
    others = [
        call
        for call in _calls_of_order(play, payment.order, payment.mark)
        if call.payment_request_id != payment.id
    ]
    found = f"{again[0].name} came" if again else "nothing came again"
    play.results.judge("lost-answer-followed-up", bool(again), found, payment.request, *again[:1])
    payable = play.gateway.payable([payment.id, *(call.payment_request_id for call in others)])
    ok = len(payable) <= 1
    found = f"{len(payable)} payable codes of one order"
    play.results.judge("lost-answer-one-code", ok, found, payment.request, *others[:1])
    repeats = [call for call in again if call.name == "pay"]
    if not repeats:
        play.results.leave_out("lost-answer-same-body", "the request was not sent again")
        return
    same = all(call.request.body == payment.request.request.body for call in repeats)
    found = "byte for byte the same" if same else "another body under the same paymentRequestId"
    play.results.judge("lost-answer-same-body", same, found, payment.request, *repeats[:1])


def _follow_up(play: Play, payment: Payment, pays: int) -> list[Exchange]:
    """Return what came for a payment after its first `pays` pay requests, with some patience."""
    names = ("pay", "inquiryPayment", "cancelPayment")

    def later() -> list[Exchange]:
        return play.gateway.calls(*names, payment=payment.id)[pays:]

    found: list[Exchange] = play.watch(payment, later, play.pace.patience)
    return found


def _play_false_answers(play: Play) -> None:
    payment = play.begin("false", Plan(pay=["unsigned", "forged"]))
    for name, number in (("unsigned-answer", 1), ("forged-answer", 2)):
        calls = play.gateway.calls("pay", payment=payment.id)
        if len(calls) < number:
            play.results.leave_out(name, "no second pay request came")
            continue
        again = _follow_up(play, payment, number)
        codes = list(false_codes(calls[:number]))
        texts = [payment.page.text, *play.look(payment)]
        is_shown = any(code in text for code in codes for text in texts)
        found = "it asked again"
        if is_shown:
            found = "its false code is shown"
        elif not again:
            found = "no further call came, so the answer was taken for one"
        ok = bool(again) and not is_shown
        play.results.judge(name, ok, found, calls[number - 1], *again[:1])


def _play_refused(play: Play) -> None:
    payment = play.begin("refused", Plan(pay=["refuse"]))
    texts = [payment.page.text, *play.look(payment)]
    page, judge = payment.page, play.results.judge
    judge("refused-answer", page.status < 500, f"HTTP {page.status}", payment.request, page.last)
    if not play.code_is_visible:
        play.results.leave_out("refused-no-code", "codes cannot be seen on this shop's pages")
    else:
        is_shown = any(code in text for code in false_codes([payment.request]) for text in texts)
        found = "a code is shown" if is_shown else "no code is shown"
        judge("refused-no-code", not is_shown, found, payment.request, page.last)
    paid = play.shop.is_paid(payment.order, payment.id)
    if paid is None:
        play.results.leave_out("refused-not-paid", "give --status-url to see it")
    else:
        judge("refused-not-paid", not paid, _said(paid), payment.request)
    play.picture("Refused", payment.page.url)


def _said(paid: bool) -> str:
    return "the status says paid" if paid else "the status does not say paid"


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
                name="code-shown",
                rule="The page (or the JSON) holds the text of the code, so that a link can open it.",
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
    Scenario(
        name="lost answer",
        title="Alipay+ acts, and its answer is lost",
        play=_play_lost_answer,
        cases=(
            Case(
                name="lost-answer-followed-up",
                rule="Without a result the same request is sent again, or an inquiry.",
                expected="pay or inquiryPayment with the same paymentRequestId",
                source="pay: no result received",
            ),
            Case(
                name="lost-answer-one-code",
                rule="A new paymentRequestId after a lost answer makes a second code.",
                expected="one payable code for the order",
                source="pay: no result received",
            ),
            Case(
                name="lost-answer-same-body",
                rule="The repeated request is the same request.",
                expected="the same bytes, with a new Request-Time and signature",
                source="pay: no result received",
            ),
        ),
    ),
    Scenario(
        name="false answers",
        title="An unsigned and a wrongly signed answer to pay",
        play=_play_false_answers,
        cases=(
            Case(
                name="unsigned-answer",
                rule="An unsigned answer proves nothing.",
                expected="its code is not shown, and the request is sent again",
                source="verify a response",
            ),
            Case(
                name="forged-answer",
                rule="An answer that another key signed proves nothing.",
                expected="its code is not shown, and the request is sent again",
                source="verify a response",
            ),
        ),
    ),
    Scenario(
        name="refused",
        title="Alipay+ refuses the payment",
        play=_play_refused,
        cases=(
            Case(
                name="refused-answer",
                rule="A refusal is told to the buyer.",
                expected="a page, no HTTP 5xx",
                source="pay: result processing logic",
            ),
            Case(
                name="refused-no-code",
                rule="Whatever comes with an F is no code to pay.",
                expected="no code on the page",
                source="pay: result processing logic",
            ),
            Case(
                name="refused-not-paid",
                rule="An F is not paid.",
                expected="a status that does not say paid",
                source="pay: result processing logic",
            ),
        ),
    ),
)
