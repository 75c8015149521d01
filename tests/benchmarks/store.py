"""What a payment costs the database with 1,000 stored payments and with 1,000,000, and the plans.

    python tests/benchmarks/store.py [FILE.json] [ROWS]

Initiate, notify, status and reconcile's search, each as the store's calls of that flow, on SQLite
and on PostgreSQL. Small and large take turns; the figure is the median of the ratios. Exit code 1
if a ratio is over 1.1.
"""

import json
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import event, text

sys.path.insert(0, str(Path(__file__).parent.parent))

from aplus_adapters import OrderCode, Outcome, SQLStore
from aplus_adapters.testing.store_contract import an_attempt, an_observation, nothing
from support.postgres import Cluster

SMALL, LARGE = 1_000, 1_000_000
MOST = 1.1
CALLS = 25  # per round and side
ROUNDS = 40
NOW = datetime.now(UTC)
NUMBERS = {
    "sqlite": "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {rows})",
    "postgresql": "WITH numbers AS (SELECT generate_series(1, {rows}) AS n)",
}
MOMENTS = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f000', '{moment:%Y-%m-%d %H:%M:%S}', '-' || n || ' seconds')",
    "postgresql": "TIMESTAMPTZ '{moment:%Y-%m-%d %H:%M:%S}+00' - n * INTERVAL '1 second'",
}
# Of all payments 1 in 50 is open; their next call is far away, so that the search finds as many here
# as there.
FILL = """
INSERT INTO aplus_payments (payment_request_id, order_ref, occupied_order, client_id, state, currency,
    amount_value, request_body, created_at, expires_at, next_call_at, changed_at, payment_id, wallet)
{numbers} SELECT 'old' || n, 'OLD-' || n,
    CASE WHEN n % 10 < 7 OR n % 50 = 9 THEN 'OLD-' || n END, 'C',
    CASE WHEN n % 50 = 9 THEN 'pending' WHEN n % 10 < 7 THEN 'succeeded' ELSE 'failed' END, 'JPY',
    4200, {body}, {then}, {then}, CASE WHEN n % 50 = 9 THEN {later} END, {then}, 'P' || n, 'WALLET'
FROM numbers
"""
SAID = """
INSERT INTO aplus_observations (payment_request_id, details)
{numbers} SELECT 'old' || n, '{{"source": "notification", "outcome": "succeeded"}}' FROM numbers
"""


class Side:
    """One database with so many payments in it."""

    def __init__(self, kind, address, rows):
        self.kind, self.rows, self.number = kind, rows, 0
        self.store = SQLStore(address)
        self.store.set_up()
        self.seen = []
        numbers = NUMBERS[kind].format(rows=rows)
        body = "randomblob(700)" if kind == "sqlite" else "decode(repeat(md5(n::text), 22), 'hex')"
        then = MOMENTS[kind].format(moment=NOW)
        later = MOMENTS[kind].format(moment=NOW + timedelta(days=365))
        started = time.monotonic()
        with self.store.engine.connect() as connection:
            # The filling alone may take longer than any statement of the shop.
            if kind == "postgresql":
                connection.execute(text("SET statement_timeout = 0"))
            self._unwatched(
                connection, FILL.format(numbers=numbers, body=body, then=then, later=later)
            )
            self._unwatched(connection, SAID.format(numbers=numbers))
        with self.store.engine.connect().execution_options(
            isolation_level="AUTOCOMMIT"
        ) as connection:
            self._unwatched(connection, "ANALYZE" if kind == "sqlite" else "VACUUM ANALYZE")
        self.store.engine.dispose()
        print(f"{kind}: {rows:,} payments made in {time.monotonic() - started:.0f} s", flush=True)

    @staticmethod
    def _unwatched(connection, statement):
        """Run on the driver itself, past the time-outs of the store."""
        driver = connection.connection.dbapi_connection
        cursor = driver.cursor()
        cursor.execute(statement)
        cursor.close()
        if not getattr(driver, "autocommit", False):
            driver.commit()

    def initiate(self):
        self.number += 1
        number = f"new{self.number}"
        attempt = self.store.add(
            an_attempt(
                order_ref=number, payment_request_id=number, created_at=NOW, next_call_at=NOW
            )
        )
        later = NOW + timedelta(days=400)
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
        self.store.due(NOW, 100)

    def plans(self):
        """Give the plan of each statement that the operations send."""
        engine, statements = self.store.engine, {}

        def note(_connection, _cursor, statement, parameters, _context, _many):
            if "aplus_" in statement and statement.split()[0] in ("SELECT", "UPDATE"):
                statements.setdefault(statement, parameters)

        event.listen(engine, "before_cursor_execute", note)
        for name in OPERATIONS:
            getattr(self, name)()
        event.remove(engine, "before_cursor_execute", note)
        explain = "EXPLAIN QUERY PLAN " if self.kind == "sqlite" else "EXPLAIN "
        with engine.connect() as connection:
            for statement, parameters in statements.items():
                rows = connection.exec_driver_sql(explain + statement, parameters).all()
                words = " ".join(statement.split())
                shown = (
                    words
                    if len(words) < 60
                    else f"{words[:12]}... {words[words.find('WHERE') :][:80]}"
                )
                yield shown, [str(row[-1]).strip() for row in rows]


OPERATIONS = ("initiate", "notify", "status", "search")


def timed(operation, calls):
    spent = 0.0
    for _ in range(calls):
        started = time.perf_counter()
        inner = operation()
        spent += inner if inner is not None else time.perf_counter() - started
    return spent


def compare(small, large, name):
    ratios = []
    for number in range(-2, ROUNDS):
        order = (small, large) if number % 2 else (large, small)
        spent = {side.rows: timed(getattr(side, name), CALLS) for side in order}
        if number >= 0:
            ratios.append(spent[large.rows] / spent[small.rows])
    return statistics.median(ratios)


def main(file=None, rows=str(LARGE)):
    results, missed = [], False
    cluster = Cluster()
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("sqlite", "postgresql"):
            addresses = [
                f"sqlite:///{folder}/{size}.db" if kind == "sqlite" else cluster.database()
                for size in ("small", "large")
            ]
            small = Side(kind, addresses[0], SMALL)
            large = Side(kind, addresses[1], int(rows))
            for name in OPERATIONS:
                ratio = compare(small, large, name)
                missed = missed or ratio > MOST
                verdict = "ok" if ratio <= MOST else "MISSED"
                print(
                    f"{kind} {name}: {ratio:.3f} times the cost (bound {MOST}) {verdict}",
                    flush=True,
                )
                results.append(
                    {"name": f"{kind} {name}", "ratio": ratio, "bound": MOST, "verdict": verdict}
                )
            for statement, plan in large.plans():
                print(f"  {statement}")
                for line in plan:
                    print(f"      {line}")
                    assert "Seq Scan" not in line, line
                    assert not line.startswith("SCAN"), line
            small.store.close()
            large.store.close()
    cluster.remove()
    if file:
        Path(file).write_text(json.dumps({"at": NOW.isoformat(), "results": results}, indent=1))
    sys.exit(missed)


if __name__ == "__main__":
    main(*sys.argv[1:])
