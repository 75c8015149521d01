"""What the endpoints of one shop share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from aplus_adapters.payments.hooks import Visitor

if TYPE_CHECKING:
    from aplus_adapters.payments.setup import Setup
    from aplus_adapters.web.http import HttpRequest

__all__ = ["ShopFront", "visitor_of"]


@frozen(kw_only=True)
class ShopFront:
    """The flows' setup, the shop's name for the page, and which optional hooks there are."""

    setup: Setup
    name: str | None = None
    optional_hooks: frozenset[str] = frozenset()


def visitor_of(request: HttpRequest) -> Visitor:
    """Say who asks."""
    return Visitor(
        user_agent=request.header("user-agent"),
        client_ip=request.client_ip,
        accept_language=request.header("accept-language"),
        native=request.native,
    )
