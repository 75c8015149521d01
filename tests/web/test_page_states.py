"""Which state a buyer sees of each payment, at the edges of time."""

from datetime import timedelta

import pytest

from aplus_adapters import Amount, State
from aplus_adapters.messages import Result
from aplus_adapters.testing.store_values import NOON, an_attempt
from aplus_adapters.web.view import page_state, view_of

EXPIRY = NOON + timedelta(minutes=3)
TICK = timedelta(microseconds=1)
FIVE = timedelta(seconds=5)


def failed(code):
    return Result(result_code=code, result_status="F", result_message="no")


ROWS = [
    (State.CREATED, {}, EXPIRY - TICK, "retrying"),
    (State.CREATED, {}, EXPIRY, "checking"),
    (State.PENDING, {}, EXPIRY - TICK, "waiting"),
    (State.PENDING, {}, EXPIRY, "checking"),
    (State.PENDING, {"changed_at": NOON + FIVE}, NOON, "waiting"),
    (State.PENDING, {"changed_at": NOON + FIVE + TICK}, NOON, "checking"),
    (State.CLOSING, {}, NOON, "checking"),
    (State.CLOSING, {}, EXPIRY, "checking"),
    (State.CANCELLED, {"changed_at": EXPIRY - TICK}, EXPIRY + FIVE, "cancelled"),
    (State.CANCELLED, {"changed_at": EXPIRY}, EXPIRY + FIVE, "expired"),
    (State.CANCELLED, {"success_reported": True}, EXPIRY, "returned"),
    (State.FAILED, {"success_reported": True}, EXPIRY, "returned"),
    (State.FAILED, {"result": failed("ORDER_IS_CLOSED")}, EXPIRY, "expired"),
    (State.FAILED, {"result": failed("ORDER_NOT_EXIST")}, EXPIRY, "expired"),
    (State.FAILED, {"result": failed("RISK_REJECT")}, EXPIRY, "failed"),
    (State.FAILED, {"result": None}, EXPIRY, "failed"),
    (State.SUCCEEDED, {}, EXPIRY, "paid"),
    (State.SUCCEEDED, {"refunded": 1}, EXPIRY, "paid"),
    (State.SUCCEEDED, {"refunded": an_attempt().amount.value}, EXPIRY, "refunded"),
    (State.CANCELLED, {"refunded": 1}, EXPIRY, "refunded"),  # money of a conflict
    (State.PENDING, {"disputed": Amount("JPY", 1), "refunded": 1}, NOON, "refunded"),
    (State.PENDING, {"disputed": Amount("JPY", 1)}, NOON, "conflict"),
    (State.SUCCEEDED, {"disputed": Amount("JPY", 1)}, EXPIRY, "conflict"),
]


@pytest.mark.parametrize(("state", "changes", "now", "shown"), ROWS)
def test_a_buyer_sees_the_state_of_the_payment_at_that_time(state, changes, now, shown):
    assert page_state(an_attempt(state=state, **changes), now).value == shown


def test_only_the_three_open_states_are_asked_about_again():
    over = {page_state(an_attempt(state=state, **changes), now) for state, changes, now, _ in ROWS}
    assert {state.value for state in over if not state.is_over} == {
        "waiting",
        "retrying",
        "checking",
    }


def viewed(more=b"", name=None, of_order=b"", **changes):
    body = (
        b'{"order":{"referenceOrderId":"A-1",'
        + of_order
        + b'"orderDescription":"Ticket","orderAmount":{"currency":"JPY",'
        b'"value":"4200"},"env":{"terminalType":"WEB","userAgent":"X"}},"paymentRequestId":"pay1","paymentAmount":'
        b'{"currency":"JPY","value":"4200"},"paymentMethod":{"paymentMethodType":"CONNECT_WALLET"},'
        b'"paymentFactor":{"isInStorePayment":"true","isCashierPayment":"true",'
        b'"inStorePaymentScenario":"OrderCode"},'
        + more
        + b'"paymentNotifyUrl":"https://shop.example/notify"}'
    )
    return view_of(an_attempt(request_body=body, **changes), EXPIRY, name)


def test_a_receipt_says_what_went_back_only_in_a_currency_that_is_known():
    paid = viewed(state=State.SUCCEEDED, refunded=500)
    assert paid.refunded == Amount("JPY", 500)
    assert paid.paid_at == NOON
    disputed = viewed(state=State.FAILED, disputed=Amount("USD", 7), refunded=7)
    assert disputed.refunded == Amount("USD", 7)
    conflict = viewed(state=State.CANCELLED, refunded=7)
    assert (conflict.refunded, conflict.paid_at) == (None, None)


def test_a_page_leads_back_to_where_the_order_says_and_never_to_itself():
    back = b'"paymentRedirectUrl":"https://shop.example/orders/1",'
    assert viewed(back).return_url == "https://shop.example/orders/1"
    itself = b'"paymentRedirectUrl":"https://shop.example/aplus/payments/pay1",'
    assert viewed(itself).return_url is None
    assert viewed().return_url is None


MERCHANT = (
    b'"merchant":{"referenceMerchantId":"M-1","merchantName":"Corner Ltd","merchantMCC":"7832",%s'
    b'"merchantAddress":{"region":"JP","city":"Tokyo"}},'
)
DISPLAYED = b'"merchantDisplayName":"The Corner",'


def test_the_shops_name_is_the_one_that_is_set():
    assert viewed(name="Corner Shop").shop_name == "Corner Shop"
    assert viewed().shop_name is None
    assert viewed(of_order=MERCHANT % b"").shop_name == "Corner Ltd"
    assert viewed(of_order=MERCHANT % DISPLAYED).shop_name == "The Corner"
    named = viewed(name="Corner Shop", of_order=MERCHANT % DISPLAYED)
    assert named.shop_name == "Corner Shop"
