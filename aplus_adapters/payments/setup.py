"""What every flow of one shop shares: its accounts and its rules of time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen

from aplus_adapters.errors import ConfigurationError
from aplus_adapters.payments.policy import Rules, has_come

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from aplus_adapters.payments.model import Attempt, Refund
    from aplus_adapters.protocol.account import Account

__all__ = ["Setup"]


@frozen(kw_only=True)
class Setup:
    """Accounts by client id, the first one being the default, and the rules of time."""

    accounts: Mapping[str, Account]
    rules: Rules = field(factory=Rules)

    @property
    def default_account(self) -> Account:
        """Return the account that takes payments unless the order names another."""
        return next(iter(self.accounts.values()))

    def is_free(self, item: Attempt | Refund, moment: datetime) -> bool:
        """Return whether nobody's claim of an attempt or a refund is in force.

        One that ends later than a claim can, counted from now, was made by a clock that was wrong.
        """
        until, longest = item.claimed_until, max(self.rules.claim, self.rules.refund_claim)
        return until is None or not moment < until <= moment + longest

    def is_due(self, item: Attempt | Refund, moment: datetime) -> bool:
        """Return whether it is time to call Alipay+ about an attempt or a refund of ours."""
        is_ours = item.client_id in self.accounts
        return is_ours and self.is_free(item, moment) and has_come(item, moment)

    def account(self, client_id: str | None) -> Account:
        """Return the account of a client id (None: the default); ConfigurationError if unknown."""
        if client_id is None:
            return self.default_account
        if client_id not in self.accounts:
            raise ConfigurationError(
                f"client id {client_id[:128]!r}: found no such account, expected one of "
                f"{', '.join(self.accounts)}; pass every account to AplusPay"
            )
        return self.accounts[client_id]
