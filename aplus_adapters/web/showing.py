"""The endpoints that show a payment: page, receipt, status, events, code to save, assets."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import MappingProxyType
from typing import TYPE_CHECKING

from aplus_adapters.errors import AplusError, HookError
from aplus_adapters.payments.effects import call_hook, get, now, sleep
from aplus_adapters.payments.flows.follow_up import follow_up
from aplus_adapters.web.context import describe, find_payment, visitor_of
from aplus_adapters.web.hooks import RenderDetails, Rendering
from aplus_adapters.web.http import HttpResponse, json_response, problem, to_json
from aplus_adapters.web.page import asset, code_host, draw_code, render_page
from aplus_adapters.web.texts import choose_language
from aplus_adapters.web.view import view_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aplus_adapters.payments.effects import Flow
    from aplus_adapters.web.context import WebContext
    from aplus_adapters.web.http import HttpRequest
    from aplus_adapters.web.view import PageState

__all__ = ["SHOWING"]

Endpoint = Callable[["WebContext", "HttpRequest", str], "Flow[HttpResponse]"]
"""Answers a request of one route; the text is the value of the path's parameter."""

log = logging.getLogger("aplus_adapters")

_EVENT_POLLS = 8  # a second apart; then the browser reconnects, so that no stream delays a restart
_NOTHING_NEW = b":\n\n"  # a comment, which browsers pass over


def _show_payment(context: WebContext, request: HttpRequest, parameter: str) -> Flow[HttpResponse]:
    """Return the page of a payment, or its status as JSON."""
    if request.wants_json:
        return (yield from _show_status(context, request, parameter))
    attempt = yield from find_payment(context, request, parameter)
    if isinstance(attempt, HttpResponse):
        return attempt
    attempt = yield from follow_up(context.config, attempt)
    moment = yield from now()
    view = view_of(attempt, moment, context.name)
    hook = "render_receipt" if view.state.has_receipt else "render_order_code"
    if hook not in context.optional_hooks:
        hook = "render_order_code"  # it shows every state, if the shop has no receipt of its own
    if hook in context.optional_hooks:
        details = RenderDetails(attempt=attempt, view=view, visitor=visitor_of(request))
        rendering = yield from _render_by_shop(hook, details)
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
    host = code_host(view)
    page_headers = context.design.headers
    if host is not None:
        allowed = ("img-src 'self'", f"img-src {host} 'self'")
        page_headers = tuple((name, value.replace(*allowed)) for name, value in page_headers)
    return HttpResponse(status=200, headers=page_headers, body=page)


def _render_by_shop(hook: str, details: RenderDetails) -> Flow[Rendering | None]:
    """Return the shop's rendering; None, for the default page, if its hook declines or fails."""
    try:
        rendering = yield from call_hook(hook, details)
    except HookError as error:
        log.exception("%s; the default page is shown", error, extra={"event": "render_hook_failed"})
        return None
    if rendering is not None and not isinstance(rendering, Rendering):
        log.error(
            "hook %s: found %s, expected a Rendering or None; the default page is shown",
            hook,
            type(rendering).__name__,
            extra={"event": "render_hook_answer"},
        )
        return None
    return rendering


def _show_code(context: WebContext, request: HttpRequest, parameter: str) -> Flow[HttpResponse]:
    """Return the picture of the code for a phone that saves it; 404 once it cannot be paid."""
    attempt = yield from find_payment(context, request, parameter)
    if isinstance(attempt, HttpResponse):
        return attempt
    attempt = yield from follow_up(context.config, attempt)
    moment = yield from now()
    language = choose_language(request.header("accept-language"), context.design.all_texts)
    label = context.design.all_texts[language]["qr"]
    drawing = draw_code(view_of(attempt, moment, context.name), label, context.design)
    if drawing is None:
        return problem(request, 404, "this payment has no code to scan any more")
    headers = (
        ("Content-Type", "image/svg+xml; charset=utf-8"),
        ("Cache-Control", "no-store"),
        ("Content-Security-Policy", "default-src 'none'; img-src data:"),
        ("X-Content-Type-Options", "nosniff"),
    )
    picture = drawing.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    return HttpResponse(status=200, headers=headers, body=picture.encode())


def _show_status(context: WebContext, request: HttpRequest, parameter: str) -> Flow[HttpResponse]:
    """Return the state of a payment as JSON, after an inquiry if one is due."""
    attempt = yield from find_payment(context, request, parameter)
    if isinstance(attempt, HttpResponse):
        return attempt
    attempt = yield from follow_up(context.config, attempt)
    moment = yield from now()
    view = view_of(attempt, moment, context.name)
    return json_response(200, describe(context, request, view, attempt))


def _stream_events(context: WebContext, request: HttpRequest, parameter: str) -> Flow[HttpResponse]:
    """Return the states of a payment as Server-Sent Events, until it is over."""
    if not (context.design.events and request.can_stream):
        return problem(request, 404, "there are no events, ask for the status")
    attempt = yield from find_payment(context, request, parameter)
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
        """Return a change of state as an event, a comment without one, b"" at the end."""
        if self._polls == _EVENT_POLLS or (self._sent is not None and self._sent.is_over):
            return b""
        if self._polls:
            yield from sleep(1.0)
        self._polls += 1
        try:
            attempt = yield from get(self._id)
            if attempt is None:
                return b""
            attempt = yield from follow_up(self._context.config, attempt)
        except AplusError as error:
            log.warning(
                "events of payment %s: %s; the stream tries again",
                self._id,
                error,
                extra={"event": "stream_failed", "payment_request_id": self._id},
            )
            return _NOTHING_NEW
        moment = yield from now()
        view = view_of(attempt, moment, self._context.name)
        if view.state is self._sent:
            return _NOTHING_NEW
        self._sent = view.state
        status = describe(self._context, self._request, view, attempt)
        return b"data: " + to_json(status) + b"\n\n"


def _serve(name: str) -> Endpoint:
    """Return the endpoint of a file of the page: its style or script."""

    def endpoint(context: WebContext, _request: HttpRequest, _parameter: str) -> Flow[HttpResponse]:
        yield from ()  # an endpoint is a generator, even one that needs no effect
        body, content_type = asset(name, context.design)
        headers = (("Content-Type", content_type), ("Cache-Control", "public, max-age=3600"))
        return HttpResponse(
            status=200, headers=(*headers, ("X-Content-Type-Options", "nosniff")), body=body
        )

    return endpoint


SHOWING: Mapping[str, Endpoint] = MappingProxyType(
    {
        "payment": _show_payment,
        "status": _show_status,
        "events": _stream_events,
        "code": _show_code,
        "style": _serve("page.css"),
        "script": _serve("page.js"),
        "button_style": _serve("button.css"),
    }
)
"""The endpoint of each route that shows something and starts nothing."""
