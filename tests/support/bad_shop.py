"""A bad shop: the handmade one with one mistake in it. Each class is a mistake, and its name says which."""

import json
import re
import secrets
import time
from datetime import datetime

from flask import request

from support.handmade_shop import HandmadeShop


class SignsAnotherSpellingOfThePayRequest(HandmadeShop):
    def sign(self, path, when, body):
        if path.endswith("/pay"):
            body = json.dumps(json.loads(body), separators=(",", ":")).encode()
        return super().sign(path, when, body)


class SendsBooleans(HandmadeShop):
    def pay_request(self, payment):
        fields = super().pay_request(payment)
        fields["paymentFactor"]["isInStorePayment"] = True
        return fields


class HasAPayRouteThatCallsNobody(HandmadeShop):
    def start(self, payment):
        pass


class SendsAnotherMediaType(HandmadeShop):
    media_type = "text/json"


class ForgetsTheUserAgent(HandmadeShop):
    def pay_request(self, payment):
        fields = super().pay_request(payment)
        del fields["order"]["env"]["userAgent"]
        return fields


class NamesAnotherNotifyUrl(HandmadeShop):
    def pay_request(self, payment):
        return {**super().pay_request(payment), "paymentNotifyUrl": "https://old.example/notify"}


class BeginsAPaymentWithEachPress(HandmadeShop):
    def current(self, order):
        return None


class FailsOnASecondPress(HandmadeShop):
    def current(self, order):
        payment = super().current(order)
        if payment is not None and payment.state == "pending":
            raise RuntimeError("this order is being paid")
        return payment


class TakesANewIdAfterALostAnswer(HandmadeShop):
    def start(self, payment):
        for _ in range(3):
            answer = self.send("pay", self.pay_body(payment))
            if answer is not None and self.read_code(payment, answer):
                return
            payment.id, payment.body = f"hand{secrets.token_hex(12)}", b""
            self.payments[payment.id] = payment


class RepeatsWithAnotherBody(HandmadeShop):
    def pay_body(self, payment):
        fields = self.pay_request(payment)
        fields["order"]["orderDescription"] = f"Bread at {self.now_text()}"
        return json.dumps(fields).encode()


class BelievesUnsignedAnswers(HandmadeShop):
    def believed(self, path, answer):
        if "signature" not in answer.headers:
            return json.loads(answer.content)
        return super().believed(path, answer)


class BelievesBadlySignedAnswers(HandmadeShop):
    def believed(self, path, answer):
        return json.loads(answer.content) if "signature" in answer.headers else None


class ShowsTheCodeOfARefusal(HandmadeShop):
    def read_code(self, payment, answer):
        if "orderCodeForm" in answer:
            self.show(payment, answer["orderCodeForm"])
            return True
        return super().read_code(payment, answer)


class TakesARefusalForPaid(HandmadeShop):
    def read_code(self, payment, answer):
        if answer["result"]["resultStatus"] == "F":
            payment.state = "paid"
            return True
        return super().read_code(payment, answer)


class VerifiesNothing(HandmadeShop):
    def is_authentic(self, headers, body):
        return True


class TakesWhatIsUnsigned(HandmadeShop):
    def is_authentic(self, headers, body):
        return "Signature" not in headers or super().is_authentic(headers, body)


class BelievesItsOwnKey(HandmadeShop):
    def verify(self, header, path, client_id, when, body):
        if super().verify(header, path, client_id, when, body):
            return True
        theirs, self.theirs = self.theirs, self.key.public_key()
        try:
            return super().verify(header, path, client_id, when, body)
        finally:
            self.theirs = theirs


class VerifiesWhatItWroteAnew(HandmadeShop):
    def is_authentic(self, headers, body):
        try:
            body = json.dumps(json.loads(body), ensure_ascii=False).encode()
        except (ValueError, RecursionError):
            return False
        return super().is_authentic(headers, body)


class FailsOnJunk(HandmadeShop):
    def notified(self):
        json.loads(request.get_data())["paymentRequestId"]
        return super().notified()


class FailsOnSignedJunk(HandmadeShop):
    def notified(self):
        if self.is_authentic(request.headers, request.get_data()):
            json.loads(request.get_data())["paymentRequestId"]
        return super().notified()


class AnswersGet(HandmadeShop):
    def methods(self):
        return ["GET", "POST"]

    def notified(self):
        return "here I am" if request.method == "GET" else super().notified()


class AcknowledgesUnknownPayments(HandmadeShop):
    def unknown(self):
        return self.acknowledge()


class Answers201(HandmadeShop):
    def acknowledge(self, status="S", code="SUCCESS"):
        response = super().acknowledge(status, code)
        response.status_code = 201
        return response


class AnswersSuccessInWords(HandmadeShop):
    def acknowledge(self, status="S", code="SUCCESS"):
        response = super().acknowledge(status, code)
        response.data = b"success"
        path = "/alipay/hook"
        response.headers["Signature"] = self.sign(
            path, response.headers["Response-Time"], b"success"
        )
        return response


