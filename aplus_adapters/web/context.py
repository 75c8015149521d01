"""What the endpoints of one shop share: its set-up, and the warnings that are logged once."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from attrs import field, frozen

from aplus_adapters.payments.hooks import Visitor
from aplus_adapters.web.origins import is_foreign
from aplus_adapters.web.page import PageDesign

if TYPE_CHECKING:
    from aplus_adapters.payments.policy import PaymentConfig
    from aplus_adapters.web.http import HttpRequest

log = logging.getLogger("aplus_adapters")

_MAX_MOUNTS = 8  # strangers choose the paths of requests, so the set of paths must not grow

__all__ = ["WebContext", "visitor_of"]


@frozen(kw_only=True)
class WebContext:
    """The set-up of one shop: the config of its flows, its name, its page and its optional hooks.

    `trusted_origins` are the other sites whose pages may post, such as `https://shop.example`.
    """

    config: PaymentConfig
    name: str | None = None
    optional_hooks: frozenset[str] = frozenset()
    design: PageDesign = field(factory=PageDesign)
    trusted_origins: frozenset[str] = frozenset()
    _compared: set[str] = field(factory=set, init=False, repr=False, eq=False)
    _lifespan: set[str] = field(factory=set, init=False, repr=False, eq=False)

    def compare_mount(self, mounted_path: str) -> None:
        """Log one warning per mount if the notify URL does not lead to the notification route.

        `mounted_path` is the path of that route in this process, which some adapters know only at
        the first request. Signatures are always checked with the configured path, because a request
        does not show the path that Alipay+ signed (design, section 7).
        """
        if mounted_path in self._compared or len(self._compared) >= _MAX_MOUNTS:
            return
        self._compared.add(mounted_path)
        signed = [account.signed_path for account in self.config.accounts.values()]
        # A proxy may add or remove a prefix: the paths agree if either of them ends in the other.
        if not any(mounted_path.endswith(path) or path.endswith(mounted_path) for path in signed):
            log.warning(
                "found the notification route mounted at %r, expected it at the notify URL's path "
                "%s: Alipay+ will not reach it; correct APLUS_NOTIFY_URL (or APLUS_SIGNED_PATH), "
                "or mount the routes there",
                mounted_path[:200],
                ", ".join(signed),
                extra={"event": "notify_path_differs"},
            )

    def note_lifespan(self) -> None:
        """Note that the application will call `aclose` when it ends."""
        self._lifespan.add("noted")

    def check_lifespan(self, request: HttpRequest) -> None:
        """Log one warning if an ASGI application sends a request and never ran our lifespan."""
        if self._lifespan or not request.can_stream:  # only ASGI applications can stream
            return
        self._lifespan.add("missed")
        log.warning(
            "found no lifespan at the first request, expected lifespan=pay.lifespan given to the "
            "outermost Starlette or FastAPI (that of a mounted one is not run), or `async with "
            "pay.lifespan():` in your own; without it connections to Alipay+ and threads stay open "
            "when the server ends",
            extra={"event": "lifespan_missing"},
        )

    def is_foreign(self, request: HttpRequest) -> bool:
        """Return whether a page of a site that the shop does not trust sent this POST."""
        own_urls = [account.notify_url for account in self.config.accounts.values()]
        return is_foreign(request, own_addresses=own_urls, trusted_origins=self.trusted_origins)


def visitor_of(request: HttpRequest) -> Visitor:
    """Return the visitor who sent a request, for the shop's hooks."""
    return Visitor(
        user_agent=request.header("user-agent"),
        client_ip=request.client_ip or None,  # empty behind a Unix socket
        accept_language=request.header("accept-language"),
        native=request.native,
    )
