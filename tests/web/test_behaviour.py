"""What every shop does, whatever framework and server it runs on: one suite for all of them."""

import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

HTML = {"Accept": "text/html", "User-Agent": "Mozilla/5.0", "Accept-Language": "en"}
JSON = {"Accept": "application/json"}
_number = iter(range(10**6))


@pytest.fixture
def order():
    return f"A-{next(_number)}"


def settle(served, order):
    """Make an order that is pending, and the true notification of its success."""
    payment = served.pay(order)
    attempt = served.attempt(payment["paymentRequestId"])
    return attempt, served.alipayplus.notification(attempt)


def test_a_browser_pays_by_a_form_and_sees_the_code(served, order):
    started = served.client.post("/aplus/pay", data={"order_ref": order}, headers=HTML)
    assert started.status_code == 303
    request_id = started.headers["location"].removeprefix("payments/")
    page = served.client.get(f"/aplus/payments/{request_id}", headers=HTML)
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"
    assert "<svg" in page.text
    assert "USD" in page.text
    assert "2 tickets &lt;b&gt;&amp;" in page.text
    for name in re.findall(r'"\.\./assets/([a-z.]+)"', page.text):
        assert served.client.get(f"/aplus/assets/{name}").status_code == 200


def test_a_till_pays_by_json(served, order):
    payment = served.pay(order)
    assert payment["state"] == "waiting"
    assert payment["amount"] == {"currency": "USD", "value": "4200"}
    assert payment["code"].startswith(served.simulator.address)
    assert set(payment["codeImages"]) == {"SMALLIMAGE", "MIDDLEIMAGE", "BIGIMAGE"}
    again = served.client.get(f"/aplus/{payment['page']}", headers=JSON).json()
    assert again["code"] == payment["code"]
    assert served.client.get(f"/aplus/{payment['status']}").json()["state"] == "waiting"


def test_the_amount_never_comes_from_the_browser(served, order):
    body = {"order_ref": order, "amount": "1", "paymentAmount": {"currency": "USD", "value": "1"}}
    payment = served.client.post("/aplus/pay", json=body, headers=JSON).json()
    assert payment["amount"]["value"] == "4200"


def test_a_true_notification_is_acknowledged_and_takes_effect_once(served, order):
    attempt, body = settle(served, order)
    for _ in range(3):
        assert served.acknowledged(served.notify(body))
    assert served.changes(order) == ["succeeded"]
    page = served.client.get(f"/aplus/payments/{attempt.payment_request_id}", headers=HTML)
    assert 'data-state="paid"' in page.text
    assert 'class="qr"' not in page.text


def test_eight_identical_notifications_at_once_take_effect_once(served, order):
    _, body = settle(served, order)
    headers = served.alipayplus.sign(body)
    start = threading.Barrier(8)

    def send(_):
        start.wait()
        return served.notify(body, headers)

    with ThreadPoolExecutor(8) as threads:
        replies = list(threads.map(send, range(8)))
    assert all(served.acknowledged(reply) for reply in replies)
    assert served.changes(order) == ["succeeded"]


def test_eight_clicks_at_once_are_one_attempt_and_one_order_at_the_gateway(served, order):
    start = threading.Barrier(8)

    def click(_):
        start.wait()
        return served.pay(order)["paymentRequestId"]

    with ThreadPoolExecutor(8) as threads:
        ids = set(threads.map(click, range(8)))
    assert len(ids) == 1
    books = [one for one in served.simulator.orders() if one["referenceOrderId"] == order]
    assert len(books) == 1
    assert [call["call"] for call in books[0]["requests"]] == ["pay"]


def refused(served, response):
    assert 400 <= response.status_code < 500
    assert len(response.content) < 200
    assert "signature" not in response.headers


@pytest.mark.parametrize("form", ["forged", "altered", "unsigned", "other path", "other client"])
def test_what_alipayplus_did_not_send_changes_nothing_and_the_true_one_still_counts(
    served, order, form, account, their_key
):
    from aplus_adapters.testing.signer import AlipayPlus

    _, body = settle(served, order)
    sign = served.alipayplus.sign
    headers, sent = sign(body), body
    if form == "forged":
        headers = AlipayPlus(served.alipayplus._account, their_key).sign(body)
    elif form == "altered":
        sent = body.replace(b"SOMEWALLET", b"SOMEWALLEX")
    elif form == "unsigned":
        del headers["Signature"]
    elif form == "other path":
        headers = sign(body, path="/other/notify")
    else:
        headers = AlipayPlus(account, their_key).sign(body)
    refused(served, served.notify(sent, headers))
    assert served.changes(order) == []
    assert served.acknowledged(served.notify(body))
    assert served.acknowledged(served.notify(body))
    assert served.changes(order) == ["succeeded"]


