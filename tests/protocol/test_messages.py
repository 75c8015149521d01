"""Messages: exact names on the wire, strings only, nothing empty, nothing lost."""

import json
from datetime import timedelta
from decimal import Decimal

import attrs
import pytest
from attrs import evolve

from aplus_adapters import Amount, Buyer, Goods, InvalidValue, Merchant, MessageError, Shipping
from aplus_adapters.messages import (
    Address,
    CancelRequest,
    Env,
    InquiryRequest,
    Order,
    PaymentNotification,
    PayRequest,
    PayResponse,
    RefundRequest,
    SettlementStrategy,
    Store,
    Timestamp,
    UserName,
)
from aplus_adapters.protocol.messages import order, pay, refund
from aplus_adapters.protocol.messages.cancel import CancelResponse
from aplus_adapters.protocol.messages.inquiry import InquiryResponse, Transaction
from aplus_adapters.protocol.messages.pay import check_expiry
from aplus_adapters.protocol.messages.result import Result
from aplus_adapters.protocol.messages.settlement import SettlementQuote
from support.shop import NOON

# By hand from the documentation; the required ones are starred.
FIELDS = {
    PayRequest: "order* paymentRequestId* paymentAmount* paymentMethod paymentFactor paymentExpiryTime paymentNotifyUrl* paymentRedirectUrl settlementStrategy splitSettlementId",
    pay.PaymentMethod: "paymentMethodType",
    pay.PaymentFactor: "isInStorePayment isCashierPayment inStorePaymentScenario",
    pay.SettlementStrategy: "settlementCurrency*",
    PayResponse: "result* acquirerId paymentId paymentAmount orderCodeForm",
    pay.OrderCodeForm: "paymentMethodType expireTime codeDetails* extendInfo",
    pay.CodeDetail: "codeValue* displayType* codeValueType",
    Result: "resultCode* resultStatus* resultMessage",
    Order: "referenceOrderId* orderDescription* orderAmount* merchant goods shipping buyer env* indirectAcquirer",
    Merchant: "referenceMerchantId merchantName merchantDisplayName merchantMCC merchantRegisterDate merchantAddress store",
    Store: "referenceStoreId storeName storeDisplayName storeMCC storeTerminalId storeOperatorId storePhoneNo storeAddress",
    Address: "region state city address1 address2 zipCode",
    Goods: "referenceGoodsId goodsName goodsCategory goodsBrand goodsUnitAmount goodsQuantity",
    Buyer: "referenceBuyerId buyerName buyerPhoneNo buyerEmail",
    UserName: "firstName middleName lastName fullName",
    Shipping: "shippingName shippingAddress shippingCarrier shippingPhoneNo",
    Env: "terminalType osType userAgent deviceTokenId clientIp cookieId storeTerminalId storeTerminalRequestTime",
    order.IndirectAcquirer: "referenceAcquirerId acquirerName acquirerAddress",
    PaymentNotification: "paymentResult* paymentRequestId* acquirerId paymentId pspId customerId walletBrandName paymentTime paymentAmount settlementAmount settlementQuote mppPaymentId customsDeclarationAmount",
    SettlementQuote: "quoteId quoteCurrencyPair quotePrice quoteStartTime quoteExpiryTime baseCurrency quoteUnit",
    InquiryRequest: "paymentRequestId paymentId",
    InquiryResponse: "result* paymentResult acquirerId pspId paymentRequestId paymentId paymentAmount paymentTime customerId walletBrandName settlementAmount settlementQuote customsDeclarationAmount mppPaymentId transactions",
    Transaction: "transactionResult transactionId transactionType transactionStatus transactionAmount transactionRequestId transactionTime",
    CancelRequest: "paymentRequestId paymentId",
    CancelResponse: "result* acquirerId pspId",
    RefundRequest: "paymentRequestId paymentId refundRequestId* refundAmount* refundReason",
    refund.RefundResponse: "result* acquirerId pspId refundId refundTime refundAmount settlementAmount settlementQuote",
}
PAY = """{"order":{"referenceOrderId":"A-1001","orderDescription":"2 tickets","orderAmount":{"currency":"JPY","value":"4200"},
 "merchant":{"referenceMerchantId":"M-77","merchantName":"Harbour Cinema","merchantMCC":"7832",
 "store":{"referenceStoreId":"S-1","storeName":"Harbour Cinema Box Office","storeMCC":"7832"}},
 "env":{"terminalType":"WEB","userAgent":"Mozilla/5.0","clientIp":"203.0.113.9"}},
 "paymentRequestId":"pay-01J9Z6","paymentAmount":{"currency":"JPY","value":"4200"},
 "paymentMethod":{"paymentMethodType":"CONNECT_WALLET"},
 "paymentFactor":{"isInStorePayment":"true","isCashierPayment":"true","inStorePaymentScenario":"OrderCode"},
 "paymentExpiryTime":"2026-11-23T12:02:30.000Z","paymentNotifyUrl":"https://shop.example/aplus/notify",
 "paymentRedirectUrl":"https://shop.example/aplus/return/pay-01J9Z6"}"""
