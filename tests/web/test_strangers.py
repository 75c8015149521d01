"""Whatever a stranger sends to whichever address: a short 4xx, never a 5xx, never a signature."""

import os

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

# In each of thirty forms of serving.
EXAMPLES = 250 if os.environ.get("APLUS_LONG") else 12
NAMES = ["Client-Id", "Request-Time", "Signature", "Content-Type", "Agent-Token", "tracerid", "Accept",
         "Accept-Language", "User-Agent", "Origin", "X-Forwarded-For", "Cookie"]  # fmt: skip
TEXT = st.text([chr(code) for code in (*range(0x20, 0x7F), *range(0xA0, 0x100))], max_size=60)
LEGAL = {
    "Client-Id": "CLIENT-1", "Request-Time": "2026-11-23T12:00:00Z", "Content-Type": "application/json",
    "Signature": "algorithm=RSA256,keyVersion=1,signature=AAAA", "Accept": "application/json",
}  # fmt: skip
HEADERS = st.dictionaries(st.sampled_from(NAMES), TEXT.map(str.strip), max_size=5)
BODIES = st.one_of(
    st.binary(max_size=200),
    st.sampled_from([b'{"order_ref":5}', b'{"order_ref":"\\ud800"}', b"order_ref=%ff", b"order_ref",
                     b'{"order_ref":"' + b"x" * 300 + b'"}', b"[" * 2000, b'{"order_ref":"\\u0000"}']),
)  # fmt: skip
TYPES = st.sampled_from(["application/json", "application/x-www-form-urlencoded", "text/plain"])
fuzzed = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None
)


def encoded(served, headers):
    """Give the headers as bytes; the transport of the form without a server knows only ASCII."""
    errors = "replace" if served.is_wsgi_transport else "strict"
    coding = "ascii" if served.is_wsgi_transport else "latin-1"
    return {name: value.encode(coding, errors) for name, value in headers.items()}


@fuzzed
@given(headers=HEADERS, body=BODIES, legal=st.sets(st.sampled_from(sorted(LEGAL))))
def test_no_notification_of_a_stranger_is_believed_or_breaks_anything(served, headers, body, legal):
    sent = {**{name: LEGAL[name] for name in legal}, **headers}
    response = served.client.post("/aplus/notify", content=body, headers=encoded(served, sent))
    assert 400 <= response.status_code < 500
    assert "signature" not in response.headers
    assert len(response.content) < 1000


@fuzzed
@given(headers=HEADERS, body=BODIES, kind=TYPES)
def test_no_order_of_a_stranger_breaks_anything(served, headers, body, kind):
    sent = {**headers, "Content-Type": kind}
    response = served.client.post("/aplus/pay", content=body, headers=encoded(served, sent))
    # This shop has nearly every order: what it sells by accident is legal.
    assert 400 <= response.status_code < 500 or response.status_code == 303


@fuzzed
@given(
    headers=HEADERS,
    known=st.text([chr(code) for code in (*range(0x21, 0x7F), 0xE4, 0x1F35C)], min_size=1, max_size=80),
    tail=st.sampled_from(["", "/status", "/new"]),
)  # fmt: skip
def test_no_address_of_a_stranger_breaks_anything(served, headers, known, tail):
    from urllib.parse import quote

    if served.is_wsgi_transport:  # its transport knows no path beyond Latin-1
        known = known.replace("\U0001f35c", "x")
    path = f"/aplus/payments/{quote(known, safe='')}{tail}"
    for method in ("GET", "POST", "DELETE", "HEAD", "OPTIONS"):
        response = served.client.request(method, path, headers=encoded(served, headers))
        assert response.status_code < 500, (method, path, response.text)
        assert response.status_code >= 300 or method == "OPTIONS"


@pytest.mark.parametrize("path", ["/aplus/notify", "/aplus/pay"])
def test_a_body_that_is_longer_than_the_limit_is_refused_without_a_content_length(served, path):
    def chunks():
        for _ in range(300):
            yield b"x" * 4096

    content = chunks()
    if served.is_async:  # an async client takes async chunks only

        async def async_chunks():
            for chunk in chunks():
                yield chunk

        content = async_chunks()
    headers = {"Content-Type": "application/json"}
    # Without a server between, WSGI knows no body without Content-Length: nothing is read. Nor does
    # a server that speaks HTTP/1.0.
    chunkless = served.is_wsgi_transport or served.form == "flask-wsgiref"
    expected = 400 if chunkless else 413
    try:
        assert served.client.post(path, content=content, headers=headers).status_code == expected
    except httpx.RemoteProtocolError:  # we have answered; Granian hangs up on who goes on sending
        assert "granian" in served.form
