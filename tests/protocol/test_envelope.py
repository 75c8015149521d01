"""The signed HTTP messages around the JSON."""

from datetime import timedelta

import pytest
from attrs import evolve

from aplus_adapters import (
    InvalidValue,
    NotificationError,
    SignatureError,
    acknowledge,
    verify_notification,
)
from aplus_adapters.protocol import signing
from aplus_adapters.protocol.messages.notification import ACKNOWLEDGED
from aplus_adapters.protocol.signed_messages import Answer, sign_request, verify_answer
from support.shop import NOON

BODY = b'{"paymentResult":{"resultCode":"SUCCESS","resultStatus":"S"},"paymentRequestId":"pay1"}'


def take(account, headers, body=BODY, **options):
    pairs = headers.items() if isinstance(headers, dict) else headers
    return verify_notification(account, pairs, body, now=NOON, **options)


def test_a_request_carries_every_header_that_is_required(account):
    request = sign_request(
        evolve(account, agent_token="T"), "/aps/api/v1/payments/pay", b"{}", NOON
    )
    headers = dict(request.headers)
    assert request.url == "https://gateway.example/aps/api/v1/payments/pay"
    assert headers["Content-Type"] == "application/json; charset=UTF-8"
    assert headers["Client-Id"] == "CLIENT-1"
    assert headers["Request-Time"] == "2026-11-23T12:00:00.000Z"
    assert headers["Agent-Token"] == "T"
    assert headers["Signature"].startswith("algorithm=RSA256,keyVersion=1,signature=")
    assert "ignature" not in repr(request)


def answer_to(account, their_key, request, body=b"{}", path=None, time="2026-11-23T12:00:01Z"):
    content = signing.signed_content(path or request.path, account.client_id, time, body)
    headers = (
        ("client-id", account.client_id),
        ("response-time", time),
        ("signature", signing.sign(their_key, "1", content)),
    )
    return Answer(status=200, headers=headers, body=body)


def test_a_true_answer_is_believed_and_nothing_else(account, their_key, our_key):
    request = sign_request(account, "/aps/api/v1/payments/pay", b"{}", NOON)
    true = answer_to(account, their_key, request)
    said_at = verify_answer(account, request, true, now=NOON)
    assert said_at == NOON + timedelta(seconds=1)
    own = dict(request.headers)
    false = {
        "altered": evolve(true, body=b"{ }"),
        "unsigned": evolve(true, headers=true.headers[:2]),
        "without a time": evolve(true, headers=(true.headers[0], true.headers[2])),
        "another time": evolve(
            true,
            headers=(true.headers[0], ("response-time", "2026-11-23T12:00:02Z"), true.headers[2]),
        ),
        "another client": evolve(true, headers=(("client-id", "OTHER"), *true.headers[1:])),
        "signed twice": evolve(true, headers=(*true.headers, true.headers[2])),
        "for another path": answer_to(
            account, their_key, request, path="/aps/api/v1/payments/refund"
        ),
        "signed by us": answer_to(account, our_key, request),
        "our request's signature": evolve(
            true,
            headers=(
                true.headers[0],
                ("response-time", own["Request-Time"]),
                ("signature", own["Signature"]),
            ),
        ),
    }
    for name, answer in false.items():
        with pytest.raises(SignatureError):
            verify_answer(account, request, answer, now=NOON)
        print(f"an answer {name} is not believed")


def test_an_answer_without_client_id_is_believed_if_it_is_signed(account, their_key):
    request = sign_request(account, "/p", b"{}", NOON)
    true = answer_to(account, their_key, request)
    assert verify_answer(account, request, evolve(true, headers=true.headers[1:]), now=NOON)


@pytest.mark.parametrize("now", [NOON - timedelta(minutes=9), NOON + timedelta(minutes=10)])
def test_an_answer_is_believed_whatever_is_wrong_with_our_clock_within_reason(
    account, their_key, now, caplog
):
    request = sign_request(account, "/p", b"{}", now)
    assert verify_answer(account, request, answer_to(account, their_key, request), now=now)
    assert "away from Alipay+'s; synchronize it" in caplog.text


@pytest.mark.parametrize("off", [timedelta(minutes=-11), timedelta(minutes=11), timedelta(days=1)])
def test_an_answer_of_another_time_is_another_requests(account, their_key, off):
    request = sign_request(account, "/p", b"{}", NOON)
    with pytest.raises(SignatureError, match="answers another request, or this machine's clock"):
        verify_answer(account, request, answer_to(account, their_key, request), now=NOON + off)


