"""The routes below a mount, and the `Site` that an adapter needs to answer them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from attrs import frozen

from aplus_adapters.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from aplus_adapters.payments.effects import Flow
    from aplus_adapters.web.http import HttpRequest, HttpResponse

__all__ = [
    "METHODS",
    "NOTIFY_PATH",
    "ROUTES",
    "Route",
    "Site",
    "find_route",
    "mounted_twice",
    "notify_path",
    "prepare_site",
    "wrong_blueprint",
]

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
"""The methods that an adapter passes on: a wrong one gets our answer, not the framework's."""


@frozen(kw_only=True)
class Route:
    """One address below the mount; `{name}` in `path` is a parameter of one segment.

    `is_private` is whether the route concerns one buyer's payment, so that the shop may require a
    log-in. Alipay+ cannot log in, and the page's style belongs to nobody.
    """

    name: str
    path: str
    method: str
    is_private: bool = True

    @property
    def methods(self) -> tuple[str, ...]:
        """Return the methods that the route answers; every route answers OPTIONS too."""
        return ("GET", "HEAD") if self.method == "GET" else (self.method,)

    @property
    def parameter(self) -> str | None:
        """Return the name of the parameter in the path, None if the path has none."""
        _, brace, rest = self.path.partition("{")
        return rest.partition("}")[0] if brace else None


class Site(Protocol):
    """The routes and the answers to their requests; every adapter mounts one. `AplusPay` is one."""

    @property
    def routes(self) -> Sequence[Route]:
        """Return every route that an adapter mounts."""
        ...

    def prepare(self, *, awaiting: bool) -> None:
        """Prepare to answer; raise ConfigurationError if something async cannot be awaited."""
        ...

    def note_mount(self, prefix: str) -> None:
        """Note the prefix below which the routes are mounted, if the adapter knows it at start."""
        ...

    def note_lifespan(self) -> None:
        """Note that the application will call `aclose` when it ends."""
        ...

    def handle(self, route: Route, request: HttpRequest, parameter: str = "") -> HttpResponse:
        """Answer a request, blocking; `parameter` is the value of the path's parameter."""
        ...

    async def handle_async(
        self, route: Route, request: HttpRequest, parameter: str = ""
    ) -> HttpResponse:
        """Do what `handle` does, awaiting."""
        ...

    def stream(self, next_chunk: Callable[[], Flow[bytes]]) -> AsyncIterator[bytes]:
        """Yield the pieces that follow the body of a response with a `next_chunk`."""
        ...

    async def aclose(self) -> None:
        """Close everything that was opened to answer requests."""
        ...


NOTIFY_PATH = "/notify"
_PAYMENT = "/payments/{payment_request_id}"
ROUTES = (
    Route(name="pay", path="/pay", method="POST"),
    Route(name="notify", path=NOTIFY_PATH, method="POST", is_private=False),
    Route(name="payment", path=_PAYMENT, method="GET"),
    Route(name="status", path=f"{_PAYMENT}/status", method="GET"),
    Route(name="events", path=f"{_PAYMENT}/events", method="GET"),
    Route(name="code", path=f"{_PAYMENT}/code.svg", method="GET"),
    Route(name="new_code", path=f"{_PAYMENT}/new", method="POST"),
    Route(name="style", path="/assets/page.css", method="GET", is_private=False),
    Route(name="script", path="/assets/page.js", method="GET", is_private=False),
    Route(name="button_style", path="/assets/button.css", method="GET", is_private=False),
)
"""Every route of a shop that takes payments."""


def notify_path(prefix: str) -> str:
    """Return the path of the notification route below a prefix, with or without slashes."""
    return f"/{prefix.strip('/')}".rstrip("/") + NOTIFY_PATH


def mounted_twice(where: str) -> str:
    """Return the message of the error for a second mount at the same place."""
    return (
        f"payment routes: found them mounted twice at {where[:100]!r}, expected once; remove one, "
        "or give several shops a name and a prefix each"
    )


def prepare_site(pay: Site, where: str, *, awaiting: bool) -> None:
    """Prepare to answer; `where` names the call and the argument in the error.

    Raises ConfigurationError for what is no `Site`, or has something async that nobody can await.
    """
    if not all(hasattr(pay, name) for name in ("routes", "prepare", "handle")):
        raise ConfigurationError(
            f"{where}: found {type(pay).__name__}, expected the AplusPay of the shop"
        )
    pay.prepare(awaiting=awaiting)


def wrong_blueprint(name: object, options: Mapping[str, object], error: Exception) -> str:
    """Return the message of the error for arguments with which Flask makes no blueprint."""
    return (
        f"create_blueprint: found the name {name!r:.80} and the options {list(options)} ({error}), "
        "expected a name without a dot and options of `add_url_rule`, such as host; `url_prefix` "
        "belongs to app.register_blueprint"
    )


def find_route(routes: Sequence[Route], path: str, prefix: str = "") -> tuple[Route, str] | None:
    """Return the route of a path and the value of its parameter; None if no route matches.

    It serves adapters without a router. `path` is decoded. `prefix` may have slashes around it.
    """
    mount = f"/{prefix.strip('/')}".rstrip("/")
    if not path.startswith(f"{mount}/"):
        return None
    parts = path[len(mount) :].split("/")
    for route in routes:
        names = route.path.split("/")
        if len(names) == len(parts) and all(
            part == name or (name.startswith("{") and part)
            for part, name in zip(parts, names, strict=True)
        ):
            values = (part for part, name in zip(parts, names, strict=True) if part != name)
            return route, next(values, "")
    return None
