"""What a default logger prints of each thing that cannot go on by itself: which payment, and what to do."""

import logging
import re
from datetime import timedelta

import pytest
from attrs import evolve

from aplus_adapters import Amount, AplusError, NotificationError
from aplus_adapters.payments.flows.notification import claimed_payment
from support.databases import DATABASES
from support.gateway import FORGED, OPEN, PAID, asked, give_back, inquired, notified

pytestmark = pytest.mark.parametrize("store", ["memory", *DATABASES[:1]], indirect=True)
REQUEST_ID = "pay0000000000000000000000000000000000000001"
STRANGE = REQUEST_ID.replace("pay", "strange")


def refused(code, status="F"):
    return {"result": {"resultCode": code, "resultStatus": status, "resultMessage": "no"}}


def a_contract_that_is_missing(world):
    world.gateway.script["pay"] = [refused("INVALID_CONTRACT")]
    world.start()


def a_key_that_alipayplus_does_not_have(world):
    world.gateway.script["pay"] = [refused("KEY_NOT_FOUND")]
    world.start()


def a_code_that_nobody_knows(world):
    world.gateway.script["pay"] = [refused("NEW_IN_2027")]
    world.start()


def an_answer_that_is_not_signed(world):
    world.gateway.script["pay"] = [FORGED]
    world.start()


def an_inquiry_that_is_denied(world):
    attempt = world.start()
    world.gateway.script["inquiryPayment"] = [refused("ACCESS_DENIED")]
    world.clock.moment = attempt.next_call_at
    asked(world.pay, attempt)


def a_payment_that_cannot_be_closed(world):
    attempt = world.start()
    world.gateway.script["inquiryPayment"] = [inquired(attempt, OPEN)]
    world.gateway.script["cancelPayment"] = [refused("ACCESS_DENIED")]
    world.clock.moment = attempt.expires_at
    for _ in range(8):
        asked(world.pay, attempt)
        world.clock.moment += timedelta(seconds=61)


def a_refund_that_is_refused(world):
    attempt = world.paid()
    world.gateway.script["refund"] = [refused("MERCHANT_BALANCE_NOT_ENOUGH")]
    give_back(world.pay, attempt)


def a_hook_that_raises(world):
    attempt = world.start()
    world.shop.fail = RuntimeError("the orders are locked")
    world.notify(attempt)


def a_hook_that_raises_at_an_inquiry(world):
    attempt = world.start()
    world.shop.fail = RuntimeError("the orders are locked")
    world.gateway.script["inquiryPayment"] = [inquired(attempt, PAID)]
    world.clock.moment = attempt.next_call_at
    asked(world.pay, attempt)


def a_hook_that_raises_in_reconcile(world):
    attempt = world.start()
    world.shop.fail = RuntimeError("the orders are locked")
    world.gateway.script["inquiryPayment"] = [inquired(attempt, PAID)]
    world.clock.moment = attempt.next_call_at
    world.pay.reconcile()


def a_disk_that_is_full(world):
    attempt = world.start()

    def full(*_):
        raise OSError(28, "No space left on device")

    world.monkeypatch.setattr(world.pay.store, "record", full)
    world.monkeypatch.setattr(world.pay.store, "try_record", full, raising=False)
    world.notify(attempt)


def another_amount(world):
    attempt = world.start()
    world.notify(attempt, paymentAmount={"currency": "USD", "value": "1"})


def an_order_that_changed_after_it_was_paid(world):
    world.paid()
    world.shop.price = Amount("USD", 1)
    world.start()


def a_notification_that_is_forged(world):
    attempt = world.start()
    body = world.alipayplus.notification(attempt)
    signed = world.alipayplus.sign(body + b" ", at=world.clock.now())
    with pytest.raises(NotificationError) as refusal:
        notified(world.pay, world.alipayplus, world.clock, body, Signature=signed["Signature"])
    # As the endpoint does, whose own test is in tests/web.
    logging.getLogger("aplus_adapters").warning("%s, %s", refusal.value, claimed_payment(body))


