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
    Observation,
    OrderCode,
    Outcome,
    Refund,
    RefundObservation,
    RefundState,
    Source,
    State,
    UnknownPayment,
)
from aplus_adapters.messages import Result, Timestamp
from aplus_adapters.payments.model import RefundOutcome
from aplus_adapters.payments.refund_states import admit_refund
from aplus_adapters.payments.states import CONFLICT, TABLE, advance
from aplus_adapters.payments.timeline import timeline
from support.shop import NOON

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
# Written by hand: rows are outcomes, columns are states.
EXPECTED = """
             created    pending    closing    succeeded  failed     cancelled
code_issued  pending    pending    closing    succeeded  failed     cancelled
refused      failed     pending    failed     succeeded  failed     cancelled
in_process   created    pending    closing    succeeded  failed     cancelled
succeeded    succeeded  succeeded  closing    succeeded  conflict   conflict
failed       failed     failed     failed     conflict   failed     cancelled
closing      closing    closing    closing    succeeded  failed     cancelled
cancelled    cancelled  cancelled  cancelled  conflict   failed     cancelled
cancel_refused created  pending    pending    succeeded  failed     cancelled
absent       created    pending    failed     conflict   failed     cancelled
returned     cancelled  cancelled  cancelled  conflict   failed     cancelled
"""


def cells():
    header, *rows = EXPECTED.strip("\n").splitlines()
    for row in rows:
        outcome, *followers = row.split()
        for state, following in zip(header.split(), followers, strict=True):
            yield State(state), Outcome[outcome.upper()], following


def observed(outcome, **changes):
    said = Observation(
        source=Source.CANCEL if outcome is Outcome.ABSENT else Source.NOTIFICATION,
        outcome=outcome,
        at=NOON,
        client_id="C",
        amount=ATTEMPT.amount,
        payment_id="P-1",
        claim=0,
    )
    return evolve(said, **changes)


def test_the_table_has_every_pair():
    assert set(TABLE) == set(itertools.product(State, Outcome))


@pytest.mark.parametrize(("state", "outcome", "following"), list(cells()))
def test_each_observation_does_in_each_state_what_is_written(state, outcome, following):
    before = evolve(ATTEMPT, state=state, next_call_at=None if state.is_final else NOON)
    transition = advance(before, observed(outcome))
    if following == CONFLICT:
        assert transition.conflict is not None
        assert transition.after.state is state
        assert not transition.became_final
    else:
        assert transition.conflict is None
        assert transition.after.state == State(following)
        assert transition.became_final == (transition.after.state.is_final and not state.is_final)


@pytest.mark.parametrize("state", [state for state in State if state.is_final])
@pytest.mark.parametrize("outcome", Outcome)
def test_nothing_leaves_or_changes_a_final_state(state, outcome):
    before = evolve(ATTEMPT, state=state, next_call_at=None)
    said = observed(outcome, wallet="OTHER", next_call_at=NOON)
    after = advance(before, said).after
    # What a late success says is kept beside the state, for the page, refunds and operators.
    assert evolve(after, disputed=None, success_reported=False) == before


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
    transition = advance(before, observed(Outcome.SUCCEEDED, **wrong))
    assert transition.conflict is not None
    assert transition.after.state is state
    assert not transition.became_final
    amount = wrong.get("amount") or ATTEMPT.amount
    is_kept = state not in (State.SUCCEEDED, State.CANCELLED)
    assert transition.after.disputed == (amount if is_kept else None)


def test_a_final_attempt_is_called_about_no_more():
    assert (
        advance(ATTEMPT, observed(Outcome.SUCCEEDED, next_call_at=NOON)).after.next_call_at is None
    )


def test_an_observation_for_another_account_is_no_observation_of_this_payment():
    with pytest.raises(UnknownPayment, match="belongs to another account"):
        advance(ATTEMPT, observed(Outcome.SUCCEEDED, client_id="OTHER"))


def test_redeliveries_of_one_contradiction_are_one_conflict():
    said = observed(Outcome.SUCCEEDED, amount=Amount("JPY", 1))
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
    outcome=Outcome.CODE_ISSUED,
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
    claim=0,
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
        source=Source.INQUIRY, outcome=Outcome.IN_PROCESS, at=LATER, client_id="C", result=None
    )
    heard = evolve(known, last_answer=advance(known, silent).after.last_answer)
    assert advance(known, silent).after == heard
    mine = evolve(silent, next_call_at=NOON, claim=0)
    assert advance(known, mine).after.next_call_at == NOON
    assert advance(known, evolve(mine, claim=1)).after == heard


