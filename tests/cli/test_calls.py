"""Calls, signatures and notifications by hand."""

import json
import re
from datetime import UTC, datetime

import pytest

from aplus_adapters import Account
from aplus_adapters.cli.notify_post import judge
from aplus_adapters.protocol import signing
from aplus_adapters.protocol.keys import KeyRing
from aplus_adapters.protocol.messages.notification import ACKNOWLEDGED
from aplus_adapters.protocol.signed_messages import Answer, acknowledge
from support.in_place import serving

pytestmark = pytest.mark.process  # of the simulator


@pytest.fixture
def at_simulator(simulator, monkeypatch):
    for name, value in simulator.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("APLUS_NOTIFY_URL", "http://127.0.0.1:9/aplus/notify")
    return simulator


def test_a_payment_is_made_asked_about_and_cancelled_by_hand(at_simulator, aplus):
    paid = aplus("pay", "42.00", "USD", "--order", "A-1")
    assert paid.exit_code == 0, paid.output
    assert "U PAYMENT_IN_PROCESS" in paid.output
    assert re.search(r"code: http://127.0.0.1:\d+/codes/\d+", paid.output)
    request_id = re.search(r"aplus cancel (\w+)", paid.output)[1]
    asked = aplus("inquire", request_id)
    assert asked.exit_code == 0
    assert f"payment {request_id}: U PAYMENT_IN_PROCESS" in asked.output
    told = json.loads(aplus("inquire", request_id, "--json").stdout)
    assert told["paymentResult"]["resultCode"] == "PAYMENT_IN_PROCESS"
    left = aplus("cancel", request_id, input="n\n")
    assert left.exit_code == 2
    assert "found no terminal to ask at, expected --yes" in left.output
    assert json.loads(aplus("inquire", request_id, "--json").stdout) == told
    cancelled = aplus("cancel", request_id, "--yes")
    assert cancelled.exit_code == 0
    assert "it is closed for good" in cancelled.output
    gone = json.loads(aplus("inquire", request_id, "--json").stdout)
    assert gone["paymentResult"]["resultStatus"] == "F"


def test_a_refusal_exits_with_1_and_says_what_to_do(at_simulator, aplus):
    refused = aplus("inquire", "nothing")
    assert refused.exit_code == 1
    assert "Rejected: /aps/api/v1/payments/inquiryPayment: F ORDER_NOT_EXIST" in refused.output
    as_json = json.loads(aplus("inquire", "nothing", "--json").stdout)
    assert (as_json["error"], as_json["result"]["resultCode"]) == ("Rejected", "ORDER_NOT_EXIST")


def test_a_whole_request_from_a_file_is_paid(at_simulator, aplus, tmp_path):
    file = tmp_path / "pay.json"
    amount = {"currency": "JPY", "value": "4200"}
    content = {
        "order": {
            "referenceOrderId": "A-7",
            "orderDescription": "2 tickets",
            "orderAmount": amount,
            "env": {"userAgent": "x"},
        },
        "paymentRequestId": "payfromfile1",
        "paymentAmount": amount,
        "paymentMethod": {"paymentMethodType": "CONNECT_WALLET"},
        "paymentFactor": {
            "isInStorePayment": "true",
            "isCashierPayment": "true",
            "inStorePaymentScenario": "OrderCode",
        },
        "paymentNotifyUrl": "https://shop.example/aplus/notify",
    }
    file.write_text(json.dumps(content))
    done = aplus("pay", "--request", file, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["paymentRequestId"] == "payfromfile1"
    del content["order"]
    file.write_text(json.dumps(content))
    broken = aplus("pay", "--request", file)
    assert broken.exit_code == 2
    assert "order is missing" in broken.output


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["pay"], "expected VALUE and CURRENCY"),
        (["pay", "42.001", "USD"], "at most 2 decimals for USD"),
        (["pay", "42", "usd"], "expected an active ISO 4217 code"),
        (["inquire", "x" * 65], "64"),
        (["sign", "/no/file", "--path", "/x"], "does not exist"),
        (["notify", "send", "--url", "nonsense"], "expected an address such as"),
        (["notify", "send", "--url", "http://127.0.0.1:99999/x"], "expected an address such as"),
        (["notify", "send", "--amount", "1.234", "USD"], "at most 2 decimals"),
    ],
)
def test_wrong_use_exits_with_2_before_anything_is_sent(settings, aplus, words, found):
    done = aplus(*words)
    assert done.exit_code == 2, done.output
    assert found in " ".join(done.output.split())


