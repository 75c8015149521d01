"""One broken request for each rule of the documentation: its code, and the rule named in words."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from aplus_adapters.protocol import signing
from aplus_adapters.protocol.timestamps import Timestamp
from aplus_adapters.simulator.identity import CLIENT_ID
from aplus_adapters.testing.simulator import Simulator

BASE = "/aps/api/v1/payments/"
AMOUNT = {"currency": "USD", "value": "4200"}
DROP = object()


def pay_body(**changes):
    return {
        "order": {
            "referenceOrderId": "A-1",
            "orderDescription": "2 tickets",
            "orderAmount": AMOUNT,
            "env": {"terminalType": "WEB", "userAgent": "Mozilla/5.0"},
        },
        "paymentRequestId": "pay-1",
        "paymentAmount": AMOUNT,
        "paymentMethod": {"paymentMethodType": "CONNECT_WALLET"},
        "paymentFactor": {
            "isInStorePayment": "true",
            "isCashierPayment": "true",
            "inStorePaymentScenario": "OrderCode",
        },
        "paymentNotifyUrl": "https://shop.example/aplus/notify",
        **changes,
    }


class Gateway:
    """Sends signed calls to the simulated Alipay+ as any client does, right or wrong."""

    def __init__(self, world):
        self.alipayplus, self.account = world.alipayplus, world.simulator.account
        self.now = world.simulator.clock.now

    def __call__(self, content, name="pay", *, method="POST", path=None, key=None, **headers):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        path = path or BASE + name
        sent = {
            "client-id": CLIENT_ID,
            "request-time": Timestamp.of(self.now()).text,
            "content-type": "application/json; charset=UTF-8",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        sent = {name: value for name, value in sent.items() if value is not DROP}
        if "signature" not in sent and headers.get("signature") is not DROP:
            signed = signing.signed_content(
                path, sent.get("client-id", ""), sent.get("request-time", ""), body
            )
            sent["signature"] = signing.sign(key or self.account.private_key, "1", signed)
        steps = self.alipayplus.answer(method=method, path=path, headers=sent, body=body)
        try:
            next(steps)
        except StopIteration as end:
            self.reply = end.value
        return json.loads(self.reply.body)["result"]

    @property
    def is_signed(self):
        return "Signature" in self.reply.headers


@pytest.fixture
def gateway(world):
    return Gateway(world)


def changed(path, value):
    content = json.loads(json.dumps(pay_body()))
    *parents, last = path.split(".")
    place = content
    for key in parents:
        place = place.setdefault(key, {})
    if value is DROP:
        del place[last]
    else:
        place[last] = value
    return content


PAY_RULES = [
    # the field, what it is, the code, and the words that name the rule
    ("paymentRequestId", DROP, "PARAM_ILLEGAL", "paymentRequestId is missing"),
    ("paymentRequestId", "x" * 65, "PARAM_ILLEGAL", "paymentRequestId: found 65 characters"),
    ("paymentRequestId", "", "PARAM_ILLEGAL", "paymentRequestId is empty"),
    ("paymentRequestId", 17, "PARAM_ILLEGAL", "paymentRequestId must be a string"),
    ("order", DROP, "PARAM_ILLEGAL", "order is missing"),
    ("order", [], "PARAM_ILLEGAL", "order.referenceOrderId is missing"),
    ("order.referenceOrderId", DROP, "PARAM_ILLEGAL", "order.referenceOrderId is missing"),
    ("order.referenceOrderId", "x" * 65, "PARAM_ILLEGAL", "referenceOrderId: found 65 characters"),
    ("order.orderDescription", DROP, "PARAM_ILLEGAL", "order.orderDescription is missing"),
    ("order.orderDescription", "x" * 257, "PARAM_ILLEGAL", "orderDescription: found 257 characters"),
    ("order.orderAmount", DROP, "PARAM_ILLEGAL", "order.orderAmount is missing"),
    ("order.orderAmount.value", "0", "PARAM_ILLEGAL", "orderAmount"),
    ("order.env", DROP, "PARAM_ILLEGAL", "order.env is missing"),
    ("order.env.userAgent", DROP, "PARAM_ILLEGAL", "order.env.userAgent is missing"),
    ("order.env.terminalType", "FRIDGE", "PARAM_ILLEGAL", "terminalType: found 'FRIDGE'"),
    ("order.env.osType", "BEOS", "PARAM_ILLEGAL", "osType: found 'BEOS'"),
    ("order.merchant.merchantMCC", "12345", "PARAM_ILLEGAL", "merchantMCC: found 5 characters"),
    ("order.merchant.merchantAddress", {"region": "USA"}, "PARAM_ILLEGAL", "region: found 3 characters"),
    ("order.goods", [{"goodsQuantity": "1.5"}], "PARAM_ILLEGAL", "goodsQuantity"),
    ("paymentAmount", DROP, "PARAM_ILLEGAL", "paymentAmount is missing"),
    ("paymentAmount.value", 4200, "PARAM_ILLEGAL", "paymentAmount.value must be a string"),
    ("paymentAmount.value", "42.00", "PARAM_ILLEGAL", "paymentAmount.value must be a whole number"),
    ("paymentAmount.value", "-1", "PARAM_ILLEGAL", "paymentAmount.value must be a whole number"),
    ("paymentAmount.value", "1" * 19, "PARAM_ILLEGAL", "paymentAmount"),
    ("paymentAmount.value", "0", "PAYMENT_AMOUNT_INVALID", "less than the smallest amount in USD"),
    ("paymentAmount.currency", "QQQ", "CURRENCY_NOT_SUPPORT", "paymentAmount.currency"),
    ("paymentAmount.currency", "usd", "CURRENCY_NOT_SUPPORT", "paymentAmount.currency"),
    ("paymentMethod", DROP, "PARAM_ILLEGAL", "paymentMethod is missing"),
    ("paymentMethod.paymentMethodType", "CARD", "PARAM_ILLEGAL", "must be CONNECT_WALLET"),
    ("paymentFactor", DROP, "PARAM_ILLEGAL", "paymentFactor is missing"),
    ("paymentFactor.isInStorePayment", "false", "PARAM_ILLEGAL", "isInStorePayment must be true"),
    ("paymentFactor.isInStorePayment", True, "PARAM_ILLEGAL", "isInStorePayment must be a string"),
    ("paymentFactor.isCashierPayment", "false", "PARAM_ILLEGAL", "isCashierPayment must be true"),
    ("paymentFactor.inStorePaymentScenario", "PaymentCode", "PARAM_ILLEGAL", "must be OrderCode"),
    ("paymentExpiryTime", "tomorrow", "PARAM_ILLEGAL", "paymentExpiryTime"),
    ("paymentExpiryTime", "2019-11-27T12:01:01", "PARAM_ILLEGAL", "paymentExpiryTime"),
    ("paymentExpiryTime", "2019-11-27T12:01:01+08:00", "PARAM_ILLEGAL", "paymentExpiryTime has passed"),
    ("paymentNotifyUrl", DROP, "PARAM_ILLEGAL", "paymentNotifyUrl is missing"),
    ("paymentNotifyUrl", "/aplus/notify", "PARAM_ILLEGAL", "paymentNotifyUrl: found"),
    ("paymentNotifyUrl", "https://x.example/" + "y" * 2040, "PARAM_ILLEGAL", "paymentNotifyUrl: found 2058"),
    ("paymentRedirectUrl", "https://x.example/" + "y" * 2040, "PARAM_ILLEGAL", "paymentRedirectUrl: found 2058"),
    ("settlementStrategy", {"settlementCurrency": "QQQ"}, "CURRENCY_NOT_SUPPORT", "settlementCurrency"),
    ("settlementStrategy", {"other": "USD"}, "PARAM_ILLEGAL", "settlementCurrency"),
    ("splitSettlementId", "x" * 17, "PARAM_ILLEGAL", "splitSettlementId: found 17 characters"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "code", "words"), PAY_RULES)
def test_each_rule_of_the_pay_page_is_refused_by_its_name(gateway, path, value, code, words):
    result = gateway(changed(path, value))
    assert (result["resultCode"], result["resultStatus"]) == (code, "F")
    assert words in result["resultMessage"]
    assert len(result["resultMessage"]) <= 256
    assert gateway.is_signed


SIBLING_RULES = [
    ("inquiryPayment", {}, "PARAM_ILLEGAL", "paymentRequestId or paymentId is missing"),
    ("inquiryPayment", {"paymentRequestId": 1}, "PARAM_ILLEGAL", "must be a string"),
    ("inquiryPayment", {"paymentRequestId": "x" * 65}, "PARAM_ILLEGAL", "found 65 characters"),
    ("inquiryPayment", {"paymentRequestId": "nobody"}, "ORDER_NOT_EXIST", "does not exist"),
    ("cancelPayment", {}, "PARAM_ILLEGAL", "paymentRequestId or paymentId is missing"),
    ("cancelPayment", {"paymentId": "nobody"}, "ORDER_NOT_EXIST", "does not exist"),
    ("refund", {"paymentRequestId": "x"}, "PARAM_ILLEGAL", "refundRequestId is missing"),
    ("refund", {"paymentRequestId": "x", "refundRequestId": "r"}, "PARAM_ILLEGAL", "refundAmount is missing"),
    ("refund", {"refundRequestId": "r", "refundAmount": AMOUNT}, "PARAM_ILLEGAL", "paymentRequestId or paymentId"),
    ("refund", {"paymentId": "x", "refundRequestId": "r" * 65, "refundAmount": AMOUNT}, "PARAM_ILLEGAL", "refundRequestId: found 65"),
    ("refund", {"paymentId": "x", "refundRequestId": "r", "refundAmount": {**AMOUNT, "value": "0"}}, "PARAM_ILLEGAL", "refundAmount"),
    ("refund", {"paymentId": "x", "refundRequestId": "r", "refundAmount": AMOUNT, "refundReason": "y" * 257}, "PARAM_ILLEGAL", "refundReason: at most 256"),
    ("refund", {"paymentId": "x", "refundRequestId": "r", "refundAmount": AMOUNT}, "ORDER_NOT_EXIST", "does not exist"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "code", "words"), SIBLING_RULES)
def test_each_rule_of_the_sibling_pages_is_refused_by_its_name(gateway, name, content, code, words):
    result = gateway(content, name)
    assert (result["resultCode"], result["resultStatus"]) == (code, "F")
    assert words in result["resultMessage"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b'{"a":1,"a":2}', b"\xff", b"NaN"])
def test_a_body_that_is_no_json_object_is_illegal(gateway, body):
    assert gateway(body)["resultCode"] == "PARAM_ILLEGAL"


HEADER_RULES = [
    ({"client_id": DROP}, "INVALID_CLIENT", "Client-Id is missing", False),
    ({"client_id": "SOMEBODY"}, "INVALID_CLIENT", "SOMEBODY", False),
    ({"request_time": DROP}, "PARAM_ILLEGAL", "Request-Time: it is missing", False),
    ({"request_time": "1795600000000"}, "PARAM_ILLEGAL", "Request-Time: found", False),
    ({"signature": DROP}, "INVALID_SIGNATURE", "no Signature header", False),
    ({"signature": "nonsense"}, "INVALID_SIGNATURE", "expected algorithm=RSA256", False),
    ({"signature": "algorithm=ECC256,keyVersion=1,signature=eA=="}, "INVALID_SIGNATURE", "ECC256", False),
    ({"signature": "algorithm=RSA256,keyVersion=1,signature=eA=="}, "INVALID_SIGNATURE", "POST path LF", False),
    ({"content_type": "text/plain"}, "MEDIA_TYPE_NOT_ACCEPTABLE", "Content-Type: found 'text/plain'", True),
    ({"content_type": DROP}, "MEDIA_TYPE_NOT_ACCEPTABLE", "Content-Type", True),
    ({"method": "GET"}, "METHOD_NOT_SUPPORTED", "found GET", False),
    ({"path": "/aps/api/v1/payments/payments"}, "NO_INTERFACE_DEF", "/payments/payments", False),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "code", "words", "is_signed"), HEADER_RULES)
def test_each_rule_of_the_header_is_refused_and_signed_only_for_a_known_client(
    gateway, changes, code, words, is_signed
):
    result = gateway(pay_body(), **changes)
    assert result["resultCode"] == code
    assert words in result["resultMessage"]
    assert gateway.is_signed is is_signed


REPEATS = [
    ("paymentAmount.value", "4201", "paymentAmount"),
    ("order.orderAmount.value", "4201", "order.orderAmount"),
    ("settlementStrategy", {"settlementCurrency": "EUR"}, "settlementStrategy"),
]


@pytest.mark.parametrize(("path", "value", "named"), REPEATS)
def test_a_repeat_with_another_key_parameter_names_it(gateway, path, value, named):
    assert gateway(pay_body())["resultCode"] == "PAYMENT_IN_PROCESS"
    result = gateway(changed(path, value))
    assert result["resultCode"] == "REPEAT_REQ_INCONSISTENT"
    assert f"{named} differs" in result["resultMessage"]
    assert gateway(changed("paymentRedirectUrl", "https://x.example/"))["resultStatus"] == "U"


def test_a_repeat_for_a_closed_order_says_so_and_a_refund_that_repeats_differently_too(
    gateway, world
):
    gateway(pay_body())
    order = world.alipayplus.books.orders["pay-1"]
    world.alipayplus.decide(order, "pay")
    refund = {"paymentRequestId": "pay-1", "refundRequestId": "r", "refundAmount": AMOUNT}
    assert (
        gateway({**refund, "refundAmount": {**AMOUNT, "value": "1"}}, "refund")["resultStatus"]
        == "S"
    )
    assert "refundAmount differs" in gateway(refund, "refund")["resultMessage"]
    more = {**refund, "refundRequestId": "r2"}
    assert gateway(more, "refund")["resultCode"] == "REFUND_AMOUNT_EXCEED"
    other = {**more, "refundAmount": {"currency": "EUR", "value": "1"}}
    assert gateway(other, "refund")["resultCode"] == "CURRENCY_NOT_SUPPORT"
    gateway({"paymentRequestId": "pay-1"}, "cancelPayment")
    assert gateway(pay_body())["resultCode"] == "ORDER_IS_CLOSED"
    assert gateway(more, "refund")["resultCode"] == "ORDER_STATUS_INVALID"


def test_an_expiry_beyond_three_minutes_is_ignored_as_documented(gateway, world):
    late = Timestamp.of(world.simulator.clock.now() + timedelta(hours=1)).text
    assert gateway(pay_body(paymentExpiryTime=late))["resultStatus"] == "U"
    order = world.alipayplus.books.orders["pay-1"]
    assert order.expires_at - order.created_at == timedelta(minutes=3)


def test_a_settlement_in_another_currency_has_its_quote_in_notification_inquiry_and_refund(
    gateway, world
):
    gateway(pay_body(settlementStrategy={"settlementCurrency": "JPY"}))
    order = world.alipayplus.books.orders["pay-1"]
    world.alipayplus.decide(order, "pay")
    refund = {"paymentRequestId": "pay-1", "refundRequestId": "r", "refundAmount": AMOUNT}
    for name, content in (("inquiryPayment", {"paymentRequestId": "pay-1"}), ("refund", refund)):
        assert gateway(content, name)["resultStatus"] == "S"
        answer = json.loads(gateway.reply.body)
        assert answer["settlementAmount"] == {"currency": "JPY", "value": "52"}
        assert answer["settlementQuote"]["quoteCurrencyPair"] == "USD/JPY"
    notified = json.loads(world.alipayplus.notifier.make(order).body)
    assert notified["settlementQuote"]["quotePrice"] == "1.25"


def test_a_settlement_below_the_smallest_unit_is_refused(gateway):
    content = pay_body(settlementStrategy={"settlementCurrency": "JPY"})
    content["paymentAmount"] = {**AMOUNT, "value": "79"}  # 0.79 USD are 0.98 JPY at 1.25
    assert gateway(content)["resultCode"] == "PAYMENT_AMOUNT_INVALID"
    content["paymentAmount"] = {**AMOUNT, "value": "80"}
    assert gateway(content)["resultCode"] == "PAYMENT_IN_PROCESS"


@pytest.mark.parametrize(
    "path", ["paymentExpiryTime", "paymentRedirectUrl", "settlementStrategy", "order.merchant"]
)
def test_a_null_is_an_absent_optional_field(gateway, path):
    assert gateway(changed(path, None))["resultCode"] == "PAYMENT_IN_PROCESS"


@pytest.mark.parametrize("path", ["paymentRequestId", "order.env", "paymentFactor"])
def test_a_null_is_an_absent_required_field(gateway, path):
    assert f"{path} is missing" in gateway(changed(path, None))["resultMessage"]


def test_the_lenient_simulator_takes_what_other_sdks_send_and_the_strict_one_does_not(world):
    soon = world.simulator.clock.now() + timedelta(minutes=2)
    content = changed("paymentFactor.isInStorePayment", value=True)
    content["paymentAmount"] = {**AMOUNT, "value": 4200}
    content["paymentExpiryTime"] = int(soon.timestamp() * 1000)
    assert Gateway(world)(content)["resultCode"] == "PARAM_ILLEGAL"
    with Simulator(clock=world.simulator.clock, lenient=True) as simulator:
        lenient = Gateway(type(world)(simulator))
        assert lenient(content)["resultCode"] == "PAYMENT_IN_PROCESS"
        content["paymentFactor"]["isInStorePayment"] = False
        assert lenient(content)["resultCode"] == "PARAM_ILLEGAL"


def test_the_clock_is_the_injected_one(gateway, world):
    world.simulator.clock.move_to(datetime(2030, 1, 1, tzinfo=UTC))
    gateway(pay_body())
    assert world.alipayplus.books.orders["pay-1"].payment_id.startswith("20300101")
