"""What messages say about the settlement of a payment."""

from decimal import Decimal

from aplus_adapters.protocol.messages.base import Message, message
from aplus_adapters.protocol.timestamps import Timestamp

__all__ = ["SettlementQuote"]


@message
class SettlementQuote(Message):
    """The exchange rate between payment and settlement currency; `quote_price` is exact."""

    quote_id: str | None = None
    quote_currency_pair: str | None = None
    quote_price: Decimal | None = None  # worth keeping: Alipay+'s reports carry no rate
    quote_start_time: Timestamp | None = None
    quote_expiry_time: Timestamp | None = None
    base_currency: str | None = None
    quote_unit: str | None = None
