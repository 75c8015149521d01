"""What every flow of one shop shares: its accounts and its rules of time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen

from aplus_adapters.errors import ConfigurationError
from aplus_adapters.payments.retry import Rules

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aplus_adapters.protocol.account import Account

__all__ = ["Setup"]


@frozen(kw_only=True)
class Setup:
    """Accounts by client id, the first one being the default, and the rules of time."""

    accounts: Mapping[str, Account]
    rules: Rules = field(factory=Rules)

    @property
    def default_account(self) -> Account:
        """Give the account that takes payments unless the order names another."""
        return next(iter(self.accounts.values()))

    def account(self, client_id: str | None) -> Account:
        """Give the account of a client id (None: the default); ConfigurationError if unknown."""
        if client_id is None:
            return self.default_account
        if client_id not in self.accounts:
            raise ConfigurationError(
                f"client id {client_id[:128]!r}: found no such account, expected one of "
                f"{', '.join(self.accounts)}; pass every account to AplusPay"
            )
        return self.accounts[client_id]
