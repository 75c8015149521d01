"""The endpoints, one per route. They are flows, so that the same code serves WSGI and ASGI."""

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

_MOUNT_IS_SEEN = ("pay", "notify")  # the routes whose path shows where the notify route is
_EVENT_POLLS = 8  # a second apart; then the browser reconnects, so that no stream delays a restart
_FORM = "application/x-www-form-urlencoded"
_JSON = "application/json"


def respond(
    context: WebContext, route: Route, request: HttpRequest, parameter: str = ""
) -> Flow[HttpResponse]:
    """Answer a request for a route; `parameter` is the value of the path's parameter.

    Every AplusError becomes a short response, and its reason is logged: 4xx if the sender caused
    it, 503 while the store fails, 500 if the shop has to correct something.
    """
    refusal = _refuse(context, route, request)
    if refusal is not None:
        return refusal
    try:
        response = yield from _ENDPOINTS[route.name](context, request, parameter)
    except NotificationError as error:
        claimed = claimed_payment(request.body)
        ids = {"payment_request_id": claimed}
        log.warning(
            "notification refused: %s; it claims payment %s",
            error,
            claimed,
            extra={"event": "notification_refused", **ids},
        )
        response = problem(request, error.status, "notification refused")
    except UnknownOrder as error:
        response = problem(request, 404, str(error))
    except OrderChanged:  # the flow has logged it with the amounts, which the buyer need not see
        response = problem(request, 409, "this order has changed since it was paid; ask the shop")
    except TooManyAttempts as error:
        log.warning(
            "%s: %s", route.name, error, extra={"event": "too_many_attempts", "route": route.name}
        )
        retry = ("Retry-After", "600")
        response = problem(request, 429, "this order was tried too often; try again later", retry)
    except StoreError as error:
        log.exception(
            "%s: %s", route.name, error, extra={"event": "store_failed", "route": route.name}
        )
        response = problem(request, 503, "please try again in a moment", ("Retry-After", "2"))
    except AplusError as error:
        log.exception(
            "%s: %s", route.name, error, extra={"event": "request_failed", "route": route.name}
        )
        response = problem(request, 500, "this shop cannot take the payment at the moment")
    return response


def _refuse(context: WebContext, route: Route, request: HttpRequest) -> HttpResponse | None:
    """Return a refusal of a wrong method, a foreign page or an incomplete body, otherwise None."""
    context.check_lifespan(request)
    allow = ("Allow", ", ".join((*route.methods, "OPTIONS")))
    if request.method == "OPTIONS":
        return HttpResponse(status=200, headers=(allow, ("Cache-Control", "no-store")))
    if request.method not in route.methods:
        return problem(request, 405, "method not allowed", allow)
    if request.method == "POST" and context.is_foreign(request):
        return problem(request, 403, "this was sent by a page of another site")
    if route.name in _MOUNT_IS_SEEN and request.path.endswith(route.path):
        context.compare_mount(request.path.removesuffix(route.path) + NOTIFY_PATH)
    return _refuse_body(request) if request.method == "POST" else None


def _refuse_body(request: HttpRequest) -> HttpResponse | None:
    """Return a refusal of a body that is too long or incomplete, otherwise None."""
    length = request.header("content-length") or "0"
    if not (length.isascii() and length.isdigit()):
        return problem(request, 400, "Content-Length: expected digits")
    if len(request.body) > MAX_BODY:
        return problem(request, 413, f"the body is larger than {MAX_BODY} bytes")
    is_chunked = request.header("transfer-encoding") is not None
    # No body has a length of 19 digits, and int() of very many digits costs time.
    is_whole = len(length) < 19 and len(request.body) >= int(length)
    if is_whole and (request.body or not is_chunked):
        return None
    if not request.body:
        log.warning(
            "%r refused: found no byte of the body left to read, expected %s: the application read "
            "it before (form parsing, a middleware, get_json), the server reads no chunks, or the "
            "sender broke off; if it happens each time, exclude the route from what reads bodies",
            request.path[:200],
            "chunks" if is_chunked else f"the {length[:20]} of Content-Length",
            extra={"event": "body_missing"},
        )
    return problem(request, 400, "the body was consumed or cut off before it could be read")