def test_only_an_inquiry_that_says_the_same_as_the_one_just_before_repeats_it():
    silent = Observation(
        source=Source.INQUIRY, outcome=Outcome.IN_PROCESS, at=LATER, client_id="C", result=None
    )
    first = advance(BARE, silent)
    assert not first.repeats  # nothing came before it
    later = evolve(silent, at=LATER.replace(hour=14), said_at=LATER, claim=7, next_call_at=LATER)
    heard = advance(first.after, silent).after
    assert advance(heard, later).repeats
    for other in (
        evolve(silent, wallet="W"),
        evolve(silent, payment_id="P-7"),
        evolve(silent, source=Source.NOTIFICATION),
        evolve(silent, outcome=Outcome.FAILED),
        evolve(silent, amount=Amount("JPY", 1)),  # a conflict
    ):
        transition = advance(heard, other)
        assert not transition.repeats
        assert not advance(transition.after, silent).repeats


def test_a_state_that_stays_keeps_when_and_by_what_it_was_reached():
    known = advance(BARE, NEWS).after
    said = evolve(
        NEWS, at=LATER.replace(hour=14), result=Result(result_code="SUCCESS", result_status="S")
    )
    assert advance(known, said).after == known


def test_a_conflict_of_an_open_attempt_only_puts_off_the_next_call():
    said = evolve(NEWS, outcome=Outcome.SUCCEEDED, amount=Amount("JPY", 1))
    transition = advance(BARE, said)
    assert transition.after == evolve(BARE, next_call_at=LATER, disputed=Amount("JPY", 1))
    assert transition.observation is said
    assert transition.conflict.observation is said
    assert transition.conflict.reason == "pay says 1 JPY, the attempt is for 4200 JPY"


@pytest.mark.parametrize(
    ("state", "changes", "reason"),
    [
        (State.FAILED, {}, "succeeded by notification although it is failed"),
        (State.PENDING, {"payment_id": "P-2"}, "notification says paymentId P-2, not the stored one"),
        (State.PENDING, {"amount": None},
         "notification says paid without a clear amount to compare with 4200 JPY"),
    ],
)  # fmt: skip
def test_a_conflict_says_why(state, changes, reason):
    said = observed(Outcome.SUCCEEDED, **changes)
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


def refunded(outcome=RefundOutcome.REFUNDED, **changes):
    said = RefundObservation(
        source=Source.REFUND,
        outcome=outcome,
        at=LATER,
        client_id="C",
        result=Result(result_code="SUCCESS", result_status="S"),
        amount=REFUND.amount,
        refund_request_id="refund1",
        refund_id="R-1",
        claim=0,
    )
    return evolve(said, **changes)


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (RefundOutcome.REFUNDED, RefundState.SUCCEEDED),
        (RefundOutcome.REFUND_REFUSED, RefundState.FAILED),
    ],
)
def test_a_refund_becomes_final_and_the_payment_stays_as_it_is(outcome, state):
    said = refunded(outcome)
    transition = advance(PAID, said, [REFUND])
    given_back = 1000 if outcome is RefundOutcome.REFUNDED else 0
    assert transition.before == PAID
    assert transition.after == evolve(PAID, refunded=given_back)
    assert (transition.observation, transition.refund_before) == (said, REFUND)
    assert transition.refund == evolve(
        REFUND, state=state, next_call_at=None, changed_at=LATER, refund_id="R-1",
        result=said.result,
    )  # fmt: skip
    assert transition.refund_became_final
    assert not transition.became_final
    again = advance(
        transition.after, refunded(outcome, at=NOON, refund_id="R-2"), [transition.refund]
    )
    assert again.after == transition.after
    assert again.refund == transition.refund
    assert again.conflict is None
    assert not again.refund_became_final


