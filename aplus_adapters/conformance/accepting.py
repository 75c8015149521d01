"""Scenarios of the acceptance alone: refunds, a slow store; and the view over the whole run."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

from aplus_adapters.conformance.acknowledging import NO_ACK, describe
from aplus_adapters.conformance.cases import Case, NotTried, Scenario, Verdict
from aplus_adapters.conformance.notifications import is_acknowledged, says_s
from aplus_adapters.conformance.plan import Plan
from aplus_adapters.conformance.ways import split_command
from aplus_adapters.protocol.amounts import Amount
from aplus_adapters.simulator.ledger import OrderState

if TYPE_CHECKING:
    from collections.abc import Callable

    from aplus_adapters.conformance.evidence import Exchange
    from aplus_adapters.conformance.play import Payment, Play

__all__ = ["ACCEPTING", "WHOLE"]

_REFUND = "refund"
_SETTLE = 0.5  # seconds until the command has made the store slow
_BUSINESS = ("ORDER_", "REFUND_", "REPEAT_", "USER_", "RISK_")  # answers that break no rule


def _play_refund(play: Play) -> None:
    _need_a_way(play)
    payment = play.paid("refunded")
    amount = _amount(play, payment)
    said = _refund(play, payment, amount, "full")
    done = _wait_refunds(play, payment, bool)
    calls = play.gateway.calls("refund", payment=payment.id)
    ok = [int(refund["refundAmount"]["value"]) for refund in done] == [amount.value]
    found = f"{_list(done)}; the shop said {said}; {_refusals(calls)}"
    play.results.judge("refund-full", ok, found, *calls[:2])


def _play_refunds(play: Play) -> None:
    _need_a_way(play)
    payment = play.paid("refunded in parts", Plan.of("refund", "lost"))
    amount = _amount(play, payment)
    if amount.value < 3:
        raise NotTried(f"{amount} is too little for two parts; use an order of a larger amount")
    unit = 100 if amount.currency == "IDR" else 1
    parts = [amount.value // 3 // unit * unit or unit]
    parts.append(parts[0] + unit)
    _refund(play, payment, Amount(amount.currency, parts[0]), "part-1")
    first = _wait_refunds(play, payment, bool)
    repeated = play.watch(
        payment, lambda: play.gateway.calls("refund", payment=payment.id)[1:], play.pace.patience
    )
    _refund(play, payment, Amount(amount.currency, parts[1]), "part-2")
    done = _wait_refunds(play, payment, lambda refunds: len(refunds) > len(first))
    calls = play.gateway.calls("refund", payment=payment.id)
    values = [int(refund["refundAmount"]["value"]) for refund in done]
    ok = values == parts
    play.results.judge("refund-parts", ok, f"{_list(done)}; {_refusals(calls)}", *calls)
    ids = {str(call.request.json().get("refundRequestId")) for call in calls[:2]}
    ok = bool(repeated) and len(ids) == 1
    found = f"{len(repeated)} repeated, with {len(ids)} refundRequestId"
    play.results.judge("refund-repeated", ok, found, *calls[:2])


def _need_a_way(play: Play) -> None:
    if play.shop.ways.refund_url is None and play.shop.ways.refund_command is None:
        reason = "how this shop refunds is not known: give --refund-url or --refund-command"
        raise NotTried(reason)


def _amount(play: Play, payment: Payment) -> Amount:
    return Amount.from_wire(play.gateway.notification(payment.id)["paymentAmount"])


def _refund(play: Play, payment: Payment, amount: Amount, name: str) -> str:
    return play.shop.refund(
        order=payment.order,
        payment=payment.id,
        amount=amount.format(),
        minor=str(amount.value),
        currency=amount.currency,
        refund=f"{payment.id[:40]}-{name}",
    )


def _wait_refunds(
    play: Play, payment: Payment, enough: Callable[[list[dict[str, str]]], bool]
) -> list[dict[str, dict[str, str]]]:
    """Return the refunds in the books, as soon as there are enough or the patience ends."""
    order = play.gateway.order(payment.id)
    if order is None:
        return []
    play.watch(payment, lambda: enough(order.refunds), play.pace.patience)
    return list(order.refunds)


def _list(refunds: list[dict[str, dict[str, str]]]) -> str:
    amounts = (refund["refundAmount"] for refund in refunds)
    return "refunded: " + (", ".join(f"{a['value']} {a['currency']}" for a in amounts) or "nothing")


def _refusals(calls: list[Exchange]) -> str:
    refused = [call.refusal for call in calls if call.refusal]
    return f"{len(calls)} refund calls" + (f", refused: {refused[0]}" if refused else "")


def _play_slow_store(play: Play) -> None:
    command = play.shop.ways.slow_command
    if command is None:
        raise NotTried("how this shop's store is made slow is not known: give --slow-command")
    if not play.acknowledges:
        raise NotTried(NO_ACK)
    payment = play.begin_open("slow store")
    play.gateway.finish(payment.id, OrderState.PAID)
    content = play.notifier.content(payment.id)
    words = split_command(command, "--slow-command")
    try:
        slow = subprocess.Popen(words)  # noqa: S603  # the user's own command
    except OSError as error:
        raise NotTried(f"{words[0]} cannot be run: {error.strerror}") from None
    with slow:
        try:
            time.sleep(_SETTLE)
            first = play.notifier.send("true", content)
        finally:
            slow.terminate()
    ok = is_acknowledged(first) or not (first.status == 200 and says_s(first))
    found = f"{describe(first)}, after {first.seconds:.1f} s"
    play.results.judge("slow-store", ok, found, first)
    again = play.notifier.send("true", content)
    play.results.judge("slow-store-again", is_acknowledged(again), describe(again), again)


def _play_whole(play: Play) -> None:
    results = play.results.all
    is_known_wrong = any(
        results[name].verdict is Verdict.WRONG for name in ("pay-signature", "pay-well-formed")
    )
    bad = [
        call
        for call in play.gateway.calls()
        # What is wrong with each pay request has been said once.
        if not (is_known_wrong and call.name == "pay")
        and (call.request.signature != "right" or _breaks_a_rule(call))
    ]
    found = f"{bad[0].name}: {bad[0].refusal or bad[0].request.signature}" if bad else "all legal"
    play.results.judge("calls-well-formed", not bad, found, *bad[:3])
    paid = [payment for role, payment in play.payments.items() if role in _STAY_PAID]
    cancels = [
        call for payment in paid for call in play.gateway.calls("cancelPayment", payment=payment.id)
    ]
    found = f"{len(cancels)} cancellations of {len(paid)} paid payments"
    play.results.judge("paid-not-cancelled", not cancels, found, *cancels[:3])


_STAY_PAID = ("paid", "refunded", "refunded in parts", "slow store")


def _breaks_a_rule(call: Exchange) -> bool:
    return bool(call.refusal) and not call.refusal.startswith(_BUSINESS)


def _case(name: str, rule: str, expected: str, source: str) -> Case:
    return Case(name=name, rule=rule, expected=expected, source=source)


WHOLE = Scenario(
    name="whole",
    title="Over the whole run",
    play=_play_whole,
    cases=(
        _case(
            "calls-well-formed",
            "Every inquiry, cancellation, refund and repeat is legal and signed.",
            "no call that breaks a rule of its API page",
            "API pages",
        ),
        _case(
            "paid-not-cancelled",
            "What was notified as paid is not cancelled: that would give the money back.",
            "no cancelPayment",
            "cancelPayment",
        ),
    ),
)

ACCEPTING = (
    Scenario(
        name="refund",
        title="All of a payment is refunded",
        play=_play_refund,
        cases=(
            _case(
                "refund-full", "A payment can be refunded in full.", "one refund of it all", _REFUND
            ),
        ),
    ),
    Scenario(
        name="refunds",
        title="A payment is refunded in two parts; the first answer is lost",
        play=_play_refunds,
        cases=(
            _case("refund-parts", "Several refunds of parts are possible.", "both parts", _REFUND),
            _case(
                "refund-repeated",
                "Without a result a refund is repeated with the same refundRequestId.",
                "the same refundRequestId again",
                _REFUND,
            ),
        ),
    ),
    Scenario(
        name="slow store",
        title="The shop's store is slow or locked when the notification comes",
        play=_play_slow_store,
        cases=(
            _case(
                "slow-store",
                "What is not stored is not acknowledged.",
                "acknowledged within 5 s, or no S",
                "notifyPayment",
            ),
            _case(
                "slow-store-again",
                "The notification that is sent again finds the store well.",
                "acknowledged",
                "notifyPayment",
            ),
        ),
    ),
)
