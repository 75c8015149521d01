"""What is read from an answer, at the edges: when a code expires, what was given back."""

from datetime import timedelta

import pytest
from attrs import evolve

from aplus_adapters import Amount
from aplus_adapters.payments import observations
from aplus_adapters.payments.flows.gateway_call import Answered
from aplus_adapters.payments.model import Outcome, RefundState
from aplus_adapters.protocol.messages.inquiry import InquiryResponse
from aplus_adapters.protocol.messages.pay import PayResponse
from aplus_adapters.protocol.timestamps import Timestamp
from aplus_adapters.testing.store_values import a_refund, an_attempt
from support.shop import NOON

DAY = timedelta(days=1)
TICK = timedelta(milliseconds=1)
SUCCESS = {"resultCode": "SUCCESS", "resultStatus": "S", "resultMessage": "success"}
FAILURE = {"resultCode": "PROCESS_FAIL", "resultStatus": "F", "resultMessage": "no"}
ARRIVED = NOON + timedelta(hours=5)  # our clock is wrong by five hours


def read(kind, content):
    from aplus_adapters.protocol import wire

    return Answered(kind.decode(wire.dumps(content)), NOON, 1)


def paying(**form):
    details = [{"codeValue": "https://codes.example/281", "displayType": "TEXT"}]
    code = {"paymentMethodType": "CONNECT_WALLET", "codeDetails": details, **form}
    result = {"resultCode": "PAYMENT_IN_PROCESS", "resultStatus": "U", "resultMessage": "open"}
    amount = {"currency": "JPY", "value": "4200"}
    content = {"result": result, "paymentId": "P-1", "paymentAmount": amount}
    return read(PayResponse, {**content, "acquirerId": "1021", "orderCodeForm": code})


@pytest.mark.parametrize(
    ("said", "lasts"),
    [
        (timedelta(minutes=3), timedelta(minutes=3)),
        (timedelta(seconds=-1), timedelta(seconds=-1)),
        (DAY, DAY),
        (-DAY, -DAY),
        (DAY + TICK, timedelta(minutes=3)),
        (-DAY - TICK, timedelta(minutes=3)),
        (None, timedelta(minutes=3)),
    ],
)
def test_a_code_lasts_as_long_as_alipayplus_says_by_its_own_clock_and_a_day_at_most(said, lasts):
    form = {} if said is None else {"expireTime": Timestamp.of(NOON + said).text}
    observation = observations.observe_pay(paying(**form), an_attempt(), ARRIVED)
    assert observation.outcome is Outcome.CODE_ISSUED
    assert observation.order_code.expires_at == NOON + lasts
    assert observation.expires_at == ARRIVED + lasts


def test_a_code_has_its_text_and_every_image_by_its_type():
    details = [
        {"codeValue": "big", "displayType": "BIGIMAGE"},
        {"codeValue": "text", "displayType": "TEXT"},
        {"codeValue": "small", "displayType": "SMALLIMAGE"},
    ]
    code = observations.observe_pay(paying(codeDetails=details), an_attempt(), NOON).order_code
    assert code.text == "text"
    assert code.images == (("BIGIMAGE", "big"), ("SMALLIMAGE", "small"))


def transaction(**changes):
    made = {
        "transactionResult": SUCCESS,
        "transactionId": "R-1",
        "transactionType": "REFUND",
        "transactionStatus": "SUCCESS",
        "transactionAmount": {"currency": "JPY", "value": "1000"},
        "transactionRequestId": "refund1",
        **changes,
    }
    return {name: value for name, value in made.items() if value is not None}


# What a transaction says, and whether it is money that went back.
TRANSACTIONS = {
    "a refund that succeeded": (transaction(), True),
    "a refund in process": (transaction(transactionStatus="PROCESSING"), False),
    "a refund that failed": (transaction(transactionStatus="FAIL"), False),
    "a status counts more than a result": (
        transaction(transactionStatus="FAIL", transactionResult=SUCCESS),
        False,
    ),
    "a status counts without a success": (transaction(transactionResult=FAILURE), True),
    "a result alone, S": (transaction(transactionStatus=None), True),
    "a result alone, F": (
        transaction(transactionStatus=None, transactionResult=FAILURE),
        False,
    ),
    "another type": (transaction(transactionType="CANCEL"), False),
}


