"""Open a signature with a public key: which hash of which content its owner signed.

RSASSA-PKCS1-v1_5 hides nothing. Whoever has the public key recovers the hash that was signed. So
"made with another key" and "made with this key over other content" can be told apart.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, cast

from attrs import frozen
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from aplus_adapters.cli.verify.values import Cause

if TYPE_CHECKING:
    from aplus_adapters.protocol.keys import PublicKey

__all__ = ["Seal", "open_seal", "signed_with_pss"]

# The DER before the digest, which names the hash (RFC 8017, section 9.2, note 1).
_PREFIXES = {
    "sha256": "3031300d060960864801650304020105000420",
    "sha1": "3021300906052b0e03021a05000414",
    "md5": "3020300c06082a864886f70d020505000410",
    "sha224": "302d300d06096086480165030402040500041c",
    "sha384": "3041300d060960864801650304020205000430",
    "sha512": "3051300d060960864801650304020305000440",
}
_BARE = {32: "sha256", 20: "sha1", 16: "md5", 48: "sha384", 64: "sha512"}
_REMEDY = "sign with RSASSA-PKCS1-v1_5 and SHA-256: what Java calls SHA256withRSA"


@frozen(kw_only=True)
class Seal:
    """What a signature holds: the hash of the signed content, and what is odd about it."""

    hash_name: str
    digest: bytes
    causes: tuple[Cause, ...] = ()

    def covers(self, content: bytes) -> bool:
        """Return whether the content is what was signed."""
        return hashlib.new(self.hash_name, content, usedforsecurity=False).digest() == self.digest


def open_seal(key: PublicKey, signature: bytes) -> Seal | None:
    """Return what the signature holds if this key's owner made it, otherwise None."""
    try:
        data = _rsa(key).recover_data_from_signature(signature, padding.PKCS1v15(), None)
    except (InvalidSignature, ValueError):
        return None
    for name, prefix in _PREFIXES.items():
        if data.startswith(bytes.fromhex(prefix)):
            text = f"the signature is over {_spelt(name)}, expected SHA-256"
            other = Cause(code="other_hash", text=text, remedy=_REMEDY)
            digest = data[len(prefix) // 2 :]
            return Seal(hash_name=name, digest=digest, causes=() if name == "sha256" else (other,))
    name = _BARE.get(len(data), "")
    if not name:
        return None
    text = f"the signature holds a bare {_spelt(name)} hash, expected the hash with its name"
    bare = Cause(code="bare_hash", text=text, remedy=_REMEDY)
    return Seal(hash_name=name, digest=data, causes=(bare,))


def signed_with_pss(key: PublicKey, signature: bytes, content: bytes) -> Cause | None:
    """Return the cause if the content was signed with the other padding, PSS."""
    mask = padding.MGF1(hashes.SHA256())
    try:
        _rsa(key).verify(signature, content, padding.PSS(mask, padding.PSS.AUTO), hashes.SHA256())
    except (InvalidSignature, ValueError):
        return None
    text = "the signature has PSS padding, expected PKCS#1 v1.5"
    return Cause(code="pss_padding", text=text, remedy=_REMEDY)


def _rsa(key: PublicKey) -> rsa.RSAPublicKey:
    # A PublicKey is an RSA key: it loads no other.
    return cast("rsa.RSAPublicKey", serialization.load_pem_public_key(key.to_pem().encode()))


def _spelt(name: str) -> str:
    return name.upper() if name == "md5" else name.upper().replace("SHA", "SHA-")
