"""An account's settings out of environment variables and the key files that they name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aplus_adapters.errors import ConfigurationError
from aplus_adapters.protocol.keys import KeyRing, PrivateKey, PublicKey

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["read_settings"]

_PLAIN = ("environment", "key_version", "settlement_currency", "agent_token", "signed_path")
_WORDS = {"true": True, "false": False}


def read_settings(environ: Mapping[str, str], prefix: str) -> dict[str, Any]:
    """Give the arguments for an Account; see `Account.from_env` for the variables.

    Raises ConfigurationError that names every missing variable at once, or the one that is wrong.
    """
    found = {
        name.removeprefix(prefix): value.strip()
        for name, value in environ.items()
        if name.startswith(prefix) and value.strip()
    }
    missing = [
        prefix + name
        for name in ("CLIENT_ID", "GATEWAY", "NOTIFY_URL", "PRIVATE_KEY", "PUBLIC_KEY")
        if not any(key in found for key in _spellings(name))
        and not (name == "PUBLIC_KEY" and _versions(found))
    ]
    if missing:
        raise ConfigurationError(
            f"environment: found no {', '.join(missing)}, expected them to be set "
            "(keys as text, or as a file named by the same variable with _FILE appended); "
            "`aplus simulator` writes a set for trying out to .aplus/shop.env: load it first"
        )
    settings: dict[str, Any] = {
        "client_id": found["CLIENT_ID"],
        "gateway": found["GATEWAY"],
        "notify_url": found["NOTIFY_URL"],
        "private_key": PrivateKey.load(*_key(found, prefix, "PRIVATE_KEY")),
        "alipayplus_keys": _ring(found, prefix),
    }
    for name in _PLAIN:
        if name.upper() in found:
            settings[name] = found[name.upper()]
    if "URLSAFE_SIGNATURES" in found:
        word = found["URLSAFE_SIGNATURES"].lower()
        if word not in _WORDS:
            raise ConfigurationError(
                f"{prefix}URLSAFE_SIGNATURES: found {word[:20]!r}, expected true or false"
            )
        settings["urlsafe_signatures"] = _WORDS[word]
    return settings


def _ring(found: Mapping[str, str], prefix: str) -> KeyRing:
    keys: dict[str, PublicKey] = {}
    if any(name in found for name in _spellings("PUBLIC_KEY")):
        version = found.get("ALIPAYPLUS_KEY_VERSION", "1")
        keys[version] = PublicKey.load(*_key(found, prefix, "PUBLIC_KEY"))
    for version in _versions(found):
        name = f"PUBLIC_KEY_{version}"
        if version in keys:
            raise ConfigurationError(
                f"{prefix}{name}: found two keys for keyVersion {version!r}, expected one; "
                f"set {prefix}ALIPAYPLUS_KEY_VERSION for the unnumbered one"
            )
        keys[version] = PublicKey.load(*_key(found, prefix, name))
    return KeyRing.of(keys)


def _versions(found: Mapping[str, str]) -> list[str]:
    """Give the key versions that variables such as PUBLIC_KEY_2 or PUBLIC_KEY_2_FILE name."""
    matches = (re.fullmatch(r"PUBLIC_KEY_((?!FILE$).+?)(?:_FILE)?", name) for name in found)
    return sorted({match[1] for match in matches if match})


def _spellings(name: str) -> tuple[str, str]:
    return name, f"{name}_FILE"


def _key(found: Mapping[str, str], prefix: str, name: str) -> tuple[str | bytes, str]:
    """Give the key's text or bytes, and what to call it in an error."""
    if name in found:
        return found[name], prefix + name
    path = Path(found[f"{name}_FILE"])
    try:
        return path.read_bytes(), f"{prefix}{name}_FILE ({path.name})"
    except OSError as error:
        raise ConfigurationError(
            f"{prefix}{name}_FILE: cannot read {path} ({error.strerror}), expected a key file; "
            "check the path and its permissions"
        ) from None
