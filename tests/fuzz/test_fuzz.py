"""Any bytes in, a typed result or our own error out: the short form that runs every day."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.targets import SEEDS, TARGETS

EXAMPLES = 300


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes_give_a_result_or_our_own_error(name):
    target, count = TARGETS[name], 0

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), deadline=None)
    @given(st.binary(max_size=400))
    def run(data):
        nonlocal count
        target(data)
        count += 1

    run()
    print(f"{name}: {count} executions")


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_legal_input_gives_a_result_or_our_own_error(name):
    """Start from what is legal and change it a little: deeper than random bytes reach."""
    chance = random.Random(name)
    count = 0
    for seed in SEEDS[name]:
        for _ in range(EXAMPLES):
            data = bytearray(seed)
            for _ in range(chance.randint(1, 4)):
                place = chance.randrange(len(data) + 1)
                match chance.randrange(4):
                    case 0:
                        data[place:place] = bytes([chance.randrange(256)])
                    case 1:
                        del data[place : place + chance.randint(1, 8)]
                    case 2:
                        data[place : place + 1] = bytes([chance.randrange(256)])
                    case _:
                        data[place:place] = data[: chance.randint(1, 30)]
            TARGETS[name](bytes(data))
            count += 1
    print(f"{name}: {count} executions")


@pytest.mark.parametrize("name", TARGETS)
def test_the_targets_would_notice(name, monkeypatch):
    """A target that swallows everything proves nothing: a foreign error must come through."""
    from support import targets

    def broken(*_arguments, **_options):
        raise KeyError("foreign")

    for place in ("verify_notification", "verify_answer"):
        monkeypatch.setattr(targets, place, broken)
    for owner, method in (
        (targets.signing, "parse_header"), (targets.wire, "loads"), (targets.wire, "read"),
        (targets.Timestamp, "__init__"),
        (targets.Amount, "__init__"), (targets.PublicKey, "load"),
    ):  # fmt: skip
        monkeypatch.setattr(owner, method, broken)
    with pytest.raises(KeyError):
        TARGETS[name](b"5")