ANSWER = """{"result":{"resultCode":"PAYMENT_IN_PROCESS","resultStatus":"U","resultMessage":"payment in process"},
 "acquirerId":"1021000000000000001","paymentId":"2026112319401080010018800000000001",
 "paymentAmount":{"currency":"JPY","value":"4200"},
 "orderCodeForm":{"paymentMethodType":"CONNECT_WALLET","expireTime":"2026-11-23T04:02:30-08:00",
 "codeDetails":[{"codeValue":"https://codes.example/281","displayType":"TEXT","codeValueType":"QRCODE"},
 {"codeValue":"https://codes.example/img?code=281&picSize=L","displayType":"BIGIMAGE"}]}}"""
NOTIFICATION = """{"paymentResult":{"resultCode":"SUCCESS","resultStatus":"S","resultMessage":"success"},"acquirerId":"1021000000000000001",
 "pspId":"1022000000000000002","paymentRequestId":"pay-01J9Z6","paymentId":"2026112319401080010018800000000001",
 "paymentTime":"2026-11-23T12:01:07+00:00","paymentAmount":{"value":"4200","currency":"JPY"},"customerId":"1235678",
 "walletBrandName":"SOMEWALLET","settlementAmount":{"value":"2790","currency":"USD"},
 "settlementQuote":{"quoteId":"0467933069","quoteCurrencyPair":"USD/JPY","quotePrice":"150.53","quoteStartTime":"2026-11-23T11:00:00Z","quoteExpiryTime":"2026-11-23T13:00:00Z"}}"""


def full_request():
    amount = Amount("USD", 4200)
    return PayRequest(
        order=Order(
            reference_order_id="A-1",
            order_description="2 tickets",
            order_amount=amount,
            env=Env(user_agent="Mozilla/5.0"),
        ),
        payment_request_id="pay-1",
        payment_amount=amount,
        payment_notify_url="https://shop.example/aplus/notify",
    )


@pytest.mark.parametrize("kind", FIELDS, ids=lambda kind: kind.__name__)
def test_every_field_has_its_documented_name_and_nothing_else_is_there(kind):
    expected = FIELDS[kind].split()
    assert [codec.key + "*" * codec.required for codec in kind.codecs] == expected


@pytest.mark.parametrize(
    ("kind", "text"),
    [(PayRequest, PAY), (PayResponse, ANSWER), (PaymentNotification, NOTIFICATION)],
)
def test_the_documented_messages_come_back_as_they_were(kind, text):
    message = kind.decode(text.encode(), strict=True)
    assert json.loads(message.encode()) == json.loads(text)
    assert message.extra == {}


def test_details_are_chosen_by_display_type_and_never_by_position():
    answer = PayResponse.decode(ANSWER.encode())
    details = answer.order_code_form.code_details
    for turned in (details, details[::-1]):
        form = evolve(answer.order_code_form, code_details=turned)
        assert form.value("TEXT") == "https://codes.example/281"
        assert form.value("SMALLIMAGE") is None


def test_scalars_are_sent_as_strings():
    assert pay.PaymentFactor().to_wire() == {
        "isInStorePayment": "true",
        "isCashierPayment": "true",
        "inStorePaymentScenario": "OrderCode",
    }
    assert Goods(goods_quantity=20).to_wire() == {"goodsQuantity": "20"}


