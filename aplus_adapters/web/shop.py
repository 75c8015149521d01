"""What the endpoints of one shop share."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from attrs import field, frozen

from aplus_adapters.payments.hooks import Visitor
from aplus_adapters.web.page import PageDesign

if TYPE_CHECKING:
    from aplus_adapters.payments.setup import Setup
    from aplus_adapters.web.http import HttpRequest

log = logging.getLogger("aplus_adapters")

__all__ = ["ShopFront", "visitor_of"]


@frozen(kw_only=True)
class ShopFront:
    """The flows' setup, the shop's name and design of the page, which optional hooks there are."""

    setup: Setup
    name: str | None = None
    optional_hooks: frozenset[str] = frozenset()
    design: PageDesign = field(factory=PageDesign)
    _compared: set[str] = field(factory=set, init=False, repr=False, eq=False)

    def compare_mount(self, seen: str) -> None:
        """Log one warning if the notification route is not where the notify URL says.

        `seen` is the path of that route as this process sees it. A proxy may have put something
        before it or taken it away, so that one of both paths has to end in the other. The signed
        path is the configured one all the same: a request does not know it (design, section 7).
        """
        if self._compared:
            return
        self._compared.add(seen)
        signed = [account.signed_path for account in self.setup.accounts.values()]
        if not any(seen.endswith(path) or path.endswith(seen) for path in signed):
            log.warning(
                "the notification route is mounted at %s but the notify URL's path is %s: Alipay+ "
                "will not reach it; correct APLUS_NOTIFY_URL (or APLUS_SIGNED_PATH), or mount "
                "the routes accordingly",
                seen[:200],
                ", ".join(signed),
            )


def visitor_of(request: HttpRequest) -> Visitor:
    """Say who asks."""
    return Visitor(
        user_agent=request.header("user-agent"),
        client_ip=request.client_ip,
        accept_language=request.header("accept-language"),
        native=request.native,
    )
