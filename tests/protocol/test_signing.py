"""Signatures: nothing forged gets in, and every legal spelling does."""

import base64
from datetime import timedelta
from urllib.parse import quote, unquote_to_bytes

import pytest
from attrs import evolve
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15
from hypothesis import example, given
from hypothesis import strategies as st

from aplus_adapters import (
    KeyRing,
    NotificationError,
    PrivateKey,
    SignatureError,
    verify_notification,
)
from aplus_adapters.protocol import signing
from support.shop import NOON

PATH, CLIENT, TIME = "/aplus/notify", "CLIENT-1", "2026-11-23T12:00:00Z"
BODY = b'{"paymentResult":{"resultCode":"SUCCESS"},"pad":"' + b"x" * 1150 + b'"}'
CONTENT = signing.signed_content(PATH, CLIENT, TIME, BODY)
HASHES = [
    hashes.MD5(), hashes.SHA1(), hashes.SHA224(), hashes.SHA384(), hashes.SHA512(), hashes.SHA3_256(),
]  # fmt: skip


@pytest.fixture(scope="module")
def key(their_key):
    return their_key


@pytest.fixture(scope="module")
def ring(key):
    return KeyRing.of({"1": key.public_key})


def header(value, version="1"):
    if isinstance(value, bytes):
        value = base64.b64encode(value).decode()
    return f"algorithm=RSA256,keyVersion={version},signature={value}"


def accepted(ring, value, content=CONTENT):
    try:
        signing.verify(ring, value, content)
    except SignatureError:
        return False
    return True


def flips(data, mask=1):
    for index in range(len(data)):
        yield data[:index] + bytes([data[index] ^ mask]) + data[index + 1 :]


def test_no_changed_bit_of_a_signature_and_no_changed_byte_of_what_it_covers_is_accepted(key, ring):
    true = key.sign(CONTENT)
    assert accepted(ring, header(true))
    tried = 0
    for byte in range(len(true)):
        for bit in range(8):
            changed = true[:byte] + bytes([true[byte] ^ (1 << bit)]) + true[byte + 1 :]
            assert not accepted(ring, header(changed))
            tried += 1
    for body in (*flips(BODY), *flips(BODY, 0x80)):
        assert not accepted(ring, header(true), signing.signed_content(PATH, CLIENT, TIME, body))
        tried += 1
    for name, value in {"path": PATH, "client_id": CLIENT, "time": TIME}.items():
        for changed in flips(value.encode()):
            parts = {"path": PATH, "client_id": CLIENT, "time": TIME, name: changed.decode()}
            assert not accepted(ring, header(true), signing.signed_content(**parts, body=BODY))
            tried += 1
    for method in ("GET", "PUT", "post", "POST "):
        assert not accepted(ring, header(true), CONTENT.replace(b"POST", method.encode(), 1))
        tried += 1
    print(f"{tried} changed messages, 0 accepted")
    assert tried > 3_500


def test_no_changed_character_of_the_header_is_accepted(key, ring):
    true = signing.sign(key, "1", CONTENT)
    tried = 0
    version = true.index("keyVersion=") + len("keyVersion=")  # a hint that is not signed
    for index, changed in enumerate(flips(true.encode())):
        assert accepted(ring, changed.decode("latin-1")) == (index == version)
        tried += 1
    print(f"{tried} changed headers, 0 accepted")
    assert tried > 350


@pytest.mark.parametrize(
    "value",
    ["YWJj=", "YWJj==", "YWJj====", "YWI==", "YQ=", "Y", "=", "====", "YWJ=YWJj", "YR==", "YW JjYWI", "YWJj\n",
     "YWJjé", "YWJj\x80", "YWJj$", "=YWJj", "YW==YWJj"],
)  # fmt: skip
def test_what_is_no_base64_or_another_spelling_of_it_is_refused(value):
    with pytest.raises(SignatureError, match="not base64"):
        signing.parse_header(header(value))


