"""Knowing that the shop's hook runs inside a transaction of the store.

What a hook asks of the same store would wait for the very transaction that waits for the hook. So
writing is refused at once: the mark is a context variable, which follows the hook into threads of
ours and onto the event loop. Reading is fine; it does not see what the hook has not committed.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from attrs import field, frozen

from aplus_adapters.errors import WouldDeadlock

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["recording", "refuse_inside"]


@frozen
class _Hook:
    store: object = field(repr=False)
    name: str
    payment_request_id: str


_hooks: ContextVar[tuple[_Hook, ...]] = ContextVar("aplus_hooks", default=())


@contextmanager
def recording(store: object, hook: str, payment_request_id: str) -> Iterator[None]:
    """Mark what happens meanwhile as done by a hook inside a transaction of this store."""
    token = _hooks.set((*_hooks.get(), _Hook(store, hook, payment_request_id)))
    try:
        yield
    finally:
        _hooks.reset(token)


def refuse_inside(store: object, method: str) -> None:
    """Raise WouldDeadlock if a hook inside a transaction of this store wants to write to it.

    Source: the payment and its hook are one transaction, which would wait for itself.
    """
    for one in _hooks.get():
        if one.store is store:
            raise WouldDeadlock(
                f"payment {one.payment_request_id}: {one.name} asked for something that writes to "
                f"the store ({method}) while the transaction of the hook itself is open, and would "
                "wait for itself; do it after the hook has returned, such as in a job that the "
                "hook writes down by details.connection"
            )
