"""What operators ask: pages of payments, conflicts and their resolution, and the health of it all."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from attrs import evolve

from aplus_adapters import Amount, Health, InvalidValue, PaymentFilter, State, StoreError
from aplus_adapters.payments.effects import Send
from aplus_adapters.payments.search import page_key
from support.gateway import DOWN, OPEN, PAID, asked, inquired, notified
from support.shop import NOON

REFUSED = {"resultCode": "RISK_REJECT", "resultStatus": "F", "resultMessage": "no"}
OTHER = {"paymentAmount": {"currency": "EUR", "value": "4200"}}


class Calls:
    """Calls a method of AplusPay, or its awaiting twin."""

    def __init__(self, pay, *, awaiting):
        self.pay, self.awaiting = pay, awaiting

    def __getattr__(self, name):
        if self.awaiting:
            method = getattr(self.pay, f"{name}_async")
            return lambda *args, **options: asyncio.run(method(*args, **options))
        return getattr(self.pay, name)


@pytest.fixture(params=["blocking", "awaiting"])
def calls(request, pay, gateway):
    awaiting = request.param == "awaiting"
    if awaiting:
        pay.async_performer._table[Send] = lambda e: gateway.send_async(e.request, e.timeout)
    yield Calls(pay, awaiting=awaiting)
    if awaiting:
        asyncio.run(pay.aclose())


@pytest.fixture
def disputed(pay, gateway, start, clock):
    """A payment that Alipay+ calls paid with another amount."""
    attempt = start("A-7")
    clock.moment = attempt.next_call_at
    gateway.script["inquiryPayment"] = [{**inquired(attempt, PAID), **OTHER}]
    return asked(pay, attempt)


def refs(page):
    return [attempt.order_ref for attempt in page]


def test_payments_are_listed_page_by_page_the_newest_first(calls, start, clock):
    for number in range(5):
        start(f"A-{number}")
        clock.moment += timedelta(minutes=1)
    first = calls.list(limit=2)
    assert (refs(first), len(first)) == (["A-4", "A-3"], 2)
    second = calls.list(limit=2, after=first.after)
    assert refs(second) == ["A-2", "A-1"]
    last = calls.list(limit=2, after=second.after)
    assert (refs(last), last.after) == (["A-0"], None)
    assert refs(calls.list(oldest_first=True, limit=2)) == ["A-0", "A-1"]


def test_operators_find_payments_by_what_they_know_of_them(calls, pay, start, paid, clock):
    second = start("A-2")
    for conditions, expected in (
        ({}, {"A-1", "A-2"}),
        ({"state": State.SUCCEEDED}, {"A-1"}),
        ({"state": State.PENDING, "account": "CLIENT-1"}, {"A-2"}),
        ({"order_ref": "A-2"}, {"A-2"}),
        ({"account": "CLIENT-2"}, set()),
        ({"wallet": "KAKAOPAY"}, set()),
        ({"since": second.created_at}, {"A-2"}),
        ({"until": second.created_at}, {"A-1"}),
    ):
        assert set(refs(calls.list(**conditions))) == expected, conditions


WRONG = {
    "state": ("paid", "payments state: found str 'paid', expected a State"),
    "since": (NOON.replace(tzinfo=None), "payments since: .* expected a time zone too"),
    "until": ("yesterday", "payments until: found str 'yesterday', expected a datetime"),
    "order_ref": (1001, "payments order_ref: found int '1001', expected text"),
    "after": ("pay1", "payments after: found 'pay1', expected the `after` of a page"),
    "limit": (0, "limit: found 0, expected a whole number from 1 to 1000"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_asked_is_refused_with_what_to_write(calls, name):
    value, message = WRONG[name]
    with pytest.raises(InvalidValue, match=message):
        calls.list(**{name: value})
    with pytest.raises(InvalidValue, match=r"limit: found 1001"):
        calls.conflicts(limit=1001)


def test_the_key_of_a_page_is_the_same_in_every_time_zone():
    moment = datetime(2026, 11, 23, 12, 0, 0, 7, tzinfo=UTC)
    key = page_key(moment.astimezone(), "pay1")
    assert PaymentFilter(after=key).position == (moment, "pay1")
    with pytest.raises(InvalidValue, match="payments after"):
        PaymentFilter(after="20261340T120000.000000-pay1")  # there is no 13th month


def test_a_conflict_waits_for_a_person_who_says_what_was_done(calls, disputed, clock):
    assert refs(calls.list(needs_attention=True)) == ["A-7"]
    (record,) = calls.conflicts()
    assert record.is_reported
    assert record.conflict.attempt.disputed == Amount("EUR", 4200)
    clock.moment += timedelta(hours=1)
    resolved = calls.resolve_conflict(record.key, note="refunded by hand", by="Mei")
    assert resolved == evolve(
        record, resolved_at=clock.moment, resolved_by="Mei", note="refunded by hand"
    )
    assert calls.resolve_conflict(record.key, note="again", by="Bob") == resolved
    assert calls.conflicts() == []
    assert refs(calls.list(needs_attention=True)) == []
    assert calls.conflicts(disputed.payment_request_id) == [resolved]
    assert calls.find(disputed.payment_request_id).state is State.PENDING


def test_conflicts_are_listed_page_by_page_the_oldest_first(calls, start, gateway, clock):
    for ref in ("A-1", "A-2", "A-3"):
        attempt = start(ref)
        clock.moment = attempt.next_call_at
        gateway.script["inquiryPayment"] = [{**inquired(attempt, PAID), **OTHER}]
        asked(calls.pay, attempt)
    keys = [record.key for record in calls.conflicts()]
    assert len(keys) == 3
    assert [record.key for record in calls.conflicts(limit=2)] == keys[:2]
    assert [record.key for record in calls.conflicts(limit=2, after=keys[1])] == keys[2:]
    assert calls.conflicts(after=keys[2]) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"key": "nothing"}, r"found no conflict 'nothing' in the store, expected .*conflicts\(\)"),
        ({"note": " "}, "resolve_conflict note: found ' ', expected a text of 1 to 4000"),
        ({"by": ""}, "resolve_conflict by: found '', .* that says who"),
        ({"by": "x" * 201}, "resolve_conflict by: found 'xxx"),
        ({"note": None}, "resolve_conflict note: found 'None'"),
    ],
)
def test_a_conflict_is_not_resolved_by_a_mistake(calls, disputed, arguments, message):
    (record,) = calls.conflicts()
    said = {"key": record.key, "note": "refunded", "by": "Mei", **arguments}
    with pytest.raises(InvalidValue, match=message):
        calls.resolve_conflict(**said)
    assert calls.conflicts() == [record]


def test_of_a_shop_without_payments_there_is_nothing_to_say(calls, clock):
    health = calls.health()
    assert health == Health(at=clock.moment)
    assert (health.overdue, health.refused_share) == (timedelta(0), 0.0)


def test_the_wallet_that_an_inquiry_names_is_found(calls, start, gateway, clock):
    attempt = start("A-1")
    clock.moment = attempt.next_call_at
    gateway.script["inquiryPayment"] = [inquired(attempt, PAID, walletBrandName="KAKAOPAY")]
    assert asked(calls.pay, attempt).wallet == "KAKAOPAY"
    assert refs(calls.list(wallet="KAKAOPAY")) == ["A-1"]


def test_health_says_which_payment_was_forgotten_and_that_reconcile_runs(
    calls, start, gateway, clock
):
    attempt = start("A-1")
    clock.moment += timedelta(seconds=1)
    start("A-2")
    assert calls.health().longest_waiting is None
    assert calls.health().oldest_open == attempt
    clock.moment = attempt.next_call_at + timedelta(minutes=5)
    health = calls.health()
    assert (health.longest_waiting, health.overdue) == (attempt, timedelta(minutes=5))
    assert health.last_reconcile is None
    gateway.script |= {"inquiryPayment": [DOWN], "cancelPayment": [DOWN]}
    calls.reconcile()
    health = calls.health()
    assert health.longest_waiting is None
    assert health.oldest_open.order_ref == "A-1"  # asked about, and still open
    assert health.last_reconcile == health.at == clock.moment


def test_the_oldest_open_payment_is_found_whatever_its_state(calls, start, gateway, clock):
    first = start("A-1")
    clock.moment += timedelta(seconds=1)
    gateway.script["pay"] = [DOWN]
    second = start("A-2")
    assert (first.state, second.state) == (State.PENDING, State.CREATED)
    assert calls.health().oldest_open == first


def test_health_says_that_a_refund_waits(calls, pay, paid, gateway, clock):
    gateway.script["refund"] = [DOWN]
    refund = pay.refund(paid.payment_request_id, refund_request_id="credit-note-77")
    clock.moment = refund.next_call_at + timedelta(minutes=2)
    health = calls.health()
    assert (health.refund_due_at, health.overdue) == (refund.next_call_at, timedelta(minutes=2))


def test_health_says_when_the_last_notification_came(calls, pay, start, alipayplus, clock):
    attempt = start("A-1")
    clock.moment += timedelta(seconds=30)
    notified(pay, alipayplus, clock, alipayplus.notification(attempt))
    came = clock.moment
    clock.moment += timedelta(days=2)
    health = calls.health()
    assert (health.last_notification, health.oldest_open) == (came, None)


@pytest.mark.parametrize("seconds", [-240, 0, 300])
def test_health_compares_our_clock_with_alipayplus(calls, start, gateway, clock, seconds):
    answer = gateway.answer

    def skewed(request, content, **options):
        clock.moment -= timedelta(seconds=seconds)
        signed = answer(request, content, **options)
        clock.moment += timedelta(seconds=seconds)
        return signed

    gateway.answer = skewed
    start("A-1")
    assert abs(calls.health().clock_ahead - timedelta(seconds=seconds)) < timedelta(seconds=1)


def test_health_counts_the_calls_that_alipayplus_refused(calls, start, gateway, clock):
    gateway.script["pay"] = [{"result": REFUSED}, "code", "code", "code"]
    for number in range(4):
        start(f"A-{number}")
    health = calls.health()
    assert (health.calls, health.refused, health.refused_share) == (4, 1, 0.25)
    clock.moment += timedelta(hours=25)
    assert (calls.health().calls, calls.health().refused_share) == (0, 0.0)


def test_health_counts_conflicts_that_nobody_knows_or_nobody_settled(
    calls, pay, start, shop, gateway, clock
):
    attempt = start("A-7")
    gateway.script["inquiryPayment"] = [{**inquired(attempt, PAID), **OTHER}]
    shop.payment_conflict = lambda _: 1 / 0
    clock.moment = attempt.next_call_at
    assert calls.reconcile().failed == 1
    assert (calls.health().unreported_conflicts, calls.health().open_conflicts) == (1, 1)
    del shop.payment_conflict
    assert calls.reconcile().conflicts == 1
    assert (calls.health().unreported_conflicts, calls.health().open_conflicts) == (0, 1)
    (record,) = calls.conflicts()
    calls.resolve_conflict(record.key, note="refunded", by="Mei")
    assert calls.health().open_conflicts == 0


def test_a_heartbeat_that_cannot_be_stored_is_no_lost_round(pay, start, gateway, clock, caplog):
    attempt = start("A-1")
    gateway.script["inquiryPayment"] = [inquired(attempt, PAID)]
    clock.moment = attempt.next_call_at

    def fail(*_):
        raise StoreError("the disk is full")

    pay.store.note = fail
    report = pay.reconcile()
    assert (report.became_final, report.failed) == (1, 1)
    assert "its round is done, but that could not be stored: the disk is full" in caplog.text


def test_an_open_payment_is_no_refusal(calls, start, gateway, pay, clock):
    attempt = start("A-1")
    clock.moment = attempt.next_call_at
    gateway.script["inquiryPayment"] = [inquired(attempt, OPEN)]
    asked(pay, attempt)
    assert (calls.health().calls, calls.health().refused) == (1, 0)
