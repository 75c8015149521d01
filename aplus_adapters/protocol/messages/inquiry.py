"""inquiryPayment: ask Alipay+ what became of a payment."""

from typing import Annotated, ClassVar

from aplus_adapters.errors import InvalidValue, MessageError
from aplus_adapters.protocol import wire
from aplus_adapters.protocol.amounts import Amount
from aplus_adapters.protocol.messages.base import Decides, Message, Text, Unread, message
from aplus_adapters.protocol.messages.result import Result
from aplus_adapters.protocol.messages.settlement import SettlementQuote
from aplus_adapters.protocol.timestamps import Timestamp

__all__ = ["InquiryRequest", "InquiryResponse", "Transaction", "require_one_id"]


def require_one_id(name: str, payment_request_id: str | None, payment_id: str | None) -> None:
    """Raise InvalidValue unless a payment is named by at least one of its two ids."""
    if payment_request_id is None and payment_id is None:
        raise InvalidValue(
            f"{name}: found neither paymentRequestId nor paymentId, expected one of them; "
            "pass the id that the payment was made with"
        )


@message
class InquiryRequest(Message):
    """Ask by the id that we gave the payment or by the one that Alipay+ gave it."""

    path: ClassVar[str] = "/aps/api/v1/payments/inquiryPayment"

    payment_request_id: Annotated[str, Text(64)] | None = None
    payment_id: Annotated[str, Text(64)] | None = None

    def __attrs_post_init__(self) -> None:
        require_one_id("InquiryRequest", self.payment_request_id, self.payment_id)


@message
class Transaction(Message):
    """One later movement of a payment, such as a refund."""

    transaction_result: Annotated[Result, Decides()] | None = None
    transaction_id: str | None = None
    transaction_type: Annotated[str, Decides()] | None = None
    transaction_status: Annotated[str, Decides()] | None = None
    transaction_amount: Annotated[Amount, Decides()] | None = None
    transaction_request_id: Annotated[str, Decides()] | None = None
    transaction_time: Timestamp | None = None

    @classmethod
    def stand_in(cls, found: object, error: MessageError) -> "Transaction | None":
        """Return an UnreadTransaction unless it surely is no refund, or one that has failed."""
        _ = error
        if not isinstance(found, dict):
            return UnreadTransaction()
        twice = found.keys_twice if isinstance(found, wire.Ambiguous) else frozenset[str]()
        kind, status = found.get("transactionType"), found.get("transactionStatus")
        is_other = isinstance(kind, str) and kind != "REFUND" and "transactionType" not in twice
        has_failed = status in ("FAIL", "FAILED") and "transactionStatus" not in twice
        return None if is_other or has_failed else UnreadTransaction()


@message
class UnreadTransaction(Transaction):
    """A movement that may be a refund, and of which not all that decides could be read."""


@message
class InquiryResponse(Message):
    """`result` is that of the call, `payment_result` that of the payment (if the call is S)."""

    result: Result
    payment_result: Annotated[Result, Decides()] | None = None  # S and F are final, U is not
    acquirer_id: str | None = None
    psp_id: str | None = None
    payment_request_id: Annotated[str, Decides()] | None = None
    payment_id: str | None = None
    payment_amount: Amount | None = (
        None  # unreadable it is absent: a success without one is doubted
    )
    payment_time: Timestamp | None = None
    customer_id: str | None = None
    wallet_brand_name: str | None = None
    settlement_amount: Amount | None = None
    settlement_quote: SettlementQuote | None = None
    customs_declaration_amount: Amount | None = None
    mpp_payment_id: str | None = None
    # No notification tells of refunds.
    transactions: (
        Annotated[tuple[Transaction, ...], Decides(), Unread((UnreadTransaction(),))] | None
    ) = None
