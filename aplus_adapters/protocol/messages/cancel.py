"""cancelPayment: close a payment for good, whatever its state; repeat it until S."""

from typing import Annotated, ClassVar

from aplus_adapters.protocol.messages.base import Message, Text, message
from aplus_adapters.protocol.messages.inquiry import require_one_id
from aplus_adapters.protocol.messages.result import Result

__all__ = ["CancelRequest", "CancelResponse"]


@message
class CancelRequest(Message):
    """Cancel in full by either id; possible until 00:15 UTC+8 of the day after the payment."""

    path: ClassVar[str] = "/aps/api/v1/payments/cancelPayment"

    payment_request_id: Annotated[str, Text(64)] | None = None
    payment_id: Annotated[str, Text(64)] | None = None

    def __attrs_post_init__(self) -> None:
        require_one_id("CancelRequest", self.payment_request_id, self.payment_id)


@message
class CancelResponse(Message):
    """Only S closes the payment."""

    result: Result
    acquirer_id: str | None = None
    psp_id: str | None = None
