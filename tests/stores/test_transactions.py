"""Ours is always a transaction of its own: whatever a shop gives, and whatever it has begun."""

import gc
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from importlib.util import find_spec
from itertools import product

import pytest
from sqlalchemy import Column, Integer, String, create_engine, event, insert, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Session, scoped_session, sessionmaker
from sqlalchemy.pool import StaticPool

from aplus_adapters import (
    ConfigurationError,
    HookError,
    Outcome,
    PaymentFilter,
    Source,
    SQLStore,
    State,
    StoreError,
)
from aplus_adapters.payments.model import Stage
from aplus_adapters.payments.retention import Retention
from aplus_adapters.payments.store import STORE_METHODS, STORE_READS
from aplus_adapters.stores.schema import TABLES
from aplus_adapters.testing.store_contract import LATER, a_refund, nothing
from aplus_adapters.testing.store_contract import an_attempt as attempt
from aplus_adapters.testing.store_contract import an_observation as said
from aplus_adapters.testing.store_values import attempt_to
from support.databases import end_connections, new_database

PATIENCE = 5.0


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    ref = Column(String(64), primary_key=True)
    paid = Column(Integer, default=0)


class Given:
    """What a shop gives to SQLStore, and the session in which its views work."""

    def __init__(self, given, view, engine):
        self.given, self.view, self.engine = given, view, engine

    def paid(self, ref):
        with self.engine.connect() as connection:
            query = text("SELECT paid FROM orders WHERE ref = :ref")
            return connection.execute(query, {"ref": ref}).scalar()


def flask_sqlalchemy(database):
    from flask import Flask
    from flask_sqlalchemy import SQLAlchemy

    db = SQLAlchemy(model_class=Base)
    app = Flask("shop")
    app.config["SQLALCHEMY_DATABASE_URI"] = database
    db.init_app(app)
    context = app.app_context()
    context.push()
    return db, context


# The rows of old versions have no Flask-SQLAlchemy.
WITH_FLASK = ["db", "db.session"] if find_spec("flask_sqlalchemy") else []


@pytest.fixture(params=["Session", "scoped_session", *WITH_FLASK])
def shop(request, database):
    context = None
    if request.param in WITH_FLASK:
        db, context = flask_sqlalchemy(database)
        given = db if request.param == "db" else db.session
        made = Given(given, db.session, db.engine)
    else:
        engine = create_engine(database)
        factory = sessionmaker(engine)
        given = factory if request.param == "Session" else scoped_session(factory)
        made = Given(given, given() if given is factory else given, engine)
    Base.metadata.create_all(made.engine)
    with Session(made.engine) as session, session.begin():
        session.add_all([Order(ref="A-1"), Order(ref="A-2")])
    SQLStore(made.given).set_up()
    yield made
    made.view.close()
    if context is not None:
        context.pop()
    made.engine.dispose()


def pay_by_session(_transition, session):
    session.get(Order, "A-1").paid += 1


def every_call(store):
    """Call every method of a store, those that write with news to write."""
    store.add(attempt())
    assert store.claim("pay1", 0, LATER)
    assert store.release("pay1", 1, LATER)
    store.record("pay1", said(), pay_by_session)
    store.add_refund(a_refund())
    assert store.claim_refund("refund1", 0, LATER)
    assert store.release_refund("refund1", 1, LATER)
    store.record("pay1", said(outcome=Outcome.FAILED), nothing)
    with pytest.raises(StoreError):
        store.record("unknown", said(), nothing)
    reads = {
        "get": ("pay1",), "latest": ("A-1",), "due": (LATER, 9, ["C"]), "history": ("pay1",),
        "refunds": ("pay1",), "due_refunds": (LATER, 9, ["C"]), "unreported_conflicts": (9, ["C"]),
        "find_page": (PaymentFilter(), 9), "conflicts": (None, 9, None),
        "recent": (Source.NOTIFICATION, 9), "noted": ("round",),
        "old_payments": (Stage.PAID, LATER, 9, None),
    }  # fmt: skip
    for name, arguments in reads.items():
        getattr(store, name)(*arguments)
    (conflict,) = store.unreported_conflicts(9, ["C"])
    store.conflict_reported(conflict)
    assert store.resolve_conflict(conflict.key, LATER, "Mei", "refunded").is_resolved
    store.note("round", LATER)
    everything = LATER + timedelta(days=500)
    store.add(attempt(3, "A-9"))
    store.record("pay3", said(outcome=Outcome.FAILED), nothing)
    assert store.forget_buyers(["pay3"], Retention(forgets_before=everything)) == 1
    assert store.delete_payments(["pay3"], Retention(deletes_before=everything)) == 1
    writes = {"add", "claim", "release", "record", "add_refund", "claim_refund", "release_refund"}
    writes |= {"resolve_conflict", "note", "delete_payments", "forget_buyers"}
    assert {*reads} == STORE_READS
    assert {*reads, *writes, "conflict_reported"} == {*STORE_METHODS}


