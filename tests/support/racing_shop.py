"""A shop over any database whose hook writes one row for each effect; also a worker process.

    python racing_shop.py notify FILE    deliver each notification of FILE, twice at once
    python racing_shop.py press REF N    press pay N times at once for one order

`pay` is what `aplus reconcile --shop racing_shop:make_pay` uses. Settings come from APLUS_* and
DATABASE.
"""

import base64
import json
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import text

from aplus_adapters import Account, Amount, AplusPay, OrderToPay, SQLStore, Visitor
from aplus_adapters.payments.flows.initiate import initiate
from aplus_adapters.payments.flows.notification import receive

BUYER = Visitor(user_agent="Mozilla/5.0")


class Shop:
    def load_order(self, details):
        return OrderToPay(amount=Amount("JPY", 4200), description="2 tickets")

    def payment_changed(self, details):
        values = {"ref": details.attempt.order_ref, "state": details.attempt.state.value}
        details.connection.execute(text("INSERT INTO effects VALUES (:ref, :state)"), values)

    def payment_conflict(self, details):
        pass


def make_store(database):
    store = SQLStore(database)
    with store.engine.begin() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS effects (ref TEXT, state TEXT)"))
    return store


def make_pay(account=None, database=None):
    store = make_store(database or os.environ["DATABASE"])
    return AplusPay(account=account or Account.from_env(), store=store, hooks=Shop())


def effects(store):
    with store.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text("SELECT ref, state FROM effects"))]


def deliver(pay, headers, body, patience=60.0):
    """Send a notification again until it is acknowledged, as Alipay+ does; give how often."""
    deadline = time.monotonic() + patience
    for sent in range(1, 1000):
        reply = pay.run(receive(pay.config, tuple(map(tuple, headers)), body))
        if reply.status == 200:
            return sent
        if time.monotonic() > deadline:
            raise AssertionError(f"not acknowledged in {patience:g} s: HTTP {reply.status}")
    return None


def at_once(count, work):
    """Do the same from many threads that start together."""
    start = threading.Barrier(count)

    def run(number):
        start.wait()
        return work(number)

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(run, range(count)))


def main(mode, *words):
    pay = make_pay()
    if mode == "notify":
        with open(words[0]) as file:  # noqa: PTH123
            told = json.load(file)
        sent = 0
        for headers, body in told:
            sent += sum(
                at_once(2, lambda _, h=headers, b=body: deliver(pay, h, base64.b64decode(b)))
            )
        print(json.dumps({"acknowledged": 2 * len(told), "sent": sent}))
    else:
        ref, count = words
        made = at_once(int(count), lambda _: pay.run(initiate(pay.config, ref, BUYER)))
        print(json.dumps([[one.payment_request_id, one.state.value] for one in made]))


if __name__ == "__main__":
    main(*sys.argv[1:])
