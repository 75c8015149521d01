"""HTTP clients; an error names the environment variable that is wrong."""

from __future__ import annotations

import os
import ssl
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from aplus_adapters.errors import ConfigurationError, NotSent

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ClientError", "make_client", "preferred_library"]

_MOST_IDLE = 20  # connections
_OF_TLS = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")
_PROXIES = ("HTTPS_PROXY", "ALL_PROXY", "HTTP_PROXY")


class ClientError(ConfigurationError, NotSent):
    """No HTTP client can be made: the set-up is wrong, and nothing was sent."""


def preferred_library() -> Any:
    """Return the HTTP library to make clients with: httpx2 if it is installed, else httpx."""
    return import_module("httpx2" if find_spec("httpx2") else "httpx")


def make_client(library: Any, kind: str, url: str) -> Any:
    """Return a Client or AsyncClient for an address; raise ClientError if none can be made."""
    is_secure = url.startswith("https://")
    try:
        return getattr(library, kind)(
            # A signed request goes nowhere but to the configured gateway.
            follow_redirects=False,
            verify=_trusted(library, *map(os.environ.get, _OF_TLS)) if is_secure else _nobody(),
            # A simulator on this machine (http) must not be asked through a proxy.
            trust_env=is_secure,
            # No limit, so that a refund need not wait for inquiries that hang. There are only as
            # many calls as the server has requests, and each has its deadline.
            limits=library.Limits(max_connections=None, max_keepalive_connections=_MOST_IDLE),
        )
    except Exception as error:
        # Not `from error`: the library's own message may quote a proxy's address and its password.
        raise ClientError(
            f"HTTP client: cannot be made ({type(error).__name__}): {_reason(library, error)}; "
            "nothing was sent"
        ) from None


@lru_cache(maxsize=8)
def _trusted(library: Any, *_environment: str | None) -> ssl.SSLContext:
    """Return the authorities that this machine trusts.

    Reading them takes longer than a call, and a client is made for each event loop.
    """
    context: ssl.SSLContext = library.create_ssl_context()
    return context


@lru_cache(maxsize=1)
def _nobody() -> ssl.SSLContext:
    """Return what trusts no authority, for addresses without TLS."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _reason(library: Any, error: Exception) -> str:
    if isinstance(error, OSError):  # an ssl.SSLError is one
        return _certificates()
    for name, value in _set(_PROXIES):
        if value.lower().startswith("socks") and find_spec("socksio") is None:
            return (
                f"found a SOCKS proxy in {name} without its package; run pip install "
                f"'{library.__name__}[socks]', or unset the variable"
            )
        try:
            library.HTTPTransport(proxy=value if "://" in value else f"http://{value}").close()
        except Exception:
            return (
                f"found {name} that is no address of a proxy, expected one such as "
                "http://proxy.example:3128; correct or unset it"
            )
    for name, _ in _set(("NO_PROXY",)):
        return (
            f"found {name} with an entry that {library.__name__} cannot read, expected host names "
            "and addresses without brackets, such as localhost,::1; correct or unset it"
        )
    return "found settings of this machine, such as its proxies, that cannot be used"


def _certificates() -> str:
    """Return which variable about TLS is wrong; each is tried alone."""
    for name, path in _set(("SSL_CERT_FILE",)):
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
        except OSError:
            return f"found {name} that is no readable file of certificates in PEM; " + _UNSET
    for name, _ in _set(("SSLKEYLOGFILE",)):
        return f"found {name} that cannot be written; " + _UNSET
    return "found certificates of this machine that cannot be read; install them again"


_UNSET = "correct or unset it"


def _set(names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield name and value of the variables that are set, in lower or upper case."""
    for name in names:
        for spelling in (name.lower(), name):
            if os.environ.get(spelling):
                yield spelling, os.environ[spelling]
