"""The four calls without any web framework: `Client` blocks, `AsyncClient` awaits."""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from threading import Lock
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from attrs import evolve

from aplus_adapters.errors import ConfigurationError, InconsistentRetry, InvalidValue
from aplus_adapters.payments import policy as policies
from aplus_adapters.payments.effects import Draw, Send, Sleep
from aplus_adapters.payments.flows.gateway_call import call
from aplus_adapters.protocol.account import Account
from aplus_adapters.protocol.messages.cancel import CancelRequest, CancelResponse
from aplus_adapters.protocol.messages.inquiry import InquiryRequest, InquiryResponse
from aplus_adapters.protocol.messages.pay import PayRequest, PayResponse
from aplus_adapters.protocol.messages.refund import RefundRequest, RefundResponse
from aplus_adapters.runtime.clock import Clock, SystemClock
from aplus_adapters.runtime.drivers import run, run_async
from aplus_adapters.runtime.senders import AsyncSender, Sender

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aplus_adapters.payments.effects import Effect, Flow
    from aplus_adapters.payments.policy import Retry

__all__ = ["AsyncClient", "Client"]

TIMEOUTS: Mapping[type[Any], float] = MappingProxyType(
    {PayRequest: 8.0, RefundRequest: 8.0, CancelRequest: 8.0, InquiryRequest: 5.0}
)
"""Seconds for one HTTP exchange of each call. Source: protocol, "Time"."""

_MOST_REMEMBERED = 10_000  # payment and refund request ids


class _Calls:
    """The flow of each call, for both clients."""

    def __init__(
        self,
        account: Account,
        *,
        timeout: float | None,
        deadline: float | None,
        clock: Clock | None,
    ) -> None:
        if not isinstance(account, Account):
            raise ConfigurationError(
                f"Client: found {type(account).__name__}, expected an Account, such as "
                "Account.from_env()"
            )
        self._account, self._timeout, self._deadline = account, timeout, deadline
        self._clock = clock or SystemClock()
        self._seen: OrderedDict[str, bytes] = OrderedDict()
        self._locks: dict[int, Lock] = {}  # by process id: a fork copies a lock that is held

    def _pay(self, request: PayRequest) -> Flow[PayResponse]:
        _check(request, PayRequest)
        # Alipay+ refuses an id that comes again with other content; here nothing is sent yet.
        self._remember(f"paymentRequestId {request.payment_request_id}", request.encode())
        return self._call(request, PayResponse, policies.PAY)

    def _inquire(self, request: InquiryRequest) -> Flow[InquiryResponse]:
        _check(request, InquiryRequest)
        return self._call(request, InquiryResponse, policies.INQUIRY)

    def _cancel(self, request: CancelRequest) -> Flow[CancelResponse]:
        _check(request, CancelRequest)
        return self._call(request, CancelResponse, policies.CANCEL)

    def _refund(self, request: RefundRequest) -> Flow[RefundResponse]:
        _check(request, RefundRequest)
        self._remember(f"refundRequestId {request.refund_request_id}", request.encode())
        return self._call(request, RefundResponse, policies.REFUND)

    def _call(self, request: Any, response: type[Any], retry: Retry) -> Flow[Any]:
        if self._deadline is not None:
            retry = evolve(retry, deadline=self._deadline)
        timeout = TIMEOUTS[type(request)] if self._timeout is None else self._timeout
        return call(self._account, request, response, retry=retry, timeout=timeout)

    def _remember(self, request_id: str, body: bytes) -> None:
        """Raise InconsistentRetry if this client remembers the id with other content."""
        digest = hashlib.sha256(body).digest()
        with self._locks.setdefault(os.getpid(), Lock()):
            if self._seen.setdefault(request_id, digest) != digest:
                raise InconsistentRetry(
                    f"{request_id}: already used with other content, expected the identical "
                    "request or a new id; nothing was sent"
                )
            self._seen.move_to_end(request_id)
            while len(self._seen) > _MOST_REMEMBERED:
                self._seen.popitem(last=False)


