"""Payments by Alipay+ order code for every Python web framework.

The public names, loaded when they are first used: importing the package loads no framework, no
database library and no HTTP client.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aplus_adapters.aplus_pay import AplusPay
    from aplus_adapters.errors import (
        AplusError,
        ConfigurationError,
        HookError,
        InconsistentRetry,
        InvalidValue,
        MessageError,
        NotificationError,
        NotSent,
        OrderChanged,
        OutcomeUnknown,
        Rejected,
        SignatureError,
        StoreError,
        TooManyAttempts,
        UnknownOrder,
        UnknownPayment,
    )
    from aplus_adapters.payments.flows.reconcile import Round
    from aplus_adapters.payments.hooks import (
        AuthorizeDetails,
        ConflictDetails,
        Hooks,
        OrderDetails,
        OrderToPay,
        PaymentDetails,
        RefundDetails,
        RenderDetails,
        Rendering,
        Visitor,
    )
    from aplus_adapters.payments.model import (
        Attempt,
        Conflict,
        News,
        Observation,
        OrderCode,
        Refund,
        RefundState,
        Source,
        State,
        Transition,
    )
    from aplus_adapters.payments.policy import Retry, Rules
    from aplus_adapters.payments.store import PaymentStore
    from aplus_adapters.protocol.account import Account, Environment
    from aplus_adapters.protocol.amounts import Amount
    from aplus_adapters.protocol.keys import KeyRing, PrivateKey, PublicKey
    from aplus_adapters.protocol.messages.cancel import CancelRequest, CancelResponse
    from aplus_adapters.protocol.messages.inquiry import InquiryRequest, InquiryResponse
    from aplus_adapters.protocol.messages.notification import PaymentNotification
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
    from aplus_adapters.protocol.signed_messages import acknowledge, verify_notification
    from aplus_adapters.protocol.timestamps import Timestamp
    from aplus_adapters.runtime.client import AsyncClient, Client
    from aplus_adapters.stores.memory import MemoryStore
    from aplus_adapters.stores.sql import SQLStore
    from aplus_adapters.web.page import PageDesign

_HOMES = {
    "errors": (
        "AplusError ConfigurationError HookError InconsistentRetry InvalidValue MessageError "
        "NotSent NotificationError OrderChanged OutcomeUnknown Rejected SignatureError StoreError "
        "TooManyAttempts UnknownOrder UnknownPayment"
    ),
    "aplus_pay": "AplusPay",
    "payments.model": (
        "Attempt Conflict News Observation OrderCode Refund RefundState Source State Transition"
    ),
    "payments.hooks": (
        "AuthorizeDetails ConflictDetails Hooks OrderDetails OrderToPay PaymentDetails "
        "RefundDetails RenderDetails Rendering Visitor"
    ),
    "payments.flows.reconcile": "Round",
    "payments.policy": "Retry Rules",
    "payments.store": "PaymentStore",
    "protocol.account": "Account Environment",
    "protocol.amounts": "Amount",
    "protocol.keys": "KeyRing PrivateKey PublicKey",
    "protocol.signed_messages": "acknowledge verify_notification",
    "protocol.messages.cancel": "CancelRequest CancelResponse",
    "protocol.messages.inquiry": "InquiryRequest InquiryResponse",
    "protocol.messages.notification": "PaymentNotification",
    "protocol.messages.order": ("Address Buyer Env Goods Merchant Order Shipping Store UserName"),
    "protocol.messages.pay": "PayRequest PayResponse SettlementStrategy",
    "protocol.messages.refund": "RefundRequest RefundResponse",
    "protocol.messages.result": "Result",
    "runtime.client": "AsyncClient Client",
    "protocol.timestamps": "Timestamp",
    "stores.memory": "MemoryStore",
    "stores.sql": "SQLStore",
    "web.page": "PageDesign",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

__version__ = "0.1.0"
__all__ = [
    "Account",
    "Address",
    "Amount",
    "AplusError",
    "AplusPay",
    "AsyncClient",
    "Attempt",
    "AuthorizeDetails",
    "Buyer",
    "CancelRequest",
    "CancelResponse",
    "Client",
    "ConfigurationError",
    "Conflict",
    "ConflictDetails",
    "Env",
    "Environment",
    "Goods",
    "HookError",
    "Hooks",
    "InconsistentRetry",
    "InquiryRequest",
    "InquiryResponse",
    "InvalidValue",
    "KeyRing",
    "MemoryStore",
    "Merchant",
    "MessageError",
    "News",
    "NotSent",
    "NotificationError",
    "Observation",
    "Order",
    "OrderChanged",
    "OrderCode",
    "OrderDetails",
    "OrderToPay",
    "OutcomeUnknown",
    "PageDesign",
    "PayRequest",
    "PayResponse",
    "PaymentDetails",
    "PaymentNotification",
    "PaymentStore",
    "PrivateKey",
    "PublicKey",
    "Refund",
    "RefundDetails",
    "RefundRequest",
    "RefundResponse",
    "RefundState",
    "Rejected",
    "RenderDetails",
    "Rendering",
    "Result",
    "Retry",
    "Round",
    "Rules",
    "SQLStore",
    "SettlementStrategy",
    "Shipping",
    "SignatureError",
    "Source",
    "State",
    "Store",
    "StoreError",
    "Timestamp",
    "TooManyAttempts",
    "Transition",
    "UnknownOrder",
    "UnknownPayment",
    "UserName",
    "Visitor",
    "acknowledge",
    "verify_notification",
]


def __getattr__(name: str) -> Any:
    """Load a public name from the module that owns it."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'aplus_adapters' has no attribute {name!r}")
    found = getattr(import_module(f"aplus_adapters.{_HOME_OF[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__})
