"""Every interleaving of two flows, three at random, and what must not be built is found."""

import logging
import os
import random
import time
from datetime import timedelta
from itertools import combinations_with_replacement

import pytest
from attrs import evolve

from aplus_adapters import MemoryStore, Outcome, State
from aplus_adapters.payments import states
from aplus_adapters.payments.flows import cancellation, gateway_call, notification, refund
from aplus_adapters.payments.policy import PaymentConfig
from aplus_adapters.stores import memory
from support.interleavings import Budget, Violation, World, explore, wander
from support.pairs import actor, pair

LONG = bool(os.environ.get("APLUS_LONG"))
LIMIT = int(os.environ.get("APLUS_STATES", "0" if LONG else "600")) or None  # 0: to the end
PARTS, SCHEDULES = (10, 10_000) if LONG else (1, 2_000)
SEED = int(os.environ.get("APLUS_SEED", time.time()))
CALM = {"timeouts": 0, "crashes": 0, "ticks": (50,), "payments": 1, "notifications": 1}
MISHAPS = {
    "two buyers, two notifications": Budget(
        **{**CALM, "ticks": (), "payments": 2, "notifications": 2}
    ),
    "an answer is lost": Budget(**{**CALM, "timeouts": 1}),
    "a process dies": Budget(**{**CALM, "crashes": 1}),
    "a replica lags": Budget(**{**CALM, "lags": 1}),
    "an answer is lost, a replica lags, and the code is over": Budget(
        **{**CALM, "ticks": (400,), "timeouts": 1, "lags": 1}
    ),
    "a request comes twice": Budget(**{**CALM, "ticks": (), "copies": 1}),
    "the code expires": Budget(**{**CALM, "ticks": (50, 190)}),
    "the claims and the code are over": Budget(**{**CALM, "ticks": (190, 400)}),
}
REFUNDS = {
    "a refund is denied unseen": Budget(
        **{**CALM, "timeouts": 1, "denials": 1, "ticks": (50, 190)}
    ),
    "the hook raises": Budget(**{**CALM, "crashes": 1, "hook_errors": 1}),
    "a request comes twice": Budget(**{**CALM, "copies": 1, "timeouts": 1}),
}
PAYING = ["press", "press at another price", "poll", "new code", "close", "reconcile"]
NOTIFIED = "notification"
BEGINNINGS = ["nothing yet", "sent, no answer", "shown", "paid"]
CLOCKS = {"a clock 5 min ahead": 300, "a clock 5 min behind": -300}


@pytest.fixture(autouse=True)
def quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def make_world(account, alipayplus, their_key, monkeypatch):
    """Sign each request once: equal content has an equal signature."""
    signed, sign = {}, gateway_call.sign_request

    def sign_once(account, path, body, moment):
        key = (path, body, moment)
        if key not in signed:
            signed[key] = sign(account, path, body, moment)
        return signed[key]

    monkeypatch.setattr(gateway_call, "sign_request", sign_once)
    config = PaymentConfig(accounts={account.client_id: account})
    return lambda store=MemoryStore: World(config, alipayplus, their_key, store)


def two(one, other, **changes):
    if one == other:
        return actor(one, f"{one} 1"), actor(other, f"{other} 2", **changes)
    return actor(one), actor(other, **changes)


def explored(world, beginning, budget, actors):
    began = time.monotonic()
    draw = None if LIMIT is None else random.Random(SEED)
    counts = explore(world, pair(world, beginning, budget, *actors), LIMIT, draw)
    return (*counts, time.monotonic() - began)


def report(rows):
    states_, events, ends, seconds = (sum(column) for column in zip(*rows, strict=True))
    print(
        f"{len(rows)} worlds, {states_} states, {events} events, {ends} ends, "
        f"{seconds:.1f} s, seed {SEED}: no rule broken"
    )


@pytest.mark.parametrize(("one", "other"), list(combinations_with_replacement(PAYING, 2)))
def test_no_interleaving_of_two_flows_breaks_a_rule(make_world, one, other):
    cases = [(beginning, name) for beginning in BEGINNINGS for name in MISHAPS]
    if not LONG:  # each pair another few of them, so that all of them are in each run
        cases = random.Random(f"{SEED} {one} {other}").sample(cases, 4)
    report(
        [
            explored(make_world(), beginning, MISHAPS[name], two(one, other))
            for beginning, name in cases
        ]
    )


@pytest.mark.parametrize("other", [*PAYING, NOTIFIED])
@pytest.mark.parametrize("beginning", ["paid", "closed"])
def test_no_interleaving_with_a_notification_breaks_a_rule(make_world, other, beginning):
    """It says S of what was paid, F of what is closed; both can be told a second time."""
    flows = [NOTIFIED, NOTIFIED if other == NOTIFIED else actor(other)]
    names = MISHAPS if LONG else random.Random(f"{SEED} {other}").sample([*MISHAPS], 2)
    report([explored(make_world(), beginning, MISHAPS[name], flows) for name in names])


@pytest.mark.parametrize("other", [*PAYING, "refund", NOTIFIED])
@pytest.mark.parametrize("name", REFUNDS)
def test_no_interleaving_with_a_refund_gives_money_back_twice(make_world, other, name):
    flows = [actor("refund"), NOTIFIED] if other == NOTIFIED else two("refund", other)
    report([explored(make_world(), "recorded", REFUNDS[name], flows)])