def test_the_same_bytes_have_one_spelling_in_base64(key, ring):
    """Decoders skip foreign characters and unused bits, so that two headers could mean the same."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    plain = base64.b64encode(key.sign(CONTENT)).decode()
    assert plain.endswith("==")  # 256 bytes leave four bits of the last character unused
    body, last = plain[:-3], alphabet.index(plain[-3])
    others = [f"{body}{alphabet[last + bits]}==" for bits in range(1, 16)]
    others += [f"{plain[:7]}{foreign}{plain[7:]}" for foreign in "\n\r !=@*."]
    others += [plain + more for more in ("=", "A", "AAAA", "==AA", "!", "\n")]
    for other in others:
        for value in (other, quote(other, safe="")):
            with pytest.raises(SignatureError, match="not base64"):
                signing.parse_header(f"algorithm=RSA256,keyVersion=1,signature={value}")
            assert not accepted(ring, header(value))


@pytest.mark.parametrize("algorithm", HASHES, ids=lambda one: one.name)
def test_another_hash_is_refused_even_with_the_right_key(key, ring, algorithm):
    assert not accepted(ring, header(key._key.sign(CONTENT, PKCS1v15(), algorithm)))


def test_another_padding_is_refused(key, ring):
    pss = PSS(MGF1(hashes.SHA256()), PSS.MAX_LENGTH)
    assert not accepted(ring, header(key._key.sign(CONTENT, pss, hashes.SHA256())))


def test_a_signature_that_is_not_reduced_modulo_n_is_refused(key, ring):
    numbers = key._key.public_key().public_numbers()
    value = int.from_bytes(key.sign(CONTENT)) + numbers.n
    length = (value.bit_length() + 7) // 8
    assert not accepted(ring, header(value.to_bytes(length)))
    assert not accepted(ring, header(b"\0" + key.sign(CONTENT)))
    assert not accepted(ring, header(key.sign(CONTENT) + b"\0"))
    assert not accepted(ring, header(b""))


@pytest.mark.parametrize(
    "name",
    [
        "RSA",
        "rsa256",
        "RsA256",
        "R\u017fa256",
        "ECC256",
        "RSA2",
        "RSA512",
        "HS256",
        "none",
        "",
        "RSA256 ",
        "ＲSA256",
        "RSA256;",
    ],
)
def test_another_algorithm_name_is_refused(key, ring, name):
    value = signing.sign(key, "1", CONTENT).replace("RSA256", name)
    assert accepted(ring, value) == (name in ("RSA256 ", "rsa256", "RsA256"))


def test_an_unsigned_message_is_refused(ring):
    for nothing in (None, "", " "):
        with pytest.raises(SignatureError, match="found"):
            signing.verify(ring, nothing, CONTENT)


def spellings(raw):
    plain = base64.b64encode(raw).decode()
    urlsafe = base64.urlsafe_b64encode(raw).decode()
    upper = quote(plain, safe="")
    lower = upper.replace("%2B", "%2b").replace("%2F", "%2f").replace("%3D", "%3d")
    return {
        "raw base64": header(plain),
        "percent-encoded": header(upper),
        "percent-encoded in lower case": header(lower),
        "every character percent-encoded": header("".join(f"%{ord(c):02x}" for c in plain)),
        "base64url with padding": header(urlsafe),
        "base64url without padding": header(urlsafe.rstrip("=")),
        "base64 without padding": header(plain.rstrip("=")),
        "spaces around commas": header(plain).replace(",", " , "),
        "tabs around items": "\t" + header(plain).replace(",", "\t,\t") + "\t",
        "another order": f"signature={upper},keyVersion=1,algorithm=RSA256",
        "unknown items": f"x=y,{header(plain)},note=a=b",
    }


def test_every_spelling_of_two_hundred_signatures_is_accepted(key, ring):
    counts = dict.fromkeys(spellings(b"x"), 0)
    for number in range(200):
        content = signing.signed_content(PATH, CLIENT, TIME, b"%d" % number)
        for name, value in spellings(key.sign(content)).items():
            counts[name] += accepted(ring, value, content)
    print(counts)
    assert set(counts.values()) == {200}


@pytest.mark.parametrize(
    "value",
    ["algorithm=RSA256", "algorithm=RSA256,keyVersion=1", "keyVersion=1,signature=AAAA", "a", ",", "=", "=,=",
     "algorithm=RSA256,algorithm=RSA256,keyVersion=1,signature=AAAA", "algorithm=RSA256,keyVersion=,signature=AAAA",
     "algorithm=RSA256,keyVersion=1,signature=", "algorithm=RSA256,keyVersion=1,signature=A",
     "algorithm=RSA256,keyVersion=1,signature=AB==C", "algorithm=RSA256,keyVersion=1,signature=AA=",
     "algorithm=RSA256,keyVersion=1,signature=AB==", "algorithm=RSA256,keyVersion=1,signature=AAB=",
     "algorithm=RSA256,keyVersion=1,signature=AA AA", "algorithm=RSA256,keyVersion=1,signature=%zz",
     "algorithm=RSA256,keyVersion=1,signature=%ff", "algorithm=RSA256,keyVersion=1,signature=ÄÄÄÄ",
     "signature=AAAA,algorithm=RSA256,keyVersion=1,signature=AAAA",
     "algorithm=RSA256,keyVersion=1,signature=AAAA,signature=AAAA,x=1",
     "algorithm=RSA256,keyVersion=1,signature=AAAA====", "algorithm=RSA256,keyVersion=1,signature=" + "A" * 5000],
)  # fmt: skip
def test_a_malformed_header_is_refused_by_our_error(ring, value):
    with pytest.raises(SignatureError, match="found"):
        signing.verify(ring, value, CONTENT)


def test_a_plus_is_a_plus_and_no_space(key, ring):
    number = 0
    while b"+" not in base64.b64encode(key.sign(b"%d" % number)):
        number += 1
    assert accepted(ring, header(key.sign(b"%d" % number)), b"%d" % number)
    spaced = header(key.sign(b"%d" % number)).replace("+", " ")
    assert not accepted(ring, spaced, b"%d" % number)


@given(st.text(max_size=300) | st.text("algorithm=RSA256,keyVersion1sgntue%+/-_ ", max_size=200))
def test_any_header_gives_a_signature_or_our_error(value):
    try:
        assert isinstance(signing.parse_header(value).signature, bytes)
    except SignatureError:
        pass


@given(st.binary(max_size=40))
def test_what_is_sent_is_read_again_in_both_encodings(content):
    key = _shared_key()
    for urlsafe in (False, True):
        parsed = signing.parse_header(signing.sign(key, "7", content, urlsafe=urlsafe))
        assert (parsed.key_version, parsed.signature) == ("7", key.sign(content))
        assert repr(parsed) == "SignatureHeader(key_version='7')"


def _shared_key(made=[]):  # noqa: B006  # one key for all examples
    if not made:
        made.append(PrivateKey.generate())
    return made[0]


def test_the_header_is_sent_exactly_as_the_official_kits_send_it(key):
    sent = signing.sign(key, "1", b"x")
    name, version, value = sent.split(",")
    assert (name, version) == ("algorithm=RSA256", "keyVersion=1")
    assert value == "signature=" + quote(base64.b64encode(key.sign(b"x")), safe="")


def test_content_and_signature_are_those_of_an_independent_implementation(tmp_path, key, ring):
    """Sign and verify with the openssl program, both ways."""
    import subprocess

    message = b"POST /aps/api/v1/payments/pay\nC1.2026-11-23T12:00:00.000Z." + '{"a":"ü"}'.encode()
    ours = signing.signed_content(
        "/aps/api/v1/payments/pay", "C1", "2026-11-23T12:00:00.000Z", '{"a":"ü"}'.encode()
    )
    assert ours == message
    files = {name: tmp_path / name for name in ("key", "public", "message", "signature")}
    files["key"].write_text(key.to_pem())
    files["public"].write_text(key.public_key.to_pem())
    files["message"].write_bytes(message)
    dgst = ["openssl", "dgst", "-sha256"]
    theirs = subprocess.run(
        [*dgst, "-sign", files["key"], files["message"]], capture_output=True, check=True
    ).stdout
    assert theirs == key.sign(ours)
    assert accepted(ring, header(theirs), ours)
    files["signature"].write_bytes(signing.parse_header(signing.sign(key, "1", ours)).signature)
    verify = [*dgst, "-verify", files["public"], "-signature", files["signature"], files["message"]]
    assert b"Verified OK" in subprocess.run(verify, capture_output=True, check=True).stdout


def notification(alipayplus, account, clock_at, sent_at, **changes):
    from aplus_adapters import Amount, Attempt

    attempt = Attempt(
        payment_request_id="pay1", order_ref="A", client_id="CLIENT-1", amount=Amount("JPY", 1),
        request_body=b"{}", created_at=NOON, expires_at=NOON, next_call_at=NOON, changed_at=NOON,
    )  # fmt: skip
    body = alipayplus.notification(attempt)
    headers = {**alipayplus.sign(body, at=sent_at), **changes}
    return verify_notification(account, headers.items(), body, now=clock_at)


def test_the_age_window_is_exact_to_the_second_on_both_sides(alipayplus, account):
    for inside in (timedelta(hours=48), timedelta(0), timedelta(minutes=-15), timedelta(hours=25)):
        told = notification(alipayplus, account, NOON + inside, NOON)
        assert told.payment_request_id == "pay1"
    for outside in (timedelta(hours=48, seconds=1), timedelta(minutes=-15, seconds=-1)):
        with pytest.raises(NotificationError, match="Request-Time") as refused:
            notification(alipayplus, account, NOON + outside, NOON)
        assert refused.value.status == 401


def test_a_notification_for_another_path_client_or_key_is_refused(alipayplus, account, our_key):
    for changed in (
        evolve(account, signed_path="/other"),
        evolve(account, client_id="OTHER"),
        evolve(account, alipayplus_keys=PrivateKey.generate().public_key),
    ):
        with pytest.raises(NotificationError) as refused:
            notification(alipayplus, changed, NOON, NOON)
        assert refused.value.status == 401


def test_a_thousand_notifications_while_keys_rotate_are_all_accepted(account, their_key):
    from aplus_adapters.testing.signer import AlipayPlus

    new_key = PrivateKey.generate()
    steps = [
        (KeyRing.of({"1": their_key.public_key}), [(their_key, "1")]),
        (
            KeyRing.of({"1": their_key.public_key, "2": new_key.public_key}),
            [(their_key, "1"), (new_key, "2")],
        ),
        (KeyRing.of({"2": new_key.public_key}), [(new_key, "2")]),
    ]
    taken = 0
    for number in range(1000):
        ring, signers = steps[number * len(steps) // 1000]
        key, version = signers[number % len(signers)]
        rotating = evolve(account, alipayplus_keys=ring)
        notification(AlipayPlus(account, key, version), rotating, NOON, NOON)
        taken += 1
    print(f"{taken} of 1000 notifications accepted while rotating")
    with pytest.raises(NotificationError, match="keyVersion '1'"):
        notification(AlipayPlus(account, their_key), rotating, NOON, NOON)


@example("%\n")
@example("%\r.")
@example("%2B=")
@example("%3D%")
@example("%252B")
@example("%%2B2B")
@given(st.text("%23BbFfDdAz+/=-_\n\r ", max_size=40))
def test_the_fast_way_to_undo_percent_encoding_is_the_standard_one(value):
    assert signing._unquote(value) == unquote_to_bytes(value).decode("latin-1")


@pytest.mark.parametrize(
    "value", ["QUJ\u00e4", "QUJ\u00e4%3D", "QU%C3%A4", "QUJD\uff21", "QUJD\ud800"]
)
def test_what_is_not_ascii_is_no_signature(value):
    with pytest.raises(SignatureError, match="not base64"):
        signing.parse_header(f"algorithm=RSA256,keyVersion=1,signature={value}")


def test_the_longest_header_that_is_read():
    start = "algorithm=RSA256,keyVersion=1,signature=AAAA,pad="
    assert signing.parse_header(start + "x" * (4096 - len(start))).signature == b"\0\0\0"
    with pytest.raises(SignatureError, match="found a header of 4097 characters"):
        signing.parse_header(start + "x" * (4097 - len(start)))


@pytest.mark.parametrize("space", ["\n", "\u00a0", "X", "\v"])
def test_only_blanks_and_tabs_may_surround_an_item(space):
    for header in (
        f"algorithm=RSA256,{space}keyVersion=1,signature=AAAA",
        f"algorithm=RSA256{space},keyVersion=1,signature=AAAA",
    ):
        with pytest.raises(SignatureError, match="found"):
            signing.parse_header(header)


def test_both_spellings_of_what_we_send_are_exact(key):
    raw = base64.b64encode(key.sign(CONTENT)).decode()
    start = "algorithm=RSA256,keyVersion=7,signature="
    assert signing.sign(key, "7", CONTENT) == start + quote(raw, safe="")
    safe = raw.rstrip("=").replace("+", "-").replace("/", "_")
    assert signing.sign(key, "7", CONTENT, urlsafe=True) == start + safe


def test_a_parsed_header_shows_no_signature():
    parsed = signing.parse_header("algorithm=RSA256,keyVersion=7,signature=c2VjcmV0")
    assert repr(parsed) == "SignatureHeader(key_version='7')"