def test_what_a_view_has_begun_is_neither_committed_nor_rolled_back_by_any_call(shop):
    store = SQLStore(shop.given)
    before = shop.view.connection().connection.dbapi_connection
    shop.view.get(Order, "A-2").paid = 7  # not even flushed
    shop.view.add(Order(ref="A-3"))
    every_call(store)
    assert (shop.paid("A-1"), shop.paid("A-2"), shop.paid("A-3")) == (1, 0, None)
    assert store.get("pay1").state is State.SUCCEEDED
    assert [one.ref for one in shop.view.new] == ["A-3"]
    assert shop.view.connection().connection.dbapi_connection is before
    shop.view.commit()
    assert (shop.paid("A-1"), shop.paid("A-2"), shop.paid("A-3")) == (1, 7, 0)


def test_what_a_view_has_written_is_neither_committed_nor_rolled_back_by_any_call(shop):
    """On SQLite, where one writes at a time, it is an error that says which call to move."""
    store = SQLStore(shop.given)
    shop.view.get(Order, "A-2").paid = 7
    shop.view.flush()
    if shop.engine.dialect.name == "sqlite":
        started = time.monotonic()
        with pytest.raises(StoreError, match="move this call of aplus_adapters before that write"):
            store.add(attempt())
        assert time.monotonic() - started < PATIENCE
        assert store.get("pay1") is None
    else:
        every_call(store)
        assert (shop.paid("A-1"), shop.paid("A-2")) == (1, 0)
    shop.view.rollback()
    assert shop.paid("A-2") == 0
    assert store.add(attempt()) == store.get("pay1")


def test_two_that_want_the_same_row_get_an_error_in_time_that_says_which_call_to_move(shop):
    store = SQLStore(shop.given)
    store.add(attempt())
    shop.view.get(Order, "A-1").paid = 7
    shop.view.flush()
    started = time.monotonic()
    with pytest.raises((StoreError, HookError), match="move this call of aplus_adapters"):
        store.record("pay1", said(), as_hook(pay_by_session))
    assert time.monotonic() - started < PATIENCE
    assert store.get("pay1").state is State.CREATED
    shop.view.commit()
    assert shop.paid("A-1") == 7
    store.record("pay1", said(), as_hook(pay_by_session))
    assert shop.paid("A-1") == 8


def as_hook(function):
    """Raise as the drivers do when a hook of the shop raises."""

    def hook(transition, connection):
        try:
            function(transition, connection)
        except Exception as error:
            raise HookError("hook payment_changed: raised", hook="payment_changed") from error

    return hook


def test_the_shops_session_in_the_hook_commits_with_the_payment_or_not_at_all(shop):
    store = SQLStore(shop.given)
    store.add(attempt())

    def broken(transition, session):
        assert session is not shop.view
        assert session is not getattr(shop.view, "registry", lambda: None)()
        pay_by_session(transition, session)
        session.flush()
        raise RuntimeError("after the write")

    with pytest.raises(RuntimeError):
        store.record("pay1", said(), broken)
    assert (shop.paid("A-1"), store.get("pay1").state) == (0, State.CREATED)
    store.record("pay1", said(), pay_by_session)
    assert (shop.paid("A-1"), store.get("pay1").state) == (1, State.SUCCEEDED)


