"""Which addresses there are below a mount, and what an adapter needs of whoever answers them."""

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
"""What a router has to let through to each address, so that wrong methods are answered alike."""


@frozen(kw_only=True)
class Route:
    """One address below the mount; `{name}` in `path` is a parameter of one segment.

    `is_private` tells that it is about somebody's payment, so that the shop's own log-in may stand
    before it; Alipay+ cannot log in, and the page's style is nobody's.
    """

    name: str
    path: str
    method: str
    is_private: bool = True

    @property
    def methods(self) -> tuple[str, ...]:
        """Return the methods that it answers; OPTIONS is answered everywhere."""
        return ("GET", "HEAD") if self.method == "GET" else (self.method,)

    @property
    def parameter(self) -> str | None:
        """Return the name of the parameter in the path, None if there is none."""
        _, brace, rest = self.path.partition("{")
        return rest.partition("}")[0] if brace else None


class Site(Protocol):
    """A set of addresses that answers requests: what every adapter mounts. `AplusPay` is one."""

    @property
    def routes(self) -> Sequence[Route]:
        """Return every address that is to be mounted."""
        ...

    def prepare(self, *, awaiting: bool) -> None:
        """Get ready to answer; ConfigurationError if something async cannot be awaited."""
        ...

    def note_mount(self, prefix: str) -> None:
        """Take note of the prefix below which the routes are mounted, as far as it is known."""
        ...

    def note_lifespan(self) -> None:
        """Take note that the application's end will be heard of, by `aclose`."""
        ...

    def handle(self, route: Route, request: HttpRequest, parameter: str = "") -> HttpResponse:
        """Answer a request, blocking; `parameter` is the value of the path's parameter."""
        ...

    async def handle_async(
        self, route: Route, request: HttpRequest, parameter: str = ""
    ) -> HttpResponse:
        """Answer a request, awaiting."""
        ...

    def stream(self, next_chunk: Callable[[], Flow[bytes]]) -> AsyncIterator[bytes]:
        """Yield what follows the body of a response that has a `next_chunk`."""
        ...

    async def aclose(self) -> None:
        """Close what answering has opened."""
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

    For adapters without a router; `path` is decoded, `prefix` with or without slashes around it.
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