def _start_paying(context: WebContext, request: HttpRequest, _parameter: str) -> Flow[HttpResponse]:
    """Start paying the order that the form or the JSON body names."""
    order_ref = _order_ref(request)
    if isinstance(order_ref, HttpResponse):
        return order_ref
    refusal = yield from _refuse_visitor(context, request, order_ref, None)
    if refusal is not None:
        return refusal
    attempt = yield from initiate(context.config, order_ref, visitor_of(request))
    return (yield from _lead_to_page(context, request, attempt, "payments/"))


def _start_again(context: WebContext, request: HttpRequest, parameter: str) -> Flow[HttpResponse]:
    """Start another attempt for the order of a payment that is over."""
    attempt = yield from _find_payment(context, request, parameter)
    if isinstance(attempt, HttpResponse):
        return attempt
    attempt = yield from initiate(context.config, attempt.order_ref, visitor_of(request))
    return (yield from _lead_to_page(context, request, attempt, "../"))


def _show_payment(context: WebContext, request: HttpRequest, parameter: str) -> Flow[HttpResponse]:
    """Return the page of a payment, or its status as JSON."""
    attempt = yield from _find_payment(context, request, parameter)
    if isinstance(attempt, HttpResponse):
        return attempt
    attempt = yield from follow_up(context.config, attempt)
    moment = yield from now()
    view = view_of(attempt, moment, context.name)
    if request.wants_json:
        return json_response(200, _as_json(context, request, view, attempt))
    if "render_order_code" in context.optional_hooks:
        details = RenderDetails(attempt=attempt, view=view, visitor=visitor_of(request))
        rendering = yield from _render_by_shop(details)
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


def _render_by_shop(details: RenderDetails) -> Flow[Rendering | None]:
    """Return the shop's rendering; None, for the default page, if its hook declines or fails."""
    try:
        rendering = yield from call_hook("render_order_code", details)
    except HookError as error:
        log.exception("%s; the default page is shown", error, extra={"event": "render_hook_failed"})
        return None
    if rendering is not None and not isinstance(rendering, Rendering):
        log.error(
            "hook render_order_code: found %s, expected a Rendering or None; the default page is "
            "shown",
            type(rendering).__name__,
            extra={"event": "render_hook_answer"},
        )
        return None
    return rendering


def _show_status(context: WebContext, request: HttpRequest, parameter: str) -> Flow[HttpResponse]:
    """Return the state of a payment as JSON, after an inquiry if one is due."""
    attempt = yield from _find_payment(context, request, parameter)
    if isinstance(attempt, HttpResponse):
        return attempt
    attempt = yield from follow_up(context.config, attempt)
    moment = yield from now()
    view = view_of(attempt, moment, context.name)
    return json_response(200, _as_json(context, request, view, attempt))


def _stream_events(context: WebContext, request: HttpRequest, parameter: str) -> Flow[HttpResponse]:
    """Return the states of a payment as Server-Sent Events, until it is over."""
    if not (context.design.events and request.can_stream):
        return problem(request, 404, "there are no events, ask for the status")
    attempt = yield from _find_payment(context, request, parameter)
    if isinstance(attempt, HttpResponse):
        return attempt
    stream = _EventStream(context, request, attempt.payment_request_id)
    return HttpResponse(
        status=200,
        headers=(
            ("Content-Type", "text/event-stream"),
            ("Cache-Control", "no-store, no-transform"),
            ("X-Accel-Buffering", "no"),  # nginx would hold events back
            ("X-Content-Type-Options", "nosniff"),
        ),
        next_chunk=None if request.method == "HEAD" else stream.next_chunk,
    )


class _EventStream:
    """The events of one payment for one browser."""

    def __init__(self, context: WebContext, request: HttpRequest, payment_request_id: str) -> None:
        self._context, self._request, self._id = context, request, payment_request_id
        self._sent: PageState | None = None
        self._polls = 0

    def next_chunk(self) -> Flow[bytes]:
        """Return the next change of state as an event; b"" at the end of the stream."""
        while self._polls < _EVENT_POLLS and not (self._sent is not None and self._sent.is_over):
            if self._polls:
                yield from sleep(1.0)
            self._polls += 1
            try:
                attempt = yield from get(self._id)
                if attempt is None:
                    break
                attempt = yield from follow_up(self._context.config, attempt)
            except AplusError as error:
                log.warning(
                    "events of payment %s: %s; the stream tries again",
                    self._id,
                    error,
                    extra={"event": "stream_failed", "payment_request_id": self._id},
                )
                continue
            moment = yield from now()
            view = view_of(attempt, moment, self._context.name)
            if view.state is not self._sent:
                self._sent = view.state
                status = _as_json(self._context, self._request, view, attempt)
                return b"data: " + to_json(status) + b"\n\n"
        return b""


