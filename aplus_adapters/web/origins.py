"""Who makes a browser post: the shop's own pages and sites that it trusts, nobody else."""

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

    Every browser says so of its own accord, so that no token is needed: by Fetch Metadata
    (W3C), or where that is missing (old browsers, plain http) by Origin. Who is no browser
    (Alipay+, a till) says neither. A GET changes nothing and may come from anywhere.
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

    Proxies may change Host: what they pass on about it counts too, as no page of another site
    can set these headers, and so does the notify URL, the shop's public address. Ports do not
    count, as proxies drop them and cookies do not know them; neither does the scheme, which
    this process cannot know behind TLS.
    """
    if not origin.startswith(("https://", "http://")):
        return False
    host = _host(origin)
    own = {_host(f"//{value.strip()}") for value in _hosts_of(request)}
    own |= set(map(_host, own_addresses))
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


def check_origins(origins: object) -> None:
    """Raise ConfigurationError for what no browser sends as Origin (RFC 6454, 6.2).

    Pages of an app have a scheme of their own, such as capacitor. A default port is never sent, and
    files are sent as "null", which any page can be.
    """
    legal = r"(?!file:)[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?"
    default_port = re.compile("http:.*:80|https:.*:443")
    if not isinstance(origins, list | tuple | set | frozenset) or not all(
        isinstance(one, str) and re.fullmatch(legal, one) and not default_port.fullmatch(one)
        for one in origins
    ):
        raise ConfigurationError(
            f"AplusPay trusted_origins: found {str(origins)[:100]}, expected a list of scheme and "
            "host in lower case, without a path or a default port, such as ['https://shop.example']"
            " or ['capacitor://localhost']"
        )