@pytest.mark.parametrize(
    ("attempt", "refund", "changes", "reason"),
    [
        (PAID, REFUND, {"amount": Amount("JPY", 999)}, "refund says 999 JPY, it was to be 1000 JPY"),
        (evolve(PAID, state=State.CANCELLED), REFUND, {}, "refunded although the payment is cancelled"),
        (PAID, evolve(REFUND, state=RefundState.FAILED), {}, "refunded although the refund is failed"),
        (PAID, evolve(REFUND, state=RefundState.SUCCEEDED), {"outcome": RefundOutcome.REFUND_REFUSED},
         "refund refused although the refund is succeeded"),
    ],
)  # fmt: skip
def test_a_refund_that_contradicts_is_a_conflict_and_changes_no_payment(
    attempt, refund, changes, reason
):
    transition = advance(attempt, refunded(**changes), [refund])
    assert transition.conflict.reason == reason
    assert (transition.conflict.attempt, transition.conflict.observation.at) == (attempt, LATER)
    assert transition.after == attempt
    # One that was carried out is not sent again, whatever is wrong with it.
    is_of_nothing = reason == "refunded although the payment is cancelled"
    assert transition.refund_became_final is is_of_nothing
    assert (transition.refund == refund) is not is_of_nothing


@pytest.mark.parametrize("state", State)
def test_a_refund_of_what_is_not_paid_is_a_conflict_and_its_refusal_is_none(state):
    attempt = evolve(ATTEMPT, state=state)
    done = advance(attempt, refunded(), [REFUND])
    is_paid = state is State.SUCCEEDED
    reason = None if is_paid else f"refunded although the payment is {state}"
    assert (done.conflict and done.conflict.reason) == reason
    assert done.after == (evolve(attempt, refunded=1000) if is_paid else attempt)
    assert done.refund_became_final
    refusal = advance(attempt, refunded(RefundOutcome.REFUND_REFUSED), [REFUND])
    assert (refusal.after, refusal.conflict) == (attempt, None)
    assert refusal.refund.state is RefundState.FAILED


def test_an_answer_that_does_not_repeat_the_amount_settles_the_refund():
    assert advance(PAID, refunded(amount=None), [REFUND]).refund_became_final


@pytest.mark.parametrize("refunds", [[], [evolve(REFUND, payment_request_id="pay2")]])
def test_a_refund_that_is_not_there_is_unknown(refunds):
    with pytest.raises(
        UnknownPayment, match="refund refund1: found no such refund of payment pay1"
    ):
        advance(PAID, refunded(), refunds)


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
    with pytest.raises(InconsistentRetry, match="for 4000 JPY of payment pay1, expected a new"):
        admit_refund(PAID, stored, wanted(1, 3999))
    with pytest.raises(InconsistentRetry, match="refund refund1: already used with other content"):
        admit_refund(
            evolve(PAID, payment_request_id="pay2"),
            stored,
            evolve(wanted(1, 4000), payment_request_id="pay2"),
        )


def test_a_known_refund_is_found_without_its_reason_and_another_reason_asks_for_no_new_id():
    stored = [wanted(1, 4000, reason="damaged")]
    for reason in ("damaged", None):
        assert admit_refund(PAID, stored, wanted(1, 4000, reason=reason)) is stored[0]
    with pytest.raises(
        InconsistentRetry, match="a new refund_request_id would give the money back"
    ):
        admit_refund(PAID, stored, wanted(1, 4000, reason="late"))


CLOSING = evolve(ATTEMPT, state=State.CLOSING, claim=2)
ISSUED = evolve(CLOSING, order_code=OrderCode(text="https://code.example/1", expires_at=LATER))


def test_once_it_is_being_closed_a_success_is_kept_and_the_money_goes_back():
    reported = advance(CLOSING, observed(Outcome.SUCCEEDED, claim=None)).after
    assert (reported.state, reported.success_reported) == (State.CLOSING, True)
    for said in (
        observed(Outcome.CANCELLED, source=Source.CANCEL, amount=None, claim=2),
        observed(
            Outcome.FAILED, result=Result(result_code="ORDER_IS_CLOSED", result_status="F"), claim=1
        ),
    ):
        transition = advance(reported, said)
        assert transition.after.state is State.CANCELLED
        assert transition.became_final
        assert transition.conflict is None
        assert transition.after.success_reported


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.REFUSED])
def test_a_failure_after_a_reported_success_ends_nothing_and_is_told(outcome):
    reported = advance(CLOSING, observed(Outcome.SUCCEEDED, claim=None)).after
    transition = advance(reported, observed(outcome, amount=None, claim=2))
    assert (transition.after.state, transition.after.success_reported) == (State.CLOSING, True)
    assert transition.conflict.reason.endswith("although a success was reported")


