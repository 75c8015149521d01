"""A database that fails: logs and errors say what happened, and nothing of what was written."""

import logging
import traceback

import pytest
from attrs import evolve
from sqlalchemy import create_engine, text
from sqlalchemy.orm import scoped_session, sessionmaker

from aplus_adapters import AplusPay, SQLStore
from aplus_adapters.errors import AplusError, StoreError, hide_values
from aplus_adapters.testing.served_shop import JSON, reach
from support import served as shops
from support.buyers import NAME, KnowsTheBuyer
from support.leaks import AGENT_TOKEN, LEAKS

GIVEN = {
    "an address": lambda engine: engine.url.render_as_string(hide_password=False),
    "the shop's engine": lambda engine: engine,
    "the shop's sessionmaker": sessionmaker,
    "the shop's scoped_session": lambda engine: scoped_session(sessionmaker(engine)),
}
SERVED = {"Flask": shops.flask_application, "Starlette": shops.starlette_application}


class WritesTheBuyer(KnowsTheBuyer):
    """Writes the buyer's name into a table that is not there, by our connection."""

    def payment_changed(self, details):
        details.connection.execute(text("INSERT INTO nowhere VALUES (:name)"), {"name": NAME})


class WritesNothing(KnowsTheBuyer):
    def payment_changed(self, details):
        pass


@pytest.fixture
def broken(database, request, simulated_account):
    """Give a shop, and a way to run SQL beside it."""
    beside, own = create_engine(database), create_engine(database)

    def run(*statements):
        with beside.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    stores = []

    def make(given, hooks):
        stores.append(SQLStore(GIVEN[given](own)))
        account = evolve(simulated_account, agent_token=AGENT_TOKEN)
        return AplusPay(account=account, store=stores[-1], hooks=hooks), run

    yield make
    for store in stores:
        store.close()
    beside.dispose()
    own.dispose()


def said(caplog):
    """Give all that was logged, with tracebacks, and forget it; the leaks are looked for as well."""
    shown = "\n".join(map(logging.Formatter().format, caplog.records))
    caplog.clear()
    assert LEAKS.found == []
    for trace in ("[parameters", "DETAIL", "Failing row", "codeValue", "str() failed"):
        assert trace not in shown, trace
    return shown


def test_the_watch_would_see_a_parameter(database):
    engine = create_engine(database)
    with pytest.raises(Exception) as error, engine.begin() as connection:
        connection.execute(text("INSERT INTO nowhere VALUES (:name)"), {"name": NAME})
    LEAKS.read("".join(traceback.format_exception(error.value)))
    assert LEAKS.found
    LEAKS.found.clear()
    engine.dispose()


@pytest.mark.parametrize("form", SERVED)
@pytest.mark.parametrize("given", GIVEN)
def test_no_log_line_of_a_failing_statement_shows_what_it_wrote(
    broken, simulated_alipayplus, caplog, given, form, database
):
    pay, run = broken(given, WritesTheBuyer())
    caplog.set_level(logging.DEBUG, "aplus_adapters")
    with reach(SERVED[form](pay), pay) as client:

        def press(ref):
            return client.post("/aplus/pay", json={"order_ref": ref}, headers=JSON)

        made = press("A-1").json()
        # In a hook, by our connection.
        body = simulated_alipayplus.notification(pay.store.latest("A-1"), customerId=NAME)
        answer = client.post("/aplus/notify", content=body, headers=simulated_alipayplus.sign(body))
        assert answer.status_code >= 400
        assert "nowhere" in said(caplog)
        # While the row of the attempt is changed.
        if database.startswith("sqlite"):
            run("CREATE TRIGGER t BEFORE UPDATE ON aplus_payments WHEN NEW.order_code IS NOT NULL "
                "BEGIN SELECT RAISE(FAIL, 'disk full'); END")  # fmt: skip
        elif database.startswith("mysql"):
            run("CREATE TRIGGER t BEFORE UPDATE ON aplus_payments FOR EACH ROW "
                "IF NEW.order_code IS NOT NULL THEN "
                "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'disk full'; END IF")  # fmt: skip
        else:
            run(
                "ALTER TABLE aplus_payments ADD CONSTRAINT disk_full CHECK (order_code IS NULL) NOT VALID"
            )
        kept = press("A-2")  # Alipay+ has acted: the buyer sees what is stored, not an error
        assert (kept.status_code, kept.json()["state"]) == (200, "retrying")
        assert "disk" in said(caplog)
        run("DROP TABLE aplus_observations")
        client.get(f"/aplus/{made['status']}", headers=JSON)
        # While it is inserted.
        run("ALTER TABLE aplus_payments RENAME TO gone")
        assert press("A-3").status_code == 503
        assert "aplus_payments" in said(caplog)


@pytest.mark.parametrize("given", GIVEN)
def test_an_error_that_the_shop_logs_itself_shows_nothing_either(
    broken, simulated_alipayplus, caplog, given
):
    pay, run = broken(given, WritesNothing())
    with reach(shops.flask_application(pay), pay) as client:
        made = client.post("/aplus/pay", json={"order_ref": "A-1"}, headers=JSON).json()
        body = simulated_alipayplus.notification(pay.store.latest("A-1"))
        headers = simulated_alipayplus.sign(body)
        assert client.post("/aplus/notify", content=body, headers=headers).status_code == 200
        run("ALTER TABLE aplus_refunds RENAME TO gone")
        try:
            pay.refund(
                made["paymentRequestId"], refund_request_id="r", reason=f"{NAME} sent it back"
            )
        except AplusError as error:
            logging.getLogger("shop").exception("the refund failed")
            assert isinstance(error, StoreError)
            assert error.__cause__ is not None
    assert "aplus_refunds" in said(caplog)


class DatabaseError(Exception):
    """As every driver has one (PEP 249)."""


class DataError(DatabaseError):
    pass


class PostgresError(Exception):
    """As asyncpg writes it: the row is an attribute."""

    detail = None

    def __str__(self):
        return f"{self.args[0]}\nDETAIL: {self.detail}"


def test_every_error_that_another_came_from_is_shortened_and_the_shops_own_is_not():
    asyncpg = PostgresError("null value")
    asyncpg.detail = f"Failing row contains ({NAME})"
    inner = DataError(f'invalid input syntax for type integer: "{NAME}"\nLINE 1: {NAME}')
    inner.__context__ = asyncpg
    own = KeyError("the shop's own\nsecond line")
    own.__cause__ = inner
    asyncpg.__context__ = own  # a ring, as a retry can make one
    hide_values(own)
    LEAKS.read("".join(traceback.format_exception(own)))
    assert LEAKS.found == []
    assert own.args == ("the shop's own\nsecond line",)
    assert str(inner) == "invalid input syntax for type integer: '...'"
    assert str(asyncpg) == "null value\nDETAIL: "


@pytest.mark.parametrize(
    "address",
    ["postgresql+psycopg://shop:s3cr3t@127.0.0.1:port/shop", "nonsense s3cr3t", "postgres://shop:s3cr3t@h/shop",
     "postgresql+nodriver://shop:s3cr3t@h/shop", "postgresql+psycopg://shop:s3cr3t@127.0.0.1:1/shop"],
)  # fmt: skip
def test_no_error_of_a_database_address_shows_its_password(address):
    with pytest.raises(AplusError, match="expected") as error:
        SQLStore(address).set_up()
    assert "s3cr3t" not in "".join(traceback.format_exception(error.value))
