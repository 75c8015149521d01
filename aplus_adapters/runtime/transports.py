"""The transports and connections under a client of httpx or httpx2.

Neither library has a public way to reach them. If one cannot be reached, no error is raised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["forget_connections", "innermost_transports", "is_of_library"]


def forget_connections(client: Any) -> None:
    """Forget connections of another process: both would send over them at the same time."""
    for transport in innermost_transports(client):
        pool: Any = getattr(transport, "_pool", None)
        for name in ("_connections", "_requests"):
            if hasattr(pool, name):
                setattr(pool, name, [])
        if hasattr(pool, "_optional_thread_lock"):  # a thread of the other process may hold it
            pool._optional_thread_lock = type(pool._optional_thread_lock)()  # noqa: SLF001  # httpx offers no other way


def innermost_transports(client: Any) -> Iterator[Any]:
    """Yield the innermost transports of a client, also from inside the shop's own ones."""
    rest = [getattr(client, "_transport", None), *getattr(client, "_mounts", {}).values()]
    seen: set[int] = set()
    while rest:
        transport = rest.pop()
        if transport is None or id(transport) in seen:
            continue
        seen.add(id(transport))
        inner = [] if hasattr(transport, "_pool") else list(_inside(transport))
        rest += inner
        if not inner:
            yield transport


def _inside(transport: Any) -> Iterator[Any]:
    for value in getattr(transport, "__dict__", {}).values():
        values = value.values() if isinstance(value, dict) else value
        for part in values if isinstance(value, list | tuple | dict) else (value,):
            if hasattr(part, "handle_request") or hasattr(part, "handle_async_request"):
                yield part


def is_of_library(transport: Any) -> bool:
    """Return whether a transport's class is one of httpx or httpx2."""
    return type(transport).__module__.partition(".")[0] in ("httpx", "httpx2")
