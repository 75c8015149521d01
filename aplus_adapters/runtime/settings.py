"""An account from environment variables and the key files that they name."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from aplus_adapters.errors import ConfigurationError
from aplus_adapters.protocol import account
from aplus_adapters.protocol.keys import KeyRing, PrivateKey, PublicKey
from aplus_adapters.runtime.misspelt import most_like

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Account", "read_keys", "read_settings", "without_settings"]

_PLAIN = ("environment", "key_version", "settlement_currency", "agent_token", "signed_path")
_REQUIRED = ("CLIENT_ID", "GATEWAY", "NOTIFY_URL", "PRIVATE_KEY", "PUBLIC_KEY")
_OPTIONAL = (*(name.upper() for name in _PLAIN), "ALIPAYPLUS_KEY_VERSION", "URLSAFE_SIGNATURES")
_KNOWN = frozenset((*_REQUIRED, *_OPTIONAL, "PRIVATE_KEY_FILE", "PUBLIC_KEY_FILE"))
_FOR_TRYING_OUT = "`aplus simulator` writes a set for trying out to .aplus/shop.env: load it first"
_QUOTES = "'\""
_MAX_FILE = 65536  # bytes; longer than any key, and a device such as /dev/zero has no end
_KEY_ITSELF = re.compile(r"[A-Za-z0-9+/=_\-\s\\]{100,}")
_WORDS = {"true": True, "false": False}


def read_settings(environ: Mapping[str, str], prefix: str) -> dict[str, Any]:
    """Return the arguments for an Account; see `Account.from_env` for the variables.

    Raises ConfigurationError that names all missing variables, or the first wrong one.
    """
    values = _values(environ, prefix)
    missing = [
        name
        for name in _REQUIRED
        if not any(key in values for key in _spellings(name))
        and not (name == "PUBLIC_KEY" and _versions(values))
    ]
    others = _unread(values)
    if missing:
        guesses = [(name, most_like(name, others)) for name in missing]
        advice = "; ".join(
            f"found {prefix}{found}; did you mean {prefix}{name}?"
            for name, found in guesses
            if found
        )
        raise ConfigurationError(
            f"environment: found no {', '.join(prefix + name for name in missing)}, expected "
            f"{'it' if len(missing) == 1 else 'them'} to be set "
            "(keys as text, or as a file named by the same variable with _FILE appended); "
            f"{advice or _FOR_TRYING_OUT}"
        )
    for name in _OPTIONAL:
        found = None if name in values else most_like(name, others)
        if found is not None:
            raise ConfigurationError(
                f"{prefix}{found}: found a variable that nothing reads, expected {prefix}{name} or "
                "a name that is not close to it; correct or unset it"
            )
    settings: dict[str, Any] = {
        "client_id": values["CLIENT_ID"],
        "gateway": values["GATEWAY"],
        "notify_url": values["NOTIFY_URL"],
        "private_key": PrivateKey.load(*_key(values, prefix, "PRIVATE_KEY")),
        "alipayplus_keys": _ring(values, prefix),
    }
    for name in _PLAIN:
        if name.upper() in values:
            settings[name] = values[name.upper()]
    if "URLSAFE_SIGNATURES" in values:
        word = values["URLSAFE_SIGNATURES"].lower()
        if word not in _WORDS:
            raise ConfigurationError(
                f"{prefix}URLSAFE_SIGNATURES: found {word[:8]!r}, expected true or false"
            )
        settings["urlsafe_signatures"] = _WORDS[word]
    return settings


def without_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without the APLUS_* variables of an account, to set others in it.

    Those that stayed would mix with the others: two forms of one key, or a further key.
    """
    return {
        name: value
        for name, value in environ.items()
        if not (name.startswith("APLUS_") and _is_read(name.removeprefix("APLUS_")))
    }


def _is_read(name: str) -> bool:
    """Return whether an account reads a variable; `name` is without its prefix."""
    return name in _KNOWN or bool(_versions({name: ""}))


def _unread(values: Mapping[str, str]) -> list[str]:
    """Return the variables that nothing reads and that belong to no other account."""
    # What ends with a whole name is another account's, such as APLUS_EU_CLIENT_ID.
    whole = tuple(f"_{name}" for name in _KNOWN)
    return [name for name in values if name not in _KNOWN and not name.endswith(whole)]


def read_keys(
    environ: Mapping[str, str], prefix: str
) -> tuple[PrivateKey | None, dict[str, PublicKey]]:
    """Return our private key and Alipay+'s public keys by keyVersion, as far as they are set.

    Raises ConfigurationError for a key that is set and cannot be read.
    """
    values = _values(environ, prefix)
    private_key = None
    if any(name in values for name in _spellings("PRIVATE_KEY")):
        private_key = PrivateKey.load(*_key(values, prefix, "PRIVATE_KEY"))
    return private_key, _public_keys(values, prefix)


def _values(environ: Mapping[str, str], prefix: str) -> dict[str, str]:
    """Return the variables that are set and not empty, by their names without the prefix."""
    values = {
        name.removeprefix(prefix): _unquoted(value, prefix, name.removeprefix(prefix))
        for name, value in environ.items()
        if name.startswith(prefix)
    }
    return {name: value for name, value in values.items() if value}


def _unquoted(value: str, prefix: str, name: str) -> str:
    """Return a variable's value without the quotes that `docker --env-file` and cron leave on it.

    Raises ConfigurationError for a quote at one end only. Keys are left to their own loader, and
    what no account reads is left alone.
    """
    value = value.strip()
    while len(value) > 1 and value[0] == value[-1] and value[0] in _QUOTES:
        value = value[1:-1].strip()
    is_key = name.startswith(("PRIVATE_KEY", "PUBLIC_KEY")) and not name.endswith("_FILE")
    if value and _is_read(name) and not is_key and (value[0] in _QUOTES or value[-1] in _QUOTES):
        raise ConfigurationError(
            f"{prefix}{name}: found a quote at one end only ({len(value)} characters), expected "
            "the value alone; take the quote away"
        )
    return value


