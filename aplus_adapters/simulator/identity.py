"""The keys of both sides, in a folder: made once, and told to the shop in `shop.env`."""

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
    """Alipay+'s own key, and the client's as Alipay+ knows it: the public half."""

    private_key: PrivateKey
    client_keys: KeyRing

    @classmethod
    def open(cls, folder: Path, address: str, notify_url: str = NOTIFY_URL) -> Identity:
        """Load the keys of a folder or make them, and write `shop.env` for the shop.

        `address` is where the simulator listens, `notify_url` where the shop does. The files with
        private keys are readable by their owner only.
        """
        folder.mkdir(parents=True, exist_ok=True)
        ours = _private_key(folder / "alipayplus_private.pem")
        (folder / "alipayplus_public.pem").write_text(ours.public_key.to_pem())
        client = _private_key(folder / "client_private.pem")
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
        return cls(private_key=ours, client_keys=KeyRing.of({KEY_VERSION: client.public_key}))


def _private_key(path: Path) -> PrivateKey:
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(PrivateKey.generate().to_pem())
    return PrivateKey.load(path.read_bytes(), path.name)
