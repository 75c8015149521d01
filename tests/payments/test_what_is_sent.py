"""Each request whole: every word of the order in it, by the right account, with the right time-out."""

import json
from datetime import timedelta

import pytest
from attrs import evolve

from aplus_adapters import Account, Amount, AplusPay, MemoryStore, OrderToPay, PrivateKey, State
from aplus_adapters.messages import Buyer, Goods, Merchant, Shipping, UserName
from aplus_adapters.payments.effects import Send
from support.gateway import DOWN, GONE, LOST, OPEN, PAID, Gateway, asked, give_back, inquired
from support.shop import NOON, Shop

REQUEST_ID = "pay0000000000000000000000000000000000000001"
DENIED = {"resultCode": "ACCESS_DENIED", "resultStatus": "F", "resultMessage": "no"}


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def timeouts(pay, gateway):
    """The calls that were made, each with the seconds that it was given."""
    calls = []

    def send(effect):
        calls.append((effect.request.path.rpartition("/")[2], effect.timeout))
        return gateway.send(effect.request, effect.timeout)

    pay.performer._table[Send] = send
    return calls


def test_every_word_of_the_order_is_sent_and_stored(account, their_key, store, clock):
    class Full(Shop):
        def load_order(self, details):
            return OrderToPay(
                amount=Amount("USD", 4200),
                description="2 tickets",
                order_ref="1001",
                merchant=Merchant(reference_merchant_id="M-1", merchant_name="Cinema"),
                goods=[Goods(reference_goods_id="G-1", goods_name="ticket", goods_quantity=2)],
                buyer=Buyer(reference_buyer_id="B-1"),
                shipping=Shipping(shipping_name=UserName(full_name="Q. Li")),
                expires_in=timedelta(seconds=60),
                return_url="/orders/1001",
                settlement_currency="EUR",
                split_settlement_id="SPLIT-1",
            )

    pay = AplusPay(account=account, store=store, hooks=Full(), clock=clock)
    gateway = Gateway(account, their_key, clock)
    pay.performer._table[Send] = lambda effect: gateway.send(effect.request, effect.timeout)
    gateway.script["pay"] = [DOWN]
    attempt = pay.start(" 1001")
    ((_, request), *_) = gateway.sent
    assert json.loads(request.body) == {
        "order": {
            "referenceOrderId": "1001",
            "orderDescription": "2 tickets",
            "orderAmount": {"currency": "USD", "value": "4200"},
            "merchant": {"referenceMerchantId": "M-1", "merchantName": "Cinema"},
            "goods": [
                {"referenceGoodsId": "G-1", "goodsName": "ticket", "goodsQuantity": "2"},
            ],
            "shipping": {"shippingName": {"fullName": "Q. Li"}},
            "buyer": {"referenceBuyerId": "B-1"},
            "env": {"terminalType": "WEB", "userAgent": "unknown"},
        },
        "paymentRequestId": REQUEST_ID,
        "paymentAmount": {"currency": "USD", "value": "4200"},
        "paymentMethod": {"paymentMethodType": "CONNECT_WALLET"},
        "paymentFactor": {
            "isInStorePayment": "true",
            "isCashierPayment": "true",
            "inStorePaymentScenario": "OrderCode",
        },
        "paymentExpiryTime": "2026-11-23T12:01:00.000Z",
        "paymentNotifyUrl": "https://shop.example/aplus/notify",
        "paymentRedirectUrl": "https://shop.example/orders/1001",
        "settlementStrategy": {"settlementCurrency": "EUR"},
        "splitSettlementId": "SPLIT-1",
    }
    assert attempt.request_body == request.body
    assert (attempt.order_ref, attempt.amount) == ("1001", Amount("USD", 4200))
    assert (attempt.created_at, attempt.expires_at) == (NOON, NOON + timedelta(seconds=60))


@pytest.mark.parametrize(
    ("of_the_account", "of_the_order", "sent"),
    [
        (None, None, None),
        ("EUR", None, "EUR"),
        ("EUR", "JPY", "JPY"),
        ("USD", None, None),
        ("EUR", "USD", None),
    ],
)
def test_the_currency_of_settlement_is_the_orders_or_else_the_accounts(
    account, store, clock, their_key, of_the_account, of_the_order, sent
):
    """Alipay+ wants it only where it is not the payment's own."""

    class Settles(Shop):
        def load_order(self, details):
            return evolve(super().load_order(details), settlement_currency=of_the_order)

    account = evolve(account, settlement_currency=of_the_account)
    pay = AplusPay(account=account, store=store, hooks=Settles(), clock=clock)
    gateway = Gateway(account, their_key, clock)
    pay.performer._table[Send] = lambda effect: gateway.send(effect.request, effect.timeout)
    said = json.loads(pay.start("A-1").request_body).get("settlementStrategy")
    assert said == (sent and {"settlementCurrency": sent})


