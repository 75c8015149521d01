"""A single call to Alipay+, as `Client` makes it: its answer, or an error that says what to do."""

from datetime import timedelta

import pytest
from attrs import evolve

from aplus_adapters import InvalidValue, OutcomeUnknown, Rejected
from aplus_adapters.messages import InquiryRequest, InquiryResponse, PayResponse
from aplus_adapters.payments.flows.gateway_call import call
from aplus_adapters.payments.policy import Retry
from aplus_adapters.protocol.timestamps import Timestamp
from support.gateway import PAID, inquired

pytestmark = pytest.mark.parametrize("store", ["memory"], indirect=True)


@pytest.fixture
def request_(pay, gateway, start):
    request = start().request
    gateway.sent.clear()
    return request


def send(pay, account, request, response=PayResponse):
    retry = Retry(pauses=())
    return pay.run(call(account, request, response, retry=retry, timeout=5.0))


def test_a_call_returns_the_verified_answer(pay, account, request_):
    assert send(pay, account, request_).order_code_form is not None


def test_an_inquiry_is_a_call_as_well(pay, account, gateway, start):
    attempt = start()
    gateway.script["inquiryPayment"] = [inquired(attempt, PAID)]
    request = InquiryRequest(payment_request_id=attempt.payment_request_id)
    answer = send(pay, account, request, InquiryResponse)
    assert answer.payment_amount == attempt.amount


def test_a_refusal_says_what_it_means_and_what_to_do(pay, account, request_, gateway):
    refusal = {"resultCode": "INVALID_CONTRACT", "resultStatus": "F", "resultMessage": "no"}
    gateway.script["pay"] = [{"result": refusal}]
    with pytest.raises(Rejected, match=r"INVALID_CONTRACT.* To do: ") as refused:
        send(pay, account, request_)
    assert refused.value.result.result_code == "INVALID_CONTRACT"


def test_an_expiry_that_alipayplus_would_ignore_is_refused_before_it_is_sent(
    pay, account, request_, gateway, clock
):
    late = Timestamp.of(clock.now().replace(microsecond=0) + timedelta(minutes=4))
    with pytest.raises(InvalidValue, match="paymentExpiryTime"):
        send(pay, account, evolve(request_, payment_expiry_time=late))
    assert gateway.sent == []


def test_a_settlement_in_another_currency_needs_its_strategy(pay, account, request_, gateway):
    assert request_.payment_amount.currency == "USD"
    in_yen, in_dollars = (evolve(account, settlement_currency=name) for name in ("JPY", "USD"))
    with pytest.raises(InvalidValue, match=r"SettlementStrategy\(settlement_currency='JPY'\)"):
        send(pay, in_yen, request_)
    assert gateway.sent == []
    assert send(pay, in_dollars, request_).order_code_form is not None


def test_an_answer_that_is_neither_signed_nor_a_message_is_no_answer(
    pay, account, request_, gateway
):
    answered = gateway.answer

    def junk(request, content, **options):
        return evolve(answered(request, {"result": PAID}, forged=True), body=b"<html>busy</html>")

    gateway.answer = junk
    with pytest.raises(OutcomeUnknown):
        send(pay, account, request_)
