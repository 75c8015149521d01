"""What each story asks of the store, the shop, the gateway and the log, in order and whole.

One line is one effect or one log line. Times are seconds after noon, pay1 is the first payment. A
call planned for another time, a claim given back to nobody, a log line without its ids or a wrong
time-out change a line here, in whichever flow they happen.
"""

import logging
import os
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path

import attrs
import pytest

from aplus_adapters import Amount, AplusError, MemoryStore, StoreError
from aplus_adapters.payments.effects import CallHook, CallStore, Record, Send, Sleep
from aplus_adapters.protocol.messages.result import Result
from aplus_adapters.protocol.signed_messages import Answer
from aplus_adapters.protocol.timestamps import Timestamp
from support.gateway import (
    DOWN,
    FORGED,
    GONE,
    LOST,
    OPEN,
    PAID,
    asked,
    done,
    give_back,
    inquired,
    notified,
)
from support.shop import NOON

STORIES = Path(__file__).with_name("traces.txt")
AT_EXPIRY = 180  # seconds after noon
HEARD = {}


def result(code, status="F"):
    return {"resultCode": code, "resultStatus": status, "resultMessage": "no"}


def refused(code, status="F"):
    return {"result": result(code, status)}


def a_code(world):
    world.start()


def a_gateway_that_is_down(world):
    world.script(pay=[DOWN])
    world.start()


def answers_that_prove_nothing(world):
    world.script(pay=[FORGED, LOST, DOWN])
    world.start()


def a_gateway_that_is_busy(world):
    world.slow_down = ("Retry-After", "7")
    world.script(pay=[refused("REQUEST_TRAFFIC_EXCEED_LIMIT", "U"), "code"])
    world.start()


def an_attempt_without_an_answer_is_sent_again(world):
    world.script(pay=[DOWN])
    attempt = world.start()
    world.script(pay=["code"])
    world.ask(attempt, 12)


def a_refusal(world):
    world.script(pay=[refused("INVALID_CONTRACT")])
    world.start()


def an_open_payment(world):
    attempt = world.start()
    world.script(inquiryPayment=[inquired(attempt, OPEN)])
    world.ask(attempt, 20)


def an_inquiry_that_is_lost(world):
    attempt = world.start()
    world.script(inquiryPayment=[LOST])
    world.ask(attempt, 20)


def a_paid_payment(world):
    attempt = world.start()
    world.script(inquiryPayment=[inquired(attempt, PAID)])
    world.ask(attempt, 20)


def a_hook_that_fails_at_an_inquiry(world):
    attempt = world.start()
    world.shop.fail = RuntimeError("locked")
    world.script(inquiryPayment=[inquired(attempt, PAID)])
    world.ask(attempt, 20)


def expired(world, inquiry=None, cancel="S", at=AT_EXPIRY):
    attempt = world.start()
    world.script(
        inquiryPayment=[inquired(attempt, OPEN) if inquiry is None else inquiry],
        cancelPayment=[{"result": PAID} if cancel == "S" else cancel],
    )
    world.ask(attempt, at)
    return attempt


def an_expired_code(world):
    expired(world)


def an_expired_code_without_an_answer_is_given_some_time(world):
    expired(world, inquiry=LOST)


def an_expired_code_without_an_answer_is_cancelled(world):
    expired(world, inquiry=LOST, at=AT_EXPIRY + 30)


def a_cancellation_that_is_lost(world):
    expired(world, cancel=LOST)


def a_cancellation_without_any_answer_after_it(world):
    attempt = world.start()
    world.script(inquiryPayment=[inquired(attempt, OPEN), LOST], cancelPayment=[LOST])
    world.ask(attempt, AT_EXPIRY)


def a_cancellation_that_does_not_know_the_code(world):
    expired(world, cancel={"result": GONE})


def a_cancellation_that_is_refused_for_minutes(world):
    attempt = expired(world, cancel=refused("ACCESS_DENIED"))
    world.ask(attempt, AT_EXPIRY + 60)


def our_clock_is_ahead(world):
    world.start()
    attempt = world.pay.store.get("pay" + "0" * 39 + "1")
    world.script(inquiryPayment=[inquired(attempt, OPEN)])
    world.gateway_is = timedelta(seconds=-10)
    world.ask(attempt, AT_EXPIRY)


def an_order_that_is_not_wanted(world):
    attempt = world.start()
    world.script(inquiryPayment=[inquired(attempt, OPEN)], cancelPayment=[{"result": PAID}])
    world.pay.close_order("A-1")


def an_order_that_never_had_a_code_is_not_wanted(world):
    world.script(pay=[DOWN], inquiryPayment=[{"result": GONE}], cancelPayment=[{"result": GONE}])
    world.start()
    world.clock.moment = NOON + timedelta(seconds=30)
    world.script(pay=["code"])
    world.pay.close_order("A-1")


def a_notification(world):
    world.notify(world.start())


def a_notification_of_a_failure(world):
    world.notify(world.start(), "F")


