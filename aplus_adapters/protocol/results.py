"""Result codes as data: what each means and what to do next.

The first part of the table holds the codes of the seed page, the second those that the sibling
calls add. A code that is not listed is handled by its status alone.
"""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from attrs import frozen

from aplus_adapters.errors import AplusError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aplus_adapters.protocol.messages.result import Result

__all__ = ["CODES", "Action", "Audience", "Reason", "Rejected", "ResultCode", "look_up"]


class Rejected(AplusError):
    """Alipay+ refused the call with status F in a verified answer; `result` says why."""

    def __init__(self, message: str, *, result: Result) -> None:
        super().__init__(message)
        self.result = result

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to unpickle it: `result` is a keyword argument."""
        return partial(Rejected, result=self.result), self.args


class Action(StrEnum):
    """What to do next with the call that got the result."""

    SHOW_CODE = "show code"
    RETRY = "retry"  # send the identical request again
    SLOW_DOWN = "slow down"  # the same, after a longer pause
    ASK = "ask"  # inquire: the payment's own state decides
    FIX = "fix"  # correct the set-up or the request; this attempt is over
    GIVE_UP = "give up"  # this attempt is over
    DONE = "done"


class Audience(StrEnum):
    """Who must be informed."""

    BUYER = "buyer"
    OPERATOR = "operator"  # the shop's: contract and limits
    ENGINEER = "engineer"  # keys, addresses, parameters
    NOBODY = "nobody"


class Reason(StrEnum):
    """Why a payment failed, as far as a buyer may know; every language has a sentence for each."""

    UNAVAILABLE = "unavailable"  # a fault of the set-up or the contract: no payment can be made
    REFUSED = "refused"
    AMOUNT = "amount"  # above what Alipay+ allows
    COUNT = "count"  # the wallet allows no more payments
    LIMIT = "limit"  # above what the wallet allows
    BALANCE = "balance"
    IDENTITY = "identity"  # the wallet wants to know the buyer first
    CONFIRMATION = "confirmation"  # the buyer did not pass the wallet's verification
    EXPIRED = "expired"


@frozen
class ResultCode:
    """One row of the table: `reason` is None where no payment has failed."""

    code: str
    status: str
    meaning: str
    advice: str
    action: Action
    audience: Audience
    reason: Reason | None


_CONTACT = "contact Alipay+ technical support with the request id"
_CONTRACT = "compare merchant, currency and payment method with the contract, then contact Alipay+"
_TELL = "tell the buyer; a new attempt may succeed with another wallet or amount"


def _fix(
    code: str, meaning: str, advice: str, audience: Audience = Audience.ENGINEER
) -> ResultCode:
    return ResultCode(code, "F", meaning, advice, Action.FIX, audience, Reason.UNAVAILABLE)


def _refund(code: str, meaning: str, advice: str) -> ResultCode:
    action, audience = Action.GIVE_UP, Audience.OPERATOR
    return ResultCode(code, "F", meaning, advice, action, audience, Reason.UNAVAILABLE)


def _buyer(
    code: str, meaning: str, reason: Reason = Reason.REFUSED, advice: str = _TELL
) -> ResultCode:
    return ResultCode(code, "F", meaning, advice, Action.GIVE_UP, Audience.BUYER, reason)


_SEED = (
    _fix("ACCESS_DENIED", "Access is denied.", _CONTACT, Audience.OPERATOR),
    _fix(
        "BUSINESS_NOT_SUPPORT",
        "The payment business is not supported.",
        _CONTRACT,
        Audience.OPERATOR,
    ),
    _fix(
        "CURRENCY_NOT_SUPPORT",
        "The currency is not supported.",
        "check that payment and settlement currency conform to the contract",
        Audience.OPERATOR,
    ),
    _fix("INVALID_CLIENT", "The client is invalid.", "check the client id; then " + _CONTACT),
    _fix("INVALID_CONTRACT", "The contract is invalid.", _CONTRACT, Audience.OPERATOR),
    _fix(
        "INVALID_SIGNATURE",
        "The signature is invalid.",
        "check that the uploaded public key belongs to our private key (`aplus doctor` does)",
    ),
    _fix("KEY_NOT_FOUND", "The key is not found.", "upload our public key; check keyVersion"),
    _fix(
        "MEDIA_TYPE_NOT_ACCEPTABLE",
        "The media type is not accepted.",
        "something between us and Alipay+ changes Content-Type; send application/json",
    ),
    _fix(
        "MERCHANT_NOT_REGISTERED",
        "The merchant is not registered.",
        "register the merchant with Alipay+ under the referenceMerchantId that was sent",
        Audience.OPERATOR,
    ),
    _fix(
        "METHOD_NOT_SUPPORTED",
        "The HTTPS method is not supported.",
        "only POST is; look for a proxy",
    ),
    _fix("NO_INTERFACE_DEF", "The API is not defined.", "check the gateway address and the path"),
    ResultCode(
        "ORDER_IS_CLOSED",
        "F",
        "The order is closed.",
        "close the order; a new attempt needs a new paymentRequestId",
        Action.GIVE_UP,
        Audience.BUYER,
        Reason.EXPIRED,
    ),
    _fix(
        "PARAM_ILLEGAL", "A parameter is illegal.", "check headers and fields against the API page"
    ),
    _buyer(
        "PAYMENT_AMOUNT_EXCEED_LIMIT",
        "The amount exceeds the limit of Alipay+.",
        Reason.AMOUNT,
    ),
    _fix(
        "PAYMENT_AMOUNT_INVALID",
        "The amount is invalid.",
        "check amount and currency; then " + _CONTACT,
    ),
    _buyer(
        "PAYMENT_COUNT_EXCEED_LIMIT",
        "The number of payments exceeds the limit.",
        Reason.COUNT,
        "wait until the wallet allows more payments",
    ),
    ResultCode(
        "PROCESS_FAIL",
        "F",
        "A general business failure; do not retry.",
        _CONTACT,
        Action.GIVE_UP,
        Audience.OPERATOR,
        Reason.REFUSED,
    ),
    _fix(
        "REPEAT_REQ_INCONSISTENT",
        "A repeated request differs from the first.",
        "repeats must carry the identical body; a new payment needs a new paymentRequestId",
    ),
    _buyer("RISK_REJECT", "Risk control rejected the payment."),
    _buyer("UNAVAILABLE_PAYMENT_METHOD", "The payment method is unavailable."),
    _buyer(
        "USER_AMOUNT_EXCEED_LIMIT",
        "The amount exceeds the limit of the wallet.",
        Reason.LIMIT,
    ),
    _buyer(
        "USER_BALANCE_NOT_ENOUGH",
        "The balance is not enough.",
        Reason.BALANCE,
    ),
    _buyer(
        "USER_KYC_NOT_QUALIFIED",
        "The user is not verified with the wallet.",
        Reason.IDENTITY,
    ),
    _buyer("USER_NOT_EXIST", "The wallet does not know the user."),
    _buyer(
        "USER_PAYMENT_VERIFICATION_FAILED",
        "The user did not pass the payment verification.",
        Reason.CONFIRMATION,
    ),
    _buyer("USER_STATUS_ABNORMAL", "The user's account is not in a normal state."),
    ResultCode(
        # A U, but the normal answer to pay: the code is there and can be scanned.
        "PAYMENT_IN_PROCESS",
        "U",
        "The payment is being processed.",
        "show the order code",
        Action.SHOW_CODE,
        Audience.BUYER,
        None,
    ),
    ResultCode(
        "REQUEST_TRAFFIC_EXCEED_LIMIT",
        "U",
        "The request traffic exceeds the limit.",
        "call less often; the identical request may be repeated after a pause",
        Action.SLOW_DOWN,
        Audience.OPERATOR,
        None,
    ),
    ResultCode(
        "UNKNOWN_EXCEPTION",
        "U",
        "The call failed for unknown reasons.",
        "repeat the identical request",
        Action.RETRY,
        Audience.NOBODY,
        None,
    ),
)

_SIBLINGS = (
    ResultCode("SUCCESS", "S", "Success.", "nothing", Action.DONE, Audience.NOBODY, None),
    ResultCode(
        "ORDER_NOT_EXIST",
        "F",
        "Alipay+ has no such payment.",
        "check the id; if it is right, the pay request never arrived: repeat it while it is wanted",
        # It may not have arrived yet, so the payment itself has to be asked about.
        Action.ASK,
        Audience.NOBODY,
        None,
    ),
    ResultCode(
        # The window ends at 00:15 UTC+8 of the day after the payment.
        "CANCEL_WINDOW_EXCEED",
        "F",
        "It is too late to cancel.",
        "refund instead",
        Action.GIVE_UP,
        Audience.OPERATOR,
        Reason.UNAVAILABLE,
    ),
    _refund(
        "REFUND_AMOUNT_EXCEED",
        "The refunds would exceed what was paid.",
        "look at the payment's refunds and ask for less",
    ),
    # Refunds are possible within one calendar year.
    _refund(
        "REFUND_WINDOW_EXCEED", "It is too late to refund.", "pay the buyer back in another way"
    ),
    _refund(
        "REFUND_NOT_SUPPORTED",
        "This payment cannot be refunded.",
        "the wallet or the contract allows no refund: pay the buyer back in another way",
    ),
    _refund(
        "PARTIAL_REFUND_NOT_SUPPORTED",
        "This payment can be refunded in full only.",
        "refund the whole amount, or pay the buyer back in another way",
    ),
    _refund(
        "MERCHANT_BALANCE_NOT_ENOUGH",
        "The merchant's balance does not cover the refund.",
        "fill the balance up at Alipay+, then ask for a new refund with a new refundRequestId",
    ),
    _refund(
        "ORDER_STATUS_INVALID",
        "The payment's state does not allow this call.",
        "look at the payment with `aplus show`: what is not paid cannot be refunded",
    ),
    _fix(
        "MERCHANT_KYB_NOT_QUALIFIED",
        "The merchant has not passed Alipay+'s business verification.",
        "complete the merchant's verification (KYB) with Alipay+",
        Audience.OPERATOR,
    ),
    _fix(
        "REGULATION_RESTRICTION",
        "Regulation forbids this payment.",
        "check merchant, goods and region against the contract, then " + _CONTACT,
        Audience.OPERATOR,
    ),
    _fix(
        "INVALID_API",
        "The API is invalid or not open to this client.",
        "check the gateway address, the path and which APIs the contract opens",
    ),
    _fix(
        "INVALID_TOKEN",
        "The Agent-Token is invalid.",
        "check APLUS_AGENT_TOKEN, or take it away if the account belongs to no agent",
    ),
    _buyer(
        "INVALID_CODE", "The code is invalid.", Reason.EXPIRED, "show a new code: a new attempt"
    ),
    _buyer(
        "EXPIRED_CODE", "The code has expired.", Reason.EXPIRED, "show a new code: a new attempt"
    ),
)

CODES: Mapping[str, ResultCode] = MappingProxyType({row.code: row for row in (*_SEED, *_SIBLINGS)})
"""Every known result code."""

_BY_STATUS = {
    "S": (Action.DONE, Audience.NOBODY, "nothing", None),
    "F": (Action.GIVE_UP, Audience.OPERATOR, "look the code up in the API page", Reason.REFUSED),
    "U": (Action.RETRY, Audience.OPERATOR, "repeat the identical request or inquire", None),
}


def look_up(result: Result) -> ResultCode:
    """Return the row of a result's code, or a row for its status if the code is unknown.

    If a code arrives with another status than the documented one, the received status decides. A
    status that the protocol does not have counts as U, which decides nothing.
    """
    status = result.result_status if result.result_status in _BY_STATUS else "U"
    row = CODES.get(result.result_code)
    if row is not None and row.status == status:
        return row
    action, audience, advice, reason = _BY_STATUS[status]
    meaning = result.result_message or "A code that this version does not know."
    return ResultCode(result.result_code, status, meaning, advice, action, audience, reason)
