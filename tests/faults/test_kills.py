"""A real shop is killed with SIGKILL at random moments while buyers pay in it."""

import os
import random
import sqlite3
import threading
import time

import httpx
import pytest

from aplus_adapters.cli.demo import Demo
from support.demo_shop import command, end_claims, make_due

LONG = bool(os.environ.get("APLUS_LONG"))
KILLS = 200 if LONG else 4
HTML = {"Accept": "text/html", "User-Agent": "Mozilla/5.0"}
pytestmark = pytest.mark.process


class Buyers:
    """Buy and pay for as long as the shop may live; press again when it died."""

    def __init__(self, demo, seed):
        self.demo, self.chance = demo, random.Random(seed)
        self.done = threading.Event()
        self.bought, self.paid, self.errors = [], 0, 0
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        with httpx.Client(base_url=self.demo.address, trust_env=False, timeout=10) as browser:
            while not self.done.is_set():
                try:
                    self._buy(browser)
                except (httpx.HTTPError, KeyError):
                    self.errors += 1
                    time.sleep(0.05)

    def _buy(self, browser):
        order = browser.post("/orders", data={"item": "Ticket"})
        ref = order.headers["location"].rpartition("/")[2]
        self.bought.append(ref)
        request_id = None
        while request_id is None and not self.done.is_set():
            try:
                page = browser.post("/aplus/pay", data={"order_ref": ref}, headers=HTML)
                request_id = page.headers["location"].rpartition("/")[2]
            except (httpx.HTTPError, KeyError):
                self.errors += 1
                time.sleep(0.05)
        if request_id and self.demo.simulator.order(request_id):
            decision = self.chance.choice(["pay", "pay", "pay", "refuse"])
            self.demo.simulator.decide(request_id, decision)
            self.paid += decision == "pay"


def test_kill_9_at_random_moments_doubles_and_loses_nothing(tmp_path):
    chance = random.Random(12)
    demo = Demo("flask", tmp_path, time_scale=1000)
    with demo.running():
        buyers = Buyers(demo, seed=1)
        buyers.thread.start()
        for _ in range(KILLS):
            wait_for_a_payment(buyers)
            time.sleep(chance.random() * 0.8)
            demo.kill_shop()
            time.sleep(chance.random() * 0.1)
            demo.start_shop()
        buyers.done.set()
        buyers.thread.join()
        demo.kill_shop()
        end_claims(demo)
        for _ in range(5):
            for order in demo.simulator.orders():  # the first rounds may still create some
                if order["state"] == "OPEN":
                    demo.simulator.decide(order["paymentRequestId"], "refuse")
            make_due(demo)
            done = command(demo, "aplus_adapters.cli", "reconcile", "--shop", "flask_shop:pay")
            assert done.returncode == 0, done.stderr
        check(demo, buyers)


def wait_for_a_payment(buyers):
    """Let the shop live until somebody has paid, however slow the machine is."""
    before, deadline = buyers.paid, time.monotonic() + 30
    while buyers.paid == before and time.monotonic() < deadline:
        time.sleep(0.01)


def check(demo, buyers):
    connection = sqlite3.connect(demo.database)
    attempts = connection.execute(
        "SELECT payment_request_id, order_ref, state FROM aplus_payments"
    ).fetchall()
    shop_says = dict(connection.execute("SELECT ref, status FROM orders"))
    connection.close()
    states = {request_id: state for request_id, _, state in attempts}
    orders = demo.simulator.orders()
    paid = [one for one in orders if one["state"] == "PAID"]
    unknown = [one for one in orders if one["paymentRequestId"] not in states]
    lost = [one for one in paid if states.get(one["paymentRequestId"]) != "succeeded"]
    lost += [one for one in paid if shop_says.get(one["referenceOrderId"]) != "paid"]
    per_order = [one["referenceOrderId"] for one in paid]
    bodies = [{c["bodySha256"] for c in one["requests"] if c["call"] == "pay"} for one in orders]
    print(
        f"{KILLS} kills: {len(buyers.bought)} bought, {len(orders)} orders at Alipay+, {len(paid)} "
        f"paid, {buyers.errors} pages lost, {len(lost)} payments lost, "
        f"{len(per_order) - len(set(per_order))} doubled"
    )
    assert unknown == []
    assert lost == []
    assert len(per_order) == len(set(per_order))
    assert all(len(one) == 1 for one in bodies)
    assert [row for row in attempts if row[2] in ("created", "pending")] == []
    assert {ref for ref, status in shop_says.items() if status == "paid"} == set(per_order)
    assert len(paid) >= KILLS / 4  # it did live between its deaths
