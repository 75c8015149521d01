"""No question of an operator's costs more with many payments: the rows and steps that each takes.

tests/benchmarks/asking.py measures the time with a million payments.
"""

import json
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import event

from aplus_adapters import AplusPay
from aplus_adapters.payments.model import Stage
from support.many_payments import ManyPayments, filters
from support.shop import Clock, Shop

SMALL, LARGE = 1_000, 20_000
LIMIT = 50
# Of the rows of an index: six states of two accounts, each with a page and one row more, and the page.
MOST_ROWS = 13 * (LIMIT + 1)
QUESTIONS = [
    *(name for name, _ in filters(LARGE)),
    "health",
    "conflicts",
    "due",
    "old",
    "old and paid",
]


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    sides = [
        ManyPayments("sqlite", f"sqlite:///{folder}/{rows}.db", rows) for rows in (SMALL, LARGE)
    ]
    for side in sides:
        side.contradict()
    yield sides
    for side in sides:
        side.store.close()


@contextmanager
def filled(kind, address):
    side = ManyPayments(kind, address, LARGE)
    side.contradict()
    yield side
    side.store.close()


@pytest.fixture(scope="module")
def postgresql(postgres):
    with filled("postgresql", postgres.database()) as side:
        yield side


@pytest.fixture(scope="module")
def mariadb(mysql):
    with filled("mysql", mysql.database()) as side:
        yield side


def ask(side, question, account):
    clock = Clock(side.now)
    pay = AplusPay(account=account, store=side.store, hooks=Shop(), clock=clock)
    if question == "due":
        return side.store.due(clock.now(), 100, ["C", "D"])
    if question in ("old", "old and paid"):  # a batch of `prune`
        stage = Stage.PAID if question == "old and paid" else Stage.OVER
        middle = side.now - timedelta(seconds=side.rows // 2)
        page = side.store.old_payments(stage, middle, LIMIT, None)
        return side.store.old_payments(stage, middle, LIMIT, page.after)
    if question in ("health", "conflicts"):
        return getattr(pay, question)()
    return side.store.find_page(dict(filters(side.rows))[question], LIMIT)


def steps(side, question, account):
    """Return how many instructions SQLite's machine runs, in hundreds."""
    taken = []

    def begin(driver, *_):
        driver.set_progress_handler(lambda: taken.append(1), 100)

    def end(driver, *_):
        driver.set_progress_handler(None, 0)

    event.listen(side.store.engine, "checkout", begin)
    event.listen(side.store.engine, "checkin", end)
    ask(side, question, account)
    event.remove(side.store.engine, "checkout", begin)
    event.remove(side.store.engine, "checkin", end)
    return len(taken)


@pytest.mark.parametrize("question", QUESTIONS)
def test_sqlite_takes_as_many_steps_with_twenty_times_the_payments(sqlite, account, question):
    small, large = (steps(side, question, account) for side in sqlite)
    print(f"{question}: {small}00 steps with {SMALL} payments, {large}00 with {LARGE}")
    assert large <= 1.2 * small + 1


def examined(node):
    """Return how many rows the scans below a node of a plan look at."""
    below = sum(examined(child) for child in node.get("Plans", ()))
    if "Relation Name" not in node:
        return below
    rows = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
    return below + rows * node["Actual Loops"]


@pytest.mark.parametrize("question", QUESTIONS)
def test_postgresql_looks_at_no_more_rows_than_a_page_needs(postgresql, account, question):
    statements = postgresql.statements([lambda: ask(postgresql, question, account)])
    assert statements
    with postgresql.store.engine.connect() as connection:
        for statement, parameters in statements.items():
            explain = "EXPLAIN (ANALYZE, FORMAT JSON) " + statement
            (plan,) = connection.exec_driver_sql(explain, parameters).scalar_one()
            rows = examined(plan["Plan"])
            print(f"{question}: {rows} rows of {LARGE} payments")
            assert rows <= MOST_ROWS, json.dumps(plan, indent=1)


def rows_read(server):
    """Return how many rows the server has read so far, by an index or without."""
    return sum(int(value) for _, value in server.run("SHOW GLOBAL STATUS LIKE 'Handler_read%'"))


@pytest.mark.parametrize("question", QUESTIONS)
def test_mariadb_reads_no_more_rows_than_a_few_pages_have(mariadb, mysql, account, question):
    ask(mariadb, question, account)  # connects
    before, again = rows_read(mysql), rows_read(mysql)
    ask(mariadb, question, account)
    rows = rows_read(mysql) - again - (again - before)  # to ask for the numbers reads rows as well
    print(f"{question}: {rows} rows of {LARGE} payments")
    assert rows <= 4 * MOST_ROWS


@pytest.mark.parametrize("name", [name for name, _ in filters(SMALL)])
def test_the_limit_of_a_page_is_text_where_the_list_has_an_index_for_it_and_nowhere_else(
    sqlite, account, name
):
    # As a parameter, PostgreSQL plans the statement again each time if it has many payments. As text,
    # it may plan once for all values: to read another index until enough is found that fits.
    small, _ = sqlite
    asked = small.statements([lambda: ask(small, name, account)])
    limits = {"LIMIT ?" in statement for statement in asked if "LIMIT" in statement}
    assert limits == {name in ("order", "order and state") or "attention" in name}


@pytest.mark.parametrize("question", ["health", "conflicts", "due", "old", "old and paid"])
def test_where_values_decide_about_the_plan_the_limit_is_a_parameter(sqlite, account, question):
    small, _ = sqlite
    asked = small.statements([lambda: ask(small, question, account)])
    limits = ["LIMIT ?" in one for one in asked if "LIMIT" in one and "client_id" not in one[:40]]
    assert any(limits)
