"""Who signs what: Alipay+'s keys, the clients with their public keys, and the shop's `shop.env`."""

from __future__ import annotations

import json
import shlex
from functools import cache
from typing import TYPE_CHECKING, Any

from attrs import define, field

from aplus_adapters.errors import ConfigurationError, SignatureError
from aplus_adapters.protocol import signing
from aplus_adapters.protocol.keys import PrivateKey, PublicKey
from aplus_adapters.simulator.orders import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["CLIENT_ID", "NOTIFY_URL", "Identity", "read_environ"]

CLIENT_ID = "SIMULATED_CLIENT_0001"
NOTIFY_URL = "http://127.0.0.1:8000/aplus/notify"
KEY_VERSION = "1"
_MAX_NAME = 64  # characters of a client id or a keyVersion


@cache
def _key_of_a_stranger() -> PrivateKey:
    return PrivateKey.generate()


@define(kw_only=True, eq=False)
class Identity:
    """Alipay+'s own key, which may be rotated, and the keys of each client by keyVersion.

    `folder` is where changes are kept; without one they end with the process.
    """

    private_key: PrivateKey
    clients: dict[str, dict[str, PublicKey]]
    key_version: str = KEY_VERSION
    public_keys: dict[str, PublicKey] = field(factory=dict)
    folder: Path | None = None

    def __attrs_post_init__(self) -> None:
        self.public_keys.setdefault(self.key_version, self.private_key.public_key)

    @classmethod
    def open(cls, folder: Path, address: str, notify_url: str = NOTIFY_URL) -> Identity:
        """Load the keys of a folder, or make them, and write `shop.env` for the shop.

        The simulator listens at `address`. The shop takes notifications at `notify_url`. Files with
        private keys are readable by their owner only. Raise ConfigurationError if the folder cannot
        be read and written.
        """
        try:
            return cls._open(folder, address, notify_url)
        except OSError as error:
            raise ConfigurationError(
                f"simulator: cannot use the folder {folder} ({error.strerror}), expected one that "
                "can be written to; choose another --directory"
            ) from None

    @classmethod
    def _open(cls, folder: Path, address: str, notify_url: str) -> Identity:
        if not folder.exists():
            folder.mkdir(parents=True)
            (folder / ".gitignore").write_text("*\n")  # private keys: nobody commits them
        stored = _read_changes(folder)
        client_key = _load_or_make_key(folder / "client_private.pem").public_key
        clients = {CLIENT_ID: {KEY_VERSION: client_key}}
        for client_id, keys in stored["clients"].items():
            clients[client_id] = {version: PublicKey.load(text) for version, text in keys.items()}
        first = _load_or_make_key(_key_file(folder, "private", KEY_VERSION))
        public_keys = {KEY_VERSION: first.public_key}
        current, version = first, stored["keyVersion"]
        for number in range(2, int(version) + 1):
            current = _load_or_make_key(_key_file(folder, "private", str(number)))
            public_keys[str(number)] = current.public_key
        identity = cls(
            private_key=current,
            clients=clients,
            key_version=version,
            public_keys=public_keys,
            folder=folder,
        )
        identity._write_settings(address, notify_url)
        return identity

    @classmethod
    def of_a_stranger(cls) -> Identity:
        """Return somebody who signs with a key that is nobody's here.

        Making a key takes as long as many messages: it is made once in a process.
        """
        return cls(private_key=_key_of_a_stranger(), clients={})

    def sign(self, client_id: str, path: str, time: str, body: bytes) -> str:
        """Return the Signature header of a message of Alipay+'s to or about a client."""
        content = signing.signed_content(path, client_id, time, body)
        return signing.sign(self.private_key, self.key_version, content)

    def verify(self, client_id: str, header: str | None, content: bytes) -> str:
        """Return which key of the client made the signature, in words.

        Raise Refusal with INVALID_CLIENT, KEY_NOT_FOUND or INVALID_SIGNATURE.
        """
        keys = self.clients.get(client_id)
        if keys is None:
            raise Refusal("INVALID_CLIENT", f"The client is invalid: Client-Id {client_id!r:.70}.")
        if not keys:
            raise Refusal("KEY_NOT_FOUND", "The key is not found: the client has no public key.")
        try:
            parsed = signing.parse_header(header)
        except SignatureError as error:
            raise Refusal("INVALID_SIGNATURE", f"Signature header: {error}") from None
        # The named version first; the official SDKs send any, so the others are tried as well.
        for version in sorted(keys, key=lambda name: name != parsed.key_version):
            if keys[version].verify(parsed.signature, content):
                return f"valid: key {version} of {client_id} ({keys[version].fingerprint})"
        versions = ", ".join(sorted(keys))
        raise Refusal(
            "INVALID_SIGNATURE",
            f"The signature is invalid: no key of the client ({versions}) made it over the signed "
            "content POST path LF Client-Id.time.body.",
        )

    def verify_own(self, header: str | None, content: bytes) -> str:
        """Return which key of Alipay+'s made a signature, in words; or that none did."""
        if not header:
            return "not signed"
        try:
            parsed = signing.parse_header(header)
        except SignatureError as error:
            return f"not valid: {error}"
        for version, key in self.public_keys.items():
            if key.verify(parsed.signature, content):
                return f"valid: key {version} of Alipay+ ({key.fingerprint})"
        return "not valid: no key of Alipay+ made it over this content"

    def rotate(self) -> str:
        """Make a new key pair of Alipay+'s, sign with it from now on, and return its keyVersion."""
        version = str(int(self.key_version) + 1)
        if self.folder is None:
            self.private_key = PrivateKey.generate()
        else:
            self.private_key = _load_or_make_key(_key_file(self.folder, "private", version))
            public_file = _key_file(self.folder, "public", version)
            public_file.write_text(self.private_key.public_key.to_pem())
        self.key_version = version
        self.public_keys[version] = self.private_key.public_key
        self._write_changes()
        return version

    def set_client(self, client_id: str, keys: Mapping[str, str]) -> None:
        """Register a client, or replace its public keys; several may be valid at once.

        `keys` maps keyVersion to a public key in any spelling; without any, the client's calls are
        answered with KEY_NOT_FOUND. Raise ConfigurationError if one is no key.
        """
        for name in (client_id, *keys):
            if (
                not isinstance(name, str)
                or not 0 < len(name) <= _MAX_NAME
                or not name.isprintable()
            ):
                raise ConfigurationError(
                    f"client: found an id or keyVersion that is no text of 1 to {_MAX_NAME} "
                    "printable characters"
                )
        self.clients[client_id] = {
            version: PublicKey.load(text, f"public key {version}") for version, text in keys.items()
        }
        self._write_changes()

    def _write_changes(self) -> None:
        if self.folder is None:
            return
        clients = {
            client_id: {version: key.to_base64() for version, key in keys.items()}
            for client_id, keys in self.clients.items()
        }
        content = {"keyVersion": self.key_version, "clients": clients}
        (self.folder / "keys.json").write_text(json.dumps(content, indent=1))

    def _write_settings(self, address: str, notify_url: str) -> None:
        if self.folder is None:
            return
        folder = self.folder.resolve()
        settings = {
            "ENVIRONMENT": "simulator",
            "CLIENT_ID": CLIENT_ID,
            "PRIVATE_KEY_FILE": folder / "client_private.pem",
            "PUBLIC_KEY_FILE": _key_file(folder, "public", KEY_VERSION),
            "KEY_VERSION": KEY_VERSION,
            "GATEWAY": address,
            "NOTIFY_URL": notify_url,
        }
        for version, key in self.public_keys.items():
            path = _key_file(folder, "public", version)
            path.write_text(key.to_pem())
            if version != KEY_VERSION:
                settings[f"PUBLIC_KEY_{version}_FILE"] = path
        lines = [f"APLUS_{name}={shlex.quote(str(value))}\n" for name, value in settings.items()]
        (folder / "shop.env").write_text("".join(lines), encoding="utf-8")