def a_notification_of_another_amount(world):
    world.notify(world.start(), paymentAmount={"currency": "USD", "value": "1"})


def a_notification_of_nobodys_payment(world):
    world.notify(attrs.evolve(world.start(), payment_request_id="stranger"))


def a_notification_whose_hook_fails(world):
    attempt = world.start()
    world.shop.fail = RuntimeError("locked")
    world.notify(attempt)


def a_contradiction_is_asked_about(world):
    attempt = world.start()
    world.notify(attempt, paymentAmount={"currency": "USD", "value": "1"})
    world.script(
        inquiryPayment=[inquired(attempt, PAID, paymentAmount={"currency": "USD", "value": "1"})]
    )
    world.ask(attempt, 620)


def sold(world):
    attempt = world.start()
    world.notify(attempt)
    world.clock.moment += timedelta(seconds=100)
    world.lines.clear()
    return attempt


def a_refund(world):
    attempt = sold(world)
    world.script(refund=[done(refundAmount={"currency": "USD", "value": "1000"})])
    give_back(world.pay, attempt, amount=Amount("USD", 1000), reason="broken seat")


def a_refund_that_is_lost(world):
    attempt = sold(world)
    world.script(refund=[LOST])
    give_back(world.pay, attempt)


def a_refund_in_process(world):
    attempt = sold(world)
    world.script(refund=[{"result": OPEN}])
    give_back(world.pay, attempt)


def a_refund_that_is_refused(world):
    attempt = sold(world)
    world.script(refund=[refused("MERCHANT_BALANCE_NOT_ENOUGH")])
    give_back(world.pay, attempt)


def a_refund_that_is_refused_after_a_repeat(world):
    attempt = sold(world)
    world.script(
        refund=[LOST, refused("ORDER_STATUS_INVALID")], inquiryPayment=[inquired(attempt, PAID)]
    )
    give_back(world.pay, attempt)


def a_refund_whose_repeat_is_listed(world):
    attempt = sold(world)
    transaction = {
        "transactionResult": PAID,
        "transactionId": "R-9",
        "transactionType": "REFUND",
        "transactionStatus": "SUCCESS",
        "transactionAmount": attempt.amount.to_wire(),
        "transactionRequestId": "credit-note-1",
    }
    world.script(
        refund=[LOST, refused("ORDER_STATUS_INVALID")],
        inquiryPayment=[inquired(attempt, PAID, transactions=[transaction])],
    )
    give_back(world.pay, attempt)


def a_refund_of_another_amount(world):
    attempt = sold(world)
    world.script(refund=[done(refundAmount={"currency": "USD", "value": "1"})])
    give_back(world.pay, attempt)


def a_refund_that_cannot_be_stored(world):
    attempt = sold(world)
    world.script(refund=[done()])
    world.fails = Record
    give_back(world.pay, attempt)


def a_refund_that_another_worker_sends(world):
    attempt = sold(world)
    world.taken = "claim_refund"
    give_back(world.pay, attempt)


def a_round_of_reconcile(world):
    attempt = world.start()
    world.script(inquiryPayment=[inquired(attempt, PAID)])
    world.clock.moment = NOON + timedelta(seconds=20)
    world.pay.reconcile()


def a_round_of_reconcile_with_a_refund(world):
    a_refund_that_is_lost(world)
    world.lines.clear()
    world.script(refund=[done()])
    world.clock.moment = NOON + timedelta(seconds=300)
    world.pay.reconcile()


def a_round_of_reconcile_whose_hook_fails(world):
    world.shop.fail = RuntimeError("locked")
    a_round_of_reconcile(world)


def a_round_of_reconcile_with_a_conflict(world):
    attempt = world.start()
    told, world.shop.payment_conflict = world.shop.payment_conflict, lambda _: 1 / 0
    world.notify(attempt, paymentAmount={"currency": "USD", "value": "1"})
    world.lines.clear()
    world.shop.payment_conflict = told
    world.pay.reconcile()


def an_order_that_was_paid_at_another_price(world):
    sold(world)
    world.shop.price = Amount("USD", 1)
    world.start()


def an_order_at_another_price(world):
    attempt = world.start()
    world.shop.price = Amount("USD", 1)
    world.script(inquiryPayment=[inquired(attempt, OPEN)], cancelPayment=[{"result": PAID}])
    world.start()


TOLD = [
    told
    for name, told in list(globals().items())
    if name.startswith(("a_", "an_", "answers_", "our_")) and callable(told)
]


def plain(value):
    """Write a value so that a person can compare it."""
    for kind, write in WRITTEN.items():
        if isinstance(value, kind):
            return write(value)
    if attrs.has(type(value)):
        fields = {
            field.name: getattr(value, field.name)
            for field in attrs.fields(type(value))
            if getattr(value, field.name) not in (None, field.default)
        }
        return f"{type(value).__name__}({plain(fields)})"
    # Whether a sentence reads well is no matter of this test.
    return "text" if str(value).count(" ") > 2 else str(value).replace("0" * 39, "")


