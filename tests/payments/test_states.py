"""The state table, over every pair."""

import itertools

import pytest
from attrs import evolve

from aplus_adapters import (
    Amount,
    Attempt,
    Conflict,
    InconsistentRetry,
    InvalidValue,
    News,
    Observation,
    OrderCode,
    Refund,
    RefundState,
    Result,
    Source,
    State,
    Timestamp,
    UnknownPayment,
)
from aplus_adapters.payments.states import CONFLICT, TABLE, admit_refund, advance
from conftest import NOON

ATTEMPT = Attempt(
    payment_request_id="pay1",
    order_ref="A-1",
    client_id="C",
    amount=Amount("JPY", 4200),
    request_body=b"{}",
    created_at=NOON,
    expires_at=NOON,
    next_call_at=NOON,
    changed_at=NOON,
    payment_id="P-1",
)
# Written by hand: rows are news, columns are states.
EXPECTED = """
             created    pending    succeeded  failed     cancelled
code_issued  pending    pending    succeeded  failed     cancelled
refused      failed     pending    succeeded  failed     cancelled
in_process   created    pending    succeeded  failed     cancelled
succeeded    succeeded  succeeded  succeeded  conflict   conflict
failed       failed     failed     conflict   failed     cancelled
cancelled    cancelled  cancelled  conflict   failed     cancelled
absent       failed     failed     conflict   failed     cancelled
refunded     conflict   conflict   succeeded  conflict   conflict
refund_refused created  pending    succeeded  failed     cancelled
"""


def cells():
    header, *rows = EXPECTED.strip("\n").splitlines()
    for row in rows:
        news, *outcomes = row.split()
        for state, outcome in zip(header.split(), outcomes, strict=True):
            yield State(state), News[news.upper()], outcome


def observed(news, **changes):
    said = Observation(
        source=Source.NOTIFICATION,
        news=news,
        at=NOON,
        client_id="C",
        amount=ATTEMPT.amount,
        payment_id="P-1",
    )
    return evolve(said, **changes)


def test_the_table_has_every_pair():
    assert set(TABLE) == set(itertools.product(State, News))


@pytest.mark.parametrize(("state", "news", "outcome"), list(cells()))
def test_each_observation_does_in_each_state_what_is_written(state, news, outcome):
    before = evolve(ATTEMPT, state=state, next_call_at=None if state.is_final else NOON)
    transition = advance(before, observed(news))
    if outcome == CONFLICT:
        assert transition.conflict is not None
        assert transition.after == before
        assert not transition.settles
    else:
        assert transition.conflict is None
        assert transition.after.state == State(outcome)
        assert transition.settles == (transition.after.state.is_final and not state.is_final)


@pytest.mark.parametrize("state", [state for state in State if state.is_final])
@pytest.mark.parametrize("news", News)
def test_nothing_leaves_or_changes_a_final_state(state, news):
    before = evolve(ATTEMPT, state=state, next_call_at=None)
    said = observed(news, wallet="OTHER", next_call_at=NOON)
    assert advance(before, said).after == before


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize(
    "wrong",
    [
        {"amount": Amount("JPY", 4201)},
        {"amount": Amount("USD", 4200)},
        {"amount": Amount("KWD", 4200)},
        {"amount": None},
        {"payment_id": "P-2"},
    ],
)
def test_a_success_that_differs_from_the_attempt_is_a_conflict_and_settles_nothing(state, wrong):
    before = evolve(ATTEMPT, state=state)
    transition = advance(before, observed(News.SUCCEEDED, **wrong))
    assert transition.conflict is not None
    assert transition.after == before


def test_a_final_attempt_is_called_about_no_more():
    assert advance(ATTEMPT, observed(News.SUCCEEDED, next_call_at=NOON)).after.next_call_at is None


def test_an_observation_for_another_account_is_no_observation_of_this_payment():
    with pytest.raises(UnknownPayment, match="belongs to another account"):
        advance(ATTEMPT, observed(News.SUCCEEDED, client_id="OTHER"))


