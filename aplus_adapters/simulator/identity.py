"""The keys of shop and simulator, kept in a folder, and the shop's settings in `shop.env`."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from attrs import frozen

from aplus_adapters.protocol.keys import KeyRing, PrivateKey

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CLIENT_ID", "NOTIFY_URL", "Identity"]

CLIENT_ID = "SIMULATED_CLIENT_0001"
NOTIFY_URL = "http://127.0.0.1:8000/aplus/notify"
KEY_VERSION = "1"


@frozen(kw_only=True)
class Identity:
    """The simulator's private key, and the public key of the shop, its client."""

    private_key: PrivateKey
    client_keys: KeyRing

    @classmethod
    def open(cls, folder: Path, address: str, notify_url: str = NOTIFY_URL) -> Identity:
        """Load the keys of a folder, or make them, and write `shop.env` for the shop.

        The simulator listens at `address`. The shop takes notifications at `notify_url`. Files with
        private keys are readable by their owner only.
        """
        folder.mkdir(parents=True, exist_ok=True)
        own_key = _load_or_make_key(folder / "alipayplus_private.pem")
        (folder / "alipayplus_public.pem").write_text(own_key.public_key.to_pem())
        client_key = _load_or_make_key(folder / "client_private.pem").public_key
        settings = {
            "ENVIRONMENT": "simulator",
            "CLIENT_ID": CLIENT_ID,
            "PRIVATE_KEY_FILE": folder.resolve() / "client_private.pem",
            "PUBLIC_KEY_FILE": folder.resolve() / "alipayplus_public.pem",
            "KEY_VERSION": KEY_VERSION,
            "GATEWAY": address,
            "NOTIFY_URL": notify_url,
        }
        lines = [f"APLUS_{name}={shlex.quote(str(value))}\n" for name, value in settings.items()]
        (folder / "shop.env").write_text("".join(lines))
        return cls(private_key=own_key, client_keys=KeyRing.of({KEY_VERSION: client_key}))


def _load_or_make_key(path: Path) -> PrivateKey:
    if not path.exists():
        path.touch(mode=0o600)  # before the key is in it, so that nobody else ever reads it
        path.write_text(PrivateKey.generate().to_pem())
    return PrivateKey.load(path.read_bytes(), path.name)