def _ring(values: Mapping[str, str], prefix: str) -> KeyRing:
    return KeyRing.of(_public_keys(values, prefix))


def _public_keys(values: Mapping[str, str], prefix: str) -> dict[str, PublicKey]:
    keys: dict[str, PublicKey] = {}
    if any(name in values for name in _spellings("PUBLIC_KEY")):
        version = values.get("ALIPAYPLUS_KEY_VERSION", "1")
        _check_version(version, f"{prefix}ALIPAYPLUS_KEY_VERSION")
        keys[version] = PublicKey.load(*_key(values, prefix, "PUBLIC_KEY"))
    for version in _versions(values):
        name = f"PUBLIC_KEY_{version}"
        _check_version(version, f"{prefix}{name}"[:60])
        if version in keys:
            raise ConfigurationError(
                f"{prefix}{name}: found two keys for keyVersion {version!r}, expected one; "
                f"set {prefix}ALIPAYPLUS_KEY_VERSION for the unnumbered one"
            )
        keys[version] = PublicKey.load(*_key(values, prefix, name))
    return keys


def _check_version(version: str, variable: str) -> None:
    if re.fullmatch(r"[!-~]{1,32}", version) is None:
        raise ConfigurationError(
            f"{variable}: found a keyVersion of {len(version)} characters, expected 1 to 32 visible"
            " ones without a space; Alipay+'s messages say it, such as 1"
        )


def _versions(values: Mapping[str, str]) -> list[str]:
    """Return the key versions that variables such as PUBLIC_KEY_2 or PUBLIC_KEY_2_FILE name."""
    # PUBLIC_KEY_FILE names the file of the key without a version, not a version FILE.
    matches = (re.fullmatch(r"PUBLIC_KEY_((?!FILE$).+?)(?:_FILE)?", name) for name in values)
    return sorted({match[1] for match in matches if match})


def _spellings(name: str) -> tuple[str, str]:
    return name, f"{name}_FILE"


def _key(values: Mapping[str, str], prefix: str, name: str) -> tuple[str | bytes, str]:
    """Return the key's text or bytes, and its name for an error message."""
    if name in values and f"{name}_FILE" in values:
        raise ConfigurationError(
            f"{prefix}{name}: found {prefix}{name}_FILE set as well, expected one of the two, "
            "because nobody can say which key is meant; unset the other"
        )
    if name in values:
        if _is_file(values[name]):  # whose name may be taken for base64
            raise ConfigurationError(
                f"{prefix}{name}: found the name of a file, expected the key itself; set "
                f"{prefix}{name}_FILE instead"
            )
        return values[name], prefix + name
    variable, value = f"{prefix}{name}_FILE", values[f"{name}_FILE"]
    looks_like_a_key = "-----" in value or "\n" in value or _KEY_ITSELF.fullmatch(value)
    if looks_like_a_key and not _is_file(value):
        raise ConfigurationError(
            f"{variable}: found {len(value)} characters that are no file's name, expected the "
            f"name of a key file; if it is the key itself, set {prefix}{name} instead"
        )
    path = Path(value)
    try:
        with path.open("rb") as file:
            # One byte too many lets the loader refuse it instead of a part being read.
            return file.read(_MAX_FILE + 1), f"{variable} ({path.name[:60]})"
    except OSError as error:
        reason = error.strerror
    except ValueError:  # such as a NUL in it
        reason = "no name of a file"
    # What is longer is no path, and may be the key itself.
    shown = str(path) if len(value) <= 200 else f"a name of {len(value)} characters"
    raise ConfigurationError(
        f"{variable}: cannot read {shown} ({reason}), expected a key file; "
        "check the path and its permissions"
    )


def _is_file(value: str) -> bool:
    try:
        return Path(value).is_file()
    except (OSError, ValueError):
        return False


@frozen(kw_only=True)
class Account(account.Account):
    """Client id, keys and addresses, given one by one or read from the environment."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, prefix: str = "APLUS_") -> Account:
        """Return an account from the environment; raise ConfigurationError if it is wrong.

        Required: APLUS_CLIENT_ID, APLUS_GATEWAY, APLUS_NOTIFY_URL, our key in APLUS_PRIVATE_KEY or
        its file in APLUS_PRIVATE_KEY_FILE, Alipay+'s key in APLUS_PUBLIC_KEY or its file in
        APLUS_PUBLIC_KEY_FILE.
        Further keys of Alipay+ by their keyVersion: APLUS_PUBLIC_KEY_2, APLUS_PUBLIC_KEY_2_FILE.
        Optional: APLUS_ENVIRONMENT (production, sandbox, simulator), APLUS_KEY_VERSION (of our
        key), APLUS_ALIPAYPLUS_KEY_VERSION (of the unnumbered APLUS_PUBLIC_KEY; 1 by default),
        APLUS_SETTLEMENT_CURRENCY, APLUS_AGENT_TOKEN, APLUS_SIGNED_PATH, APLUS_URLSAFE_SIGNATURES
        (true or false). `environ` is os.environ by default; `prefix` replaces `APLUS_` for a
        second account.
        """
        settings = read_settings(os.environ if environ is None else environ, prefix)
        try:
            return cls(**settings)
        except ConfigurationError as error:
            setting = error.setting.removeprefix("account ")
            if setting not in settings:
                raise
            problem = str(error).removeprefix(error.setting)
            raise ConfigurationError(f"{prefix}{setting.upper()}{problem}") from None
