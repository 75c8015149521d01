"""Who makes the tables: the first use, an operator, or a shop's own migration."""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, make_url, text
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.orm import sessionmaker
from sqlalchemy.schema import CreateIndex, CreateTable

from aplus_adapters import ConfigurationError, Outcome, SQLStore, State, StoreError
from aplus_adapters.stores import Tables, metadata
from aplus_adapters.stores.schema import TABLES
from aplus_adapters.testing.store_contract import LATER, PaymentStoreContract, a_refund
from aplus_adapters.testing.store_values import an_attempt, an_observation, nothing


@pytest.fixture
def engine(database):
    made = create_engine(database)
    yield made
    made.dispose()


def pay(store, number=1):
    store.add(an_attempt(number, f"A-{number}"))
    store.record(f"pay{number}", an_observation(), nothing)
    assert store.get(f"pay{number}").state is State.SUCCEEDED


def run(engine, *statements):
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def versions(engine):
    with engine.connect() as connection:
        return connection.execute(text("SELECT version FROM aplus_schema")).scalars().all()


@pytest.mark.parametrize("wrap", [lambda engine: engine, sessionmaker])
def test_a_store_that_may_make_nothing_says_what_is_missing_and_makes_nothing(engine, wrap):
    store = SQLStore(wrap(engine), create=False)
    for _ in range(2):
        with pytest.raises(StoreError, match=r"no table aplus_payments.*`aplus schema`"):
            store.get("pay1")
    assert inspect(engine).get_table_names() == []
    store.set_up()  # what is asked for by name is done
    pay(store)


def test_a_store_that_may_make_nothing_uses_the_tables_of_a_migration_and_notes_their_version(
    engine,
):
    metadata.create_all(engine)  # what Alembic's revision does: no row has the version
    stores = [SQLStore(engine, create=False) for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(pay, stores, range(8)))
    assert versions(engine) == [1]


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize(
    ("change", "lack"),
    [
        ("ALTER TABLE aplus_payments DROP COLUMN wallet", "no column aplus_payments.wallet"),
        ("DROP INDEX ix_aplus_payments_due{on}", "no index ix_aplus_payments_due"),
        ("DROP TABLE aplus_refunds", "no table aplus_refunds"),
    ],
)
def test_tables_of_a_migration_that_are_not_complete_are_refused_by_name(
    engine, create, change, lack
):
    metadata.create_all(engine)
    is_mysql = engine.dialect.name == "mysql"
    run(engine, change.format(on=" ON aplus_payments" if is_mysql else ""))
    store = SQLStore(engine, create=create)
    if create and ("TABLE aplus_refunds" in change or (is_mysql and "INDEX" in change)):
        pay(store)  # a table that is not there can be made
        return
    with pytest.raises(StoreError, match=f"database schema: found {lack}; expected the tables of"):
        store.get("pay1")
    assert versions(engine) == []


def test_everything_that_a_table_lacks_is_named_at_once(engine):
    metadata.create_all(engine)
    is_mysql = engine.dialect.name == "mysql"
    run(
        engine,
        "DROP TABLE aplus_refunds",
        "ALTER TABLE aplus_payments DROP COLUMN wallet",
        "DROP INDEX ix_aplus_payments_due" + (" ON aplus_payments" if is_mysql else ""),
        "ALTER TABLE aplus_observations DROP COLUMN count",
    )
    assert sorted(SQLStore(engine).missing()) == [
        "column aplus_observations.count",
        "column aplus_payments.wallet",
        "index ix_aplus_payments_due",
        "table aplus_refunds",
    ]


def test_mariadb_is_asked_for_microseconds_exact_texts_and_texts_without_a_limit():
    printed = TABLES.ddl("mariadb")
    assert "DATETIME(6)" in printed
    assert not re.search(r"DATETIME(?!\(6\))", printed)
    assert not re.search(r"\bTEXT\b|\bBLOB\b", printed)  # these end at 64 KiB
    texts = re.findall(r"(?:VARCHAR\(\d+\)|LONGTEXT)(.*)", printed)
    assert len(texts) > 20
    assert {" COLLATE utf8mb4_nopad_bin" in text for text in texts} == {True}


