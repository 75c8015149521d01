"""What the awaiting store adds to the contract: no threads, any event loop, answers in time."""

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.util import await_only, greenlet_spawn

from aplus_adapters import AplusPay, AsyncSQLStore, ConfigurationError, SQLStore, State, StoreError
from aplus_adapters.stores.loop_watchdog import LoopWatchdog
from aplus_adapters.stores.waiting import turn_to_repeat
from aplus_adapters.testing.store_values import an_attempt, an_observation
from aplus_adapters.web.http import HttpRequest
from aplus_adapters.web.routing import ROUTES
from support.databases import AWAITING, new_awaiting_database
from support.postgres import Cluster
from support.shop import AsyncShop, Shop

NOTIFY = next(route for route in ROUTES if route.name == "notify")
ON_POSTGRESQL = [driver for driver in AWAITING if driver in {"psycopg", "asyncpg"}]
PATIENCE = 5.5  # seconds: the promised five, and what a busy machine adds


@pytest.fixture(params=AWAITING)
def address(request, tmp_path):
    return new_awaiting_database(request.param, tmp_path, request)


async def nothing(_transition, _connection):
    pass


async def pay_one(store, number):
    await store.add(an_attempt(number, f"A-{number}"))
    await store.record(f"pay{number}", an_observation(), nothing)
    assert (await store.get(f"pay{number}")).state is State.SUCCEEDED


def ours():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("aplus")]


def test_a_notification_starts_no_thread_of_ours(account, alipayplus, address):
    hooks = AsyncShop()
    pay = AplusPay(account=account, store=AsyncSQLStore(address), hooks=hooks)
    attempt = an_attempt(client_id=account.client_id)
    body = alipayplus.notification(attempt)
    request = HttpRequest(
        method="POST",
        path="/aplus/notify",
        headers=tuple(alipayplus.sign(body).items()),
        body=body,
    )

    async def main():
        await pay.store.add(attempt)
        response = await pay.handle_async(NOTIFY, request)
        assert response.status == 200, response.body
        seen = ours()
        assert (await pay.find_async(attempt.payment_request_id)).state is State.SUCCEEDED
        await pay.aclose()
        return seen

    before = ours()
    assert asyncio.run(main()) == before
    assert len(hooks.changes) == 1


def figures():
    gc.collect()
    return len(os.listdir("/proc/self/fd")), threading.active_count()  # noqa: PTH208


@pytest.mark.parametrize("closes", [True, False], ids=["closed", "left open"])
def test_files_and_threads_are_flat_over_many_event_loops(address, closes):
    store = AsyncSQLStore(address)

    async def main(number):
        await pay_one(store, number)
        if closes:
            await store.aclose()

    for number in range(3):
        asyncio.run(main(number))
    before = after = figures()
    for number in range(3, 23):
        asyncio.run(main(number))
    deadline = time.monotonic() + 10
    while (after := figures()) > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert after <= before
    asyncio.run(store.aclose())


def test_two_event_loops_at_once_use_one_store(address):
    store = AsyncSQLStore(address)

    async def main(first):
        for number in range(first, first + 5):
            await pay_one(store, number)
        await store.aclose()

    errors = []

    def work(first):
        try:
            asyncio.run(main(first))
        except BaseException as error:  # shown below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(first,)) for first in (0, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


@pytest.mark.process
@pytest.mark.parametrize("driver", ON_POSTGRESQL)
def test_a_frozen_server_is_given_up_in_time_and_used_again(driver):
    cluster = Cluster()
    address = cluster.database().replace("+psycopg", f"+{driver}")

    async def main():
        store = AsyncSQLStore(address)
        await pay_one(store, 1)
        await store.add(an_attempt(2, "A-2"))
        cluster.freeze()
        started = time.monotonic()
        try:
            with pytest.raises(StoreError):
                await store.record("pay2", an_observation(), nothing)
            took = time.monotonic() - started
        finally:
            cluster.thaw()
        assert took < PATIENCE
        await store.record("pay2", an_observation(), nothing)
        assert (await store.get("pay2")).state is State.SUCCEEDED
        await store.aclose()

    try:
        asyncio.run(main())
    finally:
        cluster.remove()


@pytest.mark.parametrize("driver", ON_POSTGRESQL)
def test_a_row_that_is_locked_by_others_is_given_up_in_time(driver, postgres):
    plain = postgres.database()

    async def main():
        store = AsyncSQLStore(plain.replace("+psycopg", f"+{driver}"))
        await store.add(an_attempt())
        engine = create_engine(plain)
        with engine.begin() as other:
            other.execute(text("LOCK TABLE aplus_payments IN ACCESS EXCLUSIVE MODE"))
            started = time.monotonic()
            with pytest.raises(StoreError, match="waited too long for a lock"):
                await store.record("pay1", an_observation(), nothing)
            assert time.monotonic() - started < PATIENCE
        engine.dispose()
        await store.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("driver", ON_POSTGRESQL)
