"""The conformance check finds each mistake of a bad shop, and invents none in a good one."""

import logging
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import pytest

from aplus_adapters import PrivateKey
from aplus_adapters.conformance.cases import Verdict
from aplus_adapters.conformance.run import scenarios
from aplus_adapters.simulator.identity import Identity
from support.bad_shop import MISTAKES
from support.conformance import describe, names, play_by_hand
from support.handmade_shop import HandmadeShop
from support.other_shops import OTHERS

WITHOUT_A_COMMAND = {"slow-store", "slow-store-again"}
STRANGERS = {
    "forged", "altered", "unsigned", "other-path", "other-client-id", "key-of-the-shop",
    "strangers-pay-nothing",
}  # fmt: skip
FOUND = {
    "has a pay route that calls nobody": {"pay-arrives"},
    "sends another media type": {"pay-headers", "calls-well-formed"},
    "signs another spelling of the pay request": {"pay-signature"},
    "sends booleans": {"pay-well-formed"},
    "forgets the user agent": {"pay-well-formed"},
    "names another notify url": {"pay-notify-url"},
    "begins a payment with each press": {"paid-not-again", "double-press", "press-again"},
    "fails on a second press": {"double-press-answers"},
    "takes a new id after a lost answer": {
        "lost-answer-followed-up", "lost-answer-one-code", "unsigned-answer",
    },
    "repeats with another body": {"lost-answer-same-body"},
    "believes unsigned answers": {"unsigned-answer"},
    "believes badly signed answers": {"forged-answer"},
    "shows the code of a refusal": {"refused-no-code"},
    "takes a refusal for paid": {"refused-not-paid"},
    "verifies nothing": STRANGERS,
    "takes what is unsigned": {"unsigned", "strangers-pay-nothing"},
    "believes its own key": {"key-of-the-shop", "strangers-pay-nothing"},
    "verifies what it wrote anew": {"altered", "strangers-pay-nothing", "byte-for-byte"},
    "fails on junk": {"junk", "signed-junk"},
    "fails on signed junk": {"signed-junk"},
    "answers get": {"get"},
    "acknowledges unknown payments": {"unknown-payment"},
    "answers201": {"ack-status"},
    "answers success in words": {"ack-says-s"},
    "does not sign its answer": {"ack-signature"},
    "signs the time of the request": {"ack-signature"},
    "answers as alipayplus": {"ack-client-id"},
    "forgets the zone of its time": {"ack-response-time"},
    "answers html": {"ack-content-type"},
    "answers late": {"ack-in-time"},
    "does not keep the result": {"paid-shown"},
    "refuses duplicates": {"duplicate"},
    "refuses unknown fields": {"unknown-fields"},
    "answers f to a failure": {"failed-acknowledged"},
    "takes every notification for paid": {"failed-not-paid"},
    "takes any amount": {"other-amount", "other-currency"},
    "takes any currency": {"other-currency"},
    "uses an id again after a failure": {"new-code-new-id"},
    "sells a paid order again": {"paid-not-again"},
    "lets a failure undo paid": {"paid-stays-paid", "paid-not-again"},
    "cancels what was notified": {"paid-not-cancelled", "missed-not-cancelled"},
    "sends numbers in inquiries": {"calls-well-formed", "missed-found", "missed-not-cancelled"},
    "never asks": {"silence-inquired", "missed-inquired"},
    "never cancels": {"expired-cancelled"},
    "cancels once": {"cancel-repeated"},
    "shows expired codes": {"expired-code-hidden"},
    "takes the answer for the payment": {"open-not-paid", "expired-cancelled"},
    "takes a late success for paid": {"late-success"},
    "cancels what is paid": {"missed-found", "missed-not-cancelled"},
    "refunds with a new id": {"refund-parts", "refund-repeated"},
}  # fmt: skip
"""What each mistake has to be found by: these cases, and no others."""

CONSEQUENCES = {
    # Found there as well if the shop asks before the case looks.
    "takes the answer for the payment": {"strangers-pay-nothing"},
}

ADVISED = {
    "verifies nothing": {"strangers-get-little", "stale"},
    "takes what is unsigned": {"strangers-get-little"},
    "believes its own key": {"strangers-get-little"},
    "verifies what it wrote anew": {"strangers-get-little"},
}


OTHERS_ADVISED = {
    "answers strangers with a signed u": {"strangers-get-little"},
    "shows the picture of a code alone": {"code-shown"},
}
OTHERS_LEFT_OUT = {
    "shows the picture of a code alone": {"refused-no-code", "expired-code-hidden"},
    "lets nobody pay anew": {"new-code-new-id"},
}


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    Identity.open(folder, "http://gateway.example")
    return folder


