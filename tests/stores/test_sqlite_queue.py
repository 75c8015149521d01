"""SQLite keeps no queue of those who want its write lock: nobody starves for it all the same."""

import asyncio
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from aplus_adapters import AsyncSQLStore, SQLStore
from aplus_adapters.testing.store_contract import an_attempt, an_observation

WRITERS, ROUNDS = 12, 8
HELD = 0.02  # seconds for which each writer has the lock


def hold(_transition, _connection):
    time.sleep(HELD)


def slowest_write(store, numbers):
    """Return how many turns of a queue the slowest of these writes has taken."""

    def settle(number):
        started = time.monotonic()
        store.record(f"pay{number}", an_observation(), hold)
        return time.monotonic() - started

    for number in numbers:
        store.add(an_attempt(number, f"A-{number}"))
    started = time.monotonic()
    with ThreadPoolExecutor(WRITERS) as threads:
        waits = list(threads.map(settle, numbers))
    in_a_queue = WRITERS * (time.monotonic() - started) / len(waits)
    return max(waits) / in_a_queue


def test_of_twelve_who_always_want_to_write_nobody_waits_much_longer_than_in_a_queue(tmp_path):
    store = SQLStore(f"sqlite:///{tmp_path / 'payments.db'}")
    count = WRITERS * ROUNDS
    turns = [slowest_write(store, range(first, first + count)) for first in (1, 1001, 2001)]
    print(f"the slowest of {count} writes took {turns} turns of a queue")
    assert statistics.median(turns) < 2
    store.close()


async def hold_awaiting(_transition, _connection):
    await asyncio.sleep(HELD)


async def slowest_write_of_a_task(store, numbers):
    """Do what `slowest_write` does, by tasks of one event loop."""
    waits, left = [], list(reversed(numbers))

    async def settle_all():
        while left:
            number = left.pop()
            started = time.monotonic()
            await store.record(f"pay{number}", an_observation(), hold_awaiting)
            waits.append(time.monotonic() - started)

    for number in numbers:
        await store.add(an_attempt(number, f"A-{number}"))
    started = time.monotonic()
    await asyncio.gather(*(settle_all() for _ in range(WRITERS)))
    in_a_queue = WRITERS * (time.monotonic() - started) / len(waits)
    return max(waits) / in_a_queue


def test_of_twelve_tasks_nobody_waits_much_longer_than_in_a_queue(tmp_path):
    pytest.importorskip("aiosqlite")

    async def measure():
        store = AsyncSQLStore(f"sqlite+aiosqlite:///{tmp_path / 'payments.db'}")
        count = WRITERS * ROUNDS
        turns = [
            await slowest_write_of_a_task(store, range(first, first + count))
            for first in (1, 1001, 2001)
        ]
        await store.aclose()
        return turns

    turns = asyncio.run(measure())
    print(f"the slowest write took {turns} turns of a queue")
    assert statistics.median(turns) < 2