def inquiry(*transactions):
    content = {
        "result": SUCCESS,
        "paymentResult": SUCCESS,
        "paymentRequestId": "pay1",
        "paymentAmount": {"currency": "JPY", "value": "4200"},
        "transactions": list(transactions),
    }
    return read(InquiryResponse, content)


@pytest.mark.parametrize("case", TRANSACTIONS)
def test_only_a_refund_that_succeeded_is_money_that_went_back(case):
    listed, is_done = TRANSACTIONS[case]
    answered = inquiry(listed)
    seen = observations.observe_inquiry(answered, an_attempt(), ARRIVED)
    assert seen.given_back == (Amount("JPY", 1000) if is_done else None)
    refund = observations.observe_transaction(answered, a_refund(), ARRIVED)
    assert (refund is not None) is is_done
    if refund is not None:
        assert (refund.said_at, refund.refund_id) == (NOON, "R-1")


def test_another_refund_says_nothing_of_this_one():
    answered = inquiry(transaction(transactionRequestId="refund2"), transaction())
    assert observations.observe_transaction(answered, a_refund(3), NOON) is None
    assert observations.observe_transaction(answered, a_refund(2), NOON).refund_id == "R-1"


@pytest.mark.parametrize(
    ("values", "outcome"),
    [
        ([4199], Outcome.SUCCEEDED),
        ([4200], Outcome.RETURNED),
        ([4000, 200], Outcome.RETURNED),
        ([4201], Outcome.RETURNED),
        ([10**18 - 1, 10**18 - 1], Outcome.RETURNED),
    ],
)
def test_a_payment_is_returned_once_all_of_it_went_back(values, outcome):
    amounts = [{"currency": "JPY", "value": str(value)} for value in values]
    listed = [transaction(transactionAmount=amount) for amount in amounts]
    other = transaction(transactionAmount={"currency": "USD", "value": "999999"})
    seen = observations.observe_inquiry(inquiry(*listed, other), an_attempt(), NOON)
    assert (seen.outcome, seen.given_back) == (outcome, Amount("JPY", min(sum(values), 4200)))
    assert (seen.said_at, seen.claim) == (NOON, 0)


UNREAD = {
    "no amount": transaction(transactionAmount=None),
    "an amount that is none": transaction(transactionAmount={"currency": "JPY", "value": "1.00"}),
    "a status that is none": transaction(transactionStatus=[]),
    "no object": [],
    "no status and no result": {
        "transactionType": "REFUND",
        "transactionAmount": {"currency": "JPY", "value": "4200"},
    },
    "under way, of an amount that nobody knows": transaction(
        transactionAmount=None, transactionStatus="PROCESSING"
    ),
    "a type that is none": transaction(transactionType=[], transactionAmount=None),
}


@pytest.mark.parametrize("case", UNREAD)
def test_a_refund_that_cannot_be_read_may_be_all_of_it_and_the_payment_stays_paid(case):
    """Without an amount a person decides; taken for no answer, it would be cancelled at expiry."""
    seen = observations.observe_inquiry(inquiry(UNREAD[case]), an_attempt(), NOON)
    assert (seen.outcome, seen.amount, seen.given_back) == (Outcome.SUCCEEDED, None, None)
    all_of_it = transaction(transactionAmount={"currency": "JPY", "value": "4200"})
    seen = observations.observe_inquiry(inquiry(UNREAD[case], all_of_it), an_attempt(), NOON)
    assert (seen.outcome, seen.amount) == (Outcome.RETURNED, Amount("JPY", 4200))