def test_tasks_that_have_to_repeat_take_turns(driver, tmp_path, request):
    """If all repeated at once, all but one would have to repeat again, and again."""
    address = new_awaiting_database(driver, tmp_path, request)
    rolled_back = []

    async def slow(_transition, _connection):
        await asyncio.sleep(0.05)

    async def main():
        engine = create_async_engine(address, isolation_level="REPEATABLE READ", pool_size=20)
        event.listen(engine.sync_engine, "rollback", lambda _: rolled_back.append(1))
        store = AsyncSQLStore(engine)
        for number in range(5):
            await store.add(an_attempt(number, f"A-{number}"))
            records = (store.record(f"pay{number}", an_observation(), slow) for _ in range(8))
            made = await asyncio.gather(*records)
            assert [one.became_final for one in made].count(True) == 1
            assert len(await store.history(f"pay{number}")) == 8
        await engine.dispose()

    asyncio.run(main())
    print(f"{len(rolled_back)} rolled back")
    assert len(rolled_back) <= 5 * 8  # each of the seven that come second once, and a few twice


def test_who_has_the_turn_may_take_it_again_and_others_wait_for_it():
    steps = []

    def take(name, about, times, seconds=5.0):
        with turn_to_repeat(steps, about, seconds=seconds, is_async=True):
            steps.append(f"{name} in")
            if times > 1:  # a hook reads inside the transaction that is repeated
                take(name, about, times - 1)
            await_only(asyncio.sleep(0.05))
            steps.append(f"{name} out")

    async def main(*all_of_them):
        await asyncio.gather(*(greenlet_spawn(take, *one) for one in all_of_them))
        taken, steps[:] = list(steps), []
        return taken

    after = ["a in", "a in", "a out", "a out", "b in", "b out"]
    assert asyncio.run(main(("a", "pay1", 2), ("b", "pay1", 1))) == after
    at_once = ["a in", "b in", "a out", "b out"]
    assert asyncio.run(main(("a", "pay1", 1), ("b", "pay2", 1))) == at_once
    impatient = ["a in", "a in", "b in", "a out", "b out", "a out"]
    assert asyncio.run(main(("a", "pay1", 2), ("b", "pay1", 1, 0.02))) == impatient


def test_other_tasks_go_on_while_a_writer_waits_for_sqlite(tmp_path):
    file = tmp_path / "payments.db"

    async def main():
        store = AsyncSQLStore(f"sqlite+aiosqlite:///{file}")
        await store.add(an_attempt())
        engine = create_engine(f"sqlite:///{file}")
        beats = 0

        async def beat():
            nonlocal beats
            while True:
                beats += 1
                await asyncio.sleep(0.01)

        beating = asyncio.create_task(beat())
        with engine.connect() as other:
            other.exec_driver_sql("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="waited too long for a lock"):
                await store.record("pay1", an_observation(), nothing)
        beating.cancel()
        engine.dispose()
        await store.aclose()
        assert beats > 50

    asyncio.run(main())


class Mine:
    """A table of the shop in the same database."""

    def __init__(self, engine):
        self.engine = engine

    async def make(self):
        async with self.engine.begin() as connection:
            await connection.execute(text("CREATE TABLE mine (x INTEGER)"))

    async def count(self):
        async with self.engine.connect() as connection:
            return (await connection.execute(text("SELECT count(*) FROM mine"))).scalar_one()


@pytest.mark.parametrize("given", ["engine", "sessions"])
@pytest.mark.parametrize("options", [{}, {"isolation_level": "AUTOCOMMIT"}], ids=["", "autocommit"])
def test_the_shops_rows_commit_with_the_payment_or_not_at_all(address, given, options):
    async def main():
        engine = create_async_engine(address, **options)
        store = AsyncSQLStore(engine if given == "engine" else async_sessionmaker(engine))
        mine = Mine(create_async_engine(address))
        await mine.make()
        try:
            await store.add(an_attempt())
        except ConfigurationError as error:  # asyncpg has no way out of AUTOCOMMIT
            assert "AUTOCOMMIT" in str(error) or "no open transaction" in str(error)
            await engine.dispose()
            await mine.engine.dispose()
            return
        kinds = []

        async def write(_transition, connection):
            kinds.append(type(connection).__name__)
            await connection.execute(text("INSERT INTO mine VALUES (1)"))

        async def write_and_fail(transition, connection):
            await write(transition, connection)
            raise RuntimeError("the shop's own bug")

        with pytest.raises(RuntimeError):
            await store.record("pay1", an_observation(), write_and_fail)
        assert await mine.count() == 0
        assert (await store.get("pay1")).state is not State.SUCCEEDED
        await store.record("pay1", an_observation(), write)
        assert await mine.count() == 1
        assert set(kinds) == {"AsyncConnection" if given == "engine" else "AsyncSession"}
        await engine.dispose()
        await mine.engine.dispose()

    asyncio.run(main())


def test_a_hook_that_goes_on_after_a_failed_statement_keeps_nothing_or_all(address):
    async def main():
        store = AsyncSQLStore(address)
        await store.set_up()
        mine = Mine(store.engine)
        await mine.make()
        await store.add(an_attempt())

        async def stumble(_transition, connection):
            await connection.execute(text("INSERT INTO mine VALUES (1)"))
            with pytest.raises(DBAPIError):
                await connection.execute(text("INSERT INTO nowhere VALUES (1)"))

        try:
            await store.record("pay1", an_observation(), stumble)
        except StoreError as error:
            assert "went on" in str(error)
        is_paid = (await store.get("pay1")).state is State.SUCCEEDED
        assert await mine.count() == int(is_paid)
        await store.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("ends", ["commit", "rollback"])
def test_a_hook_that_ends_the_transaction_is_told_so(address, ends):
    async def main():
        store = AsyncSQLStore(address)
        await store.add(an_attempt())

        async def end(_transition, connection):
            await getattr(connection, ends)()

        with pytest.raises(StoreError, match="must not commit or roll back"):
            await store.record("pay1", an_observation(), end)
        await store.aclose()

    asyncio.run(main())


def test_a_cancelled_task_stores_nothing_and_leaves_the_store_usable(address):
    async def main():
        store = AsyncSQLStore(address)
        await store.add(an_attempt())
        reached = asyncio.Event()

        async def wait(_transition, _connection):
            reached.set()
            await asyncio.sleep(60)

        task = asyncio.create_task(store.record("pay1", an_observation(), wait))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await store.get("pay1")).state is not State.SUCCEEDED
        await store.record("pay1", an_observation(), nothing)
        assert (await store.get("pay1")).state is State.SUCCEEDED
        await store.aclose()

    asyncio.run(main())