def test_a_signature_sent_twice_is_refused(served, order):
    _, body = settle(served, order)
    headers = served.alipayplus.sign(body)
    signature = headers.pop("Signature")
    if served.is_wsgi_transport:  # this transport has one value per name: joined, as servers do it
        twice = {**headers, "Signature": f"{signature},{signature}"}
    else:
        twice = [*headers.items(), ("Signature", signature), ("Signature", signature)]
    refused(served, served.client.post("/aplus/notify", content=body, headers=twice))
    assert served.changes(order) == []


@pytest.mark.parametrize(
    "text", ["支付成功", "🍜🎫", 'quote " and \\ back', "tab\tand\nnewline", "ü\u2028\u2029"]
)
def test_bodies_arrive_byte_for_byte(served, order, text):
    attempt, _ = settle(served, order)
    fields = json.loads(served.alipayplus.notification(attempt))
    for body in (
        json.dumps({**fields, "walletBrandName": text}).encode(),
        json.dumps({**fields, "walletBrandName": text}, ensure_ascii=False, indent=3).encode(),
        b" \r\n\t" + json.dumps({**fields, "walletBrandName": text}, ensure_ascii=False).encode(),
    ):
        assert served.acknowledged(served.notify(body))
    assert served.attempt(attempt.payment_request_id).wallet == text


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"paymentRequestId":',
        b'{"a":1,"a":2}',
        b"[" * 5000,
    ],
    ids=repr,
)
def test_an_authentic_body_that_is_no_notification_is_refused(served, body):
    refused(served, served.notify(body))


def test_a_notification_of_an_unknown_payment_is_not_acknowledged(served, order):
    attempt, _ = settle(served, order)
    body = served.alipayplus.notification(attempt, paymentRequestId="pay-of-someone-else")
    response = served.notify(body)
    assert response.status_code == 404
    assert response.json()["result"]["resultStatus"] == "U"
    assert "signature" in response.headers


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "PATCH"])
@pytest.mark.parametrize("path", ["/aplus/notify", "/aplus/pay"])
def test_a_wrong_method_is_405_with_allow(served, method, path):
    response = served.client.request(method, path)
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"


@pytest.mark.parametrize("path", ["/aplus/notify", "/aplus/pay"])
def test_a_wrong_type_is_415(served, path):
    response = served.client.post(path, content=b"x", headers={"Content-Type": "text/plain"})
    assert response.status_code == 415


@pytest.mark.parametrize("path", ["/aplus/notify", "/aplus/pay"])
def test_a_body_over_the_limit_is_413(served, path):
    # The server does not read such a body to its end, so the connection cannot be used again.
    headers = {"Content-Type": "application/json", "Connection": "close"}
    response = served.client.post(path, content=b" " * 200_000, headers=headers)
    assert response.status_code == 413


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[1]", b'{"order_ref":""}', b'{"order_ref":"' + b"x" * 65 + b'"}', b"\xff", b"{"],
    ids=repr,
)
def test_an_order_that_cannot_be_read_is_400(served, content):
    headers = {"Content-Type": "application/json", **JSON}
    response = served.client.post("/aplus/pay", content=content, headers=headers)
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == 400


def test_an_order_that_does_not_exist_is_404(served):
    response = served.client.post("/aplus/pay", json={"order_ref": "missing"}, headers=JSON)
    assert response.status_code == 404
    assert "no such order" in response.json()["title"]


def test_the_shops_own_bug_is_a_500_that_tells_a_stranger_nothing(served):
    response = served.client.post("/aplus/pay", json={"order_ref": "broken"}, headers=JSON)
    assert response.status_code == 500
    assert "bug" not in response.text


@pytest.mark.parametrize("known", ["x", "pay" + "0" * 40, "x" * 65, "..%2f..%2fetc", "%00", "é"])
def test_an_id_that_does_not_exist_is_404(served, known):
    for path in (
        f"/aplus/payments/{known}",
        f"/aplus/payments/{known}/status",
        f"/aplus/assets/{known}",
    ):
        assert served.client.get(path, headers=HTML).status_code == 404


def test_head_is_get_without_the_body(served, order):
    payment = served.pay(order)
    response = served.client.request("HEAD", f"/aplus/{payment['page']}", headers=HTML)
    assert response.status_code == 200
    assert response.content == b""


def test_a_refused_payment_offers_another_code_with_another_id(served, order):
    payment = served.pay(order)
    attempt = served.attempt(payment["paymentRequestId"])
    served.notify(served.alipayplus.notification(attempt, "F"))
    assert served.changes(order) == ["failed"]
    page = served.client.get(f"/aplus/{payment['page']}", headers=HTML)
    assert 'data-state="expired"' in page.text
    target = re.search(r'action="([^"]+)"', page.text)[1]
    started = served.client.post(f"/aplus/payments/{target}", headers=HTML)
    assert started.status_code == 303
    new_id = started.headers["location"].removeprefix("../")
    assert new_id != payment["paymentRequestId"]
    page = served.client.get(f"/aplus/payments/{new_id}", headers=HTML)
    assert 'data-state="waiting"' in page.text
