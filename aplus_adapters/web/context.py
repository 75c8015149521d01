"""What the endpoints of one shop share: its set-up, who may see what, and warnings said once."""

from __future__ import annotations

import logging
from datetime import UTC
from typing import TYPE_CHECKING

from attrs import field, frozen

from aplus_adapters.errors import HookError
from aplus_adapters.payments.effects import call_hook, get
from aplus_adapters.payments.hooks import AuthorizeDetails, LogIn, Visitor
from aplus_adapters.protocol.account import Environment
from aplus_adapters.web.http import HttpResponse, json_response, problem
from aplus_adapters.web.origins import is_foreign
from aplus_adapters.web.page import PageDesign, explain_failure
from aplus_adapters.web.template import missing_packages
from aplus_adapters.web.view import PageState

if TYPE_CHECKING:
    from typing import Any

    from aplus_adapters.payments.effects import Flow
    from aplus_adapters.payments.model import Attempt
    from aplus_adapters.payments.policy import PaymentConfig
    from aplus_adapters.web.http import HttpRequest
    from aplus_adapters.web.view import PageView

log = logging.getLogger("aplus_adapters")

_MAX_MOUNTS = 8  # strangers choose the paths of requests, so the set of paths must not grow

__all__ = ["WebContext", "describe", "find_payment", "refuse_visitor", "visitor_of"]


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

    def warn_of_page(self) -> None:
        """Log what the page lacks at start, unless the shop renders all of it itself."""
        if "render_order_code" in self.optional_hooks:
            return
        if missing := missing_packages():
            log.warning(
                "order-code page: %s not installed, so that only JSON can be answered; run pip "
                "install 'aplus_adapters[page]', or implement the hook render_order_code",
                " and ".join(missing),
                extra={"event": "page_packages_missing"},
            )
        is_live = any(
            account.environment is Environment.PRODUCTION
            for account in self.config.accounts.values()
        )
        if is_live and self.design.brand.mark is None:
            log.warning(
                "order-code page: found no Alipay+ mark for an account in production, expected the "
                "licensed plus icon in the middle of the code; write "
                "page=PageDesign(brand=Brand(mark=...))",
                extra={"event": "brand_mark_missing"},
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


def find_payment(
    context: WebContext, request: HttpRequest, payment_request_id: str
) -> Flow[Attempt | HttpResponse]:
    """Return the payment if it exists and this visitor may see it, otherwise a refusal."""
    attempt = None
    if 1 <= len(payment_request_id) <= 64 and payment_request_id.isalnum():
        attempt = yield from get(payment_request_id)
    if attempt is None:
        return problem(request, 404, "there is no such payment")
    refusal = yield from refuse_visitor(context, request, attempt.order_ref, attempt)
    if refusal is None:
        return attempt
    if refusal.status != 403:  # the shop sends the visitor to its log-in
        return refusal
    # Not 403, which would show a stranger that the payment exists.
    return problem(request, 404, "there is no such payment")


def refuse_visitor(
    context: WebContext, request: HttpRequest, order_ref: str, attempt: Attempt | None
) -> Flow[HttpResponse | None]:
    """Return a refusal if the hook `authorize` does not allow this visitor, otherwise None."""
    if "authorize" not in context.optional_hooks:
        return None
    details = AuthorizeDetails(order_ref=order_ref, attempt=attempt, visitor=visitor_of(request))
    allowed = yield from call_hook("authorize", details)
    if isinstance(allowed, LogIn):
        return _to_log_in(request, allowed)
    # A word such as "no" would let everybody in; without a `return` nobody could pay.
    if not isinstance(allowed, bool):
        raise HookError(
            f"hook authorize: found {type(allowed).__name__}, expected True, False or a LogIn",
            hook="authorize",
        )
    return None if allowed else problem(request, 403, "this order is not yours to pay")


def _to_log_in(request: HttpRequest, log_in: LogIn) -> HttpResponse:
    """Return a redirect to the shop's log-in; for a program a 401 that has its address."""
    if request.wants_json:
        content = {"type": "about:blank", "title": "log in first", "status": 401}
        return json_response(401, content | {"logIn": log_in.url}, "application/problem+json")
    headers = (("Location", log_in.url), ("Cache-Control", "no-store"))
    return HttpResponse(status=303, headers=headers)


def describe(
    context: WebContext, request: HttpRequest, view: PageView, attempt: Attempt
) -> dict[str, Any]:
    """Return a payment's status for a till or a single-page app; an absent value is null.

    Its `message`, the sentence for `reason`, is in the language that the client asks for.
    """
    message = None
    if view.reason is not None:
        accepted = request.header("accept-language")
        message = explain_failure(view.reason, accepted, context.design)
    images = attempt.order_code.images if attempt.order_code else ()
    return {
        "paymentRequestId": view.payment_request_id,
        "orderRef": view.order_ref,
        "state": view.state.value,
        "amount": view.amount.to_wire(),
        "description": view.description,
        "code": view.code_text,
        "codeImages": dict(images) if view.state is PageState.WAITING else {},
        "expiresAt": attempt.expires_at.astimezone(UTC).isoformat(),
        "serverTime": view.now.astimezone(UTC).isoformat(),
        "reason": view.reason,
        "message": message,
        "paidAt": view.paid_at.isoformat(timespec="seconds") if view.paid_at else None,
        "paymentId": view.payment_id,
        "wallet": view.wallet,
        "refunded": view.refunded.to_wire() if view.refunded else None,
        "brand": context.design.brand.words,
    }