@pytest.mark.parametrize("name", CLOCKS)
@pytest.mark.parametrize("other", ["press", "press at another price", "poll", "reconcile"])
@pytest.mark.parametrize("one", ["press", "press at another price"])
def test_no_wrong_clock_of_one_worker_breaks_a_rule(make_world, one, other, name):
    flows = two(one, other, offset=timedelta(seconds=CLOCKS[name]))
    lost = MISHAPS["an answer is lost"]
    report([explored(make_world(), start, lost, flows) for start in ("nothing yet", "shown")])


@pytest.mark.parametrize("part", range(PARTS))
def test_three_flows_at_random_break_no_rule(make_world, part):
    world, draw = make_world(), random.Random(f"{SEED} {part}")
    budget = Budget(
        timeouts=2, crashes=1, ticks=(50, 190, 400), payments=2, notifications=2, lags=1, copies=1
    )
    began, events = time.monotonic(), 0
    for _ in range(SCHEDULES):
        actors = [actor(kind, f"{kind} {n}") for n, kind in enumerate(draw.choices(PAYING, k=3), 1)]
        start = pair(world, draw.choice(BEGINNINGS), budget, *actors)
        events += wander(world, start, draw)
    seconds = time.monotonic() - began
    print(f"{SCHEDULES} schedules of 3 flows, {events} events, {seconds:.1f} s, seed {SEED} {part}")


# What must not be built: each of these has to be found, within a minute.


def absence_closes(monkeypatch):
    """An inquiry's ORDER_NOT_EXIST ends an attempt."""
    gone = {(state, Outcome.ABSENT): State.FAILED for state in (State.CREATED, State.PENDING)}
    monkeypatch.setattr(states, "TABLE", {**states.TABLE, **gone})
    monkeypatch.setattr(states, "_is_gone", lambda *_: True)
    monkeypatch.setattr(cancellation, "_ENDS", (*cancellation._ENDS, Outcome.ABSENT))
    return MemoryStore


def no_intent(monkeypatch):
    """cancelPayment leaves while the store still says that the code can be paid."""

    def closing(holder, *, wanted):
        yield from ()
        return evolve(holder.attempt, state=State.CLOSING)

    monkeypatch.setattr(cancellation, "_intend", closing)
    return MemoryStore


def no_token(monkeypatch):
    """Whoever held a claim once is listened to as if it still did."""

    def advance(attempt, observation, refunds=()):
        about = getattr(observation, "refund_request_id", None)
        of_it = [one for one in refunds if one.refund_request_id == about]
        if observation.claim is not None:
            observation = evolve(observation, claim=(of_it or [attempt])[0].claim)
        return states.advance(attempt, observation, refunds)

    monkeypatch.setattr(memory, "advance", advance)
    return MemoryStore


def early_acknowledgement(monkeypatch):
    """The acknowledgement goes out before the commit."""

    def afterwards(payment_request_id, observation):
        yield from ()

    monkeypatch.setattr(notification, "record_observation", afterwards)
    return MemoryStore


def refusal_is_believed(monkeypatch):
    """An F to the repeat of a refund is final."""

    def believed(config, mine):
        answered = yield from gateway_call.exchange(
            config.account(mine.client_id), "/aps/api/v1/payments/refund", mine.request_body,
            refund.RefundResponse, retry=config.timing.refund, timeout=8,
        )  # fmt: skip
        return refund.observe_refund(answered, mine, (yield from refund.now()))

    monkeypatch.setattr(refund, "_ask", believed)
    return MemoryStore


def nothing_wrong(_monkeypatch):
    return MemoryStore


LAGS, LOST = MISHAPS["a replica lags"], MISHAPS["an answer is lost"]
DENIED = REFUNDS["a refund is denied unseen"]


@pytest.mark.parametrize(
    ("plant", "beginning", "budget", "kinds", "found"),
    [
        (absence_closes, "shown", evolve(LAGS, payments=2), ("press", "press at another price"),
         "2 codes that were shown can be paid"),
        (no_intent, "shown", LOST, ("poll", "press at another price"), "money goes back"),
        (no_token, "recorded", evolve(DENIED, timeouts=0), ("refund", "refund"), "twice"),
        (early_acknowledgement, "paid", LOST, ("poll", "poll"), "without having been kept"),
        (refusal_is_believed, "recorded", DENIED, ("refund", "poll"), "twice"),
        (nothing_wrong, "recorded", DENIED, ("careless refund", "poll"), "twice"),
    ],
)  # fmt: skip
def test_what_must_not_be_built_is_found(
    make_world, monkeypatch, plant, beginning, budget, kinds, found
):
    world = make_world(plant(monkeypatch))
    began = time.monotonic()
    with pytest.raises(Violation, match=found) as violation:
        explore(world, pair(world, beginning, budget, *two(*kinds)))
    seconds = time.monotonic() - began
    print(f"{plant.__name__}: {plant.__doc__} Found after {seconds:.1f} s:\n{violation.value}")
    assert seconds < 60
