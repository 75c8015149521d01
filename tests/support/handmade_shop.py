"""A Flask shop that takes Alipay+ order codes by hand: none of our code is in it.

It keeps everything in memory and follows payments up when somebody looks at their page. Settings
are the variables that `aplus simulator` and `aplus conformance` write.
"""

import base64
import json
import os
import secrets
import threading
import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import httpx
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from flask import Flask, Response, abort, redirect, request

API = "/aps/api/v1/payments/"
OVER = ("paid", "failed", "cancelled")


@lru_cache
def load_key(pem):
    return load_pem_private_key(pem, None)


class Payment:
    def __init__(self, order, amount):
        self.id, self.order, self.amount = f"hand{secrets.token_hex(12)}", order, amount
        self.state, self.code, self.body = "new", "", b""
        self.expires_at = datetime.now(UTC) + timedelta(minutes=3)
        self.ask_at = 0.0
        self.refunds = {}


class HandmadeShop:
    media_type = "application/json; charset=UTF-8"

    def __init__(self, environ, transport=None, pause=0.5, ask_every=4.0):
        self.client_id, self.gateway = environ["APLUS_CLIENT_ID"], environ["APLUS_GATEWAY"]
        self.notify_url = environ["APLUS_NOTIFY_URL"]
        self.key = load_key(Path(environ["APLUS_PRIVATE_KEY_FILE"]).read_bytes())
        self.theirs = load_pem_public_key(Path(environ["APLUS_PUBLIC_KEY_FILE"]).read_bytes())
        self.http = httpx.Client(transport=transport, trust_env=False, timeout=8)
        self.pause, self.ask_every = pause, ask_every
        self.payments, self.by_order, self.conflicts = {}, {}, []
        self.lock = threading.RLock()

    def end(self):
        self.http.close()

    # Signatures

    def content(self, path, client_id, when, body):
        return f"POST {path}\n{client_id}.{when}.".encode() + body

    def sign(self, path, when, body):
        content = self.content(path, self.client_id, when, body)
        value = base64.b64encode(self.key.sign(content, padding.PKCS1v15(), hashes.SHA256()))
        return f"algorithm=RSA256,keyVersion=1,signature={quote(value.decode(), safe='')}"

    def verify(self, header, path, client_id, when, body):
        try:
            value = unquote(header.partition("signature=")[2])
            content = self.content(path, client_id, when, body)
            signature = base64.b64decode(value, validate=True)
            self.theirs.verify(signature, content, padding.PKCS1v15(), hashes.SHA256())
        except (InvalidSignature, ValueError, AttributeError):
            return False
        return True

    def now_text(self):
        return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    # Calls

    def send(self, name, body):
        """Call Alipay+ and return the verified answer, None if there is none."""
        path, when = API + name, self.now_text()
        headers = {
            "Content-Type": self.media_type,
            "Client-Id": self.client_id,
            "Request-Time": when,
            "Signature": self.sign(path, when, body),
        }
        try:
            answer = self.http.post(self.gateway + path, content=body, headers=headers)
        except httpx.HTTPError:
            return None
        return self.believed(path, answer)

    def believed(self, path, answer):
        header, when = answer.headers.get("signature"), answer.headers.get("response-time", "")
        if not self.verify(header, path, self.client_id, when, answer.content):
            return None
        return json.loads(answer.content)

    def pay_request(self, payment):
        return {
            "order": {
                "referenceOrderId": payment.order,
                "orderDescription": "Bread",
                "orderAmount": payment.amount,
                "env": {"terminalType": "WEB", "userAgent": request.headers["User-Agent"][:200]},
            },
            "paymentRequestId": payment.id,
            "paymentAmount": payment.amount,
            "paymentMethod": {"paymentMethodType": "CONNECT_WALLET"},
            "paymentFactor": {
                "isInStorePayment": "true",
                "isCashierPayment": "true",
                "inStorePaymentScenario": "OrderCode",
            },
            "paymentNotifyUrl": self.notify_url,
        }

    def pay_body(self, payment):
        if not payment.body:
            payment.body = json.dumps(self.pay_request(payment)).encode()
        return payment.body

    def start(self, payment):
        for _ in range(3):
            answer = self.send("pay", self.pay_body(payment))
            if answer is not None and self.read_code(payment, answer):
                return
            time.sleep(self.pause)

    def read_code(self, payment, answer):
        """Take what an answer to pay says, and return whether it says something."""
        result = answer["result"]
        if result["resultStatus"] == "F":
            payment.state = "failed"
            return True
        if result["resultCode"] != "PAYMENT_IN_PROCESS":
            return False
        self.show(payment, answer["orderCodeForm"])
        return True

    def show(self, payment, form):
        details = {row["displayType"]: row["codeValue"] for row in form["codeDetails"]}
        payment.state, payment.code = "pending", details["TEXT"]
        payment.expires_at = datetime.fromisoformat(form["expireTime"])
        payment.ask_at = time.monotonic() + self.ask_every

    def follow_up(self, payment):
        if payment.state == "new":
            self.start(payment)
        elif payment.state == "pending" and time.monotonic() >= payment.ask_at:
            payment.ask_at = time.monotonic() + self.ask_every
            self.inquire(payment)
        elif payment.state == "closing":
            self.cancel(payment)

    def inquire(self, payment):
        answer = self.send("inquiryPayment", self.ids(payment))
        outcome = self.inquired(answer) if answer else "unknown"
        if outcome in ("paid", "failed"):
            self.settle(payment, outcome)
        elif datetime.now(UTC) >= payment.expires_at:
            payment.state = "closing"
            self.cancel(payment)

    def inquired(self, answer):
        if answer["result"]["resultStatus"] != "S":
            return "unknown"
        return {"S": "paid", "F": "failed"}.get(answer["paymentResult"]["resultStatus"], "open")

    def cancel(self, payment):
        answer = self.send("cancelPayment", self.ids(payment))
        if answer is not None and answer["result"]["resultStatus"] == "S":
            payment.state = "cancelled"

    def ids(self, payment):
        return json.dumps({"paymentRequestId": payment.id}).encode()

    def settle(self, payment, outcome):
        if payment.state in ("new", "pending"):
            payment.state = outcome
        elif payment.state != outcome:
            self.conflicts.append((payment.id, outcome))

    # The shop's pages

    def checkout(self):
        order = request.form["order"]
        with self.lock:
            payment = self.current(order)
            if payment is None or payment.state in ("failed", "cancelled"):
                payment = self.by_order[order] = Payment(order, {"currency": "USD", "value": "950"})
                self.payments[payment.id] = payment
            if payment.state == "new":
                self.start(payment)
        return redirect(f"/checkout/{payment.id}", 303)

    def current(self, order):
        return self.by_order.get(order)

    def page(self, payment_id):
        payment = self.payments.get(payment_id) or abort(404)
        with self.lock:
            self.follow_up(payment)
            return f"<h1>{payment.order}</h1><p>{payment.state}</p><p>{self.visible_code(payment)}"

    def visible_code(self, payment):
        is_alive = payment.state == "pending" and datetime.now(UTC) < payment.expires_at
        return payment.code if is_alive else ""

    def order(self, ref):
        payment = self.by_order.get(ref)
        return {"order": ref, "state": payment.state if payment else "new"}

    def refund(self):
        payment = self.payments.get(request.form["payment"]) or abort(404)
        refund_id, value = request.form["refund"], request.form["minor"]
        for _ in range(3):
            answer = self.send("refund", self.refund_body(payment, refund_id, value))
            if answer is not None:
                return answer["result"]
            time.sleep(self.pause)
        return {"resultStatus": "U"}, 502

    def refund_body(self, payment, refund_id, value):
        amount = {**payment.amount, "value": value}
        fields = {"paymentRequestId": payment.id, "refundRequestId": refund_id}
        return json.dumps({**fields, "refundAmount": amount}).encode()

    # Notifications

    def notified(self):
        body, headers = request.get_data(), request.headers
        if not self.is_authentic(headers, body):
            return "not authentic", 401
        try:
            content = json.loads(body)
            result, payment_id = content["paymentResult"], content["paymentRequestId"]
            status, amount = result["resultStatus"], content.get("paymentAmount")
            payment = self.payments.get(payment_id)
        except (ValueError, KeyError, TypeError, RecursionError):
            return "not a notification", 400
        if payment is None:
            return self.unknown()
        with self.lock:
            self.record(payment, status, amount)
        return self.acknowledge()

    def is_authentic(self, headers, body):
        when, client_id = headers.get("Request-Time", ""), headers.get("Client-Id")
        if client_id != self.client_id or not self.is_recent(when):
            return False
        path = urlsplit(self.notify_url).path
        return self.verify(headers.get("Signature"), path, client_id, when, body)

    def is_recent(self, when):
        try:
            return abs(datetime.now(UTC) - datetime.fromisoformat(when)) < timedelta(hours=48)
        except (ValueError, TypeError):
            return False

    def record(self, payment, status, amount):
        if not self.fits(payment, amount):
            self.conflicts.append((payment.id, amount))
        else:
            self.settle(payment, self.notified_outcome(status))

    def notified_outcome(self, status):
        return "paid" if status == "S" else "failed"

    def fits(self, payment, amount):
        return amount is None or amount == payment.amount

    def unknown(self):
        return "unknown payment", 404

    def acknowledge(self, status="S", code="SUCCESS"):
        result = {"resultCode": code, "resultStatus": status, "resultMessage": code.lower()}
        body, when = json.dumps({"result": result}).encode(), self.now_text()
        headers = {
            "Client-Id": self.client_id,
            "Response-Time": when,
            "Signature": self.sign(urlsplit(self.notify_url).path, when, body),
        }
        return Response(body, 200, headers, content_type="application/json; charset=UTF-8")

    def application(self):
        app = Flask("handmade")
        app.add_url_rule("/", "home", lambda: "Bakery")
        app.add_url_rule("/checkout", "checkout", self.checkout, methods=["POST"])
        app.add_url_rule("/checkout/<payment_id>", "page", self.page)
        app.add_url_rule("/orders/<ref>", "order", self.order)
        app.add_url_rule("/refunds", "refund", self.refund, methods=["POST"])
        path = urlsplit(self.notify_url).path
        app.add_url_rule(path, "notified", self.notified, methods=self.methods())
        return app

    def methods(self):
        return ["POST"]


if __name__ == "__main__":
    shop = HandmadeShop(os.environ, ask_every=float(os.environ.get("ASK_EVERY", "4")))
    shop.application().run(port=urlsplit(shop.notify_url).port, threaded=True)