@pytest.fixture
def engines(database):
    """Make engines of the shop's on one database, as many as a test likes."""
    made = []

    def make(**options):
        made.append(create_engine(database, **options))
        return made[-1]

    engine = make()
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE mine (x INTEGER PRIMARY KEY)"))
    yield make
    for one in made:
        one.dispose()


def count(engine):
    with engine.connect() as connection:
        return connection.execute(text("SELECT count(*) FROM mine")).scalar_one()


def insert_one(_transition, connection):
    connection.execute(text("INSERT INTO mine VALUES (1)"))


def autocommits(engines, idiom, driver):
    if idiom == "create_engine":
        return engines(isolation_level="AUTOCOMMIT")
    if idiom == "execution_options":
        return engines().execution_options(isolation_level="AUTOCOMMIT")
    option = {"isolation_level": None} if driver == "sqlite" else {"autocommit": True}
    return engines(connect_args=option)


@pytest.mark.parametrize("idiom", ["create_engine", "execution_options", "driver"])
def test_on_an_autocommit_engine_a_payment_is_one_transaction_and_the_engine_stays_as_it_was(
    engines, database, idiom
):
    engine = autocommits(engines, idiom, database.partition(":")[0])
    store = SQLStore(engine)
    store.add(attempt())

    def broken(transition, connection):
        insert_one(transition, connection)
        raise RuntimeError("after the write")

    with pytest.raises(RuntimeError):
        store.record("pay1", said(), broken)
    assert (count(engine), store.get("pay1").state) == (0, State.CREATED)
    assert store.record("pay1", said(), insert_one).became_final
    assert (count(engine), store.get("pay1").state) == (1, State.SUCCEEDED)
    with engine.connect() as connection:  # no commit: the shop's own code counts on it
        connection.execute(text("INSERT INTO mine VALUES (2)"))
    assert count(engine) == 2
    sessions = sessionmaker(engine)
    by_session = SQLStore(sessions)
    by_session.add(attempt(2, "A-2"))
    with pytest.raises(StoreError):
        by_session.record("pay2", said(), insert_one)  # the row is there
    assert by_session.get("pay2").state is State.CREATED
    assert count(engine) == 2


def test_an_engines_own_sqlite_settings_are_put_back(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path / 'shop.db'}", connect_args={"timeout": 9})

    @event.listens_for(engine, "connect")
    def lax(driver, _record):
        driver.execute("PRAGMA synchronous=OFF")

    @event.listens_for(engine, "begin")
    def begun(connection):
        connection.exec_driver_sql("BEGIN")  # the recipe of SQLAlchemy's documentation

    store = SQLStore(engine)
    store.add(attempt())
    durable = []

    def look(_transition, connection):
        durable.append(connection.exec_driver_sql("PRAGMA synchronous").scalar())

    store.record("pay1", said(), look)
    assert durable == [2]
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 0
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 9000
    engine.dispose()


def record_eight_times(store, number):
    name, told = f"pay{number}", []
    store.add(attempt(number, f"A-{number}"))

    def hook(transition, connection):
        connection.execute(text("INSERT INTO mine VALUES (:x)"), {"x": number})
        time.sleep(0.05)
        told.append(transition)

    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: store.record(name, said(), hook), range(8)))
    return [one.became_final for one in made].count(True)


LEVELS = ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"]
LEVELS = [
    *product(LEVELS, ["engine"]),
    ("SERIALIZABLE", "sessions"),
    ("REPEATABLE READ", "address"),
]


