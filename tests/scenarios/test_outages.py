"""Real processes that die and come back: the example shops, the simulator, a buyer's browser."""

import re
import subprocess
import sys

import pytest

from aplus_adapters.cli.demo import FRAMEWORKS, pay_once
from support.demo_shop import EACH_WORLD, HTML, make_due, press_pay, running, wait_until

pytestmark = pytest.mark.process


def state(buyer, request_id):
    return buyer.get(f"/aplus/payments/{request_id}/status").json()["state"]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_demonstration_pays_and_says_each_step(framework):
    steps = []
    assert pay_once(framework, lambda what, details: steps.append(what))
    assert steps == [
        "shop", "simulator", "order", "request id", "code", "wallet", "notification",
        "acknowledgement", "PAID",
    ]  # fmt: skip


def test_a_till_takes_a_payment_by_json_alone(tmp_path):
    with running("starlette", tmp_path) as (demo, buyer):
        order_ref = buyer.post("/orders").headers["location"].rpartition("/")[2]
        till = demo.script.parent / "till.py"
        with subprocess.Popen(
            [sys.executable, str(till), demo.address, order_ref], stdout=subprocess.PIPE, text=True
        ) as process:
            wait_until(lambda: demo.simulator.orders() or process.poll() is not None)
            (order,) = demo.simulator.orders()
            demo.simulator.decide(order["paymentRequestId"], "pay")
            shown, _ = process.communicate(timeout=30)
        assert process.returncode == 0
        assert "Ticket: 4200 minor units USD" in shown
        assert "Thank you, it is paid." in shown
        assert len(demo.paid_attempts(order_ref)) == 1
        refused = subprocess.run(
            [sys.executable, str(till), demo.address, "nothing"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert refused.returncode == 1
        assert "cannot pay nothing: order 'nothing': the shop has no such order" in refused.stderr


@pytest.mark.parametrize("framework", EACH_WORLD)
def test_a_shop_killed_between_pay_and_notification_learns_of_the_payment_after_its_start(
    framework, tmp_path
):
    with running(framework, tmp_path) as (demo, buyer):
        order_ref, request_id = press_pay(buyer)
        assert state(buyer, request_id) == "waiting"
        demo.kill_shop()
        demo.simulator.decide(request_id, "pay")
        assert demo.simulator.wait_for("notification_answered")["status"] == 0
        demo.start_shop()
        # Only the re-sent notification can tell: nobody opens the page.
        wait_until(lambda: demo.simulator.order(request_id)["nextNotification"] is None)
        assert len(demo.paid_attempts(order_ref)) == 1
        assert state(buyer, request_id) == "paid"


def test_without_any_notification_the_page_finds_out_by_inquiry(tmp_path):
    with running("flask", tmp_path, time_scale=1) as (
        demo,
        buyer,
    ):  # the re-send comes in 2 minutes
        order_ref, request_id = press_pay(buyer)
        demo.kill_shop()
        demo.simulator.decide(request_id, "pay")
        demo.simulator.wait_for("notification_answered")
        calls = len(demo.simulator.order(request_id)["notifications"])
        demo.start_shop()
        make_due(demo)
        assert state(buyer, request_id) == "paid"
        assert len(demo.simulator.order(request_id)["notifications"]) == calls
        assert len(demo.paid_attempts(order_ref)) == 1


@pytest.mark.parametrize("framework", EACH_WORLD)
def test_while_alipayplus_is_down_the_page_says_so_and_the_same_bytes_go_out_later(
    framework, tmp_path
):
    with running(framework, tmp_path) as (demo, buyer):
        demo.simulator.kill()
        order_ref, request_id = press_pay(buyer)
        page = buyer.get(f"/aplus/payments/{request_id}", headers=HTML).text
        assert 'data-state="retrying"' in page
        assert "could not be reached" in page or "tried again" in page or "trying" in page.lower()
        assert not re.search(r'class="[^"]*qr', page)
        stored = _bodies(demo)
        demo.kill_shop()  # and the shop dies as well
        demo.simulator.start()
        demo.start_shop()
        wait_until(lambda: state(buyer, request_id) == "waiting")
        books = demo.simulator.order(request_id)
        assert [call["bodySha256"] for call in books["requests"]] == stored
        assert len(demo.simulator.orders()) == 1
        demo.simulator.decide(request_id, "pay")
        wait_until(lambda: state(buyer, request_id) == "paid")
        assert len(demo.paid_attempts(order_ref)) == 1


def _bodies(demo):
    import hashlib
    import sqlite3

    connection = sqlite3.connect(demo.database)
    rows = connection.execute("SELECT request_body FROM aplus_payments").fetchall()
    connection.close()
    return [hashlib.sha256(body).hexdigest() for (body,) in rows]


@pytest.mark.parametrize(
    "fault", ["drop_answer", "reset", "http_500", "garbage", "unsigned", "bad_signature"]
)
def test_a_troubled_answer_costs_a_repeat_and_never_a_second_order(tmp_path, fault):
    with running("flask", tmp_path) as (demo, buyer):
        demo.simulator.fault({"fault": fault, "call": "pay", "times": 2})
        _, request_id = press_pay(buyer)
        assert state(buyer, request_id) == "waiting"
        books = demo.simulator.orders()
        assert len(books) == 1
        assert len({call["bodySha256"] for call in books[0]["requests"]}) == 1


@pytest.mark.parametrize("form", ["forged", "altered", "unsigned", "other_path"])
def test_a_notification_that_alipayplus_did_not_sign_changes_nothing(tmp_path, form):
    with running("starlette", tmp_path) as (demo, buyer):
        order_ref, request_id = press_pay(buyer)
        reply = demo.simulator.notify(request_id, form)
        assert 400 <= reply["status"] < 500
        assert state(buyer, request_id) == "waiting"
        demo.simulator.decide(request_id, "pay")
        assert demo.simulator.wait_for("notification_answered")["outcome"].startswith("HTTP 4")
        assert demo.simulator.wait_for("notification_answered")["outcome"] == "acknowledged"
        assert demo.simulator.notify(request_id, "true")["outcome"] == "acknowledged"
        assert len(demo.paid_attempts(order_ref)) == 1


def test_a_refusal_in_the_wallet_and_a_new_code(tmp_path):
    with running("flask", tmp_path) as (demo, buyer):
        order_ref, request_id = press_pay(buyer)
        demo.simulator.decide(request_id, "refuse")
        wait_until(lambda: state(buyer, request_id) == "failed")
        started = buyer.post(f"/aplus/payments/{request_id}/new", headers=HTML)
        second = started.headers["location"].rpartition("/")[2]
        demo.simulator.decide(second, "pay")
        wait_until(lambda: state(buyer, second) == "paid")
        assert [row[0] for row in demo.paid_attempts(order_ref)] == [second]


def test_a_cancelled_payment_that_is_reported_as_paid_is_a_conflict(tmp_path):
    with running("flask", tmp_path) as (demo, buyer):
        _, request_id = press_pay(buyer)
        demo.simulator.decide(request_id, "refuse")
        wait_until(lambda: state(buyer, request_id) == "failed")
        reply = demo.simulator.notify(request_id, "other_amount")
        assert reply["outcome"] == "acknowledged"  # it is kept, as a conflict
        assert "look at payment" in (tmp_path / "shop.log").read_text()
        assert state(buyer, request_id) == "failed"
