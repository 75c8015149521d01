"""Define the addresses below a mount, and the `Site` that adapters mount."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

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
]

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
"""The methods that a router must pass on, so that every adapter answers a wrong one alike."""


@frozen(kw_only=True)
class Route:
    """One address below the mount; `{name}` in `path` is a parameter of one segment.

    `is_private` is whether it shows or changes somebody's payment, so that the shop may ask for a
    log-in. Alipay+ cannot log in, and the page's style belongs to nobody.
    """

    name: str
    path: str
    method: str
    is_private: bool = True

    @property
    def methods(self) -> tuple[str, ...]:
        """Return the methods that the route answers; every route also answers OPTIONS."""
        return ("GET", "HEAD") if self.method == "GET" else (self.method,)

    @property
    def parameter(self) -> str | None:
        """Return the name of the parameter in the path, None if there is none."""
        _, brace, rest = self.path.partition("{")
        return rest.partition("}")[0] if brace else None


class Site(Protocol):
    """A set of addresses that answers requests; every adapter mounts one. `AplusPay` is one."""

    @property
    def routes(self) -> Sequence[Route]:
        """Return every address to mount."""
        ...

    def prepare(self, *, awaiting: bool) -> None:
        """Prepare to answer; raise ConfigurationError if a hook is async and cannot be awaited."""
        ...

    def note_mount(self, prefix: str) -> None:
        """Note the prefix below which the routes are mounted, if the adapter knows it."""
        ...

    def note_lifespan(self) -> None:
        """Note that `aclose` will be called when the application ends."""
        ...

    def handle(self, route: Route, request: HttpRequest, parameter: str = "") -> HttpResponse:
        """Answer a request, blocking; `parameter` is the value of the path's parameter."""
        ...

    async def handle_async(
        self, route: Route, request: HttpRequest, parameter: str = ""
    ) -> HttpResponse:
        """Answer a request without blocking the event loop."""
        ...

    def stream(self, next_chunk: Callable[[], Flow[bytes]]) -> AsyncIterator[bytes]:
        """Yield the chunks that follow the body of a response with a `next_chunk`."""
        ...

    async def aclose(self) -> None:
        """Close the connections that answering has opened."""
        ...


NOTIFY_PATH = "/notify"
_PAYMENT = "/payments/{payment_request_id}"
ROUTES = (
    Route(name="pay", path="/pay", method="POST"),
    Route(name="notify", path=NOTIFY_PATH, method="POST", is_private=False),
    Route(name="payment", path=_PAYMENT, method="GET"),
    Route(name="status", path=f"{_PAYMENT}/status", method="GET"),
    Route(name="events", path=f"{_PAYMENT}/events", method="GET"),
    Route(name="new_code", path=f"{_PAYMENT}/new", method="POST"),
    Route(name="style", path="/assets/page.css", method="GET", is_private=False),
    Route(name="script", path="/assets/page.js", method="GET", is_private=False),
)
"""Every address about payments."""


def notify_path(prefix: str) -> str:
    """Return the path of the notification route below a prefix, with or without slashes."""
    return f"/{prefix.strip('/')}".rstrip("/") + NOTIFY_PATH


def mounted_twice(where: str) -> str:
    """Return the message about routes that are mounted where others are already."""
    return (
        f"payment routes: found them mounted twice at {where[:100]!r}, expected once; remove one, "
        "or give several shops a name and a prefix each"
    )


def find_route(routes: Sequence[Route], path: str, prefix: str = "") -> tuple[Route, str] | None:
    """Return the route of a path and the value of its parameter, None if none below `prefix` fits.

    For adapters without a router. `path` is decoded; `prefix` may have slashes around it or none.
    """
    mount = f"/{prefix.strip('/')}".rstrip("/")
    if not path.startswith(f"{mount}/"):
        return None
    parts = path[len(mount) :].split("/")
    for route in routes:
        wanted = route.path.split("/")
        if len(wanted) == len(parts) and all(
            part == want or (want.startswith("{") and part)
            for part, want in zip(parts, wanted, strict=True)
        ):
            values = (part for part, want in zip(parts, wanted, strict=True) if part != want)
            return route, next(values, "")
    return None
