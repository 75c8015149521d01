"""The hooks that a shop implements, sync or async. Each takes one frozen details object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol

from attrs import field, frozen

from aplus_adapters.errors import InvalidValue
from aplus_adapters.payments import order_checks
from aplus_adapters.payments.order_checks import check_order_ref
from aplus_adapters.protocol.messages.order import Buyer, Goods, Merchant, Shipping

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from datetime import timedelta

    from aplus_adapters.payments.model import (
        Attempt,
        Conflict,
        Observation,
        Refund,
        RefundObservation,
    )
    from aplus_adapters.protocol.amounts import Amount

if TYPE_CHECKING:  # defaults of type variables are in `typing` since Python 3.13
    from typing_extensions import TypeVar

    C_co = TypeVar("C_co", covariant=True, default=Any)
    C_contra = TypeVar("C_contra", contravariant=True, default=Any)
else:
    from typing import TypeVar

    C_co = TypeVar("C_co", covariant=True)
    C_contra = TypeVar("C_contra", contravariant=True)

__all__ = [
    "OPTIONAL_HOOKS",
    "REQUIRED_HOOKS",
    "AsyncHooks",
    "AuthorizeDetails",
    "ConflictDetails",
    "Hooks",
    "LoadOrderDetails",
    "LogIn",
    "OrderToPay",
    "PaymentDetails",
    "RefundDetails",
    "Visitor",
]

# A conflict may mean that money has to go back, so its hook is not optional.
REQUIRED_HOOKS = ("load_order", "payment_changed", "payment_conflict")
OPTIONAL_HOOKS = ("render_order_code", "render_receipt", "authorize", "refund_changed")


@frozen(kw_only=True)
class Visitor:
    """The buyer's browser or till. `native` is the framework's own request object."""

    user_agent: str | None = None
    client_ip: str | None = field(default=None, repr=False)
    accept_language: str | None = None
    native: Any = field(default=None, repr=False, eq=False)


@frozen(kw_only=True)
class LoadOrderDetails:
    """The argument of `load_order`: the order that the visitor wants to pay."""

    order_ref: str
    visitor: Visitor


def _as_tuple(goods: Any) -> Any:
    return tuple(goods) if isinstance(goods, list) else goods


@frozen(kw_only=True)
class OrderToPay:
    """The result of `load_order`: what the order costs, decided on the server.

    `description` (1 to 256 characters) is shown to the buyer. `order_ref` is the order's canonical
    reference. Set it if the shop's lookup is lenient: `1001`, ` 1001` and `01001` would otherwise
    be three orders here. `expires_in` shortens the 3 minutes that a code lives. `return_url` is
    where the buyer goes after paying: an address, or a path on the notify URL's host
    (`/orders/17`); by default the payment's page. `client_id` chooses among several accounts.

    Raises InvalidValue for a wrong value, in the line of the shop that creates it.
    """

    amount: Amount
    description: str
    order_ref: str | None = None
    merchant: Merchant | None = None
    goods: tuple[Goods, ...] | None = field(default=None, converter=_as_tuple)
    buyer: Buyer | None = field(default=None, repr=False)
    shipping: Shipping | None = field(default=None, repr=False)
    expires_in: timedelta | None = None
    return_url: str | None = None
    settlement_currency: str | None = None
    split_settlement_id: str | None = None
    client_id: str | None = None

    def __attrs_post_init__(self) -> None:
        """Raise InvalidValue here for what would fail later, far from the shop's line."""
        order_checks.check_amount(self.amount)
        # Longer ones do not fit into orderDescription and referenceOrderId, which they become.
        order_checks.check_text("description", self.description, 256)
        if self.order_ref is not None:
            check_order_ref("OrderToPay order_ref", self.order_ref)
        order_checks.check_kind("merchant", self.merchant, Merchant)
        order_checks.check_kind("buyer", self.buyer, Buyer)
        order_checks.check_kind("shipping", self.shipping, Shipping)
        if self.goods is not None and not (
            isinstance(self.goods, tuple) and all(isinstance(item, Goods) for item in self.goods)
        ):
            raise InvalidValue(
                f"OrderToPay goods: found {type(self.goods).__name__}, expected a list or tuple of "
                "Goods; write [Goods(goods_name='ticket')]"
            )
        if self.expires_in is not None:
            order_checks.check_expires_in(self.expires_in)
        if self.return_url is not None:
            order_checks.check_return_url(self.return_url)
        if self.settlement_currency is not None:
            order_checks.check_currency("settlement_currency", self.settlement_currency)
        if self.split_settlement_id is not None:
            order_checks.check_text("split_settlement_id", self.split_settlement_id, 16)
        if self.client_id is not None:
            order_checks.check_text("client_id", self.client_id, 128)


