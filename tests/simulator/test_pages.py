"""The simulator's pages without a browser: what they show, what they refuse, and their controls."""

import asyncio
import json
import re

import pytest

from aplus_adapters.simulator.faults import CALL_FAULTS, NOTIFICATION_FAULTS

from .conftest import settled

pytestmark = pytest.mark.process


def test_a_notification_overtakes_the_answer_to_pay_and_the_shop_is_told_once(both, start):
    attempt, order = start("sim:notify=early", "early")
    assert order["state"] == "PAID"
    assert attempt.state.value == "succeeded"  # known before the code came
    assert both[2].changes == [("early", "succeeded")]


def test_the_desk_shows_orders_and_messages_and_filters_them(both, start):
    desk = both[3]
    attempt, order = start(ref="shown-1")
    start(ref="shown-2")
    page = desk.get("/").text
    assert "shown-1" in page
    assert "shown-2" in page
    assert "PAYMENT_IN_PROCESS" in page
    only = desk.get("/", params={"order": "shown-1"}).text
    assert "shown-2" not in only
    assert attempt.payment_request_id in only
    assert (
        "No order is like that" in desk.get("/", params={"order": "shown-1", "state": "PAID"}).text
    )
    assert order["description"] in desk.get(f"/orders/{order['token']}").text


def test_a_person_pays_refunds_and_reads_each_signature_at_the_desk(both, start):
    desk = both[3]
    attempt, order = start(ref="desk")
    at = f"/orders/{order['token']}"
    assert "PAID" in desk.post(f"{at}/pay").text
    settled(both, attempt)
    assert "acknowledged" in desk.get(at).text
    refused = desk.post(f"{at}/refund", data={"amount": "42.01"})
    assert refused.status_code == 409
    assert "REFUND_AMOUNT_EXCEED" in refused.text
    assert desk.post(f"{at}/refund", data={"amount": "1,50"}).status_code == 400
    assert "desk-1" in desk.post(f"{at}/refund", data={"amount": "1.50"}).text
    assert "ANOTHERWALLET" in desk.post(f"{at}/pay").text
    numbers = re.findall(r"/messages/(\d+)", desk.get(at).text)
    notification, call = (
        desk.get(f"/messages/{number}").text for number in (numbers[0], numbers[-1])
    )
    for page, path in (
        (notification, "POST /aplus/notify"),
        (call, "POST /aps/api/v1/payments/pay"),
    ):
        assert page.count(path) >= 2  # in the signed content of both directions
        assert page.count("valid: key 1 of") == 2
    assert "Acknowledgement" in notification


def test_the_wallet_opens_what_is_pasted_and_lets_a_person_refuse_or_let_expire(both, start):
    simulator, _, shop, desk = both
    attempt, order = start(ref="wallet")
    assert "2 tickets" in desk.post("/wallet", data={"code": f"see {attempt.order_code.text}"}).text
    assert "2 tickets" in desk.post("/wallet", data={"code": f" {order['token']} "}).text
    nothing = desk.post("/wallet", data={"code": "<b>nonsense"})
    assert nothing.status_code == 404
    assert "&lt;b&gt;nonsense" in nothing.text
    assert "The code has expired." in desk.post(f"/codes/{order['token']}/expire").text
    settled(both, attempt)
    assert shop.changes == [("wallet", "failed")]
    assert desk.get(f"/codes/{order['token']}/image").content.startswith(b"\x89PNG")
    assert desk.get("/codes/281").status_code == 404
    assert simulator.order(attempt.payment_request_id)["state"] == "CLOSED"


def test_a_wallets_refusal_has_the_code_that_was_chosen(both, start):
    attempt, order = start(ref="refused")
    both[3].post(f"/orders/{order['token']}/refuse", data={"code": "USER_BALANCE_NOT_ENOUGH"})
    assert settled(both, attempt)["resultCode"] == "USER_BALANCE_NOT_ENOUGH"