def _check(request: object, expected: type[Any]) -> None:
    """Raise InvalidValue unless a request is of its call's kind: another may look right to it."""
    if type(request) is not expected:
        raise InvalidValue(
            f"Client: found {type(request).__name__}, expected {expected.__name__} for this call; "
            "nothing was sent"
        )


class Client(_Calls):
    """Calls Alipay+ for one account and blocks; safe for threads; also a context manager.

    `timeout` is the seconds for one HTTP exchange, by default as documented by Alipay+: 8 for pay,
    refund and cancel, 5 for inquire. `deadline` is the seconds for a call with its repetitions, by
    default that of its policy in `payments.policy`. `client` is your own httpx or httpx2 client;
    it stays open.

    A request is sent again, with identical bytes, after: no answer, an answer that does not verify,
    UNKNOWN_EXCEPTION, REQUEST_TRAFFIC_EXCEED_LIMIT (after its Retry-After) and every other U that
    asks for it. It is never sent again after a verified S, F or order code.

    Each call raises Rejected (verified F), NotSent or OutcomeUnknown. InvalidValue (a request of
    another kind) and InconsistentRetry are raised before anything is sent.
    Source: the seed page, "Result processing logic".
    """

    def __init__(
        self,
        account: Account,
        *,
        client: Any = None,
        timeout: float | None = None,
        deadline: float | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(account, timeout=timeout, deadline=deadline, clock=clock)
        self._sender = Sender(client)

    def pay(self, request: PayRequest) -> PayResponse:
        """Return the order code; the normal result is U with PAYMENT_IN_PROCESS."""
        return run(self._pay(request), self._perform)

    def inquire(self, request: InquiryRequest) -> InquiryResponse:
        """Return the payment's state in `payment_result`; U means: inquire again later."""
        return run(self._inquire(request), self._perform)

    def cancel(self, request: CancelRequest) -> CancelResponse:
        """Cancel a payment; S means that it is closed for good."""
        return run(self._cancel(request), self._perform)

    def refund(self, request: RefundRequest) -> RefundResponse:
        """Refund all or a part; a repeated refundRequestId is the same refund."""
        return run(self._refund(request), self._perform)

    def close(self) -> None:
        """Close the connections that were opened here."""
        self._sender.close()

    def _perform(self, effect: Effect) -> Any:
        match effect:
            case Send(request, timeout):
                return self._sender.send(request, timeout)
            case Sleep(seconds):
                return self._clock.sleep(seconds)
            case Draw():
                return self._clock.draw()
            case _:
                return self._clock.now()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


class AsyncClient(_Calls):
    """Calls Alipay+ for one account and awaits; otherwise the same as `Client`."""

    def __init__(
        self,
        account: Account,
        *,
        client: Any = None,
        timeout: float | None = None,
        deadline: float | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(account, timeout=timeout, deadline=deadline, clock=clock)
        self._sender = AsyncSender(client)

    async def pay(self, request: PayRequest) -> PayResponse:
        """Return the order code; the normal result is U with PAYMENT_IN_PROCESS."""
        return await run_async(self._pay(request), self._perform)

    async def inquire(self, request: InquiryRequest) -> InquiryResponse:
        """Return the payment's state in `payment_result`; U means: inquire again later."""
        return await run_async(self._inquire(request), self._perform)

    async def cancel(self, request: CancelRequest) -> CancelResponse:
        """Cancel a payment; S means that it is closed for good."""
        return await run_async(self._cancel(request), self._perform)

    async def refund(self, request: RefundRequest) -> RefundResponse:
        """Refund all or a part; a repeated refundRequestId is the same refund."""
        return await run_async(self._refund(request), self._perform)

    async def aclose(self) -> None:
        """Close the connections that were opened here."""
        await self._sender.aclose()

    async def _perform(self, effect: Effect) -> Any:
        match effect:
            case Send(request, timeout):
                return await self._sender.send(request, timeout)
            case Sleep(seconds):
                return await self._clock.sleep_async(seconds)
            case Draw():
                return self._clock.draw()
            case _:
                return self._clock.now()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.aclose()
