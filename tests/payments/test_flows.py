"""The life of a payment, flow by flow: what reaches the gateway, the store and the shop."""

import json
from datetime import timedelta

import pytest

from aplus_adapters import (
    Amount,
    AplusError,
    HookError,
    InvalidValue,
    NotificationError,
    OrderChanged,
    OrderToPay,
    State,
    StoreError,
    UnknownOrder,
)
from aplus_adapters.payments.flows.follow_up import follow_up
from aplus_adapters.protocol import wire
from support.gateway import CLOSED, DOWN, FORGED, GONE, LOST, OPEN, PAID, asked, inquired, notified
from support.shop import NOON


def test_paying_stores_the_exact_bytes_before_they_are_sent(pay, gateway, start, clock):
    stored_at_send = []
    original = gateway.send

    def send(request, timeout):
        attempt = pay.store.get(json.loads(request.body)["paymentRequestId"])
        stored_at_send.append(attempt.request_body == request.body)
        return original(request, timeout)

    gateway.send = send
    attempt = start()
    assert stored_at_send == [True]
    assert attempt.state is State.PENDING
    assert attempt.order_code.text == "https://codes.example/281"
    said = json.loads(attempt.request_body)
    assert said["paymentAmount"] == {"currency": "USD", "value": "4200"}
    assert said["order"]["env"]["userAgent"] == "Mozilla/5.0"
    assert said["paymentNotifyUrl"] == "https://shop.example/aplus/notify"
    assert (
        said["paymentRedirectUrl"]
        == f"https://shop.example/aplus/payments/{attempt.payment_request_id}"
    )
    assert said["paymentFactor"]["isInStorePayment"] == "true"


def test_a_second_tab_gets_the_same_code_and_nothing_more_is_sent(gateway, start):
    first, second = start(), start()
    assert second == first
    assert gateway.calls() == ["pay"]


@pytest.mark.parametrize("trouble", [DOWN, LOST, FORGED])
def test_a_repeat_carries_the_same_bytes_with_a_new_time_and_signature(
    gateway, start, clock, trouble
):
    gateway.script["pay"] = [trouble, trouble, "code"]
    assert start().state is State.PENDING
    assert gateway.calls() == ["pay"] * 3
    assert len(gateway.bodies("pay")) == 1
    times = [dict(request.headers)["Request-Time"] for _, request in gateway.sent]
    assert len(set(times)) == 3
    assert len({dict(request.headers)["Signature"] for _, request in gateway.sent}) == 3
    assert clock.slept == [0.5, 1.0]


@pytest.mark.parametrize(
    "code", ["UNKNOWN_EXCEPTION", "REQUEST_TRAFFIC_EXCEED_LIMIT", "NEWER_CODE"]
)
def test_a_u_that_asks_for_it_is_repeated(gateway, start, code):
    busy = {"result": {"resultCode": code, "resultStatus": "U", "resultMessage": "again"}}
    gateway.script["pay"] = [busy, "code"]
    assert start().state is State.PENDING
    assert len(gateway.bodies("pay")) == 1


def test_while_the_gateway_is_down_the_attempt_stays_and_the_next_poll_sends_it_again(
    pay, gateway, start, clock
):
    gateway.script["pay"] = [DOWN]
    attempt = start()
    assert attempt.state is State.CREATED
    gateway.script["pay"] = ["code"]
    clock.moment = attempt.next_call_at
    assert asked(pay, attempt).state is State.PENDING
    assert len(gateway.bodies("pay")) == 1


def test_two_polls_at_once_are_one_call(pay, gateway, start, clock):
    attempt = start()
    gateway.script["inquiryPayment"] = [inquired(attempt, OPEN)]
    clock.moment = attempt.next_call_at
    stale = pay.store.get(attempt.payment_request_id)
    pay.run(follow_up(pay.config, stale))
    pay.run(follow_up(pay.config, stale))
    assert gateway.calls() == ["pay", "inquiryPayment"]


def test_a_refusal_ends_the_attempt_and_the_next_one_has_a_new_id(gateway, start, shop):
    no = {"result": {"resultCode": "RISK_REJECT", "resultStatus": "F", "resultMessage": "no"}}
    gateway.script["pay"] = [no, "code"]
    first, second = start(), start()
    assert first.state is State.FAILED
    assert shop.changes == [("A-1", "failed")]
    assert second.state is State.PENDING
    assert second.payment_request_id != first.payment_request_id


def test_an_unverified_refusal_changes_nothing(gateway, start, shop):
    gateway.script["pay"] = [FORGED]
    assert start().state is State.CREATED
    assert shop.changes == []


