"""The simulator is exactly as strict as the seed page, and says which rule was broken."""

import json
import shlex
from datetime import UTC, datetime, timedelta

import pytest

from aplus_adapters import Account, Amount
from aplus_adapters.messages import Env, Order, PayRequest
from aplus_adapters.protocol import signing
from aplus_adapters.protocol.timestamps import Timestamp
from aplus_adapters.simulator.gateway import Call, Gateway
from aplus_adapters.simulator.identity import CLIENT_ID, Identity
from aplus_adapters.simulator.ledger import Books

PATH = "/aps/api/v1/payments/pay"
AMOUNT = Amount("USD", 4200)


def legal():
    request = PayRequest(
        order=Order(
            reference_order_id="A-1",
            order_description="x",
            order_amount=AMOUNT,
            env=Env(user_agent="Mozilla/5.0"),
        ),
        payment_request_id="pay-1",
        payment_amount=AMOUNT,
        payment_notify_url="https://shop.example/aplus/notify",
    )
    return request.to_wire()


@pytest.fixture
def ask(tmp_path):
    books = Books(tmp_path / "books.sqlite")
    identity = Identity.open(tmp_path, "http://127.0.0.1:1", "http://127.0.0.1:2/notify")
    lines = shlex.split((tmp_path / "shop.env").read_text())
    account = Account.from_env(dict(line.split("=", 1) for line in lines))

    def ask(content, *, lenient=False):
        now = datetime.now(UTC)
        body = json.dumps(content).encode()
        time = Timestamp.of(now).text
        signed = signing.signed_content(PATH, CLIENT_ID, time, body)
        headers = {
            "client-id": CLIENT_ID,
            "request-time": time,
            "content-type": "application/json",
            "signature": signing.sign(account.private_key, "1", signed),
        }
        gateway = Gateway(books, identity, "http://127.0.0.1:1", lenient=lenient)
        call = Call(name="pay", path=PATH, headers=headers, body=body)
        return gateway.answer(call, now).content["result"]

    yield ask
    books.close()


def changed(path, value):
    content = legal()
    *parents, last = path.split(".")
    place = content
    for key in parents:
        place = place.setdefault(key, {})
    place.pop(last, None)
    if value is not ...:
        place[last] = value
    return content


MISSING = [
    "order", "paymentRequestId", "paymentAmount", "paymentMethod", "paymentFactor", "paymentNotifyUrl",
    "order.env", "order.env.userAgent", "order.referenceOrderId", "order.orderDescription", "order.orderAmount",
    "paymentMethod.paymentMethodType", "paymentFactor.isInStorePayment", "paymentFactor.isCashierPayment",
    "paymentFactor.inStorePaymentScenario",
]  # fmt: skip


@pytest.mark.parametrize("path", MISSING)
@pytest.mark.parametrize("absent", [..., None])
def test_a_required_field_that_is_missing_is_named(ask, path, absent):
    result = ask(changed(path, absent))
    assert result["resultCode"] == "PARAM_ILLEGAL"
    assert path in result["resultMessage"]


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        ("paymentFactor.isInStorePayment", "false", "PARAM_ILLEGAL"),
        ("paymentFactor.isCashierPayment", "false", "PARAM_ILLEGAL"),
        ("paymentFactor.isCashierPayment", True, "PARAM_ILLEGAL"),
        ("paymentFactor.inStorePaymentScenario", "PaymentCode", "PARAM_ILLEGAL"),
        ("paymentMethod.paymentMethodType", "CARD", "PARAM_ILLEGAL"),
        ("paymentAmount.value", 4200, "PARAM_ILLEGAL"),
        ("paymentAmount.value", "42.00", "PARAM_ILLEGAL"),
        ("paymentAmount.currency", "QQQ", "CURRENCY_NOT_SUPPORT"),
        ("paymentAmount.currency", ["USD"], "CURRENCY_NOT_SUPPORT"),
        ("paymentAmount", "5", "CURRENCY_NOT_SUPPORT"),
        ("order", "x", "PARAM_ILLEGAL"),
        ("settlementStrategy.settlementCurrency", "xy", "CURRENCY_NOT_SUPPORT"),
        ("splitSettlementId", "x" * 17, "PARAM_ILLEGAL"),
        ("paymentRequestId", "x" * 65, "PARAM_ILLEGAL"),
        ("paymentRedirectUrl", "", "PARAM_ILLEGAL"),
        ("paymentNotifyUrl", "https://x/" + "y" * 2048, "PARAM_ILLEGAL"),
        ("paymentExpiryTime", "1795600000000", "PARAM_ILLEGAL"),
    ],
)
def test_what_the_page_forbids_is_refused_by_name(ask, path, value, code):
    result = ask(changed(path, value))
    assert result["resultCode"] == code
    if code == "PARAM_ILLEGAL":
        assert path.rpartition(".")[2] in result["resultMessage"]


def test_a_settlement_below_the_smallest_unit_is_refused(ask):
    content = changed("settlementStrategy.settlementCurrency", "JPY")
    content["paymentAmount"]["value"] = "79"  # 0.79 USD are 0.98 JPY at 1.25
    assert ask(content)["resultCode"] == "PAYMENT_AMOUNT_INVALID"
    content["paymentAmount"]["value"] = "80"
    assert ask(content)["resultCode"] == "PAYMENT_IN_PROCESS"


@pytest.mark.parametrize(
    "path", ["paymentExpiryTime", "paymentRedirectUrl", "settlementStrategy", "order.merchant"]
)
def test_a_null_is_an_absent_optional_field(ask, path):
    assert ask(changed(path, None))["resultCode"] == "PAYMENT_IN_PROCESS"


def test_the_lenient_simulator_takes_what_other_sdks_send_and_the_strict_one_does_not(ask):
    content = changed("paymentFactor.isInStorePayment", value=True)
    content["paymentAmount"]["value"] = 4200
    soon = datetime.now(UTC) + timedelta(minutes=2)
    content["paymentExpiryTime"] = int(soon.timestamp() * 1000)
    assert ask(content)["resultCode"] == "PARAM_ILLEGAL"
    assert ask(content, lenient=True)["resultCode"] == "PAYMENT_IN_PROCESS"
    content["paymentFactor"]["isInStorePayment"] = False
    assert ask(content, lenient=True)["resultCode"] == "PARAM_ILLEGAL"
