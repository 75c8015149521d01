"""The pytest suite that every web adapter must pass: subclass it to test your own adapter.

    class TestOurAdapter(AdapterContract):
        def application(self, pay):
            return our_application(pay)  # WSGI or ASGI, with the payment routes below /aplus

The library's own adapters pass it in every way of mounting and behind real servers.
"""

from __future__ import annotations

import itertools
import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import pytest

from aplus_adapters.protocol.keys import PrivateKey
from aplus_adapters.protocol.messages.notification import ACKNOWLEDGED
from aplus_adapters.protocol.signed_messages import acknowledge
from aplus_adapters.protocol.timestamps import Timestamp
from aplus_adapters.runtime.settings import Account
from aplus_adapters.simulator.process import SimulatorProcess
from aplus_adapters.testing.served_shop import JSON, TRUSTED_ORIGIN, ServedShop, make_pay, reach
from aplus_adapters.testing.signer import AlipayPlus

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from aplus_adapters.aplus_pay import AplusPay
    from aplus_adapters.payments.model import Attempt

__all__ = ["NOTIFY_URL", "AdapterContract"]

NOTIFY_URL: Final = "http://127.0.0.1:9/aplus/notify"
"""The notify URL of the suite; nobody listens there, the tests post notifications themselves."""

HTML = {"Accept": "text/html", "User-Agent": "Mozilla/5.0", "Accept-Language": "en"}
_numbers = itertools.count()