@pytest.fixture(scope="module", autouse=True)
def _each_key_is_loaded_once():
    """Loading a private key takes as long as 100 signatures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PrivateKey, "load", cache(PrivateKey.load))
        yield


@pytest.fixture(scope="module")
def runs(keys):
    """The run against each shop. They wait more than they compute, so they wait together."""
    kinds = {"none": HandmadeShop, **MISTAKES}
    logging.getLogger("handmade").setLevel(logging.CRITICAL + 1)  # its errors are on purpose

    def play(name):
        whole = name in ("none", "refunds with a new id")  # the others are no matter of refunds
        return play_by_hand(kinds[name], keys, acceptance=whole)

    with ThreadPoolExecutor(6) as pool:
        return dict(zip(kinds, pool.map(play, kinds), strict=True))


def test_a_shop_by_hand_with_none_of_our_code_is_all_right(runs):
    run = runs["none"]
    assert describe(run, Verdict.WRONG, Verdict.ADVICE) == {}
    assert names(run, Verdict.NOT_TRIED) == WITHOUT_A_COMMAND
    assert run.results.is_right


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_found_by_its_cases_and_by_no_others(runs, mistake):
    run = runs[mistake]
    found = set(describe(run, Verdict.WRONG)) - CONSEQUENCES.get(mistake, set())
    assert found == FOUND[mistake], describe(run, Verdict.WRONG)
    assert names(run, Verdict.ADVICE) == ADVISED.get(mistake, set())
    assert not run.results.is_right


@pytest.mark.parametrize("other", OTHERS)
def test_a_shop_that_does_it_otherwise_is_right_too(runs, keys, other):
    run = play_by_hand(OTHERS[other], keys)
    assert describe(run, Verdict.WRONG) == {}
    assert names(run, Verdict.ADVICE) == OTHERS_ADVISED.get(other, set())
    left_out = names(run, Verdict.NOT_TRIED) - WITHOUT_A_COMMAND
    assert left_out == OTHERS_LEFT_OUT.get(other, set())


def test_for_each_case_there_is_a_mistake_that_it_finds():
    cases = {case.name for scenario in scenarios(acceptance=True) for case in scenario.cases}
    proven = set().union(*FOUND.values(), *ADVISED.values())
    untried = cases - proven
    assert untried == WITHOUT_A_COMMAND | {
        "status-page", "code-shown", "header-names", "duplicates-at-once", "refused-answer", "refund-full",
    }  # fmt: skip


def test_the_cause_of_a_wrong_signature_is_named(runs):
    result = runs["signs the time of the request"].results.all["ack-signature"]
    assert result.found.endswith(
        "it fits if the Request-Time was signed in place of the Response-Time"
    )


def test_without_a_status_page_what_only_it_shows_is_not_tried(runs, keys):
    run = play_by_hand(HandmadeShop, keys, status_url=None)
    assert describe(run, Verdict.WRONG, Verdict.ADVICE) == {}
    left_out = {
        name for name, found in describe(run, Verdict.NOT_TRIED).items() if "--status-url" in found
    }
    assert left_out == {
        "status-page", "strangers-pay-nothing", "paid-shown", "paid-stays-paid", "failed-not-paid",
        "other-amount", "other-currency", "refused-not-paid", "open-not-paid", "late-success",
        "missed-found",
    }  # fmt: skip


def test_a_status_page_that_always_says_paid_is_wrong_and_is_not_asked_any_more(runs, keys):
    run = play_by_hand(HandmadeShop, keys, paid="state")
    assert set(describe(run, Verdict.WRONG)) == {"status-page"}
    assert "choose another --paid" in run.results.all["status-page"].found


def test_when_the_orders_run_out_it_says_so(runs, keys):
    run = play_by_hand(HandmadeShop, keys, orders=("only-one",))
    assert describe(run, Verdict.WRONG, Verdict.ADVICE) == {}
    assert "no order is left" in run.results.all["double-press"].found


def test_without_a_way_to_refund_refunds_are_not_tried(runs, keys):
    run = play_by_hand(HandmadeShop, keys, refund_url=None)
    refunds = {"refund-full", "refund-parts", "refund-repeated"}
    assert names(run, Verdict.NOT_TRIED) == WITHOUT_A_COMMAND | refunds
    assert run.results.is_right