def test_a_signed_body_verifies_and_its_curl_command_too(settings, aplus, tmp_path, our_key):
    (tmp_path / "b.json").write_bytes(b'{"paymentRequestId":\n"x"}\n')
    path = "/aps/api/v1/payments/inquiryPayment"
    signed = aplus("sign", "b.json", "--path", path)
    assert signed.exit_code == 0, signed.output
    (tmp_path / "command.sh").write_text(signed.output.partition("\n\n")[2])
    verified = aplus("verify", "command.sh")
    assert verified.exit_code == 0, verified.output
    answer = json.loads(aplus("sign", "b.json", "--acknowledgement", "--json").output)
    assert answer["path"] == "/aplus/notify"
    content = signing.signed_content(
        "/aplus/notify",
        "CLIENT-1",
        answer["headers"]["Response-Time"],
        (tmp_path / "b.json").read_bytes(),
    )
    ours = KeyRing.of({"1": our_key.public_key})
    signing.verify(ours, answer["headers"]["Signature"], content)
    for words in ([], ["--path", "/x", "--acknowledgement"], ["--path", "x"], ["--path", "/x?a"]):
        assert aplus("sign", "b.json", *words).exit_code == 2


def test_a_notification_about_an_unknown_payment_is_not_acknowledged(shop, aplus):
    done = aplus("notify", "send")
    assert done.exit_code == 1
    assert "HTTP 404, result U UNKNOWN_EXCEPTION, signed with our key" in done.output
    assert "it does not know this payment" in done.output


def test_an_answer_that_is_not_signed_by_the_shop_or_late_is_no_acknowledgement(
    settings, aplus, monkeypatch
):
    def unsigned(environ, start_response):
        environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        start_response("200 OK", [("Content-Type", "application/json")])
        return [ACKNOWLEDGED]

    with serving(unsigned) as address:
        done = aplus("notify", "send", "--url", f"{address}/aplus/notify")
    assert done.exit_code == 1
    assert "HTTP 200, result S SUCCESS, not signed" in done.output
    account = Account.from_env()
    headers = acknowledge(account, ACKNOWLEDGED, datetime.now(UTC))
    answer = Answer(status=200, headers=headers, body=ACKNOWLEDGED)
    assert judge(account, answer, 4.9, "/aplus/notify").accepted
    late = judge(account, answer, 5.1, "/aplus/notify")
    assert not late.accepted
    assert "after 5.1 s where Alipay+ waits 5 s" in late.text


@pytest.fixture
def started(shop):
    """Store a payment that Alipay+ has a code for, without calling it."""
    from aplus_adapters.testing.store_contract import an_attempt

    attempt = an_attempt(1, "A-1", client_id="CLIENT-1")
    shop.store.add(attempt)
    return attempt


def test_a_notification_about_the_shops_payment_is_acknowledged(started, shop, aplus):
    value, currency = started.amount.format(), started.amount.currency
    words = ("notify", "send", started.payment_request_id, "--amount", value, currency, "--json")
    done = aplus(*words)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["acknowledged"], found["status"], found["signed"]) == (True, 200, True)
    assert shop.store.get(started.payment_request_id).state.value == "succeeded"


def test_a_captured_notification_is_replayed_unchanged(started, shop, aplus, alipayplus, tmp_path):
    body = alipayplus.notification(started)
    headers = alipayplus.sign(body)
    lines = [f"{name}: {value}" for name, value in headers.items()]
    file = tmp_path / "message.http"
    raw = "\r\n".join(["POST /aplus/notify HTTP/1.1", "Host: other.example", *lines, "", ""])
    file.write_bytes(raw.encode() + body)
    done = aplus("notify", "replay", file)
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1].startswith("acknowledged in 0.")
    file.write_bytes(raw.encode() + body.replace(b'"S"', b'"F"'))
    done = aplus("notify", "replay", file, "--json")
    assert done.exit_code == 1
    assert not json.loads(done.stdout)["acknowledged"]


def test_a_key_that_is_not_alipayplus_is_not_taken_from_the_folder(shop, aplus, tmp_path):
    (tmp_path / "alipayplus_private.pem").unlink()
    done = aplus("notify", "send")
    assert done.exit_code == 2
    assert "found none that fits the account's public key" in " ".join(done.output.split())


def test_a_dead_shop_is_one_line_and_exit_code_1(settings, aplus):
    done = aplus("notify", "send")
    assert done.exit_code == 1
    assert "could not connect to http://127.0.0.1:9" in done.output
    assert not json.loads(aplus("notify", "send", "--json").stdout)["acknowledged"]


def test_every_command_has_an_example_and_its_exit_codes_in_its_help(aplus):
    for words in (
        ["verify"],
        ["sign"],
        ["notify", "send"],
        ["notify", "replay"],
        ["pay"],
        ["inquire"],
        ["cancel"],
        ["doctor"],
    ):
        printed = aplus(*words, "--help").output
        assert f"  aplus {' '.join(words)}" in printed.partition("Examples:")[2]
        assert "2 the command was used wrongly" in " ".join(printed.split())
    assert aplus("--version").output.startswith("aplus, version ")
