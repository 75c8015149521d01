"""RSA keys in every spelling that customers hold, and the key ring of Alipay+'s public keys.

The developer center hands out bare base64; operators paste PEM, escape its newlines for an
environment variable, indent it in YAML or quote it. All load once armour and white space are
removed: what is left is the base64 of the DER.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from attrs import field, frozen
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from aplus_adapters.errors import ConfigurationError, SignatureError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

log = logging.getLogger("aplus_adapters")

__all__ = ["KeyRing", "PrivateKey", "PublicKey"]

MIN_BITS: Final = 2048  # the size of Alipay+'s own keys
# What Alipay+ calls RSA256 is these two together, and no other padding.
_PADDING: Final = padding.PKCS1v15()
_HASH: Final = hashes.SHA256()
_ARMOUR = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)(?:-----END [A-Z0-9 ]+-----|\Z)", re.DOTALL)
_HEADER = re.compile(r"^(?:Proc-Type|DEK-Info):.*$", re.MULTILINE)
_MAX_TEXT = 65536  # characters; no key is as long
_OTHER_FORMATS = (
    (
        "an OpenSSH private key",
        ("BEGIN OPENSSH PRIVATE KEY", "b3BlbnNzaC1rZXktdjE"),  # "openssh-key-v1" in base64
        "ssh-keygen -p -m PEM -f FILE",
    ),
    ("an OpenSSH public key", ("ssh-rsa ", "BEGIN SSH2 "), "ssh-keygen -e -m PKCS8 -f FILE"),
    ("a PuTTY key", ("PuTTY-User-Key-File",), "puttygen FILE -O private-openssh"),
)
_PKCS12 = b"\x02\x01\x03\x30"  # its version, 3, and the sequence that holds everything


@frozen(repr=False)
class PrivateKey:
    """The key that we sign with. Its repr shows only the fingerprint of its public half.

    Two objects of the same key are equal.
    """

    _key: rsa.RSAPrivateKey = field(eq=False)
    public_key: PublicKey = field(init=False)
    """The public half, which is uploaded to the developer center."""

    def __attrs_post_init__(self) -> None:
        # Once: an acknowledgement's signature is looked up by the key, which takes its hash.
        object.__setattr__(self, "public_key", PublicKey(self._key.public_key()))

    @classmethod
    def load(cls, text: str | bytes, name: str = "private key") -> PrivateKey:
        r"""Load an RSA private key of at least 2048 bits, PKCS#8 or PKCS#1, in any spelling.

        `text` is PEM or bare base64 DER: one line or many, newlines escaped as `\n`, indented,
        quoted, CRLF, with a BOM, in UTF-16, in base64 once more, even with the wrong label, or DER
        itself. `name` is its name in errors. Raises ConfigurationError that says what was found
        instead. Loading takes as long as 100 signatures: do it once.
        """
        der = _der(text, name)
        try:
            key = serialization.load_der_private_key(der, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise _not_a(name, "an RSA private key (PKCS#8 or PKCS#1)", der) from None
        if not isinstance(key, rsa.RSAPrivateKey):
            raise _not_a(name, "an RSA private key (PKCS#8 or PKCS#1)", der)
        _check_size(key.key_size, name)
        return cls(key)

    @classmethod
    def generate(cls) -> PrivateKey:
        """Make a new 2048-bit pair, the size that Alipay+ uses."""
        return cls(rsa.generate_private_key(public_exponent=65537, key_size=MIN_BITS))

    def sign(self, content: bytes) -> bytes:
        """Sign with RSASSA-PKCS1-v1_5 and SHA-256; the same content gives the same signature."""
        return self._key.sign(content, _PADDING, _HASH)

    def to_pem(self) -> str:
        """Write the key as unencrypted PKCS#8 PEM: a secret."""
        return self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()

    def __repr__(self) -> str:
        return f"<PrivateKey {self.public_key.fingerprint}>"