def test_a_fault_is_ordered_shown_and_cleared_at_its_page(both, start):
    simulator, _, _, desk = both
    page = desk.get("/faults").text
    for name in (*CALL_FAULTS, *NOTIFICATION_FAULTS):
        assert f">{name}</dt>" in page or f"<dt>{name}</dt>" in page
    ordered = desk.post("/faults", data={"call": "pay", "fault": "unsigned", "times": "2"})
    assert "unsigned for pay" in ordered.text
    attempt, order = start(ref="never")  # `start` takes the fault away again
    wrong = desk.post("/faults", data={"call": "pay", "fault": "unsigned", "seconds": "x"})
    assert wrong.status_code == 400
    sent = {"fault": "notify never", "order": attempt.payment_request_id, "token": order["token"]}
    assert "never for notify" in desk.post("/faults", data=sent).text
    desk.post(f"/orders/{order['token']}/pay")
    assert (
        "never for" in desk.get("/").text
        or simulator.order(attempt.payment_request_id)["state"] == "PAID"
    )
    assert "Ordered faults" not in desk.post("/faults", data={"clear": "yes"}).text


@pytest.mark.parametrize("path", ["/", "/faults", "/wallet", "/orders/x", "/messages/999999"])
def test_no_page_may_load_anything_from_elsewhere(both, path):
    answer = both[3].get(path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script>|style=|onclick", answer.text)
    assert not re.search(r'(src|href)="(https?:)?//', answer.text)
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_page_of_another_site_can_change_nothing(both, start):
    _, order = start(ref="csrf")
    for path in (
        f"/orders/{order['token']}/pay",
        f"/codes/{order['token']}/pay",
        "/simulator/faults",
    ):
        assert both[3].post(path, headers={"Origin": "https://evil.example"}).status_code == 403
    assert both[0].order(order["paymentRequestId"])["state"] == "OPEN"


def test_the_controls_register_clients_rotate_keys_and_show_messages(both, start, our_key):
    simulator, _, _, desk = both
    content = {"clientId": "SECOND", "keys": {"1": our_key.public_key.to_base64()}}
    assert "SECOND" in desk.post("/simulator/clients", json=content).json()["clients"]
    for wrong in ({}, [], {"clientId": "X", "keys": {"1": "no key"}}):
        assert desk.post("/simulator/clients", json=wrong).status_code == 400
    attempt, _ = start(ref="messages")
    (message,) = desk.get(
        "/simulator/messages", params={"order": attempt.payment_request_id}
    ).json()
    assert json.loads(message["request"]["body"])["paymentRequestId"] == attempt.payment_request_id
    assert [
        row["referenceOrderId"] for row in desk.get("/simulator/orders?order=messages").json()
    ] == ["messages"]
    rotated = desk.post("/simulator/keys/rotate").json()
    assert rotated["keyVersion"] == "2"
    assert rotated["fingerprint"].startswith("sha256:")
    simulator.fault({"fault": "wrong_key", "call": "pay"})
    for wrong in (
        {"fault": "lag", "call": "notify"},
        {"fault": "delay", "seconds": -1},
        {"fault": "x"},
    ):
        assert desk.post("/simulator/faults", json=[wrong]).status_code == 400


def test_answers_on_a_kept_connection_wait_for_no_acknowledgement_of_the_client():
    import socket

    from aplus_adapters.simulator.server import _listen

    with _listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize(
    "path", ["/aplus/api/v1/payments/pay", "/simulator/faults", "/wallet/open"]
)
def test_a_caller_that_hangs_up_in_the_middle_is_no_error_of_the_simulator(tmp_path, path):
    from aplus_adapters.simulator.server import Simulator

    async def gone():
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    sent = []
    simulator = Simulator(tmp_path, "http://127.0.0.1:1")
    scope = {"type": "http", "method": "POST", "path": path, "headers": [], "query_string": b""}
    try:
        asyncio.run(simulator.application()(scope, gone, send))
    finally:
        simulator.books.close()
    assert sent[0]["status"] in (400, 404)
