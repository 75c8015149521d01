"""A store made before a fork: no buyer is shown another's payment, whoever forks."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import httpx
import pytest

from aplus_adapters.simulator.ports import ReservedPort
from conftest import new_database

pytestmark = pytest.mark.process

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
SERVERS = {
    "gunicorn": ["gunicorn", "--preload", "-w", "3", "--threads", "4", "-b", "127.0.0.1:{port}"],
    "uwsgi": ["uwsgi", "--http-socket", "127.0.0.1:{port}", "--processes", "3", "--need-app"],
    "uwsgi with threads": [
        "uwsgi", "--http-socket", "127.0.0.1:{port}", "--processes", "3", "--need-app",
        "--enable-threads", "--threads", "4",
    ],
}  # fmt: skip
EVERY = [*SERVERS, "celery", "multiprocessing"]
SERVERS["gevent"] = ["gunicorn", "-k", "gevent", "-w", "1", "-b", "127.0.0.1:{port}"]
LONG = "APLUS_LONG" in os.environ
BUYERS = 1000 if LONG else 120
ALL_SERVED = max(60, 0.3 * BUYERS)  # seconds, after which somebody hangs
SET_UPS = list(product(EVERY, ["address", "engine"], ["postgresql", "sqlite"]))
if not LONG:
    SET_UPS = [
        ("uwsgi", "address", "postgresql"),
        ("uwsgi with threads", "engine", "postgresql"),
        ("gunicorn", "address", "sqlite"),
        ("multiprocessing", "engine", "postgresql"),
        ("celery", "address", "postgresql"),
    ]


@contextmanager
def running(command, environ, log):
    with log.open("wb") as output:
        process = subprocess.Popen(
            [BIN / command[0], *command[1:]], cwd=HERE, env=environ, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def free_port():
    port = ReservedPort()
    try:
        yield port.number
    finally:
        port.release()


@contextmanager
def serving(server, environ, log):
    """Serve the shop; give a client and the address to which a buyer's number is added."""
    with free_port() as port:
        command = [part.format(port=port) for part in SERVERS[server]]
        module = "forking_shop:application"
        if command[0] == "uwsgi":
            command += ["--module", module, "--master", "--no-orphans", "--die-on-term"]
            command += ["--virtualenv", sys.prefix, "--pythonpath", str(HERE)]
        else:
            command.append(module)
        with running(command, environ, log), _client() as client:
            base = f"http://127.0.0.1:{port}/"
            wait_until(lambda: answers(client, base + "0"), log)
            yield client, base


def buy_by_web(server, environ, folder):
    log = folder / "log"
    with serving(server, environ, log) as (client, base):

        def buy(number):
            reply = client.get(f"{base}{number}")
            assert reply.status_code == 200, log.read_text()[-3000:]
            return reply.json()

        with ThreadPoolExecutor(12) as threads:
            return list(threads.map(buy, range(1, BUYERS + 1)))


def _client():
    # uWSGI closes each connection behind its answer without saying so before.
    return httpx.Client(timeout=20, trust_env=False, headers={"Connection": "close"})


def answers(client, address):
    try:
        return client.get(address).status_code == 200
    except httpx.TransportError:
        return False


def wait_until(ready, log):
    deadline = time.monotonic() + ALL_SERVED
    while not ready():
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.1)


def buy_by_celery(environ, folder):
    queue, done, log = folder / "queue", folder / "answers", folder / "log"
    queue.mkdir()
    done.mkdir()
    # No process of nox's finds anything in its own folder first.
    environ = {**environ, "QUEUE": str(queue), "ANSWERS": str(done), "PYTHONPATH": str(HERE)}
    send = (
        "from forking_shop import buy_in_task\n"
        f"for number in range(1, {BUYERS} + 1): buy_in_task.delay(number)"
    )
    subprocess.run([sys.executable, "-c", send], cwd=HERE, env=environ, check=True)
    command = ["celery", "-A", "forking_shop", "worker", "-P", "prefork", "-c", "3"]
    command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    with running(command, environ, log):
        wait_until(lambda: len([*done.glob("*[0-9]")]) == BUYERS, log)
    return [json.loads((done / str(number)).read_text()) for number in range(1, BUYERS + 1)]


def buy_by_multiprocessing(environ):
    command = [sys.executable, "forking_shop.py", str(BUYERS)]
    done = subprocess.run(
        command,
        cwd=HERE,
        env=environ,
        capture_output=True,
        text=True,
        timeout=ALL_SERVED,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize(("who", "given", "kind"), SET_UPS)
def test_no_buyer_is_shown_anothers_payment_whoever_forked(who, given, kind, tmp_path, request):
    database = new_database(kind, tmp_path, request)
    environ = {**os.environ, "DATABASE": database, "GIVEN": given}
    environ.pop("PYTHONWARNINGS", None)
    if who == "celery":
        shown = buy_by_celery(environ, tmp_path)
    elif who == "multiprocessing":
        shown = buy_by_multiprocessing(environ)
    else:
        shown = buy_by_web(who, environ, tmp_path)
    others = [[one[1:], n] for n, one in enumerate(shown, 1) if one[1:] != [[f"A-{n}"], True]]
    assert others == []
    assert len({pid for pid, *_ in shown}) > 1  # several of the forked processes took part
