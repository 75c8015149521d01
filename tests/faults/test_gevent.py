"""gunicorn -k gevent: one blocked greenlet blocks them all, so nothing of ours may block."""

import os
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from conftest import new_database
from test_forks import serving

pytestmark = pytest.mark.process


@pytest.mark.parametrize("given", ["address", "engine"])
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_eight_greenlets_at_once_for_each_of_five_payments_are_right_in_time(
    kind, given, tmp_path, request
):
    """Each hook lets the others go on while it holds the lock that they wait for."""
    environ = {**os.environ, "DATABASE": new_database(kind, tmp_path, request), "GIVEN": given}
    log = tmp_path / "log"

    def notify(number):
        started = time.monotonic()
        reply = client.get(f"{base}{number}")
        assert reply.status_code == 200, log.read_text()[-3000:]
        return number, *reply.json()[1:], time.monotonic() - started

    with serving("gevent", environ, log) as (client, base), ThreadPoolExecutor(40) as threads:
        answers = list(threads.map(notify, [*range(1, 6)] * 8))
    assert [refs for _, refs, *_ in answers] == [[f"A-{number}"] for number, *_ in answers]
    assert Counter(n for n, _, settles, _ in answers if settles) == Counter(range(1, 6))
    slowest = max(took for *_, took in answers)
    print(f"gevent, {kind}, {given}: slowest of 40 answers after {slowest:.2f} s")
    assert slowest < 5  # the promise to users, not a speed


def test_psycopg2_that_would_block_every_greenlet_is_refused_at_start():
    script = """
from gevent import monkey
monkey.patch_all()
from aplus_adapters import SQLStore
SQLStore("postgresql+psycopg://x/y").close()
SQLStore("sqlite:///y.db").close()
try:
    SQLStore("postgresql+psycopg2://x/y")
except Exception as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "ConfigurationError" in done.stdout
    assert "psycopg2 under gevent" in done.stdout