@pytest.mark.parametrize("value", ["true", True])
def test_booleans_are_read_as_strings_and_as_json(value):
    assert pay.PaymentFactor.from_wire({"isInStorePayment": value}).is_in_store_payment is True


def test_numbers_are_read_with_their_own_digits():
    body = (
        NOTIFICATION.replace('"150.53"', "150.530")
        .replace('"4200"', "4200")
        .replace('"1235678"', "1235678")
    )
    message = PaymentNotification.decode(body.encode())
    assert message.settlement_quote.quote_price == Decimal("150.530")
    assert str(message.settlement_quote.quote_price) == "150.530"
    assert message.payment_amount == Amount("JPY", 4200)
    assert message.customer_id == "1235678"


def test_unknown_fields_survive_in_their_order_and_are_sent_again():
    fields = {**json.loads(NOTIFICATION), "zeta": {"b": "1", "a": ["x"]}, "alpha": "2"}
    message = PaymentNotification.decode(json.dumps(fields).encode())
    assert list(message.extra) == ["zeta", "alpha"]
    assert list(json.loads(message.encode())["zeta"]) == ["b", "a"]
    assert json.loads(message.encode()) == fields


@pytest.mark.parametrize(
    ("field", "value"),
    [("paymentTime", "2026-11-23 12:00"), ("settlementQuote", {"quotePrice": "1,5"}), ("settlementQuote", "x"),
     ("settlementAmount", {"currency": "USD", "value": "1.5"}), ("customerId", ""), ("walletBrandName", {"a": "b"}),
     ("customsDeclarationAmount", {"currency": [], "value": "5"}), ("pspId", None)],
)  # fmt: skip
def test_a_malformed_detail_does_not_cost_the_news_that_it_is_paid(field, value):
    fields = {**json.loads(NOTIFICATION), field: value}
    message = PaymentNotification.decode(json.dumps(fields).encode())
    assert message.payment_result.result_status == "S"
    assert message.payment_amount == Amount("JPY", 4200)
    if value is not None:
        assert json.loads(message.encode())[field] == value
        with pytest.raises(MessageError):
            PaymentNotification.decode(json.dumps(fields).encode(), strict=True)


@pytest.mark.parametrize("field", ["paymentResult", "paymentRequestId"])
@pytest.mark.parametrize("value", [None, "", 5.0, [], {}, True])
def test_a_required_field_that_cannot_be_read_is_an_error(field, value):
    fields = {**json.loads(NOTIFICATION), field: value}
    if (field, value) in (("paymentRequestId", True), ("paymentRequestId", 5.0)):
        return  # a boolean or number is as good as its text
    with pytest.raises(MessageError, match=field):
        PaymentNotification.decode(json.dumps(fields).encode())


