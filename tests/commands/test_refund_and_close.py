"""`aplus refund` and `aplus close`: they ask, do it once, and say what came of it."""

import re
from datetime import timedelta

import pytest

from aplus_adapters import RefundState, State
from aplus_adapters.payments.effects import refunds
from support.gateway import CLOSED, DOWN, LOST, OPEN, done, inquired

EXCEEDED = {"resultCode": "REFUND_AMOUNT_EXCEED", "resultStatus": "F", "resultMessage": "no"}


@pytest.fixture
def paid(aplus):
    attempt = aplus.paid()
    aplus.gateway.script["refund"] = [done()]
    return attempt.payment_request_id


def stored(aplus, payment):
    return [(item.amount.value, item.state) for item in aplus.run(refunds(payment))]


def test_a_refund_asks_with_what_is_to_be_refunded_and_does_it(aplus, paid):
    aplus.person()
    first = aplus("refund", paid, "--amount", "10.00", "--id", "note-1", input="y\n")
    assert (first.exit_code, first.stdout) == (0, "refund note-1 of 10.00 USD: succeeded\n")
    second = aplus("refund", paid, "--id", "note-2", "--reason", "broken seat", input="y\n")
    assert (second.exit_code, second.stdout) == (0, "refund note-2 of 32.00 USD: succeeded\n")
    asked = second.stderr.splitlines()
    assert asked[:3] == [
        f"payment   {paid}, succeeded", "order     A-1", "paid      42.00 USD",
    ]  # fmt: skip
    assert asked[3].startswith("before    10.00 USD as note-1, succeeded, 2026-11-23 ")
    assert asked[4] == "now       32.00 USD as note-2"
    assert "Refund it? [y/N]" in asked[5]


def test_who_says_no_refunds_nothing(aplus, paid):
    aplus.person()
    refused = aplus("refund", paid, input="n\n")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "nothing was refunded" in refused.stderr
    assert stored(aplus, paid) == []


@pytest.mark.parametrize("words", [("refund", "PAYMENT"), ("close", "A-2")])
def test_without_a_terminal_a_dangerous_command_wants_yes(aplus, paid, words):
    aplus.start("A-2")
    refused = aplus(*(paid if word == "PAYMENT" else word for word in words))
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "found no terminal to ask at, expected --yes" in refused.stderr
    assert aplus.gateway.calls() == ["pay"]


@pytest.mark.parametrize(
    "words", [[], ["--amount", "10.00"], ["--amount", "10 USD", "--id", "n-1"]]
)
def test_the_same_command_again_refunds_once(aplus, paid, words):
    first = aplus("refund", paid, *words, "--yes")
    again = aplus("refund", paid, *words, "--yes")
    assert (first.exit_code, again.exit_code) == (0, 0)
    assert first.stdout == again.stdout
    assert "Nothing was sent now. Another refund needs another --id." in again.stderr
    assert aplus.gateway.calls() == ["refund"]


@pytest.mark.parametrize("words", [[], ["--amount", "10.00"]])
def test_a_command_that_died_anywhere_is_the_same_refund_when_it_is_repeated(aplus, paid, words):
    """It dies at each effect of its flows in turn, until it survives."""
    deaths = 0
    while (finished := aplus.dying_after(deaths, "refund", paid, *words, "--yes")) is None:
        deaths += 1
        aplus.clock.moment += timedelta(minutes=2)  # the claim of the dead ends
    assert finished.exit_code == 0, finished
    assert deaths > 8
    assert stored(aplus, paid) == [(1000 if words else 4200, RefundState.SUCCEEDED)]
    assert len(aplus.gateway.bodies("refund")) == 1


def test_a_second_refund_of_the_same_amount_needs_an_id_of_its_own(aplus, paid):
    for words in ([], ["--id", "note-2"]):
        assert aplus("refund", paid, "--amount", "10", *words, "--yes").exit_code == 0
    assert stored(aplus, paid) == [(1000, RefundState.SUCCEEDED)] * 2


def test_a_refund_without_an_answer_exits_with_1_and_the_same_command_goes_on_with_it(aplus, paid):
    aplus.gateway.script["refund"] = [LOST]
    lost = aplus("refund", paid, "--yes")
    assert lost.exit_code == 1
    assert "not done yet" in lost.stdout
    assert "`aplus reconcile` sends the same request" in lost.stdout
    aplus.clock.moment += timedelta(minutes=2)
    aplus.gateway.script["refund"] = [done()]
    again = aplus("refund", paid)  # it was agreed to before: nothing is asked
    assert again.exit_code == 0
    assert "This refund is known: it is created." in again.stderr
    assert len(aplus.gateway.bodies("refund")) == 1