@frozen(repr=False)
class PublicKey:
    """A key that signatures are verified with."""

    _key: rsa.RSAPublicKey = field(hash=False)  # cryptography's own keys have no hash
    fingerprint: str = field(init=False)
    """The start of the SHA-256 of the key's DER, as `sha256:0123456789abcdef`."""

    def __attrs_post_init__(self) -> None:
        digest = hashlib.sha256(self._to_der()).hexdigest()
        object.__setattr__(self, "fingerprint", f"sha256:{digest[:16]}")

    @classmethod
    def load(cls, text: str | bytes, name: str = "public key") -> PublicKey:
        """Load an RSA public key of at least 2048 bits, SPKI or PKCS#1, in any spelling.

        Arguments and errors are those of `PrivateKey.load`.
        """
        der = _der(text, name)
        try:
            key = serialization.load_der_public_key(der)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise _not_a(name, "an RSA public key (SPKI or PKCS#1)", der) from None
        if not isinstance(key, rsa.RSAPublicKey):
            raise _not_a(name, "an RSA public key (SPKI or PKCS#1)", der)
        _check_size(key.key_size, name)
        return cls(key)

    def verify(self, signature: bytes, content: bytes) -> bool:
        """Return whether this key's owner made `signature` over `content`."""
        try:
            self._key.verify(signature, content, _PADDING, _HASH)
        except InvalidSignature:
            return False
        return True

    def to_base64(self) -> str:
        """Write the key as one line of base64 SPKI DER, as the developer center takes it."""
        return base64.b64encode(self._to_der()).decode()

    def to_pem(self) -> str:
        """Write the key as SPKI PEM."""
        return self._key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ).decode()

    def _to_der(self) -> bytes:
        return self._key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def __repr__(self) -> str:
        return f"<PublicKey {self.fingerprint}>"


@frozen
class KeyRing:
    """Alipay+'s public keys by keyVersion; one version may have several while they rotate.

    Source: protocol, "Signature": keyVersion is an opaque string and Alipay+'s key can be rotated.
    """

    _keys: Mapping[str, tuple[PublicKey, ...]]

    def __hash__(self) -> int:
        return hash(frozenset(self._keys.items()))

    @classmethod
    def of(cls, keys: Mapping[str, PublicKey | Sequence[PublicKey]]) -> KeyRing:
        """Make a ring; ConfigurationError if it would be empty.

        `keys` maps each keyVersion to one key or to several that are valid at once.
        """
        ring: dict[str, tuple[PublicKey, ...]] = {}
        for version, value in _pairs(keys):
            several = value if isinstance(value, list | tuple) else (value,)
            strange = [type(key).__name__ for key in several if not isinstance(key, PublicKey)]
            if strange:
                raise ConfigurationError(
                    f"key ring: found {strange[0]}, expected PublicKey objects by their "
                    "keyVersion; write KeyRing.of({'1': PublicKey.load(text)})"
                )
            ring[str(version)] = tuple(several)
        if not any(ring.values()):
            raise ConfigurationError(
                "key ring: found no public key, expected at least one of Alipay+'s; "
                "download it from the developer center"
            )
        return cls(ring)

    def verify(self, key_version: str, signature: bytes, content: bytes) -> None:
        """Raise SignatureError unless a key of the ring made the signature over `content`.

        The keys of `key_version` are tried first, then the others: in real messages the version is
        not always right (protocol, "Signature").
        """
        named = self._keys.get(key_version, ())
        for key in named:
            if key.verify(signature, content):
                return
        for key in (key for keys in self._keys.values() for key in keys if key not in named):
            if key.verify(signature, content):
                # Accepted all the same: the official SDKs do not look at the version either.
                _warn_of_version(key_version[:20], key.fingerprint)
                return
        known = ", ".join(
            f"{version!r} ({', '.join(key.fingerprint for key in keys)})"
            for version, keys in self._keys.items()
        )
        raise SignatureError(
            f"signature: does not verify: found keyVersion {key_version[:20]!r}, tried the keys of "
            f"{known}; add Alipay+'s new public key if it was rotated; else compare "
            "the fingerprints with the developer center's key, and the signed path with the "
            "configured notify URL"
        )

    @property
    def fingerprints(self) -> dict[str, tuple[str, ...]]:
        """Return the fingerprints of the keys by keyVersion."""
        return {version: tuple(k.fingerprint for k in keys) for version, keys in self._keys.items()}


def _pairs(keys: object) -> Iterable[tuple[object, Any]]:
    """Return pairs of version and key; a value that is no mapping counts as one key."""
    return keys.items() if isinstance(keys, Mapping) else [("", keys)]


# Cached, so that it is logged once and not with every notification.
@lru_cache(maxsize=64)
def _warn_of_version(key_version: str, fingerprint: str) -> None:
    log.warning(
        "signature: found keyVersion %r on what the key %s of another version made; give that key "
        "this version: for one of Alipay+'s by APLUS_ALIPAYPLUS_KEY_VERSION or in the key ring",
        key_version,
        fingerprint,
        extra={"event": "key_version_differs"},
    )


