"""Answer each address. Endpoints are flows, so that one logic serves WSGI and ASGI."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from aplus_adapters.errors import (
    AplusError,
    HookError,
    MessageError,
    NotificationError,
    OrderChanged,
    StoreError,
    TooManyAttempts,
    UnknownOrder,
)
from aplus_adapters.payments.effects import call_hook, get, now, sleep
from aplus_adapters.payments.flows.follow_up import follow_up
from aplus_adapters.payments.flows.initiate import initiate
from aplus_adapters.payments.flows.notification import claimed_payment, receive
from aplus_adapters.payments.hooks import AuthorizeDetails, RenderDetails, Rendering
from aplus_adapters.protocol import wire
from aplus_adapters.web.context import WebContext, visitor_of
from aplus_adapters.web.http import (
    MAX_BODY,
    HttpRequest,
    HttpResponse,
    json_response,
    problem,
    to_json,
)
from aplus_adapters.web.page import PAGE_HEADERS, asset, explain_failure, render_page
from aplus_adapters.web.routing import NOTIFY_PATH, Route
from aplus_adapters.web.view import PageState, PageView, status_json, view_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from aplus_adapters.payments.effects import Flow
    from aplus_adapters.payments.model import Attempt

__all__ = ["respond"]

log = logging.getLogger("aplus_adapters")

_NOTIFY_IS_BESIDE = ("pay", "notify")
_EVENT_POLLS = 8  # a second apart; then the listener comes again: no stream delays a restart
_FORM = "application/x-www-form-urlencoded"
_JSON = "application/json"


def respond(
    context: WebContext, route: Route, request: HttpRequest, parameter: str = ""
) -> Flow[HttpResponse]:
    """Answer a request for a route; `parameter` is the value of the path's parameter.

    Every error of ours becomes a short answer: 4xx for what a stranger sent, 503 while the store is
    down, 500 for what the shop has to mend, with the reason in the log.
    """
    refused = _refuse(context, route, request)
    if refused is not None:
        return refused
    try:
        response = yield from _ENDPOINTS[route.name](context, request, parameter)
    except NotificationError as error:
        claimed = claimed_payment(request.body)
        ids = {"payment_request_id": claimed}
        log.warning("notification refused: %s; it claims payment %s", error, claimed, extra=ids)
        response = problem(request, error.status, "notification refused")
    except UnknownOrder as error:
        response = problem(request, 404, str(error))
    except OrderChanged:  # already logged for the operator
        response = problem(request, 409, "this order has changed since it was paid; ask the shop")
    except TooManyAttempts as error:
        log.warning("%s: %s", route.name, error)
        retry = ("Retry-After", "600")
        response = problem(request, 429, "this order was tried too often; try again later", retry)
    except StoreError as error:
        log.exception("%s: %s", route.name, error)
        response = problem(request, 503, "please try again in a moment", ("Retry-After", "2"))
    except AplusError as error:
        log.exception("%s: %s", route.name, error)
        response = problem(request, 500, "this shop cannot take the payment at the moment")
    return response


def _refuse(context: WebContext, route: Route, request: HttpRequest) -> HttpResponse | None:
    """Return a refusal for a wrong method, a foreign page or an incomplete body, else None."""
    context.check_lifespan(request)
    allow = ("Allow", ", ".join((*route.methods, "OPTIONS")))
    if request.method == "OPTIONS":
        return HttpResponse(status=200, headers=(allow, ("Cache-Control", "no-store")))
    if request.method not in route.methods:
        return problem(request, 405, "method not allowed", allow)
    if request.method == "POST" and context.is_foreign(request):
        return problem(request, 403, "this was sent by a page of another site")
    if route.name in _NOTIFY_IS_BESIDE and request.path.endswith(route.path):
        context.compare_mount(request.path.removesuffix(route.path) + NOTIFY_PATH)
    return _refuse_body(request) if request.method == "POST" else None


def _refuse_body(request: HttpRequest) -> HttpResponse | None:
    length = request.header("content-length") or "0"
    if not (length.isascii() and length.isdigit()):
        return problem(request, 400, "Content-Length: expected digits")
    if len(request.body) > MAX_BODY:
        return problem(request, 413, f"the body is larger than {MAX_BODY} bytes")
    is_chunked = request.header("transfer-encoding") is not None
    # A length of 19 digits or more is never whole, and not worth converting to an int.
    is_whole = len(length) < 19 and len(request.body) >= int(length)
    if is_whole and (request.body or not is_chunked):
        return None
    if not request.body:
        log.warning(
            "%r refused: %s but no byte is left to read: something in the application (form "
            "parsing, a middleware, get_json) consumed it before, the server reads no chunks, or "
            "the sender hung up; if it comes each time, let the route pass untouched",
            request.path[:200],
            "it is chunked" if is_chunked else f"Content-Length is {length[:20]}",
        )
    return problem(request, 400, "the body was consumed or cut off before it could be read")


def _pay(context: WebContext, request: HttpRequest, _parameter: str) -> Flow[HttpResponse]:
    """Start paying the order that the form or the JSON body names."""
    order_ref = _order_ref(request)
    if isinstance(order_ref, HttpResponse):
        return order_ref
    refused = yield from _refusal(context, request, order_ref, None)
    if refused is not None:
        return refused
    attempt = yield from initiate(context.config, order_ref, visitor_of(request))
    return (yield from _started(context, request, attempt, "payments/"))


def _new_code(context: WebContext, request: HttpRequest, parameter: str) -> Flow[HttpResponse]:
    """Start another attempt for the order of a payment that is over."""
    attempt = yield from _find(context, request, parameter)
    if isinstance(attempt, HttpResponse):
        return attempt
    attempt = yield from initiate(context.config, attempt.order_ref, visitor_of(request))
    return (yield from _started(context, request, attempt, "../"))


def _payment(context: WebContext, request: HttpRequest, parameter: str) -> Flow[HttpResponse]:
    """Show the page of a payment, or its JSON."""
    attempt = yield from _find(context, request, parameter)
    if isinstance(attempt, HttpResponse):
        return attempt
    attempt = yield from follow_up(context.config, attempt)
    moment = yield from now()
    view = view_of(attempt, moment, context.name)
    if request.wants_json:
        return json_response(200, _as_json(context, request, view, attempt))
    if "render_order_code" in context.optional_hooks:
        details = RenderDetails(attempt=attempt, view=view, visitor=visitor_of(request))
        rendering = yield from _rendering(details)
        if rendering is not None:
            headers = (("Content-Type", rendering.content_type), ("Cache-Control", "no-store"))
            return HttpResponse(
                status=200, headers=(*headers, *rendering.headers.items()), body=rendering.body
            )
    events = f"{attempt.payment_request_id}/events"
    page = render_page(
        view,
        request.header("accept-language"),
        context.design,
        events if context.design.events and request.can_stream else "",
    )
    return HttpResponse(status=200, headers=tuple(PAGE_HEADERS.items()), body=page)


def _rendering(details: RenderDetails) -> Flow[Rendering | None]:
    """Return the shop's rendering; None if its hook fails, so that the buyer sees the page."""
    try:
        rendering = yield from call_hook("render_order_code", details)
    except HookError as error:
        log.exception("%s; the default page is shown", error)
        return None
    if rendering is not None and not isinstance(rendering, Rendering):
        log.error(
            "hook render_order_code: found %s, expected a Rendering or None; the default page is "
            "shown",
            type(rendering).__name__,
        )
        return None
    return rendering


