"""The conformance check over real sockets: our examples, and the command against a shop by hand."""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from werkzeug.serving import make_server

from aplus_adapters.conformance.cases import Verdict
from aplus_adapters.conformance.evidence import Evidence
from aplus_adapters.conformance.gateway import PlayedGateway
from aplus_adapters.conformance.play import Pace
from aplus_adapters.conformance.process import started
from aplus_adapters.conformance.run import examine
from aplus_adapters.conformance.server import GatewayServer
from aplus_adapters.conformance.shop import Shop
from aplus_adapters.conformance.ways import Ways
from aplus_adapters.simulator.identity import Identity
from aplus_adapters.simulator.ports import ReservedPort
from support.bad_shop import MISTAKES
from support.conformance import describe, names

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ("flask", "starlette", "fastapi", "django")
NO_REFUNDS = {"refund-full", "refund-parts", "refund-repeated", "slow-store", "slow-store-again"}
PACE = Pace(expiry=1.5, patience=10.0, poll=0.3)
pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    Identity.open(folder, "http://gateway.example")
    return folder


def copied(keys, folder):
    shutil.copytree(keys, folder, ignore=shutil.ignore_patterns("shop.env"))
    return folder


@contextmanager
def free_url(path="/aplus/notify"):
    port = ReservedPort()
    try:
        yield f"http://127.0.0.1:{port.number}{path}"
    finally:
        port.release()


def play_against_example(framework, keys, tmp):
    folder, evidence, server = copied(keys, tmp / framework), Evidence(), GatewayServer()
    script = ROOT / "examples" / f"{framework}_shop.py"
    with free_url() as url:
        ways = Ways(
            notify_url=url,
            order_url="/orders",
            order_data={"item": "Ticket"},
            status_url="/orders/{order}",
        )
        gateway = PlayedGateway(folder, server.address, url, evidence)
        environ = {**gateway.environ, "DATABASE": f"sqlite:///{folder / 'shop.db'}"}
        shop = Shop(ways, evidence, timeout=20)
        command = f"{sys.executable} {script}"
        with (
            server.serving(gateway.receive),
            started(command, environ, url, folder / "log", 60),
        ):
            run = examine(gateway, shop, evidence, pace=PACE, acceptance=True)
        shop.close()
        gateway.close()
    return run


@pytest.fixture(scope="module")
def runs(keys, tmp_path_factory):
    tmp = tmp_path_factory.mktemp("examples")
    with ThreadPoolExecutor(len(EXAMPLES)) as pool:
        done = pool.map(lambda name: play_against_example(name, keys, tmp), EXAMPLES)
        return dict(zip(EXAMPLES, done, strict=True))


@pytest.mark.parametrize("framework", EXAMPLES)
def test_each_example_is_all_right(framework, runs):
    pytest.importorskip(framework)
    run = runs[framework]
    print(f"{framework}: {run.seconds:.1f} s, {run.results.count(Verdict.RIGHT)} cases right")
    assert describe(run, Verdict.WRONG, Verdict.ADVICE) == {}
    assert names(run, Verdict.NOT_TRIED) == NO_REFUNDS