class AdapterContract:
    """The tests; a subclass defines the method `application` or its own fixture `served`."""

    def application(self, pay: AplusPay) -> Any:
        """Return the WSGI or ASGI application to test, with the routes of `pay` below /aplus."""
        raise pytest.UsageError(
            f"{type(self).__name__}: found no method application(self, pay), expected one "
            f"that returns a WSGI or ASGI application for {type(pay).__name__}"
        )

    @pytest.fixture(scope="class")
    @classmethod
    def served(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedShop]:
        """Yield a shop that the application serves, with a simulator to pay at."""
        folder = tmp_path_factory.mktemp("served")
        with SimulatorProcess(folder / "simulator", time_scale=1000) as simulator:
            account = Account.from_env({**simulator.environ, "APLUS_NOTIFY_URL": NOTIFY_URL})
            key = PrivateKey.load((simulator.folder / "alipayplus_private.pem").read_bytes())
            pay = make_pay(folder / "shop.db", account)
            with reach(cls().application(pay), pay) as client:
                signer, database = AlipayPlus(account, key), folder / "shop.db"
                shop = ServedShop(cls.__name__, client, database, signer, simulator)
                yield shop
            shop.store.close()
            pay.store.close()

    @pytest.fixture
    def order(self) -> str:
        """Return the reference of an order that nobody has paid yet."""
        return f"A-{next(_numbers)}"

    def test_a_browser_pays_by_a_form_and_sees_the_code(
        self, served: ServedShop, order: str
    ) -> None:
        """Check that a form leads to the code's page, and that its style and script are served."""
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

    def test_a_till_pays_by_json(self, served: ServedShop, order: str) -> None:
        """Check that JSON is answered with code and amount, and with addresses that work."""
        payment = served.pay(order)
        assert payment["state"] == "waiting"
        assert payment["amount"] == {"currency": "USD", "value": "4200"}
        assert payment["code"].startswith(served.simulator.address)
        assert set(payment["codeImages"]) == {"SMALLIMAGE", "MIDDLEIMAGE", "BIGIMAGE"}
        again = served.client.get(f"/aplus/{payment['page']}", headers=JSON).json()
        assert again["code"] == payment["code"]
        assert served.client.get(f"/aplus/{payment['status']}").json()["state"] == "waiting"

    def test_the_amount_never_comes_from_the_browser(self, served: ServedShop, order: str) -> None:
        """Check that an amount in the browser's request is ignored."""
        body = {
            "order_ref": order,
            "amount": "1",
            "paymentAmount": {"currency": "USD", "value": "1"},
        }
        payment = served.client.post("/aplus/pay", json=body, headers=JSON).json()
        assert payment["amount"]["value"] == "4200"

    def test_a_true_notification_is_acknowledged_and_takes_effect_once(
        self, served: ServedShop, order: str
    ) -> None:
        """Check that repeats get the same signed answer, and that the payment changes once."""
        attempt, body = _settle(served, order)
        for _ in range(3):
            response = served.notify(body)
            assert served.acknowledged(response)
            assert response.content == ACKNOWLEDGED
            moment = Timestamp(response.headers["response-time"]).moment
            for name, value in acknowledge(served.alipayplus.account, ACKNOWLEDGED, moment):
                assert response.headers[name] == value
        assert served.changes(order) == ["succeeded"]
        page = served.client.get(f"/aplus/payments/{attempt.payment_request_id}", headers=HTML)
        assert 'data-state="paid"' in page.text
        assert 'class="qr"' not in page.text

    def test_eight_identical_notifications_at_once_take_effect_once(
        self, served: ServedShop, order: str
    ) -> None:
        """Check that a payment changes once, although eight threads notify it together."""
        _, body = _settle(served, order)
        headers = served.alipayplus.sign(body)
        start = threading.Barrier(8)

        def send(_number: int) -> httpx.Response:
            start.wait()
            return served.notify(body, headers)

        with ThreadPoolExecutor(8) as threads:
            replies = list(threads.map(send, range(8)))
        assert all(served.acknowledged(reply) for reply in replies)
        assert served.changes(order) == ["succeeded"]

    def test_eight_clicks_at_once_are_one_attempt_and_one_order_at_the_gateway(
        self, served: ServedShop, order: str
    ) -> None:
        """Check that an order gets one attempt, although eight threads start it together."""
        start = threading.Barrier(8)

        def click(_number: int) -> str:
            start.wait()
            return str(served.pay(order)["paymentRequestId"])

        with ThreadPoolExecutor(8) as threads:
            ids = set(threads.map(click, range(8)))
        assert len(ids) == 1
        orders = [row for row in served.simulator.orders() if row["referenceOrderId"] == order]
        assert len(orders) == 1
        assert [call["call"] for call in orders[0]["requests"]] == ["pay"]

    @pytest.mark.parametrize(
        "form", ["forged", "altered", "unsigned", "other path", "other client"]
    )
    def test_what_alipayplus_did_not_send_changes_nothing_and_the_true_one_still_counts(
        self, served: ServedShop, order: str, form: str
    ) -> None:
        """Check that a false notification gets a short 4xx without a signature."""
        _, body = _settle(served, order)
        sign = served.alipayplus.sign
        headers, sent = sign(body), body
        if form == "forged":
            headers = served.alipayplus.with_key(_another_key()).sign(body)
        elif form == "altered":
            sent = body.replace(b"SOMEWALLET", b"SOMEWALLEX")
        elif form == "unsigned":
            del headers["Signature"]
        elif form == "other path":
            headers = sign(body, path="/other/notify")
        else:
            headers = {**sign(body), "Client-Id": "CLIENT-OF-SOMEONE-ELSE"}
        _check_refused(served.notify(sent, headers))
        assert served.changes(order) == []
        assert served.acknowledged(served.notify(body))
        assert served.acknowledged(served.notify(body))
        assert served.changes(order) == ["succeeded"]

    def test_a_signature_sent_twice_is_refused(self, served: ServedShop, order: str) -> None:
        """Check that a repeated Signature header is refused, even if both values are equal."""
        _, body = _settle(served, order)
        headers = served.alipayplus.sign(body)
        signature = headers.pop("Signature")
        repeated = [*headers.items(), ("Signature", signature), ("Signature", signature)]
        if served.is_wsgi_transport:  # WSGI has one value per name; servers join them by commas
            repeated = [*headers.items(), ("Signature", f"{signature},{signature}")]
        _check_refused(served.client.post("/aplus/notify", content=body, headers=repeated))
        assert served.changes(order) == []

    @pytest.mark.parametrize(
        "text", ["支付成功", "🍜🎫", 'quote " and \\ back', "tab\tand\nnewline", "ü\u2028\u2029"]
    )
    def test_bodies_arrive_byte_for_byte(self, served: ServedShop, order: str, text: str) -> None:
        """Check that bodies in any script and with any white space are verified unchanged."""
        attempt, _ = _settle(served, order)
        fields = json.loads(served.alipayplus.notification(attempt))
        for body in (
            json.dumps({**fields, "walletBrandName": text}).encode(),
            json.dumps({**fields, "walletBrandName": text}, ensure_ascii=False, indent=3).encode(),
            b" \r\n\t"
            + json.dumps({**fields, "walletBrandName": text}, ensure_ascii=False).encode(),
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
        ids=lambda body: repr(body[:20]),
    )
    def test_an_authentic_body_that_is_no_notification_is_refused(
        self, served: ServedShop, body: bytes
    ) -> None:
        """Check that a valid signature does not make a malformed body legal."""
        _check_refused(served.notify(body))

    def test_a_notification_of_an_unknown_payment_is_not_acknowledged(
        self, served: ServedShop, order: str
    ) -> None:
        """Check that the answer is a signed U, so that Alipay+ sends the notification again."""
        attempt, _ = _settle(served, order)
        body = served.alipayplus.notification(attempt, paymentRequestId="pay-of-someone-else")
        response = served.notify(body)
        assert response.status_code == 404
        assert response.json()["result"]["resultStatus"] == "U"
        assert "signature" in response.headers

    @pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "TRACE"])
    @pytest.mark.parametrize("path", ["/aplus/notify", "/aplus/pay"])
    def test_a_wrong_method_is_405_with_allow(
        self, served: ServedShop, method: str, path: str
    ) -> None:
        """Check that the answer is 405 and names the methods, whatever the method is."""
        response = served.client.request(method, path)
        assert response.status_code == 405
        assert response.headers["allow"] == "POST, OPTIONS"

    def test_options_are_told(self, served: ServedShop) -> None:
        """Check that OPTIONS succeeds: a CORS layer around it can then answer a preflight."""
        for path, allow in (("pay", "POST, OPTIONS"), ("payments/x", "GET, HEAD, OPTIONS")):
            response = served.client.request("OPTIONS", f"/aplus/{path}")
            assert response.status_code == 200
            assert response.headers["allow"] == allow
            assert response.content == b""

    @pytest.mark.parametrize("path", ["/aplus/notify", "/aplus/pay"])
    def test_a_wrong_type_is_415(self, served: ServedShop, path: str) -> None:
        """Check that a body of an unexpected media type is not guessed at."""
        response = served.client.post(path, content=b"x", headers={"Content-Type": "text/plain"})
        assert response.status_code == 415

    @pytest.mark.parametrize("path", ["/aplus/notify", "/aplus/pay"])
    def test_a_body_over_the_limit_is_413(self, served: ServedShop, path: str) -> None:
        """Check that a body larger than any legal one is refused."""
        # The server does not read such a body to its end, so the connection cannot be used again.
        headers = {"Content-Type": "application/json", "Connection": "close"}
        response = served.client.post(path, content=b" " * 200_000, headers=headers)
        assert response.status_code == 413

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"{}",
            b"[1]",
            b'{"order_ref":""}',
            b'{"order_ref":"' + b"x" * 65 + b'"}',
            b"\xff",
            b"{",
        ],
        ids=repr,
    )
    def test_an_order_that_cannot_be_read_is_400(self, served: ServedShop, content: bytes) -> None:
        """Check that the answer is problem+json with the status 400."""
        headers = {"Content-Type": "application/json", **JSON}
        response = served.client.post("/aplus/pay", content=content, headers=headers)
        assert response.status_code == 400
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["status"] == 400

    def test_an_order_that_does_not_exist_is_404(self, served: ServedShop) -> None:
        """Check that an order which the shop does not know is answered with 404."""
        response = served.client.post("/aplus/pay", json={"order_ref": "missing"}, headers=JSON)
        assert response.status_code == 404
        assert "no such order" in response.json()["title"]

    def test_the_shops_own_bug_is_a_500_that_tells_a_stranger_nothing(
        self, served: ServedShop
    ) -> None:
        """Check that a visitor does not see the error of the shop's hook."""
        response = served.client.post("/aplus/pay", json={"order_ref": "broken"}, headers=JSON)
        assert response.status_code == 500
        assert "bug" not in response.text

    @pytest.mark.parametrize("name", ["x", "pay" + "0" * 40, "x" * 65, "..%2f..%2fetc", "%00", "é"])
    def test_an_id_that_does_not_exist_is_404(self, served: ServedShop, name: str) -> None:
        """Check that an unknown id or file is answered with 404, whatever the path holds."""
        for path in (
            f"/aplus/payments/{name}",
            f"/aplus/payments/{name}/status",
            f"/aplus/assets/{name}",
        ):
            assert served.client.get(path, headers=HTML).status_code == 404

    @pytest.mark.parametrize("path", ["pay", "payments/{}/new", "notify"])
    def test_a_page_of_another_site_cannot_make_a_browser_post(
        self, served: ServedShop, order: str, path: str
    ) -> None:
        """Check that only the shop's pages and trusted sites can make a browser post."""
        request_id = served.pay(order)["paymentRequestId"] if "{}" in path else ""
        headers = {**HTML, "Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
        body = {"order_ref": order}
        address = f"/aplus/{path.format(request_id)}"
        old_browsers = [{**HTML, "Origin": origin} for origin in ("https://evil.example", "null")]
        for foreign in (headers, *old_browsers):
            assert served.client.post(address, data=body, headers=foreign).status_code == 403
        if path == "pay":
            for changes in (
                {"Sec-Fetch-Site": "same-origin"},
                {"Sec-Fetch-Site": "same-site"},
                {"Origin": TRUSTED_ORIGIN},
            ):
                response = served.client.post(address, data=body, headers={**headers, **changes})
                assert response.status_code == 303

    def test_head_is_get_without_the_body(self, served: ServedShop, order: str) -> None:
        """Check that HEAD has the status of GET and no body (RFC 9110, 9.3.2)."""
        payment = served.pay(order)
        response = served.client.request("HEAD", f"/aplus/{payment['page']}", headers=HTML)
        assert response.status_code == 200
        assert response.content == b""

    def test_a_refused_payment_offers_another_code_with_another_id(
        self, served: ServedShop, order: str
    ) -> None:
        """Check that a buyer can go from a failed payment to a new attempt."""
        payment = served.pay(order)
        attempt = served.attempt(payment["paymentRequestId"])
        served.notify(served.alipayplus.notification(attempt, "F"))
        assert served.changes(order) == ["failed"]
        page = served.client.get(f"/aplus/{payment['page']}", headers=HTML)
        assert 'data-state="expired"' in page.text
        target = _find(r'action="([^"]+)"', page.text)
        started = served.client.post(f"/aplus/payments/{target}", headers=HTML)
        assert started.status_code == 303
        new_id = started.headers["location"].removeprefix("../")
        assert new_id != payment["paymentRequestId"]
        page = served.client.get(f"/aplus/payments/{new_id}", headers=HTML)
        assert 'data-state="waiting"' in page.text


def _settle(served: ServedShop, order: str) -> tuple[Attempt, bytes]:
    """Start a payment and return its attempt and the true notification of its success."""
    payment = served.pay(order)
    attempt = served.attempt(payment["paymentRequestId"])
    return attempt, served.alipayplus.notification(attempt)


def _check_refused(response: httpx.Response) -> None:
    assert 400 <= response.status_code < 500
    assert len(response.content) < 200
    assert "signature" not in response.headers


def _find(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None
    return match[1]


@cache
def _another_key() -> PrivateKey:
    return PrivateKey.generate()