REFUSAL = observed(
    Outcome.CANCEL_REFUSED,
    source=Source.CANCEL,
    amount=None,
    result=Result(result_code="CANCEL_WINDOW_EXCEED", result_status="F"),
)


def test_where_it_can_no_longer_be_cancelled_an_inquiry_decides_what_a_reported_success_became():
    """An earlier cancelPayment may have acted, and its answer may have been lost."""
    refused = observed(Outcome.CANCEL_REFUSED, source=Source.CANCEL, amount=None, claim=2)
    assert advance(CLOSING, refused).after.state is State.PENDING
    reported = advance(CLOSING, observed(Outcome.SUCCEEDED, claim=None)).after
    refused = advance(reported, refused).after
    assert (refused.state, refused.success_reported) == (State.PENDING, True)
    first = advance(CLOSING, evolve(REFUSAL, claim=2)).after  # nothing was reported before
    for before in (refused, first):
        for old in (
            observed(Outcome.SUCCEEDED, claim=None),
            observed(Outcome.SUCCEEDED, source=Source.INQUIRY, claim=1),
        ):
            again = advance(before, old)
            assert (again.after.state, again.conflict) == (State.PENDING, None)
            assert again.after.success_reported
        now = observed(Outcome.SUCCEEDED, source=Source.INQUIRY, claim=2)
        paid = advance(before, now).after
        assert (paid.state, paid.success_reported) == (State.SUCCEEDED, False)
    closed = Result(result_code="ORDER_IS_CLOSED", result_status="F")
    said = observed(Outcome.FAILED, source=Source.INQUIRY, result=closed)
    assert advance(refused, said).after.state is State.CANCELLED
    failed = advance(refused, observed(Outcome.FAILED, source=Source.INQUIRY))
    assert (failed.after.state, failed.conflict is None) == (State.PENDING, False)
    assert failed.after.disputed == refused.amount  # a person may refund it
    over = advance(failed.after, observed(Outcome.FAILED, source=Source.INQUIRY))
    assert (over.after.state, over.after.disputed) == (State.FAILED, refused.amount)


@pytest.mark.parametrize("outcome", [Outcome.ABSENT, Outcome.CLOSING, Outcome.CANCEL_REFUSED])
@pytest.mark.parametrize("state", [State.CREATED, State.PENDING, State.CLOSING])
def test_what_was_asked_under_an_older_claim_and_tells_of_absence_changes_nothing(outcome, state):
    before = evolve(CLOSING, state=state, claimed_until=LATER)
    for claim in (None, 1, 3):
        said = observed(outcome, source=Source.CANCEL, amount=None, claim=claim, next_call_at=NOON)
        assert advance(before, said).after == before


def absent(said_at, source=Source.CANCEL):
    return observed(Outcome.ABSENT, source=source, amount=None, claim=2, said_at=said_at)


def test_absence_closes_a_code_only_once_it_has_expired_by_alipaypluss_clock():
    before = LATER.replace(minute=0) - (LATER - NOON) / 60
    assert advance(ISSUED, absent(before)).after.state is State.CLOSING
    assert advance(ISSUED, absent(LATER)).after.state is State.FAILED
    assert advance(ISSUED, absent(None)).after.state is State.CLOSING
    assert advance(ISSUED, absent(LATER, Source.INQUIRY)).after.state is State.CLOSING
    paid = evolve(ISSUED, success_reported=True)
    assert advance(paid, absent(LATER)).after.state is State.CLOSING


def test_absence_closes_what_never_had_a_code_and_a_later_code_is_not_shown():
    assert advance(CLOSING, absent(NOON, Source.INQUIRY)).after.state is State.CLOSING
    closed = advance(CLOSING, absent(NOON)).after
    assert closed.state is State.FAILED
    late = advance(closed, evolve(NEWS, payment_id="P-1")).after
    assert (late.state, late.order_code) == (State.FAILED, None)


