"""The keys of shop and simulated Alipay+, made once in a process, and the account with them."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from aplus_adapters.protocol.keys import PrivateKey
from aplus_adapters.runtime.settings import Account
from aplus_adapters.simulator.identity import CLIENT_ID, KEY_VERSION, Identity

if TYPE_CHECKING:
    from aplus_adapters.protocol import account as protocol

__all__ = ["ADDRESS", "SimulatedKeys"]

ADDRESS = "https://alipayplus.test"
"""Where the simulated Alipay+ is: a name that exists nowhere, so that nothing can get out."""


@frozen(kw_only=True)
class SimulatedKeys:
    """Both sides of one client's keys; `settings` are the shop's as APLUS_* variables."""

    own_key: PrivateKey
    client_key: PrivateKey
    settings: dict[str, str] = field(repr=False)
    shop_account: Account

    @staticmethod
    @cache  # an RSA key takes as long as a hundred payments
    def of_this_process() -> SimulatedKeys:
        """Return the keys, the same ones at each call."""
        own_key, client_key = PrivateKey.generate(), PrivateKey.generate()
        account = Account(
            client_id=CLIENT_ID,
            private_key=client_key,
            alipayplus_keys=own_key.public_key,
            gateway=ADDRESS,
            notify_url=ADDRESS,
            environment="simulator",
            key_version=KEY_VERSION,
        )
        settings = {
            "APLUS_ENVIRONMENT": "simulator",
            "APLUS_CLIENT_ID": CLIENT_ID,
            "APLUS_PRIVATE_KEY": client_key.to_pem(),
            "APLUS_PUBLIC_KEY": own_key.public_key.to_pem(),
            "APLUS_KEY_VERSION": KEY_VERSION,
            "APLUS_GATEWAY": ADDRESS,
        }
        return SimulatedKeys(
            own_key=own_key, client_key=client_key, settings=settings, shop_account=account
        )

    def identity(self) -> Identity:
        """Return new books of keys, which one test may change without another noticing it."""
        clients = {CLIENT_ID: {KEY_VERSION: self.client_key.public_key}}
        return Identity(private_key=self.own_key, clients=clients)

    def account(self, notify_url: str, like: protocol.Account | None = None) -> Account:
        """Return the shop's account, with the addresses and the currency of `like` if given."""
        account = evolve(self.shop_account, notify_url=notify_url, signed_path="")
        if like is None:
            return account
        return evolve(
            account,
            notify_url=like.notify_url,
            signed_path=like.signed_path,
            settlement_currency=like.settlement_currency,
        )

    def known(self, account: protocol.Account, identity: Identity) -> protocol.Account:
        """Return an account of the shop's that pays here, with its own client id and key."""
        identity.clients[account.client_id] = {account.key_version: account.private_key.public_key}
        return evolve(account, gateway=ADDRESS, alipayplus_keys=self.own_key.public_key)