def test_redeliveries_of_one_contradiction_are_one_conflict():
    said = observed(News.SUCCEEDED, amount=Amount("JPY", 1))
    again = evolve(said, source=Source.INQUIRY, at=NOON.replace(hour=13))
    other = evolve(said, amount=Amount("JPY", 2))
    keys = [
        Conflict(attempt=ATTEMPT, observation=one, reason="").key for one in (said, again, other)
    ]
    assert keys[0] == keys[1] != keys[2]


BARE = evolve(ATTEMPT, payment_id=None)
LATER = NOON.replace(hour=13)
NEWS = Observation(
    source=Source.PAY,
    news=News.CODE_ISSUED,
    at=LATER,
    client_id="C",
    result=Result(result_code="PAYMENT_IN_PROCESS", result_status="U"),
    payment_id="P-9",
    amount=ATTEMPT.amount,
    order_code=OrderCode(text="https://code.example/1"),
    expires_at=LATER,
    payment_time=Timestamp("2026-11-23T13:00:00+08:00"),
    wallet="WALLET",
    next_call_at=LATER,
)
TAKEN = {
    "payment_id": "P-9", "order_code": NEWS.order_code, "expires_at": LATER,
    "payment_time": NEWS.payment_time, "wallet": "WALLET",
}  # fmt: skip


def test_an_attempt_takes_from_an_observation_what_it_did_not_know():
    transition = advance(BARE, NEWS)
    assert transition.observation is NEWS
    assert transition.after == evolve(
        BARE,
        **TAKEN,
        state=State.PENDING,
        changed_at=LATER,
        result=NEWS.result,
        next_call_at=LATER,
    )


def test_what_an_observation_does_not_say_stays_as_it_was():
    known = advance(BARE, NEWS).after
    silent = Observation(
        source=Source.INQUIRY, news=News.IN_PROCESS, at=LATER, client_id="C", result=None
    )
    assert advance(known, silent).after == known
    assert advance(known, evolve(silent, next_call_at=NOON)).after.next_call_at == NOON


def test_a_state_that_stays_keeps_when_and_by_what_it_was_reached():
    known = advance(BARE, NEWS).after
    said = evolve(
        NEWS, at=LATER.replace(hour=14), result=Result(result_code="SUCCESS", result_status="S")
    )
    assert advance(known, said).after == known


def test_a_conflict_of_an_open_attempt_only_puts_off_the_next_call():
    said = evolve(NEWS, news=News.SUCCEEDED, amount=Amount("JPY", 1))
    transition = advance(BARE, said)
    assert transition.after == evolve(BARE, next_call_at=LATER)
    assert transition.observation is said
    assert transition.conflict.observation is said
    assert transition.conflict.reason == "pay says 1 JPY, the attempt is for 4200 JPY"


@pytest.mark.parametrize(
    ("state", "changes", "reason"),
    [
        (State.FAILED, {}, "succeeded by notification although it is failed"),
        (State.PENDING, {"payment_id": "P-2"}, "notification says paymentId P-2, not the stored one"),
        (State.PENDING, {"amount": None},
         "notification says paid without an amount to compare with 4200 JPY"),
    ],
)  # fmt: skip
def test_a_conflict_says_why(state, changes, reason):
    said = observed(News.SUCCEEDED, **changes)
    assert advance(evolve(ATTEMPT, state=state), said).conflict.reason == reason


REFUND = Refund(
    refund_request_id="refund1",
    payment_request_id="pay1",
    client_id="C",
    amount=Amount("JPY", 1000),
    request_body=b"{}",
    created_at=NOON,
    next_call_at=NOON,
    changed_at=NOON,
)
PAID = evolve(ATTEMPT, state=State.SUCCEEDED, next_call_at=None)


