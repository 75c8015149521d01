"""The example shops and the simulator as processes, a buyer, and the operator's commands."""

import subprocess
import sys
import time
from contextlib import contextmanager

import httpx

from aplus_adapters.cli.demo import Demo

HTML = {"Accept": "text/html", "User-Agent": "Mozilla/5.0", "Accept-Language": "en"}
EACH_WORLD = ("flask", "starlette")  # one of WSGI, one of ASGI


@contextmanager
def running(framework, tmp_path, **options):
    demo = Demo(framework, tmp_path, **options)
    with demo.running(), httpx.Client(base_url=demo.address, trust_env=False, timeout=30) as buyer:
        yield demo, buyer


def press_pay(buyer):
    order = buyer.post("/orders", data={"item": "Ticket"})
    order_ref = order.headers["location"].rpartition("/")[2]
    started = buyer.post("/aplus/pay", data={"order_ref": order_ref}, headers=HTML)
    assert started.status_code == 303
    return order_ref, started.headers["location"].rpartition("/")[2]


def wait_until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def command(demo, *words, **options):
    return subprocess.run(
        [sys.executable, "-m", *words], env=demo.environ, cwd=demo.script.parent,
        capture_output=True, text=True, check=False, timeout=60, **options,
    )  # fmt: skip


def make_due(demo):
    """Let the time pass until the next call of each open payment."""
    _update(demo, "next_call_at = created_at WHERE next_call_at IS NOT NULL")


def end_claims(demo):
    """Let the time pass for which a worker that was killed keeps its claims (Timing.claim)."""
    _update(demo, "claimed_until = created_at WHERE claimed_until IS NOT NULL")


def _update(demo, change):
    import sqlite3

    connection = sqlite3.connect(demo.database)
    with connection:
        connection.execute(f"UPDATE aplus_payments SET {change}")
    connection.close()
