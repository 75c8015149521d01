"""Refuse posts that a page of a foreign site makes a browser send."""

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
    """Return whether a page of a site that the shop does not trust makes a browser post.

    No token is needed, because every browser names the site: in Fetch Metadata (W3C), or in Origin
    where that is missing (old browsers, plain http). A client that is no browser (Alipay+, a till)
    sends neither. A GET changes nothing and may come from anywhere.
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
        "POST refused: a page of %r sent it; if that is the shop's own, name it in "
        "AplusPay(trusted_origins=...); if it is 'null', its Referrer-Policy is no-referrer "
        "(same-origin does not hide it from the shop itself)",
        (origin or "null")[:200],
    )
    return True


def _is_own(origin: str, request: HttpRequest, own_addresses: Collection[str]) -> bool:
    """Return whether an Origin is a page of the host that was asked.

    Proxies may change Host, so their forwarding headers count too: no page of another site can set
    them. The notify URL counts as the shop's public address. Ports are ignored, because proxies
    drop them and cookies ignore them. The scheme is ignored, because a proxy may end TLS.
    """
    if not origin.startswith(("https://", "http://")):
        return False
    host = _host(origin)
    own = {_host(f"//{value.strip()}") for value in _hosts_of(request)}
    own |= set(map(_host, own_addresses))
    return bool(host) and host in own


def _hosts_of(request: HttpRequest) -> Iterator[str]:
    """Yield the host that was asked for, from each header that may name it."""
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


def check_origins(origins: object) -> None:
    """Raise ConfigurationError if a browser never sends one of these origins (RFC 6454, 6.2).

    Pages of an app have a scheme of their own, such as capacitor. A default port is never sent, and
    files are sent as "null", which any page can be.
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
