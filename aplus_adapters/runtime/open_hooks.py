"""A mark while a hook of the shop runs inside a transaction of the store.

If such a hook wrote to the same store, the write would wait for the transaction and the transaction
for the hook. So the write is refused at once. The mark is a context variable: it is also seen in
our threads and on the event loop, and in a task that the hook has started, until the hook has
returned. Reading is allowed; it does not see what is not yet committed.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from attrs import define, field

from aplus_adapters.errors import WouldDeadlock

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["recording", "refuse_inside"]


@define
class _Hook:
    store: object = field(repr=False)
    name: str
    payment_request_id: str
    is_running: bool = True


_hooks: ContextVar[tuple[_Hook, ...]] = ContextVar("aplus_hooks", default=())


@contextmanager
def recording(store: object, hook: str, payment_request_id: str) -> Iterator[None]:
    """Mark the body of `with` as a hook inside a transaction of this store."""
    mark = _Hook(store, hook, payment_request_id)
    token = _hooks.set((*_hooks.get(), mark))
    try:
        yield
    finally:
        mark.is_running = False  # also for the tasks that have a copy of the variable
        _hooks.reset(token)


def refuse_inside(store: object, method: str) -> None:
    """Raise WouldDeadlock if this runs in a hook inside a transaction of this store.

    Source: the payment and its hook are one transaction, which would wait for itself.
    """
    for hook in _hooks.get():
        # Another store has no transaction open, so that a write to it waits for nothing.
        if hook.store is store and hook.is_running:
            raise WouldDeadlock(
                f"payment {hook.payment_request_id}: {hook.name} asked for something that writes "
                f"to the store ({method}) while the transaction of the hook itself is open, and "
                "would wait for itself; do it after the hook has returned, such as in a job that "
                "the hook stores through details.connection"
            )
