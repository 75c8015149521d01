"""An engine for each event loop: a connection that awaits belongs to the loop that opened it.

Programs that call `asyncio.run` again and again, such as Flask's async views, have one loop after
the other. What a loop has open is closed when it ends: `asyncio.run` and all servers then end the
async generators of the loop, and each engine has one that closes its connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import weakref
from typing import TYPE_CHECKING, Any

from attrs import frozen
from sqlalchemy import Engine, event
from sqlalchemy.util import await_only, greenlet_spawn

from aplus_adapters.errors import ConfigurationError
from aplus_adapters.stores.connections import open_engine
from aplus_adapters.stores.database_arguments import with_schema
from aplus_adapters.stores.waiting import native

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aplus_adapters.stores.schema import Tables

__all__ = ["LoopEngines"]


@frozen
class _OfLoop:
    """What one event loop uses."""

    engine: Engine
    closing: AsyncGenerator[None]
    connections: weakref.WeakSet[Any]


class LoopEngines:
    """The engines of one address; raises ConfigurationError if the address cannot be used."""

    def __init__(self, address: str, tables: Tables) -> None:
        self._address = address
        # Nothing connects; a wrong address is noticed here.
        with_schema(open_engine(address, is_async=True), tables)
        self._of_loop: dict[asyncio.AbstractEventLoop, _OfLoop] = {}

    def current(self) -> Engine:
        """Return the engine of the running event loop; raise ConfigurationError without one."""
        loop = _running_loop()
        if loop not in self._of_loop:
            self._drop_ended()
            engine = open_engine(self._address, is_async=True)
            connections: weakref.WeakSet[Any] = weakref.WeakSet()
            event.listen(engine, "connect", lambda driver, _: connections.add(native(driver)))
            closing = _closing(engine)
            # It awaits nothing before its end. From its first step on the loop knows it.
            with contextlib.suppress(StopIteration):
                anext(closing).__await__().send(None)
            self._of_loop[loop] = _OfLoop(engine, closing, connections)
        return self._of_loop[loop].engine

    def close(self) -> None:
        """Close the connections of the running event loop, in one of SQLAlchemy's greenlets."""
        self._drop_ended()
        used = self._of_loop.pop(_running_loop(), None)
        if used is not None:
            await_only(used.closing.aclose())

    def _drop_ended(self) -> None:
        """Forget the loops that have ended, and what one left open that ended without order."""
        # A copy: another thread may add its loop meanwhile.
        for loop in [loop for loop in list(self._of_loop) if loop.is_closed()]:
            used = self._of_loop.pop(loop, None)
            for connection in used.connections if used else ():
                _drop(connection)


def _running_loop() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise ConfigurationError(
            "AsyncSQLStore: found no running event loop of asyncio, expected to be used inside "
            "one; call it in an async function"
        ) from None


async def _closing(engine: Engine) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        await greenlet_spawn(engine.dispose)


def _drop(connection: Any) -> None:
    """Free the socket or the thread of a driver's connection whose event loop has ended."""
    with contextlib.suppress(Exception):
        if hasattr(connection, "pgconn"):  # psycopg
            connection.pgconn.finish()
        elif hasattr(connection, "stop"):  # aiosqlite, which would wake the loop that calls it
            stopping = threading.Thread(target=connection.stop)
            stopping.start()
            stopping.join()
        elif hasattr(connection, "terminate"):  # asyncpg
            connection.terminate()
        else:  # asyncmy
            connection.close()
