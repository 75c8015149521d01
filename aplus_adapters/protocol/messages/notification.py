"""notifyPayment: the final result from Alipay+, and the acknowledgement that we send back."""

from typing import Annotated, Final

from aplus_adapters.protocol import wire
from aplus_adapters.protocol.amounts import Amount
from aplus_adapters.protocol.messages.base import Decides, Message, message
from aplus_adapters.protocol.messages.result import Result
from aplus_adapters.protocol.messages.settlement import SettlementQuote
from aplus_adapters.protocol.timestamps import Timestamp

__all__ = ["ACKNOWLEDGED", "NOT_ACKNOWLEDGED", "PaymentNotification"]


@message
class PaymentNotification(Message):
    """The final result of a payment, S or F. `payment_result` is the payment's own."""

    payment_result: Result  # the sister API calls it `result`
    payment_request_id: str  # there is no id of the event: duplicates are found by this
    acquirer_id: str | None = None
    payment_id: str | None = None  # may be missing on F
    psp_id: str | None = None  # opaque, not always digits
    customer_id: str | None = None
    wallet_brand_name: str | None = None
    payment_time: Timestamp | None = None
    payment_amount: Annotated[Amount, Decides()] | None = None
    settlement_amount: Amount | None = None
    settlement_quote: SettlementQuote | None = None
    mpp_payment_id: str | None = None
    customs_declaration_amount: Amount | None = None


def _body(code: str, status: str, text: str) -> bytes:
    return wire.dumps(
        {"result": {"resultCode": code, "resultStatus": status, "resultMessage": text}}
    )


ACKNOWLEDGED: Final = _body("SUCCESS", "S", "success")
"""The body that says *received*, whatever the payment's result is."""

NOT_ACKNOWLEDGED: Final = _body("UNKNOWN_EXCEPTION", "U", "not accepted now, send it again")
"""The body that asks for the notification to be sent again."""
