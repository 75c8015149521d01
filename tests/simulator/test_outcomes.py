"""Every result code and every fault, chosen by an order's description: what the library does.

Each test plays a payment to its end. It asserts what is stored, what the shop is told, and what is
sent again.
"""

import re
from datetime import datetime, time, timedelta, timezone

import pytest

from aplus_adapters import Amount, Rejected
from aplus_adapters.messages import CancelRequest
from aplus_adapters.protocol.results import CODES
from aplus_adapters.simulator.faults import AFTER, BEFORE, NOTIFICATION_FAULTS
from aplus_adapters.simulator.outcomes import BUYERS, UNSIGNED_CODES

REFUSALS = sorted(code for code, row in CODES.items() if row.status == "F")
SIGNED = [code for code in REFUSALS if code not in UNSIGNED_CODES]
BUSY = ["REQUEST_TRAFFIC_EXCEED_LIMIT", "UNKNOWN_EXCEPTION"]
WAITS = {"delay": ":12", "late_answer": ":12", "trickle": ":12"}  # longer than a call may take
FAULTS = [name for name in (*BEFORE, *AFTER) if name != "result"]  # that stands for the codes
ACTED = [name for name in FAULTS if name in AFTER or name == "delay"]


def asked(name):
    return name + WAITS.get(name, "")


class TestPay:
    @pytest.mark.parametrize("code", SIGNED)
    def test_a_signed_refusal_ends_the_attempt_at_once_and_the_shop_is_told(self, world, code):
        attempt = world.start(f"sim:pay={code}")
        assert attempt.state.value == "failed"
        assert attempt.result.result_code == code
        assert world.shop.changes == [("A-1", "failed")]
        assert len(world.calls("pay")) == 1

    @pytest.mark.parametrize("code", UNSIGNED_CODES)
    def test_an_unsigned_refusal_proves_nothing_and_the_same_bytes_go_again(self, world, code):
        attempt = world.start(f"sim:pay={code}*4")
        assert attempt.state.value == "created"
        assert world.shop.changes == []
        assert len(world.calls("pay")) == 3
        world.simulator.clock.advance(seconds=60)
        world.pay.reconcile()
        assert world.state(attempt) == "pending"
        assert len(world.bodies("pay")) == 1

    @pytest.mark.parametrize("code", BUSY)
    def test_a_u_is_repeated_with_the_same_bytes_until_there_is_a_code(self, world, code):
        assert world.start(f"sim:pay={code}").state.value == "pending"
        assert len(world.calls("pay")) == 2
        assert len(world.bodies("pay")) == 1

    @pytest.mark.parametrize("code", ["PAYMENT_IN_PROCESS", "SUCCESS"])
    def test_an_answer_without_a_code_is_asked_for_again_soon(self, world, code):
        attempt = world.start(f"sim:pay={code}*1")
        assert attempt.state.value == "created"
        world.simulator.clock.advance(seconds=60)
        world.pay.reconcile()
        assert world.state(attempt) == "pending"
        assert len(world.bodies("pay")) == 1

    @pytest.mark.parametrize("fault", FAULTS)
    def test_whatever_becomes_of_the_answer_there_is_one_order_and_it_can_be_paid(
        self, world, fault
    ):
        attempt = world.start(f"sim:pay={asked(fault)}")
        if fault in WAITS:  # a button must not hang: the worker asks again
            assert attempt.state.value == "created"
            world.simulator.clock.advance(seconds=60)
            world.pay.reconcile()
        assert world.state(attempt) == "pending"
        assert len(world.calls("pay")) == 2
        assert len(world.bodies("pay")) == 1
        assert len(world.alipayplus.books.orders) == 1
        assert world.decide(attempt) == ["acknowledged"]
        assert world.shop.changes == [("A-1", "succeeded")]

    def test_a_limit_of_the_rate_is_obeyed_for_as_long_as_it_says(self, world):
        began = world.simulator.clock.now()
        assert world.start("sim:pay=rate_limit:7").state.value == "pending"
        assert world.simulator.clock.now() - began == timedelta(seconds=7)


