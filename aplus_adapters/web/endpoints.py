"""The endpoints, one per route. They are flows, so that the same code serves WSGI and ASGI."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from attrs import evolve

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
from aplus_adapters.payments.effects import now
from aplus_adapters.payments.flows.initiate import initiate
from aplus_adapters.payments.flows.notification import claimed_payment, receive
from aplus_adapters.payments.order_checks import is_order_ref
from aplus_adapters.protocol import wire
from aplus_adapters.web.context import (
    WebContext,
    describe,
    find_payment,
    refuse_visitor,
    visitor_of,
)
from aplus_adapters.web.error_page import STYLED, style_problem
from aplus_adapters.web.http import MAX_BODY, HttpRequest, HttpResponse, json_response, problem
from aplus_adapters.web.routing import NOTIFY_PATH, Route
from aplus_adapters.web.showing import SHOWING
from aplus_adapters.web.view import view_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from aplus_adapters.payments.effects import Flow
    from aplus_adapters.payments.model import Attempt

__all__ = ["respond"]

log = logging.getLogger("aplus_adapters")

_MOUNT_IS_SEEN = ("pay", "notify")  # the routes whose path shows where the notify route is
_FORM = "application/x-www-form-urlencoded"
_JSON = "application/json"
_LONGEST_ID = 64  # characters


def respond(
    context: WebContext, route: Route, request: HttpRequest, parameter: str = ""
) -> Flow[HttpResponse]:
    """Answer a request for a route; `parameter` is the value of the path's parameter.

    Every AplusError becomes a short response: 4xx if the sender caused it, 503 while the store
    fails, 500 if the shop has to correct something. All but an unknown order are logged. A buyer's
    browser gets a page.
    """
    response = yield from _respond(context, route, request, parameter)
    if response.status >= 400 and route.name in STYLED:
        return style_problem(context.design, route, request, response)
    return response


def _respond(
    context: WebContext, route: Route, request: HttpRequest, parameter: str
) -> Flow[HttpResponse]:
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
        response = evolve(problem(request, 404, str(error)), kind="order")
    except OrderChanged:  # the flow has logged it with the amounts, which the buyer need not see
        response = problem(request, 409, "this order has changed since it was paid; ask the shop")
    except TooManyAttempts as error:
        log.warning(
            "%s: %s", route.name, error, extra={"event": "too_many_attempts", "route": route.name}
        )
        retry = ("Retry-After", "600")
        response = problem(request, 429, "this order was tried too often; try again later", retry)
    except StoreError as error:
        about, subject = _about(route, request, parameter)
        log.exception(
            "%s%s: %s",
            route.name,
            about,
            error,
            extra={"event": "store_failed", "route": route.name, **subject},
        )
        response = problem(request, 503, "please try again in a moment", ("Retry-After", "2"))
    except AplusError as error:
        _log_failed(route.name, error, *_about(route, request, parameter))
        response = problem(request, 500, "this shop cannot take the payment at the moment")
    return response


def _log_failed(route: str, error: AplusError, about: str, subject: dict[str, str]) -> None:
    log.error(
        "%s%s: %s",
        route,
        about,
        error,
        exc_info=error,
        extra={"event": "request_failed", "route": route, **subject},
    )


def _about(route: Route, request: HttpRequest, parameter: str) -> tuple[str, dict[str, str]]:
    """Return what a request was about, as words and as fields for the log."""
    if route.name == "pay":
        order_ref = _order_ref(request)
        if isinstance(order_ref, HttpResponse):
            return "", {}
        return f" of order {order_ref}", {"order_ref": order_ref}
    if route.name == "notify":
        parameter = claimed_payment(request.body)
    if not parameter or len(parameter) > _LONGEST_ID or not parameter.isalnum():
        return "", {}
    return f" of payment {parameter}", {"payment_request_id": parameter}


def _refuse(context: WebContext, route: Route, request: HttpRequest) -> HttpResponse | None:
    """Return a refusal of a wrong method, a foreign page or an incomplete body, otherwise None."""
    context.check_lifespan(request)
    if request.method not in route.methods:
        allow = ("Allow", ", ".join((*route.methods, "OPTIONS")))
        if request.method == "OPTIONS":
            return HttpResponse(status=200, headers=(allow, ("Cache-Control", "no-store")))
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
    refusal = yield from refuse_visitor(context, request, order_ref, None)
    if refusal is not None:
        return refusal
    attempt = yield from initiate(context.config, order_ref, visitor_of(request))
    return (yield from _lead_to_page(context, request, attempt, "payments/"))


def _start_again(context: WebContext, request: HttpRequest, parameter: str) -> Flow[HttpResponse]:
    """Start another attempt for the order of a payment that is over."""
    attempt = yield from find_payment(context, request, parameter)
    if isinstance(attempt, HttpResponse):
        return attempt
    attempt = yield from initiate(context.config, attempt.order_ref, visitor_of(request))
    return (yield from _lead_to_page(context, request, attempt, "../"))


def _acknowledge(context: WebContext, request: HttpRequest, _parameter: str) -> Flow[HttpResponse]:
    """Record a notification and return its signed acknowledgement."""
    if request.media_type != _JSON:
        return problem(request, 415, f"expected {_JSON}")
    reply = yield from receive(context.config, request.headers, request.body)
    return HttpResponse(status=reply.status, headers=reply.headers, body=reply.body)


def _lead_to_page(
    context: WebContext, request: HttpRequest, attempt: Attempt, folder: str
) -> Flow[HttpResponse]:
    """Return a redirect to the payment's page, or JSON; addresses are relative to the request's."""
    location = folder + attempt.payment_request_id
    if not request.wants_json:
        headers = (("Location", location), ("Cache-Control", "no-store"))
        return HttpResponse(status=303, headers=headers)
    where = {"page": location, "status": f"{location}/status"}
    # Who may pay an order may not see each payment of it, such as another buyer's. Alipay+ has been
    # called, so that this is no refusal.
    try:
        refusal = yield from refuse_visitor(context, request, attempt.order_ref, attempt)
    except HookError as error:
        ids = {"payment_request_id": attempt.payment_request_id}
        _log_failed("payment", error, f" {attempt.payment_request_id}", ids)
        return json_response(200, where)
    if refusal is not None:
        return json_response(200, where)
    moment = yield from now()
    content = describe(context, request, view_of(attempt, moment, context.name), attempt)
    return json_response(200, {**content, **where})


def _order_ref(request: HttpRequest) -> str | HttpResponse:
    """Return the order_ref of a body, or a refusal; no amount is read: a buyer could change it."""
    value: object
    try:
        if request.media_type == _JSON:
            value = wire.loads(request.body).get("order_ref")
        elif request.media_type == _FORM:
            fields = parse_qs(request.body.decode(), max_num_fields=20)
            # Of two, nobody can say which order the buyer sees.
            (value,) = fields.get("order_ref", [None])
        else:
            return problem(request, 415, f"expected {_FORM} or {_JSON}")
    except (MessageError, ValueError):
        return problem(request, 400, "the body cannot be read")
    if value is None:
        return problem(request, 400, "order_ref is missing: expected it in the body, once")
    if not isinstance(value, str) or not is_order_ref(value):
        return problem(request, 400, "order_ref: expected 1 to 64 characters without controls")
    return value


_ENDPOINTS: dict[str, Callable[[WebContext, HttpRequest, str], Flow[HttpResponse]]] = {
    "pay": _start_paying,
    "notify": _acknowledge,
    "new_code": _start_again,
    **SHOWING,
}
