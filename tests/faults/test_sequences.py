"""Late, doubled, reordered and contradictory observations: nothing illegal, nothing unreported."""

import os

from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aplus_adapters import Amount, MemoryStore, Outcome, Source, State
from aplus_adapters.testing.store_contract import LATER, an_attempt, an_observation

SEQUENCES = 10_000 if os.environ.get("APLUS_LONG") else 300
OBSERVATIONS = st.builds(
    an_observation,
    st.sampled_from(Outcome),
    source=st.sampled_from(Source),
    at=st.integers(0, 999_999).map(lambda n: LATER.replace(microsecond=n)),
    amount=st.sampled_from(
        [Amount("JPY", 4200)] * 6 + [Amount("JPY", 1), Amount("USD", 4200), None]
    ),
    payment_id=st.sampled_from(["P-1"] * 6 + ["P-2", None]),
)
ENDS = {State.CLOSING, State.SUCCEEDED, State.FAILED, State.CANCELLED}
LEGAL = {
    State.CREATED: {State.CREATED, State.PENDING, *ENDS},
    State.PENDING: {State.PENDING, *ENDS},
    State.CLOSING: {State.CLOSING, State.FAILED, State.CANCELLED},
}


def contradicts(attempt, said):
    """Say by rules of their own what is a contradiction; the state table is not asked."""
    state, payment_id = attempt.state, attempt.payment_id
    # The cancellation gave back just the money that did not fit.
    gives_back = said.outcome is Outcome.RETURNED and said.amount == attempt.disputed
    wrong_amount = said.amount not in (None, Amount("JPY", 4200)) and not gives_back
    blind_success = said.amount is None and said.outcome is Outcome.SUCCEEDED
    wrong_id = None not in (said.payment_id, payment_id) and said.payment_id != payment_id
    paid = state is State.SUCCEEDED
    closed = state in (State.FAILED, State.CANCELLED)
    takes_back = paid and said.outcome in (Outcome.FAILED, Outcome.CANCELLED, Outcome.RETURNED)
    # An inquiry may lag behind; what Alipay+ tells by itself is a failure, however it is worded.
    told_absent = said.outcome is Outcome.ABSENT and said.source is Source.NOTIFICATION
    too_late = closed and said.outcome is Outcome.SUCCEEDED
    takes_back = takes_back or (paid and told_absent)
    return wrong_amount or blind_success or wrong_id or takes_back or too_late


def test_no_sequence_of_observations_moves_an_attempt_illegally_or_hides_a_contradiction():
    count = 0

    @settings(
        max_examples=SEQUENCES,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(st.lists(OBSERVATIONS, min_size=1, max_size=12))
    def run(sequence):
        nonlocal count
        count += 1
        store = MemoryStore()
        store.add(an_attempt())
        told, contradictions = [], 0
        for said in sequence:
            before = store.get("pay1")
            transition = store.record("pay1", said, lambda t, _: told.append(t.after.state))
            after = store.get("pay1")
            assert after == transition.after
            assert after.state in LEGAL.get(before.state, {before.state})
            expected = contradicts(before, said)
            assert (transition.conflict is not None) == expected
            contradictions += expected
            if expected or before.state.is_final:
                kept = {"disputed": None, "success_reported": False, "payment_id": None}
                kept["last_answer"] = None
                assert evolve(after, **kept) == evolve(before, **kept)
        assert len(told) == after.state.is_final
        assert sum(line.count for line in store.history("pay1")) == len(sequence)
        assert bool(store.unreported_conflicts(99, ["C"])) == bool(contradictions)

    run()
    print(f"{count} sequences, 0 illegal transitions, every contradiction reported")
    assert count >= SEQUENCES
