"""The suite of `store_contract` for a store that awaits: subclass it to test your own.

    class TestOurStore(AsyncPaymentStoreContract):
        @pytest.fixture
        def async_store(self):
            return OurStore(...)  # empty

Each test is the one of the blocking stores. Its threads become tasks of one event loop, which runs
in a thread of its own.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from typing import TYPE_CHECKING, Any

import pytest

from aplus_adapters.payments.store import STORE_METHODS
from aplus_adapters.testing.store_contract import PaymentStoreContract

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["AsyncPaymentStoreContract"]


class _BlockingFront:
    """Presents a store that awaits as one that blocks, on an event loop in another thread."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in STORE_METHODS:
            raise AttributeError(name)

        def call(*arguments: Any) -> Any:
            if name == "record":
                arguments = (*arguments[:2], _awaiting(arguments[2]))
            return self._run(getattr(self._store, name)(*arguments))

        return call

    def close(self) -> None:
        """Close the store, if it can be closed, and end the event loop."""
        try:
            if inspect.iscoroutinefunction(close := getattr(self._store, "aclose", None)):
                self._run(close())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _run(self, awaitable: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(awaitable, self._loop).result()


def _awaiting(inside: Callable[..., None]) -> Callable[..., Any]:
    async def hook(*arguments: Any) -> None:
        await asyncio.to_thread(inside, *arguments)  # it sleeps, and other tasks must go on

    return hook


class AsyncPaymentStoreContract(PaymentStoreContract):
    """The tests; a subclass defines a fixture `async_store`, an empty store for each test."""

    @pytest.fixture
    def store(self, async_store: Any) -> Iterator[Any]:
        """Return the store in the form in which the tests call it."""
        front = _BlockingFront(async_store)
        yield front
        front.close()