def test_a_refund_is_sent_with_its_reason_and_stored_with_it(pay, gateway, paid):
    gateway.script["refund"] = [LOST]
    refund = give_back(pay, paid, amount=Amount("USD", 1000), reason="the seat was broken")
    (body,) = gateway.bodies("refund")
    assert json.loads(body) == {
        "paymentRequestId": paid.payment_request_id,
        "refundRequestId": "credit-note-1",
        "refundAmount": {"currency": "USD", "value": "1000"},
        "refundReason": "the seat was broken",
    }
    assert (refund.reason, refund.request_body) == ("the seat was broken", body)


class TestASecondAccount:
    """The order names it: whoever asks with the first one's keys asks about somebody else's money."""

    @pytest.fixture
    def second(self, their_key):
        return Account(
            client_id="CLIENT-2",
            private_key=PrivateKey.generate(),
            alipayplus_keys=their_key.public_key,
            gateway="https://second.example",
            notify_url="https://shop.example/second/notify",
        )

    @pytest.fixture
    def gateway(self, second, their_key, clock):
        return Gateway(second, their_key, clock)

    @pytest.fixture
    def pay(self, account, second, store, clock, gateway):
        class Chooses(Shop):
            def load_order(self, details):
                return evolve(super().load_order(details), client_id="CLIENT-2")

        made = AplusPay(account=[account, second], store=store, hooks=Chooses(), clock=clock)
        made.performer._table[Send] = lambda effect: gateway.send(effect.request, effect.timeout)
        return made

    def check(self, gateway, *calls):
        assert gateway.calls() == list(calls)
        for _, request in gateway.sent:
            assert request.client_id == dict(request.headers)["Client-Id"] == "CLIENT-2"
            assert request.url.startswith("https://second.example/")

    def test_sends_what_is_paid_inquired_and_refunded(self, pay, gateway, clock):
        attempt = pay.start("A-1")
        assert (attempt.state, attempt.client_id) == (State.PENDING, "CLIENT-2")
        assert attempt.request.payment_notify_url == "https://shop.example/second/notify"
        gateway.script["inquiryPayment"] = [inquired(attempt, PAID)]
        clock.moment = attempt.next_call_at
        assert asked(pay, attempt).state is State.SUCCEEDED
        gateway.script["refund"] = [LOST, {"result": DENIED}]
        assert give_back(pay, attempt).client_id == "CLIENT-2"
        self.check(gateway, "pay", "inquiryPayment", "refund", "refund", "inquiryPayment")

    def test_sends_what_is_sent_again_and_cancelled(self, pay, gateway, clock):
        gateway.script["pay"] = [LOST, LOST, LOST, "code"]
        attempt = pay.start("A-1")
        clock.moment = attempt.next_call_at
        attempt = asked(pay, attempt)
        gateway.script.update(
            inquiryPayment=[inquired(attempt, OPEN)], cancelPayment=[{"result": PAID}]
        )
        assert pay.close_order("A-1").state is State.CANCELLED
        self.check(gateway, *["pay"] * 4, "inquiryPayment", "cancelPayment")


class TestTheTimeOfACall:
    """Less, and a payment that is answered late is not known; more, and the claim is over before."""

    def test_is_8_seconds_for_a_code_and_for_a_cancellation_and_5_for_an_inquiry(
        self, pay, gateway, start, timeouts
    ):
        attempt = start()
        gateway.script["inquiryPayment"] = [inquired(attempt, OPEN)]
        gateway.script["cancelPayment"] = [{"result": GONE}]
        pay.close_order("A-1")
        assert timeouts == [
            ("pay", 8.0),
            ("inquiryPayment", 5.0),
            ("cancelPayment", 8.0),
            ("inquiryPayment", 5.0),
        ]

    def test_is_8_seconds_for_a_refund_and_5_for_the_inquiry_behind_it(
        self, pay, gateway, paid, timeouts
    ):
        timeouts.clear()
        gateway.script["refund"] = [LOST, {"result": DENIED}]
        give_back(pay, paid)
        assert timeouts == [("refund", 8.0), ("refund", 8.0), ("inquiryPayment", 5.0)]

    @pytest.mark.parametrize(
        ("taken", "given"), [(4.0, [8.0, 5.5]), (9.0, [8.0, 0.5]), (9.49, [8.0, 0.1])]
    )
    def test_of_a_repeat_is_what_is_left_of_all_repeats_but_never_none(
        self, pay, gateway, clock, start, timeouts, taken, given
    ):
        send = gateway.send

        def slow(request, timeout):
            clock.moment += timedelta(seconds=taken)
            return send(request, timeout)

        gateway.send = slow
        gateway.script["pay"] = [LOST, "code"]
        start()
        assert [seconds for _, seconds in timeouts] == pytest.approx(given)
