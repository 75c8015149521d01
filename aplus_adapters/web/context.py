"""Hold what the endpoints of one shop share, and warn once about a wrong mount or lifespan."""

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

_MAX_MOUNTS = 8  # for one process: strangers choose paths, and must not fill the memory

__all__ = ["WebContext", "visitor_of"]


@frozen(kw_only=True)
class WebContext:
    """The flows' config, the shop's name and page design, and its optional hooks.

    `trusted_origins` are the other sites whose pages may post, such as `https://shop.example`.
    """

    config: PaymentConfig
    name: str | None = None
    optional_hooks: frozenset[str] = frozenset()
    design: PageDesign = field(factory=PageDesign)
    trusted_origins: frozenset[str] = frozenset()
    _compared: set[str] = field(factory=set, init=False, repr=False, eq=False)
    _lifespan: set[str] = field(factory=set, init=False, repr=False, eq=False)

    def compare_mount(self, seen: str) -> None:
        """Log one warning per mount if the notification route is not where the notify URL says.

        `seen` is the path of that route as this process sees it: at start if the adapter knows it,
        otherwise at the first request. A proxy may add or remove a prefix, so one of both paths
        must end in the other. Only the configured path is ever signed, because a request does not
        show the path that Alipay+ called (design, section 7).
        """
        if seen in self._compared or len(self._compared) >= _MAX_MOUNTS:
            return
        self._compared.add(seen)
        signed = [account.signed_path for account in self.config.accounts.values()]
        if not any(seen.endswith(path) or path.endswith(seen) for path in signed):
            log.warning(
                "the notification route is mounted at %r but the notify URL's path is %s: Alipay+ "
                "will not reach it; correct APLUS_NOTIFY_URL (or APLUS_SIGNED_PATH), or mount "
                "the routes accordingly",
                seen[:200],
                ", ".join(signed),
            )

    def note_lifespan(self) -> None:
        """Note that the application passes its lifespan on."""
        self._lifespan.add("noted")

    def check_lifespan(self, request: HttpRequest) -> None:
        """Log one warning if an ASGI application sends a request without its lifespan before."""
        if self._lifespan or not request.can_stream:  # WSGI has no lifespan
            return
        self._lifespan.add("missed")
        log.warning(
            "found no lifespan at the first request, expected lifespan=pay.lifespan given to the "
            "outermost Starlette or FastAPI (a mounted one's is not run), or `async with "
            "pay.lifespan():` in your own; without it connections to Alipay+ and threads stay open "
            "when the server ends"
        )

    def is_foreign(self, request: HttpRequest) -> bool:
        """Return whether a page of a site that the shop does not trust makes a browser post."""
        own = [account.notify_url for account in self.config.accounts.values()]
        return is_foreign(request, own_addresses=own, trusted_origins=self.trusted_origins)


def visitor_of(request: HttpRequest) -> Visitor:
    """Return the visitor who sent a request."""
    return Visitor(
        user_agent=request.header("user-agent"),
        client_ip=request.client_ip or None,  # empty behind a Unix socket
        accept_language=request.header("accept-language"),
        native=request.native,
    )
