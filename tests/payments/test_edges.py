"""What flows do at their edges: answers about something else, turns that others have, odd shops."""

from datetime import timedelta

import pytest
from attrs import evolve

from aplus_adapters import (
    Amount,
    ConfigurationError,
    ConflictDetails,
    HookError,
    MemoryStore,
    NotificationError,
    Observation,
    Outcome,
    OutcomeUnknown,
    RefundState,
    Retry,
    Source,
    State,
    StoreError,
    Timing,
    Transition,
    UnknownPayment,
)
from aplus_adapters.errors import NotSent
from aplus_adapters.payments.effects import Send, get
from aplus_adapters.payments.flows.follow_up import close
from aplus_adapters.payments.flows.gateway_call import exchange
from aplus_adapters.payments.flows.notification import receive
from aplus_adapters.payments.flows.record import record_observation, record_refund
from aplus_adapters.payments.flows.refund import follow_up_refund
from aplus_adapters.payments.immediate_store import ImmediateStore
from aplus_adapters.payments.timeline import timeline
from aplus_adapters.protocol.messages.pay import PayResponse
from support.gateway import DOWN, GONE, LOST, OPEN, PAID, asked, done, give_back, inquired

FAILED_CALL = {"resultCode": "PROCESS_FAIL", "resultStatus": "F", "resultMessage": "no"}


def test_not_sent_at_last_is_unknown_if_an_earlier_send_may_have_arrived(pay, account, gateway):
    gateway.script["pay"] = [LOST, DOWN]
    flow = exchange(
        account,
        "/aps/api/v1/payments/pay",
        b"{}",
        PayResponse,
        retry=Retry(pauses=(1.0,)),
        timeout=5,
    )
    with pytest.raises(OutcomeUnknown, match="down"):
        pay.run(flow)


@pytest.mark.parametrize(
    ("retry", "timeout", "expected"),
    [(Retry(pauses=()), 30.0, 30.0), (Retry(pauses=(1.0,), deadline=10.0), 30.0, 10.0)],
    ids=["a single send", "a send that may be repeated"],
)
def test_the_deadline_of_a_retry_cuts_no_single_send(pay, account, retry, timeout, expected):
    timeouts = []

    def lose(effect):
        timeouts.append(effect.timeout)
        raise OutcomeUnknown("lost")

    pay.performer._table[Send] = lose
    once = evolve(retry, pauses=retry.pauses and (60.0,))  # after the deadline: never sent again
    flow = exchange(account, "/p", b"{}", PayResponse, retry=once, timeout=timeout)
    with pytest.raises(OutcomeUnknown):
        pay.run(flow)
    assert timeouts == [expected]


def test_a_call_that_ends_just_with_its_claim_is_begun(pay, account, gateway, clock):
    def call(longest):
        until = clock.now() + timedelta(seconds=5)
        once = Retry(pauses=())
        return exchange(
            account, "/pay", b"{}", PayResponse, retry=once, timeout=longest, until=until
        )

    gateway.script["pay"] = [LOST]
    with pytest.raises(OutcomeUnknown):
        pay.run(call(5.0))
    with pytest.raises(NotSent, match="the claim ends at"):
        pay.run(call(5.001))
    assert gateway.calls() == ["pay"]


def test_closing_while_another_worker_holds_the_claim_is_decided_and_done_by_that_one(
    pay, gateway, start, clock
):
    attempt = start()
    pay.store.claim(attempt.payment_request_id, attempt.claim, clock.now() + timedelta(seconds=20))
    held = pay.store.get(attempt.payment_request_id)
    gateway.sent.clear()
    decided = evolve(held, state=State.CLOSING, changed_at=clock.now() + timedelta(seconds=5))
    for seen in (attempt, held):  # seen before the claim was taken, and after
        assert pay.run(close(pay.config, seen)) == decided
    assert gateway.sent == []
    gateway.script["cancelPayment"] = [{"result": PAID}]
    clock.moment = held.next_call_at  # its worker has died
    assert asked(pay, decided).state is State.CANCELLED
    assert gateway.calls() == ["cancelPayment"]


@pytest.mark.parametrize(
    "answer",
    [
        {"result": FAILED_CALL},
        {"result": PAID},  # the call succeeded and says nothing of the payment
        {"result": PAID, "paymentResult": PAID, "paymentRequestId": "another"},
    ],
)
def test_an_inquiry_that_says_nothing_of_this_payment_changes_nothing(
    pay, gateway, start, clock, answer
):
    attempt = start()
    gateway.script["inquiryPayment"] = [answer]
    clock.moment = attempt.next_call_at
    after = asked(pay, attempt)
    assert after.state is State.PENDING
    assert after.next_call_at > clock.now()