def test_tables_without_the_key_that_keeps_an_order_from_two_codes_are_refused(postgres):
    engine = create_engine(postgres.database())
    metadata.create_all(engine)
    run(engine, "ALTER TABLE aplus_payments DROP CONSTRAINT uq_aplus_payments_occupied_order")
    lack = r"no unique key aplus_payments \(shop, occupied_order\)"
    with pytest.raises(StoreError, match=lack):
        SQLStore(engine, create=False).get("pay1")
    run(engine, "CREATE UNIQUE INDEX of_a_dba ON aplus_payments (shop, occupied_order)")
    pay(SQLStore(engine, create=False))
    engine.dispose()


@pytest.mark.parametrize(
    ("change", "lack"),
    [
        (
            "order_ref VARCHAR(64) COLLATE utf8mb4_general_ci NOT NULL",
            "no collation utf8mb4_nopad_bin in column aplus_payments.order_ref",
        ),
        (
            "created_at DATETIME NOT NULL",
            "no fractional seconds of 6 in column aplus_payments.created_at",
        ),
    ],
)
def test_columns_of_mysql_that_would_mix_up_orders_or_round_times_are_refused(mysql, change, lack):
    engine = create_engine(mysql.database())
    metadata.create_all(engine)
    run(engine, f"ALTER TABLE aplus_payments MODIFY {change}")
    with pytest.raises(StoreError, match=lack):
        SQLStore(engine, create=False).get("pay1")
    assert len(SQLStore(engine).missing()) == 1
    # A database whose default is exact may leave the collation to it.
    exact = make_url(mysql.database()).database
    run(engine, f"ALTER DATABASE {exact} CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin")
    engine.dispose()
    engine = create_engine(engine.url.set(database=exact))
    metadata.create_all(engine)
    assert SQLStore(engine, create=False).missing() == []
    engine.dispose()


def test_older_tables_are_refused_by_a_store_that_may_alter_nothing_and_newer_ones_by_any(engine):
    SQLStore(engine).set_up()
    run(engine, "UPDATE aplus_schema SET version = 2")
    for create in (True, False):
        with pytest.raises(StoreError, match="found version 2, expected at most 1; a newer"):
            SQLStore(engine, create=create).get("pay1")
    run(engine, "UPDATE aplus_schema SET version = 0")
    expected = r"found version 0, expected 1; let a role that may make tables run `aplus schema`"
    with pytest.raises(StoreError, match=expected):
        SQLStore(engine, create=False).get("pay1")


def test_the_printed_sql_makes_tables_in_which_payments_can_be_kept(engine):
    printed = SQLStore(engine).ddl()
    name = engine.dialect.name
    assert printed == TABLES.ddl("mariadb" if name == "mysql" else name)  # what the server is
    run(engine, *printed.removesuffix(";").split(";\n\n"))
    assert versions(engine) == [1]
    store = SQLStore(engine, create=False)
    assert store.missing() == []
    pay(store)


@pytest.mark.parametrize("wrap", [lambda engine: engine, sessionmaker])
def test_what_is_missing_is_named_and_nothing_is_made(engine, wrap):
    store = SQLStore(wrap(engine))
    everything = [f"table {table.name}" for table in metadata.sorted_tables]
    assert store.missing() == everything
    assert inspect(engine).get_table_names() == []
    store.set_up()
    assert store.missing() == []
    run(engine, "UPDATE aplus_schema SET version = 0")
    assert store.missing() == ["version 1, found version 0"]
    run(engine, "UPDATE aplus_schema SET version = 2")
    with pytest.raises(StoreError, match="a newer aplus_adapters made it"):
        store.missing()


def test_sql_for_a_database_in_which_payments_cannot_be_kept_is_refused(engine):
    with pytest.raises(ConfigurationError, match="found 'mssql', expected sqlite or postgresql or"):
        SQLStore(engine).ddl("mssql")


class TestChosenPrefix(PaymentStoreContract):
    """The whole contract with another prefix; tables of the default names are never made."""

    @pytest.fixture
    def store(self, tmp_path):
        address = f"sqlite:///{tmp_path / 'payments.db'}"
        store = SQLStore(address, tables=Tables(prefix="pay_"))
        yield store
        names = inspect(store.engine).get_table_names()
        assert not [name for name in names if not name.startswith("pay_")]
        store.close()


