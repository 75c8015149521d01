"""Threads for the shop's plain hooks under ASGI; each thread makes one call and ends.

So the next call does not meet what the shop's code left in the thread, such as the session of a
`scoped_session` or a connection of Django.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["OwnThreads"]

T = TypeVar("T")


class OwnThreads:
    """Runs each call in a new thread, at most `most` at the same time; further calls wait."""

    def __init__(self, most: int, name: str) -> None:
        self._most, self._name = most, name
        self._lock = Lock()
        self._running = 0
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._is_closed = False

    def submit(self, call: Callable[[], T], /) -> Future[T]:
        """Run a call as soon as a thread is free; raise RuntimeError if this is closed."""
        future: Future[T] = Future()
        work = (future, call)
        with self._lock:
            if self._is_closed:
                raise RuntimeError("these threads were closed")
            if self._running >= self._most:
                self._waiting.append(work)
                return future
            self._running += 1
        self._start(work)
        return future

    def close(self) -> None:
        """Accept no more calls; those that run or wait are completed."""
        with self._lock:
            self._is_closed = True

    def _start(self, work: tuple[Future[Any], Callable[[], Any]]) -> None:
        try:
            Thread(target=self._work, args=work, name=self._name).start()
        except RuntimeError as error:  # the system gives no more threads
            self._leave()
            work[0].set_exception(error)

    def _work(self, future: Future[Any], call: Callable[[], Any]) -> None:
        try:
            if future.set_running_or_notify_cancel():
                try:
                    result = call()
                except BaseException as error:
                    future.set_exception(error)
                else:
                    future.set_result(result)
        finally:
            self._leave()

    def _leave(self) -> None:
        with self._lock:
            following = self._waiting.popleft() if self._waiting else None
            if following is None:
                self._running -= 1
        if following is not None:
            self._start(following)
