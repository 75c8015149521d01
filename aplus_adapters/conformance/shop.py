"""The shop that is tested, as a buyer, Alipay+ and its own clerk reach it: by HTTP alone."""

from __future__ import annotations

import re
import subprocess
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urljoin, urlsplit

import httpx
from attrs import define

from aplus_adapters.conformance.cases import NotTried
from aplus_adapters.conformance.evidence import BUYER, NOTIFICATION, Evidence, Exchange, Message
from aplus_adapters.conformance.ways import Ways, fill, fill_all, fill_url, split_command
from aplus_adapters.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Page", "Shop"]

_BROWSER = {
    "User-Agent": "Mozilla/5.0 (conformance)",
    "Accept": "text/html,application/xhtml+xml,*/*;q=0.8",
    "Accept-Language": "en",
}
_RANGE = re.compile(r"\{([0-9]{1,9})-([0-9]{1,9})\}")
_COMMAND_TIMEOUT = 60.0  # seconds
_ACK_TIMEOUT = 8.0  # seconds; Alipay+ waits for 5, and what comes later is still worth seeing


@define
class Page:
    """What a browser shows after a form was sent: where it is, and every text on the way there."""

    url: str
    status: int
    text: str
    exchanges: list[Exchange]

    @property
    def last(self) -> Exchange | None:
        """Return the exchange that brought the page."""
        return self.exchanges[-1] if self.exchanges else None


