"""What is fuzzed: every way in which a stranger's bytes come in. Only our own errors may come out."""

from datetime import UTC, datetime

from aplus_adapters import (
    Account,
    NotificationError,
    PrivateKey,
    SignatureError,
    verify_notification,
)
from aplus_adapters.errors import ConfigurationError, InvalidValue, MessageError
from aplus_adapters.protocol import signing, wire
from aplus_adapters.protocol.amounts import Amount
from aplus_adapters.protocol.keys import PublicKey
from aplus_adapters.protocol.messages.inquiry import InquiryResponse
from aplus_adapters.protocol.messages.notification import PaymentNotification
from aplus_adapters.protocol.messages.pay import PayRequest, PayResponse
from aplus_adapters.protocol.signed_messages import Answer, sign_request, verify_answer
from aplus_adapters.protocol.timestamps import Timestamp

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
THEIRS = PrivateKey.generate()
ACCOUNT = Account(
    client_id="C",
    private_key=PrivateKey.generate(),
    alipayplus_keys=THEIRS.public_key,
    gateway="https://gateway.example",
    notify_url="https://shop.example/aplus/notify",
)
REQUEST = sign_request(ACCOUNT, "/aps/api/v1/payments/pay", b"{}", NOW)


def headers_of(data):
    """Make header pairs out of bytes: half of them with the names that matter."""
    names = ("Client-Id", "Request-Time", "Response-Time", "Signature", "Client_Id", "X")
    for index, part in enumerate(data.split(b"\n")):
        name, _, value = part.decode("latin-1").partition(":")
        yield (name or names[index % len(names)]), value


def fuzz_notification_headers(data):
    try:
        verify_notification(ACCOUNT, headers_of(data), data, now=NOW)
    except NotificationError as error:
        assert 400 <= error.status < 500
    else:
        raise AssertionError("a forged notification was accepted")


def fuzz_signed_notification_body(data):
    """A body that Alipay+ itself signed: legal or our error, whatever is in it."""
    time = "2026-11-23T12:00:00Z"
    content = signing.signed_content(ACCOUNT.signed_path, "C", time, data)
    header = signing.sign(THEIRS, "1", content)
    pairs = (("Client-Id", "C"), ("Request-Time", time), ("Signature", header))
    try:
        verify_notification(ACCOUNT, pairs, data, now=NOW)
    except NotificationError as error:
        assert error.status == 400


def fuzz_answer(data):
    try:
        answer = Answer(status=200, headers=tuple(headers_of(data)), body=data)
        verify_answer(ACCOUNT, REQUEST, answer, now=NOW)
    except SignatureError:
        return
    raise AssertionError("a forged answer was accepted")


def fuzz_signature_header(data):
    try:
        signing.parse_header(data.decode("latin-1"))
    except SignatureError:
        pass


def fuzz_json(data):
    try:
        assert isinstance(wire.loads(data), dict)
    except MessageError:
        pass


def _texts(value):
    """Make of every scalar its text, as only text is written."""
    if isinstance(value, dict):
        return {key: _texts(child) for key, child in value.items()}
    return [_texts(child) for child in value] if isinstance(value, list) else str(value)


def fuzz_tolerant_json(data):
    try:
        text = str(wire.dumps({"read": _texts(wire.read(data))}), "utf-8")
        assert "\\u0000" not in text.replace("\\\\", "")
    except MessageError:
        pass


def fuzz_messages(data):
    for kind in (PaymentNotification, PayResponse, InquiryResponse, PayRequest):
        try:
            message = kind.decode(data)
        except MessageError:
            continue
        assert kind.decode(message.encode()) == message


def fuzz_timestamp(data):
    try:
        Timestamp(data.decode("latin-1"))
    except InvalidValue:
        pass


def fuzz_amount(data):
    for read in (
        lambda text: Amount.parse(text, "USD"),
        lambda text: Amount.from_wire({"currency": text, "value": text}),
    ):
        try:
            read(data.decode("latin-1"))
        except InvalidValue:
            pass


def fuzz_key(data):
    try:
        PublicKey.load(data)
    except ConfigurationError:
        pass


TARGETS = {
    name.removeprefix("fuzz_"): value
    for name, value in globals().items()
    if name.startswith("fuzz_")
}
SEEDS = {
    "notification_headers": [
        b"Client-Id:C\nRequest-Time:2026-11-23T12:00:00Z\nSignature:algorithm=RSA256,keyVersion=1,signature=AAAA"
    ],
    "signature_header": [b"algorithm=RSA256,keyVersion=1,signature=AA%2B/", b"a=b,c=d"],
    "signed_notification_body": [
        b'{"paymentResult":{"resultCode":"SUCCESS","resultStatus":"S"},"paymentRequestId":"x"}'
    ],
    "messages": [
        b'{"paymentResult":{"resultCode":"A","resultStatus":"S"},"result":{"resultCode":"A","resultStatus":"U"},"paymentRequestId":"x","paymentAmount":{"currency":"USD","value":"1"},"settlementQuote":{"quotePrice":"1.5"},"orderCodeForm":{"codeDetails":[{"codeValue":"a","displayType":"TEXT"}]}}'
    ],
    "json": [b'{"a":[1,-2.5e3,true,null,"\\u00e9\\ud83c\\udf5c"]}'],
    "tolerant_json": [b'{"a":"\\ud83c","a":["\\u0000\xff",NaN]}'],
    "timestamp": [b"2026-11-23T12:00:00.123+08:00"],
    "amount": [b"12.34"],
    "answer": [
        b"Client-Id:C\nResponse-Time:2026-11-23T12:00:00Z\nSignature:algorithm=RSA256,keyVersion=1,signature=AAAA"
    ],
    "key": [THEIRS.public_key.to_pem().encode(), THEIRS.public_key.to_base64().encode()],
}
