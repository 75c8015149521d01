"""What both clients are told reaches the exchange: the seconds, the deadline and the policy."""

import asyncio
from datetime import UTC, datetime

import pytest
from attrs import evolve

from aplus_adapters import Amount, AsyncClient, Client, InconsistentRetry, NotSent
from aplus_adapters.messages import (
    CancelRequest,
    Env,
    InquiryRequest,
    Order,
    PayRequest,
    RefundRequest,
)
from aplus_adapters.payments import policy
from support.shop import Clock

AMOUNT = Amount("USD", 1)
CALLS = {
    "pay": PayRequest(
        order=Order(
            reference_order_id="A-1",
            order_description="2 tickets",
            order_amount=AMOUNT,
            env=Env(terminal_type="WEB", user_agent="Mozilla/5.0"),
        ),
        payment_request_id="pay1",
        payment_amount=AMOUNT,
        payment_notify_url="https://shop.example/aplus/notify",
        payment_redirect_url="https://shop.example/",
    ),
    "inquire": InquiryRequest(payment_id="P"),
    "cancel": CancelRequest(payment_id="P"),
    "refund": RefundRequest(payment_id="P", refund_request_id="r", refund_amount=AMOUNT),
}
POLICIES = {
    "pay": policy.PAY,
    "inquire": policy.INQUIRY,
    "cancel": policy.CANCEL,
    "refund": policy.REFUND,
}


class Calling:
    """A client of either kind whose gateway is down; it notes the seconds of each send."""

    def __init__(self, kind, account, **options):
        self.clock, self.sent = Clock(datetime.now(UTC)), []
        self.client = kind(account, clock=self.clock, **options)
        send = self._send_async if kind is AsyncClient else self._send
        self.client._sender.send = send

    def _send(self, request, timeout):
        self.sent.append(timeout)
        raise NotSent("down")

    async def _send_async(self, request, timeout):
        self._send(request, timeout)

    def __call__(self, name, request=None):
        call = getattr(self.client, name)(request or CALLS[name])
        if isinstance(self.client, AsyncClient):
            asyncio.run(call)


@pytest.fixture(params=[Client, AsyncClient], ids=["blocking", "awaiting"])
def kind(request):
    return request.param


@pytest.mark.parametrize("name", CALLS)
def test_a_call_has_the_seconds_and_pauses_of_its_policy(account, kind, name):
    calling = Calling(kind, account)
    with pytest.raises(NotSent):
        calling(name)
    pauses = POLICIES[name].pauses
    assert calling.clock.slept == [*pauses]
    documented = 5.0 if name == "inquire" else 8.0
    assert calling.sent == [documented] * (len(pauses) + 1)


@pytest.mark.parametrize("name", CALLS)
def test_a_call_has_the_seconds_and_the_deadline_that_its_client_is_given(account, kind, name):
    calling = Calling(kind, account, timeout=1.5, deadline=2.5)
    with pytest.raises(NotSent):
        calling(name)
    # The second repetition would begin after the deadline.
    first = POLICIES[name].pauses[0]
    assert calling.clock.slept == [first]
    assert calling.sent == [1.5, min(1.5, 2.5 - first)]


@pytest.mark.parametrize("name", ["pay", "refund"])
def test_an_id_that_comes_with_other_content_is_refused_and_says_which(account, kind, name):
    calling = Calling(kind, account)
    with pytest.raises(NotSent):
        calling(name)
    sent = len(calling.sent)
    changes = (
        {"payment_redirect_url": "https://shop.example/2"}
        if name == "pay"
        else {"refund_reason": "2"}
    )
    said = {"pay": "paymentRequestId pay1", "refund": "refundRequestId r"}[name]
    with pytest.raises(InconsistentRetry, match=f"^{said}: already used with other content"):
        calling(name, evolve(CALLS[name], **changes))
    assert len(calling.sent) == sent


def test_a_client_remembers_the_last_ids_that_were_used(account, kind, monkeypatch):
    monkeypatch.setattr("aplus_adapters.runtime.client._MOST_REMEMBERED", 2)
    calling = Calling(kind, account, deadline=0.1)

    def refund(number, reason="first"):
        request = evolve(CALLS["refund"], refund_request_id=f"r{number}", refund_reason=reason)
        with pytest.raises((NotSent, InconsistentRetry)) as error:
            calling("refund", request)
        return error.type

    refund(1)
    refund(2)
    refund(1)  # used again, so that the second is the oldest now
    refund(3)
    assert refund(1, "other") is InconsistentRetry
    assert refund(3, "other") is InconsistentRetry
    assert refund(2, "other") is NotSent  # forgotten
