"""A database with very many payments in it, made by SQL, and the plans of what is asked of it."""

import time
from datetime import UTC, datetime, timedelta

from attrs import frozen
from sqlalchemy import NullPool, create_engine, event

from aplus_adapters import Amount, PaymentFilter, SQLStore, State
from aplus_adapters.payments.search import page_key
from aplus_adapters.testing.store_contract import an_observation, nothing

NOW = datetime.now(UTC)


@frozen(kw_only=True)
class Words:
    """How a kind of database writes what fills the tables."""

    numbers: str
    body: str
    then: str  # n seconds before a moment
    at: str  # a moment
    false: str
    before: tuple[str, ...] = ()
    after: tuple[str, ...]


WORDS = {
    "sqlite": Words(
        numbers="WITH RECURSIVE numbers(n) AS "
        "(SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {rows})",
        body="randomblob(700)",
        then="strftime('%Y-%m-%d %H:%M:%f000', '{moment}', '-' || n || ' seconds')",
        at="'{moment}.000000'",
        false="0",
        after=("ANALYZE",),
    ),
    "postgresql": Words(
        numbers="WITH numbers AS (SELECT generate_series(1, {rows}) AS n)",
        body="decode(repeat(md5(n::text), 22), 'hex')",
        then="TIMESTAMPTZ '{moment}+00' - n * INTERVAL '1 second'",
        at="TIMESTAMPTZ '{moment}+00'",
        false="false",
        after=("VACUUM ANALYZE",),
    ),
    "mysql": Words(
        numbers="WITH numbers AS (SELECT seq AS n FROM seq_1_to_{rows})",
        body="UNHEX(REPEAT(MD5(n), 22))",
        then="TIMESTAMP'{moment}' - INTERVAL n SECOND",
        at="TIMESTAMP'{moment}'",
        false="0",
        before=("SET SESSION sql_mode = CONCAT(@@sql_mode, ',PIPES_AS_CONCAT')",),
        after=("ANALYZE TABLE aplus_payments, aplus_observations",),
    ),
}
# Of all payments 1 in 50 is open; their next call is not due yet, and not planned too far ahead either,
# so that the search finds as many here as there. Two accounts and five wallets share the payments.
FILL = """
INSERT INTO aplus_payments (shop, payment_request_id, order_ref, occupied_order, client_id, state, currency,
    amount_value, request_body, created_at, expires_at, next_call_at, changed_at, payment_id, wallet,
    wallet_key, claim, success_reported, refunded, stage)
{numbers} SELECT 'shop', 'old' || n, 'OLD-' || n,
    CASE WHEN n % 10 < 7 OR n % 50 = 9 THEN 'OLD-' || n END, CASE WHEN n % 3 = 0 THEN 'D' ELSE 'C' END,
    CASE WHEN n % 50 = 9 THEN 'pending' WHEN n % 10 < 7 THEN 'succeeded' ELSE 'failed' END, 'JPY',
    4200, {body}, {then}, {then}, CASE WHEN n % 50 = 9 THEN {later} END, {then}, 'P' || n,
    CASE WHEN n % 10 < 7 THEN 'WALLET' || (n % 5) END, CASE WHEN n % 10 < 7 THEN 'WALLET' || (n % 5) END,
    0, {false}, 0,
    CASE WHEN n % 50 = 9 THEN NULL WHEN n % 10 < 7 THEN 'paid' ELSE 'over' END
FROM numbers
"""
SAID = """
INSERT INTO aplus_observations (shop, payment_request_id, source, details, count, first_at)
{numbers} SELECT 'shop', 'old' || n, CASE WHEN n % 5 = 0 THEN 'pay' ELSE 'inquiry' END,
    '{{"source": "inquiry", "outcome": "in process", "at": "2026-11-23T12:00:00+00:00", "clientId": "C"}}', 1, {then}
FROM numbers
"""


