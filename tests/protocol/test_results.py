"""The result codes of the seed page, one by one."""

import pytest

from aplus_adapters.protocol.messages.result import Result
from aplus_adapters.protocol.results import CODES, Action, Audience, Reason, look_up

SEED = """
ACCESS_DENIED F, BUSINESS_NOT_SUPPORT F, CURRENCY_NOT_SUPPORT F, INVALID_CLIENT F, INVALID_CONTRACT F,
INVALID_SIGNATURE F, KEY_NOT_FOUND F, MEDIA_TYPE_NOT_ACCEPTABLE F, MERCHANT_NOT_REGISTERED F,
METHOD_NOT_SUPPORTED F, NO_INTERFACE_DEF F, ORDER_IS_CLOSED F, PARAM_ILLEGAL F,
PAYMENT_AMOUNT_EXCEED_LIMIT F, PAYMENT_AMOUNT_INVALID F, PAYMENT_COUNT_EXCEED_LIMIT F, PROCESS_FAIL F,
REPEAT_REQ_INCONSISTENT F, RISK_REJECT F, UNAVAILABLE_PAYMENT_METHOD F, USER_AMOUNT_EXCEED_LIMIT F,
USER_BALANCE_NOT_ENOUGH F, USER_KYC_NOT_QUALIFIED F, USER_NOT_EXIST F,
USER_PAYMENT_VERIFICATION_FAILED F, USER_STATUS_ABNORMAL F, PAYMENT_IN_PROCESS U,
REQUEST_TRAFFIC_EXCEED_LIMIT U, UNKNOWN_EXCEPTION U
"""
CODES_OF_SEED = dict(pair.split() for pair in SEED.split(","))
TELL_THE_BUYER = {
    "PAYMENT_AMOUNT_EXCEED_LIMIT", "RISK_REJECT", "UNAVAILABLE_PAYMENT_METHOD", "USER_AMOUNT_EXCEED_LIMIT",
    "USER_BALANCE_NOT_ENOUGH", "USER_KYC_NOT_QUALIFIED", "USER_NOT_EXIST", "USER_PAYMENT_VERIFICATION_FAILED",
    "USER_STATUS_ABNORMAL",
}  # fmt: skip


SIBLINGS = {
    "MERCHANT_KYB_NOT_QUALIFIED": (Action.FIX, Audience.OPERATOR),
    "REGULATION_RESTRICTION": (Action.FIX, Audience.OPERATOR),
    "INVALID_API": (Action.FIX, Audience.ENGINEER),
    "INVALID_TOKEN": (Action.FIX, Audience.ENGINEER),
    "INVALID_CODE": (Action.GIVE_UP, Audience.BUYER),
    "EXPIRED_CODE": (Action.GIVE_UP, Audience.BUYER),
    "ORDER_STATUS_INVALID": (Action.GIVE_UP, Audience.OPERATOR),
    "MERCHANT_BALANCE_NOT_ENOUGH": (Action.GIVE_UP, Audience.OPERATOR),
    "REFUND_NOT_SUPPORTED": (Action.GIVE_UP, Audience.OPERATOR),
    "PARTIAL_REFUND_NOT_SUPPORTED": (Action.GIVE_UP, Audience.OPERATOR),
}


def result(code, status):
    return Result(result_code=code, result_status=status, result_message="x")


@pytest.mark.parametrize("code", CODES_OF_SEED)
def test_each_code_of_the_seed_page_is_known_with_its_status_and_advice(code):
    row = look_up(result(code, CODES_OF_SEED[code]))
    assert row is CODES[code]
    assert row.status == CODES_OF_SEED[code]
    assert row.meaning
    assert row.advice
    assert (row.reason is None) is (row.status == "U")


def test_all_of_the_seed_page_is_there():
    assert len(CODES_OF_SEED) == 29
    assert set(CODES_OF_SEED) <= set(CODES)


@pytest.mark.parametrize("code", sorted(TELL_THE_BUYER))
def test_what_the_seed_page_says_to_tell_the_buyer_is_for_the_buyer(code):
    assert CODES[code].audience is Audience.BUYER


@pytest.mark.parametrize("code", SIBLINGS)
def test_each_code_of_the_sibling_calls_says_what_to_do_and_to_whom(code):
    row = look_up(result(code, "F"))
    assert row is CODES[code]
    assert (row.action, row.audience) == SIBLINGS[code]
    assert row.meaning.endswith(".")
    assert row.advice
    assert row.reason in (Reason.UNAVAILABLE, Reason.EXPIRED)


def test_no_f_is_ever_repeated():
    for row in CODES.values():
        if row.status == "F":
            assert row.action not in (Action.RETRY, Action.SLOW_DOWN, Action.SHOW_CODE)


def test_an_unknown_code_is_handled_by_its_status():
    assert look_up(result("NEW", "S")).action is Action.DONE
    assert look_up(result("NEW", "F")).action is Action.GIVE_UP
    assert look_up(result("NEW", "U")).action is Action.RETRY
    assert [look_up(result("NEW", status)).reason for status in "SFU"] == [None, "refused", None]
    assert look_up(Result(result_code="NEW", result_status="U")).meaning


def test_the_status_of_the_message_wins_over_the_table():
    assert look_up(result("PROCESS_FAIL", "U")).action is Action.RETRY
    assert look_up(result("UNKNOWN_EXCEPTION", "F")).action is Action.GIVE_UP


@pytest.mark.parametrize("status", ["s", "", "SUCCESS", "X"])
def test_a_status_that_does_not_exist_decides_nothing(status):
    assert look_up(result("SUCCESS", status or "?")).action is Action.RETRY
