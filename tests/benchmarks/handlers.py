"""What a notification costs by the library and by hand, on each database and driver.

    python tests/benchmarks/handlers.py [FILE.json] [ROUNDS]

By hand: one kept connection of the same driver, plain SQL, the same rows made durable in one
transaction, the same signature verified and made. Both take turns in one process, without HTTP. The
figure is the median of the rounds' ratios. Exit code 1 if one is over 1.2.
"""

import asyncio
import json
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent))

from attrs import evolve
from sqlalchemy import make_url

from aplus_adapters import AplusPay, AsyncSQLStore, SQLStore
from aplus_adapters.payments.flows.notification import receive
from aplus_adapters.testing.signer import AlipayPlus

MOST = 1.2
EACH = 100  # payments of a round, for each of both
READ = (
    "SELECT state, currency, amount_value, payment_id FROM aplus_payments "
    "WHERE shop = 'shop' AND payment_request_id = {0}"
)
PAY = (
    "UPDATE aplus_payments SET state = 'succeeded', stage = 'paid', payment_id = {0}, result = {1}, "
    "payment_time = {2}, changed_at = {3}, next_call_at = NULL, claimed_until = NULL "
    "WHERE shop = 'shop' AND payment_request_id = {4}"
)
NOTE = (
    "INSERT INTO aplus_observations (shop, payment_request_id, source, details, count, first_at) "
    "VALUES ('shop', {0}, 'notification', {1}, 1, {2})"
)


class Hand:
    """A careful engineer's handler for one database: `steps` are the statements of a payment."""

    def __init__(self, mark, lock, to_time):
        numbers = range(5)
        marks = [mark.format(number + 1) for number in numbers]
        self.read = READ.format(*marks) + lock
        self.pay, self.note = PAY.format(*marks), NOTE.format(*marks)
        self.to_time = to_time

    def said(self, body):
        told = json.loads(body)
        now = self.to_time(datetime.now(UTC))
        request_id, result = told["paymentRequestId"], json.dumps(told["paymentResult"])
        paid = told["paymentId"], result, told.get("paymentTime"), now, request_id
        details = json.dumps({"source": "notification", "outcome": "succeeded", "at": str(now)})
        return request_id, paid, (request_id, details, now)

    def check(self, row, body):
        amount = json.loads(body)["paymentAmount"]
        assert row[0] == "pending"
        assert (row[1], str(row[2])) == (amount["currency"], amount["value"])


class BlockingHand(Hand):
    def __init__(self, connection, mark, lock, to_time, begin=None):
        super().__init__(mark, lock, to_time)
        self.connection, self.begin = connection, begin

    def notify(self, body):
        request_id, paid, noted = self.said(body)
        if self.begin:
            self.connection.execute(self.begin)
        self.check(self.connection.execute(self.read, (request_id,)).fetchone(), body)
        self.connection.execute(self.pay, paid)
        self.connection.execute(self.note, noted)
        self.connection.commit()


class AwaitingHand(Hand):
    """For asyncpg."""

    def __init__(self, connection):
        super().__init__("${}", " FOR UPDATE", lambda moment: moment)
        self.connection = connection

    async def notify(self, body):
        request_id, paid, noted = self.said(body)
        async with self.connection.transaction():
            self.check(await self.connection.fetchrow(self.read, request_id), body)
            await self.connection.execute(self.pay, *paid)
            await self.connection.execute(self.note, *noted)


class Side:
    """The payments of one side and what it has to say of them."""

    def __init__(self, folder, account, theirs):
        from bench_shop import ByHand

        self.byhand, self.account = ByHand(), account
        self.signer = AlipayPlus(account, theirs)
        self.number = 0

    def new(self):
        """Return new payments that wait to be paid, and their signed notifications."""
        from bench_shop import attempt

        self.number += EACH
        numbers = range(self.number, self.number + EACH)
        attempts = [
            evolve(attempt(n), expires_at=attempt(n).created_at + timedelta(hours=1))
            for n in numbers
        ]
        told = []
        for one in attempts:
            body = self.signer.notification(one)
            told.append((self.signer.sign(body), body))
        return attempts, told


def compare(side, pay, hand, store, run):
    """Return the seconds of EACH notifications by us and by hand."""
    spent = {}
    for who in ("us", "hand") if side.number // EACH % 2 else ("hand", "us"):
        attempts, told = side.new()
        for one in attempts:
            run(store.add(one))
        lower = [({n.lower(): v for n, v in headers.items()}, body) for headers, body in told]
        started = time.perf_counter()
        if who == "us":
            for headers, body in told:
                flow = receive(pay.config, tuple(headers.items()), body)
                assert run(pay.run_async(flow) if run is not plain else pay.run(flow)).status == 200
        else:
            for headers, body in lower:
                run(hand.notify(body))
                side.byhand.take(headers, body)
        spent[who] = time.perf_counter() - started
    return spent


def plain(value):
    return value


def measure(name, side, store, hand, run, rounds):
    from bench_shop import AsyncShop, Shop

    hooks = Shop() if run is plain else AsyncShop()
    pay = AplusPay(account=side.account, store=store, hooks=hooks)
    compare(side, pay, hand, store, run)
    rounds = [compare(side, pay, hand, store, run) for _ in range(rounds)]
    ratio = statistics.median(spent["us"] / spent["hand"] for spent in rounds)
    times = [
        1000 * statistics.median(spent[who] for spent in rounds) / EACH for who in ("us", "hand")
    ]
    print(f"{name}: {times[0]:.2f} ms, by hand {times[1]:.2f} ms", flush=True)
    return [(f"notification, {name}", ratio)]


def main():
    import asyncpg
    import psycopg

    from bench_shop import load, make_keys
    from support.postgres import Cluster

    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    cluster, results = Cluster(), []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_keys(folder)
        os.environ["BENCH"] = str(folder)
        side = Side(folder, *load(folder))

        file = folder / "shop.db"
        store = SQLStore(f"sqlite:///{file}")
        store.set_up()
        connection = sqlite3.connect(file, isolation_level=None)
        connection.execute("PRAGMA synchronous=FULL")
        hand = BlockingHand(connection, "?", "", lambda moment: str(moment)[:26], "BEGIN IMMEDIATE")
        results += measure("SQLite", side, store, hand, plain, rounds)

        address = cluster.database()
        store = SQLStore(address)
        store.set_up()
        url = make_url(address).set(drivername="postgresql").render_as_string(hide_password=False)
        hand = BlockingHand(psycopg.connect(url), "%s", " FOR UPDATE", plain)
        results += measure("PostgreSQL by psycopg", side, store, hand, plain, rounds)

        loop = asyncio.new_event_loop()
        address = address.replace("+psycopg", "+asyncpg")
        hand = AwaitingHand(loop.run_until_complete(asyncpg.connect(url)))
        awaiting = AsyncSQLStore(address)
        results += measure(
            "PostgreSQL by asyncpg", side, awaiting, hand, loop.run_until_complete, rounds
        )
        loop.run_until_complete(awaiting.aclose())
    cluster.remove()
    rows = []
    for step, ratio in results:
        verdict = "ok" if ratio <= MOST else "MISSED"
        rows.append({"name": step, "ratio": ratio, "bound": MOST, "verdict": verdict})
        print(f"{step:<45} {ratio:.2f} times by hand (bound {MOST}) {verdict}")
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(json.dumps({"results": rows}, indent=1))
    sys.exit(any(row["verdict"] == "MISSED" for row in rows))


if __name__ == "__main__":
    main()
