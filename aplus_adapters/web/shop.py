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
    """The flows' setup, the shop's name and design of the page, which optional hooks there are.

    `trusted_origins` are the other sites whose pages may post, such as `https://shop.example`.
    """

    setup: Setup
    name: str | None = None
    optional_hooks: frozenset[str] = frozenset()
    design: PageDesign = field(factory=PageDesign)
    trusted_origins: frozenset[str] = frozenset()
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
                "the notification route is mounted at %r but the notify URL's path is %s: Alipay+ "
                "will not reach it; correct APLUS_NOTIFY_URL (or APLUS_SIGNED_PATH), or mount "
                "the routes accordingly",
                seen[:200],
                ", ".join(signed),
            )

    def is_foreign(self, request: HttpRequest) -> bool:
        """Tell whether a page of a site that the shop does not trust makes a buyer's browser post.

        Every browser says so of its own accord (Fetch Metadata, W3C), so that no token is needed;
        who is no browser (Alipay+, a till) does not say it. A GET changes nothing and may come from
        anywhere.
        """
        if request.header("sec-fetch-site") != "cross-site":
            return False
        origin = request.header("origin") or "null"
        if origin in self.trusted_origins:
            return False
        log.warning(
            "POST refused: a page of %r sent it; if that is the shop's own, name it in "
            "AplusPay(trusted_origins=...)",
            origin[:200],
        )
        return True


def visitor_of(request: HttpRequest) -> Visitor:
    """Say who asks."""
    return Visitor(
        user_agent=request.header("user-agent"),
        client_ip=request.client_ip or None,  # empty behind a Unix socket
        accept_language=request.header("accept-language"),
        native=request.native,
    )
