"""refund: give money back, in full or in parts; repeated with the same refundRequestId."""

from typing import Annotated, ClassVar

from aplus_adapters.protocol.amounts import Amount
from aplus_adapters.protocol.messages.base import Decides, Message, Text, message
from aplus_adapters.protocol.messages.inquiry import require_one_id
from aplus_adapters.protocol.messages.result import Result
from aplus_adapters.protocol.messages.settlement import SettlementQuote
from aplus_adapters.protocol.timestamps import Timestamp

__all__ = ["RefundRequest", "RefundResponse"]


@message
class RefundRequest(Message):
    """Refund `refund_amount`; `refund_request_id` (at most 64) is the idempotency key."""

    path: ClassVar[str] = "/aps/api/v1/payments/refund"

    payment_request_id: Annotated[str, Text(64)] | None = None
    payment_id: Annotated[str, Text(64)] | None = None
    refund_request_id: Annotated[str, Text(64)]
    refund_amount: Amount
    refund_reason: str | None = None

    def __attrs_post_init__(self) -> None:
        require_one_id("RefundRequest", self.payment_request_id, self.payment_id)
        self.refund_amount.check_payable("RefundRequest.refundAmount")


@message
class RefundResponse(Message):
    """Alipay+'s answer to a refund."""

    result: Result
    acquirer_id: str | None = None
    psp_id: str | None = None
    refund_id: str | None = None
    refund_time: Timestamp | None = None
    refund_amount: Annotated[Amount, Decides()] | None = None
    settlement_amount: Amount | None = None
    settlement_quote: SettlementQuote | None = None
