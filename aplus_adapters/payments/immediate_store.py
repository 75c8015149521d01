"""What a blocking store offers beside the contract if it waits for nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from aplus_adapters.payments.store import C_co, PaymentStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aplus_adapters.payments.model import Observation, RefundObservation, Transition

__all__ = ["ImmediateStore"]


class ImmediateStore(PaymentStore[C_co], Protocol[C_co]):
    """A blocking store that waits for nothing but the shop's hook, such as one in memory.

    Under ASGI it is called on the event loop itself, without a thread.
    """

    def try_record(
        self, payment_request_id: str, observation: Observation | RefundObservation, /
    ) -> Transition | None:
        """Do what `record` does if that needs no waiting and no hook; otherwise return None."""
        ...

    async def record_async(
        self,
        payment_request_id: str,
        observation: Observation | RefundObservation,
        inside: Callable[[Transition, C_co], Awaitable[None]],
        /,
    ) -> Transition:
        """Do what `record` does with a hook that is awaited."""
        ...
