"""The rule whose pages may post: the shop's own pages and those of sites that it trusts."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aplus_adapters.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from aplus_adapters.web.http import HttpRequest

__all__ = ["check_origins", "is_foreign"]

log = logging.getLogger("aplus_adapters")


def is_foreign(
    request: HttpRequest, *, own_addresses: Collection[str], trusted_origins: Collection[str]
) -> bool:
    """Return whether a page of a site that the shop does not trust sent this POST.

    `own_addresses` are the shop's public URLs, `trusted_origins` the sites that it trusts. Every
    browser sends Fetch Metadata (W3C), or else Origin (old browsers, plain http), so no token is
    needed. A client that is no browser (Alipay+, a till) sends neither and is accepted.
    """
    site = request.header("sec-fetch-site")
    origin = request.header("origin")
    if site is None:
        is_ours = origin is None or _is_own(origin, request, own_addresses)
    else:
        is_ours = site != "cross-site"
    if is_ours or origin in trusted_origins:
        return False
    log.warning(
        "POST refused: found a page of %r as its sender, expected one of the shop or of a trusted "
        "origin; if it is the shop's, name it in AplusPay(trusted_origins=...); if it is 'null', "
        "the page's Referrer-Policy is no-referrer: use same-origin",
        (origin or "null")[:200],
        extra={"event": "foreign_post_refused"},
    )
    return True


def _is_own(origin: str, request: HttpRequest, own_addresses: Collection[str]) -> bool:
    """Return whether an Origin has the host of the request or of one of our addresses.

    Proxies may change Host. The headers with which they pass on the old value count too: no page
    of another site can set them. Ports do not count: proxies drop them, and cookies ignore them.
    The scheme does not count: behind a proxy that ends TLS, this process does not know it.
    """
    if not origin.startswith(("https://", "http://")):
        return False
    host = _host(origin)
    requested = {_host(f"//{value.strip()}") for value in _requested_hosts(request)}
    return bool(host) and host in requested.union(map(_host, own_addresses))


def _requested_hosts(request: HttpRequest) -> Iterator[str]:
    """Yield the host that the browser asked for, from each header that may hold it."""
    yield request.header("host") or ""
    yield from (request.header("x-forwarded-host") or "").split(",")
    for part in re.split("[;,]", request.header("forwarded") or ""):
        name, _, value = part.partition("=")
        if name.strip().lower() == "host":
            yield value.strip().strip('"')


def _host(address: str) -> str:
    """Return the host of an address in lower case; "" if it has none or cannot be parsed."""
    try:
        return (urlsplit(address.strip()).hostname or "").rstrip(".")
    except ValueError:
        return ""


def check_origins(origins: object) -> None:
    """Raise ConfigurationError for a value that no browser sends as Origin (RFC 6454, 6.2).

    The pages of an app have their own scheme, such as capacitor. Browsers never send a default
    port. They send "null" for a page from a file, and any other page can send "null" too.
    """
    legal = r"(?!file:)[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?"
    default_port = re.compile("http:.*:80|https:.*:443")
    if not isinstance(origins, list | tuple | set | frozenset) or not all(
        isinstance(origin, str)
        and re.fullmatch(legal, origin)
        and not default_port.fullmatch(origin)
        for origin in origins
    ):
        raise ConfigurationError(
            f"AplusPay trusted_origins: found {str(origins)[:100]}, expected a list of scheme and "
            "host in lower case, without a path or a default port, such as ['https://shop.example']"
            " or ['capacitor://localhost']"
        )
