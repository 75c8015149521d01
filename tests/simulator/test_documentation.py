"""docs/simulator.md and the code say the same."""

import re
from pathlib import Path

import pytest

from aplus_adapters.simulator.faults import CALL_FAULTS, NOTIFICATION_FAULTS
from aplus_adapters.simulator.outcomes import BUYERS, UNSIGNED_CODES, read_outcomes

TEXT = (Path(__file__).parent.parent.parent / "docs" / "simulator.md").read_text()


def table(heading):
    """Return the rows of the first table below a heading."""
    lines = TEXT.partition(f"### {heading}\n")[2].partition("\n#")[0].splitlines()
    return dict(
        re.fullmatch(r"\| `(\w+)` \| (.+) \|", line).groups() for line in lines if "| `" in line
    )


@pytest.mark.parametrize(
    ("heading", "known"),
    [
        ("The buyer", BUYERS),
        ("Faults of calls", {name: what for name, what in CALL_FAULTS.items() if name != "result"}),
        ("Faults of notifications", NOTIFICATION_FAULTS),
    ],
)
def test_each_table_lists_what_there_is_in_its_words(heading, known):
    assert table(heading) == dict(known)


def test_each_example_means_something():
    examples = re.findall(r"^\| `(sim:\S+=[^`]+)` \|", TEXT, re.MULTILINE)
    assert len(examples) >= 6
    for example in examples:
        outcomes = read_outcomes(example)
        assert outcomes.faults or outcomes.buyer


def test_the_unsigned_codes_are_named():
    sentence = TEXT.partition("The answers ")[2].partition(" come unsigned")[0]
    assert re.findall(r"`(\w+)`", sentence) == list(UNSIGNED_CODES)
