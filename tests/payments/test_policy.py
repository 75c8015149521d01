"""Each limit and each pause at its edge, and on both sides of it."""

from datetime import timedelta

import pytest
from attrs import evolve

from aplus_adapters import InvalidValue, Timing
from aplus_adapters.payments.policy import FAR, FARTHEST, PaymentConfig, Retry, has_come
from aplus_adapters.protocol.amounts import Amount
from aplus_adapters.testing.store_values import NOON, a_refund, an_attempt

TICK = timedelta(microseconds=1)
MINUTE = timedelta(minutes=1)
CENTURY = timedelta(days=36_500)
NONE = timedelta(0)
DAYS = timedelta(days=3650)
# The least and the most of each value that are refused, and how near a value may come to them.
SPANS = {
    "claim": (timedelta(seconds=9.999999), FAR, TICK),
    "retry_pay": (NONE, FAR, TICK),
    "first_inquiry": (NONE, FAR, TICK),
    "inquiry": (NONE, FAR, TICK),
    "after_refusal": (NONE, FAR, TICK),
    "after_conflict": (NONE, FARTHEST, TICK),
    "expiry": (NONE, timedelta(minutes=3) + TICK, TICK),
    "grace": (NONE, CENTURY, TICK),
    "max_age": (NONE, CENTURY, TICK),
    "max_ahead": (NONE, CENTURY, TICK),
    "timeout": (0.0, 120.0, 1e-6),
    "inquiry_timeout": (0.0, 120.0, 1e-6),
    "attempts_per_hour": (0, 10**6, 1),
}


def at_most(name, value):
    """Return a timing with this value, and a claim that is long enough for it."""
    if name == "claim":
        return Timing(claim=value)
    return Timing(**{"claim": FAR - TICK, name: value})


@pytest.mark.parametrize("name", SPANS)
def test_a_rule_takes_what_lies_between_its_limits_and_nothing_else(name):
    least, most, step = SPANS[name]
    assert getattr(at_most(name, least + step), name) == least + step
    assert getattr(at_most(name, most - step), name) == most - step
    for wrong in (least, most):
        with pytest.raises(InvalidValue, match=f"^Timing {name}: found ") as refused:
            at_most(name, wrong)
        assert str(wrong) in str(refused.value)


@pytest.mark.parametrize(
    "longest",
    [
        {"timeout": 11.0},
        {"inquiry_timeout": 11.0},
        {"pay": Retry(pauses=(1.0,), deadline=11.0)},
        # Nothing is repeated, so the deadline does not count.
        {"timeout": 11.0, "pay": Retry(pauses=(), deadline=100.0)},
    ],
)
def test_a_claim_lasts_for_the_longest_call(longest):
    eleven = timedelta(seconds=11)
    assert Timing(claim=eleven, **longest).claim == eleven
    with pytest.raises(InvalidValue, match="at least the 11 s that a call may take"):
        Timing(claim=eleven - TICK, **longest)


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        ({}, 60),
        ({"after_refusal": timedelta(seconds=7)}, 60),
        ({"after_refusal": timedelta(seconds=70)}, 70),
        ({"refund": Retry(pauses=(1.0,), deadline=70.0)}, 75),
        ({"refund": Retry(pauses=(1.0,), deadline=70.0), "inquiry_timeout": 9.0}, 79),
        ({"refund": Retry(pauses=(), deadline=70.0), "timeout": 58.0, "claim": MINUTE}, 63),
    ],
)
def test_the_claim_of_a_refund_lasts_for_its_calls_and_for_the_pause_after_them(changes, seconds):
    assert Timing(**changes).refund_claim == timedelta(seconds=seconds)


@pytest.mark.parametrize(("seconds", "pause"), [(1, 60), (59, 60), (61, 61)])
def test_two_claims_of_a_refund_are_a_minute_apart_at_least(seconds, pause):
    timing = Timing(after_refusal=timedelta(seconds=seconds))
    assert timing.refund_pause == timedelta(seconds=pause)
    assert f"then every {pause} s" in str(timing).splitlines()[-1]


