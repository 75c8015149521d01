"""Servers that fork before they serve forking_shop.py."""

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx

from aplus_adapters.simulator.ports import ReservedPort

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
FORKING = {
    "gunicorn": ["gunicorn", "--preload", "-w", "3", "--threads", "4", "-b", "127.0.0.1:{port}"],
    "uwsgi": ["uwsgi", "--http-socket", "127.0.0.1:{port}", "--processes", "3", "--need-app"],
    "uwsgi with threads": [
        "uwsgi", "--http-socket", "127.0.0.1:{port}", "--processes", "3", "--need-app",
        "--enable-threads", "--threads", "4",
    ],
}  # fmt: skip
SERVERS = {
    **FORKING,
    "gevent": ["gunicorn", "-k", "gevent", "-w", "1", "-b", "127.0.0.1:{port}"],
}


LONG = "APLUS_LONG" in os.environ
BUYERS = 1000 if LONG else 120
ALL_SERVED = max(60, 0.3 * BUYERS)  # seconds, after which somebody hangs


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
