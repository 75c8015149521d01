"""Stores as they are often written by hand: each checks first and updates afterwards."""

from attrs import evolve
from sqlalchemy import insert, select, update

from aplus_adapters import MemoryStore, SQLStore
from aplus_adapters.payments.refund_states import admit_refund
from aplus_adapters.payments.search import page_key
from aplus_adapters.payments.states import advance
from aplus_adapters.stores.rows import (
    attempt_of,
    attempt_row,
    dump_observation,
    refund_row,
)
from aplus_adapters.stores.schema import TABLES

observations, payments, refunds = TABLES.observations, TABLES.payments, TABLES.refunds


class ChecksThenRecords(SQLStore):
    """Reads the attempt in one transaction and writes it in another."""

    def record(self, payment_request_id, observation, inside):
        mine = payments.c.payment_request_id == payment_request_id
        with self._transaction("get") as connection:
            row = connection.execute(select(payments).where(mine)).mappings().one()
            transition = advance(attempt_of(row), observation)
        with self._transaction("write") as connection:
            if transition.became_final:
                inside(transition, connection)
            connection.execute(update(payments).where(mine).values(attempt_row(transition.after)))
            details = dump_observation(observation)
            connection.execute(
                insert(observations).values(
                    shop="shop",
                    payment_request_id=payment_request_id,
                    source=observation.source.value,
                    details=details,
                )
            )
        return transition


class ChecksThenClaims(SQLStore):
    """Compares the claim's token in Python."""

    def claim(self, payment_request_id, token, until):
        found = self.get(payment_request_id)
        if found is None or found.next_call_at is None or found.claim != token:
            return False
        with self._transaction("write") as connection:
            mine = payments.c.payment_request_id == payment_request_id
            values = {"claim": token + 1, "claimed_until": until, "next_call_at": until}
            connection.execute(update(payments).where(mine).values(values))
        return True


class ChecksThenAdds(SQLStore):
    """Looks for an open attempt and inserts another if it sees none; no unique index helps it."""

    def add(self, attempt, *_limit):
        found = self.latest(attempt.order_ref)
        if found is not None and found.occupies_order:
            return found
        with self._transaction("write") as connection:
            row = {"shop": "shop", **attempt_row(attempt), "occupied_order": None}
            connection.execute(insert(payments).values(row))
        return attempt


class ChecksThenRefunds(SQLStore):
    """Sums up in one transaction and inserts in another."""

    def add_refund(self, refund):
        attempt = self.get(refund.payment_request_id)
        stored = admit_refund(attempt, self.refunds(refund.payment_request_id), refund)
        if stored is None:
            with self._transaction("write") as connection:
                connection.execute(insert(refunds).values(shop="shop", **refund_row(refund)))
        return stored or refund


class ForgetsTheHook(MemoryStore):
    """Commits before the shop's hook has returned."""

    def record(self, payment_request_id, observation, inside):
        transition = super().record(payment_request_id, observation, lambda *_: None)
        if transition.calls_hooks:
            inside(transition, None)
        return transition


class LosesContradictions(MemoryStore):
    """Stores no conflicts."""

    def record(self, payment_request_id, observation, inside):
        return evolve(super().record(payment_request_id, observation, inside), conflict=None)

    def unreported_conflicts(self, limit, client_ids):
        return []


class ForgetsTies(MemoryStore):
    """Goes on after the last moment of a page, not after the last payment."""

    def find_page(self, wanted, limit):
        page = super().find_page(wanted, limit)
        if page.after is None or wanted.oldest_first:
            return page
        return evolve(page, after=page_key(page.attempts[-1].created_at, "0"))


class OpensConflictsAgain(MemoryStore):
    """Takes the same contradiction, seen again, for a new one."""

    def record(self, payment_request_id, observation, inside):
        transition = super().record(payment_request_id, observation, inside)
        if transition.conflict is not None:
            self._resolved.pop(transition.conflict.key, None)
        return transition


__all__ = [
    "ChecksThenAdds",
    "ChecksThenClaims",
    "ChecksThenRecords",
    "ChecksThenRefunds",
    "ForgetsTheHook",
    "ForgetsTies",
    "LosesContradictions",
    "OpensConflictsAgain",
]  # fmt: skip