class DoesNotSignItsAnswer(HandmadeShop):
    def acknowledge(self, status="S", code="SUCCESS"):
        response = super().acknowledge(status, code)
        del response.headers["Signature"]
        return response


class SignsTheTimeOfTheRequest(HandmadeShop):
    def acknowledge(self, status="S", code="SUCCESS"):
        time.sleep(0.002)  # within one millisecond it would be the right time
        response = super().acknowledge(status, code)
        when = request.headers["Request-Time"]
        response.headers["Signature"] = self.sign("/alipay/hook", when, response.data)
        return response


class AnswersAsAlipayplus(HandmadeShop):
    def acknowledge(self, status="S", code="SUCCESS"):
        response = super().acknowledge(status, code)
        response.headers["Client-Id"] = "ALIPAYPLUS"
        return response


class ForgetsTheZoneOfItsTime(HandmadeShop):
    def acknowledge(self, status="S", code="SUCCESS"):
        response = super().acknowledge(status, code)
        when = datetime.now().isoformat(timespec="seconds")  # noqa: DTZ005  # the mistake
        response.headers["Response-Time"] = when
        response.headers["Signature"] = self.sign("/alipay/hook", when, response.data)
        return response


class AnswersHtml(HandmadeShop):
    def acknowledge(self, status="S", code="SUCCESS"):
        response = super().acknowledge(status, code)
        response.content_type = "text/html"
        return response


class AnswersLate(HandmadeShop):
    was_late = False

    def acknowledge(self, status="S", code="SUCCESS"):
        time.sleep(0 if self.was_late else 2.1)
        self.was_late = True
        return super().acknowledge(status, code)


class DoesNotKeepTheResult(HandmadeShop):
    def record(self, payment, status, amount):
        pass


class RefusesDuplicates(HandmadeShop):
    def record(self, payment, status, amount):
        self.is_known = payment.state in ("paid", "failed")
        super().record(payment, status, amount)

    def acknowledge(self, status="S", code="SUCCESS"):
        if self.is_known:
            return "this was notified before", 409
        return super().acknowledge(status, code)


class RefusesUnknownFields(HandmadeShop):
    def is_authentic(self, headers, body):
        return b"newField" not in body and super().is_authentic(headers, body)


class AnswersFToAFailure(HandmadeShop):
    def record(self, payment, status, amount):
        self.status = status
        super().record(payment, status, amount)

    def acknowledge(self, status="S", code="SUCCESS"):
        return super().acknowledge(self.status, code)


class TakesEveryNotificationForPaid(HandmadeShop):
    def notified_outcome(self, status):
        return "paid"


class TakesAnyAmount(HandmadeShop):
    def fits(self, payment, amount):
        return True


class TakesAnyCurrency(HandmadeShop):
    def fits(self, payment, amount):
        return amount is None or amount["value"] == payment.amount["value"]


class UsesAnIdAgainAfterAFailure(HandmadeShop):
    def current(self, order):
        payment = super().current(order)
        if payment is not None and payment.state == "failed":
            payment.state = "new"
        return payment


class SellsAPaidOrderAgain(HandmadeShop):
    def current(self, order):
        payment = super().current(order)
        return None if payment is not None and payment.state == "paid" else payment


class LetsAFailureUndoPaid(HandmadeShop):
    def settle(self, payment, outcome):
        payment.state = outcome if payment.state == "paid" else payment.state
        super().settle(payment, outcome)


class CancelsWhatWasNotified(HandmadeShop):
    def follow_up(self, payment):
        if payment.state == "paid":
            self.send("cancelPayment", self.ids(payment))
        super().follow_up(payment)


class SendsNumbersInInquiries(HandmadeShop):
    def ids(self, payment):
        return json.dumps({"paymentRequestId": payment.id, "retry": 1}).encode()


class NeverAsks(HandmadeShop):
    def inquire(self, payment):
        if datetime.now(payment.expires_at.tzinfo) >= payment.expires_at:
            payment.state = "closing"


class NeverCancels(HandmadeShop):
    def cancel(self, payment):
        payment.state = "cancelled"


class CancelsOnce(HandmadeShop):
    def cancel(self, payment):
        super().cancel(payment)
        payment.state = "cancelled"


class ShowsExpiredCodes(HandmadeShop):
    def visible_code(self, payment):
        return payment.code


class TakesTheAnswerForThePayment(HandmadeShop):
    def inquired(self, answer):
        return "paid" if answer["result"]["resultStatus"] == "S" else "failed"


class TakesALateSuccessForPaid(HandmadeShop):
    def settle(self, payment, outcome):
        if payment.state == "cancelled" and outcome == "paid":
            payment.state = "paid"
        super().settle(payment, outcome)


class CancelsWhatIsPaid(HandmadeShop):
    def inquired(self, answer):
        return "open"


class RefundsWithANewId(HandmadeShop):
    def refund_body(self, payment, refund_id, value):
        return super().refund_body(payment, f"R{secrets.token_hex(12)}", value)


MISTAKES = {
    re.sub("(?<!^)(?=[A-Z])", " ", kind.__name__).lower(): kind
    for kind in HandmadeShop.__subclasses__()
    if kind.__module__ == __name__
}