# All filters with as many matches in the small database as fill a page.
FILTERS = {
    "all": {},
    "oldest first": {"oldest_first": True},
    "state": {"state": State.FAILED},
    "a state that nothing has": {"state": State.CLOSING},
    "account": {"account": "D"},
    "wallet": {"wallet": "WALLET1"},
    "an unknown wallet": {"wallet": "NONE"},
    "order": {"order_ref": "OLD-77"},
    "order and state": {"order_ref": "OLD-77", "state": State.FAILED},
    "since": {"since": NOW - timedelta(seconds=500)},
    "since and until": {
        "since": NOW - timedelta(seconds=500),
        "until": NOW - timedelta(seconds=300),
    },
    "state and account": {"state": State.SUCCEEDED, "account": "C"},
    "state and wallet": {"state": State.SUCCEEDED, "wallet": "WALLET1"},
    "account and wallet": {"account": "C", "wallet": "WALLET1"},
    "account and an unknown wallet": {"account": "C", "wallet": "NONE"},
    "state, account, wallet, until": {
        "state": State.SUCCEEDED,
        "account": "C",
        "wallet": "WALLET1",
        "until": NOW - timedelta(seconds=100),
    },
    "needs attention": {"needs_attention": True},
    "needs attention and state": {"needs_attention": True, "state": State.SUCCEEDED},
}


def filters(rows):
    for name, conditions in FILTERS.items():
        yield name, PaymentFilter(**conditions)
    middle = page_key(NOW - timedelta(seconds=rows // 2), f"old{rows // 2}")
    for name in ("all", "state", "wallet"):
        yield f"{name}, a page from the middle", PaymentFilter(**FILTERS[name], after=middle)


class ManyPayments:
    """A store on a database with so many payments in it."""

    def __init__(self, kind, address, rows):
        self.kind, self.rows, self.now = kind, rows, NOW
        self.operations = {}  # what a benchmark measures here, by name
        self.store = SQLStore(address)
        self.store.set_up()
        words = WORDS[kind]
        values = {
            "numbers": words.numbers.format(rows=rows),
            "body": words.body,
            "then": words.then.format(moment=f"{NOW:%Y-%m-%d %H:%M:%S}"),
            "later": words.at.format(moment=f"{NOW + timedelta(minutes=1):%Y-%m-%d %H:%M:%S}"),
            "false": words.false,
        }
        fill = (FILL.format_map(values), SAID.format_map(values))
        started = time.monotonic()
        # Not the store's own engine: the filling takes longer than any statement of a shop may.
        engine = create_engine(
            self.store.engine.url, poolclass=NullPool, isolation_level="AUTOCOMMIT"
        )
        with engine.connect().execution_options(no_parameters=True) as connection:
            for statement in (*words.before, *fill, *words.after):
                connection.exec_driver_sql(statement)
        print(f"{kind}: {rows:,} payments made in {time.monotonic() - started:.0f} s", flush=True)

    def contradict(self, times=60):
        """Store conflicts, so that there is something that needs attention."""
        for number in range(3, 3 + times):
            account = "D" if number % 3 == 0 else "C"
            wrong = an_observation(amount=Amount("JPY", 1), client_id=account)
            self.store.record(f"old{number}", wrong, nothing)

    def statements(self, operations):
        """Give each statement that the operations send, with its parameters."""
        engine, statements = self.store.engine, {}

        def note(_connection, _cursor, statement, parameters, _context, _many):
            if "aplus_" in statement and statement.split()[0] in ("SELECT", "UPDATE", "DELETE"):
                statements.setdefault(statement, parameters)

        event.listen(engine, "before_cursor_execute", note)
        for operation in operations:
            operation()
        event.remove(engine, "before_cursor_execute", note)
        return statements

    def plans(self, operations):
        """Give the plan of each statement that the operations send."""
        explain = "EXPLAIN QUERY PLAN " if self.kind == "sqlite" else "EXPLAIN "
        with self.store.engine.connect() as connection:
            for statement, parameters in self.statements(operations).items():
                rows = connection.exec_driver_sql(explain + statement, parameters).all()
                words = " ".join(statement.split())
                where = words.rfind("WHERE")
                shown = words if len(words) < 60 else f"{words[:12]}... {words[where:][:80]}"
                # A row of MySQL's is a step: table, how it is read, which index, how many rows.
                of_row = slice(2, None) if self.kind == "mysql" else slice(-1, None)
                yield shown, [" ".join(map(str, row[of_row])).strip() for row in rows]


def print_plan(plan):
    """Print a plan; fail if it reads a whole table of payments or observations."""
    for line in plan:
        print(f"      {line}")
        for table in ("aplus_payments", "aplus_observations"):
            assert f"Seq Scan on {table}" not in line, line
            assert not line.startswith((f"SCAN {table}", f"{table} ALL ")), line