class TestInquiry:
    """The notification never comes; the first inquiry goes wrong."""

    @pytest.mark.parametrize(
        "outcome", [*CODES, *(name for name in FAULTS if name != "rate_limit"), "rate_limit"]
    )
    def test_what_proves_nothing_is_asked_again_and_cancels_nothing(self, world, outcome):
        attempt = world.start(f"sim:notify=never sim:inquiry={asked(outcome)}*1")
        assert world.decide(attempt) == []
        assert world.settle(attempt) == "succeeded"
        assert len(world.calls("inquiryPayment")) == 2
        assert world.calls("cancelPayment") == []
        assert world.shop.changes == [("A-1", "succeeded")]

    @pytest.mark.parametrize("seconds", [30, 50])
    def test_a_copy_of_the_books_that_lags_delays_the_news_and_closes_nothing(self, world, seconds):
        attempt = world.start(f"sim:notify=never sim:inquiry=lag:{seconds}")
        world.simulator.clock.advance(seconds=10)
        world.decide(attempt)
        assert world.settle(attempt) == "succeeded"
        said = [row["outcome"] for row in world.calls("inquiryPayment")]
        assert said[0] == "ORDER_NOT_EXIST"
        assert world.calls("cancelPayment") == []
        assert world.shop.changes == [("A-1", "succeeded")]

    @pytest.mark.parametrize("code", REFUSALS)
    def test_a_payment_that_a_wallet_refused_is_failed_by_inquiry_too(self, world, code):
        attempt = world.start(f"sim:notify=never sim:buyer={code}:5")
        world.simulator.clock.advance(seconds=5)
        final = world.settle(attempt)
        if code == "ORDER_NOT_EXIST":  # says that it is not there yet: closed by cancelPayment
            assert final == "cancelled"
        else:
            assert final == "failed"
            assert world.pay.find(attempt.payment_request_id).result.result_code == code
        assert world.shop.changes == [("A-1", final)]


class TestCancel:
    """The shop closes its order; the first cancelPayment goes wrong."""

    @pytest.mark.parametrize(
        "outcome",
        [*(code for code in (*REFUSALS, *BUSY) if code != "CANCEL_WINDOW_EXCEED"), *FAULTS],
    )
    def test_it_is_repeated_until_it_succeeds_and_the_order_stays_closing(self, world, outcome):
        attempt = world.start(f"sim:cancel={asked(outcome)}*1")
        world.pay.close_order("A-1")
        assert world.state(attempt) in ("closing", "cancelled")
        assert world.settle(attempt) == "cancelled"
        assert world.order(attempt).state.value == "CANCELLED"
        assert world.shop.changes == [("A-1", "cancelled")]

    def test_after_its_window_only_the_payments_own_end_closes_it(self, world):
        attempt = world.start("sim:cancel=CANCEL_WINDOW_EXCEED")
        world.pay.close_order("A-1")
        assert world.settle(attempt) == "failed"  # by the notification of its expiry
        assert world.order(attempt).state.value == "CLOSED"


class TestRefund:
    """The payment is paid; the refund is asked for once, and the worker runs."""

    def refund(self, world, outcome):
        attempt = world.start(f"sim:refund={asked(outcome)}*1")
        world.decide(attempt)
        world.pay.refund(attempt.payment_request_id, refund_request_id="credit-1")
        for _ in range(8):
            world.simulator.clock.advance(minutes=1)
            world.pay.reconcile()
        assert len(world.bodies("refund")) == 1
        (refund,) = world.pay.store.refunds(attempt.payment_request_id)
        return refund.state.value, len(world.order(attempt).refunds)

    @pytest.mark.parametrize("code", SIGNED)
    def test_a_signed_refusal_is_final_and_the_shop_is_told(self, world, code):
        assert self.refund(world, code) == ("failed", 0)
        assert world.shop.refunds == ["failed"]
        assert len(world.calls("refund")) == 1

    @pytest.mark.parametrize("outcome", [*UNSIGNED_CODES, *BUSY, "PAYMENT_IN_PROCESS", *FAULTS])
    def test_whatever_proves_nothing_is_repeated_and_the_money_goes_back_once(self, world, outcome):
        assert self.refund(world, outcome) == ("succeeded", 1)
        assert world.shop.refunds == ["succeeded"]


