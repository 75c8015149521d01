"""The order that a pay request carries: merchant, goods, buyer, shipping and environment.

Lengths that are known for Alipay+ itself are enforced; those known only from its sister API are
not, so that nothing legal is refused.
"""

from typing import Annotated, ClassVar

from aplus_adapters.protocol.amounts import Amount
from aplus_adapters.protocol.messages.base import Key, Message, OneOf, Text, message
from aplus_adapters.protocol.timestamps import Timestamp

__all__ = [
    "Address",
    "Buyer",
    "Env",
    "Goods",
    "IndirectAcquirer",
    "Merchant",
    "Order",
    "Shipping",
    "Store",
    "UserName",
]


@message
class Address(Message):
    """A postal address; `region` is an ISO 3166-1 alpha-2 code."""

    personal: ClassVar[bool] = True

    region: Annotated[str, Text(2)] | None = None
    state: str | None = None
    city: str | None = None
    address1: str | None = None
    address2: str | None = None
    zip_code: str | None = None


@message
class Store(Message):
    """The merchant's shop in which the buyer stands; MCC is its ISO 18245 category."""

    reference_store_id: str | None = None
    store_name: str | None = None
    store_display_name: str | None = None
    store_mcc: Annotated[str, Text(4), Key("storeMCC")] | None = None
    store_terminal_id: str | None = None
    store_operator_id: str | None = None
    store_phone_no: str | None = None
    store_address: Address | None = None


@message
class Merchant(Message):
    """The merchant that sells; `reference_merchant_id` is the acquirer's id for it."""

    reference_merchant_id: str | None = None
    merchant_name: str | None = None
    merchant_display_name: str | None = None
    merchant_mcc: Annotated[str, Text(4), Key("merchantMCC")] | None = None
    merchant_register_date: Timestamp | None = None
    merchant_address: Address | None = None  # its region decides on the fee
    store: Store | None = None


@message
class UserName(Message):
    """A person's name, in parts or whole."""

    personal: ClassVar[bool] = True

    first_name: Annotated[str, Text(32)] | None = None
    middle_name: Annotated[str, Text(32)] | None = None
    last_name: Annotated[str, Text(32)] | None = None
    full_name: Annotated[str, Text(128)] | None = None


@message
class Goods(Message):
    """One line of the order; `goods_quantity` counts pieces."""

    reference_goods_id: str | None = None
    goods_name: str | None = None
    goods_category: str | None = None
    goods_brand: str | None = None
    goods_unit_amount: Amount | None = None
    goods_quantity: int | None = None


@message
class Buyer(Message):
    """The person who pays, as far as the shop knows."""

    personal: ClassVar[bool] = True

    reference_buyer_id: str | None = None
    buyer_name: UserName | None = None
    buyer_phone_no: str | None = None
    buyer_email: str | None = None


@message
class Shipping(Message):
    """Where the goods go."""

    personal: ClassVar[bool] = True

    shipping_name: UserName | None = None
    shipping_address: Address | None = None
    shipping_carrier: str | None = None
    shipping_phone_no: str | None = None


@message
class Env(Message):
    """Where the order is placed from; an order code needs `user_agent` (seed page, "order").

    Alipay+ removed the last five fields from pay (release 1.6.1): they are sent only where the shop
    sets them itself.
    """

    personal: ClassVar[bool] = True

    terminal_type: Annotated[str, OneOf("WEB", "APP", "WAP", "MINI_APP")] | None = None
    os_type: Annotated[str, OneOf("IOS", "ANDROID")] | None = None
    user_agent: str | None = None
    device_token_id: str | None = None
    client_ip: str | None = None
    cookie_id: str | None = None
    store_terminal_id: str | None = None
    store_terminal_request_time: Timestamp | None = None


@message
class IndirectAcquirer(Message):
    """The acquirer behind the one that sends."""

    reference_acquirer_id: str | None = None
    acquirer_name: str | None = None
    acquirer_address: Address | None = None


@message
class Order(Message):
    """What is bought; `reference_order_id` is the shop's own order id."""

    reference_order_id: Annotated[str, Text(64)]
    order_description: Annotated[str, Text(256)]
    order_amount: Amount
    merchant: Merchant | None = None
    goods: tuple[Goods, ...] | None = None
    shipping: Shipping | None = None
    buyer: Buyer | None = None
    env: Env
    indirect_acquirer: IndirectAcquirer | None = None