WRITTEN = {
    datetime: lambda moment: f"+{(moment - NOON).total_seconds():g}",
    timedelta: lambda pause: f"{pause.total_seconds():g}s",
    Enum: lambda member: str(member.value),
    Result: lambda result: result.result_code,
    Timestamp: lambda time: time.text,
    bytes: lambda _: "bytes",
    Amount: lambda amount: f"{amount.value} {amount.currency}",
    dict: lambda items: " ".join(f"{name}={plain(item)}" for name, item in items.items()),
    list: lambda items: "[" + ", ".join(map(plain, items)) + "]",
    tuple: lambda items: plain([*items]),
}


class Log(logging.Handler):
    def __init__(self, lines):
        super().__init__(logging.DEBUG)
        self.lines = lines
        self.usual = {*vars(logging.makeLogRecord({})), "message", "asctime"}

    def emit(self, record):
        said = {name: value for name, value in vars(record).items() if name not in self.usual}
        words = [plain(word) for word in record.args or () if not isinstance(word, Exception)]
        errors = [type(word).__name__ for word in record.args or () if isinstance(word, Exception)]
        traceback = " with a traceback" if record.exc_info else ""
        line = f"    log {record.levelname}{traceback} {plain(said)}: {', '.join(words + errors)}"
        self.lines.append(line + (" says None" if "None" in record.getMessage() else ""))


class World:
    """A shop, a gateway and a store whose every effect is written down."""

    def __init__(self, pay, gateway, start, clock, shop, alipayplus):
        self.pay, self.gateway, self.clock, self.shop = pay, gateway, clock, shop
        self._start, self.alipayplus = start, alipayplus
        self.lines, self.slow_down, self.fails, self.taken = [], None, None, None
        self.gateway_is = timedelta(0)
        table = pay.performer._table
        for kind in (CallStore, Record, CallHook, Sleep, Send):
            table[kind] = self._noting(kind, table[kind])

    def _noting(self, kind, perform):
        def performing(effect):
            self.lines.append(self._line(effect))
            if kind is self.fails:
                raise StoreError("the disk is full")
            if getattr(effect, "method", None) == self.taken is not None:
                return False
            return self._signed(perform, effect) if kind is Send else perform(effect)

        return performing

    def _signed(self, perform, effect):
        ours, self.clock.moment = self.clock.moment, self.clock.moment + self.gateway_is
        try:
            answer = perform(effect)
        finally:
            self.clock.moment = ours
        more = [("tracerid", "T-1"), *([self.slow_down] if self.slow_down else [])]
        return Answer(status=200, headers=(*answer.headers, *more), body=answer.body)

    def _line(self, effect):
        now = plain(self.clock.now())
        match effect:
            case Send(request, timeout):
                return f"{now} send {request.path.rpartition('/')[2]} within {timeout:g}"
            case Sleep(seconds):
                return f"{now} sleep {seconds:g}"
            case CallStore(method, arguments):
                return f"{now} store {method} {plain(arguments)}"
            case Record(request_id, observation):
                return f"{now} record {plain(request_id)} {plain(observation)}"
            case CallHook(name, details):
                return f"{now} hook {name} {plain(details)}"

    def script(self, **calls):
        self.gateway.script.update(calls)

    def start(self):
        try:
            return self._start()
        except AplusError as error:
            self.lines.append(f"    raises {type(error).__name__}")
            return None

    def ask(self, attempt, seconds):
        self.lines.clear()
        self.clock.moment = NOON + timedelta(seconds=seconds)
        asked(self.pay, attempt)

    def notify(self, attempt, status="S", **changes):
        self.lines.clear()
        self.clock.moment += timedelta(seconds=5)
        body = self.alipayplus.notification(attempt, status, **changes)
        reply = notified(self.pay, self.alipayplus, self.clock, body, tracerid="T-2")
        self.lines.append(f"    answers {reply.status}")


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def world(pay, gateway, start, clock, shop, alipayplus):
    made = World(pay, gateway, start, clock, shop, alipayplus)
    log, ours = Log(made.lines), logging.getLogger("aplus_adapters")
    ours.addHandler(log)
    yield made
    ours.removeHandler(log)


def written():
    """Return the lines of each story that are expected."""
    stories = {}
    for block in STORIES.read_text().split("\n\n"):
        name, *lines = block.strip("\n").splitlines()
        stories[name] = lines
    return stories


@pytest.mark.parametrize("happens", TOLD, ids=lambda told: told.__name__)
def test_a_story_asks_and_logs_this_and_nothing_else(world, happens):
    happens(world)
    HEARD[happens.__name__] = world.lines
    assert os.environ.get("APLUS_WRITE_TRACES") or world.lines == written()[happens.__name__]


def test_every_story_that_is_written_down_is_told():
    if os.environ.get("APLUS_WRITE_TRACES"):
        blocks = ["\n".join([name, *lines]) for name, lines in HEARD.items()]
        STORIES.write_text("\n\n".join(blocks) + "\n")
    assert [told.__name__ for told in TOLD] == [*written()]