def a_notification_of_another_shops_payment(world):
    attempt = evolve(world.start(), payment_request_id=STRANGE)
    world.notify(attempt)


def conflicts_that_the_hook_does_not_take(world):
    world.shop.payment_conflict = lambda _: 1 / 0
    another_amount(world)
    world.pay.reconcile()


TABLE = {
    a_contract_that_is_missing: ("ERROR", "compare merchant, currency and payment method"),
    a_key_that_alipayplus_does_not_have: ("ERROR", "upload our public key"),
    a_code_that_nobody_knows: ("ERROR", "look the code up in the API page"),
    an_answer_that_is_not_signed: ("WARNING", "proves nothing"),
    an_inquiry_that_is_denied: ("WARNING", "contact Alipay\\+ technical support"),
    a_payment_that_cannot_be_closed: ("ERROR", "look for the payment at Alipay\\+"),
    a_refund_that_is_refused: ("ERROR", "fill the balance up.*new refundRequestId"),
    a_hook_that_raises: ("ERROR", r"payment_changed: raised RuntimeError in shop.py line \d+"),
    a_hook_that_raises_at_an_inquiry: ("ERROR", r"RuntimeError in shop.py.*see to the hook"),
    a_hook_that_raises_in_reconcile: ("ERROR", r"RuntimeError in shop.py"),
    a_disk_that_is_full: ("ERROR", r"raised OSError \(\[Errno 28\] No space left on device\)"),
    another_amount: ("ERROR", "conflict: .*0.01 USD.*then deliver or refund"),
    an_order_that_changed_after_it_was_paid: ("ERROR", "correct the order, or refund"),
    a_notification_that_is_forged: ("WARNING", "key"),
    a_notification_of_another_shops_payment: ("WARNING", "share one client id or one notify URL"),
    conflicts_that_the_hook_does_not_take: ("ERROR", "ZeroDivisionError.*next round tries again"),
}


class World:
    def __init__(self, pay, gateway, start, clock, shop, alipayplus, monkeypatch):
        self.pay, self.gateway, self.clock, self.shop = pay, gateway, clock, shop
        self._start, self.alipayplus, self.monkeypatch = start, alipayplus, monkeypatch

    def start(self):
        try:
            return self._start()
        except AplusError:
            return None

    def paid(self):
        attempt = self.start()
        self.notify(attempt)
        return attempt

    def notify(self, attempt, **changes):
        body = self.alipayplus.notification(attempt, **changes)
        notified(self.pay, self.alipayplus, self.clock, body)


@pytest.fixture
def world(pay, gateway, start, clock, shop, alipayplus, monkeypatch):
    return World(pay, gateway, start, clock, shop, alipayplus, monkeypatch)


@pytest.mark.parametrize("happens", TABLE, ids=lambda one: one.__name__)
def test_a_default_logger_prints_which_payment_and_what_to_do(world, caplog, happens):
    level, advice = TABLE[happens]
    caplog.set_level(logging.WARNING)
    happens(world)
    named = STRANGE if happens is a_notification_of_another_shops_payment else REQUEST_ID
    printed = [
        record
        for record in caplog.records
        if record.levelno >= getattr(logging, level) and named in record.getMessage()
    ]
    assert printed, "nothing names the payment"
    lines = "\n".join(record.getMessage() for record in printed)
    assert re.search(advice, lines, re.DOTALL), lines
    # What a program that reads the log looks for.
    ours = [record for record in caplog.records if record.name == "aplus_adapters"]
    for record in ours:
        if record.msg.startswith("payment %s"):
            assert record.event
            assert record.payment_request_id == record.args[0]


def test_a_message_that_names_no_payment_is_called_unknown(store):
    assert claimed_payment(b'{"result": {}}') == "unknown"
