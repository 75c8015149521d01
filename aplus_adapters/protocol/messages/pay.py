"""pay, order code: POST /aps/api/v1/payments/pay. Source of every rule: the seed page for pay."""

from datetime import datetime, timedelta
from typing import Annotated, ClassVar

from aplus_adapters.errors import InvalidValue
from aplus_adapters.protocol.amounts import Amount
from aplus_adapters.protocol.messages.base import (
    AlwaysTrue,
    Currency,
    Decides,
    Message,
    OneOf,
    Text,
    Url,
    message,
)
from aplus_adapters.protocol.messages.order import Order
from aplus_adapters.protocol.messages.result import Result
from aplus_adapters.protocol.timestamps import Timestamp

__all__ = [
    "DEFAULT_EXPIRY",
    "CodeDetail",
    "OrderCodeForm",
    "PayRequest",
    "PayResponse",
    "PaymentFactor",
    "PaymentMethod",
    "SettlementStrategy",
    "check_expiry",
]

DEFAULT_EXPIRY = timedelta(minutes=3)
"""How long Alipay+ keeps an order code open when the request names no earlier time."""


@message
class PaymentMethod(Message):
    """The payment method; an order code is paid by a connected wallet."""

    payment_method_type: Annotated[str, OneOf("CONNECT_WALLET")] = "CONNECT_WALLET"


@message
class PaymentFactor(Message):
    """The payment scenario; these are the values that an order code must have."""

    is_in_store_payment: Annotated[bool, AlwaysTrue()] = True
    is_cashier_payment: Annotated[bool, AlwaysTrue()] = True
    in_store_payment_scenario: Annotated[str, OneOf("OrderCode")] = "OrderCode"


@message
class SettlementStrategy(Message):
    """The ISO 4217 currency that Alipay+ settles in, where it is not that of the payment."""

    settlement_currency: Annotated[str, Currency()]


@message
class PayRequest(Message):
    """Ask Alipay+ for an order code.

    `payment_request_id` (at most 64 characters) is the idempotency key: repeats must carry the
    identical body. `payment_expiry_time` can only shorten the default of 3 minutes; see
    `check_expiry`. Raises InvalidValue for whatever breaks a rule of the seed page.
    """

    path: ClassVar[str] = "/aps/api/v1/payments/pay"

    order: Order
    payment_request_id: Annotated[str, Text(64)]
    payment_amount: Amount
    payment_method: PaymentMethod = PaymentMethod()
    payment_factor: PaymentFactor = PaymentFactor()
    payment_expiry_time: Timestamp | None = None
    payment_notify_url: Annotated[str, Url(2048)]
    payment_redirect_url: Annotated[str, Url(2048)] | None = None  # else many end on an error page
    settlement_strategy: SettlementStrategy | None = None
    split_settlement_id: Annotated[str, Text(16)] | None = None

    def __attrs_post_init__(self) -> None:
        self.payment_amount.check_payable("PayRequest.paymentAmount")
        self.order.order_amount.check_payable("PayRequest.order.orderAmount")
        if self.order.env.user_agent is None:
            raise InvalidValue(
                "PayRequest.order.env.userAgent: missing, an order code requires it; "
                "pass the User-Agent header of the buyer's browser"
            )


@message
class CodeDetail(Message):
    """One form of an order code.

    For `display_type` TEXT `code_value` is the text to encode as a QR code; for SMALLIMAGE,
    MIDDLEIMAGE, BIGIMAGE (or IMAGE) it is the address of a picture.
    """

    code_value: str
    display_type: str
    code_value_type: str | None = None  # missing in some real messages


@message
class OrderCodeForm(Message):
    """The order code that the user scans."""

    payment_method_type: str | None = None
    expire_time: Timestamp | None = None
    code_details: tuple[CodeDetail, ...]
    extend_info: str | None = None

    def value(self, display_type: str) -> str | None:
        """Return the code value of one display type, None if there is none."""
        for detail in self.code_details:
            # Never by position, as one to four details come in any order.
            if detail.display_type == display_type:
                return detail.code_value
        return None


@message
class PayResponse(Message):
    """Alipay+'s answer to pay; the code comes with PAYMENT_IN_PROCESS."""

    result: Result
    acquirer_id: str | None = None
    payment_id: str | None = None
    payment_amount: Annotated[Amount, Decides()] | None = None
    order_code_form: OrderCodeForm | None = None


def check_expiry(expiry: Timestamp | None, now: datetime) -> None:
    """Raise InvalidValue for a paymentExpiryTime that Alipay+ would refuse or silently ignore.

    `now` is aware. Source: the seed page, "paymentExpiryTime": it must be shorter than the default
    of 3 minutes, otherwise the default takes effect.
    """
    if expiry is None:
        return
    left = expiry.moment - now
    if left <= timedelta(0):
        raise InvalidValue(
            f"paymentExpiryTime: found {expiry}, which has passed at {now.isoformat()}, expected a "
            "time within the next 3 minutes; leave it out to get the default"
        )
    if left >= DEFAULT_EXPIRY:
        raise InvalidValue(
            f"paymentExpiryTime: found {expiry}, {left.total_seconds():.0f} s from now, expected "
            "less than 180 s; Alipay+ ignores a later time, leave it out to get 3 minutes"
        )