def test_what_may_be_a_refund_of_ours_may_have_been_carried_out():
    for case in ("an amount that is none", "a status that is none", "no object"):
        assert observations.observe_transaction(inquiry(UNREAD[case]), a_refund(), NOON) is None
        assert observations.may_be_carried_out(inquiry(UNREAD[case]), a_refund())
    other = transaction(transactionType="PAYMENT", transactionAmount=[])
    seen = observations.observe_inquiry(inquiry(other), an_attempt(), NOON)
    assert (seen.outcome, seen.amount) == (Outcome.SUCCEEDED, Amount("JPY", 4200))
    assert not observations.may_be_carried_out(inquiry(other), a_refund())


@pytest.mark.parametrize(
    "nothing", [None, transaction(transactionStatus="FAIL", transactionAmount=[])]
)
def test_a_null_and_a_refund_that_has_failed_return_nothing(nothing):
    seen = observations.observe_inquiry(inquiry(nothing), an_attempt(), NOON)
    assert (seen.outcome, seen.amount) == (Outcome.SUCCEEDED, Amount("JPY", 4200))
    assert not observations.may_be_carried_out(inquiry(nothing), a_refund(2))


@pytest.mark.parametrize("state", RefundState)
def test_refunds_of_ours_and_of_others_may_be_all_of_it_together(state):
    ours = [evolve(a_refund(), state=state)]
    under_way = transaction(transactionStatus="PROCESSING")
    part = transaction(
        transactionRequestId="elsewhere",
        transactionStatus="PROCESSING" if state is RefundState.SUCCEEDED else "SUCCESS",
        transactionAmount={"currency": "JPY", "value": "3200"},
    )
    first = transaction() if state is RefundState.SUCCEEDED else under_way
    seen = observations.observe_inquiry(inquiry(first, part), an_attempt(), NOON, ours)
    assert (seen.outcome, seen.amount) == (Outcome.SUCCEEDED, None)


def test_a_refund_that_is_under_way_elsewhere_has_returned_nothing_yet():
    going_on = transaction(transactionStatus="PROCESSING")
    seen = observations.observe_inquiry(inquiry(going_on), an_attempt(), NOON)
    assert (seen.outcome, seen.amount, seen.given_back) == (
        Outcome.SUCCEEDED,
        Amount("JPY", 4200),
        None,
    )
    twice = [
        transaction(),
        transaction(
            transactionStatus="PROCESSING", transactionAmount={"currency": "JPY", "value": "3200"}
        ),
    ]
    seen = observations.observe_inquiry(inquiry(*twice), an_attempt(), NOON)
    assert (seen.outcome, seen.amount) == (Outcome.SUCCEEDED, None)  # all of it, once it has ended


@pytest.mark.parametrize(
    ("state", "outcome", "given_back"),
    [
        (RefundState.CREATED, None, None),
        (RefundState.SUCCEEDED, Outcome.SUCCEEDED, None),
        (RefundState.FAILED, Outcome.SUCCEEDED, Amount("JPY", 1000)),
    ],
)
def test_a_refund_of_ours_that_is_listed_counts_by_what_we_know_of_it(state, outcome, given_back):
    ours = [evolve(a_refund(), state=state)]
    seen = observations.observe_inquiry(inquiry(transaction()), an_attempt(), NOON, ours)
    assert (seen and seen.outcome, seen and seen.given_back) == (outcome, given_back)


@pytest.mark.parametrize("status", ["F", "U"])
def test_what_was_given_back_counts_only_of_a_payment_that_succeeded(status):
    content = {
        "result": SUCCESS,
        "paymentResult": {**FAILURE, "resultStatus": status},
        "transactions": [transaction(transactionAmount={"currency": "JPY", "value": "4200"})],
    }
    seen = observations.observe_inquiry(read(InquiryResponse, content), an_attempt(), NOON)
    outcome = Outcome.FAILED if status == "F" else Outcome.IN_PROCESS
    assert (seen.outcome, seen.given_back) == (outcome, None)
