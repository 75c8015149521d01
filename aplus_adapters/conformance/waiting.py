"""Scenarios in which no notification comes: the shop has to ask, and to cancel what has expired.

They begin early and take their time in the background, while other scenarios are played.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aplus_adapters.conformance.acknowledging import describe
from aplus_adapters.conformance.cases import Case, NotTried, Scenario
from aplus_adapters.conformance.notifications import is_crash
from aplus_adapters.conformance.plan import Plan
from aplus_adapters.conformance.refusing import as_paid
from aplus_adapters.simulator.ledger import OrderState

if TYPE_CHECKING:
    from aplus_adapters.conformance.evidence import Exchange
    from aplus_adapters.conformance.play import Payment, Play

__all__ = ["BEGINNING", "WAITING"]

_CLOSING = "how a payment is closed"


def _begin(play: Play) -> None:
    """Begin a payment that nobody pays, and one that is paid without any notification."""
    plan = Plan.of("cancel", "unknown", expires=play.pace.expiry)
    silent = play.begin_open("silent", plan)
    seconds = play.pace.expiry + 2 * play.pace.patience

    def is_cancelled() -> bool:
        order = play.gateway.order(silent.id)
        return order is not None and order.state is OrderState.CANCELLED

    play.watch_in_background(silent, is_cancelled, seconds)
    # Paid before the shop can ask: it would be right to cancel what is open after its expiry.
    missed = play.begin_open("missed", Plan.of("pay", "paid", expires=play.pace.expiry))
    play.watch_in_background(missed, lambda: _inquiries(play, missed), seconds)


def _play_silence(play: Play) -> None:
    payment = _awaited(play, "silent")
    judge = play.results.judge
    inquiries = _inquiries(play, payment)
    cancels = play.gateway.calls("cancelPayment", payment=payment.id)
    ok = bool(inquiries) and (not cancels or inquiries[0].number < cancels[0].number)
    found = f"{len(inquiries)} inquiries, {len(cancels)} cancellations"
    if inquiries and not ok:
        found += "; it was cancelled without a question before"
    judge("silence-inquired", ok, found, *inquiries[:1], *cancels[:1])
    _judge_not_paid(play, payment)
    judge("expired-cancelled", bool(cancels), f"{len(cancels)} came", *cancels[:1])
    if not cancels:
        raise NotTried("it was never cancelled")
    ok = len(cancels) > 1
    found = f"{len(cancels)} came; the first was answered with U UNKNOWN_EXCEPTION"
    judge("cancel-repeated", ok, found, *cancels[:2])
    _judge_dead_code(play, payment)
    if not ok:
        raise NotTried("it was never closed")
    late = play.notifier.send("true", as_paid(play, payment))
    paid = play.shop.is_paid(payment.order, payment.id)
    found = describe(late)
    if paid is not None:
        found += f"; the status {'says' if paid else 'does not say'} paid"
    if is_crash(late) or paid is not None:
        judge("late-success", not is_crash(late) and not paid, found, late)
    else:
        play.results.leave_out("late-success", "give --status-url to see it")


def _judge_dead_code(play: Play, payment: Payment) -> None:
    order = play.gateway.order(payment.id)
    texts = play.look(payment)
    play.picture("Expired and cancelled", payment.page.url)
    if order is None or not play.code_is_visible or not texts:
        reason = "codes cannot be seen on this shop's pages"
        play.results.leave_out("expired-code-hidden", reason)
    else:
        is_shown = any(order.token in text for text in texts)
        found = "the code is still there" if is_shown else "the code is gone"
        play.results.judge("expired-code-hidden", not is_shown, found, payment.page.last)


def _judge_not_paid(play: Play, payment: Payment) -> None:
    paid = play.shop.is_paid(payment.order, payment.id)
    if paid is None:
        play.results.leave_out("open-not-paid", "give --status-url to see it")
        return
    found = f"the status {'says' if paid else 'does not say'} paid"
    play.results.judge("open-not-paid", not paid, found, *_inquiries(play, payment)[:1])


def _play_missed(play: Play) -> None:
    payment = _awaited(play, "missed")
    inquiries = _inquiries(play, payment)
    judge = play.results.judge
    judge("missed-inquired", bool(inquiries), f"{len(inquiries)} inquiries", *inquiries[:1])
    if not inquiries:
        raise NotTried("the shop never asked")
    paid = play.shop.becomes_paid(payment.order, payment.id, min(5.0, play.pace.patience))
    if paid is None:
        play.results.leave_out("missed-found", "give --status-url to see it")
    else:
        found = f"the status {'says' if paid else 'does not say'} paid"
        judge("missed-found", paid, found, *inquiries[:1])
    play.look(payment)
    cancels = play.gateway.calls("cancelPayment", payment=payment.id)
    found = f"{len(cancels)} cancellations"
    judge("missed-not-cancelled", not cancels, found, *inquiries[:1], *cancels[:1])


def _awaited(play: Play, role: str) -> Payment:
    payment = play.payments.get(role)
    if payment is None or payment.background is None:
        raise NotTried("its payment could not be begun")
    payment.background.join()
    return payment


def _inquiries(play: Play, payment: Payment) -> list[Exchange]:
    """Return the inquiries about a payment, which may name it by either of its ids."""
    order = play.gateway.order(payment.id)
    payment_id = order.payment_id if order else ""
    return [
        call
        for call in play.gateway.calls("inquiryPayment", after=payment.mark)
        if call.payment_request_id == payment.id
        or call.request.json().get("paymentId") == payment_id
    ]


BEGINNING = Scenario(
    name="beginning", title="Two payments begin that get no notification", play=_begin, cases=()
)

WAITING = (
    Scenario(
        name="silence",
        title="Nobody pays, and no notification comes",
        play=_play_silence,
        cases=(
            Case(
                name="silence-inquired",
                rule="Without a notification the shop asks for the result, before it cancels.",
                expected="inquiryPayment for the payment",
                source="inquiryPayment",
            ),
            Case(
                name="expired-cancelled",
                rule="What is still open at the end of its code is cancelled.",
                expected="cancelPayment after the code's expireTime",
                source=_CLOSING,
            ),
            Case(
                name="cancel-repeated",
                rule="Only S closes a payment: cancelPayment is repeated until it comes.",
                expected="another cancelPayment after a U",
                source="cancelPayment",
            ),
            Case(
                name="expired-code-hidden",
                rule="The code of a closed or expired order is not shown any more.",
                expected="no code on the page",
                source="order code: user experience",
            ),
            Case(
                name="open-not-paid",
                rule="In an inquiry `result` is the call, and `paymentResult` is the payment.",
                expected="a status that does not say paid",
                source="inquiryPayment",
            ),
            Case(
                name="late-success",
                rule="After a cancellation a late success does not count: the money goes back.",
                expected="a status that does not say paid, and no unsigned HTTP 5xx",
                source="cancelPayment",
            ),
        ),
    ),
    Scenario(
        name="missed",
        title="The buyer pays, and the notification gets lost",
        play=_play_missed,
        cases=(
            Case(
                name="missed-inquired",
                rule="Without a notification the shop asks for the result.",
                expected="inquiryPayment for the payment",
                source="inquiryPayment",
            ),
            Case(
                name="missed-found",
                rule="A paymentResult S of an inquiry is final.",
                expected="a status that says paid",
                source="inquiryPayment",
            ),
            Case(
                name="missed-not-cancelled",
                rule="What an inquiry says is paid is not cancelled: that would give it back.",
                expected="no cancelPayment",
                source=_CLOSING,
            ),
        ),
    ),
)
