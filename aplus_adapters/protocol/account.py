"""An account: everything agreed with Alipay+ for one client id."""

from __future__ import annotations

import ipaddress
import re
from enum import StrEnum
from urllib.parse import SplitResult, urlsplit

from attrs import field, frozen

from aplus_adapters.errors import ConfigurationError, InvalidValue
from aplus_adapters.protocol.currencies import EXPONENTS
from aplus_adapters.protocol.keys import KeyRing, PrivateKey, PublicKey
from aplus_adapters.protocol.messages.base import Url

__all__ = ["Account", "Environment"]

_VISIBLE = re.compile(r"[!-+\--~]{1,128}")  # no space, no comma: it becomes a header
_TOKEN = re.compile(r"[!-~]{1,4096}")  # it becomes a header, too
_URL = Url(2048)


class Environment(StrEnum):
    """The gateway's environment; only production moves real money."""

    PRODUCTION = "production"
    SANDBOX = "sandbox"
    SIMULATOR = "simulator"  # the only one that may speak plain http, and only on this machine


def _environment(word: str) -> Environment:
    try:
        return Environment(word)
    except ValueError:
        raise ConfigurationError(
            f"account environment: found {_shown(word)}, expected {', '.join(Environment)}"
        ) from None


def _load_private(value: PrivateKey | str | bytes) -> PrivateKey:
    return value if isinstance(value, PrivateKey) else PrivateKey.load(value, "our private key")


def _load_ring(value: KeyRing | PublicKey | str | bytes) -> KeyRing:
    if isinstance(value, KeyRing):
        return value
    if isinstance(value, PublicKey):
        return KeyRing.of({"1": value})  # the version in Alipay+'s samples
    return KeyRing.of({"1": PublicKey.load(value, "Alipay+'s public key")})


@frozen(kw_only=True)
class Account:
    """Client id, keys and addresses, checked on creation; its repr shows no secret.

    `private_key` is ours, as a PrivateKey or in any spelling that `PrivateKey.load` takes;
    `alipayplus_keys` a KeyRing, or one public key, which then is keyVersion "1". `gateway` is the
    https address from the developer center, without a path. `notify_url` is the public address of
    the notification endpoint, exactly as it is sent to Alipay+. Alipay+ signs its path, even if a
    proxy changes it (`signed_path` overrides it). `settlement_currency` is sent with
    each payment in another currency. `agent_token` goes into every request if it is given.
    `urlsafe_signatures` sends base64url.

    Raises ConfigurationError. Source: protocol, "Transport" and "Signature".
    """

    client_id: str
    private_key: PrivateKey = field(converter=_load_private)
    alipayplus_keys: KeyRing = field(converter=_load_ring)
    gateway: str
    notify_url: str
    environment: Environment = field(default=Environment.PRODUCTION, converter=_environment)
    key_version: str = "1"
    settlement_currency: str | None = None
    agent_token: str | None = field(default=None, repr=False)
    urlsafe_signatures: bool = False
    signed_path: str = ""

    def __attrs_post_init__(self) -> None:
        for name in ("client_id", "key_version"):
            value = getattr(self, name)
            if not isinstance(value, str) or _VISIBLE.fullmatch(value) is None:
                raise ConfigurationError(
                    f"account {name}: found {_shape(value)}, expected 1 to 128 visible ASCII "
                    "characters without a comma"
                )
        self._check_options()
        self._check_keys()
        gateway = self._address("gateway", self.gateway)
        if gateway.path.strip("/") or gateway.query:
            raise ConfigurationError(
                f"account gateway: found the path {_shown(gateway.path)}, expected only scheme and "
                "host; the API paths are added to it"
            )
        # The paths of the API begin with a slash of their own.
        object.__setattr__(self, "gateway", self.gateway.rstrip("/"))
        # Without its query string: what a real gateway signed did not hold it.
        path = self._address("notify_url", self.notify_url).path or "/"
        object.__setattr__(self, "signed_path", self.signed_path or path)
        if not self.signed_path.startswith("/") or "?" in self.signed_path:
            raise ConfigurationError(
                f"account signed_path: found {_shown(self.signed_path)}, expected a path with its "
                "leading slash and without a query"
            )

    def _check_options(self) -> None:
        """Raise ConfigurationError for an optional argument that is not legal."""
        if not isinstance(self.signed_path, str):
            raise ConfigurationError(
                f"account signed_path: found {_shape(self.signed_path)}, expected a path such as "
                "'/aplus/notify'; leave it out to take the notify URL's"
            )
        token = self.agent_token
        if token is not None and (not isinstance(token, str) or _TOKEN.fullmatch(token) is None):
            raise ConfigurationError(
                f"account agent_token: found {_shape(token)}, expected 1 to 4096 visible ASCII "
                "characters; leave it out if you are no agent"
            )
        if not isinstance(self.urlsafe_signatures, bool):
            raise ConfigurationError(
                f"account urlsafe_signatures: found {_shape(self.urlsafe_signatures)}, expected "
                "True or False"
            )
        currency = self.settlement_currency
        if currency is not None and (not isinstance(currency, str) or currency not in EXPONENTS):
            raise ConfigurationError(
                f"account settlement_currency: found {_shown(currency)}, expected an ISO 4217 code "
                "such as USD"
            )

    def _check_keys(self) -> None:
        # With our own key in place of Alipay+'s no answer could ever be verified.
        ours = self.private_key.public_key.fingerprint
        if any(ours in prints for prints in self.alipayplus_keys.fingerprints.values()):
            raise ConfigurationError(
                f"account keys: found our own public key {ours} as Alipay+'s, expected Alipay+'s; "
                "download it from the developer center"
            )

    def _address(self, name: str, url: object) -> SplitResult:
        try:
            _URL.check(name, url)
        except InvalidValue as error:
            raise ConfigurationError(f"account {error}") from None
        split = urlsplit(str(url))
        host = split.hostname or ""
        if split.scheme != "https" and not (
            self.environment is Environment.SIMULATOR and _is_loopback(host)
        ):
            raise ConfigurationError(
                f"account {name}: found {split.scheme}://{host}, expected https://; plain http is "
                "for the simulator on this machine only (environment='simulator')"
            )
        return split


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _shown(value: object) -> str:
    """Return the repr of a short word; only the length of a long one, which may be a key."""
    return repr(value) if isinstance(value, str) and len(value) <= 24 else _shape(value)


def _shape(value: object) -> str:
    return f"{len(value)} characters" if isinstance(value, str) else type(value).__name__
