"""SQLite keeps no queue of those who want its write lock: nobody starves for it all the same."""

import time
from concurrent.futures import ThreadPoolExecutor

from aplus_adapters import SQLStore
from aplus_adapters.testing.store_contract import an_attempt, an_observation

WRITERS, ROUNDS = 12, 20
HELD = 0.02  # seconds for which each writer has the lock


def hold(_transition, _connection):
    time.sleep(HELD)


def test_of_twelve_who_always_want_to_write_nobody_waits_much_longer_than_in_a_queue(tmp_path):
    store = SQLStore(f"sqlite:///{tmp_path / 'payments.db'}")
    numbers = range(1, WRITERS * ROUNDS + 1)
    for number in numbers:
        store.add(an_attempt(number, f"A-{number}"))

    def settle(number):
        started = time.monotonic()
        store.record(f"pay{number}", an_observation(), hold)
        return time.monotonic() - started

    started = time.monotonic()
    with ThreadPoolExecutor(WRITERS) as threads:
        waits = list(threads.map(settle, numbers))
    in_a_queue = WRITERS * (time.monotonic() - started) / len(waits)
    print(f"the slowest of {len(waits)} writes took {max(waits) / in_a_queue:.1f} turns of a queue")
    assert max(waits) < 2 * in_a_queue
    store.close()