def test_an_answer_whose_time_cannot_be_read_is_not_believed(account, their_key):
    request = sign_request(account, "/p", b"{}", NOON)
    answer = answer_to(account, their_key, request, time="noon")
    with pytest.raises(SignatureError, match="Response-Time"):
        verify_answer(account, request, answer, now=NOON)


@pytest.mark.parametrize("case", [str.lower, str.upper, str.title])
def test_the_case_of_header_names_does_not_matter(account, alipayplus, case):
    headers = alipayplus.sign(BODY, at=NOON)
    told = take(account, {case(name): f" {value}\t" for name, value in headers.items()})
    assert told.payment_request_id == "pay1"


@pytest.mark.parametrize("name", ["Client-Id", "Request-Time", "Signature"])
def test_a_missing_header_is_a_400_that_names_it(account, alipayplus, name):
    headers = alipayplus.sign(BODY, at=NOON)
    del headers[name]
    with pytest.raises(NotificationError, match=name.lower()) as refused:
        take(account, headers)
    assert refused.value.status == 400


@pytest.mark.parametrize("name", ["Client-Id", "Request-Time", "Signature", "Agent-Token"])
def test_a_repeated_protocol_header_is_refused(account, alipayplus, name):
    headers = {**alipayplus.sign(BODY, at=NOON), "Agent-Token": "T", "tracerid": "x"}
    extras = [(name, headers[name]), (name.upper(), "other")]
    if "-" in name:
        extras.append((name.replace("-", "_"), "x"))
    for extra in extras:
        with pytest.raises(NotificationError, match="twice or spelt with an underscore"):
            take(account, [*headers.items(), extra])


def test_an_underscore_twin_alone_is_refused_too(account, alipayplus):
    headers = alipayplus.sign(BODY, at=NOON)
    headers["Client_Id"] = headers.pop("Client-Id")
    with pytest.raises(NotificationError, match="underscore"):
        take(account, headers)


def test_other_headers_may_repeat(account, alipayplus):
    pairs = [
        *alipayplus.sign(BODY, at=NOON).items(),
        ("Cookie", "a"),
        ("Cookie", "b"),
        ("X_Y", "z"),
    ]
    assert take(account, pairs).payment_request_id == "pay1"


@pytest.mark.parametrize(
    "time", ["", "yesterday", "2026-11-23", "2026-11-23T12:00:00Z,2026-11-23T12:00:00Z"]
)
def test_a_request_time_that_is_no_datetime_is_a_400(account, alipayplus, time):
    with pytest.raises(NotificationError) as refused:
        take(account, {**alipayplus.sign(BODY, at=NOON), "Request-Time": time})
    assert refused.value.status == 400


def test_nothing_of_the_body_is_believed_or_parsed_before_its_signature(account, alipayplus):
    headers = alipayplus.sign(BODY, at=NOON)
    for body in (b"[" * 100_000, b"\xff", b'{"a":NaN}'):
        with pytest.raises(NotificationError, match="does not verify"):
            take(account, headers, body)


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b'{"paymentRequestId":"x"}', b'{"paymentResult":{},"paymentRequestId":"x"}',
     b'{"paymentResult":{"resultCode":"A","resultStatus":"S"},"paymentRequestId":""}',
     b'{"paymentResult":[],"paymentRequestId":"x"}', b'{"a":1,"a":1}', b'{"paymentRequestId":{"x":1}}'],
)  # fmt: skip
def test_a_signed_body_that_is_no_notification_is_a_400(account, alipayplus, body):
    with pytest.raises(NotificationError) as refused:
        take(account, alipayplus.sign(body, at=NOON), body)
    assert refused.value.status == 400


def test_an_acknowledgement_is_what_alipayplus_accepts(account, alipayplus):
    headers = acknowledge(account, ACKNOWLEDGED, NOON, "TOKEN")
    assert alipayplus.accepts(200, dict(headers), ACKNOWLEDGED)
    assert dict(headers)["Agent-Token"] == "TOKEN"
    assert (
        ACKNOWLEDGED
        == b'{"result":{"resultCode":"SUCCESS","resultStatus":"S","resultMessage":"success"}}'
    )


def test_acknowledgements_of_one_second_are_equal_byte_for_byte(account):
    first = acknowledge(account, ACKNOWLEDGED, NOON)
    same = acknowledge(account, ACKNOWLEDGED, NOON + timedelta(microseconds=999_999))
    later = acknowledge(account, ACKNOWLEDGED, NOON + timedelta(seconds=1))
    assert first == same != later


