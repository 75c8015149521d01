"""What is deleted and forgotten, when, and what goes on working afterwards."""

import asyncio
import json
import logging
from datetime import UTC, datetime, timedelta

import pytest
from attrs import evolve

from aplus_adapters import (
    AplusPay,
    InvalidValue,
    MemoryStore,
    Outcome,
    PruneReport,
    State,
    StoreError,
    Timing,
    UnknownPayment,
)
from aplus_adapters.payments.flows.notification import receive
from aplus_adapters.payments.model import Stage
from aplus_adapters.payments.retention import Retention, refundable_since, without_buyer
from aplus_adapters.protocol.messages.pay import PayRequest
from aplus_adapters.testing.retention_contract import BUYER, a_request
from aplus_adapters.testing.store_contract import (
    an_attempt,
    an_observation,
    nothing,
)
from support.gateway import CLOSED, PAID, asked, inquired
from support.shop import NOON, AsyncShop

DAY = timedelta(days=1)
OLD = 400 * DAY


@pytest.fixture
def failed(pay, gateway, start, clock):
    """A payment that Alipay+ has closed, of another order than the paid one."""
    attempt = start("A-2")
    gateway.script["inquiryPayment"] = [inquired(attempt, CLOSED)]
    clock.moment = attempt.next_call_at
    assert asked(pay, attempt).state is State.FAILED
    return attempt


@pytest.fixture(params=["blocking", "awaiting"])
def prune(request, pay):
    if request.param == "blocking":
        yield pay.prune
        return
    yield lambda *ages, **options: asyncio.run(pay.prune_async(*ages, **options))
    asyncio.run(pay.aclose())


def find(pay, attempt):
    return pay.find(attempt.payment_request_id)


def test_what_is_old_is_deleted_and_a_paid_payment_forgets_its_buyer(
    prune, pay, start, paid, failed, clock
):
    clock.moment += OLD
    still_open = start("A-3")
    assert prune(OLD + DAY) == PruneReport()
    clock.moment += DAY
    seen = []
    would = prune(OLD, dry_run=True)
    assert find(pay, failed) is not None
    assert not find(pay, paid).is_forgotten
    assert would == prune(OLD, progress=seen.append) == PruneReport(deleted=1, forgotten=1)
    assert seen == [PruneReport(deleted=1), PruneReport(deleted=1, forgotten=1)]
    assert str(would) == "1 deleted, 1 buyers forgotten, 0 kept"
    assert find(pay, failed) is None
    assert find(pay, paid).is_forgotten
    assert b"Mozilla" not in find(pay, paid).request_body
    assert find(pay, still_open) == still_open
    assert start("A-1").state is State.SUCCEEDED  # the order still is paid
    assert prune(OLD) == PruneReport()


def test_buyers_are_forgotten_earlier_than_payments_are_deleted(prune, pay, paid, failed, clock):
    clock.moment += 90 * DAY
    assert prune(OLD, forget_after=91 * DAY) == PruneReport()
    assert prune(forget_after=89 * DAY, batch=1) == PruneReport(forgotten=2)
    assert b"Mozilla" not in find(pay, failed).request_body
    assert find(pay, failed).stage is Stage.OVER_FORGOTTEN
    clock.moment += OLD
    assert prune(OLD, forget_after=90 * DAY) == PruneReport(deleted=1)


def test_paid_payments_are_deleted_where_told_once_no_refund_can_come(prune, pay, paid, clock):
    clock.moment = datetime(2027, 12, 31, 12, tzinfo=UTC)  # paid in November 2026
    assert prune(OLD, even_paid=True) == PruneReport(forgotten=1)
    assert prune(OLD, even_paid=True, even_refundable=True, dry_run=True).deleted == 1
    clock.moment = datetime(2028, 1, 2, tzinfo=UTC)
    assert prune(OLD) == PruneReport()
    assert prune(OLD, even_paid=True) == PruneReport(deleted=1)
    assert find(pay, paid) is None


@pytest.mark.parametrize(
    ("now", "since"),
    [
        ("2026-11-23T12:00:00+00:00", "2025-01-01T00:00:00+08:00"),
        ("2027-01-01T16:00:00+00:00", "2026-01-01T00:00:00+08:00"),
        ("2027-01-01T15:59:59+00:00", "2025-01-01T00:00:00+08:00"),
        ("2027-01-01T23:59:59-12:00", "2026-01-01T00:00:00+08:00"),
    ],
)
def test_what_was_paid_can_be_refunded_to_the_end_of_the_following_year(now, since):
    moment = datetime.fromisoformat(now)
    assert refundable_since(moment) == datetime.fromisoformat(since)
    # Whatever "within one calendar year" means: 366 days, and the year's end in every zone.
    for paid_at in (moment - timedelta(days=366), moment - timedelta(days=1)):
        assert paid_at >= refundable_since(moment)