@frozen(kw_only=True)
class PaymentDetails(Generic[C_co]):
    """The argument of `payment_changed`: the attempt became final.

    `connection` is the store's open transaction, if it has one (SQLStore: a SQLAlchemy Connection,
    or a Session if the store uses the shop's sessions). What is written through it is committed
    together with the payment. `PaymentDetails[Session]` declares its type. The hook is called once
    per attempt; it is called again only if it raised or the transaction failed. `observation` is a
    RefundObservation if the refund of a conflict's money ended the attempt.
    """

    attempt: Attempt
    observation: Observation | RefundObservation
    connection: C_co = field(repr=False)


@frozen(kw_only=True)
class RefundDetails(Generic[C_co]):
    """The argument of `refund_changed`: a refund succeeded or failed for good.

    `connection` and the promises are those of PaymentDetails.
    """

    attempt: Attempt
    refund: Refund
    observation: RefundObservation
    connection: C_co = field(repr=False)


@frozen(kw_only=True)
class ConflictDetails:
    """The argument of `payment_conflict`: records disagree, money may have to be refunded.

    The hook is called until it returns, at least once per conflict.
    """

    conflict: Conflict

    @property
    def attempt(self) -> Attempt:
        """Return the attempt as it stays."""
        return self.conflict.attempt


@frozen(kw_only=True)
class AuthorizeDetails:
    """The argument of `authorize`: may the visitor pay (no `attempt` yet) or see `attempt`."""

    order_ref: str
    attempt: Attempt | None
    visitor: Visitor


@frozen
class LogIn:
    """A result of `authorize`, next to true and false: the visitor has to log in first, at `url`.

    `url` is a path on the shop's host or a whole address; put into it where the shop should lead
    the visitor afterwards. A browser is redirected there; JSON is answered with the status 401.
    Raises InvalidValue for what a browser may read as something else.
    """

    url: str

    def __attrs_post_init__(self) -> None:
        """Raise InvalidValue here, in the line of the shop that writes the address."""
        order_checks.check_return_url(self.url, "url", "LogIn ")


class Hooks(Protocol[C_contra]):
    """The required hooks of a shop that blocks; those of OPTIONAL_HOOKS are looked for by name.

    An object with these methods is enough; there is nothing to inherit from. `C_contra` is the type
    of the connection that the store passes to hooks.
    """

    def load_order(self, details: LoadOrderDetails, /) -> OrderToPay | None:
        """Return what the order costs; None if there is no such order to pay."""
        ...

    def payment_changed(self, details: PaymentDetails[C_contra], /) -> None:
        """Record that a payment is paid, failed or cancelled, in the store's transaction."""
        ...

    def payment_conflict(self, details: ConflictDetails, /) -> None:
        """Notify a person that money and records disagree."""
        ...


class AsyncHooks(Protocol[C_contra]):
    """The same for a shop that is served by ASGI: each hook may be async."""

    def load_order(
        self, details: LoadOrderDetails, /
    ) -> Awaitable[OrderToPay | None] | OrderToPay | None:
        """Return what the order costs; None if there is no such order to pay."""
        ...

    def payment_changed(self, details: PaymentDetails[C_contra], /) -> Awaitable[None] | None:
        """Record that a payment is paid, failed or cancelled, in the store's transaction."""
        ...

    def payment_conflict(self, details: ConflictDetails, /) -> Awaitable[None] | None:
        """Notify a person that money and records disagree."""
        ...