def test_a_code_for_another_amount_is_never_shown(gateway, start, shop):
    original = gateway.code
    gateway.code = lambda request: original(
        request, paymentAmount={"currency": "USD", "value": "1"}
    )
    attempt = start()
    assert attempt.state is State.CREATED
    assert attempt.order_code is None
    assert len(shop.conflicts) == 1


def test_a_notification_settles_once_however_often_it_comes(pay, start, shop, alipayplus, clock):
    attempt = start()
    body = alipayplus.notification(attempt)
    replies = [notified(pay, alipayplus, clock, body) for _ in range(3)]
    assert all(alipayplus.accepts(r.status, dict(r.headers), r.body) for r in replies)
    assert shop.changes == [("A-1", "succeeded")]
    assert pay.store.get(attempt.payment_request_id).state is State.SUCCEEDED
    assert len(pay.store.history(attempt.payment_request_id)) == 4


def test_a_forged_notification_is_refused_and_the_true_one_still_counts(
    pay, start, shop, alipayplus, clock
):
    body = alipayplus.notification(start())
    with pytest.raises(NotificationError) as refused:
        notified(pay, alipayplus, clock, body + b" ", Signature=alipayplus.sign(body)["Signature"])
    assert refused.value.status == 401
    assert shop.changes == []
    assert notified(pay, alipayplus, clock, body).status == 200
    assert shop.changes == [("A-1", "succeeded")]


@pytest.mark.parametrize("failure", ["hook", "store"])
def test_what_could_not_be_kept_is_not_acknowledged_and_counts_when_it_comes_again(
    pay, start, shop, alipayplus, clock, failure, monkeypatch
):
    attempt = start()
    body = alipayplus.notification(attempt)
    with monkeypatch.context() as broken:
        if failure == "hook":
            broken.setattr(shop, "fail", RuntimeError("the shop's own bug"))
        else:
            broken.setattr(pay.store, "record", lambda *_: 1 / 0)
        reply = notified(pay, alipayplus, clock, body)
    assert reply.status == 503
    assert wire.loads(reply.body)["result"]["resultStatus"] == "U"
    alipayplus.check_signature({k.lower(): v for k, v in reply.headers}, reply.body)
    assert pay.store.get(attempt.payment_request_id).state is State.PENDING
    assert notified(pay, alipayplus, clock, body).status == 200
    assert shop.changes == [("A-1", "succeeded")]


def test_a_notification_of_a_payment_that_is_not_ours_is_not_acknowledged_and_leaves_no_row(
    pay, start, alipayplus, clock
):
    attempt = start()
    body = alipayplus.notification(attempt, paymentRequestId="someone-elses")
    reply = notified(pay, alipayplus, clock, body)
    assert reply.status == 404
    assert wire.loads(reply.body)["result"]["resultStatus"] == "U"
    assert pay.store.history("someone-elses") == []


@pytest.mark.parametrize("value", ["4201", "42"])
def test_another_amount_settles_nothing_and_is_one_conflict(
    pay, start, shop, alipayplus, clock, value
):
    attempt = start()
    wrong = {"paymentAmount": {"currency": "USD", "value": value}}
    body = alipayplus.notification(attempt, **wrong)
    assert notified(pay, alipayplus, clock, body).status == 200  # it is durable, as a conflict
    assert notified(pay, alipayplus, clock, body).status == 200
    assert pay.store.get(attempt.payment_request_id).state is State.PENDING
    assert len(shop.conflicts) == 1
    assert shop.changes == []


def test_a_conflict_is_reported_again_until_the_hook_returns(
    pay, start, shop, alipayplus, clock, monkeypatch
):
    attempt = start()
    body = alipayplus.notification(attempt, paymentAmount={"currency": "USD", "value": "1"})
    with monkeypatch.context() as broken:
        broken.setattr(shop, "payment_conflict", lambda _: 1 / 0)
        assert notified(pay, alipayplus, clock, body).status == 503
    assert len(pay.store.unreported_conflicts(10, ["CLIENT-1"])) == 1
    assert notified(pay, alipayplus, clock, body).status == 200
    assert len(shop.conflicts) == 1
    assert pay.store.unreported_conflicts(10, ["CLIENT-1"]) == []


def test_f_after_s_is_a_conflict_and_changes_nothing(pay, start, shop, alipayplus, clock):
    attempt = start()
    notified(pay, alipayplus, clock, alipayplus.notification(attempt))
    notified(pay, alipayplus, clock, alipayplus.notification(attempt, "F"))
    assert pay.store.get(attempt.payment_request_id).state is State.SUCCEEDED
    assert len(shop.conflicts) == 1