def read_environ(folder: Path) -> dict[str, str]:
    """Return the APLUS_* variables that an identity has written to a folder's shop.env."""
    settings = shlex.split((folder / "shop.env").read_text(encoding="utf-8"))
    return dict(setting.split("=", 1) for setting in settings)


def _key_file(folder: Path, half: str, version: str) -> Path:
    ending = "" if version == KEY_VERSION else f"_{version}"
    return folder / f"alipayplus_{half}{ending}.pem"


def _read_changes(folder: Path) -> dict[str, Any]:
    """Return the current keyVersion and the clients that were changed while it ran."""
    try:
        content = json.loads((folder / "keys.json").read_text())
        int(content["keyVersion"])
    except FileNotFoundError:
        return {"keyVersion": KEY_VERSION, "clients": {}}
    except (ValueError, KeyError, TypeError):
        raise ConfigurationError(
            f"simulator: {folder / 'keys.json'} cannot be read; remove it to start with one client"
        ) from None
    changes: dict[str, Any] = content
    return changes


def _load_or_make_key(path: Path) -> PrivateKey:
    if not path.exists():
        path.touch(mode=0o600)  # before the key is in it, so that nobody else ever reads it
        path.write_text(PrivateKey.generate().to_pem())
    return PrivateKey.load(path.read_bytes(), path.name)