def test_what_cannot_go_yet_is_counted_as_kept(prune, pay, failed, clock):
    pay.store.record(failed.payment_request_id, _success(failed), nothing)
    (record,) = pay.conflicts()
    pay.store.conflict_reported(record.conflict)
    clock.moment += OLD + DAY
    assert prune(OLD, even_paid=True, even_refundable=True) == PruneReport(kept=1)
    pay.resolve_conflict(record.key, note="refunded by bank transfer", by="Mei")
    assert prune(OLD, even_paid=True, even_refundable=True) == PruneReport(kept=1)
    clock.moment += OLD + DAY
    assert prune(OLD, even_paid=True, even_refundable=True) == PruneReport(deleted=1)


def _success(attempt):
    return an_observation(
        Outcome.SUCCEEDED, at=attempt.created_at, client_id=attempt.client_id,
        amount=attempt.amount, payment_id=None,
    )  # fmt: skip


WRONG = {
    "young": ({"older_than": timedelta(hours=47)}, "older_than: found 1 day, 23:00:00, expected 2 days"),
    "negative": ({"older_than": -OLD}, "older_than: found -400 days"),
    "number": ({"older_than": 400}, r"found 400, expected 2 days to .*=timedelta\(days=400\)"),
    "too old": ({"older_than": timedelta(days=40000)}, "to 36500 days"),
    "young to forget": ({"forget_after": DAY}, "prune forget_after: found 1 day"),
    "nothing": ({}, "found no age"),
    "later": ({"older_than": OLD, "forget_after": OLD + DAY}, "forget_after: found 401 days"),
    "paid alone": ({"forget_after": OLD, "even_paid": True}, "even_paid: found no older_than"),
    "refundable": ({"older_than": OLD, "even_refundable": True}, "even_refundable: found even_paid"),
    "batch": ({"older_than": OLD, "batch": 0}, "limit: found 0"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_nonsense_age_is_refused_before_anything_is_touched(account, shop, clock, name):
    options, message = WRONG[name]
    store = MemoryStore()
    pay = AplusPay(account=account, store=store, hooks=shop, clock=clock)
    store.add(an_attempt())
    store.record("pay1", an_observation(Outcome.FAILED), nothing)
    before = store.get("pay1")
    clock.moment += 5 * OLD
    with pytest.raises(InvalidValue, match=message):
        pay.prune(**options)
    assert store.get("pay1") == before


def test_an_age_is_longer_than_a_notification_may_be_old(account, shop):
    timing = Timing(max_age=9 * DAY)
    pay = AplusPay(account=account, store=MemoryStore(), hooks=shop, timing=timing)
    with pytest.raises(InvalidValue, match="found 8 days, 0:00:00, expected 9 days"):
        pay.prune(8 * DAY)
    assert pay.prune(9 * DAY) == PruneReport()


def notify(pay, alipayplus, attempt, clock):
    body = json.dumps(
        {
            "paymentResult": PAID,
            "paymentRequestId": attempt.payment_request_id,
            "paymentId": attempt.payment_id,
            "paymentAmount": {"currency": "USD", "value": "4200"},
        }
    ).encode()
    headers = tuple(alipayplus.sign(body, at=clock.now()).items())
    return pay.run(receive(pay.config, headers, body)).status


def test_a_late_notification_of_a_forgotten_payment_is_taken_and_of_a_deleted_one_refused(
    pay, paid, failed, alipayplus, clock, caplog
):
    clock.moment += OLD
    with caplog.at_level(logging.WARNING):
        pay.prune(forget_after=90 * DAY)
        assert notify(pay, alipayplus, find(pay, paid), clock) == 200
        assert notify(pay, alipayplus, find(pay, failed), clock) == 200  # late money: a conflict
        assert len(pay.conflicts()) == 1
        pay.store.delete_payments(
            [paid.payment_request_id], Retention(deletes_before=clock.now() + DAY, even_paid=True)
        )
        caplog.clear()
        assert notify(pay, alipayplus, paid, clock) == 404
    assert paid.payment_request_id in caplog.text


def test_one_buyer_is_forgotten_on_demand_however_young_the_payment(pay, start, paid):
    request_id = paid.payment_request_id
    for _ in range(2):
        assert pay.forget_buyer(request_id).is_forgotten
    assert asyncio.run(pay.forget_buyer_async(request_id)).state is State.SUCCEEDED
    asyncio.run(pay.aclose())
    assert b"Mozilla" not in find(pay, paid).request_body
    with pytest.raises(UnknownPayment, match="found no such payment"):
        pay.forget_buyer("unknown")
    with pytest.raises(InvalidValue, match="found a payment that is pending, expected one that is"):
        pay.forget_buyer(start("A-9").payment_request_id)


def test_every_read_goes_on_after_the_buyer_is_forgotten(pay, paid):
    before = pay.timeline(paid.payment_request_id)
    pay.forget_buyer(paid.payment_request_id)
    assert pay.timeline(paid.payment_request_id) == before
    assert [one.is_forgotten for one in pay.list()] == [True]
    assert pay.latest("A-1") == find(pay, paid)
    assert pay.conflicts(paid.payment_request_id) == []
    assert pay.health().oldest_open is None


def test_a_refund_after_the_buyer_is_forgotten_gives_the_rest(pay, gateway, paid):
    done = {"result": PAID, "refundAmount": {"currency": "USD", "value": "1000"}}
    rest = {"result": PAID, "refundAmount": {"currency": "USD", "value": "3200"}}
    gateway.script["refund"] = [done, rest]
    request_id = paid.payment_request_id
    first = pay.refund(request_id, refund_request_id="c1", amount=evolve(paid.amount, value=1000))
    pay.forget_buyer(request_id)
    again = pay.refund(request_id, refund_request_id="c1", amount=evolve(paid.amount, value=1000))
    assert again == first
    assert pay.refund(request_id, refund_request_id="c2").amount.value == 3200
    assert find(pay, paid).is_refunded


def test_what_is_left_of_a_request_is_a_request_without_a_word_of_the_buyer():
    body = a_request().encode()
    # What this version cannot read of an order is kept beside it, and may be the buyer's.
    odd = json.loads(body)
    odd["order"]["buyer"] = ["mei@shop.example"]
    odd["order"]["buyerNote"] = "Ginza"
    odd["deviceOf"] = {"name": "Tanaka"}
    for given in (body, json.dumps(odd).encode()):
        after = without_buyer(an_attempt(request_body=given))
        assert after.is_forgotten
        assert not [word for word in BUYER if word.encode() in after.request_body]
        left = PayRequest.decode(after.request_body)
        whole = a_request()
        assert evolve(left, order=whole.order, extra={}) == whole
        kept = {"order_amount", "reference_order_id", "order_description"}
        assert all(getattr(left.order, name) == getattr(whole.order, name) for name in kept)
        assert without_buyer(after) == after
    unread = without_buyer(an_attempt(request_body=b"mei@shop.example"))
    assert json.loads(unread.request_body) == {
        "paymentRequestId": "pay1",
        "paymentAmount": {"currency": "JPY", "value": "4200"},
        "buyerForgotten": "true",
    }


def test_a_request_that_quotes_the_mark_is_not_taken_for_a_forgotten_one():
    quoting = evolve(
        a_request(), order=evolve(a_request().order, order_description='"buyerForgotten":"true"}')
    )
    assert not an_attempt(request_body=quoting.encode()).is_forgotten


def test_shops_that_await_prune_with_their_own_store(account, clock):
    store = MemoryStore()
    pay = AplusPay(account=account, store=store, hooks=AsyncShop(), clock=clock)
    store.add(an_attempt(client_id="CLIENT-1"))
    store.record("pay1", an_observation(Outcome.FAILED, client_id="CLIENT-1"), nothing)
    clock.moment = NOON + OLD + DAY
    assert asyncio.run(pay.prune_async(OLD)) == PruneReport(deleted=1)


class Stubborn(MemoryStore):
    """Fails at the second batch."""

    calls = 0

    def delete_payments(self, payment_request_ids, rule):
        self.calls += 1
        if self.calls == 2:
            raise StoreError("down")
        return super().delete_payments(payment_request_ids, rule)


def test_an_error_ends_the_run_and_the_next_one_goes_on(account, shop, clock):
    store = Stubborn()
    pay = AplusPay(account=account, store=store, hooks=shop, clock=clock)
    for number in range(5):
        store.add(an_attempt(number, f"A-{number}"))
        store.record(f"pay{number}", an_observation(Outcome.FAILED), nothing)
    clock.moment = NOON + OLD + DAY
    with pytest.raises(StoreError, match="down"):
        pay.prune(OLD, batch=2)
    assert len(pay.list()) == 3
    assert pay.prune(OLD, batch=2) == PruneReport(deleted=3)


def test_what_another_worker_has_in_its_hands_is_left_for_the_next_run(account, shop, clock):
    store = MemoryStore()
    pay = AplusPay(account=account, store=store, hooks=shop, clock=clock)
    store.add(an_attempt())
    store.record("pay1", an_observation(Outcome.FAILED), nothing)
    clock.moment = NOON + OLD + DAY
    with store._locks["pay1"]:
        assert pay.prune(OLD) == PruneReport(kept=1)
    assert pay.prune(OLD) == PruneReport(deleted=1)
    assert store._locks == store._by_order == {}  # nothing of it is left in memory


def test_a_page_of_old_payments_is_gone_through(pay, paid, clock):
    page = pay.store.old_payments(Stage.PAID, clock.now() + timedelta(days=1), 9, None)
    assert [old.attempt.payment_request_id for old in page] == [paid.payment_request_id]