def test_without_a_notification_the_inquiry_settles(pay, gateway, start, shop, clock):
    attempt = start()
    assert attempt.next_call_at == NOON + timedelta(seconds=20)
    gateway.script["inquiryPayment"] = [inquired(attempt, OPEN), inquired(attempt, PAID)]
    assert asked(pay, attempt).state is State.PENDING
    assert gateway.calls() == ["pay"]  # too early to ask
    clock.moment = attempt.next_call_at
    attempt = asked(pay, attempt)
    assert attempt.next_call_at == clock.now() + timedelta(seconds=4)
    clock.moment = attempt.next_call_at
    assert asked(pay, attempt).state is State.SUCCEEDED
    assert shop.changes == [("A-1", "succeeded")]


def test_an_answer_about_another_payment_is_no_answer(pay, gateway, start, clock):
    attempt = start()
    gateway.script["inquiryPayment"] = [inquired(attempt, PAID, paymentRequestId="another")]
    clock.moment = attempt.next_call_at
    assert asked(pay, attempt).state is State.PENDING


def test_before_expiry_an_order_that_is_not_known_yet_is_not_given_up(pay, gateway, start, clock):
    attempt = start()
    gateway.script["inquiryPayment"] = [{"result": GONE}]
    clock.moment = attempt.next_call_at
    assert asked(pay, attempt).state is State.PENDING


@pytest.mark.parametrize(
    ("inquiry", "cancel", "outcome", "calls"),
    [
        (PAID, None, "succeeded", ["inquiryPayment"]),
        (CLOSED, None, "failed", ["inquiryPayment"]),
        (OPEN, PAID, "cancelled", ["inquiryPayment", "cancelPayment"]),
        (OPEN, GONE, "closing", ["inquiryPayment", "cancelPayment", "inquiryPayment"]),
        (GONE, GONE, "failed", ["inquiryPayment", "cancelPayment", "inquiryPayment"]),
        (GONE, PAID, "cancelled", ["inquiryPayment", "cancelPayment"]),
    ],
)
def test_after_expiry_it_is_inquired_and_cancelled_if_still_open(
    pay, gateway, start, shop, clock, inquiry, cancel, outcome, calls
):
    attempt = start()
    clock.moment = attempt.expires_at + timedelta(seconds=1)
    answer = {"result": GONE} if inquiry is GONE else inquired(attempt, inquiry)
    gateway.script["inquiryPayment"] = [answer]
    gateway.script["cancelPayment"] = [{"result": cancel}]
    assert asked(pay, attempt).state.value == outcome
    assert gateway.calls()[1:] == calls
    assert shop.changes == ([] if outcome == "closing" else [("A-1", outcome)])


def test_a_cancellation_without_s_leaves_the_attempt_open(pay, gateway, start, clock):
    attempt = start()
    clock.moment = attempt.expires_at
    gateway.script["inquiryPayment"] = [inquired(attempt, OPEN)]
    late = {"resultCode": "CANCEL_WINDOW_EXCEED", "resultStatus": "F", "resultMessage": "late"}
    gateway.script["cancelPayment"] = [{"result": late}]
    assert asked(pay, attempt).state is State.PENDING
    assert start().payment_request_id == attempt.payment_request_id


def test_after_a_cancellation_a_late_success_is_a_conflict(
    pay, gateway, start, shop, alipayplus, clock
):
    attempt = start()
    clock.moment = attempt.expires_at
    gateway.script["inquiryPayment"] = [inquired(attempt, OPEN)]
    gateway.script["cancelPayment"] = [{"result": PAID}]
    asked(pay, attempt)
    assert notified(pay, alipayplus, clock, alipayplus.notification(attempt)).status == 200
    assert pay.store.get(attempt.payment_request_id).state is State.CANCELLED
    assert len(shop.conflicts) == 1


def test_a_new_attempt_waits_until_the_expired_one_is_known_to_be_closed(
    pay, gateway, start, clock
):
    first = start()
    clock.moment = first.expires_at
    gateway.script["inquiryPayment"] = [DOWN]
    assert start().payment_request_id == first.payment_request_id
    gateway.script["inquiryPayment"] = [inquired(first, CLOSED)]
    calls = len(gateway.calls())
    assert start().payment_request_id == first.payment_request_id
    assert len(gateway.calls()) == calls, "the pause holds for presses as well"
    clock.moment += pay.config.timing.inquiry
    second = start()
    assert second.payment_request_id != first.payment_request_id
    assert second.state is State.PENDING


def test_a_changed_amount_closes_the_old_attempt_first(pay, gateway, start, shop):
    first = start()
    shop.price = Amount.parse("50.00", "USD")
    gateway.script["inquiryPayment"] = [inquired(first, OPEN)]
    gateway.script["cancelPayment"] = [{"result": PAID}]
    second = start()
    assert gateway.calls() == ["pay", "inquiryPayment", "cancelPayment", "pay"]
    assert second.amount == shop.price
    assert pay.store.get(first.payment_request_id).state is State.CANCELLED


