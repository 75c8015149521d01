"""Find what answered in place of this library's route, or why nothing did."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

if TYPE_CHECKING:
    from aplus_adapters.protocol.signed_messages import Answer

__all__ = ["explain_answer", "explain_silence", "is_refusal"]

_REFUSED = b"notification refused"  # the route's answer to a stranger
_CONSUMED = b"the body was consumed"
_LOGIN = re.compile(r"log[- ]?in|sign[- ]?in|auth|account|sso", re.IGNORECASE)
_EXEMPT = "exempt the route: the signature guards it"
_BY_STATUS = {
    401: f"a log-in stands in front (HTTP authentication): {_EXEMPT}",
    403: f"a log-in, a firewall or an allow-list stands in front: {_EXEMPT}",
    429: f"a rate limit stands in front: {_EXEMPT}",
    502: "the proxy answers and the shop behind it does not: start the shop, see its log",
    503: "the shop or the proxy before it says that it is not ready: see their logs",
    504: "the proxy answers and the shop behind it is too slow: see its log",
}


def is_refusal(answer: Answer) -> bool:
    """Return whether this library's route gave the answer, to a message without signature."""
    return answer.status == 400 and _REFUSED in answer.body[:4096]


def explain_answer(url: str, answer: Answer) -> str:
    """Return what to do about any other answer; "" if the path may be wrong."""
    status, body = answer.status, answer.body[:65536]
    if 300 <= status < 400:
        return _explain_redirect(url, _redirect_target(url, answer))
    if b"csrf" in body.lower():
        return "a CSRF guard stands in front: exempt the route, Alipay+ has no token of your forms"
    if _CONSUMED in body:
        return (
            "something reads the body before this library does (a middleware, form parsing): "
            "exempt the route from it"
        )
    if status == 200 and _LOGIN.search(body.decode("latin-1")) and b"password" in body.lower():
        return f"a log-in page answers: {_EXEMPT}"
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return "the shop fails: see its log" if status >= 500 else ""


def _redirect_target(url: str, answer: Answer) -> str:
    """Return the whole address that a redirect leads to."""
    headers = {name.lower(): value for name, value in answer.headers}
    return urljoin(url, headers.get("location", ""))


def _explain_redirect(url: str, target: str) -> str:
    new, old = urlsplit(target), urlsplit(url)
    if _LOGIN.search(new.path) and new.path != old.path:
        return f"a log-in stands in front, at {new.path}: {_EXEMPT}"
    if new.path.rstrip("/") == old.path.rstrip("/"):
        return f"set APLUS_NOTIFY_URL to {target}: a POST must not be redirected"
    return f"it leads to {target}: take the redirect away, or correct APLUS_NOTIFY_URL"


def explain_silence(url: str, problem: str) -> str:
    """Return what to do where no answer came; `problem` is the sender's error."""
    host, problem = urlsplit(url).netloc, problem.lower()
    if "certificate" in problem or "ssl" in problem or "tls" in problem:
        return (
            f"TLS of {host} is wrong: use a certificate of a public authority for this very name, "
            "with its whole chain"
        )
    if any(sign in problem for sign in ("name or service", "nodename", "getaddrinfo", "name res")):
        return f"the name {host} is not known here: correct APLUS_NOTIFY_URL, or the DNS"
    if "could not connect" in problem:
        return (
            f"nothing listens at {host}: start the shop, or correct host and port of "
            "APLUS_NOTIFY_URL (--no-notify if only this machine cannot reach it)"
        )
    return "the connection stands and no answer comes in time: see the shop's log and its workers"
