"""Keys in every spelling that customers hold, and clear words for what is no key."""

import base64
import datetime
import re
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

from aplus_adapters import ConfigurationError, KeyRing, PrivateKey, PublicKey, SignatureError
from aplus_adapters.protocol import keys

KEY = rsa.generate_private_key(65537, 2048)
PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
PKCS8, PKCS1 = serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL
SPKI, RSA = serialization.PublicFormat.SubjectPublicKeyInfo, serialization.PublicFormat.PKCS1
PLAIN = serialization.NoEncryption()


def private(encoding, form, key=KEY, encryption=PLAIN):
    return key.private_bytes(encoding, form, encryption)


def public(encoding, form, key=KEY):
    return key.public_key().public_bytes(encoding, form)


def spellings(pem_of, der_of, labels):
    """Give (name, text) pairs, made with `cryptography` and string work only."""
    for form, (pem, der) in {
        "modern": (pem_of[0], der_of[0]),
        "PKCS#1": (pem_of[1], der_of[1]),
    }.items():
        text = pem.decode()
        bare = base64.b64encode(der).decode()
        wrapped = "\n".join(bare[i : i + 76] for i in range(0, len(bare), 76))
        yield f"{form} PEM", text
        yield f"{form} PEM as bytes", pem
        yield f"{form} DER", der
        yield f"{form} bare base64 in one line", bare
        yield f"{form} bare base64 in lines", wrapped
        yield f"{form} bare base64 without padding", bare.rstrip("=")
        yield f"{form} escaped newlines", text.replace("\n", "\\n")
        yield f"{form} escaped CRLF", text.replace("\n", "\\r\\n")
        yield f"{form} CRLF", text.replace("\n", "\r\n")
        yield f"{form} indented", "".join(f"    {line}\n" for line in text.splitlines())
        yield f"{form} in double quotes", f'"{text.strip()}"'
        yield f"{form} in single quotes, escaped", "'" + text.strip().replace("\n", "\\n") + "'"
        yield f"{form} with a BOM", "\ufeff" + text
        yield f"{form} with a BOM as bytes", b"\xef\xbb\xbf" + pem
        yield f"{form} in UTF-16 with a mark", text.encode("utf-16")
        yield f"{form} in UTF-16, big end first, with a mark", ("\ufeff" + text).encode("utf-16-be")
        yield f"{form} in UTF-16 without a mark", text.encode("utf-16-le")
        yield f"{form} in UTF-16, big end first, without a mark", text.encode("utf-16-be")
        yield f"{form} bare base64 in UTF-16", bare.encode("utf-16")
        yield f"{form} PEM in base64", base64.b64encode(pem).decode()
        yield f"{form} PEM in base64 in lines", base64.encodebytes(pem)
        yield f"{form} PEM of UTF-16 in base64", base64.b64encode(text.encode("utf-16"))
        yield f"{form} bare base64 in base64", base64.b64encode(bare.encode()).decode()
        yield f"{form} with spaces for newlines", text.replace("\n", " ")
        yield f"{form} with text around it", f"Bag Attributes\n  x: 1\n{text}\nmore"
        for label in labels:
            yield (
                f"{form} labelled {label}",
                f"-----BEGIN {label}-----\n{wrapped}\n-----END {label}-----\n",
            )


PRIVATE = dict(
    spellings(
        (private(PEM, PKCS8), private(PEM, PKCS1)), (private(DER, PKCS8), private(DER, PKCS1)),
        ("PRIVATE KEY", "RSA PRIVATE KEY", "KEY"),
    )
)  # fmt: skip
PUBLIC = dict(
    spellings(
        (public(PEM, SPKI), public(PEM, RSA)), (public(DER, SPKI), public(DER, RSA)),
        ("PUBLIC KEY", "RSA PUBLIC KEY", "KEY"),
    )
)  # fmt: skip


def test_there_are_at_least_thirteen_spellings_of_each():
    assert len(PRIVATE) >= 26
    assert len(PUBLIC) >= 26


@pytest.mark.parametrize("name", PRIVATE)
def test_a_private_key_loads_in_every_spelling(name):
    key = PrivateKey.load(PRIVATE[name])
    KEY.public_key().verify(key.sign(b"x"), b"x", padding(), hashes.SHA256())


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_key_loads_in_every_spelling(name):
    key = PublicKey.load(PUBLIC[name])
    assert key.verify(KEY.sign(b"x", padding(), hashes.SHA256()), b"x")
    assert key == PrivateKey.load(private(PEM, PKCS8)).public_key


def padding():
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

    return PKCS1v15()


def certificate():
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(KEY.public_key())
    )
    builder = (
        builder.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(1))
    )
    return builder.sign(KEY, hashes.SHA256())


def container(encryption):
    return pkcs12.serialize_key_and_certificates(b"x", KEY, certificate(), None, encryption)


