"""A gateway of one process for flow tests: it answers signed, loses answers, or is down."""

import json
from datetime import timedelta

from aplus_adapters import NotSent, OutcomeUnknown
from aplus_adapters.payments.flows.follow_up import follow_up
from aplus_adapters.payments.flows.notification import receive
from aplus_adapters.protocol import signing
from aplus_adapters.protocol.signed_messages import Answer
from aplus_adapters.protocol.timestamps import Timestamp

PAID = {"resultCode": "SUCCESS", "resultStatus": "S", "resultMessage": "success"}
OPEN = {"resultCode": "PAYMENT_IN_PROCESS", "resultStatus": "U", "resultMessage": "in process"}
CLOSED = {"resultCode": "ORDER_IS_CLOSED", "resultStatus": "F", "resultMessage": "closed"}
GONE = {"resultCode": "ORDER_NOT_EXIST", "resultStatus": "F", "resultMessage": "unknown"}
DOWN = object()
LOST = object()
FORGED = object()


class Gateway:
    """Answers by a script: per call name a list of contents, DOWN, LOST or FORGED; the last repeats."""

    def __init__(self, account, their_key, clock):
        self.account, self.key, self.clock = account, their_key, clock
        self.script = {"pay": ["code"]}
        self.sent = []

    def send(self, request, timeout):
        name = request.path.rpartition("/")[2]
        self.sent.append((name, request))
        steps = self.script[name]
        step = steps.pop(0) if len(steps) > 1 else steps[0]
        if step is DOWN:
            raise NotSent("down")
        if step is LOST:
            raise OutcomeUnknown("lost")
        forged = step is FORGED
        if step is FORGED:
            step = "code" if name == "pay" else {"result": PAID, "paymentResult": PAID}
        content = self.code(request) if step == "code" else step
        return self.answer(request, content, forged=forged)

    async def send_async(self, request, timeout):
        return self.send(request, timeout)

    def code(self, request, **changes):
        said = json.loads(request.body)
        return {
            "result": OPEN,
            "acquirerId": "1021",
            "paymentId": "P-" + said["paymentRequestId"][-4:],
            "paymentAmount": said["paymentAmount"],
            "orderCodeForm": {
                "paymentMethodType": "CONNECT_WALLET",
                "expireTime": Timestamp.of(
                    self.clock.now().replace(microsecond=0) + timedelta(minutes=3)
                ).text,
                "codeDetails": [
                    {"codeValue": "https://codes.example/i", "displayType": "BIGIMAGE"},
                    {"codeValue": "https://codes.example/281", "displayType": "TEXT"},
                ],
            },
            **changes,
        }

    def answer(self, request, content, *, forged=False):
        body = json.dumps(content).encode()
        time = Timestamp.of(self.clock.now()).text
        signed = signing.signed_content(request.path, self.account.client_id, time, body)
        headers = [
            ("Client-Id", self.account.client_id),
            ("Response-Time", time),
            ("Signature", signing.sign(self.key, "1", signed)),
        ]
        return Answer(status=200, headers=tuple(headers), body=body + (b" " if forged else b""))

    def calls(self):
        return [name for name, _ in self.sent]

    def bodies(self, name):
        return {request.body for sent, request in self.sent if sent == name}


def inquired(attempt, result, **more):
    details = {
        "paymentRequestId": attempt.payment_request_id,
        "paymentAmount": attempt.amount.to_wire(),
    }
    return {"result": PAID, "paymentResult": result, **details, **more}


def asked(pay, attempt):
    return pay.run(follow_up(pay.config, pay.store.get(attempt.payment_request_id)))


def notified(pay, alipayplus, clock, body, **changes):
    headers = {**alipayplus.sign(body, at=clock.now()), **changes}
    return pay.run(receive(pay.config, tuple(headers.items()), body))


def give_back(pay, attempt, number=1, **options):
    return pay.refund(
        attempt.payment_request_id, refund_request_id=f"credit-note-{number}", **options
    )


def done(**more):
    return {"result": PAID, "refundId": "R-1", **more}


def listed(value, request_id="elsewhere"):
    """Give a refund that succeeded, as an inquiry lists it."""
    return {
        "transactionType": "REFUND",
        "transactionStatus": "SUCCESS",
        "transactionRequestId": request_id,
        "transactionAmount": {"currency": "USD", "value": value},
    }
