"""The signed path is the one that was configured, whatever a request says of host and proxy."""

import os
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.forms import ANY_HOST

LEGAL = re.compile(r"[a-z][a-z0-9]{0,9}(\.[a-z][a-z0-9]{0,9}){0,3}(:[1-9]\d{1,3})?\Z")
# In each of the forms of serving: more than 1,000 in all.
EXAMPLES = 400 if os.environ.get("APLUS_LONG") else 40
HOSTS = st.one_of(
    st.sampled_from(
        ["shop.example", "evil.example/aplus/other", "x@y", "[::1]", "a:99999", "?", "#"]
    ),
    st.from_regex(LEGAL, fullmatch=True, alphabet=st.characters(codec="ascii")),
    st.text([chr(code) for code in range(0x21, 0x7F)], min_size=1, max_size=30),
)
FORWARDED = st.dictionaries(
    st.sampled_from(
        ["X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Prefix", "X-Forwarded-Proto",
         "X-Forwarded-Path", "X-Original-URL", "X-Rewrite-URL", "Forwarded", "X-Script-Name"]
    ),
    HOSTS,
    max_size=4,
)  # fmt: skip
fuzzed = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None
)


@pytest.mark.parametrize("served", ANY_HOST, indirect=True)
def test_no_host_or_forwarded_header_changes_what_is_verified(served):
    order_ref = f"host-{served.form}"
    attempt = served.attempt(served.pay(order_ref)["paymentRequestId"])
    body = served.alipayplus.notification(attempt)
    true = served.alipayplus.sign(body)
    other = served.alipayplus.sign(body, path="/aplus/other")

    @fuzzed
    @given(host=HOSTS, forwarded=FORWARDED)
    def run(host, forwarded):
        headers = {**forwarded, "Host": host}
        refused = served.notify(body, other, **headers)
        assert 400 <= refused.status_code < 500
        taken = served.notify(body, true, **headers)
        # A server or framework may refuse a Host that is none; what reaches us is verified alike.
        assert served.acknowledged(taken) or (taken.status_code == 400 and not LEGAL.match(host))

    run()
    assert served.changes(order_ref) == ["succeeded"]