class TestBuyer:
    @pytest.mark.parametrize("code", [code for code in REFUSALS if code != "ORDER_NOT_EXIST"])
    def test_the_wallets_refusal_is_the_payments_end(self, world, code):
        attempt = world.start(f"sim:buyer={code}")
        assert [sent.outcome for sent in world.simulator.deliver()] == ["acknowledged"]
        assert world.pay.find(attempt.payment_request_id).result.result_code == code
        assert world.shop.changes == [("A-1", "failed")]

    @pytest.mark.parametrize(
        ("buyer", "told"),
        [
            ("pay", "succeeded"),
            ("refuse", "failed"),
            ("expire", "failed"),
            ("two_wallets", "succeeded"),
        ],
    )
    def test_a_planned_buyer_acts_when_the_description_says(self, world, buyer, told):
        attempt = world.start(f"sim:buyer={buyer}:20")
        world.simulator.clock.advance(seconds=19)
        assert world.shop.changes == []
        world.simulator.clock.advance(seconds=1)
        assert world.shop.changes == [("A-1", told)]
        assert len(world.order(attempt).returned) == (buyer == "two_wallets")

    def test_a_second_wallets_money_goes_back_and_the_shop_hears_of_one_payment(self, world):
        attempt = world.start()
        assert world.decide(attempt, "two_wallets") == ["acknowledged"]
        assert world.decide(attempt, "pay") == []  # and a third one
        assert len(world.order(attempt).returned) == 2
        assert world.shop.changes == [("A-1", "succeeded")]
        assert world.shop.conflicts == []

    def test_all_of_them_are_tried(self):
        assert set(BUYERS) == {"pay", "refuse", "expire", "two_wallets"}


TRUE_IN_THE_END = {  # what the shop answers to each that is sent, until it is acknowledged
    "twice": ["acknowledged", "acknowledged"],
    "late": ["acknowledged"],
    "once": ["acknowledged"],
    "forged": ["HTTP 401", "acknowledged"],
    "altered": ["HTTP 401", "acknowledged"],
    "unsigned": ["HTTP 400", "acknowledged"],
    "other_path": ["HTTP 401", "acknowledged"],
    "other_client": ["HTTP 401", "acknowledged"],
    "unknown_order": ["HTTP 404", "acknowledged"],
    "stale": ["acknowledged"],  # one that is sent again may be 15 hours old
}


class TestNotification:
    @pytest.mark.parametrize("fault", TRUE_IN_THE_END)
    def test_the_shop_is_told_once_and_only_of_what_alipayplus_signed(self, world, fault):
        attempt = world.start(f"sim:notify={fault}" + (":30" if fault == "late" else ""))
        world.decide(attempt)
        first = TRUE_IN_THE_END[fault][0]
        if fault == "late" or first != "acknowledged":
            assert world.shop.changes == []
        world.simulator.clock.advance(minutes=2)
        assert [sent.outcome for sent in world.simulator.deliveries] == TRUE_IN_THE_END[fault]
        assert world.shop.changes == [("A-1", "succeeded")]
        assert world.shop.conflicts == []

    def test_one_that_never_comes_is_replaced_by_an_inquiry(self, world):
        attempt = world.start("sim:notify=never")
        assert world.decide(attempt) == []
        assert world.settle(attempt) == "succeeded"
        assert world.simulator.deliveries == []

    def test_the_sandbox_sends_once_even_if_nobody_answers(self, world):
        attempt = world.start("sim:notify=once")
        with world.simulator.shop_unreachable():
            world.decide(attempt)
        world.simulator.clock.advance(hours=24)
        assert len(world.simulator.deliveries) == 1
        assert world.settle(attempt) == "succeeded"

    def test_another_amount_is_a_conflict_and_completes_nothing(self, world):
        attempt = world.start("sim:notify=other_amount")
        assert world.decide(attempt) == ["acknowledged"]
        assert world.state(attempt) == "pending"
        assert world.shop.changes == []
        assert len(world.shop.conflicts) == 1

    def test_one_that_is_overtaken_by_that_of_the_next_payment_changes_nothing(self, world):
        first = world.start("sim:notify=out_of_order")
        world.decide(first, "refuse")
        assert world.settle(first) == "failed"  # by inquiry
        second = world.start()
        world.decide(second)
        world.simulator.deliver()
        assert [sent.payment_request_id for sent in world.simulator.deliveries] == [
            second.payment_request_id,
            first.payment_request_id,
        ]
        assert world.shop.changes == [("A-1", "failed"), ("A-1", "succeeded")]

    def test_each_of_them_is_tried(self):
        here = set(TRUE_IN_THE_END) | {"never", "other_amount", "out_of_order"}
        assert here | {"early"} == set(NOTIFICATION_FAULTS)  # that one needs two processes


