"""What nobody decides by costs nothing; what decides is insisted on."""

import json
import logging
from datetime import timedelta
from typing import Annotated

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from aplus_adapters import Amount, Attempt, NotificationError, OutcomeUnknown, SignatureError
from aplus_adapters.errors import MessageError
from aplus_adapters.messages import PaymentNotification
from aplus_adapters.payments.effects import Send
from aplus_adapters.payments.flows.gateway_call import Answered, exchange
from aplus_adapters.payments.model import Outcome
from aplus_adapters.payments.observations import observe_pay
from aplus_adapters.payments.policy import Retry
from aplus_adapters.protocol import wire
from aplus_adapters.protocol.messages.base import Decides, Message, message
from aplus_adapters.protocol.messages.cancel import CancelResponse
from aplus_adapters.protocol.messages.inquiry import InquiryResponse, UnreadTransaction
from aplus_adapters.protocol.messages.pay import DEFAULT_EXPIRY, PayResponse
from aplus_adapters.protocol.messages.refund import RefundResponse
from aplus_adapters.protocol.signed_messages import (
    Answer,
    sign_request,
    verify_answer,
    verify_notification,
)
from aplus_adapters.runtime.drivers import run
from support.shop import NOON

RESULT = b'{"resultCode":"SUCCESS","resultStatus":"S"%s}'
AMOUNT = b'{"currency":"JPY","value":"4200"%s}'
ODD = {
    "half an emoji": b'"walletBrandName":"x\\ud83c"',
    "a NUL": b'"walletBrandName":"x\\u0000"',
    "a raw NUL": b'"walletBrandName":"x\0"',
    "no UTF-8": b'"walletBrandName":"x\xff"',
    "an encoded surrogate": b'"walletBrandName":"x\xed\xa0\xbc"',
    "a key twice": b'"walletBrandName":"x","walletBrandName":"y"',
    "an unknown key twice": b'"note":"x","note":"y"',
    "a key twice in a detail": b'"settlementQuote":{"quoteId":"1","quoteId":"2"}',
    "a key twice in a detail with escapes": b'"zeta":{"a":"\\ud83c","a":"y"}',
    "keys that only differ in what is replaced": b'"zeta":{"\\ud83c":"1","\\ud83d":["2"]}',
    "NaN": b'"zeta":NaN',
    "a year 9999": b'"paymentTime":"9999-12-31T23:59:59-08:00"',
}


def body(name=b"", *, result=b"", amount=b"", more=b""):
    return (
        b'{"paymentResult":' + RESULT % result + b',"paymentRequestId":"pay1","paymentAmount":'
        + AMOUNT % amount + (b"," + name if name else b"") + more + b"}"
    )  # fmt: skip


def take(account, alipayplus, signed, extra=()):
    headers = [*alipayplus.sign(signed, at=NOON).items(), *extra]
    return verify_notification(account, headers, signed, now=NOON)


def storable(value):
    text = json.dumps(value, ensure_ascii=False)
    return "\\u0000" not in text and text.encode().decode() == text


@pytest.mark.parametrize("odd", ODD)
def test_an_oddity_that_nobody_reads_does_not_cost_the_news_and_is_storable(
    account, alipayplus, odd
):
    told = take(account, alipayplus, body(ODD[odd]))
    assert told.payment_result.result_status == "S"
    assert told.payment_amount.value == 4200
    assert storable(json.loads(told.encode()))


@pytest.mark.parametrize(
    "signed",
    [
        body(result=b',"resultStatus":"F"'),
        body(result=b',"resultMessage":"a","resultMessage":"b"'),
        body(amount=b',"value":"1"'),
        body(amount=b',"currency":"USD"'),
        body(more=b',"paymentRequestId":"pay2"'),
        body(more=b',"paymentAmount":{"currency":"JPY","value":"1"}'),
        body(more=b',"paymentAmount":null'),
        body(more=b',"paymentResult":null'),
        body(more=b',"paymentResult":{"resultCode":"A","resultStatus":"F"}'),
        body().replace(b'"4200"', b'"42.00"'),
    ],
)
def test_what_decides_is_refused_when_it_is_ambiguous_or_illegal(account, alipayplus, signed):
    with pytest.raises(NotificationError) as refused:
        take(account, alipayplus, signed)
    assert refused.value.status == 400


@pytest.mark.parametrize("kind", [PayResponse, InquiryResponse, CancelResponse, RefundResponse])
@pytest.mark.parametrize("odd", ODD)
def test_answers_are_read_as_kindly_as_notifications(kind, odd):
    answer = kind.decode(b'{"result":' + RESULT % b"" + b"," + ODD[odd] + b"}")
    assert answer.result.result_status == "S"
    assert storable(json.loads(answer.encode()))
    assert kind.decode(answer.encode()) == answer
    with pytest.raises(MessageError):
        kind.decode(b'{"result":' + RESULT % b',"resultStatus":"F"' + b"}")


