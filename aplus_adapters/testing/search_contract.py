"""The part of the store contract that operators rely on: pages, conflicts, and what came last."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

from aplus_adapters.payments.model import Outcome, Source, State
from aplus_adapters.payments.search import Page, PaymentFilter
from aplus_adapters.protocol.amounts import Amount
from aplus_adapters.testing.store_values import (
    LATER,
    NOON,
    an_attempt,
    an_observation,
    at_once,
    nothing,
)

__all__ = ["SearchContract"]

_SECOND = timedelta(seconds=1)


class SearchContract:
    """Tests of a store's answers to operators; `PaymentStoreContract` inherits them."""

    def test_pages_show_each_payment_once_in_the_order_of_creation(self, store: Any) -> None:
        """Check the order in both directions, and that new payments shift no page."""
        assert store.find_page(PaymentFilter(), 9) == Page(attempts=())
        for second, numbers in enumerate(((4,), (6, 7), (1, 2), (3, 5))):
            for number in numbers:
                created = NOON + _SECOND * second
                store.add(an_attempt(number, f"A-{number}", created_at=created))
        newest_first = [f"pay{number}" for number in (5, 3, 2, 1, 7, 6, 4)]
        assert _ids(store.find_page(PaymentFilter(), 99)) == newest_first
        for limit in (1, 2, 3, 7):
            assert _walk(store, limit) == newest_first
            assert _walk(store, limit, oldest_first=True) == newest_first[::-1]
        first = store.find_page(PaymentFilter(), 3)
        store.add(an_attempt(9, "A-9", created_at=LATER))
        assert _ids(store.find_page(PaymentFilter(after=first.after), 3)) == newest_first[3:6]
        assert first.attempts[0] == store.get("pay5")

    def test_a_page_holds_what_meets_every_condition(self, store: Any) -> None:
        """Check each filter alone, and filters together."""
        self._five_payments(store)
        third, fourth = NOON + 3 * _SECOND, NOON + 4 * _SECOND
        for conditions, expected in (
            ({}, ["pay5", "pay4", "pay3", "pay2", "pay1"]),
            ({"state": State.SUCCEEDED}, ["pay4", "pay2"]),
            ({"state": State.CLOSING}, []),
            ({"account": "D"}, ["pay5", "pay4"]),
            ({"account": "E"}, []),
            ({"wallet": "WALLET"}, ["pay4", "pay2"]),
            ({"wallet": "KAKAOPAY"}, ["pay3"]),
            ({"wallet": "OTHER"}, []),
            ({"order_ref": "A-2"}, ["pay2"]),
            ({"order_ref": "A-9"}, []),
            ({"since": third}, ["pay5", "pay4", "pay3"]),
            ({"until": third}, ["pay2", "pay1"]),
            ({"since": third, "until": fourth}, ["pay3"]),
            ({"state": State.SUCCEEDED, "account": "C"}, ["pay2"]),
            ({"state": State.FAILED, "wallet": "KAKAOPAY"}, ["pay3"]),
            ({"state": State.FAILED, "wallet": "WALLET"}, []),
            ({"account": "D", "wallet": "WALLET"}, ["pay4"]),
            ({"order_ref": "A-2", "state": State.FAILED}, []),
            ({"order_ref": "A-2", "account": "C", "since": NOON}, ["pay2"]),
            ({"account": "C", "state": State.SUCCEEDED, "until": NOON}, []),
        ):
            assert _walk(store, 2, **conditions) == expected, conditions
            assert _walk(store, 2, **conditions, oldest_first=True) == expected[::-1], conditions

    def test_a_wallets_long_name_is_kept_whole_and_found(self, store: Any) -> None:
        """Check that a name beyond every index is stored, and found by its beginning."""
        store.add(an_attempt())
        name = "W" * 5000
        store.record("pay1", an_observation(wallet=name), nothing)
        assert store.get("pay1").wallet == name
        assert _walk(store, 2, wallet=name) == ["pay1"]

    def test_a_payment_needs_attention_until_its_last_conflict_is_resolved(
        self, store: Any
    ) -> None:
        """Check that two conflicts of one payment are two, and that each can be resolved."""
        self._five_payments(store)
        assert _walk(store, 2, needs_attention=True) == []
        for value in (1, 2):
            store.record("pay1", an_observation(amount=Amount("JPY", value)), nothing)
        store.record("pay2", an_observation(Outcome.FAILED), nothing)
        assert _walk(store, 1, needs_attention=True) == ["pay2", "pay1"]
        assert _walk(store, 1, needs_attention=True, state=State.SUCCEEDED) == ["pay2"]
        first, second, third = store.conflicts(None, 9, None)
        store.resolve_conflict(first.key, LATER, "Mei", "asked Alipay+")
        assert _walk(store, 1, needs_attention=True) == ["pay2", "pay1"]
        store.resolve_conflict(second.key, LATER, "Mei", "refunded")
        assert _walk(store, 1, needs_attention=True) == ["pay2"]
        store.resolve_conflict(third.key, LATER, "Mei", "a wrong notification")
        assert _walk(store, 1, needs_attention=True) == []

    def test_conflicts_are_listed_oldest_first_until_somebody_resolves_them(
        self, store: Any
    ) -> None:
        """Check the order, the pages, the payment as it is now, and what stays of a conflict."""
        self._five_payments(store)
        for value in (1, 2, 3):
            store.record("pay1", an_observation(amount=Amount("JPY", value)), nothing)
        store.record("pay2", an_observation(Outcome.FAILED), nothing)
        records = list(store.conflicts(None, 9, None))
        ids = [record.conflict.attempt.payment_request_id for record in records]
        assert ids == ["pay1", "pay1", "pay1", "pay2"]
        assert records[0].conflict.observation.amount == Amount("JPY", 1)
        assert records[0].conflict.attempt == store.get("pay1")
        assert not any(record.is_reported or record.is_resolved for record in records)
        assert list(store.conflicts(None, 2, None)) == records[:2]
        assert list(store.conflicts(None, 2, records[1].key)) == records[2:]
        assert list(store.conflicts(None, 2, "unknown")) == []
        store.conflict_reported(records[0].conflict)
        resolved = store.resolve_conflict(records[0].key, LATER, "Mei", "refunded 支付")
        assert (resolved.is_reported, resolved.resolved_at) == (True, LATER)
        assert (resolved.resolved_by, resolved.note) == ("Mei", "refunded 支付")
        assert list(store.conflicts(None, 9, None)) == records[1:]
        assert list(store.conflicts("pay1", 9, None)) == [resolved, *records[1:3]]
        assert list(store.conflicts("pay1", 9, records[1].key)) == [records[2]]
        assert list(store.conflicts("pay3", 9, None)) == []

    def test_a_conflict_is_resolved_once_and_stays_resolved(self, store: Any) -> None:
        """Check that of many the first one counts, also if the same contradiction comes again."""
        store.add(an_attempt())
        wrong = an_observation(amount=Amount("JPY", 1))
        store.record("pay1", wrong, nothing)
        (record,) = store.conflicts(None, 9, None)
        answers = at_once(lambda n: store.resolve_conflict(record.key, LATER, f"{n}", f"by {n}"))
        assert len({(answer.resolved_by, answer.note) for answer in answers}) == 1
        assert len(store.unreported_conflicts(9, ["C"])) == 1  # the shop's hook is still owed
        store.record("pay1", wrong, nothing)
        assert list(store.conflicts(None, 9, None)) == []
        assert list(store.conflicts("pay1", 9, None)) == answers[:1]
        assert _walk(store, 1, needs_attention=True) == []
        assert store.resolve_conflict("unknown", LATER, "Mei", "nothing") is None

    def test_inquiries_that_bring_the_same_answer_are_one_line_with_a_count(
        self, store: Any
    ) -> None:
        """Check that an open page leaves one line, and that anything else begins a new one."""
        store.add(an_attempt())

        def inquire(second: int, **changes: Any) -> None:
            at = NOON + timedelta(seconds=second)
            changes = {"source": Source.INQUIRY, "at": at, "said_at": at, **changes}
            store.record("pay1", an_observation(Outcome.IN_PROCESS, **changes), nothing)

        for second in range(40):
            inquire(second)
        (line,) = store.history("pay1")
        ends = NOON, NOON + timedelta(seconds=39)
        assert (line.count, line.first_at, line.at, line.said_at) == (40, *ends, ends[1])
        inquire(40, wallet="ANOTHER WALLET")
        inquire(41, source=Source.NOTIFICATION)
        inquire(42)
        inquire(43)
        assert [line.count for line in store.history("pay1")] == [40, 1, 1, 2]
        assert list(store.recent(Source.INQUIRY, 1)) == [store.history("pay1")[-1]]
        store.add(an_attempt(2, "A-2"))
        at = NOON + timedelta(seconds=44)
        same = an_observation(Outcome.IN_PROCESS, source=Source.INQUIRY, at=at)
        store.record("pay2", same, nothing)
        assert list(store.history("pay2")) == [same]
        assert store.history("pay1")[-1].count == 2

    def test_the_last_observations_of_a_source_come_newest_first(self, store: Any) -> None:
        """Check that observations of all payments are looked through, of one source at a time."""
        self._five_payments(store)
        assert list(store.recent(Source.PAY, 9)) == []
        for seconds, number in enumerate((1, 5, 3)):
            observation = an_observation(
                Outcome.IN_PROCESS,
                source=Source.INQUIRY,
                at=LATER + seconds * _SECOND,
                client_id=store.get(f"pay{number}").client_id,
            )
            store.record(f"pay{number}", observation, nothing)
        moments = [inquiry.at for inquiry in store.recent(Source.INQUIRY, 9)]
        assert moments == [LATER + seconds * _SECOND for seconds in (2, 1, 0)]
        assert [inquiry.at for inquiry in store.recent(Source.INQUIRY, 2)] == moments[:2]
        last = an_observation(Outcome.ABSENT, source=Source.CANCEL, at=LATER + 9 * _SECOND)
        store.record("pay1", last, nothing)
        assert list(store.recent(Source.CANCEL, 1)) == [last]

    def test_of_moments_that_are_noted_the_latest_is_kept(self, store: Any) -> None:
        """Check that many may note at once, and that no moment goes back."""
        assert store.noted("round") is None
        for name in ("first", "second", "third", "fourth", "round"):
            at_once(partial(_note, store, name))
            assert store.noted(name) == NOON + 7 * _SECOND
        store.note("round", NOON)
        assert store.noted("round") == NOON + 7 * _SECOND
        store.note("round", LATER)
        assert store.noted("round") == LATER
        assert store.noted("first") == NOON + 7 * _SECOND
        assert store.noted("other") is None

    def _five_payments(self, store: Any) -> None:
        """Store pay1 to pay3 of account C and pay4, pay5 of D; some are paid, pay3 has failed."""
        for number in range(1, 6):
            account = "C" if number < 4 else "D"
            created = NOON + number * _SECOND
            store.add(an_attempt(number, f"A-{number}", client_id=account, created_at=created))
        store.record("pay2", an_observation(), nothing)
        store.record("pay3", an_observation(Outcome.FAILED, wallet="KAKAOPAY"), nothing)
        store.record("pay4", an_observation(client_id="D"), nothing)


def _note(store: Any, name: str, number: int) -> None:
    store.note(name, NOON + number * _SECOND)


def _ids(page: Page) -> list[str]:
    return [attempt.payment_request_id for attempt in page]


def _walk(store: Any, limit: int, **conditions: Any) -> list[str]:
    """Return the ids of all pages in turn; no page but the last may be short."""
    ids: list[str] = []
    after = None
    while True:
        page = store.find_page(PaymentFilter(**conditions, after=after), limit)
        ids += _ids(page)
        if page.after is None:
            return ids
        assert len(page) == limit, "a page with a following one is full"
        assert len(ids) == len(set(ids)), "no payment is on two pages"
        after = page.after
