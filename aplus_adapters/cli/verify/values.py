"""The question to a captured message, and the answer: values only."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from attrs import field, frozen

if TYPE_CHECKING:
    from aplus_adapters.protocol.keys import PublicKey

__all__ = ["Captured", "Cause", "Diagnosis", "Kind", "NamedKey", "Owner", "Question", "Variant"]


class Kind(StrEnum):
    """Which of the four signed messages it is."""

    REQUEST = "request"
    RESPONSE = "response"
    NOTIFICATION = "notification"
    ACKNOWLEDGEMENT = "acknowledgement"

    @property
    def is_ours(self) -> bool:
        """Return whether we sign it; Alipay+ signs the others."""
        return self in (Kind.REQUEST, Kind.ACKNOWLEDGEMENT)

    @property
    def time_header(self) -> str:
        """Return the header with the time that is signed."""
        requests = (Kind.REQUEST, Kind.NOTIFICATION)
        return "Request-Time" if self in requests else "Response-Time"

    @property
    def phrase(self) -> str:
        """Return its name in a sentence."""
        return _PHRASES[self]


_PHRASES = {
    Kind.REQUEST: "our request",
    Kind.RESPONSE: "Alipay+'s response",
    Kind.NOTIFICATION: "Alipay+'s notification",
    Kind.ACKNOWLEDGEMENT: "our acknowledgement",
}


@frozen(kw_only=True)
class Captured:
    """One HTTP message as it was captured.

    `url` is "" if the capture does not hold it. `request` is the request that a response answers,
    if it was captured too.
    """

    is_response: bool
    url: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)
    request: Captured | None = None

    def header(self, name: str) -> str | None:
        """Return the first value of a header, None if there is none."""
        name = name.lower()
        return next((value for key, value in self.headers if key.lower() == name), None)


class Owner(StrEnum):
    """Whose key it was given as."""

    OURS = "ours"
    THEIRS = "theirs"
    OTHER = "other"  # only to be recognised, such as the key of another environment


@frozen(kw_only=True)
class NamedKey:
    """A public key, whose it is, and its keyVersion or the name that it was given."""

    owner: Owner
    name: str
    key: PublicKey

    def __str__(self) -> str:
        words = {
            Owner.OURS: "our key",
            Owner.THEIRS: f"Alipay+'s key {self.name!r}",
            Owner.OTHER: f"the key {self.name!r}",
        }
        return f"{words[self.owner]} ({self.key.fingerprint})"


@frozen(kw_only=True)
class Question:
    """What a signature has to cover, and what else may have been signed in its place.

    `paths` are the paths of which one is right: several only if the capture does not hold it. The
    `other_` values are tried if these do not match: texts with what each would mean.
    `own_client_id` and `key_version` are those of the settings. `hints` are oddities of the
    capture.
    """

    kind: Kind
    paths: tuple[str, ...]
    client_id: str
    time: str
    body: bytes = field(repr=False)
    signature: str | None = field(repr=False)
    keys: tuple[NamedKey, ...]
    key_version: str | None = None
    own_client_id: str | None = None
    hints: tuple[str, ...] = ()
    other_paths: tuple[tuple[str, str], ...] = ()
    other_client_ids: tuple[tuple[str, str], ...] = ()
    other_times: tuple[tuple[str, str], ...] = ()

    def is_expected(self, key: NamedKey) -> bool:
        """Return whether this kind of message has to be signed with that key."""
        return key.owner is (Owner.OURS if self.kind.is_ours else Owner.THEIRS)


@frozen(kw_only=True)
class Cause:
    """One reason for a signature not to match: what is so, and what to do."""

    code: str
    text: str
    remedy: str


@frozen
class Variant:
    """A value that may have been signed; `cause` is None for the one that should have been."""

    value: bytes = field(repr=False)
    cause: Cause | None = None


@frozen(kw_only=True)
class Diagnosis:
    """The answer to a question.

    `causes` together make the signature match: each was tried. `faults` make a match impossible.
    `facts` is what is established. `remarks` are harmless here, and may not be so elsewhere.
    `content` is what was signed, None if nobody knows.
    """

    matches: bool
    key: NamedKey | None = None
    hash_name: str = ""
    causes: tuple[Cause, ...] = ()
    faults: tuple[Cause, ...] = ()
    facts: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    content: bytes | None = field(default=None, repr=False)
    path: str = ""
