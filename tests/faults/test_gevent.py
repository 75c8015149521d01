"""gunicorn -k gevent: one blocked greenlet blocks them all, so nothing of ours may block."""

import os
import re
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import pytest

from support.databases import new_database
from support.servers import serving

pytestmark = pytest.mark.process


# psycopg2 is told to wait as psycogreen does it.
KINDS = [("sqlite", "address"), ("postgresql", "engine"), ("psycopg2", "address")]
KINDS += [("mysql", "address")]
if os.environ.get("APLUS_LONG"):
    KINDS = [*product(["sqlite", "postgresql", "psycopg2", "mysql"], ["address", "engine"])]
IN_TIME = 5  # seconds: the promise to users, not a speed


@pytest.mark.parametrize(("kind", "given"), KINDS)
def test_eight_greenlets_at_once_for_each_of_five_payments_are_right_in_time(
    kind, given, tmp_path, request
):
    """Each hook lets the others go on while it holds the lock that they wait for."""
    server = {"psycopg2": "postgresql"}.get(kind, kind)
    database = new_database(server, tmp_path, request)
    if kind == "psycopg2":
        database = database.replace("+psycopg:", "+psycopg2:")
    environ = {**os.environ, "DATABASE": database, "GIVEN": given}
    log = tmp_path / "log"

    def notify(number):
        started = time.monotonic()
        reply = client.get(f"{base}{number}")
        assert reply.status_code == 200, log.read_text()[-3000:]
        return number, *reply.json()[1:], time.monotonic() - started

    with serving("gevent", environ, log) as (client, base), ThreadPoolExecutor(40) as threads:
        for first in (1, 6, 11):  # a busy machine may be slow once, what blocks is slow each time
            five = range(first, first + 5)
            answers = list(threads.map(notify, [*five] * 8))
            assert [refs for _, refs, *_ in answers] == [[f"A-{number}"] for number, *_ in answers]
            assert Counter(n for n, _, settles, _ in answers if settles) == Counter(five)
            slowest = max(took for *_, took in answers)
            print(f"gevent, {kind}, {given}: slowest of 40 answers after {slowest:.2f} s")
            if slowest < IN_TIME:
                break
    assert slowest < IN_TIME


LATE = "store = SQLStore({})\nmonkey.patch_all()\nstore.get('pay1')"
REFUSED = {
    "psycopg2": (
        "monkey.patch_all()\nSQLStore('postgresql+psycopg2://x/y')",
        "psycopg2 under gevent",
    ),
    "psycopg2, gevent came later": (
        LATE.format("'postgresql+psycopg2://x/y'"),
        "psycopg2 under gevent",
    ),
    "psycopg, gevent came later": (
        LATE.format("'postgresql+psycopg://x/y'"),
        "psycopg imported before gevent.*--preload",
    ),
    "sessions, gevent came later": (
        LATE.format("sessionmaker(create_engine('postgresql+psycopg://x/y'))"),
        "psycopg imported before gevent.*--preload",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_driver_that_would_block_every_greenlet_is_refused_before_it_is_used(what):
    code, message = REFUSED[what]
    script = f"""
from gevent import monkey
from sqlalchemy import create_engine
from sqlalchemy.orm import sessionmaker
from aplus_adapters import SQLStore
{code}
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert re.search(f"ConfigurationError: .*{message}", done.stderr), done.stderr[-2000:]