def test_the_next_call_comes_at_expiry_if_that_is_sooner(pay, gateway, start, clock):
    attempt = start()
    gateway.script["inquiryPayment"] = [inquired(attempt, OPEN)]
    clock.moment = attempt.expires_at - timedelta(seconds=1)
    assert asked(pay, attempt).next_call_at == attempt.expires_at


def test_a_conflict_names_its_attempt(pay, gateway, start, clock, shop):
    attempt = start()
    clock.moment = attempt.next_call_at
    gateway.script["inquiryPayment"] = [
        inquired(attempt, PAID, paymentAmount={"currency": "USD", "value": "1"})
    ]
    asked(pay, attempt)
    (conflict,) = shop.conflicts
    named = ConflictDetails(conflict=conflict).attempt.payment_request_id
    assert named == attempt.payment_request_id


@pytest.mark.parametrize(
    ("headers", "status", "found"),
    [
        ((), 400, "no client-id header"),
        ((("Client-Id", "STRANGER"),), 400, "no request-time header"),
        (
            (
                ("Client-Id", "STRANGER"),
                ("Request-Time", "2026-11-23T12:00:00Z"),
                ("Signature", "s"),
            ),
            401,
            "'STRANGER', expected one of ours",
        ),
    ],
)
def test_a_notification_for_nobody_is_refused(pay, headers, status, found):
    with pytest.raises(NotificationError, match=found) as refused:
        pay.run(receive(pay.config, headers, b"{}"))
    assert refused.value.status == status


def test_a_shop_that_answers_something_else_is_told_so(start, shop):
    shop.load_order = lambda details: "42.00 USD"
    with pytest.raises(HookError, match="found str, expected an OrderToPay or None") as error:
        start()
    assert error.value.hook == "load_order"


def test_a_failed_hook_is_what_is_raised_also_if_its_time_cannot_be_kept(
    pay, store, shop, start, clock, monkeypatch
):
    attempt = start()
    said = Observation(
        source=Source.NOTIFICATION,
        outcome=Outcome.SUCCEEDED,
        at=clock.moment,
        client_id=attempt.client_id,
        amount=attempt.amount,
    )
    shop.payment_changed = lambda details: 1 / 0
    monkeypatch.setattr(store, "note", lambda *_: {}["no table"])
    with pytest.raises(HookError, match="payment_changed: raised ZeroDivisionError"):
        pay.run(record_observation(attempt.payment_request_id, said))
    assert pay.find(attempt.payment_request_id).state is State.PENDING


def test_an_account_that_is_not_there_is_named(pay):
    assert pay.config.account(None) is pay.config.default_account
    with pytest.raises(ConfigurationError, match="'OTHER': found no such account"):
        pay.config.account("OTHER")


def test_reconcile_counts_what_another_worker_took(pay, gateway, start, clock, monkeypatch):
    attempt = start()
    clock.moment = attempt.next_call_at
    stale = pay.store.get(attempt.payment_request_id)
    rounds = [[stale], []]
    monkeypatch.setattr(pay.store, "due", lambda *_: rounds.pop(0))
    pay.store.claim(stale.payment_request_id, stale.claim, clock.now() + timedelta(minutes=1))
    gateway.sent.clear()
    assert pay.reconcile().taken == 1
    assert gateway.sent == []


def test_reconcile_ends_even_if_the_store_gives_the_same_again_and_again(
    pay, gateway, start, clock, monkeypatch
):
    attempt = start()
    clock.moment = attempt.next_call_at
    gateway.script["inquiryPayment"] = [inquired(attempt, OPEN)]
    stale = pay.store.get(attempt.payment_request_id)
    monkeypatch.setattr(pay.store, "due", lambda *_: [stale])
    assert pay.reconcile().asked == 1


def test_a_refund_that_another_worker_sends_is_given_as_it_is_stored(pay, gateway, paid, clock):
    gateway.script["refund"] = [LOST]
    refund = give_back(pay, paid)
    clock.moment = refund.next_call_at
    stale = evolve(refund, claim=refund.claim - 1)
    gateway.sent.clear()
    stored = pay.run(follow_up_refund(pay.config, stale))
    assert (stored.next_call_at, stored.state) == (refund.next_call_at, RefundState.CREATED)
    assert gateway.sent == []


def test_a_store_that_forgets_the_refund_is_told_so(pay, gateway, paid, monkeypatch):
    gateway.script["refund"] = [done()]
    give_back(pay, paid)
    record = pay.store.record

    def forgetful(*arguments):
        done = record(*arguments)
        return Transition(before=done.before, after=done.after, observation=done.observation)

    monkeypatch.setattr(pay.store, "record", forgetful)
    said = pay.store.history(paid.payment_request_id)[-1]
    with pytest.raises(StoreError, match="gave no refund"):
        pay.run(record_refund(paid.payment_request_id, said))


