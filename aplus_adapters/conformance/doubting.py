"""Scenarios of answers to pay that are lost, prove nothing, or refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aplus_adapters.conformance.cases import Case, Scenario
from aplus_adapters.conformance.paying import calls_of_order
from aplus_adapters.conformance.plan import Plan, false_codes

if TYPE_CHECKING:
    from aplus_adapters.conformance.evidence import Exchange
    from aplus_adapters.conformance.play import Payment, Play

__all__ = ["DOUBTING"]


def _play_lost_answer(play: Play) -> None:
    payment = play.begin("lost", Plan.of("pay", "lost"))
    again = _follow_up(play, payment, 1)
    if not again:
        play.shop.press_pay(payment.order)
        again = _follow_up(play, payment, 1)
    others = [
        call
        for call in calls_of_order(play, payment.order, payment.mark)
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
    payment = play.begin("false", Plan.of("pay", "unsigned", "forged"))
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
    payment = play.begin("refused", Plan.of("pay", "refuse"))
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


DOUBTING = (
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
