"""A page's view."""

from datetime import UTC, datetime, timedelta

from aplus_adapters.protocol.amounts import Amount
from aplus_adapters.web.view import PageState, PageView

CODE = "https://codes.example/281000000000000000000000000000000000"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
VIEW = PageView(
    state=PageState.WAITING,
    payment_request_id="0123456789abcdef",
    order_ref="ORDER-1",
    description="Two tickets",
    shop_name="Corner Shop",
    amount=Amount("USD", 123450),
    code_text=CODE,
    expires_at=NOW + timedelta(minutes=9, seconds=5),
    now=NOW,
    status_url="0123456789abcdef/status",
    assets_url="../assets",
    new_code_url="0123456789abcdef/new",
    return_url="https://shop.example/orders/1",
    wallet_url=CODE,
    reason=None,
)