def test_the_rules_can_be_printed():
    printed = str(Timing())
    assert (
        printed
        == """\
pay: send, after 0.5 s again, after 1 s again; each pause +-20 %, none begun after 10 s, then every 2 s \
while it is wanted
inquiry: 20 s after the code, then every 4 s; cancelled when still open after expiry
cancel: send, after 2 s again, after 3 s again, after 3 s again, after 5 s again, after 5 s again; each \
pause +-0 %, none begun after 23 s, then every 60 s with an alarm in the log
refund: send, after 0.5 s again, after 1 s again; each pause +-20 %, none begun after 10 s, then every 60 s"""
    )
    print(printed)


def test_a_story_is_told_with_its_contradictions_and_refunds(pay, gateway, paid, clock, alipayplus):
    def told(**changes):
        attempt = pay.run(get(paid.payment_request_id))
        clock.moment += timedelta(seconds=1)
        body = alipayplus.notification(attempt, **changes)
        headers = tuple(alipayplus.sign(body, at=clock.now()).items())
        assert pay.run(receive(pay.config, headers, body)).status == 200

    told(paymentAmount={"currency": "USD", "value": "1"})
    clock.moment += timedelta(seconds=1)
    gateway.script["refund"] = [done(), {"result": FAILED_CALL}]
    give_back(pay, paid, amount=Amount("USD", 1000))
    clock.moment += timedelta(seconds=1)
    give_back(pay, paid, 2, amount=Amount("USD", 100))
    request_id = paid.payment_request_id
    events = timeline(
        pay.store.get(request_id), pay.store.history(request_id), pay.store.refunds(request_id)
    )
    lines = [f"{one.source}: {one.text} -> {one.state}" for one in events]
    assert lines[0] == "shop: pay 42.00 USD for order A-1 -> created"
    assert lines[1].startswith("pay: code issued 42.00 USD (PAYMENT_IN_PROCESS) -> pending")
    assert lines[2] == "inquiry: succeeded 42.00 USD (SUCCESS) -> succeeded"
    assert lines[3].startswith("notification: succeeded 0.01 USD (SUCCESS)")
    assert lines[3].endswith(
        "-> CONFLICT: notification says 0.01 USD, the attempt is for 42.00 USD"
    )
    assert lines[4:] == [
        "shop: refund 10.00 USD as credit-note-1 -> created",
        "refund: refunded as credit-note-1 (SUCCESS) -> succeeded",
        "shop: refund 1.00 USD as credit-note-2 -> created",
        "refund: refund refused as credit-note-2 (PROCESS_FAIL) -> failed",
    ]
    assert [one.is_conflict for one in events].count(True) == 1


def test_what_alipayplus_never_heard_of_is_over_after_expiry(pay, gateway, start, clock):
    attempt = start()
    gateway.script["inquiryPayment"] = [{"result": GONE}]
    gateway.script["cancelPayment"] = [{"result": GONE}]
    clock.moment = attempt.expires_at
    assert asked(pay, attempt).state is State.FAILED


def test_a_payment_of_nobody_is_unknown(pay):
    with pytest.raises(UnknownPayment):
        pay.refund("nobody", refund_request_id="x")


def test_an_attempt_gives_the_request_that_was_stored(start):
    attempt = start()
    assert attempt.request.payment_request_id == attempt.payment_request_id
    assert attempt.request.encode() == attempt.request_body


def test_a_story_tells_an_observation_that_had_no_result(pay, start, clock):
    attempt = start()
    seen = Observation(
        source=Source.INQUIRY,
        outcome=Outcome.IN_PROCESS,
        at=clock.now(),
        client_id=attempt.client_id,
    )
    events = timeline(attempt, [seen], [])
    assert events[-1].text == "in process"


def test_a_story_tells_how_often_the_same_answer_came(pay, start, clock):
    attempt = start()
    first, last = clock.now(), clock.now() + timedelta(minutes=2)
    seen = Observation(
        source=Source.INQUIRY,
        outcome=Outcome.IN_PROCESS,
        at=last,
        client_id=attempt.client_id,
        count=40,
        first_at=first,
    )
    event = timeline(attempt, [seen], [])[-1]
    assert event.text == f"in process (40 times since {first:%Y-%m-%d %H:%M:%S}Z)"
    assert event.at == last


def test_the_store_in_memory_has_what_saves_a_thread():
    promised = {name for name in vars(ImmediateStore) if not name.startswith("_")}
    assert promised == {"try_record", "record_async"}
    assert all(callable(getattr(MemoryStore, name)) for name in promised)