def _der(text: str | bytes, name: str) -> bytes:
    """Return the DER of a key in any spelling; raise ConfigurationError if it is no key."""
    if not isinstance(text, str | bytes) or not text:
        raise ConfigurationError(
            f"{name}: found {type(text).__name__ if text else 'nothing'}, expected a key"
        )
    if isinstance(text, bytes):
        if text[:1] == b"0" and text[1:2] in (b"\x81", b"\x82"):  # an ASN.1 sequence: DER itself
            return text
        text = _decoded(text)
    if len(text) > _MAX_TEXT:
        raise ConfigurationError(f"{name}: found {len(text)} characters, expected a key")
    plain = text.lstrip("\ufeff").replace("\\r", "").replace("\\n", "\n").strip().strip("'\"")
    _refuse_other_formats(plain, name)
    label, inner = "", plain
    if armour := _ARMOUR.search(plain):
        label, inner = armour[1], armour[2]
        if "-----END" not in plain:
            raise ConfigurationError(
                f"{name}: found a truncated PEM (no END line), expected a whole key"
            )
    if "ENCRYPTED" in label or "DEK-Info" in inner:
        raise ConfigurationError(
            f"{name}: found an encrypted private key, expected an unencrypted one; decrypt it with "
            "`openssl pkey` and keep it in a secret store instead"
        )
    if label in ("CERTIFICATE", "X509 CERTIFICATE", "CERTIFICATE REQUEST"):
        raise ConfigurationError(
            f"{name}: found a {label.lower()}, expected a bare key; "
            "extract its key with `openssl x509 -pubkey -noout`"
        )
    inner = re.sub(r"[\s\"'\\]+", "", _HEADER.sub("", inner))
    try:
        # `validate`, as otherwise characters that are not base64 are skipped silently.
        der = base64.b64decode(inner + "=" * (-len(inner) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ConfigurationError(
            f"{name}: found {len(plain)} characters that are neither PEM nor base64, "
            "expected a key; is this a file name? then load the file's content, or in the "
            "environment name the file in the variable that ends in _FILE"
        ) from None
    return _der(der, name) if _is_text_again(der) else der


def _decoded(content: bytes) -> str:
    """Return a file's text; Windows writes UTF-16, with or without a mark at its beginning."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", errors="replace")
    # In UTF-16 every second byte of a key's text is zero.
    if content[1:2] == b"\0":
        return content.decode("utf-16-le", errors="replace")
    if content[:1] == b"\0":
        return content.decode("utf-16-be", errors="replace")
    return content.decode("utf-8", errors="replace")


def _is_text_again(content: bytes) -> bool:
    """Return whether base64 held PEM or base64 once more, as Kubernetes' secrets do."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    text = content.lstrip(b"\xef\xbb\xbf \t\r\n")
    # DER begins with 0x30 0x82, which is MI in base64.
    return b"-----BEGIN" in text or (text.startswith(b"MI") and text.isascii())


def _refuse_other_formats(plain: str, name: str) -> None:
    """Raise ConfigurationError that names the format for keys of other programs."""
    for kind, signs, command in _OTHER_FORMATS:
        if any(sign in plain[:_MAX_TEXT] for sign in signs):
            raise ConfigurationError(
                f"{name}: found {kind}, expected PEM or base64 DER; convert it with `{command}`"
            )


def _not_a(name: str, expected: str, der: bytes) -> ConfigurationError:
    return ConfigurationError(f"{name}: found {_describe(der)}, expected {expected}")


def _describe(der: bytes) -> str:
    """Return what a DER is that did not load, for the error message."""
    try:
        public = serialization.load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm):
        pass
    else:
        return f"a public key ({type(public).__name__.removesuffix('PublicKey').strip('_')})"
    try:
        private = serialization.load_der_private_key(der, password=None)
    except TypeError:
        return "an encrypted private key"
    except (ValueError, UnsupportedAlgorithm):
        pass
    else:
        return f"a private key ({type(private).__name__.removesuffix('PrivateKey').strip('_')})"
    if der[2:12].find(_PKCS12) >= 0:
        return (
            "a PKCS#12 container (.p12, .pfx), which `openssl pkcs12 -in FILE -nodes` takes apart"
        )
    if der.startswith(b"\xfe\xed\xfe\xed"):
        return "a Java key store, which `keytool -importkeystore` turns into PKCS#12"
    if der[:1] == b"0" and len(der) < _asn1_length(der):
        return f"a truncated key ({len(der)} of {_asn1_length(der)} bytes)"
    if b"\x06\x03\x55\x04" in der:  # a distinguished name's OID: only certificates have names
        return "a certificate"
    return f"{len(der)} bytes that are no key"


def _asn1_length(der: bytes) -> int:
    # The long form: the low bits say how many bytes the length has.
    if len(der) > 1 and der[1] & 0x80 and (count := der[1] & 0x7F) <= 4:
        return 2 + count + int.from_bytes(der[2 : 2 + count], "big")
    return 2 + (der[1] if len(der) > 1 else 0)


def _check_size(bits: int, name: str) -> None:
    if bits < MIN_BITS:
        raise ConfigurationError(
            f"{name}: found an RSA key of {bits} bits, expected at least {MIN_BITS}; "
            "make a new pair and upload its public half to the developer center"
        )
