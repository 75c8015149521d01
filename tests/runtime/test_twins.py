"""Every method of AplusPay that has an awaiting twin hands the same to the same flow as its twin."""

import asyncio
import inspect
import re
from datetime import UTC, datetime

import pytest

from aplus_adapters import AplusPay, MemoryStore, State
from aplus_adapters.payments.search import page_key
from support.shop import AsyncShop, Shop

TWINS = sorted(
    name.removesuffix("_async")
    for name in dir(AplusPay)
    if name.endswith("_async") and not name.startswith(("_", "run"))
)


@pytest.fixture
def flows(monkeypatch):
    """The flows that are to be run, none of which is."""
    kept = []

    async def run_async(_pay, flow):
        kept.append(flow)

    monkeypatch.setattr(AplusPay, "run", lambda _pay, flow: kept.append(flow))
    monkeypatch.setattr(AplusPay, "run_async", run_async)
    return kept


def told(flow):
    """Return which flow it is, and its arguments but for what belongs to one AplusPay."""
    arguments = inspect.getgeneratorlocals(flow)
    flow.close()
    kept = {name: value for name, value in arguments.items() if name not in ("config", "context")}
    # A default that is a function is one of each twin's own.
    return flow.__qualname__, re.sub(r" at 0x[0-9a-f]+", "", str(kept))


# What is looked at before a flow begins.
VALUES = {
    "state": State.FAILED,
    "since": datetime(2026, 11, 1, tzinfo=UTC),
    "until": datetime(2026, 11, 2, tzinfo=UTC),
    "needs_attention": True,
    "oldest_first": True,
    "after": page_key(datetime(2026, 11, 1, 12, tzinfo=UTC), "pay1"),
    "limit": 7,
}


def test_the_twins_are_found():
    assert {"start", "refund", "close_order", "reconcile", "handle", "find"} <= {*TWINS}


@pytest.mark.parametrize("name", TWINS)
@pytest.mark.parametrize("given", ["everything", "what is needed"])
def test_a_twin_starts_the_same_flow_with_the_same_arguments(name, given, account, flows):
    blocking, awaiting = getattr(AplusPay, name), getattr(AplusPay, f"{name}_async")
    parameters = inspect.signature(blocking).parameters
    assert inspect.signature(awaiting).parameters.keys() == parameters.keys()
    positional, named = [], {}
    for parameter in [*parameters.values()][1:]:
        if given == "what is needed" and parameter.default is not parameter.empty:
            continue
        if parameter.kind is parameter.KEYWORD_ONLY:
            named[parameter.name] = VALUES.get(parameter.name, f"the {parameter.name}")
        else:
            positional.append(f"the {parameter.name}")
    blocking(AplusPay(account=account, store=MemoryStore(), hooks=Shop()), *positional, **named)
    pay = AplusPay(account=account, store=MemoryStore(), hooks=AsyncShop())
    asyncio.run(awaiting(pay, *positional, **named))
    ours, theirs = map(told, flows)
    assert ours == theirs
    if given == "everything":
        given_values = map(repr, (*positional, *named.values()))
        assert [value for value in given_values if value not in ours[1]] == []
