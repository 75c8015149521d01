"""The core alone, without any web framework, against the simulator over real HTTP."""

import asyncio
import itertools
import json
from datetime import UTC, datetime, timedelta

import pytest
from attrs import evolve

from aplus_adapters import (
    Amount,
    AsyncClient,
    Client,
    ConfigurationError,
    InconsistentRetry,
    InvalidValue,
    NotSent,
    OutcomeUnknown,
    Rejected,
)
from aplus_adapters.messages import (
    CancelRequest,
    Env,
    InquiryRequest,
    Order,
    PayRequest,
    RefundRequest,
    Timestamp,
)
from aplus_adapters.protocol.results import CODES
from support.shop import Clock

_number = itertools.count()


class Blocking:
    """Both clients with one face."""

    def __init__(self, account, **options):
        self.account, self.options = account, options

    def __call__(self, *calls):
        with Client(self.account, **self.options) as client:
            return [getattr(client, name)(request) for name, request in calls]


class Awaiting(Blocking):
    def __call__(self, *calls):
        async def main():
            async with AsyncClient(self.account, **self.options) as client:
                return [await getattr(client, name)(request) for name, request in calls]

        return asyncio.run(main())


@pytest.fixture(params=[Blocking, Awaiting])
def client(request, simulated_account):
    clock = Clock(datetime.now(UTC))  # so that pauses take no time
    made = request.param(simulated_account, clock=clock)
    made.clock = clock
    return made


@pytest.fixture
def request_(simulated_account):
    amount = Amount.parse("42.00", "USD")
    return PayRequest(
        order=Order(
            reference_order_id="A-1",
            order_description="2 tickets",
            order_amount=amount,
            env=Env(user_agent="Mozilla/5.0"),
        ),
        payment_request_id=f"client-{next(_number)}-{datetime.now(UTC).timestamp()}",
        payment_amount=amount,
        payment_notify_url=simulated_account.notify_url,
    )


def test_a_payment_is_made_inquired_refunded_and_cancelled(client, request_, simulator):
    request_id = request_.payment_request_id
    (answer,) = client(("pay", request_))
    assert answer.result.result_code == "PAYMENT_IN_PROCESS"
    assert answer.order_code_form.value("TEXT").startswith(simulator.address)
    simulator.decide(request_id, "pay")
    refund = RefundRequest(
        payment_request_id=request_id,
        refund_request_id="r1-" + request_id,
        refund_amount=Amount("USD", 100),
    )
    first, second, inquiry = client(
        ("refund", refund),
        ("refund", refund),
        ("inquire", InquiryRequest(payment_request_id=request_id)),
    )
    assert first.refund_id == second.refund_id
    assert inquiry.payment_result.result_status == "S"
    assert inquiry.payment_amount == request_.payment_amount
    assert [one.transaction_amount for one in inquiry.transactions] == [Amount("USD", 100)]
    (cancelled,) = client(("cancel", CancelRequest(payment_id=answer.payment_id)))
    assert cancelled.result.result_status == "S"


@pytest.mark.parametrize(
    "fault", ["drop_answer", "reset", "http_500", "garbage", "unsigned", "bad_signature"]
)
@pytest.mark.parametrize("call", ["pay", "inquire", "cancel", "refund"])
def test_without_a_trustworthy_answer_the_identical_bytes_go_again(
    client, request_, simulator, fault, call
):
    request_id = request_.payment_request_id
    names = {"inquire": "inquiryPayment", "cancel": "cancelPayment"}
    if call != "pay":
        client(("pay", request_))
        simulator.decide(request_id, "pay")
    requests = {
        "pay": request_,
        "inquire": InquiryRequest(payment_request_id=request_id),
        "cancel": CancelRequest(payment_request_id=request_id),
        "refund": RefundRequest(
            payment_request_id=request_id,
            refund_request_id=request_id,
            refund_amount=Amount("USD", 5),
        ),
    }
    simulator.fault({"fault": fault, "call": names.get(call, call), "times": 2})
    (answer,) = client((call, requests[call]))
    assert answer.result.result_status in "SU"
    books = simulator.order(request_id)
    made = [one for one in books["requests"] if one["call"] == names.get(call, call)]
    assert len({one["bodySha256"] for one in made}) == 1
    assert len({one["requestTime"] for one in made}) == len(made)
    assert len(books["refunds"]) == (1 if call == "refund" else 0)


