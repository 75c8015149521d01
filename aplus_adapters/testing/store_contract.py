"""The pytest suite that every payment store must pass: subclass it to test your own store.

    class TestOurStore(PaymentStoreContract):
        @pytest.fixture
        def store(self):
            return OurStore(...)  # empty, shared by threads

Each test checks one promise of `payments.store.PaymentStore`. Tests of races run several rounds.
Their hooks sleep, so that a store which checks first and updates afterwards fails.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from attrs import evolve

from aplus_adapters.errors import InconsistentRetry, InvalidValue, TooManyAttempts, UnknownPayment
from aplus_adapters.payments.model import (
    OrderCode,
    Outcome,
    Refund,
    RefundObservation,
    RefundOutcome,
    RefundState,
    RefundTransition,
    Source,
    State,
)
from aplus_adapters.payments.policy import FAR, FARTHEST
from aplus_adapters.protocol.amounts import Amount
from aplus_adapters.testing.retention_contract import RetentionContract
from aplus_adapters.testing.search_contract import SearchContract
from aplus_adapters.testing.store_values import (
    LATER,
    NOON,
    WORKERS,
    a_refund,
    an_attempt,
    an_observation,
    at_once,
    attempt_to,
    expect,
    nothing,
)

if TYPE_CHECKING:
    from aplus_adapters.payments.model import Transition

__all__ = ["LATER", "PaymentStoreContract", "a_refund", "an_attempt", "an_observation", "nothing"]

_ROUNDS = 5
_GAP = 0.03  # seconds that a hook takes, so that other threads reach whatever is not locked


class PaymentStoreContract(SearchContract, RetentionContract):
    """The tests; a subclass defines a fixture `store` that is an empty store for each test."""

    def test_what_was_added_comes_back_whole(self, store: Any) -> None:
        """Check that every field is kept: times with microseconds, bytes unchanged."""
        code = OrderCode(
            text="https://c.example/1",
            images=(("BIGIMAGE", "https://c.example/i"),),
            expires_at=LATER,
        )
        attempt = an_attempt(
            order_code=code,
            payment_id="P",
            state=State.CLOSING,
            next_call_at=LATER,
            claim=7,
            claimed_until=LATER,
            success_reported=True,
            disputed=Amount("USD", 5),
            refunded=3,
        )
        assert store.add(attempt) == attempt
        assert store.get("pay1") == attempt == store.latest("A-1")

    def test_an_order_has_one_attempt_that_is_open_or_paid(self, store: Any) -> None:
        """Check that a second attempt is not stored and that the first is returned instead."""
        first = store.add(an_attempt(1))
        assert store.add(an_attempt(2)) == first
        assert store.get("pay2") is None
        store.record("pay1", an_observation(), nothing)
        assert store.add(an_attempt(3)).payment_request_id == "pay1"
        assert store.add(an_attempt(4, "A-2")).payment_request_id == "pay4"

    def test_a_closed_attempt_leaves_its_order_free(self, store: Any) -> None:
        """Check that an order gets a new attempt after failure or cancellation."""
        for number, outcome in enumerate((Outcome.FAILED, Outcome.CANCELLED, Outcome.REFUSED), 1):
            order_ref = f"A-{number}"
            store.add(an_attempt(number, order_ref))
            store.record(f"pay{number}", an_observation(outcome), nothing)
            second = an_attempt(number + 10, order_ref, created_at=LATER)
            assert store.add(second) == second == store.latest(order_ref)

    def test_the_same_id_is_the_same_content_or_refused(self, store: Any) -> None:
        """Check that an id is never used with another request body."""
        first = store.add(an_attempt(1))
        assert store.add(an_attempt(1)) == first
        expect(InconsistentRetry, store.add, an_attempt(1, request_body=b"other"))

    def test_what_does_not_exist_is_none_or_unknown(self, store: Any) -> None:
        """Check that an unknown id or order is None and stores nothing."""
        assert store.get("x") is None
        assert store.latest("x") is None

    def test_an_order_has_no_more_attempts_since_a_moment_than_it_may(self, store: Any) -> None:
        """Check that closed attempts count, and that older ones do not."""
        for number, made_at in ((1, NOON), (2, LATER)):
            store.add(an_attempt(number, created_at=made_at), 2, NOON)
            assert store.add(an_attempt(3), 2, NOON).payment_request_id == f"pay{number}"
            store.record(f"pay{number}", an_observation(Outcome.FAILED), nothing)
        expect(TooManyAttempts, store.add, an_attempt(3), 2, NOON)
        assert store.add(an_attempt(3), 2, LATER) == store.get("pay3")
        assert list(store.history("x")) == []
        assert list(store.refunds("x")) == []
        assert not store.claim("x", 0, LATER)
        assert not store.claim_refund("x", 0, LATER)
        expect(UnknownPayment, store.record, "x", an_observation(), nothing)
        expect(UnknownPayment, store.add_refund, a_refund(payment_request_id="x"))
        assert list(store.history("x")) == []

    def test_a_recorded_observation_changes_the_attempt_and_is_kept(self, store: Any) -> None:
        """Check that the hook gets the transition, and that state and history are stored."""
        store.add(an_attempt())
        seen: list[State] = []
        transition = store.record("pay1", an_observation(), lambda t, _: seen.append(t.after.state))
        assert transition.became_final
        assert seen == [State.SUCCEEDED]
        assert store.get("pay1") == transition.after
        assert list(store.history("pay1")) == [an_observation()]

    def test_when_the_hook_raises_nothing_at_all_is_stored(self, store: Any) -> None:
        """Check that neither state nor history changes, and that a later repeat succeeds."""
        store.add(an_attempt())

        def broken(_transition: Transition, _connection: Any) -> None:
            raise LookupError("the shop's own bug")

        expect(LookupError, store.record, "pay1", an_observation(), broken)
        assert store.get("pay1") == an_attempt()
        assert list(store.history("pay1")) == []
        assert store.record("pay1", an_observation(), nothing).became_final

    def test_a_claim_is_given_to_one_of_many(self, store: Any) -> None:
        """Check that one of many callers with the same token gets the claim and a new token."""
        for round_ in range(_ROUNDS):
            name = f"pay{round_}"
            store.add(an_attempt(round_, f"A-{round_}"))

            def take(number: int, name: str = name) -> Any:
                return store.claim(name, 0, LATER + timedelta(seconds=number))

            assert sorted(at_once(take)) == [False] * (WORKERS - 1) + [True]
            assert store.get(name).claim == 1
            assert store.get(name).claimed_until == store.get(name).next_call_at >= LATER

    def test_only_who_holds_a_claim_gives_it_back(self, store: Any) -> None:
        """Check that a claim which another worker took over cannot be released."""
        store.add(an_attempt())
        assert store.claim("pay1", 0, LATER)
        assert store.claim("pay1", 1, LATER)
        assert not store.release("pay1", 1, NOON)
        assert store.get("pay1").claimed_until == LATER
        assert store.release("pay1", 2, NOON)
        assert store.get("pay1") == an_attempt(claim=2)

    def test_of_many_new_attempts_at_once_one_is_kept(self, store: Any) -> None:
        """Check that every caller gets the same attempt."""
        for round_ in range(_ROUNDS):

            def add(number: int, round_: int = round_) -> Any:
                return store.add(an_attempt(round_ * 100 + number, f"A-{round_}"))

            assert len({attempt.payment_request_id for attempt in at_once(add)}) == 1

    def test_of_many_identical_observations_at_once_one_settles(self, store: Any) -> None:
        """Check that the hook runs once and that every observation is kept."""
        for round_ in range(_ROUNDS):
            name = f"pay{round_}"
            store.add(an_attempt(round_, f"A-{round_}"))
            seen: list[str] = []

            def slow_hook(transition: Transition, _connection: Any, seen: Any = seen) -> None:
                seen.append(transition.after.payment_request_id)
                time.sleep(_GAP)

            def record(_: int, name: str = name, hook: Any = slow_hook) -> Any:
                return store.record(name, an_observation(), hook)

            at_once(record)
            assert seen == [name]
            assert len(list(store.history(name))) == WORKERS

    def test_contradictions_at_once_settle_once_and_are_conflicts(self, store: Any) -> None:
        """Check that of paid and failed one settles, and that the other is a conflict."""
        for round_ in range(_ROUNDS):
            name = f"pay{round_}"
            store.add(an_attempt(round_, f"A-{round_}"))
            sides = (an_observation(), an_observation(Outcome.FAILED))

            def record(number: int, name: str = name, sides: Any = sides) -> Any:
                return store.record(name, sides[number % 2], lambda *_: time.sleep(_GAP))

            transitions: list[Transition] = at_once(record)
            assert [change.became_final for change in transitions].count(True) == 1
            assert any(change.conflict for change in transitions)
            settled = next(change.after.state for change in transitions if change.became_final)
            assert store.get(name).state is settled

    def test_due_are_the_open_ones_longest_waiting_first(self, store: Any) -> None:
        """Check that open attempts come in the order of their next call, and final ones never."""
        for number, seconds in enumerate([5, 1, 9, 3]):
            when = NOON + timedelta(seconds=seconds)
            store.add(an_attempt(number, f"A-{number}", next_call_at=when))
        store.record("pay1", an_observation(), nothing)
        now = NOON + timedelta(seconds=5)
        assert [due.payment_request_id for due in store.due(now, 10, ["C"])] == ["pay3", "pay0"]
        assert [due.payment_request_id for due in store.due(now, 1, ["C"])] == ["pay3"]

    def test_what_a_wrong_clock_planned_far_ahead_is_due(self, store: Any) -> None:
        """Check that an attempt is due if a fast clock planned its call too far ahead."""
        second, money = timedelta(seconds=1), Amount("JPY", 1)
        store.add(an_attempt(1, "A-1", next_call_at=NOON + FAR))
        store.add(an_attempt(2, "A-2", next_call_at=NOON + FAR + second))
        store.add(an_attempt(3, "A-3", next_call_at=NOON + FARTHEST, disputed=money))
        store.add(an_attempt(4, "A-4", next_call_at=NOON + FARTHEST + second, disputed=money))
        due = store.due(NOON, 10, ["C"])
        assert [attempt.payment_request_id for attempt in due] == ["pay2", "pay4"]

    def test_what_belongs_to_an_account_of_others_is_left_to_them(self, store: Any) -> None:
        """Check that attempts, refunds and conflicts of other accounts are not returned."""
        self._paid(store)
        store.add_refund(a_refund())
        store.add(an_attempt(2, "A-2"))
        wrong = an_observation(amount=Amount("JPY", 1))
        store.record("pay2", wrong, nothing)
        for search in (store.due, store.due_refunds):
            assert len(search(LATER, 10, ["C", "D"])) == 1
            assert list(search(LATER, 10, ["D"])) == []
        assert len(store.unreported_conflicts(10, ["C"])) == 1
        assert list(store.unreported_conflicts(10, ["D"])) == []

    def test_a_final_attempt_is_never_claimed(self, store: Any) -> None:
        """Check that no worker can claim a final attempt."""
        store.add(an_attempt())
        store.record("pay1", an_observation(), nothing)
        assert not store.claim("pay1", 0, LATER)
        assert not store.release("pay1", 0, LATER)

    def test_a_claim_survives_what_others_observe(self, store: Any) -> None:
        """Check that an observation ends the claim only if it was made under that claim."""
        store.add(an_attempt())
        store.claim("pay1", 0, NOON)
        store.claim("pay1", 1, LATER)
        store.record("pay1", an_observation(Outcome.IN_PROCESS, amount=None), nothing)
        stale = an_observation(Outcome.ABSENT, source=Source.CANCEL, claim=1, next_call_at=NOON)
        store.record("pay1", evolve(stale, amount=None), nothing)
        held = store.get("pay1")
        assert (held.state, held.claim, held.claimed_until) == (State.CREATED, 2, LATER)
        current = an_observation(
            Outcome.IN_PROCESS, claim=2, next_call_at=LATER + timedelta(seconds=9)
        )
        after = store.record("pay1", current, nothing).after
        assert store.get("pay1") == after
        assert (after.claimed_until, after.next_call_at) == (None, current.next_call_at)

    def test_late_money_occupies_its_order_until_it_is_refunded(self, store: Any) -> None:
        """Check that the order gets no new attempt before the disputed money is refunded."""
        store.add(an_attempt())
        store.record("pay1", an_observation(Outcome.FAILED), nothing)
        store.add(an_attempt(5, created_at=LATER))
        store.record("pay5", an_observation(Outcome.FAILED), nothing)
        store.record("pay1", an_observation(), nothing)
        assert store.get("pay1").disputed == Amount("JPY", 4200)
        assert store.latest("A-1") == store.get("pay1")
        assert store.add(an_attempt(2, created_at=LATER)).payment_request_id == "pay1"
        store.add_refund(a_refund(1, 4200))
        store.record("pay1", evolve(self._refunded(1), claim=0), nothing)
        assert store.get("pay1").is_refunded
        assert store.add(an_attempt(2, created_at=LATER)).payment_request_id == "pay2"

    def test_late_money_occupies_its_order_once_a_newer_attempt_is_over(self, store: Any) -> None:
        """Check that the newer attempt stays the one of its order until then."""
        store.add(an_attempt())
        store.record("pay1", an_observation(Outcome.FAILED), nothing)
        newer = store.add(an_attempt(2, created_at=LATER))
        store.record("pay1", an_observation(), nothing)
        assert store.add(an_attempt(3, created_at=LATER)) == newer
        store.record("pay2", an_observation(Outcome.FAILED), nothing)
        assert store.add(an_attempt(3, created_at=LATER)) == store.get("pay1")

    def test_a_conflict_is_handed_out_until_it_is_reported(self, store: Any) -> None:
        """Check that a repeated conflict is one conflict, and that the history keeps each time."""
        store.add(an_attempt())
        wrong = an_observation(amount=Amount("JPY", 1))
        first = store.record("pay1", wrong, nothing).conflict
        second = store.record("pay1", wrong, nothing).conflict
        assert first is not None
        assert second is not None
        assert first.key == second.key
        (pending,) = store.unreported_conflicts(10, ["C"])
        assert (pending.key, pending.reason) == (first.key, first.reason)
        assert pending.observation == wrong
        store.conflict_reported(first)
        assert list(store.unreported_conflicts(10, ["C"])) == []
        assert store.record("pay1", wrong, nothing).conflict is None
        assert len(list(store.history("pay1"))) == 3

    def test_a_refund_comes_back_whole_and_is_the_same_by_its_id(self, store: Any) -> None:
        """Check that a refund is kept whole, and that its id is refused with other content."""
        self._paid(store)
        refund = a_refund()
        assert store.add_refund(refund) == refund == store.add_refund(refund)
        assert list(store.refunds("pay1")) == [refund]
        expect(InconsistentRetry, store.add_refund, a_refund(value=1))

    def test_only_what_is_paid_and_not_more_is_refunded(self, store: Any) -> None:
        """Check that open payments, other currencies and too large sums are refused."""
        store.add(an_attempt())
        expect(InvalidValue, store.add_refund, a_refund())
        store.record("pay1", an_observation(), nothing)
        store.add_refund(a_refund(1, 4000))
        expect(InvalidValue, store.add_refund, a_refund(2, 201))
        expect(InvalidValue, store.add_refund, a_refund(3, amount=Amount("USD", 1)))
        assert store.add_refund(a_refund(4, 200))
        store.record("pay1", self._refunded(1, refused=True), nothing)
        assert store.add_refund(a_refund(5, 4000))  # a refused refund frees its amount
        assert len(list(store.refunds("pay1"))) == 3

    def test_refunds_at_once_never_exceed_what_was_paid(self, store: Any) -> None:
        """Check that four of eight refunds of 1000 are stored for a payment of 4200."""
        self._paid(store)
        answers = at_once(lambda number: attempt_to(store.add_refund, a_refund(number)))
        assert [isinstance(answer, Refund) for answer in answers].count(True) == 4
        assert sum(refund.amount.value for refund in store.refunds("pay1")) <= 4200

    def test_a_refund_is_settled_once_with_the_hook_inside(self, store: Any) -> None:
        """Check that the hook runs once, and that the payment itself stays paid."""
        self._paid(store)
        store.add_refund(a_refund())
        seen: list[Any] = []
        refunded = self._refunded(1)

        def hook(transition: Transition, _connection: Any) -> None:
            assert isinstance(transition, RefundTransition)
            seen.append(transition.refund.state)

        transition = store.record("pay1", refunded, hook)
        assert transition.refund_became_final
        assert not transition.became_final
        assert not store.record("pay1", refunded, hook).refund_became_final
        assert seen == [RefundState.SUCCEEDED]
        (stored,) = store.refunds("pay1")
        assert stored == transition.refund
        assert (stored.refund_id, stored.next_call_at) == ("R-1", None)
        assert store.get("pay1").state is State.SUCCEEDED
        assert list(store.history("pay1"))[1:] == [refunded, refunded]
        expect(UnknownPayment, store.record, "pay1", self._refunded(9), hook)

    def test_open_refunds_are_due_and_given_to_one_of_many(self, store: Any) -> None:
        """Check that open refunds come in order and are claimed once, as attempts are."""
        self._paid(store)
        for number, seconds in enumerate([5, 1, 9]):
            when = NOON + timedelta(seconds=seconds)
            store.add_refund(a_refund(number, 10, next_call_at=when))
        now = NOON + timedelta(seconds=5)
        due = [refund.refund_request_id for refund in store.due_refunds(now, 10, ["C"])]
        assert due == ["refund1", "refund0"]
        first = store.due_refunds(now, 1, ["C"])
        assert [refund.refund_request_id for refund in first] == ["refund1"]
        taken = at_once(lambda _: store.claim_refund("refund2", 0, LATER))
        assert sorted(taken) == [False] * (WORKERS - 1) + [True]
        store.record("pay1", self._refunded(1), nothing)
        assert not store.claim_refund("refund1", 0, LATER)
        assert not store.release_refund("refund1", 0, LATER)
        assert not store.release_refund("refund2", 0, NOON)
        assert store.release_refund("refund2", 1, NOON)
        (released,) = [r for r in store.refunds("pay1") if r.refund_request_id == "refund2"]
        assert (released.claim, released.claimed_until, released.next_call_at) == (1, None, NOON)

    def _paid(self, store: Any) -> None:
        store.add(an_attempt())
        store.record("pay1", an_observation(), nothing)

    def _refunded(self, number: int, *, refused: bool = False) -> RefundObservation:
        return RefundObservation(
            source=Source.REFUND,
            outcome=RefundOutcome.REFUND_REFUSED if refused else RefundOutcome.REFUNDED,
            at=LATER,
            client_id="C",
            amount=Amount("JPY", 4000) if refused else None,
            refund_request_id=f"refund{number}",
            refund_id="R-1",
            claim=0,
        )