def test_a_paid_order_is_never_paid_again(pay, gateway, start, shop, alipayplus, clock):
    attempt = start()
    notified(pay, alipayplus, clock, alipayplus.notification(attempt))
    assert start().payment_request_id == attempt.payment_request_id
    shop.price = Amount.parse("99.00", "USD")
    with pytest.raises(OrderChanged, match=r"paid with 42.00 USD .* load_order says 99.00 USD"):
        start()
    assert gateway.calls() == ["pay"]


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("/orders/17?x=1", "https://shop.example/orders/17?x=1"),
        ("https://www.shop.example/thanks", "https://www.shop.example/thanks"),
        (None, "https://shop.example/aplus/payments/{}"),
    ],
)
def test_the_buyer_goes_back_to_an_address_or_a_path_of_the_shops_own(start, shop, given, sent):
    shop.load_order = lambda _details: OrderToPay(
        amount=Amount("USD", 5), description="x", return_url=given
    )
    attempt = start()
    url = attempt.request.payment_redirect_url
    assert url == sent.format(attempt.payment_request_id)


BAD_ORDERS = {
    "return path that is too long on its host": (
        OrderToPay(amount=Amount("USD", 5), description="x", return_url="/" + "y" * 2047),
        "2068 characters",
    ),
    "lone surrogate": (OrderToPay(amount=Amount("USD", 5), description="\ud800"), "lone surrogate"),
}


@pytest.mark.parametrize("name", BAD_ORDERS)
def test_an_order_that_cannot_be_paid_is_refused_before_anything_is_stored_or_sent(
    pay, gateway, start, shop, name
):
    order, found = BAD_ORDERS[name]
    shop.load_order = lambda _details: order
    with pytest.raises(InvalidValue, match=found) as refused:
        start()
    assert "expected" in str(refused.value)
    assert gateway.sent == []
    assert pay.store.latest("A-1") is None


REFUSED_REFS = {
    "x" * 65: "65 characters",
    "": "0 characters",
    "A\n1": r"'A\\n1'",
    "A\u2028": r"'A\\u2028'",
    "A\0": "a NUL character",
    "\ud83d": "half a surrogate pair",
    5: "int",
    None: "NoneType",
}


def test_an_order_reference_that_cannot_be_one_is_refused(start, gateway):
    for order_ref, found in REFUSED_REFS.items():
        with pytest.raises(InvalidValue, match=f"order_ref: found {found}"):
            start(order_ref)
    assert gateway.sent == []


SCRIPTS = {
    "Persian": "\u0645\u06cc\u200c\u0631\u0648\u06f1",
    "Sinhala": "\u0dc1\u0dca\u200d\u0dbb\u0dd3 7",
    "a wide space": "\u6ce8\u6587\u3000\uff11",
    "a mark of direction": "\u200f\u05d0-1",
    "a family": "\U0001f468\u200d\U0001f469\u200d\U0001f467",
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_order_reference_is_text_of_any_script(start, script, pay):
    attempt = start(SCRIPTS[script])
    assert pay.latest(SCRIPTS[script]) == attempt
    assert pay.payment_button(SCRIPTS[script])


def test_a_hook_may_know_an_order_by_a_longer_word_than_alipayplus(start, shop):
    shop.load_order = lambda details: OrderToPay(
        amount=Amount("USD", 4200), description="2 tickets", order_ref="A-7"
    )
    for word in (" A-7\n", "t" * 94):
        assert start(word).order_ref == "A-7"


def test_an_order_that_does_not_exist_is_said_to_be_unknown(start, shop):
    shop.price = None
    with pytest.raises(UnknownOrder, match="no such order"):
        start()


def test_what_the_shops_code_raises_arrives_as_our_error_with_its_cause(start, shop):
    def broken(_details):
        raise ValueError("the shop's own bug")

    shop.load_order = broken
    with pytest.raises(HookError, match="hook load_order: raised ValueError") as raised:
        start()
    assert isinstance(raised.value.__cause__, ValueError)


def test_what_a_store_raises_arrives_as_our_error(pay, start, monkeypatch):
    monkeypatch.setattr(pay.store, "add", lambda *_: 1 / 0)
    with pytest.raises(StoreError, match="ZeroDivisionError"):
        start()


def test_every_error_of_ours_can_be_pickled():
    import pickle

    from aplus_adapters import errors

    for name in errors.__all__:
        error = getattr(errors, name)("message")
        copy = pickle.loads(pickle.dumps(error))
        assert isinstance(copy, AplusError)
        assert (str(copy), vars(copy)) == (str(error), vars(error))