@pytest.mark.parametrize("name", ["paymentAmount", "paymentResult"])
def test_what_decides_is_refused_if_the_second_is_a_null(name):
    legal = {
        "paymentAmount": b'{"currency":"JPY","value":"1"}',
        "paymentResult": RESULT % b"",
    }[name]
    answer = b'{"result":' + RESULT % b"" + b',"%s":%s' % (name.encode(), legal)
    assert InquiryResponse.decode(answer + b"}")
    doubled = answer + b',"%s":null}' % name.encode()
    if name == "paymentAmount":  # absent, which makes a success doubtful
        assert InquiryResponse.decode(doubled).payment_amount is None
        return
    with pytest.raises(MessageError, match="twice"):
        InquiryResponse.decode(doubled)


def test_of_a_detail_that_is_there_twice_none_is_believed_later():
    code = b'{"codeDetails":[{"codeValue":"%s","displayType":"TEXT"}]}'
    pair = b',"orderCodeForm":' + code % b"1" + b',"orderCodeForm":' + code % b"2"
    answer = PayResponse.decode(b'{"result":' + RESULT % b"" + pair + b"}")
    assert answer.order_code_form is None
    assert PayResponse.decode(answer.encode()) == answer


def test_no_amount_with_two_values_is_believed_at_once_or_later():
    amount = b',"settlementAmount":{"currency":"JPY","value":"1","value":"2"}'
    answer = RefundResponse.decode(b'{"result":' + RESULT % b"" + amount + b"}")
    assert answer.settlement_amount is None
    assert RefundResponse.decode(answer.encode()) == answer


JPY = b'{"currency":"JPY","value":"1"}'
TWO = b'{"currency":"JPY","value":"1","value":"2"}'
# What is compared with our own: read as absent, it would be compared with nothing.
COMPARED = {
    "refundAmount": (RefundResponse, b"%s", TWO),
    "paymentAmount": (PayResponse, b"%s", TWO),
    "paymentRequestId": (InquiryResponse, b'"%s"', b"{}"),
    "transactionAmount": (InquiryResponse, b"%s", TWO),
    "transactionType": (InquiryResponse, b'"%s"', b"{}"),
    "transactionStatus": (InquiryResponse, b'"%s"', b"{}"),
    "transactionRequestId": (InquiryResponse, b'"%s"', b"{}"),
    "transactionResult": (InquiryResponse, b"%s", b'{"resultStatus":"S","resultStatus":"F"}'),
    "transactions": (InquiryResponse, b"%s", b"{}"),
}


@pytest.mark.parametrize("name", COMPARED)
def test_an_answer_whose_compared_details_are_unclear_is_not_believed(name):
    kind, form, unclear = COMPARED[name]
    legal = JPY if name.endswith("Amount") else form % b"x"
    legal = {"transactions": b"[]", "transactionResult": RESULT % b""}.get(name, legal)
    for detail in (
        b'"%s":%s' % (name.encode(), unclear),
        b'"%s":%s,"%s":%s' % (name.encode(), legal, name.encode(), legal),
        b'"%s":%s,"%s":null' % (name.encode(), legal, name.encode()),
    ):
        is_inside = name.startswith("transaction") and name != "transactions"
        more = b'"transactions":[{%s}]' % detail if is_inside else detail
        answer = b'{"result":' + RESULT % b"" + b"," + more + b"}"
        if name.startswith("transaction"):
            assert kind.decode(answer).transactions == (UnreadTransaction(),)
            with pytest.raises(MessageError):
                kind.decode(answer, strict=True)
        else:
            with pytest.raises(MessageError, match=name):
                kind.decode(answer)


def test_what_was_odd_is_logged(caplog):
    PaymentNotification.decode(body(ODD["half an emoji"] + b"," + ODD["a key twice in a detail"]))
    lines = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert any("cannot be stored" in line for line in lines)
    assert any("quoteId" in line and "twice" in line for line in lines)


ATTEMPT = Attempt(
    payment_request_id="pay1", order_ref="A", client_id="C", amount=Amount("JPY", 4200), request_body=b"{}",
    created_at=NOON, expires_at=NOON, next_call_at=NOON, changed_at=NOON,
)  # fmt: skip


def observed(*details, expires="2026-11-23T12:02:00Z"):
    form = {"expireTime": expires, "codeDetails": list(details)}
    result = {"resultCode": "PAYMENT_IN_PROCESS", "resultStatus": "U"}
    answer = PayResponse.decode(json.dumps({"result": result, "orderCodeForm": form}).encode())
    return observe_pay(Answered(answer, NOON, 1), ATTEMPT, NOON)


GOOD = {"codeValue": "https://codes.example/1", "displayType": "TEXT"}


