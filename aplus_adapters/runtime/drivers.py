"""The two drivers of flows: the same loop, blocking and awaiting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aplus_adapters.payments.effects import Effect, Flow

__all__ = ["run", "run_async"]

T = TypeVar("T")


def run(flow: Flow[T], perform: Callable[[Effect], Any]) -> T:
    """Return the result of a flow; errors of `perform` are raised inside the flow."""
    try:
        effect = next(flow)
        while True:
            try:
                outcome = perform(effect)
            except Exception as error:  # the flow decides what it means for the payment
                effect = flow.throw(error)
            else:
                effect = flow.send(outcome)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        flow.close()


async def run_async(flow: Flow[T], perform: Callable[[Effect], Awaitable[Any]]) -> T:
    """Return the result of a flow; the same as `run`, and cancellation closes the flow."""
    try:
        effect = next(flow)
        while True:
            try:
                outcome = await perform(effect)
            except Exception as error:  # the flow decides what it means for the payment
                effect = flow.throw(error)
            else:
                effect = flow.send(outcome)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        # Cancellation is no Exception: it passes the flow by, which is closed here.
        flow.close()
