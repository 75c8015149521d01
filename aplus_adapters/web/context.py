"""What the endpoints of one shop share."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from attrs import field, frozen

from aplus_adapters.payments.hooks import Visitor
from aplus_adapters.web.page import PageDesign

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aplus_adapters.payments.setup import Setup
    from aplus_adapters.web.http import HttpRequest

log = logging.getLogger("aplus_adapters")

_MOUNTS = 8  # of one shop in one process: paths come from requests too, and must not add up

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
    _lifespan: set[str] = field(factory=set, init=False, repr=False, eq=False)

    def compare_mount(self, seen: str) -> None:
        """Log one warning per mount if the notification route is not where the notify URL says.

        `seen` is the path of that route as this process sees it: at start where the adapter knows
        it, otherwise at the first request. A proxy may have put something before it or taken it
        away, so that one of both paths has to end in the other. The signed path is the configured
        one all the same: a request does not know it (design, section 7).
        """
        if seen in self._compared or len(self._compared) >= _MOUNTS:
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

    def note_lifespan(self) -> None:
        """Note that the application's end will be heard of."""
        self._lifespan.add("noted")

    def check_lifespan(self, request: HttpRequest) -> None:
        """Log one warning if an ASGI application asks us without having given us its lifespan."""
        if self._lifespan or not request.can_stream:  # which every ASGI application can
            return
        self._lifespan.add("missed")
        log.warning(
            "found no lifespan at the first request, expected lifespan=pay.lifespan given to the "
            "outermost Starlette or FastAPI (a mounted one's is not run), or `async with "
            "pay.lifespan():` in your own; without it connections to Alipay+ and threads stay open "
            "when the server ends"
        )

    def is_foreign(self, request: HttpRequest) -> bool:
        """Return whether a page of a site that the shop does not trust makes a browser post.

        Every browser says so of its own accord, so that no token is needed: by Fetch Metadata
        (W3C), or where that is missing (old browsers, plain http) by Origin. Who is no browser
        (Alipay+, a till) says neither. A GET changes nothing and may come from anywhere.
        """
        site = request.header("sec-fetch-site")
        origin = request.header("origin")
        if site is None:
            is_ours = origin is None or self._is_own(origin, request)
        else:
            is_ours = site != "cross-site"
        if is_ours or origin in self.trusted_origins:
            return False
        log.warning(
            "POST refused: a page of %r sent it; if that is the shop's own, name it in "
            "AplusPay(trusted_origins=...); if it is 'null', its Referrer-Policy is no-referrer "
            "(same-origin does not hide it from the shop itself)",
            (origin or "null")[:200],
        )
        return True

    def _is_own(self, origin: str, request: HttpRequest) -> bool:
        """Return whether an Origin is a page of the host that was asked.

        Proxies may change Host: what they pass on about it counts too, as no page of another site
        can set these headers, and so does the notify URL, the shop's public address. Ports do not
        count, as proxies drop them and cookies do not know them; neither does the scheme, which
        this process cannot know behind TLS.
        """
        if not origin.startswith(("https://", "http://")):
            return False
        host = _host(origin)
        own = {_host(f"//{value.strip()}") for value in _hosts_of(request)}
        own |= {_host(account.notify_url) for account in self.setup.accounts.values()}
        return bool(host) and host in own


def _hosts_of(request: HttpRequest) -> Iterator[str]:
    """Return what the browser asked for, by each header that may say it."""
    yield request.header("host") or ""
    yield from (request.header("x-forwarded-host") or "").split(",")
    for part in re.split("[;,]", request.header("forwarded") or ""):
        name, _, value = part.partition("=")
        if name.strip().lower() == "host":
            yield value.strip().strip('"')


def _host(address: str) -> str:
    """Return an address's host in lower case, empty if it has none that can be read."""
    try:
        return (urlsplit(address.strip()).hostname or "").rstrip(".")
    except ValueError:
        return ""


def visitor_of(request: HttpRequest) -> Visitor:
    """Return who asks."""
    return Visitor(
        user_agent=request.header("user-agent"),
        client_ip=request.client_ip or None,  # empty behind a Unix socket
        accept_language=request.header("accept-language"),
        native=request.native,
    )