class TestWindows:
    def paid(self, world):
        attempt = world.start()
        world.decide(attempt)
        return attempt

    def test_a_refund_is_possible_within_one_calendar_year(self, world):
        attempt = self.paid(world)
        part = Amount("USD", 100)
        paid_at = world.order(attempt).final_at
        world.simulator.clock.move_to(paid_at.replace(year=paid_at.year + 1))
        ask = world.pay.refund
        first = ask(attempt.payment_request_id, refund_request_id="in-time", amount=part)
        assert first.state.value == "succeeded"
        world.simulator.clock.advance(seconds=1)
        second = ask(attempt.payment_request_id, refund_request_id="too-late", amount=part)
        assert second.state.value == "failed"
        assert second.result.result_code == "REFUND_WINDOW_EXCEED"

    @pytest.mark.parametrize(("seconds", "code"), [(-1, "SUCCESS"), (0, "CANCEL_WINDOW_EXCEED")])
    def test_a_cancellation_is_possible_until_a_quarter_past_midnight_in_china(
        self, world, seconds, code
    ):
        attempt = self.paid(world)
        day = world.order(attempt).final_at.astimezone(timezone(timedelta(hours=8))).date()
        end = datetime.combine(day + timedelta(days=1), time(0, 15), timezone(timedelta(hours=8)))
        world.simulator.clock.move_to(end + timedelta(seconds=seconds))
        request = CancelRequest(payment_request_id=attempt.payment_request_id)
        with world.client() as client:
            if code == "SUCCESS":
                assert client.cancel(request).result.result_code == code
                assert client.cancel(request).result.result_code == code  # idempotent
            else:
                with pytest.raises(Rejected, match=code):
                    client.cancel(request)


@pytest.mark.parametrize(
    "words",
    [
        "sim:pay=NONSENSE",
        "sim:pay",
        "sim:buy=pay",
        "sim:notify=lag",
        "sim:buyer=SUCCESS",
        "sim:pay=lag:3",
    ],
)
def test_a_misspelt_word_is_refused_by_name(world, words):
    attempt = world.start(words)
    assert attempt.result.result_code == "PARAM_ILLEGAL"
    (answer,) = [row["answer"]["body"] for row in world.calls("pay")]
    assert re.search(r"order.orderDescription: found sim:\S+, ", answer)


def test_the_simulator_counts_what_came_and_shows_how_each_message_was_verified(world):
    attempt = world.start("sim:pay=bad_signature")
    world.decide(attempt)
    first, second = world.calls("pay")
    assert first["fault"] == "bad_signature"
    assert first["answer"]["verification"].startswith("not valid")
    assert second["answer"]["verification"].startswith("valid: key 1 of Alipay+")
    assert second["request"]["verification"].startswith("valid: key 1 of SIMULATED_CLIENT_0001")
    (notification,) = world.calls("notifyPayment")
    assert notification["outcome"] == "acknowledged"
    assert notification["answer"]["verification"].startswith("valid: key 1 of SIMULATED_CLIENT")
    assert notification["request"]["signedContent"].startswith("POST /aplus/notify\n")