def _status(context: WebContext, request: HttpRequest, parameter: str) -> Flow[HttpResponse]:
    """Return the state of a payment as JSON, after an inquiry if one is due."""
    attempt = yield from _find(context, request, parameter)
    if isinstance(attempt, HttpResponse):
        return attempt
    attempt = yield from follow_up(context.config, attempt)
    moment = yield from now()
    view = view_of(attempt, moment, context.name)
    return json_response(200, _as_json(context, request, view, attempt))


def _events(context: WebContext, request: HttpRequest, parameter: str) -> Flow[HttpResponse]:
    """Return the states of a payment as Server-Sent Events, until it is over."""
    if not (context.design.events and request.can_stream):
        return problem(request, 404, "there are no events, ask for the status")
    attempt = yield from _find(context, request, parameter)
    if isinstance(attempt, HttpResponse):
        return attempt
    stream = _EventStream(context, request, attempt.payment_request_id)
    return HttpResponse(
        status=200,
        headers=(
            ("Content-Type", "text/event-stream"),
            ("Cache-Control", "no-store, no-transform"),
            ("X-Accel-Buffering", "no"),
            ("X-Content-Type-Options", "nosniff"),
        ),
        next_chunk=None if request.method == "HEAD" else stream.next_chunk,
    )


class _EventStream:
    """The events of one payment for one listener."""

    def __init__(self, context: WebContext, request: HttpRequest, payment_request_id: str) -> None:
        self._context, self._request, self._id = context, request, payment_request_id
        self._told: PageState | None = None
        self._looks = 0

    def next_chunk(self) -> Flow[bytes]:
        """Return the next change of state as an event; nothing at the end of the stream."""
        while self._looks < _EVENT_POLLS and not (self._told is not None and self._told.is_over):
            if self._looks:
                yield from sleep(1.0)
            self._looks += 1
            try:
                attempt = yield from get(self._id)
                if attempt is None:
                    break
                attempt = yield from follow_up(self._context.config, attempt)
            except AplusError as error:
                log.warning("events: %s", error)
                continue
            moment = yield from now()
            view = view_of(attempt, moment, self._context.name)
            if view.state is not self._told:
                self._told = view.state
                status = _as_json(self._context, self._request, view, attempt)
                return b"data: " + to_json(status) + b"\n\n"
        return b""