def test_tables_in_another_schema_are_read_and_written_there_alone(postgres):
    address = postgres.database()
    engine = create_engine(address)
    run(engine, "CREATE SCHEMA billing")
    store = SQLStore(address, tables=Tables(prefix="pay_", schema="billing"))
    pay(store)
    assert store.add(an_attempt(2, "A-1")).payment_request_id == "pay1"  # its order is occupied
    store.add(an_attempt(2, "A-2"))
    assert store.claim("pay2", 0, LATER)
    assert store.release("pay2", 1, LATER)
    store.record("pay1", an_observation(outcome=Outcome.FAILED), nothing)
    (conflict,) = store.unreported_conflicts(9, ["C"])
    store.conflict_reported(conflict)
    store.add_refund(a_refund())
    assert store.claim_refund("refund1", 0, LATER)
    assert store.release_refund("refund1", 1, LATER)
    assert [one.payment_request_id for one in store.due(LATER, 9, ["C"])] == ["pay2"]
    assert store.due_refunds(LATER, 9, ["C"]) == store.refunds("pay1")
    assert len(store.history("pay1")) == 2
    assert store.missing() == []
    assert inspect(engine).get_table_names() == []
    assert len(inspect(engine).get_table_names(schema="billing")) == 6
    store.close()
    engine.dispose()


def test_stores_with_other_prefixes_in_one_database_do_not_see_each_other(engine):
    chosen = Tables(prefix="pay_")
    stores = [SQLStore(engine, tables=chosen), SQLStore(engine)]
    pay(stores[0])
    assert stores[1].get("pay1") is None
    names = inspect(engine).get_table_names()
    assert sorted(names) == sorted({*chosen.metadata.tables, *metadata.tables})
    assert all(name.startswith("pay_") for name in chosen.metadata.tables)
    assert [store.missing() for store in stores] == [[], []]
    indexes = inspect(engine).get_indexes("pay_payments")
    assert "ix_pay_payments_due" in {index["name"] for index in indexes}


def test_tables_of_equal_names_are_equal():
    assert Tables() == TABLES
    assert {Tables(prefix="pay_"): 1}[Tables(prefix="pay_")] == 1
    assert Tables(prefix="pay_") != Tables(prefix="pay_", schema="billing")
    assert repr(Tables(prefix="pay_")) == "Tables(prefix='pay_', schema=None)"


@pytest.mark.parametrize("prefix", ["", "Pay_", "1_", "pay-", "p" * 21, "é_", None, 5])
def test_a_prefix_that_no_database_takes_unquoted_is_refused(prefix):
    with pytest.raises(ConfigurationError, match=r"Tables prefix: found .*expected 1 to 20 lower"):
        Tables(prefix=prefix)


@pytest.mark.parametrize("schema", ["", 5])
def test_a_schema_without_a_name_is_refused(schema):
    with pytest.raises(ConfigurationError, match=r"Tables schema: found .*expected the name"):
        Tables(schema=schema)


def test_something_else_is_no_tables(engine):
    with pytest.raises(ConfigurationError, match="SQLStore tables: found str, expected a value"):
        SQLStore(engine, tables="pay_")


@pytest.mark.parametrize("wrap", [str, create_engine, lambda a: sessionmaker(create_engine(a))])
def test_a_schema_is_refused_on_sqlite_which_has_none(tmp_path, wrap):
    address = f"sqlite:///{tmp_path / 'shop.db'}"
    with pytest.raises(ConfigurationError, match=r"schema='billing'.* on SQLite.*a prefix instead"):
        SQLStore(wrap(address), tables=Tables(schema="billing")).get("pay1")


def test_a_schema_that_is_not_there_is_named(postgres):
    store = SQLStore(postgres.database(), tables=Tables(schema="billing"))
    with pytest.raises(StoreError, match='schema "billing" does not exist'):
        store.set_up()
    store.close()


def printed_for(dialect):
    lines = [f"-- {dialect.name}"]
    for table in Tables().metadata.sorted_tables:
        indexes = sorted(table.indexes, key=lambda index: str(index.name))
        for made in (CreateTable(table), *map(CreateIndex, indexes)):
            text = str(made.compile(dialect=dialect)).strip()
            lines.append("\n".join(line.strip() for line in text.splitlines()) + ";")
    return "\n".join(lines)


def test_a_change_of_the_schema_is_seen():
    """Whoever changes schema.sql by it also needs a step in migrations.py.

    APLUS_WRITE_SCHEMA=1 writes the file anew.
    """
    dialects = (sqlite.dialect(), postgresql.dialect(), mysql.dialect())
    printed = "\n\n".join(map(printed_for, dialects)) + "\n"
    file = Path(__file__).with_name("schema.sql")
    if os.environ.get("APLUS_WRITE_SCHEMA"):
        file.write_text(printed)
    assert printed == file.read_text()
