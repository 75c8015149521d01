"""The web layer's speed against hand-written code that does the same, over real sockets, in one run.

    python tests/benchmarks/web.py [FILE.json] [ROUNDS]

Both servers run all the time and are asked in turn; the figure is the median of the turns' ratios.
Exit code 1 if a ratio misses its bound.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).parent
CONNECTIONS = 16
EACH = 150  # notifications in a turn, to each of both: a machine's speed swings within a second
TURNS = 4  # in a round


class Connection:
    """One kept connection that sends prepared bytes and counts answers."""

    async def open(self, port):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port)

    async def ask(self, request):
        self.writer.write(request)
        head = await self.reader.readuntil(b"\r\n\r\n")
        lower = head.lower()
        start = lower.index(b"content-length:") + 15
        body = await self.reader.readexactly(int(lower[start : lower.index(b"\r\n", start)]))
        assert head.startswith(b"HTTP/1.1 200"), head
        assert b'"S"' in body, body


async def timed(port, requests):
    """Send all requests through 16 connections; give the seconds."""
    connections = [Connection() for _ in range(CONNECTIONS)]
    for one in connections:
        await one.open(port)
    waiting = iter(requests)

    async def work(connection):
        for request in waiting:
            await connection.ask(request)

    started = time.perf_counter()
    await asyncio.gather(*(work(one) for one in connections))
    spent = time.perf_counter() - started
    for one in connections:
        one.writer.close()
    return spent


def notifications(folder, port, numbers):
    """Prepare signed notifications of payments that the servers know, each as one request's bytes."""
    from aplus_adapters.testing.signer import AlipayPlus
    from bench_shop import attempt, load

    account, theirs = load(folder)
    pen = AlipayPlus(account, theirs)
    for number in numbers:
        body = pen.notification(attempt(number))
        lines = [f"{name}: {value}" for name, value in pen.sign(body).items()]
        head = ["POST /aplus/notify HTTP/1.1", f"Host: 127.0.0.1:{port}", *lines,
                f"Content-Length: {len(body)}"]  # fmt: skip
        yield "\r\n".join([*head, "", ""]).encode() + body


@contextmanager
def serving(folder, command):
    """Run a server until the end of the block; give its port."""
    from aplus_adapters.simulator.ports import ReservedPort

    reserved = ReservedPort()
    port = reserved.number
    environ = {**os.environ, "BENCH": str(folder), "PYTHONPATH": str(HERE)}
    process = subprocess.Popen(
        [sys.executable, "-m", *(word.format(port=port) for word in command)],
        env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield port
    finally:
        process.terminate()
        process.wait(timeout=30)
        reserved.release()


async def ready(port):
    for _ in range(400):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    raise SystemExit("a server of the benchmark did not start")


UVICORN = ["uvicorn", "--port", "{port}", "--no-access-log", "--log-level", "error", "--factory"]
GUNICORN = ["gunicorn", "--bind", "127.0.0.1:{port}", "--threads", "16", "--log-level", "error"]


def compare_notifications(folder, command, ours, bare, rounds):
    """Give the median of ours' throughput by bare's."""
    with serving(folder, [*command, ours]) as first, serving(folder, [*command, bare]) as second:
        asyncio.run(ready(first))
        asyncio.run(ready(second))
        ratios = []
        for number in range(TURNS * (rounds + 1)):
            numbers = range(number * EACH, (number + 1) * EACH)
            order = (first, second) if number % 2 else (second, first)
            prepared = {port: list(notifications(folder, port, numbers)) for port in order}
            spent = {port: asyncio.run(timed(port, prepared[port])) for port in order}
            if number >= TURNS:  # the first round warms up
                ratios.append(spent[second] / spent[first])
                rates = f"{EACH / spent[first]:.0f} and {EACH / spent[second]:.0f} per second"
                print(f"  turn {number}: {ratios[-1]:.2f} times ({rates})", flush=True)
        return statistics.median(ratios)


def compare_pay(folder, rounds, calls=40):
    """Give the median of our pay round trip's time by that of a hand-written loop, over TLS."""
    import ssl

    import httpx

    from aplus_adapters import Client
    from bench_shop import PayByHand, load, pay_by_us, pay_request

    certificate = folder / "tls.pem"
    with serving(
        folder,
        [*UVICORN, "--ssl-certfile", str(certificate), "--ssl-keyfile", str(folder / "tls.key"),
         "bench_shop:gateway"],
    ) as port:  # fmt: skip
        asyncio.run(ready(port))
        account, _ = load(folder, f"https://127.0.0.1:{port}")
        context = ssl.create_default_context(cafile=str(certificate))
        ratios = []
        with (
            httpx.Client(verify=context, trust_env=False) as mine,
            httpx.Client(verify=context, trust_env=False) as theirs,
            Client(account, client=mine) as client,
        ):
            hand = PayByHand(theirs, account.gateway, folder)

            def by_us(number):
                return pay_by_us(client, pay_request(number))

            def by_hand(number):
                return hand.pay(pay_request(number))

            number = 0
            assert by_us(0) == by_hand(0)
            for turn in range(rounds + 1):
                spent = {}
                for call in (by_us, by_hand) if turn % 2 else (by_hand, by_us):
                    started = time.perf_counter()
                    for _ in range(calls):
                        number += 1
                        call(number)
                    spent[call] = time.perf_counter() - started
                if turn:
                    ratios.append(spent[by_us] / spent[by_hand])
        return statistics.median(ratios)


def main():
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 15
    results, missed = [], False

    def note(name, ratio, bound, good):
        nonlocal missed
        missed = missed or not good
        verdict = "ok" if good else "MISSED"
        results.append({"name": name, "ratio": ratio, "bound": bound, "verdict": verdict})
        print(f"{name:<66} {ratio:.3f} (bound {bound}) {verdict}", flush=True)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        from bench_shop import make_keys

        make_keys(folder)
        ratio = compare_pay(folder, rounds)
        note("pay over TLS, time by that of a hand-written loop", ratio, 1.2, ratio <= 1.2)
        ratio = compare_notifications(
            folder, UVICORN, "bench_shop:starlette_ours", "bench_shop:starlette_bare", rounds
        )
        note("notifications by Starlette, times a hand-written route's", ratio, 1.0, ratio >= 1.0)
        ratio = compare_notifications(
            folder, GUNICORN, "bench_shop:flask_ours()", "bench_shop:flask_bare()", rounds
        )
        note("notifications by Flask, times a hand-written route's", ratio, 1.0, ratio >= 1.0)
    if len(sys.argv) > 1:
        report = {"at": datetime.now(UTC).isoformat(), "python": sys.version, "results": results}
        Path(sys.argv[1]).write_text(json.dumps(report, indent=1))
    sys.exit(missed)


if __name__ == "__main__":
    main()