def test_a_query_in_the_notify_url_is_not_signed(account, alipayplus):
    queried = evolve(account, notify_url="https://shop.example/aplus/notify?shop=1", signed_path="")
    assert queried.signed_path == "/aplus/notify"
    assert take(queried, alipayplus.sign(BODY, at=NOON)).payment_request_id == "pay1"


@pytest.mark.parametrize("urlsafe", [False, True])
def test_what_is_sent_is_exactly_this(account, urlsafe):
    account = evolve(account, urlsafe_signatures=urlsafe, key_version="4")
    request = sign_request(account, "/aps/api/v1/payments/pay", b"{}", NOON)
    assert (request.client_id, request.body) == ("CLIENT-1", b"{}")
    time = "2026-11-23T12:00:00.000Z"
    content = signing.signed_content("/aps/api/v1/payments/pay", "CLIENT-1", time, b"{}")
    signature = signing.sign(account.private_key, "4", content, urlsafe=urlsafe)
    assert request.headers == (
        ("Content-Type", "application/json; charset=UTF-8"), ("Client-Id", "CLIENT-1"),
        ("Request-Time", time), ("Signature", signature),
    )  # fmt: skip
    moment = NOON.replace(microsecond=123456)
    headers = acknowledge(account, ACKNOWLEDGED, moment)
    time = "2026-11-23T12:00:00.000Z"
    content = signing.signed_content(account.signed_path, "CLIENT-1", time, ACKNOWLEDGED)
    signature = signing.sign(account.private_key, "4", content, urlsafe=urlsafe)
    assert headers == (
        ("Content-Type", "application/json; charset=UTF-8"), ("Client-Id", "CLIENT-1"),
        ("Response-Time", time), ("Signature", signature),
    )  # fmt: skip


@pytest.mark.parametrize("space", ["\n", "\u00a0", "X"])
def test_only_blanks_and_tabs_around_a_header_are_no_part_of_it(account, alipayplus, space):
    headers = alipayplus.sign(BODY, at=NOON)
    headers["Client-Id"] += space
    with pytest.raises(NotificationError, match="found"):
        take(account, headers)


class TestArgumentsOfAnotherKind:
    """They are told as what they are: a stranger's message is not to blame."""

    @pytest.mark.parametrize(
        "headers",
        [{"Signature": "x"}, {"ab": "x"}, None, 5, [("a",)], [("a", 5)], ["ab"], [b"ab"]],
        ids=repr,
    )
    def test_headers_are_all_pairs(self, account, headers):
        with pytest.raises(InvalidValue, match=r"headers: found \w+, expected all pairs"):
            verify_notification(account, headers, b"{}", now=NOON)

    @pytest.mark.parametrize("body", ["{}", None, {}, bytearray(b"{}")], ids=repr)
    def test_bodies_are_bytes(self, account, body):
        with pytest.raises(InvalidValue, match=r"body: found \w+, expected bytes"):
            verify_notification(account, [], body, now=NOON)
        with pytest.raises(InvalidValue, match=r"body: found \w+, expected bytes"):
            acknowledge(account, body, NOON)

    @pytest.mark.parametrize("account", ["CLIENT-1", None, {}], ids=repr)
    def test_accounts_are_accounts(self, account):
        with pytest.raises(InvalidValue, match=r"account: found \w+, expected Account"):
            verify_notification(account, [], b"{}", now=NOON)
        with pytest.raises(InvalidValue, match=r"account: found \w+, expected Account"):
            acknowledge(account, b"{}", NOON)

    @pytest.mark.parametrize("now", ["now", None, 5, NOON.replace(tzinfo=None)], ids=repr)
    def test_the_time_has_its_zone(self, account, now):
        with pytest.raises(InvalidValue, match=r"datetime: found .* expected an aware datetime"):
            verify_notification(account, [], b"{}", now=now)
        with pytest.raises(InvalidValue, match=r"datetime: found .* expected an aware datetime"):
            acknowledge(account, b"{}", now)

    @pytest.mark.parametrize("name", ["max_age", "max_ahead"])
    def test_ages_are_durations(self, account, name):
        with pytest.raises(InvalidValue, match=f"{name}: found int, expected timedelta"):
            verify_notification(account, [], b"{}", now=NOON, **{name: 3})

    def test_pairs_may_come_as_any_iterable(self, account):
        with pytest.raises(NotificationError, match="found no client-id header"):
            verify_notification(account, iter([["Signature", "x"]]), b"{}", now=NOON)