@pytest.mark.parametrize("pause", [0.001, 119.9])
def test_a_retry_takes_every_pause_between_its_limits(pause):
    assert Retry(pauses=(pause,)).pauses == (pause,)
    assert Timing(cancel=(pause,)).cancel == (pause,)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pauses": (1.0, 0)}, "Retry pauses: found 0, expected more than 0 and less than 120.0"),
        ({"pauses": (120.0,)}, "Retry pauses: found 120.0, expected more than 0 and less than 120"),
        ({"deadline": 0}, "Retry deadline: found 0, expected more than 0 and less than inf"),
        ({"jitter": 1}, "Retry jitter: found 1, expected 0 or a part of 1"),
        ({"jitter": -0.01}, "Retry jitter: found -0.01, expected 0 or a part of 1"),
    ],
)
def test_a_retry_says_which_number_it_refuses(changes, said):
    with pytest.raises(InvalidValue) as refused:
        Retry(**changes)
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize(("draw", "first", "second"), [(0, 0.8, 1.6), (0.5, 1, 2), (1, 1.2, 2.4)])
def test_a_pause_is_shortened_or_lengthened_by_chance_and_by_no_more_than_its_part(
    draw, first, second
):
    retry = Retry(pauses=(1.0, 2.0), jitter=0.2)
    assert [retry.pause(number, draw) for number in (0, 1)] == pytest.approx([first, second])
    assert Retry(pauses=(1.0,), jitter=0).pause(0, draw) == 1.0
    assert Retry(pauses=(1.0,)).pause(0, 0) == pytest.approx(0.8)


def test_the_time_for_all_sends_is_the_deadline_if_anything_is_repeated():
    assert Retry(pauses=(1.0,), deadline=7.0).longest == 7.0
    assert Retry(pauses=(), deadline=7.0).longest == 0


DISPUTED = {"disputed": Amount("USD", 1)}


@pytest.mark.parametrize(
    ("item", "farthest"),
    [
        (an_attempt(), FAR),
        (an_attempt(**DISPUTED), FARTHEST),
        (a_refund(), FARTHEST),
    ],
    ids=["attempt", "disputed attempt", "refund"],
)
def test_a_call_has_come_at_its_time_and_again_if_a_wrong_clock_planned_it(item, farthest):
    def is_due(planned):
        return has_come(evolve(item, next_call_at=planned), NOON)

    assert [is_due(None), is_due(NOON - TICK), is_due(NOON)] == [False, True, True]
    assert [is_due(NOON + TICK), is_due(NOON + farthest)] == [False, False]
    assert [is_due(NOON + farthest + TICK), is_due(NOON + DAYS)] == [True, True]


@pytest.mark.parametrize("item", [an_attempt(), a_refund()], ids=["attempt", "refund"])
@pytest.mark.parametrize(
    ("timing", "longest"),
    [(Timing(), 60), (Timing(claim=timedelta(seconds=90)), 90)],
    ids=["a refund's claim is longer", "an attempt's claim is longer"],
)
def test_a_claim_is_in_force_until_its_end_unless_a_wrong_clock_took_it(
    account, item, timing, longest
):
    config = PaymentConfig(accounts={item.client_id: account}, timing=timing)
    most = timedelta(seconds=longest)
    for until, is_free in [
        (None, True),
        (NOON - TICK, True),
        (NOON, True),
        (NOON + TICK, False),
        (NOON + most, False),
        (NOON + most + TICK, True),
    ]:
        claimed = evolve(item, claimed_until=until)
        assert config.is_free(claimed, NOON) is is_free
        assert config.is_due(claimed, NOON) is is_free
    assert not config.is_due(evolve(item, client_id="another"), NOON)
    assert not config.is_due(evolve(item, next_call_at=NOON + TICK), NOON)
