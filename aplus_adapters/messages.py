"""The messages of Alipay+, for programs that build or read them without `AplusPay`.

A shop that uses `AplusPay` needs only the parts of an order: Goods, Merchant, Buyer, Shipping.
"""

from aplus_adapters.protocol.messages.cancel import CancelRequest, CancelResponse
from aplus_adapters.protocol.messages.inquiry import InquiryRequest, InquiryResponse
from aplus_adapters.protocol.messages.notification import (
    ACKNOWLEDGED,
    NOT_ACKNOWLEDGED,
    PaymentNotification,
)
from aplus_adapters.protocol.messages.order import (
    Address,
    Buyer,
    Env,
    Goods,
    Merchant,
    Order,
    Shipping,
    Store,
    UserName,
)
from aplus_adapters.protocol.messages.pay import PayRequest, PayResponse, SettlementStrategy
from aplus_adapters.protocol.messages.refund import RefundRequest, RefundResponse
from aplus_adapters.protocol.messages.result import Result
from aplus_adapters.protocol.timestamps import Timestamp

__all__ = [
    "ACKNOWLEDGED",
    "NOT_ACKNOWLEDGED",
    "Address",
    "Buyer",
    "CancelRequest",
    "CancelResponse",
    "Env",
    "Goods",
    "InquiryRequest",
    "InquiryResponse",
    "Merchant",
    "Order",
    "PayRequest",
    "PayResponse",
    "PaymentNotification",
    "RefundRequest",
    "RefundResponse",
    "Result",
    "SettlementStrategy",
    "Shipping",
    "Store",
    "Timestamp",
    "UserName",
]
