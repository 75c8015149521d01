"""A failing database is named by what was asked of it: each method of each store."""

import asyncio
import inspect
from datetime import timedelta

import pytest
from sqlalchemy import create_engine, event

from aplus_adapters import (
    AsyncSQLStore,
    InconsistentRetry,
    InvalidValue,
    PaymentFilter,
    SQLStore,
    StoreError,
)
from aplus_adapters.payments.model import Conflict, Source, Stage
from aplus_adapters.payments.refund_states import admit_refund
from aplus_adapters.payments.retention import Retention
from aplus_adapters.payments.states import advance
from aplus_adapters.payments.store import STORE_METHODS
from aplus_adapters.testing.store_values import NOON, a_refund, an_attempt, an_observation, nothing

LATER = NOON + timedelta(seconds=20)
CONFLICT = Conflict(attempt=an_attempt(), observation=an_observation(), reason="no")
CALLS = {
    "add": (an_attempt(),),
    "get": ("pay1",),
    "latest": ("A-1",),
    "claim": ("pay1", 0, LATER),
    "release": ("pay1", 0, LATER),
    "record": ("pay1", an_observation(), nothing),
    "due": (LATER, 10, ["C"]),
    "history": ("pay1",),
    "add_refund": (a_refund(),),
    "refunds": ("pay1",),
    "claim_refund": ("refund1", 0, LATER),
    "release_refund": ("refund1", 0, LATER),
    "due_refunds": (LATER, 10, ["C"]),
    "conflict_reported": (CONFLICT,),
    "unreported_conflicts": (10, ["C"]),
    "find_page": (PaymentFilter(), 10),
    "conflicts": (None, 10, None),
    "resolve_conflict": ("k", LATER, "me", "note"),
    "recent": (Source.PAY, 10),
    "note": ("round", LATER),
    "noted": ("round",),
    "old_payments": (Stage.OVER, LATER, 10, None),
    "delete_payments": (["pay1"], Retention()),
    "forget_buyers": (["pay1"], Retention()),
}


def drop_the_tables(path):
    """Make every later statement of the store fail."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        tables = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (name,) in tables.all():
            if not name.startswith("sqlite_"):
                connection.exec_driver_sql(f'DROP TABLE "{name}"')
    engine.dispose()


@pytest.fixture(params=[SQLStore, AsyncSQLStore], ids=["blocking", "awaiting"])
def broken(request, tmp_path):
    """Call a method of a store whose tables were dropped."""
    path = tmp_path / "payments.db"
    if request.param is AsyncSQLStore:
        pytest.importorskip("aiosqlite")

    async def awaited(name, arguments):
        store = AsyncSQLStore(f"sqlite+aiosqlite:///{path}")
        try:
            await store.get("pay1")
            drop_the_tables(path)
            await getattr(store, name)(*arguments)
        finally:
            await store.aclose()

    def call(name, *arguments):
        if request.param is AsyncSQLStore:
            return asyncio.run(awaited(name, arguments))
        store = SQLStore(f"sqlite:///{path}")
        store.set_up()
        drop_the_tables(path)
        try:
            return getattr(store, name)(*arguments)
        finally:
            store.close()

    return call


def test_every_method_of_a_store_is_called_here():
    assert tuple(CALLS) == STORE_METHODS


@pytest.mark.parametrize("method", CALLS)
def test_the_error_names_the_method_and_what_the_database_raised(broken, method):
    with pytest.raises(StoreError) as error:
        broken(method, *CALLS[method])
    assert str(error.value).startswith(f"store {method}: the database raised OperationalError (")
    assert "no such table" in str(error.value)
    assert "nothing is acknowledged until then" in str(error.value)


@pytest.mark.parametrize(("method", "name"), [("set_up", "set-up"), ("missing", "check")])
def test_the_error_of_setting_up_names_it(tmp_path, method, name):
    (tmp_path / "payments.db").mkdir()
    with pytest.raises(StoreError, match=f"^store {name}: the database raised OperationalError"):
        getattr(SQLStore(f"sqlite:///{tmp_path / 'payments.db'}"), method)()


def test_the_methods_of_both_stores_say_the_same():
    for name in STORE_METHODS:
        blocking, awaiting = getattr(SQLStore, name), getattr(AsyncSQLStore, name)
        assert inspect.getdoc(blocking)
        assert [*inspect.signature(blocking).parameters] == [
            *inspect.signature(awaiting).parameters
        ]


@pytest.mark.parametrize("of", ["payment", "refund"])
def test_a_refund_reads_those_of_its_payment_and_its_own_id_alone(tmp_path, of):
    """The others are of nobody's concern, and a shop may have a million of them."""
    store = SQLStore(f"sqlite:///{tmp_path / 'payments.db'}")
    for number in (1, 2, 3):
        paid = an_attempt(number, f"A-{number}")
        store.add(paid)
        store.record(paid.payment_request_id, an_observation(), nothing)
        store.add_refund(a_refund(number, payment_request_id=paid.payment_request_id))
    statements = []

    @event.listens_for(store.engine, "before_cursor_execute")
    def note(_connection, _cursor, statement, parameters, _context, _many):
        if "FROM aplus_refunds" in statement:
            statements.append((statement, parameters))

    refund = a_refund(4) if of == "payment" else a_refund(1)
    store.add_refund(refund)
    ((statement, parameters),) = statements
    with store.engine.connect() as connection:
        rows = connection.exec_driver_sql(statement, parameters).mappings().all()
    assert [row["refund_request_id"] for row in rows if row["refund_request_id"] != "refund4"] == [
        "refund1"
    ]
    store.close()


def test_the_id_of_another_payments_refund_is_found_before_anything_is_written(tmp_path):
    store = SQLStore(f"sqlite:///{tmp_path / 'payments.db'}")
    for number in (1, 2):
        store.add(an_attempt(number, f"A-{number}"))
        store.record(f"pay{number}", an_observation(), nothing)
    store.add_refund(a_refund(1))
    other = a_refund(1, payment_request_id="pay2", request_body=b"{}")
    with pytest.raises(InconsistentRetry, match="already used with other content"):
        store.add_refund(other)
    store.close()


def test_money_that_went_back_for_another_payment_leaves_all_of_this_one():
    """A store of the shop's own may read more than the refunds of the payment."""
    paid = advance(an_attempt(), an_observation()).after
    of_another = a_refund(2, 4200, payment_request_id="pay2")
    assert admit_refund(paid, [of_another], a_refund(1, 4200)) is None
    with pytest.raises(InvalidValue, match="found 1 JPY, expected at most 0 JPY"):
        admit_refund(paid, [a_refund(2, 4200)], a_refund(1, 1))
