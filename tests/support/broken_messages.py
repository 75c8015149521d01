"""Broken messages: what was signed and what was captured of it, and the cause that they have."""

import base64
import gzip
import json
import re
from datetime import timedelta
from urllib.parse import quote, unquote

from cryptography.hazmat.primitives import hashes

from aplus_adapters.protocol.timestamps import Timestamp

PATH = "/shop/aplus/notify"
CLIENT = "CLIENT-1"
TIME = "2026-11-23T12:00:30.005Z"
BODY = (
    '{"paymentResult":{"resultCode":"SUCCESS","resultStatus":"S"},"paymentRequestId":"pay-1",'
    '"paymentAmount":{"value":"4200","currency":"JPY"},"walletBrandName":"あ&é/x"}'
).encode()


def written(**options):
    return json.dumps(json.loads(BODY), **options).encode()


def in_value(change):
    """Return a change of the header that changes the value of its signature only."""

    def changed(header):
        before, equals, value = header.rpartition("signature=")
        return before + equals + change(value)

    return changed


LATER = (Timestamp(TIME).moment + timedelta(milliseconds=7)).isoformat(timespec="milliseconds")
LATER = LATER.replace("+00:00", "Z")
PLANTED = {
    # what was signed otherwise than it was captured, or what was captured otherwise
    "mount prefix missing": ({"signed": {"path": "/aplus/notify"}}, "path_prefix"),
    "mount prefix added": (
        {"signed": {"path": "/x/shop/aplus/notify"}, "other_paths": (("/x/y", "captured"),)},
        "path_prefix",
    ),
    "query string signed": (
        {"signed": {"path": PATH + "?a=1"}, "other_paths": ((PATH + "?a=1", "with query"),)},
        "query_signed",
    ),
    "query string left out": ({"paths": (PATH + "?a=1",)}, "query_signed"),
    "slash at the end": ({"signed": {"path": PATH + "/"}}, "other_path"),
    "path of another call": ({"signed": {"path": "/aps/api/v1/payments/pay"}}, "other_path"),
    "written again with spaces": ({"body": written(ensure_ascii=False)}, "body_written_again"),
    "signed with spaces": ({"signed": {"body": written(ensure_ascii=False)}}, "body_written_again"),
    "keys sorted, signed in the documented order": (
        {"body": written(sort_keys=True, ensure_ascii=False, separators=(",", ":"))},
        "body_written_again",
    ),
    "keys sorted, signed in any order": (
        {
            "signed": {"body": b'{"c":"1","a":"2","b":"3"}'},
            "body": b'{"a":"2","b":"3","c":"1"}',
        },
        "key_order",
    ),
    "letters escaped": ({"body": written(separators=(",", ":"))}, "body_written_again"),
    "slashes escaped": (
        {"signed": {"body": BODY.replace(b"/", b"\\/")}},
        "body_written_again",
    ),
    "indented by an editor": (
        {"body": written(indent=2, ensure_ascii=False) + b"\n"},
        "body_written_again",
    ),
    "other charset": ({"signed": {"body": BODY.decode().encode("gb18030")}}, "charset"),
    "text of UTF-8 read as latin-1": ({"body": BODY.decode("latin-1").encode()}, "charset"),
    "newline added": ({"body": BODY + b"\n"}, "trailing_newline"),
    "newline lost": ({"signed": {"body": BODY + b"\n"}}, "trailing_newline"),
    "CRLF for LF": (
        {"signed": {"body": b'{\n"a":"b"}'}, "body": b'{\r\n"a":"b"}'},
        "line_ends",
    ),
    "compressed": ({"body": gzip.compress(BODY)}, "compressed"),
    "wrong client id": (
        {"signed": {"client_id": "CLIENT-2"}, "other_client_ids": (("CLIENT-2", "settings"),)},
        "client_id",
    ),
    "percent-encoded twice": ({"header": in_value(lambda v: quote(v, safe=""))}, "percent_encoded_twice"),
    "plus became a space": ({"header": in_value(lambda v: unquote(v).replace("+", " "))}, "plus_became_space"),
    "broken into lines": (
        {"header": in_value(lambda v: re.sub("(.{76})", r"\1 ", unquote(v).replace("+", "%2B")))},
        "broken_into_lines",
    ),
    "hexadecimal": ({"header": in_value(lambda v: base64.b64decode(unquote(v)).hex())}, "hexadecimal"),
    "in quotes": ({"header": in_value(lambda v: f'"{v}"')}, "quoted"),
    "bare value": ({"header": lambda h: h.rpartition("signature=")[2]}, "bare_header"),
    "base64 twice": (
        {"header": in_value(lambda v: base64.b64encode(unquote(v).encode()).decode())},
        "base64_twice",
    ),
    "loose base64": ({"header": in_value(lambda v: unquote(v).rstrip("=") + "=")}, "loose_base64"),
    "no keyVersion": ({"header": lambda h: h.replace("keyVersion=1,", "")}, "no_key_version"),
    "separated by ;": ({"header": lambda h: h.replace(",", ";")}, "header_separator"),
    "milliseconds signed": ({"signed": {"time": "1795435230005"}}, "time_reformatted"),
    "milliseconds in the header": ({"time": "1795435230005"}, "time_reformatted"),
    "letters composed otherwise": (
        {"body": BODY.replace("é".encode(), "e\u0301".encode())},
        "unicode_form",
    ),
    "HTML escapes": ({"body": BODY.replace(b"&", b"&amp;")}, "html_escapes"),
    "signed as a JSON string": (
        {"signed": {"body": json.dumps(BODY.decode(), ensure_ascii=False).encode()}},
        "json_string",
    ),
    "signed without the body": ({"signed": {"body": b""}}, "empty_body"),
    "algorithm named otherwise": ({"header": lambda h: h.replace("RSA256", "SHA256withRSA")}, "algorithm_name"),
    "zone written otherwise": ({"signed": {"time": TIME.replace("Z", "+00:00")}}, "time_reformatted"),
    "zone changed": ({"signed": {"time": "2026-11-23T20:00:30.005+08:00"}}, "time_reformatted"),
    "fraction dropped": ({"time": "2026-11-23T12:00:30Z"}, "time_reformatted"),
    "fraction added": ({"signed": {"time": "2026-11-23T12:00:30Z"}, "time": "2026-11-23T12:00:30.000Z"}, "time_reformatted"),
    "clock read twice": ({"signed": {"time": LATER}}, "clock_read_twice"),
    "other time header": (
        {"signed": {"time": "2026-11-23T11:00:00Z"}, "other_times": (("2026-11-23T11:00:00Z", "Response-Time"),)},
        "other_time",
    ),
    "SHA-1": ({"algorithm": hashes.SHA1()}, "other_hash"),
    "SHA-512": ({"algorithm": hashes.SHA512()}, "other_hash"),
}  # fmt: skip
