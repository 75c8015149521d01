"""The rules in annotations of fields; `messages.base` applies them."""

import re
from urllib.parse import urlsplit

import attrs

from aplus_adapters.errors import InvalidValue
from aplus_adapters.protocol.currencies import EXPONENTS

__all__ = ["AlwaysTrue", "Currency", "Decides", "Key", "OneOf", "Text", "Unread", "Url", "wrong"]

_URL = re.compile(r"https?://([^\s/?#@\\]+)(?:[/?#][!-~]*)?")


@attrs.frozen
class Text:
    """Text of 1 to `most` characters; an empty string is an error (protocol, "Field types")."""

    most: int

    def check(self, name: str, value: object) -> None:
        """Raise InvalidValue unless `value` is such a text."""
        if not isinstance(value, str):
            raise wrong(name, f"{type(value).__name__}", f"text of 1 to {self.most} characters")
        if not value:
            raise wrong(name, "an empty string", "text, or the field left out (None)")
        if len(value) > self.most:
            raise wrong(name, f"{len(value)} characters", f"at most {self.most}; shorten it")


@attrs.frozen(init=False)
class OneOf:
    """One of a closed set of words."""

    words: frozenset[str]

    def __init__(self, *words: str) -> None:
        object.__setattr__(self, "words", frozenset(words))

    def check(self, name: str, value: object) -> None:
        """Raise InvalidValue unless `value` is one of the words."""
        if not isinstance(value, str) or value not in self.words:
            found = repr(value[:40]) if isinstance(value, str) else type(value).__name__
            raise wrong(name, found, f"one of {', '.join(sorted(self.words))}")


@attrs.frozen
class Currency:
    """An active currency of ISO 4217."""

    def check(self, name: str, value: object) -> None:
        """Raise InvalidValue unless `value` is the code of such a currency."""
        if not isinstance(value, str) or value not in EXPONENTS:
            found = repr(value[:10]) if isinstance(value, str) else type(value).__name__
            raise wrong(name, found, "an active ISO 4217 code in capital letters, such as USD")


@attrs.frozen
class AlwaysTrue:
    """A flag that has to be true, as the payment scenario says."""

    def check(self, name: str, value: object) -> None:
        """Raise InvalidValue unless `value` is True."""
        if value is not True:
            found = "False" if value is False else type(value).__name__
            raise wrong(name, found, "True; an order code is paid in the store, at the cashier")


@attrs.frozen
class Url:
    """An absolute http or https address of at most `most` characters, without spaces."""

    most: int

    def check(self, name: str, value: object) -> None:
        """Raise InvalidValue unless `value` is such an address."""
        Text(self.most).check(name, value)
        match = _URL.fullmatch(str(value))
        if match is None:
            found = f"{len(str(value))} characters "
            if str(value).startswith(("https://", "http://")):
                found += "with some that an address has to percent-encode"
            else:
                found += "that do not begin with https:// or http://"
            raise wrong(name, found, "an absolute address such as https://shop.example/aplus")
        if ":" in match[1] or "[" in match[1]:
            _check_authority(name, match[1])


def _check_authority(name: str, authority: str) -> None:
    """Raise InvalidValue unless a host with a port, or in brackets, is one that can be called."""
    try:
        is_right = urlsplit(f"//{authority}").port != 0
    except ValueError:  # no number, above 65535, or no address in the brackets
        is_right = False
    if not is_right:
        raise wrong(
            name,
            f"{authority[:60]!r} as host and port",
            "a port from 1 to 65535, and an IPv6 address in brackets",
        )


@attrs.frozen
class Key:
    """The wire name of a field whose camelCase is not the rule, such as merchantMCC."""

    name: str


@attrs.frozen
class Unread:
    """What is read in the place of a field that decides and cannot be read: it is not absent."""

    value: object


@attrs.frozen
class Decides:
    """Mark an optional field that decides what a message says: if present, it must be legal."""


def wrong(name: str, found: str, expected: str) -> InvalidValue:
    """Return the error that says what was found in a field and what was expected."""
    return InvalidValue(f"{name}: found {found}, expected {expected}")