@pytest.mark.parametrize(("level", "given"), LEVELS)
def test_eight_at_once_are_all_answered_on_every_isolation_level(server_database, level, given):
    address = server_database
    engine = create_engine(address, isolation_level=level, pool_size=20)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE mine (x INTEGER PRIMARY KEY)"))
    spelt = level.replace(" ", "%5C%20")
    options = address
    if engine.dialect.name == "postgresql":
        options += f"?options=-cdefault_transaction_isolation%3D{spelt}"
    store = SQLStore({"engine": engine, "address": options}.get(given) or sessionmaker(engine))
    for number in range(3):
        assert record_eight_times(store, number) == 1
        assert len(store.history(f"pay{number}")) == 8
    with ThreadPoolExecutor(8) as threads:
        clicks = threads.map(lambda n: store.add(attempt(100 + n, "click")), range(16))
        assert len({one.payment_request_id for one in clicks}) == 1
    assert count(engine) == 3
    for number in range(5):  # what was added while a refund waited for the lock counts
        name = f"paid{number}"
        store.add(attempt(0, name, payment_request_id=name))
        store.record(name, said(), nothing)

        def refund(one, name=name):
            refund_id = f"{name}-{one}"
            return attempt_to(
                store.add_refund,
                a_refund(one, 2000, payment_request_id=name, refund_request_id=refund_id),
            )

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(refund, range(8)))
        assert sum(one.amount.value for one in store.refunds(name)) == 4000  # of 4200
    store.close()
    engine.dispose()


def test_those_that_have_to_repeat_take_turns(postgres, tmp_path, request):
    """If all repeated at once, all but one would have to repeat again, and again."""
    address = new_database("postgresql", tmp_path, request)
    engine = create_engine(address, isolation_level="REPEATABLE READ", pool_size=20)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE mine (x INTEGER PRIMARY KEY)"))
    store = SQLStore(engine)
    rolled_back = []
    event.listen(engine, "rollback", lambda _: rolled_back.append(1))
    for number in range(5):
        assert record_eight_times(store, number) == 1
    assert len(rolled_back) <= 5 * 8  # each of the seven that come second once, and a few twice
    store.close()
    engine.dispose()


def test_a_deadlock_with_the_shop_is_repeated(server_database):
    """The hook locks its rows in the order that a job of the shop's does not; one has to go back."""
    engine = create_engine(server_database)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE mine (x INTEGER PRIMARY KEY, n INTEGER)"))
        connection.execute(text("INSERT INTO mine VALUES (1, 0), (2, 0)"))
    store = SQLStore(engine)
    store.add(attempt())
    touch = "UPDATE mine SET n = n + 1 WHERE x = {}"
    calls = []

    with engine.connect() as job, ThreadPoolExecutor(1) as threads:
        # PostgreSQL asks one to go back that waits, MySQL the one that has written less.
        if engine.dialect.name == "postgresql":
            job.execute(text("SET LOCAL deadlock_timeout = '60s'"))
        else:
            filler = [{"x": number} for number in range(10, 100)]
            job.execute(text("INSERT INTO mine VALUES (:x, 0)"), filler)
        job.execute(text(touch.format(1)))

        def hook(_transition, connection):
            calls.append(True)
            connection.execute(text(touch.format(2)))
            if len(calls) == 1:
                waiting = threads.submit(lambda: (job.execute(text(touch.format(2))), job.commit()))
                calls.append(waiting)
                time.sleep(0.2)
            connection.execute(text(touch.format(1)))

        assert store.record("pay1", said(), hook).became_final
    assert len(calls) == 3  # twice, and the job
    with engine.connect() as connection:
        assert connection.execute(text("SELECT sum(n) FROM mine")).scalar() == 4
    engine.dispose()


def test_a_lost_connection_costs_no_error_if_nothing_was_asked_to_be_kept(server_database):
    store = SQLStore(server_database)
    store.add(attempt())
    admin = create_engine(server_database)
    for _ in range(2):
        assert end_connections(admin)
        assert store.get("pay1")
    admin.dispose()
    store.close()


