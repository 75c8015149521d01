"""What performs the effects of flows, with the store, the hooks, the HTTP client and the clock.

Here it is decided, once, whether a hook or a store method is async. A blocking program refuses
async ones at start-up. In an async program whatever may block runs in our threads, with the
caller's context variables; a store that never blocks needs none.

Each kind of work has its own threads and waits for no other: store reads, store writes, hooks that
report a change, other hooks. So a notification does not wait for a buyer's slow `load_order`, and
a hook that reads inside its transaction does not wait for those who wait for this transaction.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from aplus_adapters.errors import (
    AplusError,
    ConfigurationError,
    HookError,
    StoreError,
    cause_of,
    hide_values,
    place_of,
)
from aplus_adapters.payments.effects import (
    CallHook,
    CallStore,
    Draw,
    NewRequestId,
    Now,
    Record,
    Send,
    Sleep,
)
from aplus_adapters.payments.hooks import (
    OPTIONAL_HOOKS,
    REQUIRED_HOOKS,
    PaymentDetails,
    RefundDetails,
)
from aplus_adapters.payments.model import RefundTransition
from aplus_adapters.payments.store import STORE_METHODS, STORE_READS
from aplus_adapters.runtime.open_hooks import recording, refuse_inside
from aplus_adapters.runtime.threads import OwnThreads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from concurrent.futures import Executor

    from aplus_adapters.payments.effects import Effect
    from aplus_adapters.payments.model import Transition
    from aplus_adapters.runtime.clock import Clock
    from aplus_adapters.runtime.senders import AsyncSender, Sender

__all__ = ["AsyncPerformer", "Performer"]

_REPORTING_HOOKS = {"payment_changed", "refund_changed", "payment_conflict"}
_THREADS = 40  # of each kind; further calls wait


class Performer:
    """Performs effects and blocks."""

    def __init__(self, store: Any, hooks: Any, sender: Sender, clock: Clock) -> None:
        _refuse_async(store, "store", STORE_METHODS)
        _refuse_async(hooks, "hook", (*REQUIRED_HOOKS, *OPTIONAL_HOOKS))
        self._store, self._hooks = store, hooks
        self._table: dict[type[Any], Callable[[Any], Any]] = {
            Now: lambda _: clock.now(),
            Draw: lambda _: clock.draw(),
            NewRequestId: lambda _: clock.new_request_id(),
            Sleep: lambda effect: clock.sleep(effect.seconds),
            Send: lambda effect: sender.send(effect.request, effect.timeout),
            CallStore: self._call_store,
            Record: self._record,
            CallHook: self._call_hook,
        }

    def __call__(self, effect: Effect) -> Any:
        """Perform one effect and return its result."""
        return self._table[type(effect)](effect)

    def _call_store(self, effect: CallStore) -> Any:
        if effect.method not in STORE_READS:
            refuse_inside(self._store, effect.method)
        return _as_store_error(
            effect.method, getattr(self._store, effect.method), *effect.arguments
        )

    def _record(self, effect: Record) -> Any:
        refuse_inside(self._store, "record")

        def inside(transition: Transition, connection: Any) -> None:
            for call in _calls(self._hooks, transition, connection):
                with recording(self._store, call.name, effect.payment_request_id):
                    self._call_hook(call)

        return _as_store_error(
            "record", self._store.record, effect.payment_request_id, effect.observation, inside
        )

    def _call_hook(self, effect: CallHook) -> Any:
        return _as_hook_error(effect.name, getattr(self._hooks, effect.name), effect.details)


class AsyncPerformer:
    """Performs effects and awaits."""

    def __init__(self, store: Any, hooks: Any, sender: AsyncSender, clock: Clock) -> None:
        self._store, self._hooks = store, hooks
        self._is_immediate = all(
            callable(getattr(store, name, None)) for name in ("try_record", "record_async")
        )
        owners = ((store, STORE_METHODS), (hooks, (*REQUIRED_HOOKS, *OPTIONAL_HOOKS)))
        self._async = {
            name
            for owner, names in owners
            for name in names
            if _is_async(getattr(owner, name, None))
        }
        inside = {
            name for name in ("payment_changed", "refund_changed") if getattr(hooks, name, None)
        }
        if "record" in self._async:
            _refuse_blocking(hooks, inside - self._async)
        if getattr(store, "runs_hooks_in_its_thread", False):
            _refuse_awaited(store, hooks, inside & self._async)
        # Where every hook is awaited, a store in memory needs no thread at all.
        self._hooks_await = inside <= self._async
        self._reading = ThreadPoolExecutor(_THREADS, thread_name_prefix="aplus-read")
        self._writing = ThreadPoolExecutor(_THREADS, thread_name_prefix="aplus-write")
        self._reporting_threads = OwnThreads(_THREADS, "aplus-report")
        self._hook_threads = OwnThreads(_THREADS, "aplus-hook")
        self._table: dict[type[Any], Callable[[Any], Awaitable[Any]]] = {
            Now: _without_waiting(clock.now),
            Draw: _without_waiting(clock.draw),
            NewRequestId: _without_waiting(clock.new_request_id),
            Sleep: lambda effect: clock.sleep_async(effect.seconds),
            Send: lambda effect: sender.send(effect.request, effect.timeout),
            CallStore: self._call_store,
            Record: self._record,
            CallHook: self._call_hook,
        }

    async def __call__(self, effect: Effect) -> Any:
        """Perform one effect and return its result."""
        return await self._table[type(effect)](effect)

    def close(self) -> None:
        """Accept no more calls; idle threads end."""
        self._reading.shutdown(wait=False)
        self._writing.shutdown(wait=False)
        self._reporting_threads.close()
        self._hook_threads.close()

    async def _in_thread(
        self, threads: OwnThreads | Executor, function: Callable[..., Any], *arguments: Any
    ) -> Any:
        call = partial(contextvars.copy_context().run, function, *arguments)
        try:
            future = asyncio.wrap_future(threads.submit(call))
        except RuntimeError as error:
            raise StoreError(
                f"the payments were closed while a request was being answered ({error})"
            ) from None
        return await future

    async def _call_store(self, effect: CallStore) -> Any:
        method = getattr(self._store, effect.method)
        if effect.method not in STORE_READS:
            refuse_inside(self._store, effect.method)
        if effect.method in self._async:
            return await _as_store_error_async(effect.method, method, *effect.arguments)
        if not self._is_immediate:
            threads = self._reading if effect.method in STORE_READS else self._writing
            call = (_as_store_error, effect.method, method, *effect.arguments)
            return await self._in_thread(threads, *call)
        return _as_store_error(effect.method, method, *effect.arguments)

    async def _call_hook(self, effect: CallHook) -> Any:
        hook = getattr(self._hooks, effect.name)
        if effect.name in self._async:
            return await _as_hook_error_async(effect.name, hook, effect.details)
        call = partial(_as_hook_error, awaits=_unchanged)
        threads = self._reporting_threads if effect.name in _REPORTING_HOOKS else self._hook_threads
        answer = await self._in_thread(threads, call, effect.name, hook, effect.details)
        if inspect.isawaitable(answer):  # a plain decorator around an async hook
            return await _as_hook_error_async(effect.name, _unchanged, answer)
        return answer

    async def _record(self, effect: Record) -> Any:
        """Record an observation; its hooks run inside the transaction, in a thread or awaited."""
        refuse_inside(self._store, "record")
        record = self._store.record
        arguments = (effect.payment_request_id, effect.observation)
        if "record" in self._async:
            return await _as_store_error_async("record", record, *arguments, self._inside)
        if self._is_immediate:
            transition = _as_store_error("record", self._store.try_record, *arguments)
            if transition is not None:
                return transition
            if self._hooks_await:
                record_async = self._store.record_async
                return await _as_store_error_async("record", record_async, *arguments, self._inside)
        loop = asyncio.get_running_loop()

        def inside(transition: Transition, connection: Any) -> None:
            for call in _calls(self._hooks, transition, connection):
                hook = getattr(self._hooks, call.name)
                with recording(self._store, call.name, effect.payment_request_id):
                    _as_hook_error(call.name, hook, call.details, awaits=partial(_await_on, loop))

        call = (_as_store_error, "record", record, *arguments, inside)
        return await self._in_thread(self._reporting_threads, *call)

    async def _inside(self, transition: Transition, connection: Any) -> None:
        for call in _calls(self._hooks, transition, connection):
            with recording(self._store, call.name, transition.after.payment_request_id):
                await self._call_hook(call)


def _calls(hooks: Any, transition: Transition, connection: Any) -> list[CallHook]:
    """Return the hooks that a transition calls inside the store's transaction."""
    attempt, observation = transition.after, transition.observation
    calls = []
    if transition.became_final:
        details = PaymentDetails(attempt=attempt, observation=observation, connection=connection)
        calls.append(CallHook("payment_changed", details))
    if (
        isinstance(transition, RefundTransition)
        and transition.refund_became_final
        and getattr(hooks, "refund_changed", None) is not None
    ):
        refund_details = RefundDetails(
            attempt=attempt,
            refund=transition.refund,
            observation=transition.observation,
            connection=connection,
        )
        calls.append(CallHook("refund_changed", refund_details))
    return calls