def test_after_the_last_try_the_outcome_is_unknown_and_what_was_claimed_is_only_a_hint(
    client, request_, simulator
):
    simulator.fault({"fault": "unsigned", "call": "pay", "times": 3})
    with pytest.raises(OutcomeUnknown, match="proves nothing") as unknown:
        client(("pay", request_))
    assert unknown.value.hint == "U PAYMENT_IN_PROCESS (not verified)"
    assert client.clock.slept == [1.0, 2.0]


@pytest.mark.parametrize("code", sorted(code for code, row in CODES.items() if row.status == "F"))
def test_a_verified_f_is_final_and_carries_its_result(client, request_, simulator, code):
    simulator.fault({"fault": "result", "call": "pay", "code": code, "status": "F", "times": 9})
    with pytest.raises(Rejected, match=code) as rejected:
        client(("pay", request_))
    assert rejected.value.result.result_code == code
    assert client.clock.slept == []
    simulator.fault()


@pytest.mark.parametrize(
    ("code", "pauses"),
    [("UNKNOWN_EXCEPTION", [1.0]), ("REQUEST_TRAFFIC_EXCEED_LIMIT", [5.0]), ("NEW_U_CODE", [1.0])],
)
def test_a_u_that_asks_for_it_is_repeated_after_its_pause(
    client, request_, simulator, code, pauses
):
    simulator.fault({"fault": "result", "call": "pay", "code": code, "status": "U"})
    (answer,) = client(("pay", request_))
    assert answer.order_code_form is not None
    assert client.clock.slept == pauses


@pytest.mark.parametrize(
    ("said", "is_obeyed"),
    # The second but last is a day and more, the last a 7 of another script.
    [("7", True), ("12", True), ("soon", False), ("-7", False), ("100000", False), ("٧", False)],
)
def test_retry_after_is_obeyed(request_, account, their_key, said, is_obeyed):
    from aplus_adapters.payments.effects import Send, Sleep
    from aplus_adapters.payments.flows.gateway_call import call
    from aplus_adapters.payments.policy import PAY
    from aplus_adapters.protocol.messages.pay import PayResponse
    from aplus_adapters.runtime.drivers import run
    from support.gateway import Gateway

    clock = Clock()
    gateway = Gateway(account, their_key, clock)
    slept = []

    def perform(effect):
        if isinstance(effect, Sleep):
            return slept.append(effect.seconds)
        if isinstance(effect, Send):
            busy = {"resultCode": "REQUEST_TRAFFIC_EXCEED_LIMIT", "resultStatus": "U"}
            content = gateway.code(effect.request) if slept else {"result": busy}
            answer = gateway.answer(effect.request, content)
            return evolve(answer, headers=(*answer.headers, ("Retry-After", said)))
        return {"Now": clock.now(), "Draw": 0.5}[type(effect).__name__]

    run(call(account, request_, PayResponse, retry=PAY, timeout=5), perform)
    assert slept == [float(said) if is_obeyed else 5.0]  # what we wait when nothing is said


def test_the_deadline_bounds_the_whole_call(simulated_account, request_, simulator):
    clock = Clock(datetime.now(UTC))
    simulator.fault({"fault": "http_500", "call": "pay", "times": 9})
    with (
        Client(simulated_account, clock=clock, deadline=0.5) as client,
        pytest.raises(OutcomeUnknown),
    ):
        client.pay(request_)
    assert clock.slept == []
    simulator.fault()


def test_where_nobody_listens_nothing_was_sent(client, simulated_account, request_):
    client.account = evolve(simulated_account, gateway="http://127.0.0.1:9")
    with pytest.raises(NotSent):
        client(("pay", request_))


def test_the_same_id_with_other_content_is_refused_before_anything_is_sent(
    client, request_, simulator
):
    changed = evolve(request_, split_settlement_id="other")
    with pytest.raises(InconsistentRetry, match="nothing was sent"):
        client(("pay", request_), ("pay", changed))
    assert len(simulator.order(request_.payment_request_id)["requests"]) == 1


