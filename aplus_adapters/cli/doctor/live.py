"""The list of what has to be right before a shop goes live (Alipay+'s acceptance rules).

Source: protocol, "Before going live" and "The page with the code".
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aplus_adapters.cli.doctor.check import Check
from aplus_adapters.protocol.account import Environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aplus_adapters.protocol.account import Account

__all__ = ["BY_HAND", "check_live"]

BY_HAND = (
    "all sandbox test cases of the Developer Center are passed",
    "our production public key is uploaded, and Alipay+'s production key is in the settings",
    "in production: a payment is made with each product, the page shows success",
    "in production: a code is shown and nobody pays; it is polled, cancelled, and failure is shown",
    "in production: a payment is refunded in full, another in several parts",
    "each notification is acknowledged with a right signature within 5 s (see the shop's log)",
    "failed payments are told to the buyer with a reason",
    "pictures of the checkout page and of the success page are taken for Alipay+",
    "the Alipay+ icon is in the middle of the code, and the page names Alipay+ beside it",
    "`aplus reconcile` runs on a schedule, and somebody is told of its conflicts",
    "settlementQuote is kept: the reports carry no rate; the SFTP reports are fetched",
    "payments are kept in a database that is backed up, not in memory",
)
"""What no program can check from here."""


def check_live(account: Account) -> Iterator[Check]:
    """Yield what a program can check of an account that is to take real money."""
    production = account.environment is Environment.PRODUCTION
    remedy = "" if production else "set APLUS_ENVIRONMENT=production (or leave it out)"
    yield Check("live: environment", ok=production, found=str(account.environment), remedy=remedy)
    for name, url in (("gateway", account.gateway), ("notify URL", account.notify_url)):
        yield _check_public(f"live: {name}", url)


def _check_public(name: str, url: str) -> Check:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "https":
        return Check(name, ok=False, found=url, remedy="use https with a public certificate")
    if not _is_public(host):
        return Check(name, ok=False, found=url, remedy="use a name that is known in public")
    return Check(name, ok=True, found=url)


def _is_public(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        private = (".local", ".internal", ".localhost", ".test", ".lan")
        return "." in host and not host.endswith(private)
