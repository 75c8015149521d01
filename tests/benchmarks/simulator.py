"""How many signed pay calls the simulator answers on one core, and how much memory orders take.

    python tests/benchmarks/simulator.py [--orders 100000]

The calls are signed before the clock starts. In process they go to the object that answers; over
loopback to `aplus simulator` in a process of its own, which is bound to one core. On a machine that
does other things too, the calls in a second of the core are what counts.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx

from aplus_adapters import Account, Amount
from aplus_adapters.messages import Env, Order, PayRequest
from aplus_adapters.protocol import signing
from aplus_adapters.protocol.timestamps import Timestamp
from aplus_adapters.simulator.alipayplus import SimulatedAlipayPlus
from aplus_adapters.simulator.identity import Identity
from aplus_adapters.simulator.ledger import Books
from aplus_adapters.simulator.process import SimulatorProcess

PATH = PayRequest.path
AMOUNT = Amount("USD", 4200)


def signed_calls(account, first, count):
    """Return headers and body of new pay calls."""
    for number in range(first, first + count):
        request = PayRequest(
            order=Order(
                reference_order_id=f"A-{number}",
                order_description="2 tickets",
                order_amount=AMOUNT,
                env=Env(user_agent="Mozilla/5.0"),
            ),
            payment_request_id=f"pay-{number:08d}",
            payment_amount=AMOUNT,
            payment_notify_url="http://127.0.0.1:9/aplus/notify",
        )
        body, moment = request.encode(), Timestamp.of(datetime.now(UTC)).text
        signed = signing.signed_content(PATH, account.client_id, moment, body)
        headers = {
            "client-id": account.client_id,
            "request-time": moment,
            "content-type": "application/json; charset=UTF-8",
            "signature": signing.sign(account.private_key, "1", signed),
        }
        yield headers, body


def account_of(folder):
    lines = (line.split("=", 1) for line in (folder / "shop.env").read_text().splitlines())
    return Account.from_env({name: value.strip("'") for name, value in lines})


def resident(pid="self"):
    """Return the memory of a process in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def processor_time(pid):
    """Return the seconds that a process has used of its core."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def in_process(folder, orders):
    """Answer `orders` calls, and print the speed and the memory on the way."""
    identity = Identity.open(folder, "http://127.0.0.1:8100")
    account = account_of(folder)
    books = Books(folder / "books.sqlite")
    alipayplus = SimulatedAlipayPlus(
        books,
        identity,
        clock=lambda: datetime.now(UTC),
        address="http://127.0.0.1:8100",
        emit=lambda *_event, **_more: None,
    )
    done, busy, processor, batch = 0, 0.0, 0.0, 1000
    while done < orders:
        calls = list(signed_calls(account, done, batch))
        began, used = time.perf_counter(), time.process_time()
        for headers, body in calls:
            steps = alipayplus.answer(method="POST", path=PATH, headers=headers, body=body)
            try:
                next(steps)
            except StopIteration as end:
                assert b"PAYMENT_IN_PROCESS" in end.value.body
        alipayplus.do_what_is_due()
        due = alipayplus.notifier.take_due()
        busy += time.perf_counter() - began
        processor += time.process_time() - used
        done += batch
        for order in due:  # a shop that does not answer, for which nothing is counted
            notification = alipayplus.notifier.make(order)
            judged = alipayplus.notifier.unanswered(notification, "ConnectError")
            alipayplus.notifier.record(order, alipayplus.clock(), judged)
        if done in (1000, 10_000, orders // 2, orders):
            print(
                f"  {done:>7} orders: {done / busy:6.0f} calls/s "
                f"({done / processor:.0f} in a second of the core), {resident():6.1f} MB"
            )
    size = (folder / "books.sqlite").stat().st_size / 2**20
    print(f"  the file of the books: {size:.0f} MB")
    books.close()


async def over_loopback(simulator, calls, at_once):
    limits = httpx.Limits(max_connections=at_once)
    waiting = iter(calls)
    async with httpx.AsyncClient(
        base_url=simulator.address, trust_env=False, timeout=30, limits=limits
    ) as client:

        async def work():
            for headers, body in waiting:
                answer = await client.post(PATH, content=body, headers=headers)
                assert "PAYMENT_IN_PROCESS" in answer.text

        began = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(at_once)))
        return len(calls) / (time.perf_counter() - began)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--orders", type=int, default=100_000)
    parser.add_argument("--calls", type=int, default=3000, help="over loopback")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    print(
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; SQLite on {tempfile.gettempdir()}"
    )
    with tempfile.TemporaryDirectory() as name:
        print("in process, one core:")
        os.sched_setaffinity(0, cores[-1:])
        in_process(Path(name), options.orders)
        os.sched_setaffinity(0, cores)
    with tempfile.TemporaryDirectory() as name, SimulatorProcess(Path(name)) as simulator:
        pid = simulator.pid
        subprocess.run(["taskset", "-cp", str(cores[0]), str(pid)], check=True, capture_output=True)
        calls = list(signed_calls(account_of(Path(name)), 0, options.calls))
        used = processor_time(pid)
        speed = asyncio.run(over_loopback(simulator, calls, 4))
        each = len(calls) / (processor_time(pid) - used)
        print("over loopback, the simulator on one core:")
        print(f"  {speed:.0f} calls/s ({each:.0f} in a second of the core)")
        print(f"  memory of the simulator: {resident(pid):.1f} MB")


if __name__ == "__main__":
    sys.exit(main())
