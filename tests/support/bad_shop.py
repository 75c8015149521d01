"""A bad shop: the handmade one with one mistake in it. Each class is a mistake, named by itself."""

import json
import secrets
import time
from datetime import datetime

from flask import request

from support.handmade_shop import HandmadeShop


class signs_another_spelling_of_the_pay_request(HandmadeShop):
    def sign(self, path, when, body):
        if path.endswith("/pay"):
            body = json.dumps(json.loads(body), separators=(",", ":")).encode()
        return super().sign(path, when, body)


class sends_booleans(HandmadeShop):
    def pay_request(self, payment):
        fields = super().pay_request(payment)
        fields["paymentFactor"]["isInStorePayment"] = True
        return fields


class forgets_the_user_agent(HandmadeShop):
    def pay_request(self, payment):
        fields = super().pay_request(payment)
        del fields["order"]["env"]["userAgent"]
        return fields


class names_another_notify_url(HandmadeShop):
    def pay_request(self, payment):
        return {**super().pay_request(payment), "paymentNotifyUrl": "https://old.example/notify"}


class begins_a_payment_with_each_press(HandmadeShop):
    def current(self, order):
        return None


class takes_a_new_id_after_a_lost_answer(HandmadeShop):
    def start(self, payment):
        for _ in range(3):
            answer = self.send("pay", self.pay_body(payment))
            if answer is not None and self.read_code(payment, answer):
                return
            payment.id, payment.body = f"hand{secrets.token_hex(12)}", b""
            self.payments[payment.id] = payment


class repeats_with_another_body(HandmadeShop):
    def pay_body(self, payment):
        fields = self.pay_request(payment)
        fields["order"]["orderDescription"] = f"Bread at {self.now_text()}"
        return json.dumps(fields).encode()


class believes_unsigned_answers(HandmadeShop):
    def believed(self, path, answer):
        if "signature" not in answer.headers:
            return json.loads(answer.content)
        return super().believed(path, answer)


class believes_badly_signed_answers(HandmadeShop):
    def believed(self, path, answer):
        return json.loads(answer.content) if "signature" in answer.headers else None


class shows_the_code_of_a_refusal(HandmadeShop):
    def read_code(self, payment, answer):
        if "orderCodeForm" in answer:
            self.show(payment, answer["orderCodeForm"])
            return True
        return super().read_code(payment, answer)


class takes_a_refusal_for_paid(HandmadeShop):
    def read_code(self, payment, answer):
        if answer["result"]["resultStatus"] == "F":
            payment.state = "paid"
            return True
        return super().read_code(payment, answer)


class verifies_nothing(HandmadeShop):
    def is_authentic(self, headers, body):
        return True


class takes_what_is_unsigned(HandmadeShop):
    def is_authentic(self, headers, body):
        return "Signature" not in headers or super().is_authentic(headers, body)


class believes_its_own_key(HandmadeShop):
    def verify(self, header, path, client_id, when, body):
        if super().verify(header, path, client_id, when, body):
            return True
        theirs, self.theirs = self.theirs, self.key.public_key()
        try:
            return super().verify(header, path, client_id, when, body)
        finally:
            self.theirs = theirs


class verifies_what_it_wrote_anew(HandmadeShop):
    def is_authentic(self, headers, body):
        try:
            body = json.dumps(json.loads(body), ensure_ascii=False).encode()
        except (ValueError, RecursionError):
            return False
        return super().is_authentic(headers, body)


class fails_on_junk(HandmadeShop):
    def notified(self):
        json.loads(request.get_data())["paymentRequestId"]
        return super().notified()


class fails_on_signed_junk(HandmadeShop):
    def notified(self):
        if self.is_authentic(request.headers, request.get_data()):
            json.loads(request.get_data())["paymentRequestId"]
        return super().notified()


class answers_get(HandmadeShop):
    def methods(self):
        return ["GET", "POST"]

    def notified(self):
        return "here I am" if request.method == "GET" else super().notified()


class acknowledges_unknown_payments(HandmadeShop):
    def unknown(self):
        return self.acknowledge()


class answers_201(HandmadeShop):
    def acknowledge(self, status="S", code="SUCCESS"):
        response = super().acknowledge(status, code)
        response.status_code = 201
        return response


class answers_success_in_words(HandmadeShop):
    def acknowledge(self, status="S", code="SUCCESS"):
        response = super().acknowledge(status, code)
        response.data = b"success"
        path = "/alipay/hook"
        response.headers["Signature"] = self.sign(path, response.headers["Response-Time"], b"success")
        return response


