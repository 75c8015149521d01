"""Programs that make an event loop for each piece of work: files and threads stay as they were.

`asyncio.run` in a job of cron's, and the async views of Flask, each of which has a loop of its own.
"""

import asyncio
import gc
import os
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from aplus_adapters import AplusPay, MemoryStore, State
from aplus_adapters.payments.flows.initiate import initiate
from support.databases import DATABASES, new_database
from support.racing_shop import BUYER
from support.shop import AsyncShop, Shop

LONG = bool(os.environ.get("APLUS_LONG"))
RUNS = 500 if LONG else 40
pytestmark = pytest.mark.process

SHOPS = {"memory": AsyncShop, "sqlite": Shop, "postgresql": AsyncShop, "mysql": AsyncShop}


@pytest.fixture(params=["memory", *DATABASES])
def pay(request, tmp_path, simulated_account):
    if request.param == "memory":
        store = MemoryStore()
    else:
        from aplus_adapters import SQLStore

        store = SQLStore(new_database(request.param, tmp_path, request))
    made = AplusPay(account=simulated_account, store=store, hooks=SHOPS[request.param]())
    yield made
    asyncio.run(made.aclose())
    getattr(store, "close", lambda: None)()


def of_the_process():
    """Return its files, its threads of Python and its threads of the system."""
    gc.collect()
    files, tasks = [
        {entry.name for entry in Path(f"/proc/self/{kind}").iterdir()} for kind in ("fd", "task")
    ]
    return files, set(threading.enumerate()), tasks


def start_every_thread(pay):
    """Let the store's threads be as many as they may become: they are kept for later calls."""
    for threads in (pay.async_performer._reading, pay.async_performer._writing):
        meeting = threading.Barrier(threads._max_workers)
        for started in [threads.submit(meeting.wait) for _ in range(threads._max_workers)]:
            started.result(timeout=30)


def settled(figures):
    """Return the figures once they stay the same: a thread that was used may still be ending."""
    deadline, last = time.monotonic() + 10, None
    while (now := figures()) != last and time.monotonic() < deadline:
        last = now
        time.sleep(0.3)
    return now


def assert_flat(pay, run):
    others = of_the_process()[1:]  # threads of earlier tests, which may end at any moment

    def figures():
        files, *threads = of_the_process()
        return len(files), *(
            len(mine - theirs) for mine, theirs in zip(threads, others, strict=True)
        )

    start_every_thread(pay)
    for number in range(3):
        run(number)
    before = after = settled(figures)
    for number in range(3, RUNS + 3):
        run(number)
    deadline = time.monotonic() + 10
    while (after := figures()) != before and time.monotonic() < deadline:
        time.sleep(0.05)  # a thread that was used is ending
    print(f"\n{RUNS} runs: files, threads of Python, of the system: before {before}, after {after}")
    assert after == before


async def buy_and_reconcile(pay, simulator, number):
    """Let a buyer refuse a payment that is due; reconcile finds it by one inquiry."""
    attempt = await pay.run_async(initiate(pay.config, f"A-{number}", BUYER))
    simulator.decide(attempt.payment_request_id, "refuse")
    pay.store.release(attempt.payment_request_id, attempt.claim, attempt.created_at)
    done = await pay.reconcile_async()
    assert (done.became_final, done.failed) == (1, 0)
    assert pay.store.get(attempt.payment_request_id).state is State.FAILED
    return "settled"


def test_files_and_threads_are_flat_over_many_runs_of_asyncio(pay, simulator):
    assert_flat(pay, lambda number: asyncio.run(buy_and_reconcile(pay, simulator, number)))


@pytest.mark.skipif(not find_spec("asgiref"), reason="flask[async] is not installed")
def test_files_and_threads_are_flat_over_many_async_views_of_flask(pay, simulator):
    from flask import Flask

    app = Flask("shop")

    @app.post("/orders/<int:number>")
    async def order(number):
        return await buy_and_reconcile(pay, simulator, number)

    browser = app.test_client()

    def run(number):
        with browser.post(f"/orders/{number}") as reply:
            assert (reply.status_code, reply.text) == (200, "settled")

    assert_flat(pay, run)
