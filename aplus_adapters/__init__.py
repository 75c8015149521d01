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
        SignatureError,
        StoreError,
        TooManyAttempts,
        UnknownOrder,
        UnknownPayment,
        WouldDeadlock,
    )
    from aplus_adapters.payments.flows.prune import PruneReport
    from aplus_adapters.payments.flows.reconcile import ReconcileReport
    from aplus_adapters.payments.health import Health
    from aplus_adapters.payments.hooks import (
        AsyncHooks,
        AuthorizeDetails,
        ConflictDetails,
        Hooks,
        LoadOrderDetails,
        LogIn,
        OrderToPay,
        PaymentDetails,
        RefundDetails,
        Visitor,
    )
    from aplus_adapters.payments.model import (
        Attempt,
        Conflict,
        Observation,
        OrderCode,
        Outcome,
        Refund,
        RefundObservation,
        RefundState,
        RefundTransition,
        Source,
        State,
        Transition,
    )
    from aplus_adapters.payments.policy import Retry, Timing
    from aplus_adapters.payments.search import ConflictRecord, Page, PaymentFilter
    from aplus_adapters.payments.store import AsyncPaymentStore, PaymentStore
    from aplus_adapters.payments.timeline import Event
    from aplus_adapters.protocol.account import Environment
    from aplus_adapters.protocol.amounts import Amount
    from aplus_adapters.protocol.keys import KeyRing, PrivateKey, PublicKey
    from aplus_adapters.protocol.messages.order import Buyer, Goods, Merchant, Shipping
    from aplus_adapters.protocol.results import Rejected
    from aplus_adapters.protocol.signed_messages import acknowledge, verify_notification
    from aplus_adapters.runtime.client import AsyncClient, Client
    from aplus_adapters.runtime.clock import Clock
    from aplus_adapters.runtime.settings import Account
    from aplus_adapters.stores.async_sql import AsyncSQLStore
    from aplus_adapters.stores.django_store import DjangoStore
    from aplus_adapters.stores.memory import MemoryStore
    from aplus_adapters.stores.sql import SQLStore
    from aplus_adapters.web.brand import Brand
    from aplus_adapters.web.hooks import (
        AsyncOptionalHooks,
        OptionalHooks,
        RenderDetails,
        Rendering,
    )
    from aplus_adapters.web.page import PageDesign
    from aplus_adapters.web.view import PageState, PageView

__version__ = "0.1.0"
__all__ = [
    "Account",
    "Amount",
    "AplusError",
    "AplusPay",
    "AsyncClient",
    "AsyncHooks",
    "AsyncOptionalHooks",
    "AsyncPaymentStore",
    "AsyncSQLStore",
    "Attempt",
    "AuthorizeDetails",
    "Brand",
    "Buyer",
    "Client",
    "Clock",
    "ConfigurationError",
    "Conflict",
    "ConflictDetails",
    "ConflictRecord",
    "DjangoStore",
    "Environment",
    "Event",
    "Goods",
    "Health",
    "HookError",
    "Hooks",
    "InconsistentRetry",
    "InvalidValue",
    "KeyRing",
    "LoadOrderDetails",
    "LogIn",
    "MemoryStore",
    "Merchant",
    "MessageError",
    "NotSent",
    "NotificationError",
    "Observation",
    "OptionalHooks",
    "OrderChanged",
    "OrderCode",
    "OrderToPay",
    "Outcome",
    "OutcomeUnknown",
    "Page",
    "PageDesign",
    "PageState",
    "PageView",
    "PaymentDetails",
    "PaymentFilter",
    "PaymentStore",
    "PrivateKey",
    "PruneReport",
    "PublicKey",
    "ReconcileReport",
    "Refund",
    "RefundDetails",
    "RefundObservation",
    "RefundState",
    "RefundTransition",
    "Rejected",
    "RenderDetails",
    "Rendering",
    "Retry",
    "SQLStore",
    "Shipping",
    "SignatureError",
    "Source",
    "State",
    "StoreError",
    "Timing",
    "TooManyAttempts",
    "Transition",
    "UnknownOrder",
    "UnknownPayment",
    "Visitor",
    "WouldDeadlock",
    "acknowledge",
    "verify_notification",
]

if not TYPE_CHECKING:  # so that a misspelt name is an error of every type checker
    _HOMES = {
        "aplus_pay": ("AplusPay"),
        "errors": (
            "AplusError ConfigurationError HookError InconsistentRetry InvalidValue "
            "MessageError NotSent NotificationError OrderChanged OutcomeUnknown "
            "SignatureError StoreError TooManyAttempts UnknownOrder UnknownPayment "
            "WouldDeadlock"
        ),
        "payments.flows.prune": ("PruneReport"),
        "payments.flows.reconcile": ("ReconcileReport"),
        "payments.hooks": (
            "AsyncHooks AuthorizeDetails ConflictDetails Hooks LoadOrderDetails LogIn OrderToPay "
            "PaymentDetails RefundDetails Visitor"
        ),
        "payments.model": (
            "Attempt Conflict Observation OrderCode Outcome Refund RefundObservation RefundState "
            "RefundTransition Source State Transition"
        ),
        "payments.policy": ("Retry Timing"),
        "payments.health": ("Health"),
        "payments.search": ("ConflictRecord Page PaymentFilter"),
        "payments.store": ("AsyncPaymentStore PaymentStore"),
        "payments.timeline": ("Event"),
        "protocol.account": ("Environment"),
        "runtime.settings": ("Account"),
        "protocol.amounts": ("Amount"),
        "protocol.keys": ("KeyRing PrivateKey PublicKey"),
        "protocol.messages.order": ("Buyer Goods Merchant Shipping"),
        "protocol.results": ("Rejected"),
        "protocol.signed_messages": ("acknowledge verify_notification"),
        "runtime.client": ("AsyncClient Client"),
        "runtime.clock": ("Clock"),
        "stores.async_sql": ("AsyncSQLStore"),
        "stores.django_store": ("DjangoStore"),
        "stores.memory": ("MemoryStore"),
        "stores.sql": ("SQLStore"),
        "web.brand": ("Brand"),
        "web.hooks": ("AsyncOptionalHooks OptionalHooks RenderDetails Rendering"),
        "web.page": ("PageDesign"),
        "web.view": ("PageState PageView"),
    }
    _HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

    def __getattr__(name: str) -> Any:
        """Load a public name from the module that owns it."""
        if name not in _HOME_OF:
            raise AttributeError(f"module 'aplus_adapters' has no attribute {name!r}")
        value = getattr(import_module(f"aplus_adapters.{_HOME_OF[name]}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        """List the public names, loaded or not."""
        return sorted({*globals(), *__all__})