def test_reconcile_and_the_commands_work_with_it(account, address, monkeypatch):
    from click.testing import CliRunner

    from aplus_adapters.cli.schema import schema_command
    from aplus_adapters.cli.show import show_command

    pay = AplusPay(account=account, store=AsyncSQLStore(address), hooks=AsyncShop())
    schema = CliRunner().invoke(schema_command(lambda: pay), [])
    assert schema.exit_code == 0, schema.output

    async def add():
        await pay.store.add(an_attempt(client_id=account.client_id))
        await pay.aclose()

    asyncio.run(add())
    before = ours()
    show = CliRunner().invoke(show_command(lambda: pay), ["A-1"])
    assert show.exit_code == 0, show.output
    assert "pay1" in show.output
    assert ours() == before


def test_hooks_that_cannot_await_are_refused_when_it_is_mounted(account, address):
    pay = AplusPay(account=account, store=AsyncSQLStore(address), hooks=Shop())
    with pytest.raises(ConfigurationError, match=r"payment_changed: found a plain function.*async"):
        pay.prepare(awaiting=True)


def test_so_is_a_hook_for_refunds_that_cannot_await(account, address):
    class Half(AsyncShop):
        def refund_changed(self, details):
            """Block."""

    pay = AplusPay(account=account, store=AsyncSQLStore(address), hooks=Half())
    with pytest.raises(ConfigurationError, match=r"refund_changed: found a plain function.*async"):
        pay.prepare(awaiting=True)


def test_a_blocking_program_cannot_use_it(account, address):
    pay = AplusPay(account=account, store=AsyncSQLStore(address), hooks=Shop())
    with pytest.raises(ConfigurationError, match=r"store AsyncSQLStore\.add: found an async func"):
        pay.prepare(awaiting=False)


