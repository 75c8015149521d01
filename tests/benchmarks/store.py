"""What a payment costs the database with 1,000 stored payments and with 1,000,000, and the plans.

    python tests/benchmarks/store.py [FILE.json] [ROWS]

Initiate, notify, status and reconcile's search, each as the store's calls of that flow, on SQLite,
PostgreSQL and MariaDB. Small and large take turns; the figure is the median of the ratios. Exit code 1
if a ratio is over 1.1.
"""

import atexit
import json
import statistics
import sys
import tempfile
import time
from datetime import timedelta
from operator import attrgetter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from aplus_adapters import OrderCode, Outcome
from aplus_adapters.testing.store_contract import an_attempt, an_observation, nothing
from support import mysql, postgres
from support.many_payments import NOW, ManyPayments, print_plan

SMALL, LARGE = 1_000, 1_000_000
MOST = 1.1
CALLS = 25  # per round and side
ROUNDS = 40


def servers():
    """Start the servers; the memory of one that nobody has set up holds a tenth of a million payments."""
    postgresql = postgres.Cluster("-c shared_buffers=1GB")
    atexit.register(postgresql.remove)  # also after an error
    mariadb = mysql.Cluster("--innodb-buffer-pool-size=2G")
    atexit.register(mariadb.remove)
    return {"postgresql": postgresql, "mysql": mariadb}


def address_of(kind, clusters, folder, size):
    """Make an empty database of a kind and give its address."""
    return f"sqlite:///{folder}/{size}.db" if kind == "sqlite" else clusters[kind].database()


class Side(ManyPayments):
    """One database with so many payments in it, and the store's calls of each flow."""

    number = 0

    def initiate(self):
        self.number += 1
        number = f"new{self.number}"
        attempt = self.store.add(
            an_attempt(
                order_ref=number, payment_request_id=number, created_at=NOW, next_call_at=NOW
            )
        )
        later = NOW + timedelta(minutes=1)
        assert self.store.claim(number, attempt.claim, later)
        said = an_observation(
            Outcome.CODE_ISSUED,
            order_code=OrderCode(text="281"),
            next_call_at=later,
            claim=attempt.claim + 1,
        )
        self.store.record(number, said, nothing)

    def notify(self):
        self.number += 1
        number = f"told{self.number}"
        attempt = an_attempt(order_ref=number, payment_request_id=number, next_call_at=None)
        self.store.add(attempt)
        started = time.perf_counter()
        assert self.store.record(number, an_observation(), nothing).became_final
        return time.perf_counter() - started

    def status(self):
        self.number += 1
        assert self.store.get(f"old{self.number * 7919 % self.rows + 1}")

    def search(self):
        self.store.due(NOW, 100, ["C", "D"])


OPERATIONS = ("initiate", "notify", "status", "search")


def timed(operation, calls):
    spent = 0.0
    for _ in range(calls):
        started = time.perf_counter()
        inner = operation()
        spent += inner if inner is not None else time.perf_counter() - started
    return spent


def compare(small, large, operation_of, calls=CALLS):
    """Give how many times as much an operation costs on the large side."""
    ratios = []
    for number in range(-2, ROUNDS):
        order = (small, large) if number % 2 else (large, small)
        spent = {side.rows: timed(operation_of(side), calls) for side in order}
        if number >= 0:
            ratios.append(spent[large.rows] / spent[small.rows])
    return statistics.median(ratios)


def main(file=None, rows=str(LARGE)):
    results, missed = [], False
    clusters = servers()
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("sqlite", *clusters):
            small = Side(kind, address_of(kind, clusters, folder, "small"), SMALL)
            large = Side(kind, address_of(kind, clusters, folder, "large"), int(rows))
            for name in OPERATIONS:
                ratio = compare(small, large, attrgetter(name))
                missed = missed or ratio > MOST
                verdict = "ok" if ratio <= MOST else "MISSED"
                print(
                    f"{kind} {name}: {ratio:.3f} times the cost (bound {MOST}) {verdict}",
                    flush=True,
                )
                results.append(
                    {"name": f"{kind} {name}", "ratio": ratio, "bound": MOST, "verdict": verdict}
                )
            for statement, plan in large.plans([getattr(large, name) for name in OPERATIONS]):
                print(f"  {statement}")
                print_plan(plan)
            small.store.close()
            large.store.close()
    if file:
        Path(file).write_text(json.dumps({"at": NOW.isoformat(), "results": results}, indent=1))
    sys.exit(missed)


if __name__ == "__main__":
    main(*sys.argv[1:])