class Shop:
    """A shop behind `client`, whose address is the notify URL's host.

    `timeout` is the seconds for a page. `environ` is the environment of its commands, None: ours.
    """

    def __init__(
        self,
        ways: Ways,
        evidence: Evidence,
        client: httpx.Client | None = None,
        *,
        timeout: float,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.ways, self._evidence, self._environ = ways, evidence, environ
        evidence.hidden |= {name.lower() for name in ways.headers}
        # A connection that the shop has closed meanwhile would look like a missing answer.
        fresh = httpx.Limits(max_keepalive_connections=0)
        self._client = client or httpx.Client(trust_env=False, limits=fresh)
        self._timeout = timeout
        self._orders = self._order_refs()

    def new_order(self) -> str:
        """Return an order that nobody began to pay; raise NotTried if there is none left."""
        if self.ways.order_url is None:
            order = next(self._orders, None)
            if order is None:
                raise NotTried(
                    "no order is left: give more with --order, such as A-{1-20}, or A-{n}"
                )
            return order
        page = self.submit("make an order", self.ways.order_url, self.ways.order_data)
        match = (
            re.search(self.ways.order_find, page.text)
            if self.ways.order_find
            else re.search(r"/([^/?#]+)/?(?:[?#].*)?$", urlsplit(page.url).path)
        )
        if page.status >= 400 or match is None:
            raise NotTried(
                f"no order could be made: {self.ways.order_url} answered HTTP {page.status}"
            )
        return unquote(match[1] if match.groups() else match[0])

    def press_pay(self, order: str) -> Page:
        """Press the pay button of an order, and follow where the shop leads to."""
        data = fill_all(self.ways.pay_data, order=order)
        return self.submit("press pay", self.ways.pay_url, data, as_json=self.ways.as_json)

    def submit(
        self, name: str, url: str, data: Mapping[str, str], *, as_json: bool = False
    ) -> Page:
        """Post a form (or JSON) as a browser does, and follow redirects within the shop."""
        target = urljoin(self.ways.notify_url, url)
        sent: dict[str, Any] = {"json": dict(data)} if as_json else {"data": dict(data)}
        accept = {"Accept": "application/json"} if as_json else {}
        headers = {**_BROWSER, **accept, **self.ways.headers}
        return self._browse(name, "POST", target, headers=headers, **sent)

    def look_at(self, name: str, url: str) -> Page:
        """Open a page as a browser does."""
        target = urljoin(self.ways.notify_url, url)
        return self._browse(name, "GET", target, headers={**_BROWSER, **self.ways.headers})

    def status_text(self, order: str, payment: str) -> str:
        """Return what the status page shows, "" if there is none or it fails."""
        if self.ways.status_url is None:
            return ""
        page = self.look_at("status", fill_url(self.ways.status_url, order=order, payment=payment))
        return page.text if page.status < 400 else ""

    def is_paid(self, order: str, payment: str) -> bool | None:
        """Return whether the status page says that the order is paid; None if it cannot be seen."""
        if self.ways.status_url is None:
            return None
        return re.search(self.ways.paid, self.status_text(order, payment)) is not None

    def becomes_paid(self, order: str, payment: str, seconds: float) -> bool | None:
        """Return what `is_paid` says as soon as it is true, or after `seconds`."""
        deadline = time.monotonic() + seconds
        while (paid := self.is_paid(order, payment)) is False and time.monotonic() < deadline:
            time.sleep(min(0.2, seconds / 5))
        return paid

    def notify(
        self, name: str, headers: Mapping[str, str], body: bytes, method: str = "POST"
    ) -> Exchange:
        """Bring the shop a notification, and return the exchange with its answer."""
        url = self.ways.notify_url
        exchange = self._evidence.begin(NOTIFICATION, name, url, headers, body)
        request = self._client.build_request(
            method, url, content=body or None, headers=headers, timeout=_ACK_TIMEOUT
        )
        self._send(exchange, request)
        return exchange

    def refund(self, **words: str) -> str:
        """Begin a refund in the shop's own way; return what it said. Raise NotTried without one."""
        if self.ways.refund_command is not None:
            command = split_command(self.ways.refund_command, "--refund-command")
            return self._run([fill(part, **words) for part in command])
        if self.ways.refund_url is None:
            raise NotTried(
                "how this shop refunds is not known: give --refund-url or --refund-command"
            )
        data = fill_all(self.ways.refund_data, **words)
        url = fill_url(self.ways.refund_url, **words)
        page = self.submit("refund", url, data, as_json=self.ways.as_json)
        return f"HTTP {page.status}"

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _run(self, command: list[str]) -> str:
        try:
            done = subprocess.run(  # noqa: S603  # the user's own command
                command,
                capture_output=True,
                text=True,
                check=False,
                timeout=_COMMAND_TIMEOUT,
                env=self._environ,
            )
        except (OSError, ValueError) as error:  # such as a NUL in it
            raise NotTried(f"{command[0]} cannot be run: {error}") from None
        except subprocess.TimeoutExpired:
            return f"{command[0]} did not end within {_COMMAND_TIMEOUT:g} s"
        return f"exit {done.returncode}: {(done.stdout + done.stderr)[-300:].strip()}"

    def _order_refs(self) -> Iterator[str]:
        # No run uses an order of an earlier one, which may be paid.
        new_number = int(time.time()) * 1000
        for pattern in self.ways.orders:
            part = _RANGE.search(pattern)
            if part is not None:
                for number in range(int(part[1]), int(part[2]) + 1):
                    yield pattern.replace(part[0], str(number))
            elif "{n}" in pattern:
                for number in range(new_number, new_number + 1000):
                    yield pattern.replace("{n}", str(number))
            else:
                yield pattern

    def _browse(self, name: str, method: str, url: str, **sent: Any) -> Page:
        exchanges: list[Exchange] = []
        texts: list[str] = []
        for _ in range(5):
            try:
                request = self._client.build_request(method, url, timeout=self._timeout, **sent)
            except (httpx.InvalidURL, ValueError) as error:
                if exchanges:  # the shop led there
                    break
                raise ConfigurationError(f"{url[:200]!r} is no address: {error}") from None
            content = request.read()
            exchange = self._evidence.begin(BUYER, name, url, dict(request.headers), content)
            self._send(exchange, request)
            exchanges.append(exchange)
            if exchange.answer is None:
                break
            texts.append(exchange.answer.text())
            location = exchange.answer.headers.get("location")
            if not 300 <= exchange.status < 400 or not location:
                break
            try:
                target = urljoin(url, location)
                is_elsewhere = urlsplit(target).netloc != urlsplit(self.ways.notify_url).netloc
            except ValueError:
                break
            if is_elsewhere:
                texts.append(target)  # a page elsewhere is none of the shop's
                break
            url, method, sent = target, "GET", {"headers": sent["headers"]}
        return Page(url, exchanges[-1].status, "\n".join(texts), exchanges)

    def _send(self, exchange: Exchange, request: httpx.Request) -> None:
        exchange.method = request.method
        started = time.monotonic()
        try:
            response = self._client.send(request)
        except httpx.HTTPError as error:
            exchange.failure = f"no answer: {type(error).__name__} {error}".strip()
        except Exception as error:  # of an application in this process, which a server would catch
            exchange.failure, exchange.status = f"raised {type(error).__name__}: {error}", 500
            exchange.answer = Message({}, b"")
        else:
            exchange.status = response.status_code
            headers = {name.lower(): value for name, value in response.headers.items()}
            exchange.answer = Message(headers, response.content)
        exchange.seconds = time.monotonic() - started
