"""Runs flows, blocking or awaiting, with HTTP clients and threads of this process.

They are opened when they are first needed. A worker opens its own after a fork and leaves those of
the master process alone.
"""

from __future__ import annotations

import asyncio
import inspect
import os
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from aplus_adapters.runtime.drivers import run, run_async
from aplus_adapters.runtime.performers import AsyncPerformer, Performer
from aplus_adapters.runtime.senders import AsyncSender, Sender
from aplus_adapters.runtime.transports import forget_connections

if TYPE_CHECKING:
    from aplus_adapters.payments.effects import Flow
    from aplus_adapters.runtime.clock import Clock

__all__ = ["Runner"]

T = TypeVar("T")

_LAST_WAIT = 5.0  # seconds at the end for flows that nobody awaits any more


class Runner:
    """Runs flows with a store, hooks and, if the shop has passed them, its own HTTP clients.

    Raises ConfigurationError for a client that cannot be used.
    """

    def __init__(
        self, store: Any, hooks: Any, *, client: Any, async_client: Any, clock: Clock
    ) -> None:
        # With a client a sender opens nothing, and raises if it cannot use the client.
        if client is not None:
            Sender(client)
        if async_client is not None:
            AsyncSender(async_client)
        self._store, self._hooks, self._clock = store, hooks, clock
        self._client, self._async_client = client, async_client
        # By process id: a lock held in the master at the fork would stay locked for ever.
        self._locks: dict[int, Lock] = {}
        self._process = os.getpid()
        self._blocking: tuple[Performer, Sender] | None = None
        self._awaiting: tuple[AsyncPerformer, AsyncSender] | None = None
        self._under_way: set[asyncio.Task[Any]] = set()

    @property
    def performer(self) -> Performer:
        """Return the blocking performer; raise ConfigurationError if hooks or store are async."""
        return self._open_blocking()

    @property
    def async_performer(self) -> AsyncPerformer:
        """Return the awaiting performer."""
        return self._open_awaiting()

    def prepare(self, *, awaiting: bool) -> None:
        """Create a performer; raise ConfigurationError if hooks or store do not fit it."""
        open_side = self._open_awaiting if awaiting else self._open_blocking
        open_side()

    def _open_blocking(self) -> Performer:
        with self._lock():
            self._renew_after_fork()
            if self._blocking is None:
                sender = Sender(self._client)
                performer = Performer(self._store, self._hooks, sender, self._clock)
                self._blocking = (performer, sender)
            return self._blocking[0]

    def _open_awaiting(self) -> AsyncPerformer:
        with self._lock():
            self._renew_after_fork()
            if self._awaiting is None:
                sender = AsyncSender(self._async_client)
                performer = AsyncPerformer(self._store, self._hooks, sender, self._clock)
                self._awaiting = (performer, sender)
            return self._awaiting[0]

    def run(self, flow: Flow[T]) -> T:
        """Return the result of a flow; block meanwhile."""
        return run(flow, self.performer)

    async def run_async(self, flow: Flow[T]) -> T:
        """Return the result of a flow; await meanwhile."""
        return await run_async(flow, self.async_performer)

    async def run_to_its_end(self, flow: Flow[T]) -> T:
        """Do what `run_async` does; if this is cancelled, the flow goes on by itself.

        It may have asked Alipay+, and what that answers must not be lost.
        """
        task = asyncio.create_task(self.run_async(flow))
        self._under_way.add(task)  # an event loop keeps no task alive
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    def close(self) -> None:
        """Close the HTTP clients and threads of the blocking side."""
        with self._lock():
            self._renew_after_fork()
            blocking, self._blocking = self._blocking, None
        if blocking is not None:
            blocking[1].close()

    async def aclose(self) -> None:
        """Close the HTTP clients and threads of the awaiting side, and what the store has open."""
        loop = asyncio.get_running_loop()
        if left := [task for task in self._under_way if task.get_loop() is loop]:
            await asyncio.wait(left, timeout=_LAST_WAIT)
        with self._lock():
            self._renew_after_fork()
            awaiting, self._awaiting = self._awaiting, None
        if awaiting is not None:
            awaiting[0].close()
            try:
                await awaiting[1].aclose()
            finally:
                # A store's connections belong to the event loop, which may end now.
                if inspect.iscoroutinefunction(close := getattr(self._store, "aclose", None)):
                    await close()

    def abandon(self) -> None:
        """Close what needs no event loop: the blocking side, and the threads of the awaiting one.

        It is for clients that the caller passed and closes himself.
        """
        self.close()
        if self._awaiting is not None:
            self._awaiting[0].close()

    def _lock(self) -> Lock:
        return self._locks.setdefault(os.getpid(), Lock())

    def _renew_after_fork(self) -> None:
        """In a forked worker, forget the clients and threads of the master process."""
        if self._process != os.getpid():
            self._process, self._blocking, self._awaiting = os.getpid(), None, None
            for client in (self._client, self._async_client):
                if client is not None:
                    forget_connections(client)