WRONG = [
    ("cancel", InquiryRequest(payment_request_id="p1")),
    ("inquire", CancelRequest(payment_request_id="p1")),
    ("pay", {"paymentRequestId": "p1"}), ("inquire", "p1"), ("cancel", None),
    ("refund", CancelRequest(payment_request_id="p1")),
]  # fmt: skip


@pytest.mark.parametrize(("call", "request_of_another"), WRONG)
def test_a_request_of_another_call_is_refused_before_anything_is_sent(
    client, simulator, call, request_of_another
):
    sent = len(simulator.orders())
    with pytest.raises(InvalidValue, match=r"Client: found \w+, expected \w+Request for this call"):
        client((call, request_of_another))
    assert len(simulator.orders()) == sent


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize("account", ["ACCOUNT", None, {}])
def test_what_is_no_account_makes_no_client(kind, account):
    with pytest.raises(ConfigurationError, match=r"Client: found \w+, expected an Account"):
        kind(account)


@pytest.mark.parametrize("seconds", [-1, 0, 181, 3600])
def test_an_expiry_that_alipayplus_would_refuse_or_ignore_is_an_error(
    client, request_, simulator, seconds
):
    expiry = Timestamp.of(client.clock.now() + timedelta(seconds=seconds))
    with pytest.raises(InvalidValue, match="paymentExpiryTime"):
        client(("pay", evolve(request_, payment_expiry_time=expiry)))
    assert simulator.order(request_.payment_request_id) == {}


def test_a_settlement_in_another_currency_needs_its_strategy(client, simulated_account, request_):
    client.account = evolve(simulated_account, settlement_currency="EUR")
    with pytest.raises(
        InvalidValue, match=r"settlementStrategy.*SettlementStrategy\(settlement_currency='EUR'\)"
    ):
        client(("pay", request_))


def test_settlement_details_arrive_exactly(client, request_, simulator):
    from decimal import Decimal

    from aplus_adapters.messages import SettlementStrategy

    request = evolve(request_, settlement_strategy=SettlementStrategy(settlement_currency="JPY"))
    client(("pay", request))
    simulator.decide(request.payment_request_id, "pay")
    (answer,) = client(("inquire", InquiryRequest(payment_request_id=request.payment_request_id)))
    assert answer.settlement_amount == Amount("JPY", 52)
    assert answer.settlement_quote.quote_price == Decimal("1.25")


def test_agent_token_goes_out_and_the_tracerid_is_logged(
    client, simulated_account, request_, caplog
):
    client.account = evolve(simulated_account, agent_token="TOKEN-1")
    with caplog.at_level("INFO", "aplus_adapters"):
        client(("pay", request_))
    assert any(getattr(record, "tracerid", "").startswith("sim") for record in caplog.records)
    assert "TOKEN-1" not in caplog.text + repr(client.account)


def test_base64url_signatures_are_understood(client, simulated_account, request_):
    client.account = evolve(simulated_account, urlsafe_signatures=True)
    (answer,) = client(("pay", request_))
    assert json.loads(request_.encode())["paymentRequestId"] == request_.payment_request_id
    assert answer.order_code_form is not None


@pytest.mark.parametrize("options", [{}, {"timeout": 1.5}])
def test_each_call_waits_as_long_as_alipayplus_documents_unless_told_otherwise(
    simulated_account, request_, options
):
    import httpx

    waited = {}

    def answer(request):
        waited[request.url.path.rpartition("/")[2]] = request.extensions["timeout"]["read"]
        raise httpx.ConnectError("down")

    calls = {
        "pay": request_,
        "inquire": InquiryRequest(payment_id="P"),
        "cancel": CancelRequest(payment_id="P"),
        "refund": RefundRequest(
            payment_id="P", refund_request_id="r", refund_amount=Amount("USD", 1)
        ),
    }
    http = httpx.Client(transport=httpx.MockTransport(answer))
    with (
        http,
        Client(
            simulated_account, client=http, clock=Clock(datetime.now(UTC)), deadline=30.0, **options
        ) as client,
    ):
        for name, request in calls.items():
            with pytest.raises(NotSent):
                getattr(client, name)(request)
    documented = {"pay": 8, "inquiryPayment": 5, "cancelPayment": 8, "refund": 8}
    assert waited == {name: options.get("timeout", seconds) for name, seconds in documented.items()}
