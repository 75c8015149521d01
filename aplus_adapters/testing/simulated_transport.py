"""The simulated gateway as the transport of an HTTP client: no socket, and waits take no time."""

from __future__ import annotations

from functools import partial
from threading import RLock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aplus_adapters.simulator.alipayplus import Reply, SimulatedAlipayPlus
    from aplus_adapters.testing.clock import VirtualClock

__all__ = ["SimulatedNetwork"]


class SimulatedNetwork:
    """Leads the requests of clients to `alipayplus`; `clock` moves where a fault orders a wait."""

    def __init__(self, alipayplus: SimulatedAlipayPlus, clock: VirtualClock) -> None:
        self._alipayplus, self._clock = alipayplus, clock
        self._lock = RLock()  # the shop may call from threads of its own

    def transport(self, library: Any) -> Any:
        """Return a transport for clients of `library`, httpx or httpx2, blocking and awaiting."""
        # The library's own class: its clients need no guard against a network that hangs.
        return library.MockTransport(partial(self._handle, library))

    def _handle(self, library: Any, request: Any) -> Any:
        """Answer a request, or raise the error that a fault causes in the client."""
        with self._lock:
            self._alipayplus.do_what_is_due()
            reply, waited = self._answer(request)
        limit = request.extensions.get("timeout", {}).get("read")
        if limit is not None and waited > limit:
            raise library.ReadTimeout(f"no answer within {limit:g} s (a fault)", request=request)
        if reply.cut:
            raise library.RemoteProtocolError("the answer was cut (a fault)", request=request)
        return library.Response(reply.status, headers=dict(reply.headers), content=reply.body)

    def _answer(self, request: Any) -> tuple[Reply, float]:
        """Return the reply, and the seconds after which it comes to whoever waits so long."""
        steps = self._alipayplus.answer(
            method=request.method,
            path=request.url.path,
            headers=request.headers,
            body=request.content,
        )
        waited = 0.0
        while True:
            try:
                seconds = next(steps)
            except StopIteration as end:
                reply: Reply = end.value
                self._clock.sleep(reply.trickle)
                return reply, waited + reply.trickle
            self._clock.sleep(seconds)
            waited += seconds