def refunded(news=News.REFUNDED, **changes):
    said = Observation(
        source=Source.REFUND,
        news=news,
        at=LATER,
        client_id="C",
        result=Result(result_code="SUCCESS", result_status="S"),
        amount=REFUND.amount,
        refund_request_id="refund1",
        refund_id="R-1",
    )
    return evolve(said, **changes)


@pytest.mark.parametrize(
    ("news", "state"),
    [(News.REFUNDED, RefundState.SUCCEEDED), (News.REFUND_REFUSED, RefundState.FAILED)],
)
def test_a_refund_becomes_final_and_the_payment_stays_as_it_is(news, state):
    said = refunded(news)
    transition = advance(PAID, said, REFUND)
    assert transition.before == transition.after == PAID
    assert (transition.observation, transition.refund_before) == (said, REFUND)
    assert transition.refund == evolve(
        REFUND, state=state, next_call_at=None, changed_at=LATER, refund_id="R-1",
        result=said.result,
    )  # fmt: skip
    assert transition.settles_refund
    assert not transition.settles
    again = advance(PAID, refunded(news, at=NOON, refund_id="R-2"), transition.refund)
    assert again.refund == transition.refund
    assert again.conflict is None
    assert not again.settles_refund


@pytest.mark.parametrize(
    ("attempt", "refund", "changes", "reason"),
    [
        (PAID, REFUND, {"amount": Amount("JPY", 999)}, "refund says 999 JPY, it was to be 1000 JPY"),
        (evolve(PAID, state=State.CANCELLED), REFUND, {}, "refunded although the payment is cancelled"),
        (PAID, evolve(REFUND, state=RefundState.FAILED), {}, "refunded although the refund is failed"),
        (PAID, evolve(REFUND, state=RefundState.SUCCEEDED), {"news": News.REFUND_REFUSED},
         "refund refused although the refund is succeeded"),
    ],
)  # fmt: skip
def test_a_refund_that_contradicts_is_a_conflict_and_changes_nothing(
    attempt, refund, changes, reason
):
    transition = advance(attempt, refunded(**changes), refund)
    assert transition.conflict.reason == reason
    assert (transition.conflict.attempt, transition.conflict.observation.at) == (attempt, LATER)
    assert (transition.after, transition.refund) == (attempt, refund)
    assert not transition.settles_refund


def test_an_answer_that_does_not_repeat_the_amount_settles_the_refund():
    assert advance(PAID, refunded(amount=None), REFUND).settles_refund


@pytest.mark.parametrize("refund", [None, evolve(REFUND, payment_request_id="pay2")])
def test_a_refund_that_is_not_there_is_unknown(refund):
    with pytest.raises(
        UnknownPayment, match="refund refund1: found no such refund of payment pay1"
    ):
        advance(PAID, refunded(), refund)


def wanted(number, value, **changes):
    return evolve(
        REFUND,
        refund_request_id=f"refund{number}",
        amount=Amount("JPY", value),
        request_body=str(number).encode(),
        **changes,
    )


def test_refunds_are_admitted_up_to_what_was_paid():
    stored = [wanted(1, 4000), wanted(2, 4200, state=RefundState.FAILED)]
    assert admit_refund(PAID, stored, wanted(3, 200)) is None
    assert admit_refund(PAID, stored, wanted(1, 4000)) is stored[0]
    refusals = {
        "found 201 JPY, expected at most 200 JPY, what is left of 4200 JPY": (PAID, wanted(3, 201)),
        "found a payment that is pending, expected one that is paid": (
            evolve(PAID, state=State.PENDING), wanted(3, 1),
        ),
        "found 0.01 USD, expected the payment's currency JPY": (
            PAID, evolve(wanted(3, 1), amount=Amount("USD", 1)),
        ),
    }  # fmt: skip
    for message, (attempt, refund) in refusals.items():
        with pytest.raises(InvalidValue, match=message):
            admit_refund(attempt, stored, refund)
    with pytest.raises(InconsistentRetry, match="refund refund1: already used"):
        admit_refund(PAID, stored, evolve(wanted(1, 4000), request_body=b"other"))
