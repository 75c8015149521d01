"""What operators ask of AplusPay: pages of payments, conflicts and health."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from aplus_adapters.payments.flows.operate import find_conflicts, find_page, read_health, resolve
from aplus_adapters.payments.flows.prune import BATCH, forget_buyer, prune
from aplus_adapters.payments.search import PaymentFilter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime, timedelta

    from aplus_adapters.payments.effects import Flow
    from aplus_adapters.payments.flows.prune import PruneReport
    from aplus_adapters.payments.health import Health
    from aplus_adapters.payments.model import Attempt, State
    from aplus_adapters.payments.policy import PaymentConfig
    from aplus_adapters.payments.search import ConflictRecord, Page

__all__ = ["Operations"]

T = TypeVar("T")


class RunsFlows(Protocol):
    """What these methods need of AplusPay."""

    config: PaymentConfig

    def run(self, flow: Flow[T]) -> T:
        """Run a flow to its end, blocking."""
        ...

    async def run_async(self, flow: Flow[T]) -> T:
        """Run a flow to its end, awaiting."""
        ...

    def _write(self, method: str, flow: Flow[T]) -> T: ...

    async def _write_async(self, method: str, flow: Flow[T]) -> T: ...


class Operations:
    """The methods of AplusPay for operators; each has a twin that awaits."""

    def list(
        self: RunsFlows,
        *,
        state: State | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        order_ref: str | None = None,
        wallet: str | None = None,
        account: str | None = None,
        needs_attention: bool = False,
        oldest_first: bool = False,
        after: str | None = None,
        limit: int = 50,
    ) -> Page:
        """Return one page of payments that meet every condition, the newest first.

        `since` and `until` limit when the attempt was created: at `since` or later, and before
        `until`. `account` is a client id. `needs_attention` asks for payments with a conflict that
        nobody has resolved. `after` is the `Page.after` of the page before. `limit` is 1 to 1000.
        A page costs the same however many payments are stored. Raises InvalidValue.
        """
        wanted = PaymentFilter(
            state=state,
            since=since,
            until=until,
            order_ref=order_ref,
            wallet=wallet,
            account=account,
            needs_attention=needs_attention,
            oldest_first=oldest_first,
            after=after,
        )
        return self.run(find_page(wanted, limit))

    async def list_async(
        self: RunsFlows,
        *,
        state: State | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        order_ref: str | None = None,
        wallet: str | None = None,
        account: str | None = None,
        needs_attention: bool = False,
        oldest_first: bool = False,
        after: str | None = None,
        limit: int = 50,
    ) -> Page:
        """Do what `list` does, awaiting."""
        wanted = PaymentFilter(
            state=state,
            since=since,
            until=until,
            order_ref=order_ref,
            wallet=wallet,
            account=account,
            needs_attention=needs_attention,
            oldest_first=oldest_first,
            after=after,
        )
        return await self.run_async(find_page(wanted, limit))

    def conflicts(
        self: RunsFlows,
        payment_request_id: str | None = None,
        *,
        limit: int = 100,
        after: str | None = None,
    ) -> Sequence[ConflictRecord]:
        """Return the conflicts that nobody has resolved, the oldest first.

        With an id it returns all conflicts of that payment, also resolved ones with their notes.
        `after` is the key of the last conflict that you have seen. `limit` is 1 to 1000.
        """
        return self.run(find_conflicts(payment_request_id, limit, after))

    async def conflicts_async(
        self: RunsFlows,
        payment_request_id: str | None = None,
        *,
        limit: int = 100,
        after: str | None = None,
    ) -> Sequence[ConflictRecord]:
        """Do what `conflicts` does, awaiting."""
        return await self.run_async(find_conflicts(payment_request_id, limit, after))

    def resolve_conflict(self: RunsFlows, key: str, *, note: str, by: str) -> ConflictRecord:
        """Mark a conflict as resolved: `note` says what was done, `by` who did it.

        Only the first call for a key counts; a later one returns what is stored. It moves no
        money and changes no state: use `refund` for that. The same contradiction, seen again,
        stays resolved. Raises InvalidValue for an unknown key and an empty text.
        """
        return self._write("resolve_conflict", resolve(key, note, by))

    async def resolve_conflict_async(
        self: RunsFlows, key: str, *, note: str, by: str
    ) -> ConflictRecord:
        """Do what `resolve_conflict` does, awaiting."""
        return await self._write_async("resolve_conflict", resolve(key, note, by))

    def health(self: RunsFlows) -> Health:
        """Return what says whether payments go on by themselves; docs/operations.md has a probe.

        It asks the store only, and costs the same however many payments are stored. Raises
        StoreError if the store cannot be read.
        """
        return self.run(read_health(self.config))

    async def health_async(self: RunsFlows) -> Health:
        """Do what `health` does, awaiting."""
        return await self.run_async(read_health(self.config))

    def prune(
        self: RunsFlows,
        older_than: timedelta | None = None,
        *,
        forget_after: timedelta | None = None,
        even_paid: bool = False,
        even_refundable: bool = False,
        batch: int = BATCH,
        dry_run: bool = False,
        progress: Callable[[PruneReport], None] = lambda _: None,
    ) -> PruneReport:
        """Delete final payments older than an age, forget buyers after another; return counts.

        The age is the time since the last change. Without `even_paid` a paid payment is never
        deleted, since its order could then be paid again: only its buyer is forgotten. What may
        still be refunded is kept even then, unless `even_refundable`. Never touched: open payments,
        open refunds, conflicts that are unresolved or unreported. `forget_after` None is
        `older_than`; `older_than` None deletes nothing. `batch` (1 to 1000) payments are one
        transaction, and `progress` is called after each. With `dry_run` nothing is changed.
        docs/retention.md says what to choose. Raises InvalidValue for an age under two days.
        """
        flow = prune(
            self.config,
            older_than,
            forget_after,
            even_paid=even_paid,
            even_refundable=even_refundable,
            batch=batch,
            dry_run=dry_run,
            progress=progress,
        )
        return self._write("prune", flow)

    async def prune_async(
        self: RunsFlows,
        older_than: timedelta | None = None,
        *,
        forget_after: timedelta | None = None,
        even_paid: bool = False,
        even_refundable: bool = False,
        batch: int = BATCH,
        dry_run: bool = False,
        progress: Callable[[PruneReport], None] = lambda _: None,
    ) -> PruneReport:
        """Do what `prune` does, awaiting."""
        flow = prune(
            self.config,
            older_than,
            forget_after,
            even_paid=even_paid,
            even_refundable=even_refundable,
            batch=batch,
            dry_run=dry_run,
            progress=progress,
        )
        return await self._write_async("prune", flow)

    def forget_buyer(self: RunsFlows, payment_request_id: str) -> Attempt:
        """Forget the buyer of one final payment now, as a person may demand; return the payment.

        A second call changes nothing. Raises UnknownPayment, and InvalidValue while the payment is
        open, has an open refund, or has a conflict that is unresolved or unreported.
        """
        return self._write("forget_buyer", forget_buyer(payment_request_id))

    async def forget_buyer_async(self: RunsFlows, payment_request_id: str) -> Attempt:
        """Do what `forget_buyer` does, awaiting."""
        return await self._write_async("forget_buyer", forget_buyer(payment_request_id))
