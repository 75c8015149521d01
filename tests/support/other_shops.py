"""Shops that do it otherwise than the handmade one, and are right all the same."""

import re
import threading

from flask import abort, request

from support.handmade_shop import HandmadeShop


class AnswersStrangersWithASignedU(HandmadeShop):
    """As Alipay+'s own reference code does."""

    def notified(self):
        answer = super().notified()
        return self.acknowledge("U", "UNKNOWN_EXCEPTION") if isinstance(answer, tuple) else answer


class ShowsThePictureOfACodeAlone(HandmadeShop):
    def visible_code(self, payment):
        return "<img src='/picture'>" if super().visible_code(payment) else ""


class LetsNobodyPayAnew(HandmadeShop):
    def checkout(self):
        payment = self.current(request.form["order"])
        if payment is not None and payment.state in ("failed", "cancelled"):
            abort(409)
        return super().checkout()


class SignsInBase64url(HandmadeShop):
    def sign(self, path, when, body):
        head, _, value = super().sign(path, when, body).rpartition("=")
        value = value.replace("%2B", "-").replace("%2F", "_").replace("%3D", "")
        return f"{head}={value}"


class FollowsUpByItself(HandmadeShop):
    """By a worker, whether or not somebody looks at the page."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.ended = threading.Event()
        self.worker = threading.Thread(target=self.work)
        self.worker.start()

    def end(self):
        self.ended.set()
        self.worker.join()
        super().end()

    def work(self):
        while not self.ended.wait(0.03):
            with self.lock:
                for payment in list(self.payments.values()):
                    super().follow_up(payment)

    def follow_up(self, payment):
        pass


class ClosesTheOldCodeForANewOne(HandmadeShop):
    def current(self, order):
        payment = super().current(order)
        if payment is not None and payment.state == "pending":
            self.cancel(payment)
        return payment


class RefusesWhatDoesNotFit(HandmadeShop):
    def record(self, payment, status, amount):
        if not self.fits(payment, amount):
            abort(422)
        super().record(payment, status, amount)


OTHERS = {
    re.sub("(?<!^)(?=[A-Z])", " ", kind.__name__).lower(): kind
    for kind in HandmadeShop.__subclasses__()
    if kind.__module__ == __name__
}