@pytest.mark.parametrize("bad", [None, "x", {}, {"codeValue": "", "displayType": "TEXT"}, []])
def test_one_odd_code_detail_does_not_cost_the_code(bad):
    told = observed(bad, GOOD)
    assert told.outcome is Outcome.CODE_ISSUED
    assert told.order_code.text == GOOD["codeValue"]
    assert told.expires_at == NOON + timedelta(minutes=2)


def test_without_any_readable_detail_there_is_no_code_yet():
    told = observed({})
    assert (told.outcome, told.order_code) == (Outcome.IN_PROCESS, None)


@pytest.mark.parametrize(
    "time", ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59-08:00", "9000-01-01T00:00:00Z", "2000-01-01T00:00:00Z", "0001-01-01T00:00:00+08:00"]
)  # fmt: skip
def test_an_expiry_with_which_nobody_can_reckon_is_as_good_as_none(time, caplog):
    told = observed(GOOD, expires=time)
    assert (told.outcome, told.expires_at) == (Outcome.CODE_ISSUED, NOON + DEFAULT_EXPIRY)
    assert told.order_code.expires_at == NOON + DEFAULT_EXPIRY
    assert "expireTime" in caplog.text


def test_a_doubled_tracerid_costs_nothing(account, alipayplus):
    twins = [("tracerid", "1"), ("TracerId", "2"), ("tracerid", "3")]
    assert take(account, alipayplus, body(), twins).payment_request_id == "pay1"


def test_an_unsigned_answer_is_named_as_that_and_what_to_mend_is_said(account):
    request = sign_request(account, "/p", b"{}", NOON)
    with pytest.raises(SignatureError, match=r"found no signature.*APLUS_KEY_VERSION"):
        verify_answer(account, request, Answer(status=200, headers=(), body=b"{}"), now=NOON)


def test_a_key_version_that_names_no_key_costs_no_notification(account, alipayplus, their_key):
    from aplus_adapters.testing.signer import AlipayPlus

    other = AlipayPlus(account, their_key, "0")
    assert take(account, other, body()).payment_request_id == "pay1"
    with pytest.raises(NotificationError, match="does not verify"):
        take(evolve(account, alipayplus_keys=_stranger()), other, body())


def _stranger():
    from aplus_adapters import PrivateKey

    return PrivateKey.generate().public_key


@given(st.binary() | st.text(alphabet='[]{}",:\\u0d81ea \n').map(str.encode))
def test_what_is_read_from_any_bytes_is_storable_or_our_error(data):
    try:
        assert storable(wire.read(data))
    except MessageError:
        pass


@given(st.text(st.characters(), max_size=20))
def test_any_wallet_name_leaves_a_paid_notification_paid(name):
    fields = {"paymentResult": {"resultCode": "SUCCESS", "resultStatus": "S"},
              "paymentRequestId": "pay1", "walletBrandName": name}  # fmt: skip
    told = PaymentNotification.decode(json.dumps(fields).encode())
    assert told.payment_result.result_status == "S"
    assert PaymentNotification.decode(told.encode()) == told


def test_booleans_and_nulls_beside_what_is_repaired_stay_what_they_are():
    assert wire.read(b'{"a":"\\ud83c","b":true,"c":null}') == {
        "a": "\ufffd" * 3,
        "b": True,
        "c": None,
    }


def test_the_strict_reader_leaves_no_entry_out():
    fields = {
        "result": {"resultCode": "PAYMENT_IN_PROCESS", "resultStatus": "U"},
        "orderCodeForm": {"codeDetails": [{}, GOOD]},
    }
    with pytest.raises(MessageError, match="codeValue is missing"):
        PayResponse.decode(json.dumps(fields).encode(), strict=True)


def test_what_an_unsigned_refusal_claims_is_shown_as_not_verified_in_one_line(account, caplog):
    claimed = {"resultCode": "INVALID_SIGNATURE\nforged line", "resultStatus": "F"}

    def perform(effect):
        if isinstance(effect, Send):
            return Answer(status=200, headers=(), body=json.dumps({"result": claimed}).encode())
        return NOON

    flow = exchange(account, "/p", b"{}", PayResponse, retry=Retry(pauses=()), timeout=1.0)
    with pytest.raises(OutcomeUnknown, match="found no signature"):
        run(flow, perform)
    (line,) = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert "it claims F INVALID_SIGNATURE\\nforged line (not verified)" in line
    assert "\n" not in line


@message
class Part(Message):
    amount: Annotated[Amount, Decides()] | None = None


@message
class Whole(Message):
    parts: tuple[Part, ...] | None = None


def test_a_list_leaves_out_no_entry_that_decides():
    with pytest.raises(MessageError, match=r"Whole\.parts: Part\.amount"):
        Whole.decode(b'{"parts":[{"amount":%s}]}' % TWO)
    assert Whole.decode(b'{"parts":[5,{"amount":%s}]}' % JPY).parts == (
        Part(amount=Amount("JPY", 1)),
    )