def test_a_refused_refund_exits_with_1_and_is_tried_anew_under_a_new_id(aplus, paid):
    aplus.gateway.script["refund"] = [{"result": EXCEEDED}]
    aplus.gateway.script["inquiryPayment"][0].pop("transactions", None)
    refused = aplus("refund", paid, "--yes")
    assert refused.exit_code == 1
    assert "refused by Alipay+ (REFUND_AMOUNT_EXCEED); " in refused.stdout
    aplus.gateway.script["refund"] = [done()]
    again = aplus("refund", paid, "--yes")
    assert again.exit_code == 0
    names = re.findall(r"refund (aplus-[0-9a-f]{32}-\d)", refused.stdout + again.stdout)
    assert [name[-2:] for name in names] == ["-1", "-2"]
    assert names[0][:-1] == names[1][:-1]
    by_hand = aplus("refund", paid, "--id", names[0])
    assert by_hand.exit_code == 1
    assert "refused by Alipay+" in by_hand.stdout


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["nothing"], "nothing: found no such payment in the store, expected a payment request id"),
        (["A-1"], "A-1: found an order, expected a payment request id"),
        (["OPEN"], "found state pending, expected a payment that is paid"),
        (["PAID", "--amount", "10 EUR"], "--amount: found 'EUR', expected USD"),
        (["PAID", "--amount", "10.001"], "found '10.001', expected digits with at most 2 decimals"),
        (["PAID", "--amount", "much"], "found 'much', expected digits"),
        (["PAID", "--amount", "0.00"], "found 0, expected at least one minor unit"),
        (["PAID", "--amount", "42.01"], "found 42.01 USD, expected at most 42.00 USD"),
        (["PAID", "--id", "x" * 65], "refundRequestId"),
        (["PAID", "--id", "note-1", "--amount", "1"], "note-1: already used with other content"),
    ],
)  # fmt: skip
def test_what_cannot_be_refunded_is_a_usage_error(aplus, paid, words, found):
    other = aplus.paid("A-2").payment_request_id
    assert aplus("refund", other, "--id", "note-1", "--amount", "2", "--yes").exit_code == 0
    opened = aplus.start("A-3").payment_request_id
    aplus.gateway.sent.clear()
    about = other if "note-1" in words else paid
    words = [{"PAID": about, "OPEN": opened}.get(word, word) for word in words]
    refused = aplus("refund", *words, "--yes")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert found in " ".join(refused.stderr.split())
    assert aplus.gateway.sent == []


def test_a_second_person_with_another_reason_finds_the_refund_and_no_other_id_is_advised(
    aplus, paid
):
    words = ("refund", paid, "--amount", "2", "--yes")
    assert aplus(*words, "--reason", "damaged").exit_code == 0
    aplus.gateway.sent.clear()
    again = aplus(*words, "--reason", "late")
    assert again.exit_code == 0
    assert "This refund is known: it is succeeded." in again.stderr
    assert "The reason that was sent first stays." in again.stderr
    assert aplus.gateway.sent == []


def test_when_nothing_is_left_another_refund_is_refused(aplus, paid):
    assert aplus("refund", paid, "--id", "note-1", "--yes").exit_code == 0
    refused = aplus("refund", paid, "--id", "note-2", "--yes")
    assert refused.exit_code == 2
    assert "found nothing left of 42.00 USD" in refused.stderr


def test_close_asks_and_closes(aplus):
    attempt = aplus.start()
    aplus.gateway.script |= {
        "inquiryPayment": [inquired(attempt, OPEN)], "cancelPayment": [done()],
    }  # fmt: skip
    aplus.person()
    no = aplus("close", "A-1", input="n\n")
    assert (no.exit_code, no.stdout) == (1, "")
    assert "nothing was closed" in no.stderr
    assert aplus.find(attempt).state is State.PENDING
    yes = aplus("close", "A-1", input="y\n")
    assert f"payment {attempt.payment_request_id} of 42.00 USD is pending" in yes.stderr
    assert yes.exit_code == 0
    assert yes.stdout == (
        f"order A-1: payment {attempt.payment_request_id} is cancelled; nobody can pay it any more\n"
    )
    assert aplus.find(attempt).state is State.CANCELLED
    again = aplus("close", "A-1")
    assert (again.exit_code, again.stdout) == (0, yes.stdout)


def test_close_says_that_the_order_was_paid_meanwhile(aplus):
    attempt = aplus.start()
    aplus.gateway.script["inquiryPayment"] = [
        inquired(attempt, {"resultCode": "SUCCESS", "resultStatus": "S", "resultMessage": ""})
    ]
    for words in (["--yes"], []):
        paid = aplus("close", "A-1", *words)
        assert paid.exit_code == 1
        assert "it was paid before; `aplus refund pay" in paid.stdout
    aplus.gateway.script["refund"] = [done()]
    aplus("refund", attempt.payment_request_id, "--yes")
    refunded = aplus("close", "A-1")
    assert refunded.exit_code == 0
    assert "all of it was refunded; no code is open" in refunded.stdout


def test_close_says_that_it_is_not_closed_yet(aplus):
    aplus.start()
    aplus.gateway.script |= {"inquiryPayment": [DOWN], "cancelPayment": [LOST]}
    waiting = aplus("close", "A-1", "--yes")
    assert waiting.exit_code == 1
    assert "is closing, not closed yet: it may still be paid. `aplus reconcile`" in waiting.stdout


def test_close_of_a_disputed_payment_names_the_conflict(aplus):
    from aplus_adapters import Outcome
    from aplus_adapters.testing.store_values import an_observation

    failed = aplus.settle(aplus.start(), CLOSED)
    said = an_observation(
        Outcome.SUCCEEDED, client_id="CLIENT-1", amount=failed.amount, payment_id=failed.payment_id
    )
    aplus.observe(failed, said)
    disputed = aplus("close", "A-1")
    assert disputed.exit_code == 1
    assert "42.00 USD are disputed: see `aplus conflicts`" in disputed.stdout


def test_close_of_an_unknown_order_is_a_usage_error(aplus):
    unknown = aplus("close", "A-9", "--yes")
    assert (unknown.exit_code, unknown.stdout) == (2, "")
    assert "order A-9: found no payment of it in the store" in unknown.stderr
