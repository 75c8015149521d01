"""Print which files of the package a request walks through, in order: `python tests/walk.py`."""

from __future__ import annotations

import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from flask import Flask

from aplus_adapters import Account, Amount, AplusPay, OrderToPay, PrivateKey, SQLStore
from aplus_adapters.flask import create_blueprint
from aplus_adapters.protocol import signing, wire
from aplus_adapters.protocol.timestamps import Timestamp
from aplus_adapters.testing.signer import AlipayPlus

PACKAGE = Path(sys.modules["aplus_adapters"].__file__).parent


class Shop:
    def load_order(self, details):
        return OrderToPay(amount=Amount.parse("42.00", "USD"), description="2 tickets")

    def payment_changed(self, details):
        pass

    def payment_conflict(self, details):
        pass


def walked(action):
    """Return what `action` returns, and the files that ran meanwhile in the order of their first call."""
    files = {}

    def note(frame, event, argument):
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(PACKAGE):
            files.setdefault(path.relative_to(PACKAGE).as_posix())

    sys.setprofile(note)
    try:
        answer = action()
    finally:
        sys.setprofile(None)
    return answer, [name for name in files if not name.startswith("testing/")]


def main():
    """Start a payment and notify its success through Flask's test client; print both walks."""
    ours, theirs = PrivateKey.generate(), PrivateKey.generate()
    account = Account(
        client_id="CLIENT-1",
        private_key=ours,
        alipayplus_keys=theirs.public_key,
        gateway="https://gateway.example",
        notify_url="https://shop.example/aplus/notify",
    )

    alipayplus = AlipayPlus(account, theirs)

    def answer(request):
        path, now = request.url.path, Timestamp.of(datetime.now(UTC)).text
        result = {"resultCode": "PAYMENT_IN_PROCESS", "resultStatus": "U", "resultMessage": "wait"}
        expires = Timestamp.of(datetime.now(UTC) + timedelta(minutes=10)).text
        code = {
            "codeType": "ORDER_CODE",
            "codeValue": "https://code.example/1",
            "displayType": "TEXT",
        }
        details = {"codeDetails": [code], "expireTime": expires}
        body = wire.dumps({"result": result, "paymentId": "1" * 30, "orderCodeForm": details})
        signed = signing.signed_content(path, account.client_id, now, body)
        headers = {
            "Client-Id": account.client_id,
            "Response-Time": now,
            "Signature": signing.sign(theirs, "1", signed),
        }
        return httpx.Response(200, headers=headers, content=body)

    with tempfile.TemporaryDirectory() as folder:
        store = SQLStore(f"sqlite:///{folder}/payments.db")
        http = httpx.Client(transport=httpx.MockTransport(answer))
        pay = AplusPay(account=account, store=store, hooks=Shop(), client=http)
        app = Flask(__name__)
        app.register_blueprint(create_blueprint(pay), url_prefix="/aplus")
        client = app.test_client()

        def start(order_ref):
            headers = {"Accept": "application/json"}
            return client.post("/aplus/pay", json={"order_ref": order_ref}, headers=headers)

        start("A-0")  # what only a first request does is no part of the walk
        response, files = walked(lambda: start("A-1"))
        show(f"POST /pay: {response.status_code}", files)
        attempt = pay.latest("A-1")
        body = alipayplus.notification(attempt)
        headers = alipayplus.sign(body)
        response, files = walked(lambda: client.post("/aplus/notify", data=body, headers=headers))
        show(f"notification: {response.status_code}", files)
        store.close()


def show(title, files):
    print(f"{title}, {len(files)} files", *files, sep="\n  ")


if __name__ == "__main__":
    main()