def test_a_hook_that_goes_on_after_a_failed_statement_keeps_nothing_or_all(engines):
    """PostgreSQL answers COMMIT with a silent rollback then: nothing may be acknowledged."""
    engine = engines()
    store = SQLStore(engine)
    store.add(attempt())
    insert_and_commit(engine)

    def careless(transition, connection):
        try:
            insert_one(transition, connection)
        except IntegrityError:
            pass

    def careful(transition, connection):
        try:
            with connection.begin_nested():
                insert_one(transition, connection)
        except IntegrityError:
            pass

    if engine.dialect.name == "postgresql":
        with pytest.raises(StoreError, match="begin_nested"):
            store.record("pay1", said(), careless)
        assert store.get("pay1").state is State.CREATED
    assert store.record("pay1", said(), careful).became_final
    assert store.get("pay1").state is State.SUCCEEDED


def insert_and_commit(engine):
    with engine.begin() as connection:
        insert_one(None, connection)


@pytest.mark.parametrize("given", ["engine", "sessions"])
@pytest.mark.parametrize("end", ["rollback", "commit", "ROLLBACK", "COMMIT"])
def test_a_hook_that_ends_the_transaction_is_told_so_and_nothing_is_acknowledged(
    engines, given, end
):
    engine = engines()
    store = SQLStore(engine if given == "engine" else sessionmaker(engine))
    store.add(attempt())

    def hook(transition, connection):
        insert_one(transition, connection)
        if end.isupper():
            connection.execute(text(end))
        else:
            getattr(connection, end)()

    with pytest.raises(StoreError, match="must not commit or roll back"):
        store.record("pay1", said(), hook)
    kept = end.lower() == "commit"
    assert store.get("pay1").state is (State.SUCCEEDED if kept else State.CREATED)
    assert count(engine) == kept
    assert not store.record("pay1", said(), nothing).became_final or not kept  # and it goes on


def test_a_constraint_of_the_shops_is_never_taken_for_one_of_ours(engines):
    """Not even where its own listener writes while an attempt is stored."""
    engine = engines()
    insert_and_commit(engine)
    sessions = sessionmaker(engine)
    store = SQLStore(sessions)
    store.set_up()

    @event.listens_for(sessions, "before_commit")
    def audit(session):
        session.execute(text("INSERT INTO mine VALUES (1)"))

    with pytest.raises(StoreError, match="IntegrityError"):
        store.add(attempt())
    event.remove(sessions, "before_commit", audit)
    assert store.get("pay1") is None
    store.add(attempt())
    with pytest.raises(StoreError, match="IntegrityError"):
        store.record("pay1", said(), insert_one)
    assert store.get("pay1").state is State.CREATED


def open_session(engine):
    session = Session(engine)
    session.execute(text("SELECT 1"))
    return session


REFUSED = {
    "a session": (Session, "found Session, .*the code that opened it"),
    "a connection": (
        lambda engine: engine.connect(),
        "found Connection, .*the code that opened it",
    ),
    "the extension": (lambda engine: type("Db", (), {"session": 1})(), "or Flask-SQLAlchemy's db"),
    "sessions on a connection": (
        lambda engine: sessionmaker(engine.connect()),
        "sessions bound to Connection",
    ),
    "one connection for all": (
        lambda engine: create_engine("sqlite://", poolclass=StaticPool),
        "StaticPool .*lends a connection to one user at a time",
    ),
    "one connection for a thread": (lambda engine: create_engine("sqlite://"), "in-memory SQLite"),
    "sessions with work": (
        lambda engine: scoped_session(lambda: open_session(engine)),
        "a session with work in it",
    ),
    "sessions of other tables": (
        lambda engine: sessionmaker(binds={Order: engine}),
        "an engine for the shop's tables only",
    ),
}

