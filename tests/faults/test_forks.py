"""A store made before a fork: no buyer is shown another's payment, whoever forks."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import pytest

from support.databases import new_database
from support.servers import (
    ALL_SERVED,
    BUYERS,
    FORKING,
    HERE,
    LONG,
    running,
    serving,
    wait_until,
)

pytestmark = pytest.mark.process

EVERY = [*FORKING, "celery", "multiprocessing"]
SET_UPS = list(product(EVERY, ["address", "engine"], ["postgresql", "mysql", "sqlite"]))
if not LONG:
    SET_UPS = [
        ("uwsgi", "address", "postgresql"),
        ("uwsgi with threads", "engine", "postgresql"),
        ("gunicorn", "address", "sqlite"),
        ("multiprocessing", "engine", "postgresql"),
        ("uwsgi", "address", "mysql"),
        ("gunicorn", "engine", "mysql"),
        ("celery", "address", "postgresql"),
    ]


def buy_by_web(server, environ, folder):
    log = folder / "log"
    with serving(server, environ, log) as (client, base):

        def buy(number):
            reply = client.get(f"{base}{number}")
            assert reply.status_code == 200, log.read_text()[-3000:]
            return reply.json()

        with ThreadPoolExecutor(12) as threads:
            return list(threads.map(buy, range(1, BUYERS + 1)))


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