def aplus(*words, **env):
    return subprocess.run(
        [sys.executable, "-m", "aplus_adapters.cli", "conformance", *map(str, words)],
        env={**os.environ, **env}, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_the_command_starts_a_shop_by_hand_and_writes_a_report_without_secrets(keys, tmp_path):
    folder = copied(keys, tmp_path / "work")
    shop = ROOT / "tests" / "support" / "handmade_shop.py"
    with free_url("/alipay/hook") as url:
        done = aplus(
            url, "--acceptance", "--start", f"{sys.executable} {shop}", "--directory", folder,
            "--port", 0, "--quick", "--timeout", 3, "--pay-url", "/checkout",
            "--pay-data", "order={order}", "--status-url", "/orders/{order}",
            "--refund-url", "/refunds",
            "--refund-data", "payment={payment}&minor={minor}&refund={refund}",
            "--slow-command", f"{sys.executable} -c 'import time; time.sleep(30)'",
            "--header", "X-Shop-Login: opensesame",
            ASK_EVERY="0.5", PATH="/nowhere",  # without a browser: its pictures take seconds
        )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((folder / "report" / "report.json").read_text())
    assert {case["verdict"] for case in report["cases"]} == {"right"}
    assert set(report["acceptance"].values()) == {"right"}
    page = (folder / "report" / "report.html").read_text()
    assert "Nothing is wrong" in page
    assert "POST /alipay/hook\n" in page  # the signed content, laid open
    for key in folder.glob("*_private.pem"):
        lines = key.read_text().splitlines()[1:-1]
        for text in (page, json.dumps(report), done.stdout):
            assert not any(line in text for line in lines)
    for text in (page, json.dumps(report), done.stdout):
        assert "opensesame" not in text
    assert re.search(r'(src|href)="(?!#|data:)', page) is None  # one file is all


def serve_when_there_are_settings(kind, folder, port, servers):
    while not (folder / "shop.env").exists():
        time.sleep(0.02)
    settings = dict(line.split("=", 1) for line in shlex.split((folder / "shop.env").read_text()))
    shop = kind(settings, pause=0.05, ask_every=0.3)
    server = make_server("127.0.0.1", port, shop.application(), threaded=True)
    servers.append(server)
    server.serve_forever()
    server.server_close()
    shop.end()


def test_a_shop_that_its_owner_starts_is_waited_for_and_its_mistake_makes_the_exit_code_1(
    keys, tmp_path
):
    from click.testing import CliRunner

    from aplus_adapters.cli.main import main

    folder, servers = copied(keys, tmp_path / "work"), []
    with free_url("/alipay/hook") as url:
        port = int(url.split(":")[2].partition("/")[0])
        owner = threading.Thread(
            target=serve_when_there_are_settings,
            args=(MISTAKES["answers html"], folder, port, servers),
        )
        owner.start()
        words = ["--port", "0", "--quick", "--timeout", "2", "--directory", str(folder), "--json"]
        words += ["--pay-url", "/checkout", "--pay-data", '{"order": "{order}"}']
        words += ["--status-url", "/orders/{order}"]
        done = CliRunner().invoke(main, ["conformance", url, *words])
        servers[0].shutdown()
        owner.join()
    rows = [json.loads(line) for line in done.output.splitlines()]
    wrong = [row for row in rows if row["verdict"] == "wrong"]
    assert [(row["name"], row["found"]) for row in wrong] == [("ack-content-type", "text/html")]
    assert done.exit_code == 1
    assert not (folder / "report").exists()  # nobody asked for one


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["http://127.0.0.1:{free}/aplus/notify", "--wait", "0"], "nobody listens at 127.0.0.1:"),
        (["not-a-url"], "expected http:// or https:// with a host"),
        (["--refund-data", "order_ref"], "expected name=value&name=value"),
        (["--pay-data", "{order"], "which is no JSON"),
        (["--paid", "("], "is no pattern"),
        (["--header", "no-colon"], "expected a name, a colon and a value"),
        (["--port", "{taken}"], "cannot be used"),
        (["http://127.0.0.1:{free}/n", "--start", "/no/such/shop"], "cannot be run"),
        (["http://127.0.0.1:{free}/n", "--start", "false"], "the shop ended (exit 1)"),
        (["http://127.0.0.1:{taken}/n", "--start", "true"], "another program listens at"),
    ],
)
def test_what_cannot_be_tried_is_a_usage_error(words, found, keys, tmp_path, monkeypatch):
    from click.testing import CliRunner

    from aplus_adapters.cli.main import main

    monkeypatch.chdir(copied(keys, tmp_path / "work"))
    with socket.create_server(("127.0.0.1", 0)) as taken, free_url("") as free:
        ports = {"taken": taken.getsockname()[1], "free": free.rpartition(":")[2]}
        words = [re.sub(r"\{(taken|free)\}", lambda m: str(ports[m[1]]), word) for word in words]
        if "--port" not in words:
            words += ["--port", "0"]
        done = CliRunner().invoke(main, ["conformance", "--directory", ".", *words])
    printed = " ".join(done.output.replace("│", " ").split())
    assert done.exit_code == 2, done.output
    assert found in printed
