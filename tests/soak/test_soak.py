"""Mixed load for a long time: memory stays flat, no connection, thread or file is left behind.

Some seconds by default; ten minutes where APLUS_LONG is set (`nox -s soak`).
"""

import itertools
import os
import statistics
import threading
import time
from pathlib import Path

import httpx
import pytest

from aplus_adapters import SQLStore
from aplus_adapters.testing.served_shop import JSON
from support.databases import blocking, new_awaiting_database, new_database
from support.forms import behind

LONG = bool(os.environ.get("APLUS_LONG"))
SECONDS = 600 if LONG else 12
WARM_UP = 60 if LONG else 5  # imports, caches, connections, threads: what is made once
WORKERS = 6
MOST = 1.05 if LONG else 1.10  # in seconds the allocator has not come to rest
BROWSER = {"Accept": "text/html", "User-Agent": "Mozilla/5.0", "Accept-Language": "zh"}
pytestmark = pytest.mark.process
FLASK = behind(
    *("-m", "gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2", "--threads", "4"),
    "soaking_shop:flask_soaked()",
)
STARLETTE = behind(
    *("-m", "uvicorn", "--port", "{port}", "--http", "httptools"),
    *("--factory", "soaking_shop:starlette_soaked"),
)
ROWS = {
    "flask-sqlite": (FLASK, new_database, "sqlite"),
    "starlette-sqlite": (STARLETTE, new_database, "sqlite"),
    "flask-postgresql": (FLASK, new_database, "postgresql"),
    "starlette-asyncpg": (STARLETTE, new_awaiting_database, "asyncpg"),
    "flask-mysql": (FLASK, new_database, "mysql"),
    "starlette-asyncmy": (STARLETTE, new_awaiting_database, "asyncmy"),
}


def children(pid):
    """Give a process and all below it."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += children(int(child))
    return found


def weigh(pids):
    """Give memory in KiB, threads and open files of the processes together."""
    memory = threads = files = 0
    for pid in pids:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        memory += int(fields["VmRSS"].split()[0])
        threads += int(fields["Threads"])
        files += len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return memory, threads, files


class Load:
    """Buyers, tills, Alipay+ and strangers, all at once."""

    def __init__(self, address, database, alipayplus):
        self.address, self.alipayplus = address, alipayplus
        self.store = SQLStore(database)
        self.numbers, self.done, self.wrong = itertools.count(), 0, []
        self.stop = threading.Event()

    def work(self):
        limits = httpx.Limits(keepalive_expiry=1.0)
        with httpx.Client(base_url=self.address, trust_env=False, limits=limits) as client:
            while not self.stop.is_set():
                try:
                    self.one(client, next(self.numbers))
                except Exception as error:
                    self.wrong.append(repr(error))

    def one(self, client, number):
        order = {"order_ref": f"A-{number}"}
        paid = client.post("/aplus/pay", json=order, headers=JSON).json()
        request_id = paid["paymentRequestId"]
        assert client.get(f"/aplus/payments/{request_id}", headers=BROWSER).status_code == 200
        body = self.alipayplus.notification(self.store.get(request_id))
        forged = {
            **self.alipayplus.sign(body),
            "Signature": "algorithm=RSA256,keyVersion=1,signature=AA",
        }
        for headers, expected in (
            (forged, 401), (self.alipayplus.sign(body), 200), (self.alipayplus.sign(body), 200),
        ):  # fmt: skip
            reply = client.post("/aplus/notify", content=body, headers=headers)
            assert reply.status_code == expected, reply.text
        state = client.get(f"/aplus/payments/{request_id}/status").json()["state"]
        assert state == "paid"
        assert client.get("/aplus/payments/nothing").status_code == 404
        assert client.post("/aplus/pay", content=b"{", headers=JSON).status_code == 415
        if number % 10 == 0:  # somebody who hangs up in the middle
            try:
                client.get(f"/aplus/payments/{request_id}/status", timeout=0.001)
            except httpx.TransportError:
                pass
        self.done += 1


@pytest.mark.parametrize("row", ROWS)
def test_memory_is_flat_and_nothing_is_left_behind(
    row, tmp_path, simulator, simulated_account, simulated_alipayplus, request
):
    serve, make_database, kind = ROWS[row]
    database = make_database(kind, tmp_path, request)
    with serve(database, simulated_account, tmp_path, simulator) as client:
        load = Load(str(client.base_url), blocking(database), simulated_alipayplus)
        pids = children(client.server_pid)
        workers = [threading.Thread(target=load.work) for _ in range(WORKERS)]
        for worker in workers:
            worker.start()
        began, measured = time.monotonic(), []
        while time.monotonic() - began < SECONDS:
            time.sleep(1)
            if time.monotonic() - began > WARM_UP:
                measured.append(weigh(pids))
        load.stop.set()
        for worker in workers:
            worker.join()
        load.store.close()
        time.sleep(1.5)  # idle connections are closed
        _, threads_after, files_after = weigh(pids)
    assert load.wrong == []
    fifth = max(1, len(measured) // 5)
    memory = [
        statistics.median(one[0] for one in part) for part in (measured[:fifth], measured[-fifth:])
    ]
    growth = memory[1] / memory[0]
    print(
        f"{row}: {SECONDS} s, {load.done} payments, memory {memory[0] / 1024:.1f} to "
        f"{memory[1] / 1024:.1f} MiB ({growth - 1:+.1%}), threads {measured[0][1]} to {threads_after}, "
        f"files {measured[0][2]} to {files_after}"
    )
    assert growth < MOST
    # A pool makes a thread when all are busy, at most one for each worker of the load, and each may
    # open SQLite's three files. What leaks with every payment is far more.
    assert load.done > 3 * WORKERS
    assert threads_after <= measured[0][1] + WORKERS
    assert files_after <= max(one[2] for one in measured[:fifth]) + 3 * WORKERS