REFUSED = {
    "an empty id": ({"payment_request_id": ""}, "found an empty string"),
    "a long id": ({"payment_request_id": "x" * 65}, "found 65 characters, expected at most 64"),
    "no id": ({"payment_request_id": None}, "it is required"),
    "a number": ({"payment_request_id": 5}, "found int"),
    "a long URL": ({"payment_notify_url": "https://x/" + "y" * 2039}, "found 2049 characters"),
    "no URL": ({"payment_notify_url": "shop.example"}, "absolute address"),
    "a long redirect": (
        {"payment_redirect_url": "https://x/" + "y" * 2039},
        "found 2049 characters",
    ),
    "a long split": ({"split_settlement_id": "x" * 17}, "expected at most 16"),
    "an empty split": ({"split_settlement_id": ""}, "the field left out (None)"),
    "no amount": ({"payment_amount": None}, "it is required"),
    "a float": ({"payment_amount": 42.0}, "found float, expected Amount"),
    "half a rupiah": ({"payment_amount": Amount("IDR", 1_500_050)}, "expected whole rupiah"),
    "zero": ({"payment_amount": Amount("USD", 0)}, "found 0"),
    "an unknown currency": ({"payment_amount": Amount("QQQ", 1)}, "QQQ"),
    "a datetime": ({"payment_expiry_time": NOON}, "found datetime, expected Timestamp"),
    "a dictionary": ({"settlement_strategy": {"settlementCurrency": "USD"}}, "found dict"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_illegal_request_cannot_be_made(name):
    changes, found = REFUSED[name]
    with pytest.raises(InvalidValue) as refused:
        evolve(full_request(), **changes)
    assert found in str(refused.value)


CHILDREN = {
    "a long order id": (
        lambda: evolve(full_request().order, reference_order_id="x" * 65),
        "at most 64",
    ),
    "a long description": (
        lambda: evolve(full_request().order, order_description="x" * 257),
        "at most 256",
    ),
    "goods in a list": (lambda: evolve(full_request().order, goods=[Goods()]), "a tuple of Goods"),
    "a region": (lambda: Address(region="GBR"), "at most 2"),
    "a first name": (lambda: UserName(first_name="x" * 33), "at most 32"),
    "a full name": (lambda: UserName(full_name="x" * 129), "at most 128"),
    "a terminal": (lambda: Env(terminal_type="web"), "one of APP, MINI_APP, WAP, WEB"),
    "a system": (lambda: Env(os_type="WINDOWS"), "one of ANDROID, IOS"),
    "a long currency": (lambda: SettlementStrategy(settlement_currency="EURO"), "found 'EURO'"),
    "no currency": (lambda: SettlementStrategy(settlement_currency="xy"), "such as USD"),
    "a number": (lambda: SettlementStrategy(settlement_currency=978), "found int"),
    "a merchant's category": (lambda: Merchant(merchant_mcc="78321"), "at most 4"),
    "a store's category": (lambda: Store(store_mcc="78321"), "at most 4"),
    "not in the store": (lambda: pay.PaymentFactor(is_in_store_payment=False), "expected True"),
    "not at the cashier": (lambda: pay.PaymentFactor(is_cashier_payment=False), "expected True"),
    "an order of half a rupiah": (
        lambda: evolve(
            full_request(), order=evolve(full_request().order, order_amount=Amount("IDR", 1))
        ),
        "order.orderAmount: found 0.01 IDR, expected whole rupiah",
    ),
    "a refund of half a rupiah": (
        lambda: RefundRequest(
            payment_id="P", refund_request_id="r", refund_amount=Amount("IDR", 150)
        ),
        "expected whole rupiah",
    ),
    "a method": (lambda: pay.PaymentMethod(payment_method_type="CARD"), "one of CONNECT_WALLET"),
    "a scenario": (
        lambda: pay.PaymentFactor(in_store_payment_scenario="Other"),
        "one of OrderCode",
    ),
    "a boolean as text": (
        lambda: pay.PaymentFactor(is_in_store_payment="true"),
        "found str, expected True",
    ),
    "a quantity": (lambda: Goods(goods_quantity=True), "found bool, expected int"),
    "an empty city": (lambda: Address(city=""), "found an empty string"),
    "an item of another kind": (
        lambda: evolve(full_request().order, goods=(Store(),)),
        "a tuple of Goods",
    ),
    "no user agent": (
        lambda: evolve(full_request(), order=evolve(full_request().order, env=Env())),
        "userAgent: missing",
    ),
    "a refund of nothing": (
        lambda: RefundRequest(
            payment_id="P", refund_request_id="r", refund_amount=Amount("USD", 0)
        ),
        "found 0",
    ),
    "no id to inquire": (InquiryRequest, "found neither paymentRequestId nor paymentId"),
    "no id to cancel": (CancelRequest, "found neither"),
    "no id to refund": (
        lambda: RefundRequest(refund_request_id="r", refund_amount=Amount("USD", 1)),
        "found neither",
    ),
}


@pytest.mark.parametrize("name", CHILDREN)
def test_an_illegal_part_cannot_be_made(name):
    make, found = CHILDREN[name]
    with pytest.raises(InvalidValue) as refused:
        make()
    assert found in str(refused.value)


def test_lengths_that_only_the_sister_api_has_are_not_enforced():
    Address(city="x" * 1000, address1="x" * 1000)
    Buyer(buyer_email="x" * 1000)
    Goods(goods_name="x" * 1000)


def test_nothing_of_a_buyer_is_shown():
    buyer = Buyer(buyer_name=UserName(full_name="Ada"), buyer_email="ada@example.org")
    shipping = Shipping(shipping_address=Address(city="Turin"), shipping_phone_no="+39")
    request = evolve(
        full_request(), order=evolve(full_request().order, buyer=buyer, shipping=shipping)
    )
    message = PaymentNotification.decode(NOTIFICATION.encode())
    answer = PayResponse.decode(ANSWER.encode())
    shown = repr(request) + repr(message) + repr(answer)
    for private in ("Ada", "ada@", "Turin", "+39", "Mozilla", "1235678", "codes.example"):
        assert private not in shown
    for wanted in ("pay-1", "Buyer(buyer_name, buyer_email)", "customer_id", "PAYMENT_IN_PROCESS"):
        assert wanted in shown


@pytest.mark.parametrize(
    ("seconds", "legal"),
    [(-1, False), (0, False), (1, True), (179, True), (180, False), (3600, False)],
)
def test_an_expiry_is_in_the_future_and_shorter_than_three_minutes(seconds, legal):
    expiry = Timestamp.of(NOON + timedelta(seconds=seconds))
    if legal:
        check_expiry(expiry, NOON)
    else:
        with pytest.raises(
            InvalidValue, match=r"paymentExpiryTime: found .*, expected .*leave it out"
        ):
            check_expiry(expiry, NOON)
    check_expiry(None, NOON)


@pytest.mark.parametrize(
    ("kind", "wire"),
    [
        (Order, {"goods": "x"}),
        (pay.PaymentFactor, {"isCashierPayment": "yes"}),
        (Goods, {"goodsQuantity": "1.5"}),
    ],
)
def test_a_part_that_cannot_be_read_is_refused_where_it_must_be_right(kind, wire):
    with pytest.raises(MessageError):
        kind.from_wire({**json.loads(PAY)["order"], **wire}, strict=True)


def test_a_result_is_shown_by_status_and_code():
    assert str(Result(result_code="SUCCESS", result_status="S")) == "S SUCCESS"


def test_a_message_that_is_no_object_is_refused():
    with pytest.raises(MessageError, match="expected a JSON object"):
        PaymentNotification.from_wire([])


def test_a_rule_that_spans_fields_is_our_error_when_it_arrives_broken():
    with pytest.raises(MessageError, match="userAgent"):
        PayRequest.decode(PAY.replace('"userAgent":"Mozilla/5.0",', "").encode(), strict=True)
    with pytest.raises(MessageError, match="neither"):
        InquiryRequest.decode(b"{}")


def test_messages_are_values():
    assert full_request() == full_request()
    assert hash(full_request()) == hash(full_request())
    assert evolve(full_request(), payment_request_id="pay-2") != full_request()
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        full_request().payment_request_id = "x"


def test_extra_cannot_say_a_known_field_again():
    message = Goods(goods_name="Ticket", extra={"goodsName": "Fake", "colour": "red"})
    with pytest.raises(InvalidValue, match="goodsName again"):
        message.encode()
    assert Goods(goods_name="Ticket", extra={"colour": "red"}).to_wire() == {
        "goodsName": "Ticket", "colour": "red",
    }  # fmt: skip


def test_an_unreadable_value_beside_a_default_is_an_error_for_the_lenient_reader_too():
    with pytest.raises(MessageError, match="isInStorePayment"):
        pay.PaymentFactor.from_wire({"isInStorePayment": "false"})
    with pytest.raises(MessageError, match="paymentMethodType"):
        pay.PaymentMethod.from_wire({"paymentMethodType": "CARD"})


def test_whole_rupiah_can_be_paid_and_are_read_whatever_they_are():
    Amount("IDR", 1_500_000).check_payable("x")
    assert Amount.from_wire({"currency": "IDR", "value": "150"}).value == 150


@pytest.mark.parametrize("count", ["ten", "1.5", "-1", ""])
def test_a_count_is_a_whole_number_or_refused(count):
    assert Goods.from_wire({"goodsQuantity": "12"}, strict=True).goods_quantity == 12
    with pytest.raises(MessageError, match="expected a whole number"):
        Goods.from_wire({"goodsQuantity": count}, strict=True)