def test_a_refusal_of_a_request_whose_twin_was_accepted_says_nothing():
    accepted = evolve(ISSUED, state=State.PENDING)
    refused = observed(Outcome.REFUSED, source=Source.PAY, amount=None)
    assert advance(accepted, refused).after == accepted


def test_a_second_payment_id_of_a_paid_attempt_is_a_conflict_even_if_the_first_success_had_none():
    paid = evolve(BARE, state=State.SUCCEEDED, next_call_at=None)
    named = advance(paid, observed(Outcome.SUCCEEDED, payment_id="P-1"))
    assert (named.after.payment_id, named.conflict) == ("P-1", None)
    assert advance(named.after, observed(Outcome.SUCCEEDED, payment_id="P-2")).conflict is not None


def test_a_success_of_which_a_part_was_given_back_elsewhere_is_paid_and_told_to_a_person():
    said = observed(Outcome.SUCCEEDED, source=Source.INQUIRY, given_back=Amount("JPY", 200))
    transition = advance(ATTEMPT, said)
    assert transition.after.state is State.SUCCEEDED
    assert transition.conflict.reason == "paid 4200 JPY, of which 200 JPY were given back elsewhere"
    assert advance(transition.after, said).conflict is None


def test_the_money_of_a_conflict_can_be_refunded_and_ends_the_attempt():
    wrong = observed(Outcome.SUCCEEDED, amount=Amount("JPY", 1000))
    disputed = advance(ATTEMPT, wrong).after
    assert disputed.occupies_order
    assert admit_refund(disputed, [], REFUND) is None
    with pytest.raises(InvalidValue, match="expected at most 1000 JPY"):
        admit_refund(disputed, [], wanted(2, 1001))
    transition = advance(disputed, refunded(), [REFUND])
    assert transition.became_final
    assert transition.refund_became_final
    assert transition.after.state is State.CANCELLED
    assert not transition.after.occupies_order
    late = advance(evolve(ATTEMPT, state=State.FAILED), observed(Outcome.SUCCEEDED)).after
    assert late.occupies_order
    assert not evolve(late, refunded=4200).occupies_order


@pytest.mark.parametrize("state", [State.PENDING, State.FAILED])
def test_another_success_after_the_refund_of_disputed_money_occupies_the_order_again(state):
    """No cancelPayment was sent, so none returns it. In all only one amount was paid."""
    wrong = observed(Outcome.SUCCEEDED, amount=Amount("JPY", 1000))
    disputed = advance(evolve(ATTEMPT, state=state), wrong).after
    refunded_ = advance(disputed, refunded(), [REFUND]).after
    done = [evolve(REFUND, state=RefundState.SUCCEEDED)]
    assert not refunded_.occupies_order
    assert not advance(refunded_, wrong, done).after.occupies_order  # the same one, sent again
    transition = advance(refunded_, observed(Outcome.SUCCEEDED), done)
    assert transition.conflict is not None
    assert transition.after.occupies_order
    assert admit_refund(transition.after, done, wanted(2, 3200)) is None
    with pytest.raises(InvalidValue, match="expected at most 3200 JPY"):
        admit_refund(transition.after, done, wanted(2, 3201))


def test_an_outdated_refusal_of_a_refund_does_not_free_its_amount():
    again = evolve(REFUND, claim=2)
    outdated = refunded(RefundOutcome.REFUND_REFUSED, claim=1)
    transition = advance(PAID, outdated, [again])
    assert (transition.refund, transition.conflict) == (again, None)
    done = advance(PAID, refunded(claim=2), [again])
    assert advance(done.after, outdated, [done.refund]).conflict is None
    assert advance(PAID, refunded(claim=1), [again]).refund.state is RefundState.SUCCEEDED


def test_an_order_is_free_once_all_of_its_money_was_given_back():
    assert evolve(PAID, refunded=4199).occupies_order
    assert not evolve(PAID, refunded=4200).occupies_order


def test_refunds_of_another_payment_are_not_counted_against_this_one():
    other = wanted(1, 4200, payment_request_id="pay2")
    assert admit_refund(PAID, [other], wanted(3, 4200)) is None


def test_a_history_that_tells_of_a_refund_which_is_not_stored_is_refused_by_our_error():
    with pytest.raises(UnknownPayment, match="refund refund1: found no such refund"):
        timeline(PAID, [refunded()], [])
