"""Status polls per second where the database answers after 20 ms: the awaiting store by the blocking.

    python tests/benchmarks/polls.py [FILE.json] [ROUNDS]

200 pages poll at once, by kept connections, through Starlette under uvicorn. Between the shops and
PostgreSQL stands a process that hands each answer on 20 ms later. Both shops run all the time and are
asked in turn; the figure is the median of the rounds' ratios. Exit code 1 if it is below 3.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
sys.path.insert(0, str(HERE))

PAGES, EACH = 200, 10  # polls in a round: EACH by every page
DELAY = 0.02  # seconds
LEAST = 3.0
# So that a poll asks the database alone; a call that is further ahead counts as planned by a wrong clock.
NOT_DUE = "UPDATE aplus_payments SET next_call_at = now() + interval '110 s'"


async def delay(port, server):
    """Listen on a port and hand on what a server on another one says, DELAY later."""

    async def handle(reader, writer):
        other_reader, other_writer = await asyncio.open_connection("127.0.0.1", server)

        async def forward():
            while data := await reader.read(65536):
                other_writer.write(data)
            other_writer.close()

        forwarding = asyncio.ensure_future(forward())
        loop = asyncio.get_running_loop()
        while data := await other_reader.read(65536):
            loop.call_later(DELAY, writer.write, data)
        loop.call_later(DELAY, writer.close)  # the shop waits for it before it closes its side
        await forwarding

    async with await asyncio.start_server(handle, "127.0.0.1", port) as listening:
        await listening.serve_forever()


async def poll(port, ids):
    """Ask for the status of each payment in turn on a connection of its own; return the seconds."""
    connections = [await asyncio.open_connection("127.0.0.1", port) for _ in ids]

    async def work(request_id, reader, writer):
        request = (
            f"GET /aplus/payments/{request_id}/status HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
            "Accept: application/json\r\n\r\n"
        ).encode()
        left = EACH
        while left:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            start = head.index(b"content-length:") + 15
            body = await reader.readexactly(int(head[start : head.index(b"\r\n", start)]))
            is_answered = head.startswith(b"http/1.1 200")
            assert is_answered or b" 503 " in head, (head, body)  # a busy shop asks to come again
            left -= is_answered

    started = time.perf_counter()
    await asyncio.gather(*(work(one, *pair) for one, pair in zip(ids, connections, strict=True)))
    spent = time.perf_counter() - started
    for _, writer in connections:
        writer.close()
        await writer.wait_closed()
    return spent


def run(address, statement):
    """Run a statement."""
    from sqlalchemy import create_engine, text

    engine = create_engine(address)
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


def fill(store, account, ids):
    """Store a payment with a code for each id."""
    from attrs import evolve

    from aplus_adapters import Amount, OrderCode, OrderToPay, State, Visitor
    from aplus_adapters.payments.flows.initiate import new_attempt

    order = OrderToPay(amount=Amount("USD", 4200), description="2 tickets")
    for request_id in ids:
        one = new_attempt(
            account,
            order,
            request_id,
            expiry=timedelta(hours=1),
            payment_request_id=request_id,
            visitor=Visitor(),
            moment=datetime.now(UTC),
        )
        code = OrderCode(text="https://c.example/1")
        store.add(evolve(one, state=State.PENDING, order_code=code))


def main():
    from sqlalchemy import make_url
    from web import UVICORN, ready, serving  # type: ignore[attr-defined]

    from aplus_adapters import SQLStore
    from aplus_adapters.simulator.ports import ReservedPort
    from bench_shop import load, make_keys
    from support.postgres import Cluster

    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    cluster, reserved = Cluster(), ReservedPort()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        make_keys(folder)
        address = cluster.database()
        store = SQLStore(address)
        ids = [f"pay{number:040x}" for number in range(PAGES)]
        fill(store, load(folder)[0], ids)
        store.close()
        run(address, NOT_DUE)
        url = make_url(address)
        command = [sys.executable, __file__, "delay", str(reserved.number), str(url.port)]
        proxy = subprocess.Popen(command)
        stack.callback(proxy.wait)
        stack.callback(proxy.terminate)
        ports = {}
        for kind, driver in (("blocking", "psycopg"), ("awaiting", "asyncpg")):
            shop = url.set(port=reserved.number, drivername=f"postgresql+{driver}")
            os.environ.update(KIND=kind, DATABASE=shop.render_as_string(hide_password=False))
            ports[kind] = stack.enter_context(serving(folder, [*UVICORN, "bench_shop:polled"]))
            asyncio.run(ready(ports[kind]))
            asyncio.run(poll(ports[kind], ids[:10]))  # connects, a page after the other
        ratios = []
        for number in range(rounds + 1):
            spent = {}
            run(address, NOT_DUE)
            for kind in ("blocking", "awaiting")[:: 1 if number % 2 else -1]:
                spent[kind] = asyncio.run(poll(ports[kind], ids))
            if number:  # the first round warms up
                ratios.append(spent["blocking"] / spent["awaiting"])
                rates = " and ".join(f"{PAGES * EACH / spent[kind]:.0f}" for kind in ports)
                print(f"  round {number}: {ratios[-1]:.2f} times ({rates} per second)", flush=True)
    cluster.remove()
    reserved.release()
    ratio = statistics.median(ratios)
    verdict = "ok" if ratio >= LEAST else "MISSED"
    name = "polls per second awaiting, times the blocking store's"
    print(f"{name} {ratio:.2f} (bound {LEAST}) {verdict}")
    if len(sys.argv) > 1:
        rows = [{"name": name, "ratio": ratio, "bound": LEAST, "verdict": verdict}]
        Path(sys.argv[1]).write_text(json.dumps({"results": rows}, indent=1))
    sys.exit(verdict != "ok")


if __name__ == "__main__":
    if sys.argv[1:2] == ["delay"]:
        asyncio.run(delay(int(sys.argv[2]), int(sys.argv[3])))
    else:
        main()
