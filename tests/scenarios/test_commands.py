"""The operator's commands against a shop whose web server is down: reconcile, and a payment's story."""

import signal
import subprocess
import sys
import time

import pytest

from support.demo_shop import EACH_WORLD, command, make_due, press_pay, running, wait_until

pytestmark = pytest.mark.process


@pytest.fixture(params=EACH_WORLD)
def paid_unheard(request, tmp_path):
    """A payment that was paid while the shop was down; its notification is not sent again soon."""
    with running(request.param, tmp_path, time_scale=1) as (demo, buyer):
        order_ref, request_id = press_pay(buyer)
        demo.kill_shop()
        demo.simulator.decide(request_id, "pay")
        demo.simulator.wait_for("notification_answered")
        make_due(demo)
        yield demo, order_ref, request_id


def test_reconcile_finds_what_was_paid_and_show_tells_the_story(paid_unheard):
    demo, order_ref, request_id = paid_unheard
    shop = ["--shop", f"{demo.script.stem}:pay"]
    done = command(demo, "aplus_adapters.cli", "reconcile", *shop)
    assert done.returncode == 0, done.stderr
    assert "1 asked about, 1 became final" in done.stdout
    assert [row[0] for row in demo.paid_attempts(order_ref)] == [request_id]
    story = command(demo, "aplus_adapters.cli", "show", request_id, *shop).stdout
    assert command(demo, "aplus_adapters.cli", "show", order_ref, *shop).stdout == story
    lines = story.splitlines()
    assert lines[0] == f"payment  {request_id}"
    assert f"order    {order_ref}" in lines
    events = [line[26:] for line in lines[6:]]
    assert events == [
        f"shop          pay 42.00 USD for order {order_ref}  ->  created",
        "pay           code issued 42.00 USD (PAYMENT_IN_PROCESS)  ->  pending",
        "inquiry       succeeded 42.00 USD (SUCCESS) by SIMULATEDWALLET  ->  succeeded",
    ]


def test_flask_has_the_same_commands(tmp_path):
    with running("flask", tmp_path, time_scale=1) as (demo, buyer):
        _, request_id = press_pay(buyer)
        demo.kill_shop()
        demo.simulator.notify(request_id, "other_amount")
        demo.simulator.decide(request_id, "pay")
        make_due(demo)
        flask = ["flask", "--app", demo.script.stem, "aplus"]
        done = command(demo, *flask, "reconcile", "--threads", "3")
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("round done") == 1
        assert "1 asked about, 1 became final" in done.stdout
        assert "-> succeeded" in command(demo, *flask, "show", request_id).stdout.replace("  ", " ")


def test_reconcile_goes_on_until_it_is_told_to_stop(tmp_path):
    with running("flask", tmp_path, time_scale=1) as (demo, buyer):
        order_ref, request_id = press_pay(buyer)
        demo.kill_shop()
        words = ["aplus_adapters.cli", "reconcile", "--shop", "flask_shop:pay", "--every", "100ms"]
        process = subprocess.Popen(
            [sys.executable, "-m", *words], env=demo.environ, cwd=demo.script.parent,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            time.sleep(1)
            demo.simulator.decide(request_id, "pay")
            make_due(demo)
            wait_until(lambda: demo.paid_attempts(order_ref))
            time.sleep(1)
            process.send_signal(signal.SIGTERM)
            printed, logged = process.communicate(timeout=10)
        finally:
            process.kill()
        assert process.returncode == 0
        assert printed == ""
        rounds = [line for line in logged.splitlines() if "reconcile: round done: " in line]
        assert len(rounds) > 2
        assert all(" INFO " in line for line in rounds)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["reconcile"], "--shop"),
        (["reconcile", "--shop", "nonsense"], "expected module:name"),
        (["reconcile", "--shop", "no.such:pay"], "cannot be loaded"),
        (["reconcile", "--shop", "json:dumps"], "cannot"),
        (["reconcile", "--shop", "json:decoder"], "found module, expected an AplusPay"),
        (["reconcile", "--shop", "json:decoder", "--every", "soon"], "such as 10s"),
        (["show", "--shop", "flask_shop:pay", "nothing"], "found no such payment"),
    ],
)
def test_a_useless_command_says_what_is_expected(tmp_path, words, found):
    with running("flask", tmp_path) as (demo, _):
        done = command(demo, "aplus_adapters.cli", *words)
        assert done.returncode == 2
        assert found in done.stderr.replace("\n", " ")