LOCKED = serialization.BestAvailableEncryption(b"password")
SMALL = rsa.generate_private_key(65537, 1024)
CURVE = ec.generate_private_key(ec.SECP256R1())
EDWARDS = ed25519.Ed25519PrivateKey.generate()
BAD = {
    "a public key": (public(PEM, SPKI), "found a public key (RSA)"),
    "a public key as base64": (base64.b64encode(public(DER, SPKI)), "found a public key (RSA)"),
    "a certificate": (certificate().public_bytes(PEM), "found a certificate"),
    "a certificate as DER": (certificate().public_bytes(DER), "found a certificate"),
    "an encrypted key": (private(PEM, PKCS8, encryption=LOCKED), "found an encrypted private key"),
    "an encrypted key of old": (
        private(PEM, PKCS1, encryption=LOCKED),
        "found an encrypted private key",
    ),
    "an encrypted key as DER": (
        private(DER, PKCS8, encryption=LOCKED),
        "found an encrypted private key",
    ),
    "a truncated key": (base64.b64encode(private(DER, PKCS8)[:-200]), "found a truncated key"),
    "a truncated PEM": (private(PEM, PKCS8)[:-200], "found a truncated PEM"),
    "a short truncated key": (
        base64.b64encode(b"0\x20abc"),
        "found a truncated key (5 of 34 bytes)",
    ),
    "1024 bits": (private(PEM, PKCS8, SMALL), "found an RSA key of 1024 bits"),
    "a curve": (private(PEM, PKCS8, CURVE), "found a private key (EC)"),
    "Ed25519": (private(PEM, PKCS8, EDWARDS), "found a private key (Ed25519)"),
    "OpenSSH": (private(PEM, serialization.PrivateFormat.OpenSSH), "found an OpenSSH private key"),
    "OpenSSH without its armour": (
        "".join(private(PEM, serialization.PrivateFormat.OpenSSH).decode().splitlines()[1:-1]),
        "found an OpenSSH private key",
    ),
    "a line of OpenSSH": (
        public(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH) + b" me@host",
        "found an OpenSSH public key",
    ),
    "PKCS#12": (container(PLAIN), "found a PKCS#12 container"),
    "PKCS#12 with a password": (container(LOCKED), "found a PKCS#12 container"),
    "PKCS#12 as base64": (base64.b64encode(container(LOCKED)), "found a PKCS#12 container"),
    "PuTTY": ("PuTTY-User-Key-File-3: ssh-rsa\nEncryption: none\n", "found a PuTTY key"),
    "a Java key store": (base64.b64encode(b"\xfe\xed\xfe\xed\0\0\0\2"), "found a Java key store"),
    "nothing": ("", "found nothing"),
    "white space": (" \n", "expected"),
    "None": (None, "found nothing"),
    "a number": (5, "found int"),
    "a sentence": ("the key is in the safe", "expected"),
    "a file name": ("/etc/keys/private.pem", "is this a file name?"),
    "random bytes": (bytes(range(256)) * 4, "expected"),
    "an essay": ("x" * 70000, "found 70000 characters"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_private_key_is_refused_by_its_name_and_without_its_content(name):
    text, found = BAD[name]
    with pytest.raises(ConfigurationError) as refused:
        PrivateKey.load(text, "APLUS_PRIVATE_KEY")
    message = str(refused.value)
    with pytest.raises(ConfigurationError) as unnamed:
        PrivateKey.load(text)
    assert str(unnamed.value) == message.replace("APLUS_PRIVATE_KEY", "private key")
    assert message.startswith("APLUS_PRIVATE_KEY: found ")
    assert found in message
    assert "expected" in message
    assert "MII" not in message


@pytest.mark.parametrize("name", [name for name in BAD if not name.startswith("a public key")])
def test_what_is_no_public_key_is_refused(name):
    bad = {"1024 bits": public(PEM, SPKI, SMALL), "a curve": public(PEM, SPKI, CURVE)}
    text = bad.get(name, BAD[name][0])
    with pytest.raises(ConfigurationError, match=r"^public key: found .*expected"):
        PublicKey.load(text)
    with pytest.raises(ConfigurationError, match=r"^theirs: found .*expected"):
        PublicKey.load(text, "theirs")


@pytest.mark.parametrize("label", ["CERTIFICATE", "X509 CERTIFICATE", "CERTIFICATE REQUEST"])
def test_armour_that_is_no_key_is_called_by_its_name(label):
    text = f"-----BEGIN {label}-----\nMIIB\n-----END {label}-----"
    with pytest.raises(ConfigurationError, match=f"found a {label.lower()}, expected a bare key"):
        PublicKey.load(text)


@pytest.mark.parametrize(
    ("load", "expected"),
    [
        (PrivateKey.load, r"^\w+ key: found .+, expected an RSA private key \(PKCS#8 or PKCS#1\)$"),
        (PublicKey.load, r"^\w+ key: found .+, expected an RSA public key \(SPKI or PKCS#1\)$"),
    ],
)
@pytest.mark.parametrize("key", [public(PEM, SPKI, CURVE), private(PEM, PKCS8, CURVE)])
def test_what_was_expected_is_said(load, expected, key):
    with pytest.raises(ConfigurationError, match=expected):
        load(key)


@pytest.mark.parametrize(
    ("der", "length"),
    [(b"0", 2), (b"0\x05", 7), (b"0\x81\xff", 258), (b"0\x82\x01\x00", 260), (b"0\x84\0\0\1\0", 262),
     (b"0\x85\0\0\0\1\0", 135)],
)  # fmt: skip
def test_the_length_that_a_der_says_is_read(der, length):
    assert keys._asn1_length(der) == length


def test_a_private_key_given_as_public_is_recognised():
    with pytest.raises(
        ConfigurationError, match=r"found a private key \(RSA\), expected an RSA public key"
    ):
        PublicKey.load(private(PEM, PKCS8))


def test_a_key_shows_nothing_but_its_fingerprint():
    key = PrivateKey.load(private(PEM, PKCS8))
    assert repr(key) == f"<PrivateKey {key.public_key.fingerprint}>"
    assert repr(key.public_key) == f"<PublicKey {key.public_key.fingerprint}>"
    assert re.fullmatch("sha256:[0-9a-f]{16}", key.public_key.fingerprint)
    assert PrivateKey.generate().public_key.fingerprint != key.public_key.fingerprint


def test_a_key_is_written_in_forms_that_load_again():
    key = PrivateKey.load(private(PEM, PKCS8))
    assert PrivateKey.load(key.to_pem()).public_key == key.public_key
    assert PublicKey.load(key.public_key.to_pem()) == key.public_key
    assert PublicKey.load(key.public_key.to_base64()) == key.public_key


def test_a_ring_takes_one_or_several_keys_for_a_version():
    old, new = PrivateKey.generate(), PrivateKey.generate()
    ring = KeyRing.of({"1": [old.public_key, new.public_key], "2": new.public_key})
    for key in (old, new):
        ring.verify("1", key.sign(b"x"), b"x")
    ring.verify("2", new.sign(b"x"), b"x")
    for version in ("1", "2", "3"):
        with pytest.raises(SignatureError, match=f"does not verify: found keyVersion '{version}'"):
            ring.verify(version, PrivateKey.generate().sign(b"x"), b"x")
    assert ring.fingerprints["2"] == (new.public_key.fingerprint,)


@pytest.mark.parametrize("empty", [{}, {"1": []}])
def test_an_empty_ring_is_refused(empty):
    with pytest.raises(ConfigurationError, match="found no public key"):
        KeyRing.of(empty)


@pytest.mark.parametrize("keys", [None, "x", {"1": "x"}, {"1": 5}, {"1": None}, {"1": [KEY]}, 5])
def test_a_ring_of_what_is_no_key_is_refused(keys):
    with pytest.raises(ConfigurationError, match=r"^key ring: found \w+, expected PublicKey"):
        KeyRing.of(keys)


def test_looking_something_up_by_a_private_key_costs_nothing_beside_signing():
    """An acknowledgement's signature is looked up so: the public half is not derived each time."""
    key = PrivateKey(KEY)
    known = {key: 1}
    started = time.process_time()
    for _ in range(20):
        key.sign(b"content")
    signing = time.process_time() - started
    started = time.process_time()
    assert sum(known[key] for _ in range(1000)) == 1000
    assert time.process_time() - started < signing / 4


def test_keys_and_rings_that_are_equal_have_one_hash():
    ours = [PrivateKey.load(private(PEM, form)) for form in (PKCS8, PKCS1)]
    theirs = [PublicKey.load(public(PEM, form)) for form in (SPKI, RSA)]
    rings = [KeyRing.of({"1": key}) for key in theirs]
    for same in (ours, theirs, rings):
        assert same[0] == same[1]
        assert hash(same[0]) == hash(same[1])
        assert len({*same}) == 1
    other = PrivateKey.generate()
    assert ours[0] != other
    assert ours[0] != theirs[0]
    assert len({*ours, other, *theirs, other.public_key, *rings}) == 5


def test_a_version_that_names_none_of_our_keys_is_tried_with_all_and_told_once(caplog):
    old, new = PrivateKey.generate(), PrivateKey.generate()
    ring = KeyRing.of({"1": old.public_key, "2": new.public_key})
    taken = 0
    for number in range(1000):
        content = b"%d" % number
        ring.verify("0", (old, new)[number % 2].sign(content), content)
        taken += 1
    ring.verify("2", old.sign(b"x"), b"x")  # of a version that names another key
    assert taken == 1000
    warnings = [one.getMessage() for one in caplog.records]
    assert len(warnings) == len(set(warnings)) == 3  # one for each key and version
    assert all("by APLUS_ALIPAYPLUS_KEY_VERSION" in one for one in warnings)
    with pytest.raises(SignatureError, match="does not verify: found keyVersion '0', tried"):
        ring.verify("0", PrivateKey.generate().sign(b"x"), b"x")