def _notify(context: WebContext, request: HttpRequest, _parameter: str) -> Flow[HttpResponse]:
    """Record a notification; answer a short unsigned 4xx if it is not authentic."""
    if request.media_type != _JSON:
        return problem(request, 415, f"expected {_JSON}")
    reply = yield from receive(context.config, request.headers, request.body)
    return HttpResponse(status=reply.status, headers=reply.headers, body=reply.body)


def _asset(context: WebContext, request: HttpRequest, _parameter: str) -> Flow[HttpResponse]:
    """Serve the page's style or script."""
    yield from ()
    body, kind = asset(request.path.rpartition("/")[2], context.design)
    headers = (("Content-Type", kind), ("Cache-Control", "public, max-age=3600"))
    return HttpResponse(
        status=200, headers=(*headers, ("X-Content-Type-Options", "nosniff")), body=body
    )


def _started(
    context: WebContext, request: HttpRequest, attempt: Attempt, folder: str
) -> Flow[HttpResponse]:
    """Send the buyer to the payment's page, by an address relative to the one that was asked."""
    location = folder + attempt.payment_request_id
    if not request.wants_json:
        headers = (("Location", location), ("Cache-Control", "no-store"))
        return HttpResponse(status=303, headers=headers)
    moment = yield from now()
    content = _as_json(context, request, view_of(attempt, moment, context.name), attempt)
    return json_response(200, {**content, "page": location, "status": f"{location}/status"})


def _as_json(
    context: WebContext, request: HttpRequest, view: PageView, attempt: Attempt
) -> dict[str, Any]:
    """Return a payment's status; the sentence in it is in the language that the client asks for."""
    message = None
    if view.reason is not None:
        accepted = request.header("accept-language")
        message = explain_failure(view.reason, accepted, context.design)
    return status_json(view, attempt, message)


def _find(
    context: WebContext, request: HttpRequest, payment_request_id: str
) -> Flow[Attempt | HttpResponse]:
    """Return the payment if it exists and this visitor may see it; both refusals look the same."""
    attempt = None
    if 1 <= len(payment_request_id) <= 64 and payment_request_id.isalnum():
        attempt = yield from get(payment_request_id)
    if attempt is None:
        return problem(request, 404, "there is no such payment")
    refused = yield from _refusal(context, request, attempt.order_ref, attempt)
    return attempt if refused is None else problem(request, 404, "there is no such payment")


def _refusal(
    context: WebContext, request: HttpRequest, order_ref: str, attempt: Attempt | None
) -> Flow[HttpResponse | None]:
    if "authorize" not in context.optional_hooks:
        return None
    details = AuthorizeDetails(order_ref=order_ref, attempt=attempt, visitor=visitor_of(request))
    allowed = yield from call_hook("authorize", details)
    return None if allowed else problem(request, 403, "this order is not yours to pay")


def _order_ref(request: HttpRequest) -> str | HttpResponse:
    """Return the order's reference, the only field that a browser decides; never an amount."""
    found: object
    try:
        if request.media_type == _JSON:
            found = wire.loads(request.body).get("order_ref")
        elif request.media_type == _FORM:
            fields = parse_qs(request.body.decode(), max_num_fields=20)
            found = fields.get("order_ref", [None])[0]
        else:
            return problem(request, 415, f"expected {_FORM} or {_JSON}")
    except (MessageError, ValueError):
        return problem(request, 400, "the body cannot be read")
    if not isinstance(found, str) or not 1 <= len(found) <= 64 or not found.isprintable():
        return problem(request, 400, "order_ref: expected 1 to 64 printable characters")
    return found


_ENDPOINTS: dict[str, Callable[[WebContext, HttpRequest, str], Flow[HttpResponse]]] = {
    "pay": _pay,
    "notify": _notify,
    "payment": _payment,
    "status": _status,
    "events": _events,
    "new_code": _new_code,
    "style": _asset,
    "script": _asset,
}
