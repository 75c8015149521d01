"""Nothing that one order asks for, and nobody who reads along, stops the simulator."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import httpx
import pytest

from aplus_adapters import Account, AplusPay, MemoryStore
from aplus_adapters.protocol.messages.pay import PayRequest
from aplus_adapters.simulator.faults import Fault
from aplus_adapters.simulator.process import SimulatorProcess
from support.shop import Shop

pytestmark = pytest.mark.process


def shop_at(environ, notify_url="http://127.0.0.1:9/aplus/notify"):
    account = Account.from_env({**environ, "APLUS_NOTIFY_URL": notify_url})
    return closing(AplusPay(account=account, store=MemoryStore(), hooks=Shop()))


@pytest.mark.parametrize(
    "url", ["https://shop.example:PORT/n", "https://shop.example:99999/n", "https://[::1/n",
            "https://[:::1]/n", "https://shop.example:0/n"],
)  # fmt: skip
def test_an_address_that_nobody_can_call_is_refused(simulator, url):
    with shop_at(simulator.environ) as pay:
        attempt = pay.start("A-1")
    content = json.loads(attempt.request_body)
    content |= {"paymentNotifyUrl": url, "paymentRequestId": attempt.payment_request_id + "x"}
    with pytest.raises(Exception, match="paymentNotifyUrl"):
        PayRequest.decode(json.dumps(content).encode(), strict=True)


def test_a_failing_delivery_keeps_no_other_back(tmp_path):
    """Such as an address that was taken by an older version, which is in the books."""
    with SimulatorProcess(tmp_path / "sim") as simulator:
        with shop_at(simulator.environ) as pay:
            first, second = pay.start("A-1"), pay.start("A-2")
        simulator.stop()
        with closing(sqlite3.connect(tmp_path / "sim/books.sqlite")) as books, books:
            tables = books.execute("SELECT name FROM sqlite_master WHERE type='table'").fetchall()
            changed = 0
            for (table,) in tables:
                for row in books.execute(f"PRAGMA table_info({table})").fetchall():
                    of_first = f"{row[1]} LIKE '%{first.payment_request_id}%127.0.0.1:9/%'"
                    other = f"replace({row[1]}, '127.0.0.1:9/', '127.0.0.1:99999/')"
                    changed += books.execute(
                        f"UPDATE {table} SET {row[1]} = {other} WHERE {of_first}"
                    ).rowcount
            assert changed
        simulator.start()
        for attempt in (first, second):
            simulator.decide(attempt.payment_request_id, "pay")
            assert simulator.wait_for("notification_answered")["id"] == attempt.payment_request_id


@pytest.mark.parametrize("as_json", [[], ["--json"]], ids=["lines", "json"])
def test_a_reader_who_leaves_and_a_narrow_encoding_change_no_answer(tmp_path, as_json):
    command = [sys.executable, "-m", "aplus_adapters.cli", "simulator", "--port", "0", *as_json]
    process = subprocess.Popen(
        [*command, "--directory", str(tmp_path / "sim")],
        stdout=subprocess.PIPE, env={**os.environ, "PYTHONIOENCODING": "latin-1"},
    )  # fmt: skip
    try:
        process.stdout.readline()
        simulator = SimulatorProcess(tmp_path / "sim")
        address = simulator.environ["APLUS_GATEWAY"]
        with shop_at(simulator.environ) as pay:
            narrow = pay.start("注文-7")
            process.stdout.close()
            unread = pay.start("A-2")
        for attempt in (narrow, unread):
            assert attempt.order_code is not None
            path = f"{address}/simulator/orders/{attempt.payment_request_id}"
            assert httpx.post(f"{path}/pay", trust_env=False).status_code == 200
            deadline = time.monotonic() + 10
            while not httpx.get(path, trust_env=False).json()["notifications"]:
                assert time.monotonic() < deadline
                time.sleep(0.05)
    finally:
        process.terminate()
        assert process.wait(10) in (0, -signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_with_0(tmp_path, number):
    process = subprocess.Popen(
        [sys.executable, "-m", "aplus_adapters.cli", "simulator", "--port", "0",
         "--directory", str(tmp_path / "sim")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert b"ready" in process.stdout.readline()
    process.send_signal(number)
    _, wrong = process.communicate(timeout=10)
    assert (process.returncode, b"Aborted" in wrong, b"Traceback" in wrong) == (0, False, False)


def test_where_phones_can_pay_the_shop_of_this_machine_pays_too(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "aplus_adapters.cli", "simulator", "--host", "0.0.0.0", "--json",
         "--port", "0", "--directory", str(tmp_path / "sim")],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        address = json.loads(process.stdout.readline())["address"]
        environ = SimulatorProcess(tmp_path / "sim").environ
        with shop_at(environ) as pay:
            attempt = pay.start("A-1")
        assert attempt.order_code.text.startswith(f"{address}/")
        assert environ["APLUS_GATEWAY"].startswith("http://127.0.0.1:")
    finally:
        process.terminate()
        process.wait(10)
    process.stdout.close()


@pytest.mark.parametrize(
    ("code", "status"), [("RISK_REJECT", "F"), ("UNKNOWN_EXCEPTION", "U"), ("SUCCESS", "S"), ("NEW", "U")]
)  # fmt: skip
def test_a_result_has_the_status_of_its_code_unless_another_is_named(code, status):
    assert Fault("result", code=code).status == status
    assert Fault("result", code=code, status="F").status == "F"


def test_a_step_that_fails_for_a_moment_comes_again(tmp_path, monkeypatch):
    """Such as books that are locked, or a full disk."""
    from aplus_adapters.simulator.server import Simulator

    simulator, said = Simulator(tmp_path / "sim", "http://127.0.0.1:9"), []
    due, taken = simulator.alipayplus.do_what_is_due, simulator.alipayplus.notifier.take_due

    def failing(do):
        said.append(do.__name__)
        if said.count(do.__name__) < 3:
            raise sqlite3.OperationalError("database is locked")
        return do()

    async def main():
        clockwork = asyncio.create_task(simulator._clockwork())
        await asyncio.sleep(0.5)
        assert not clockwork.done()
        clockwork.cancel()
        await asyncio.gather(clockwork, return_exceptions=True)
        await simulator.delivery.aclose()
        simulator.books.close()

    monkeypatch.setattr(simulator.alipayplus, "do_what_is_due", lambda: failing(due))
    monkeypatch.setattr(simulator.alipayplus.notifier, "take_due", lambda: failing(taken))
    asyncio.run(main())
    assert min(said.count(due.__name__), said.count(taken.__name__)) >= 3