def _unchanged(answer: Any) -> Any:
    return answer


def _refuse_awaitable(answer: Any) -> Any:
    if inspect.iscoroutine(answer):
        # Python would warn of a coroutine that was never awaited.
        answer.close()
    raise ConfigurationError(
        f"hook returned an awaitable ({type(answer).__name__}); make it synchronous or use ASGI"
    )


def _await_on(loop: asyncio.AbstractEventLoop, answer: Awaitable[Any]) -> Any:
    """Return a hook's result from the event loop; raise StoreError if the loop has ended."""

    async def awaited() -> Any:
        return await answer

    future = asyncio.run_coroutine_threadsafe(awaited(), loop)
    while True:
        try:
            # In steps: once the loop has ended, nobody completes this future.
            return future.result(timeout=1.0)
        except TimeoutError:
            if future.done():
                raise  # the hook itself raised it
            if loop.is_closed():
                raise StoreError(
                    "the event loop ended before the hook did; nothing was stored"
                ) from None


def _without_waiting(function: Callable[[], Any]) -> Callable[[Any], Awaitable[Any]]:
    async def call(_effect: object) -> Any:
        return function()

    return call


def _is_async(function: Any) -> bool:
    while isinstance(function, partial):
        function = function.func
    if not callable(function):
        return False
    # An object with an async __call__ is async, too.
    return any(map(inspect.iscoroutinefunction, (function, type(function).__call__)))