class does_not_sign_its_answer(HandmadeShop):
    def acknowledge(self, status="S", code="SUCCESS"):
        response = super().acknowledge(status, code)
        del response.headers["Signature"]
        return response


class signs_the_time_of_the_request(HandmadeShop):
    def acknowledge(self, status="S", code="SUCCESS"):
        response = super().acknowledge(status, code)
        when = request.headers["Request-Time"]
        response.headers["Signature"] = self.sign("/alipay/hook", when, response.data)
        return response


class answers_as_alipayplus(HandmadeShop):
    def acknowledge(self, status="S", code="SUCCESS"):
        response = super().acknowledge(status, code)
        response.headers["Client-Id"] = "ALIPAYPLUS"
        return response


class forgets_the_zone_of_its_time(HandmadeShop):
    def acknowledge(self, status="S", code="SUCCESS"):
        response = super().acknowledge(status, code)
        when = datetime.now().isoformat(timespec="seconds")  # noqa: DTZ005  # the mistake
        response.headers["Response-Time"] = when
        response.headers["Signature"] = self.sign("/alipay/hook", when, response.data)
        return response


class answers_html(HandmadeShop):
    def acknowledge(self, status="S", code="SUCCESS"):
        response = super().acknowledge(status, code)
        response.content_type = "text/html"
        return response


class answers_late(HandmadeShop):
    was_late = False

    def acknowledge(self, status="S", code="SUCCESS"):
        time.sleep(0 if self.was_late else 0.4)
        self.was_late = True
        return super().acknowledge(status, code)


class does_not_keep_the_result(HandmadeShop):
    def record(self, payment, status, amount):
        pass


class refuses_duplicates(HandmadeShop):
    def record(self, payment, status, amount):
        self.is_known = payment.state in ("paid", "failed")
        super().record(payment, status, amount)

    def acknowledge(self, status="S", code="SUCCESS"):
        if self.is_known:
            return "this was notified before", 409
        return super().acknowledge(status, code)


class refuses_unknown_fields(HandmadeShop):
    def is_authentic(self, headers, body):
        return b"newField" not in body and super().is_authentic(headers, body)


class answers_f_to_a_failure(HandmadeShop):
    def record(self, payment, status, amount):
        self.status = status
        super().record(payment, status, amount)

    def acknowledge(self, status="S", code="SUCCESS"):
        return super().acknowledge(self.status, code)


class takes_every_notification_for_paid(HandmadeShop):
    def notified_outcome(self, status):
        return "paid"


class takes_any_amount(HandmadeShop):
    def fits(self, payment, amount):
        return True


class takes_any_currency(HandmadeShop):
    def fits(self, payment, amount):
        return amount is None or amount["value"] == payment.amount["value"]


class uses_an_id_again_after_a_failure(HandmadeShop):
    def current(self, order):
        payment = super().current(order)
        if payment is not None and payment.state == "failed":
            payment.state = "new"
        return payment


class sells_a_paid_order_again(HandmadeShop):
    def current(self, order):
        payment = super().current(order)
        return None if payment is not None and payment.state == "paid" else payment


class lets_a_failure_undo_paid(HandmadeShop):
    def settle(self, payment, outcome):
        payment.state = outcome if payment.state == "paid" else payment.state
        super().settle(payment, outcome)


class never_asks(HandmadeShop):
    def inquire(self, payment):
        if datetime.now(payment.expires_at.tzinfo) >= payment.expires_at:
            payment.state = "closing"


class never_cancels(HandmadeShop):
    def cancel(self, payment):
        payment.state = "cancelled"


class cancels_once(HandmadeShop):
    def cancel(self, payment):
        super().cancel(payment)
        payment.state = "cancelled"


class shows_expired_codes(HandmadeShop):
    def visible_code(self, payment):
        return payment.code


class takes_the_answer_for_the_payment(HandmadeShop):
    def inquired(self, answer):
        return "paid" if answer["result"]["resultStatus"] == "S" else "failed"


class takes_a_late_success_for_paid(HandmadeShop):
    def settle(self, payment, outcome):
        if payment.state == "cancelled" and outcome == "paid":
            payment.state = "paid"
        super().settle(payment, outcome)


class cancels_what_is_paid(HandmadeShop):
    def inquired(self, answer):
        return "open"


class refunds_with_a_new_id(HandmadeShop):
    def refund_body(self, payment, refund_id, value):
        return super().refund_body(payment, f"R{secrets.token_hex(12)}", value)


MISTAKES = {kind.__name__: kind for kind in HandmadeShop.__subclasses__()}