if find_spec("greenlet"):  # without it SQLAlchemy 2.1 has nothing that awaits
    from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

    AWAITING = "AsyncSQLStore takes the async ones"
    REFUSED["awaiting sessions"] = (lambda engine: async_sessionmaker(), AWAITING)
    REFUSED["an awaiting engine"] = (
        lambda engine: create_async_engine("postgresql+psycopg://x/y"),
        AWAITING,
    )


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_give_a_transaction_of_our_own_is_refused_with_what_to_do(tmp_path, what):
    make, message = REFUSED[what]
    engine = create_engine(f"sqlite:///{tmp_path / 'shop.db'}")
    with pytest.raises(ConfigurationError, match=message):
        SQLStore(make(engine)).get("pay1")
    engine.dispose()
    gc.collect()  # what `make` left open, before the warnings of another test are errors


@pytest.mark.parametrize("has_default", [False, True])
def test_sessions_with_an_engine_of_their_own_for_our_tables_are_taken(tmp_path, has_default):
    ours, others = (create_engine(f"sqlite:///{tmp_path / name}.db") for name in "ab")
    binds = dict.fromkeys(TABLES.metadata.tables.values(), ours)
    store = SQLStore(sessionmaker(binds=binds, **{"bind": others} if has_default else {}))
    store.add(attempt())
    opened = []
    event.listen(others, "checkout", lambda *_: opened.append("another database"))
    transition = store.record("pay1", said(), lambda _, session: opened.append(session))
    assert transition.after == store.get("pay1")
    (session,) = opened
    assert isinstance(session, Session)
    ours.dispose()
    others.dispose()


@pytest.mark.parametrize("how", ["a statement", "an object"])
def test_a_hook_that_uses_another_database_in_the_payments_session_stores_nothing(tmp_path, how):
    """Of two commits one may fail, and the hook would never be called again for what it lost."""
    ours, others = (create_engine(f"sqlite:///{tmp_path / name}.db") for name in "ab")
    Base.metadata.create_all(others)
    binds = dict.fromkeys(TABLES.metadata.tables.values(), ours)
    one_for_all = Session(binds=binds, bind=others)
    store = SQLStore(scoped_session(lambda: one_for_all))
    store.add(attempt())

    def write(_transition, session):
        if how == "an object":
            session.add(Order(ref="A-1"))
        else:
            session.execute(insert(Order).values(ref="A-1"))

    with pytest.raises(StoreError, match=r"found that the hook has used Engine\(sqlite.*b\.db"):
        store.record("pay1", said(), write)
    assert store.get("pay1").state is not State.SUCCEEDED
    assert store.record("pay1", said(), lambda *_: None).after == store.get("pay1")
    with others.connect() as connection:
        assert connection.execute(select(Order)).all() == []
    one_for_all.close()
    for engine in (ours, others):
        engine.dispose()


def test_sessions_with_several_engines_for_our_tables_are_refused(tmp_path):
    ours, others = (create_engine(f"sqlite:///{tmp_path / name}.db") for name in "ab")
    for table in TABLES.metadata.tables.values():
        with pytest.raises(ConfigurationError, match="several for our tables"):
            SQLStore(sessionmaker(binds={table: ours}, bind=others)).get("pay1")
    ours.dispose()
    others.dispose()


def test_sessions_that_read_elsewhere_than_they_write_are_refused(tmp_path):
    main, follower = (create_engine(f"sqlite:///{tmp_path / name}.db") for name in "ab")

    class Routing(Session):
        def get_bind(self, mapper=None, clause=None, **_):
            return follower if getattr(clause, "is_select", False) else main

    with pytest.raises(ConfigurationError, match="read from another engine"):
        SQLStore(sessionmaker(class_=Routing)).get("pay1")
    main.dispose()
    follower.dispose()


def test_a_pool_that_lends_connections_with_work_in_them_is_refused(engines):
    engine = engines(pool_reset_on_return=None, pool_size=1)
    store = SQLStore(engine)
    store.set_up()
    lent = engine.raw_connection()
    lent.cursor().execute("INSERT INTO mine VALUES (5)")
    lent.close()  # without a rollback, as the pool was told
    with pytest.raises(ConfigurationError, match="pool_reset_on_return"):
        store.add(attempt())