def _refuse_async(owner: object, what: str, names: tuple[str, ...]) -> None:
    for name in names:
        if _is_async(getattr(owner, name, None)):
            change = "use SQLStore" if what == "store" else "make it plain"
            raise ConfigurationError(
                f"{what} {type(owner).__name__}.{name}: found an async function, expected a plain "
                f"one where nothing can be awaited; {change}, or serve the shop by ASGI"
            )


def _refuse_blocking(hooks: object, names: set[str]) -> None:
    """Raise ConfigurationError for a hook that cannot await what an awaiting store passes to it."""
    for name in sorted(names):
        # A plain decorator around an async hook returns what can be awaited.
        if not inspect.iscoroutinefunction(inspect.unwrap(getattr(hooks, name))):
            raise ConfigurationError(
                f"hook {type(hooks).__name__}.{name}: found a plain function, expected an async "
                "one, because the store awaits and details.connection can only be awaited; write "
                f"async def {name}, or use a blocking store such as SQLStore"
            )


def _refuse_awaited(store: object, hooks: object, names: set[str]) -> None:
    """Raise ConfigurationError for an async hook with a connection that belongs to one thread."""
    if names:
        raise ConfigurationError(
            f"hook {type(hooks).__name__}.{min(names)}: found an async function, expected a plain "
            f"one, because what is written beside {type(store).__name__}'s thread commits apart"
        )


def _as_store_error(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except AplusError:
        raise
    except Exception as error:
        raise _store_error(name, error) from error


async def _as_store_error_async(
    name: str, function: Callable[..., Awaitable[Any]], *arguments: Any
) -> Any:
    try:
        return await function(*arguments)
    except AplusError:
        raise
    except Exception as error:
        raise _store_error(name, error) from error


def _store_error(name: str, error: Exception) -> StoreError:
    hide_values(error)  # which may tell of a buyer
    cause = cause_of(error)
    return StoreError(
        f"store {name}: raised {type(error).__name__}{cause and f' ({cause})'}; nothing is "
        "acknowledged until it works again"
    )


def _as_hook_error(
    name: str,
    function: Callable[..., Any],
    details: Any,
    *,
    awaits: Callable[[Any], Any] = _refuse_awaitable,
) -> Any:
    """Return a hook's answer; `awaits` turns an awaitable into its result."""
    try:
        answer = function(details)
        is_awaited = answer is not None and inspect.isawaitable(answer)  # which takes its time
        return awaits(answer) if is_awaited else answer
    except Exception as error:
        raise _hook_error(name, error) from error


async def _as_hook_error_async(
    name: str, function: Callable[..., Awaitable[Any]], *arguments: Any
) -> Any:
    try:
        return await function(*arguments)
    except Exception as error:
        raise _hook_error(name, error) from error


def _hook_error(name: str, error: Exception) -> HookError:
    hide_values(error)  # of statements that the hook ran on our connection
    # Our errors hold no secret; the text of others may, so it is left to the traceback.
    message = f": {error}" if isinstance(error, AplusError) else ""
    where = place_of(error)
    return HookError(f"hook {name}: raised {type(error).__name__}{where}{message}", hook=name)
