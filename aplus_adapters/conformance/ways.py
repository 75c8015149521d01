"""How things are done in the shop that is tested: where its forms and pages are."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING
from urllib.parse import quote, urljoin, urlsplit

from attrs import field, frozen

from aplus_adapters.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PAID", "Ways", "check_ways", "fill", "fill_all", "fill_url", "split_command"]

PAID = r"(?i)\bpaid\b"
"""How a page says that it is paid, unless the shop says it otherwise."""

_FILLED = re.compile(r"\{(order|payment|amount|minor|currency|refund|n)\}")


@frozen(kw_only=True)
class Ways:
    """How things are done in this shop. Paths are on the host of `notify_url`.

    `pay_data` is the form (or JSON, if `as_json`) that begins a payment. Where orders must be made
    first, `order_url` and `order_data` do it; the order is the last part of the address that it
    leads to, or what `order_find` finds in the page. `orders` are orders that are there; `{n}` is a
    new number in each run, `{1-20}` each of these numbers.
    In `status_url`, `refund_url` and `refund_command` the words `{order}`, `{payment}`, `{amount}`,
    `{minor}`, `{currency}` and `{refund}` are filled in. `paid` is how a page says that it is paid.
    `slow_command` makes the shop's store slow for as long as it runs. `headers` are sent with what
    a buyer does, such as a cookie; no report shows them.
    """

    notify_url: str
    pay_url: str = "/aplus/pay"
    pay_data: Mapping[str, str] = field(factory=lambda: {"order_ref": "{order}"})
    as_json: bool = False
    orders: tuple[str, ...] = ("A-{n}",)
    order_url: str | None = None
    order_data: Mapping[str, str] = field(factory=dict)
    order_find: str | None = None
    status_url: str | None = None
    paid: str = PAID
    refund_url: str | None = None
    refund_data: Mapping[str, str] = field(factory=dict)
    refund_command: str | None = None
    slow_command: str | None = None
    headers: Mapping[str, str] = field(factory=dict)

    @property
    def signed_path(self) -> str:
        """Return the path that signatures of notifications cover."""
        return urlsplit(self.notify_url).path or "/"


def fill(text: str, **words: str) -> str:
    """Return a text with its words in braces filled in; other braces stay as they are."""
    return _FILLED.sub(lambda match: words.get(match[1], match[0]), text)


def fill_url(url: str, **words: str) -> str:
    """Return an address with its words in braces filled in, percent-encoded."""
    return fill(url, **{name: quote(word, safe="") for name, word in words.items()})


def fill_all(data: Mapping[str, str], **words: str) -> dict[str, str]:
    """Return a form with the words in its values filled in."""
    return {name: fill(value, **words) for name, value in data.items()}


def split_command(command: str, option: str) -> list[str]:
    """Return the words of a command line; raise ConfigurationError that names its option."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ConfigurationError(f"{option}: {command!r} is no command line: {error}") from None
    if not words:
        raise ConfigurationError(f"{option}: found no word, expected a command line")
    return words


def check_ways(ways: Ways) -> None:
    """Raise ConfigurationError for an address, a pattern or a command that is none."""
    for name, url in (
        ("notify URL", ways.notify_url),
        ("--pay-url", ways.pay_url),
        ("--order-url", ways.order_url),
        ("--status-url", ways.status_url),
        ("--refund-url", ways.refund_url),
    ):
        try:
            _ = urlsplit(urljoin(ways.notify_url, url or "")).port
        except ValueError as error:
            raise ConfigurationError(f"{name}: {url!r} is no address: {error}") from None
    parts = urlsplit(ways.notify_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(
            f"notify URL {ways.notify_url[:80]!r}: expected http:// or https:// with a host, such "
            "as http://127.0.0.1:8000/aplus/notify"
        )
    for name, pattern in (("--paid", ways.paid), ("--order-find", ways.order_find)):
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ConfigurationError(f"{name}: {pattern!r} is no pattern: {error}") from None
    for name, command in (
        ("--refund-command", ways.refund_command),
        ("--slow-command", ways.slow_command),
    ):
        if command is not None:
            split_command(command, name)
