"""The programs of the web benchmark: ours, and what a careful engineer writes by hand."""

import base64
import json
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote, unquote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

import aplus_adapters as aplus
from aplus_adapters import messages

PADDING, HASH = padding.PKCS1v15(), hashes.SHA256()
PAYMENTS = 20_000
NOTIFY = "/aplus/notify"
PAY = "/aps/api/v1/payments/pay"
ANSWER = b'{"result":{"resultCode":"SUCCESS","resultStatus":"S","resultMessage":"success"}}'
ISSUED = json.dumps(
    {
        "result": {
            "resultCode": "PAYMENT_IN_PROCESS",
            "resultStatus": "U",
            "resultMessage": "wait",
        },
        "paymentId": "2026112319401080010018800000000001",
        "orderCodeForm": {
            "expireTime": "2099-01-01T00:00:00Z",
            "codeDetails": [{"codeValue": "https://c.example/1", "displayType": "TEXT"}],
        },
    }
).encode()


def make_keys(folder):
    """Write our key, Alipay+'s, and a certificate for 127.0.0.1."""
    import ipaddress

    for name in ("ours", "theirs", "tls"):
        key = rsa.generate_private_key(65537, 2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        (folder / f"{name}.key").write_bytes(pem)
    named = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(named, named, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, HASH)
    )
    (folder / "tls.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def load(folder, gateway="https://gateway.example"):
    """Give the account and Alipay+'s private key."""
    theirs = aplus.PrivateKey.load((folder / "theirs.key").read_bytes())
    account = aplus.Account(
        client_id="CLIENT-1",
        private_key=aplus.PrivateKey.load((folder / "ours.key").read_bytes()),
        alipayplus_keys=theirs.public_key,
        gateway=gateway,
        notify_url=f"https://shop.example{NOTIFY}",
    )
    return account, theirs


def attempt(number):
    """Give a payment that is waiting to be paid."""
    now = datetime.now(UTC)
    return aplus.Attempt(
        payment_request_id=f"pay{number:040x}",
        order_ref=f"A-{number}",
        client_id="CLIENT-1",
        amount=aplus.Amount("USD", 4200),
        request_body=b"{}",
        created_at=now,
        expires_at=now + timedelta(minutes=3),
        next_call_at=now + timedelta(minutes=1),
        changed_at=now,
        state=aplus.State.PENDING,
    )


class Shop:
    def __init__(self):
        self.paid = 0

    def load_order(self, details):
        return None

    def payment_changed(self, details):
        self.paid += 1

    def payment_conflict(self, details):
        raise AssertionError(details.conflict.reason)


class AsyncShop(Shop):
    async def payment_changed(self, details):
        self.paid += 1


def _ours(hooks):
    account, _ = load(Path(os.environ["BENCH"]))
    store = aplus.MemoryStore()
    for number in range(PAYMENTS):
        store.add(attempt(number))
    return aplus.AplusPay(account=account, store=store, hooks=hooks)


def starlette_ours():
    from starlette.applications import Starlette
    from starlette.routing import Mount

    from aplus_adapters.starlette import create_routes

    return Starlette(routes=[Mount("/aplus", routes=create_routes(_ours(AsyncShop())))])


def flask_ours():
    from flask import Flask

    from aplus_adapters.flask import create_blueprint

    app = Flask("shop")
    app.register_blueprint(create_blueprint(_ours(Shop())), url_prefix="/aplus")
    return app


class ByHand:
    """Verifies, parses, notes and signs, in the shortest way that is still right."""

    def __init__(self):
        folder = Path(os.environ["BENCH"])
        ours = (folder / "ours.key").read_bytes()
        theirs = (folder / "theirs.key").read_bytes()
        self.key = serialization.load_pem_private_key(ours, None)
        self.public = serialization.load_pem_private_key(theirs, None).public_key()
        self.paid = {}

    def take(self, headers, body):
        time, client_id = headers["request-time"], headers["client-id"]
        signature = re.search("signature=([^,]+)", headers["signature"])[1]
        content = f"POST {NOTIFY}\n{client_id}.{time}.".encode() + body
        self.public.verify(base64.b64decode(unquote(signature)), content, PADDING, HASH)
        told = json.loads(body)
        assert told["paymentAmount"] == {"currency": "USD", "value": "4200"}
        self.paid[told["paymentRequestId"]] = told["paymentResult"]["resultStatus"]
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        answered = f"POST {NOTIFY}\n{client_id}.{now}.".encode() + ANSWER
        signed = quote(base64.b64encode(self.key.sign(answered, PADDING, HASH)).decode(), safe="")
        return {
            "Content-Type": "application/json; charset=UTF-8",
            "Client-Id": client_id,
            "Response-Time": now,
            "Signature": f"algorithm=RSA256,keyVersion=1,signature={signed}",
        }


def starlette_bare():
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Route

    hand = ByHand()

    async def notify(request):
        return Response(ANSWER, headers=hand.take(request.headers, await request.body()))

    return Starlette(routes=[Route(NOTIFY, notify, methods=["POST"])])


def flask_bare():
    from flask import Flask, Response, request

    hand = ByHand()
    app = Flask("shop")

    @app.post(NOTIFY)
    def notify():
        headers = {name.lower(): value for name, value in request.headers.items()}
        return Response(ANSWER, headers=hand.take(headers, request.get_data()))

    return app


def gateway():
    """Answer every pay request with a code, signed: an ASGI application."""
    folder = Path(os.environ["BENCH"])
    key = serialization.load_pem_private_key((folder / "theirs.key").read_bytes(), None)

    async def app(scope, receive, send):
        if scope["type"] != "http":
            return
        more = True
        while more:
            more = (await receive()).get("more_body", False)
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        content = f"POST {PAY}\nCLIENT-1.{now}.".encode() + ISSUED
        signed = quote(base64.b64encode(key.sign(content, PADDING, HASH)).decode(), safe="")
        headers = [
            (b"content-type", b"application/json; charset=UTF-8"),
            (b"client-id", b"CLIENT-1"),
            (b"response-time", now.encode()),
            (b"signature", f"algorithm=RSA256,keyVersion=1,signature={signed}".encode()),
            (b"content-length", str(len(ISSUED)).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": ISSUED})

    return app


def pay_request(number):
    """Give one payment's request id."""
    return f"pay{number:040x}"


def pay_by_us(client, request_id):
    """Pay through the library; give the code."""
    amount = aplus.Amount("USD", 4200)
    order = messages.Order(
        reference_order_id="A-1001",
        order_description="2 tickets",
        order_amount=amount,
        env=messages.Env(terminal_type="WEB", user_agent="Mozilla/5.0"),
    )
    request = messages.PayRequest(
        order=order,
        payment_request_id=request_id,
        payment_amount=amount,
        payment_notify_url=f"https://shop.example{NOTIFY}",
    )
    return client.pay(request).order_code_form.value("TEXT")


class PayByHand:
    """Does by hand what Client.pay does: build, sign, send, verify, parse."""

    def __init__(self, client, gateway, folder):
        self.client, self.gateway = client, gateway
        ours = (folder / "ours.key").read_bytes()
        theirs = (folder / "theirs.key").read_bytes()
        self.key = serialization.load_pem_private_key(ours, None)
        self.public = serialization.load_pem_private_key(theirs, None).public_key()

    def pay(self, request_id):
        amount = {"currency": "USD", "value": "4200"}
        body = json.dumps(
            {
                "order": {
                    "referenceOrderId": "A-1001",
                    "orderDescription": "2 tickets",
                    "orderAmount": amount,
                    "env": {"terminalType": "WEB", "userAgent": "Mozilla/5.0"},
                },
                "paymentRequestId": request_id,
                "paymentAmount": amount,
                "paymentMethod": {"paymentMethodType": "CONNECT_WALLET"},
                "paymentFactor": {"inStorePaymentScenario": "OrderCode"},
                "paymentNotifyUrl": f"https://shop.example{NOTIFY}",
            }
        ).encode()
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        content = f"POST {PAY}\nCLIENT-1.{now}.".encode() + body
        signed = quote(base64.b64encode(self.key.sign(content, PADDING, HASH)).decode(), safe="")
        headers = {
            "Content-Type": "application/json; charset=UTF-8",
            "Client-Id": "CLIENT-1",
            "Request-Time": now,
            "Signature": f"algorithm=RSA256,keyVersion=1,signature={signed}",
        }
        answer = self.client.post(self.gateway + PAY, content=body, headers=headers, timeout=5)
        answer.raise_for_status()
        found = re.search("signature=([^,]+)", answer.headers["signature"])[1]
        time = answer.headers["response-time"]
        content = f"POST {PAY}\nCLIENT-1.{time}.".encode() + answer.content
        self.public.verify(base64.b64decode(unquote(found)), content, PADDING, HASH)
        told = answer.json()
        assert told["result"]["resultCode"] == "PAYMENT_IN_PROCESS"
        details = told["orderCodeForm"]["codeDetails"]
        return next(one["codeValue"] for one in details if one["displayType"] == "TEXT")


def polled():
    """A shop with a store on DATABASE, blocking or awaiting by KIND, whose payments are open."""
    from starlette.applications import Starlette
    from starlette.routing import Mount

    from aplus_adapters.starlette import create_routes

    store = {"blocking": aplus.SQLStore, "awaiting": aplus.AsyncSQLStore}[os.environ["KIND"]]
    account, _ = load(Path(os.environ["BENCH"]))
    pay = aplus.AplusPay(
        account=account, store=store(os.environ["DATABASE"]), hooks=AsyncShop()
        if os.environ["KIND"] == "awaiting" else Shop(),
    )  # fmt: skip
    return Starlette(routes=[Mount("/aplus", routes=create_routes(pay))], lifespan=pay.lifespan)