def arguments(tmp_path):
    file = tmp_path / "payments.db"
    blocking, awaiting = f"sqlite:///{file}", f"sqlite+aiosqlite:///{file}"
    return {
        "a blocking address": (AsyncSQLStore, blocking, "expected sqlite+aiosqlite"),
        "a blocking engine": (AsyncSQLStore, create_engine(blocking), "SQLStore takes the blocking"),
        "blocking sessions": (
            AsyncSQLStore, sessionmaker(create_engine(blocking)), "SQLStore takes the blocking",
        ),
        "an open session": (AsyncSQLStore, AsyncSession(), "belongs to the code that opened it"),
        "nothing": (AsyncSQLStore, None, "expected an address such as postgresql"),
        "in memory": (AsyncSQLStore, "sqlite+aiosqlite://", "in-memory SQLite"),
        "another database": (AsyncSQLStore, "oracle://x/y", "found a database of the kind oracle"),
        "another driver": (AsyncSQLStore, "postgresql+psycopg2://x/y", "psycopg2"),
        "an awaiting address": (SQLStore, awaiting, "AsyncSQLStore takes this kind"),
        "an awaiting engine": (SQLStore, create_async_engine(awaiting), "AsyncSQLStore takes"),
        "awaiting sessions": (
            SQLStore, async_sessionmaker(create_async_engine(awaiting)), "AsyncSQLStore takes",
        ),
        "awaiting sessions on a blocking engine": (
            AsyncSQLStore, async_sessionmaker(create_engine(blocking)), "AsyncSQLStore: found",
        ),
        "blocking sessions on an awaiting engine": (
            SQLStore, sessionmaker(create_async_engine(awaiting)), "SQLStore: found",
        ),
        "an open blocking session": (SQLStore, Session(), "belongs to the code that opened it"),
    }  # fmt: skip


@pytest.mark.parametrize("what", arguments(Path()))
def test_what_it_cannot_use_is_refused_with_what_to_pass_instead(tmp_path, what):
    make, argument, message = arguments(tmp_path)[what]
    with pytest.raises(ConfigurationError) as refused:
        make(argument)
    assert message in str(refused.value)
    assert str(refused.value).startswith((f"{make.__name__}: ", "store: "))


def test_attempts_expire_and_are_due_as_in_the_blocking_store(address):
    async def main():
        store = AsyncSQLStore(address)
        attempt = await store.add(an_attempt())
        due = await store.due(attempt.created_at + timedelta(seconds=1), 10, ["C"])
        assert due == [attempt]
        await store.aclose()

    asyncio.run(main())


def test_its_engine_can_be_had_before_anything_else(address):
    store = AsyncSQLStore(address)

    async def main():
        async with store.engine.connect() as connection:
            assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1
        await store.aclose()

    asyncio.run(main())


def test_outside_of_an_event_loop_the_error_is_ours(address):
    store = AsyncSQLStore(address)
    with pytest.raises(ConfigurationError, match="found no running event loop"):
        _ = store.engine


def test_a_wrong_address_is_answered_with_one_that_fits(tmp_path):
    for wrong in ("nonsense", "postgresql+nodriver://x/y"):
        with pytest.raises(ConfigurationError, match=r"AsyncSQLStore: .*postgresql\+asyncpg://"):
            AsyncSQLStore(wrong)


def test_no_shop_has_to_have_sqlite():
    """A Python may be built without it; a shop on PostgreSQL does not care."""
    program = "import sys; sys.modules['sqlite3'] = None; from aplus_adapters import SQLStore"
    command = [sys.executable, "-c", f"{program}, AsyncSQLStore"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


WITHOUT_GREENLET = """
import sys
sys.modules["greenlet"] = None
from aplus_adapters import ConfigurationError, SQLStore
from aplus_adapters.testing.store_values import an_attempt
from sqlalchemy import create_engine
from sqlalchemy.orm import sessionmaker
engine = create_engine(sys.argv[1])
for number, given in enumerate((sys.argv[1], engine, sessionmaker(engine))):
    print(SQLStore(given).add(an_attempt(number, f"A-{number}")).order_ref)
try:
    from aplus_adapters import AsyncSQLStore
except ConfigurationError as error:
    print(error)
"""


def test_the_blocking_store_does_not_need_greenlet(tmp_path):
    """SQLAlchemy does not install it, and its asyncio module cannot be loaded without it."""
    command = [sys.executable, "-c", WITHOUT_GREENLET, f"sqlite:///{tmp_path / 'payments.db'}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.split("\n")[:3] == ["A-0", "A-1", "A-2"], done.stderr
    assert "its greenlet is not installed; run pip install 'aplus_adapters[asyncpg]'" in done.stdout


class Answering:
    """A driver's connection whose server has answered; it notes whether it was cut."""

    was_cut = False

    def terminate(self):
        self.was_cut = True


@pytest.mark.parametrize("is_answered", [True, False])
def test_a_busy_event_loop_is_no_reason_to_cut_and_silence_is(is_answered):
    async def block():
        driver, watchdog = Answering(), LoopWatchdog()
        watchdog.watch(driver, 0.05)
        for _ in range(4):  # turns of other tasks, each longer than the time to read
            time.sleep(0.25)  # noqa: ASYNC251
            await asyncio.sleep(0)
        if is_answered:
            watchdog.leave(driver)
        await asyncio.sleep(0.5)
        return driver.was_cut

    assert asyncio.run(block()) is not is_answered
