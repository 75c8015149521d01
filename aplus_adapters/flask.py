"""Flask: a blueprint with the payment routes.

app.register_blueprint(create_blueprint(pay), url_prefix="/aplus")
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode

from aplus_adapters.errors import ConfigurationError

try:
    from flask import Blueprint, Request, Response
    from flask import request as current_request
    from flask.cli import ScriptInfo
    from werkzeug.datastructures import Headers
    from werkzeug.exceptions import HTTPException
    from werkzeug.routing import Rule
except ImportError:
    raise ConfigurationError(
        "aplus_adapters.flask: Flask is not installed; run pip install 'aplus_adapters[flask]'"
    ) from None

from aplus_adapters.aplus_pay import AplusPay
from aplus_adapters.cli.commands import reachable
from aplus_adapters.cli.shop_commands import shop_commands
from aplus_adapters.web import routing
from aplus_adapters.web.http import MAX_BODY, HttpRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from click import Context
    from flask.blueprints import BlueprintSetupState

__all__ = ["create_blueprint"]


def create_blueprint(pay: routing.Site, name: str = "aplus", **options: Any) -> Blueprint:
    """Return a blueprint that takes payments with `pay`; several may be registered by `name`.

    The commands of docs/operations.md come with it, such as `flask aplus list`. `options` go to
    each `add_url_rule`, such as `host`. Raises ConfigurationError for what Flask would refuse.
    """
    routing.prepare_site(pay, "create_blueprint(pay)", awaiting=False)
    try:
        blueprint = _Payments(name, __name__)
        Rule("/", **options)  # Flask itself would refuse them when the blueprint is registered
    except (TypeError, ValueError) as error:
        raise ConfigurationError(routing.wrong_blueprint(name, options, error)) from None
    blueprint.record(partial(_compare, pay))
    for route in pay.routes:
        blueprint.add_url_rule(
            route.path.replace("{", "<").replace("}", ">"),
            endpoint=route.name,
            view_func=_view(pay, route),
            methods=routing.METHODS,
            provide_automatic_options=False,
            strict_slashes=True,  # the page's links are relative to its own address
            **options,
        )
    if isinstance(pay, AplusPay):
        for command in shop_commands(lambda: reachable(pay), _context_of_app):
            blueprint.cli.add_command(command)
    return blueprint


def _context_of_app(command: Context) -> Callable[[], Any]:
    return command.ensure_object(ScriptInfo).load_app().app_context


class _Payments(Blueprint):
    """A blueprint whose error says what to do when its name is taken."""

    def register(self, app: Any, options: dict[str, Any]) -> None:
        """Register the routes; raise ConfigurationError if this name is registered already."""
        name = f"{options.get('name_prefix', '')}.{options.get('name', self.name)}".lstrip(".")
        if name in app.blueprints:
            raise ConfigurationError(routing.mounted_twice(name))
        super().register(app, options)


def _compare(site: routing.Site, state: BlueprintSetupState) -> None:
    """Compare the prefix with the notify URL when the blueprint is registered."""
    if "<" not in (prefix := state.url_prefix or ""):
        site.note_mount(prefix)


def _view(site: routing.Site, route: routing.Route) -> Callable[..., Response]:
    def view(**parameters: str) -> Response:
        answer = site.handle(route, _read(), parameters.get(route.parameter or "", ""))
        response = Response(answer.body, answer.status)
        # Without a default of Flask's.
        response.headers = Headers([*answer.headers, ("Content-Length", f"{len(answer.body)}")])
        return response

    return view


def _read() -> HttpRequest:
    request = cast("Any", current_request)._get_current_object()  # noqa: SLF001  # for speed
    body, headers = _body(request), tuple(request.headers.items())
    if body is None:  # the application has parsed the form; a notification is never one
        body = urlencode(list(request.form.items(multi=True))).encode()
        length = ("Content-Length", str(len(body)))  # a browser may have escaped more
        headers = (*(pair for pair in headers if pair[0] != "Content-Length"), length)
    return HttpRequest(
        method=request.method,
        path=request.script_root + request.path,
        headers=headers,
        body=body,
        client_ip=request.remote_addr,
        native=request,
    )


def _body(request: Request) -> bytes | None:
    """Return the raw bytes, at most MAX_BODY + 1, or None if only a parsed form is left of them."""
    if (request.content_length or 0) > MAX_BODY:
        return b"\0" * (MAX_BODY + 1)
    # A body that the application read with get_data() is still there.
    try:
        body = request.stream.read(MAX_BODY + 1) or request.get_data()
    except HTTPException:  # such as the application's own limit
        raise
    except Exception:  # each server has its own error for a lost sender or broken chunks
        return b""
    return None if not body and request.form else body
