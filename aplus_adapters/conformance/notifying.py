"""Scenarios of true notifications that are not just paid: later ones, failures, other amounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aplus_adapters.conformance.acknowledging import NO_ACK, describe, paid_payment
from aplus_adapters.conformance.cases import Case, Scenario
from aplus_adapters.conformance.notifications import is_acknowledged, is_crash
from aplus_adapters.conformance.refusing import as_paid
from aplus_adapters.simulator.ledger import OrderState

if TYPE_CHECKING:
    from aplus_adapters.conformance.evidence import Exchange
    from aplus_adapters.conformance.play import Payment, Play

__all__ = ["NOTIFYING"]

_ACK = "notifyPayment: acknowledge"


def _play_after(play: Play) -> None:
    payment = paid_payment(play)
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
        play.results.wrong("paid-stays-paid", describe(exchange), exchange)
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
        play.results.leave_out("failed-acknowledged", NO_ACK)
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
            play.results.wrong(name, describe(exchange), exchange)
            continue
        paid = play.shop.is_paid(payment.order, payment.id)
        if paid is None:
            play.results.leave_out(name, "give --status-url to see it")
            continue
        found = f"the status {'says' if paid else 'does not say'} paid ({describe(exchange)})"
        play.results.judge(name, not paid, found, exchange)


def _case(name: str, rule: str, expected: str, source: str = _ACK) -> Case:
    return Case(name=name, rule=rule, expected=expected, source=source)


NOTIFYING = (
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