def _acknowledge(context: WebContext, request: HttpRequest, _parameter: str) -> Flow[HttpResponse]:
    """Record a notification and return its signed acknowledgement."""
    if request.media_type != _JSON:
        return problem(request, 415, f"expected {_JSON}")
    reply = yield from receive(context.config, request.headers, request.body)
    return HttpResponse(status=reply.status, headers=reply.headers, body=reply.body)


def _serve_asset(context: WebContext, request: HttpRequest, _parameter: str) -> Flow[HttpResponse]:
    """Return the page's style or script."""
    yield from ()  # an endpoint is a generator, even one that needs no effect
    body, content_type = asset(request.path.rpartition("/")[2], context.design)
    headers = (("Content-Type", content_type), ("Cache-Control", "public, max-age=3600"))
    return HttpResponse(
        status=200, headers=(*headers, ("X-Content-Type-Options", "nosniff")), body=body
    )


def _lead_to_page(
    context: WebContext, request: HttpRequest, attempt: Attempt, folder: str
) -> Flow[HttpResponse]:
    """Return a redirect to the payment's page, or JSON; addresses are relative to the request's."""
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
    """Return a payment's status; its `message` is in the language that the client asks for."""
    message = None
    if view.reason is not None:
        accepted = request.header("accept-language")
        message = explain_failure(view.reason, accepted, context.design)
    return status_json(view, attempt, message)


def _find_payment(
    context: WebContext, request: HttpRequest, payment_request_id: str
) -> Flow[Attempt | HttpResponse]:
    """Return the payment if it exists and this visitor may see it, otherwise a 404."""
    attempt = None
    if 1 <= len(payment_request_id) <= 64 and payment_request_id.isalnum():
        attempt = yield from get(payment_request_id)
    if attempt is None:
        return problem(request, 404, "there is no such payment")
    refusal = yield from _refuse_visitor(context, request, attempt.order_ref, attempt)
    # Not 403, which would show a stranger that the payment exists.
    return attempt if refusal is None else problem(request, 404, "there is no such payment")


def _refuse_visitor(
    context: WebContext, request: HttpRequest, order_ref: str, attempt: Attempt | None
) -> Flow[HttpResponse | None]:
    """Return a refusal if the hook `authorize` does not allow this visitor, otherwise None."""
    if "authorize" not in context.optional_hooks:
        return None
    details = AuthorizeDetails(order_ref=order_ref, attempt=attempt, visitor=visitor_of(request))
    allowed = yield from call_hook("authorize", details)
    return None if allowed else problem(request, 403, "this order is not yours to pay")


def _order_ref(request: HttpRequest) -> str | HttpResponse:
    """Return the order_ref of a body, or a refusal; no amount is read: a buyer could change it."""
    value: object
    try:
        if request.media_type == _JSON:
            value = wire.loads(request.body).get("order_ref")
        elif request.media_type == _FORM:
            fields = parse_qs(request.body.decode(), max_num_fields=20)
            value = fields.get("order_ref", [None])[0]
        else:
            return problem(request, 415, f"expected {_FORM} or {_JSON}")
    except (MessageError, ValueError):
        return problem(request, 400, "the body cannot be read")
    if not isinstance(value, str) or not 1 <= len(value) <= 64 or not value.isprintable():
        return problem(request, 400, "order_ref: expected 1 to 64 printable characters")
    return value


_ENDPOINTS: dict[str, Callable[[WebContext, HttpRequest, str], Flow[HttpResponse]]] = {
    "pay": _start_paying,
    "notify": _acknowledge,
    "payment": _show_payment,
    "status": _show_status,
    "events": _stream_events,
    "new_code": _start_again,
    "style": _serve_asset,
    "script": _serve_asset,
}
