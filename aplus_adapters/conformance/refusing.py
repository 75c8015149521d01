"""Scenarios of what strangers send: nothing of it may be believed, and nothing of it may hurt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aplus_adapters.conformance.cases import Case, NotTried, Scenario
from aplus_adapters.conformance.notifications import is_crash, says_s

if TYPE_CHECKING:
    from aplus_adapters.conformance.evidence import Exchange
    from aplus_adapters.conformance.play import Payment, Play

__all__ = ["REFUSING"]

_SOURCE = "verify a notification"
_FORMS = {
    "forged": "Signed by a key that is not Alipay+'s.",
    "altered": "A byte of the body was changed after it was signed.",
    "unsigned": "Without a Signature header.",
    "other path": "Signed for another path than that of the notify URL.",
    "other client id": "Signed for another client, with that Client-Id in the header.",
    "key of the shop": "Signed by the shop's own key in place of Alipay+'s.",
}
_JUNK = (
    b"",
    b"{}",
    b"not json",
    b"[]",
    b"\xff\xfe\x00",
    b'{"paymentRequestId": 1e999, "a": NaN}',
    b"[" * 20_000,
    b'{"a":"' + b"x" * 200_000 + b'"}',
)
_SIGNED_JUNK = (
    b"not json",
    b"[]",
    b"{}",
    b'{"paymentResult": null, "paymentRequestId": null}',
    b'{"paymentResult": "S", "paymentRequestId": {"a": "b"}}',
)
_SHORT = 4096  # bytes; a page of errors or a traceback has more


def as_paid(play: Play, payment: Payment, **changes: Any) -> dict[str, Any]:
    """Return a notification that says paid, whatever the books say."""
    result = {"resultCode": "SUCCESS", "resultStatus": "S", "resultMessage": "success"}
    fields: dict[str, Any] = {
        "paymentResult": result,
        "pspId": "1022000000000000002",
        "paymentTime": "2026-11-23T12:01:07+00:00",
        "customerId": "1235678",
        "walletBrandName": "SIMULATEDWALLET",
    }
    return play.notifier.content(payment.id, **fields, **changes)


def _play_strangers(play: Play) -> None:
    payment = play.payments.get("paid")
    if payment is None or play.gateway.order(payment.id) is None:
        raise NotTried("no payment was begun before")
    answers = []
    for form in _FORMS:
        exchange = play.notifier.send_wrong(form, as_paid(play, payment))
        answers.append(exchange)
        ok = not _is_believed(exchange) and not is_crash(exchange)
        play.results.judge(form.replace(" ", "-"), ok, _describe(exchange), exchange)
    long = [e for e in answers if e.answer and len(e.answer.body) > _SHORT]
    signed = [e for e in answers if e.answer and "signature" in e.answer.headers]
    other = [e for e in answers if not 400 <= e.status < 500]
    parts = (
        (other, "not every one is answered with 4xx"),
        (signed, "some are signed, and signing costs more than refusing"),
        (long, f"some are answered with more than {_SHORT} bytes"),
    )
    found = "; ".join(text for wrong, text in parts if wrong)
    play.results.judge("strangers-get-little", not found, found or "4xx, short, unsigned", *answers)
    paid = play.shop.is_paid(payment.order, payment.id)
    if paid is None:
        play.results.leave_out("strangers-pay-nothing", "give --status-url to see it")
    else:
        found = f"the status {'says' if paid else 'does not say'} paid"
        play.results.judge("strangers-pay-nothing", not paid, found, *answers)
    # The last one, as it may make the payment paid.
    stale = play.notifier.send_wrong("stale", as_paid(play, payment))
    play.results.judge("stale", not _is_believed(stale), _describe(stale), stale)


def _play_junk(play: Play) -> None:
    path = play.shop.ways.notify_url
    got = play.shop.notify("GET", {}, b"", method="GET")
    play.results.judge("get", 400 <= got.status < 500, f"GET {path}: {_describe(got)}", got)
    crashes, sent = [], []
    for body in _JUNK:
        headers = {"Content-Type": "application/json", "Signature": "junk", "Client-Id": "\x7f"}
        exchange = play.shop.notify("junk", headers, body)
        sent.append(exchange)
        if exchange.status >= 500:
            crashes.append(exchange)
    found = _describe(crashes[0]) if crashes else f"{len(sent)} bodies refused"
    play.results.judge("junk", not crashes, found, *(crashes or sent)[:3])
    wrong, signed = [], []
    for body in _SIGNED_JUNK:
        exchange = play.notifier.send("signed junk", body)
        signed.append(exchange)
        if _is_believed(exchange) or is_crash(exchange):
            wrong.append(exchange)
    found = _describe(wrong[0]) if wrong else f"{len(signed)} bodies not acknowledged"
    play.results.judge("signed-junk", not wrong, found, *(wrong or signed)[:3])


def _play_unknown(play: Play) -> None:
    payment = play.payments.get("paid")
    if payment is None or play.gateway.order(payment.id) is None:
        raise NotTried("no payment was begun before")
    content = as_paid(play, payment, paymentRequestId=f"unknown{payment.id[-40:]}")
    exchange = play.notifier.send("true", content)
    ok = not _is_believed(exchange) and not is_crash(exchange)
    play.results.judge("unknown-payment", ok, _describe(exchange), exchange)


def _is_believed(exchange: Exchange) -> bool:
    """Return whether an answer says that it was accepted, signed or not."""
    return exchange.status == 200 and says_s(exchange)


def _describe(exchange: Exchange) -> str:
    if exchange.answer is None:
        return exchange.failure
    said = ", says S" if says_s(exchange) else ""
    length = len(exchange.answer.body)
    return f"HTTP {exchange.status}{said}, {length} bytes {exchange.failure}".strip()


REFUSING = (
    Scenario(
        name="strangers",
        title="Somebody else says that it is paid",
        play=_play_strangers,
        cases=(
            *(
                Case(
                    name=form.replace(" ", "-"),
                    rule=f"{text} Such a notification is never acknowledged.",
                    expected="no S, and no HTTP 5xx",
                    source=_SOURCE,
                )
                for form, text in _FORMS.items()
            ),
            Case(
                name="strangers-get-little",
                rule="Who does not authenticate causes no work.",
                expected="4xx, a short body, no signature",
                source="",
                is_advice=True,
            ),
            Case(
                name="strangers-pay-nothing",
                rule="No order is paid by what was not verified.",
                expected="a status that does not say paid",
                source=_SOURCE,
            ),
            Case(
                name="stale",
                rule="A rightly signed notification of three days ago is no re-send any more.",
                expected="no S: the last re-send comes after 24 h 22 min",
                source="",
                is_advice=True,
            ),
        ),
    ),
    Scenario(
        name="junk",
        title="The notification endpoint gets what is no notification",
        play=_play_junk,
        cases=(
            Case(
                name="get",
                rule="Notifications come by POST.",
                expected="HTTP 405, or another 4xx",
                source="message transmission",
            ),
            Case(
                name="junk",
                rule="Bodies that nobody can read are refused.",
                expected="no HTTP 5xx",
                source="",
            ),
            Case(
                name="signed-junk",
                rule="What is signed and no notification is not acknowledged.",
                expected="no S, and no unsigned HTTP 5xx",
                source="notifyPayment",
            ),
        ),
    ),
    Scenario(
        name="unknown payment",
        title="A true notification of a payment that the shop never began",
        play=_play_unknown,
        cases=(
            Case(
                name="unknown-payment",
                rule="The paymentRequestId is compared with the shop's own record.",
                expected="no S, and no unsigned HTTP 5xx",
                source="notifyPayment: verify the notification",
            ),
        ),
    ),
)
