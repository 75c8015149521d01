"""`aplus verify` names why a signature does not match, and claims nothing that it has not tried."""

import base64
import gzip
import hashlib
import json
from urllib.parse import quote, unquote

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from aplus_adapters import PrivateKey
from aplus_adapters.cli.main import main
from aplus_adapters.cli.verify.search import diagnose
from aplus_adapters.cli.verify.values import Kind, NamedKey, Owner, Question
from aplus_adapters.protocol import signing
from support.broken_messages import BODY, CLIENT, PATH, PLANTED, TIME, in_value, written


@pytest.fixture(scope="module")
def stranger_key():
    return PrivateKey.generate()


@pytest.fixture(scope="module")
def keys(our_key, their_key, stranger_key):
    return (
        NamedKey(owner=Owner.OURS, name="1", key=our_key.public_key),
        NamedKey(owner=Owner.THEIRS, name="1", key=their_key.public_key),
        NamedKey(owner=Owner.OTHER, name="sandbox", key=stranger_key.public_key),
    )


@pytest.fixture(scope="module")
def asked(keys, their_key):
    """Return a function that makes the question about a notification that was changed."""

    def make(signed=None, header=None, key=their_key, algorithm=None, **captured):
        signed = {"path": PATH, "client_id": CLIENT, "time": TIME, "body": BODY} | (signed or {})
        content = signing.signed_content(
            signed["path"], signed["client_id"], signed["time"], signed["body"]
        )
        raw = sign(key, content, algorithm or hashes.SHA256())
        text = f"algorithm=RSA256,keyVersion=1,signature={quote(base64.b64encode(raw), safe='')}"
        values = {"kind": Kind.NOTIFICATION, "paths": (PATH,), "client_id": CLIENT, "time": TIME}
        values |= {"body": BODY, "keys": keys, "signature": header(text) if header else text}
        return Question(**(values | captured))

    return make


def sign(key, content, algorithm, pad=None):
    loaded = serialization.load_pem_private_key(key.to_pem().encode(), None)
    return loaded.sign(content, pad or padding.PKCS1v15(), algorithm)


def codes(diagnosis):
    return [cause.code for cause in diagnosis.causes]


def test_a_right_signature_matches_and_says_what_was_signed(asked):
    found = diagnose(asked())
    assert found.matches
    assert (found.causes, found.faults, found.remarks) == ((), (), ())
    assert found.content == signing.signed_content(PATH, CLIENT, TIME, BODY)
    assert (found.key.owner, found.hash_name) == (Owner.THEIRS, "sha256")


@pytest.mark.parametrize("encoding", ["plain", "base64url", "without padding"])
def test_every_spelling_that_the_library_reads_matches(asked, encoding):
    change = {
        "plain": unquote,
        "base64url": lambda v: unquote(v).replace("+", "-").replace("/", "_").rstrip("="),
        "without padding": lambda v: unquote(v).rstrip("="),
    }[encoding]
    found = diagnose(asked(header=in_value(change)))
    assert found.matches
    assert bool(found.remarks) == (encoding == "base64url")


@pytest.mark.parametrize("name", PLANTED)
def test_the_planted_cause_is_named_and_no_other(asked, their_key, name):
    changes, code = PLANTED[name]
    question = asked(**changes)
    found = diagnose(question)
    assert not found.matches
    assert codes(found) == [code]
    assert all(cause.remedy for cause in found.causes)
    if "algorithm" not in changes and "header" not in changes:
        raw = base64.b64decode(unquote(question.signature.rpartition("signature=")[2]))
        assert their_key.public_key.verify(raw, found.content)


def test_two_causes_together_are_both_named(asked):
    found = diagnose(asked(signed={"path": "/aplus/notify"}, body=written(ensure_ascii=False)))
    assert sorted(codes(found)) == ["body_written_again", "path_prefix"]
    header = in_value(lambda v: quote(v, safe=""))
    found = diagnose(
        asked(header=header, algorithm=hashes.SHA1(), body=BODY + b"\n", time=TIME + " ")
    )
    assert codes(found) == [
        "percent_encoded_twice",
        "other_hash",
        "time_reformatted",
        "trailing_newline",
    ]


def test_a_key_that_should_not_have_signed_is_named(asked, our_key, stranger_key):
    assert codes(diagnose(asked(key=our_key))) == ["swapped_keys"]
    found = diagnose(asked(key=stranger_key))
    assert codes(found) == ["other_key"]
    assert "'sandbox'" in found.causes[0].text
    assert codes(diagnose(asked(key=our_key, kind=Kind.ACKNOWLEDGEMENT))) == []


def test_our_own_key_given_as_theirs_is_a_fault_whatever_the_signature_is(asked, our_key):
    ours = NamedKey(owner=Owner.OURS, name="1", key=our_key.public_key)
    theirs = NamedKey(owner=Owner.THEIRS, name="1", key=our_key.public_key)
    found = diagnose(asked(keys=(ours, theirs)))
    assert not found.matches
    assert [fault.code for fault in found.faults] == ["own_key_as_theirs"]
    assert found.causes == ()  # nobody tried Alipay+'s real key


def test_a_key_version_of_alipayplus_that_names_no_key_is_remarked(asked, keys, stranger_key):
    found = diagnose(asked(header=lambda h: h.replace("keyVersion=1", "keyVersion=7")))
    assert found.matches  # as the library accepts it
    assert "keyVersion '7' names none of the keys" in found.remarks[0]
    second = NamedKey(owner=Owner.THEIRS, name="2", key=stranger_key.public_key)
    found = diagnose(asked(keys=(*keys[:2], second), key=stranger_key))
    assert found.matches
    assert "keyVersion '1' names another key, and '2' signed" in found.remarks[0]


def test_a_key_version_of_ours_that_is_not_that_of_the_settings_is_a_cause(asked, our_key):
    ours = {"kind": Kind.ACKNOWLEDGEMENT, "key": our_key}
    assert diagnose(asked(**ours, key_version="1")).matches
    assert diagnose(asked(**ours)).matches  # nobody said which it should be
    assert codes(diagnose(asked(**ours, key_version="2"))) == ["key_version"]


def test_pss_padding_and_a_bare_hash_are_told_apart(asked, their_key):
    content = signing.signed_content(PATH, CLIENT, TIME, BODY)
    mask = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    raw = base64.b64encode(sign(their_key, content, hashes.SHA256(), mask)).decode()
    found = diagnose(asked(header=in_value(lambda _: quote(raw, safe=""))))
    assert codes(found) == ["pss_padding"]
    digest = hashlib.sha256(content).digest()
    loaded = serialization.load_pem_private_key(their_key.to_pem().encode(), None)
    numbers = loaded.private_numbers()
    block = b"\0\1" + b"\xff" * (256 - 3 - 32) + b"\0" + digest
    made = pow(int.from_bytes(block), numbers.d, numbers.public_numbers.n).to_bytes(256)
    text = quote(base64.b64encode(made), safe="")
    assert codes(diagnose(asked(header=in_value(lambda _: text)))) == ["bare_hash"]


def test_other_content_by_the_right_key_is_said_so_and_no_cause_is_claimed(asked):
    found = diagnose(asked(body=BODY.replace(b"4200", b"4300"), hints=("a hint",)))
    assert (found.matches, found.causes, found.faults) == (False, (), ())
    assert found.key.owner is Owner.THEIRS
    assert "made the signature" in found.facts[0]
    assert "it covers other content" in found.facts[1]
    assert "a hint" in found.facts


def test_an_unknown_key_is_said_so_and_no_cause_is_claimed(asked):
    found = diagnose(asked(key=PrivateKey.generate()))
    assert (found.matches, found.causes, found.key) == (False, (), None)
    assert found.facts[0] == "the signature has 2048 bits"
    assert "none of these keys made it" in found.facts[1]
    cut = diagnose(asked(header=in_value(lambda v: unquote(v)[:200])))
    assert "was cut or changed" in cut.facts[0]


def test_a_missing_signature_is_said_so(asked):
    found = diagnose(asked(signature=None))
    assert [fault.code for fault in found.faults] == ["unsigned"]
    assert not diagnose(asked(signature="nonsense")).matches
    assert not diagnose(asked(time="", signed={"time": ""})).matches


# ---- The command, with files as people have them


@pytest.fixture
def run(monkeypatch, our_key, their_key, tmp_path):
    monkeypatch.setenv("APLUS_PRIVATE_KEY", our_key.to_pem())
    monkeypatch.setenv("APLUS_PUBLIC_KEY", their_key.public_key.to_pem())
    monkeypatch.setenv("APLUS_CLIENT_ID", CLIENT)
    monkeypatch.setenv("APLUS_NOTIFY_URL", f"https://shop.example{PATH}")
    monkeypatch.setenv("APLUS_GATEWAY", "https://gateway.example")

    def run(*words, content=None):
        return CliRunner().invoke(main, ["verify", *map(str, words)], input=content)

    return run


def headers_for(key, path, time_name, body=BODY, time=TIME):
    content = signing.signed_content(path, CLIENT, time, body)
    return {
        "Client-Id": CLIENT,
        time_name: time,
        "Signature": signing.sign(key, "1", content),
        "Content-Type": "application/json",
    }


def raw(start, headers, body=BODY, end="\r\n"):
    lines = [start, *(f"{name}: {value}" for name, value in headers.items())]
    return end.join([*lines, "", ""]).encode() + body


def test_a_raw_notification_with_a_changed_body_is_explained(run, their_key, tmp_path):
    headers = headers_for(their_key, PATH, "Request-Time")
    file = tmp_path / "message.http"
    file.write_bytes(raw(f"POST {PATH}?x=1 HTTP/1.1", headers))
    done = run(file)
    assert done.exit_code == 0, done.output
    assert "Alipay+'s notification: the signature matches" in done.output
    assert f"POST {PATH}\n    {CLIENT}.{TIME}.<body of {len(BODY)} bytes" in done.output
    assert "walletBrandName" not in done.output
    assert "walletBrandName" in run(file, "--show-body").output
    # A proxy changes the path that is seen, and not the one that is signed.
    file.write_bytes(raw("POST /internal/notify HTTP/1.1", headers))
    assert run(file).exit_code == 0
    assert run(file, "--path", "/internal/notify").exit_code == 1
    file.write_bytes(raw(f"POST {PATH} HTTP/1.1", headers, BODY + b"\n", end="\n"))
    done = run(file)
    assert done.exit_code == 1
    assert "[trailing_newline]" in done.output
    assert "to do: capture and send the body without an editor" in done.output


def test_a_header_file_and_a_body_file_are_read(run, their_key, tmp_path):
    headers = headers_for(their_key, PATH, "Request-Time")
    (tmp_path / "h").write_text("".join(f"{name}: {value}\n" for name, value in headers.items()))
    (tmp_path / "b").write_bytes(BODY)
    done = run("--headers", tmp_path / "h", "--body", tmp_path / "b", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert (found["kind"], found["matches"], found["signed_path"]) == ("notification", True, PATH)
    assert run("--headers", tmp_path / "h").exit_code == 2


def test_a_har_file_is_verified_in_both_directions(run, our_key, their_key, tmp_path):
    path = "/aps/api/v1/payments/inquiryPayment"
    sent = headers_for(our_key, path, "Request-Time", b'{"paymentRequestId":"pay-1"}')
    got = headers_for(their_key, path, "Response-Time")
    entry = {
        "request": {
            "url": "https://gateway.example" + path,
            "headers": [{"name": n, "value": v} for n, v in sent.items()],
            "postData": {"text": '{"paymentRequestId":"pay-1"}'},
        },
        "response": {
            "status": 200,
            "headers": [{"name": n, "value": v} for n, v in got.items()],
            "content": {"text": base64.b64encode(BODY).decode(), "encoding": "base64"},
        },
    }
    other = {"request": {"url": "https://x.example/", "headers": []}, "response": {}}
    file = tmp_path / "a.har"
    file.write_text(json.dumps({"log": {"entries": [other, entry]}}))
    done = run(file)
    assert done.exit_code == 0, done.output
    assert "our request: the signature matches" in done.output
    assert "Alipay+'s response: the signature matches" in done.output
    entry["response"]["content"] = {"text": BODY.decode() + " "}
    file.write_text(json.dumps({"log": {"entries": [entry, entry]}}))
    assert "choose one by --entry N: 1: https://gateway.example" in run(file).output
    done = run(file, "--entry", "2", "--json")
    assert done.exit_code == 1
    first, second = map(json.loads, done.output.splitlines())
    assert first["matches"]
    assert [cause["code"] for cause in second["causes"]] == ["outer_space"]
    assert run(file, "--entry", "9").exit_code == 2


def test_a_curl_command_is_verified_as_curl_sends_it(run, our_key, tmp_path):
    path = "/aps/api/v1/payments/pay"
    headers = headers_for(our_key, path, "Request-Time")
    words = " \\\n".join(f"-H '{name}: {value}'" for name, value in headers.items())
    escaped = BODY.decode().replace("あ", "\\u3042").replace("é", "\\xc3\\xa9")
    url = "https://gateway.example" + path
    done = run("-", content=f"curl -sX POST '{url}' {words} --data-raw $'{escaped}'")
    assert done.exit_code == 0, done.output
    assert "our request: the signature matches" in done.output
    lines = json.dumps(json.loads(BODY), indent=1, ensure_ascii=False).encode()
    (tmp_path / "body.json").write_bytes(lines)
    command = tmp_path / "command.sh"
    command.write_text(f"curl {url} {words} -d @body.json")  # curl leaves line ends out
    headers = headers_for(our_key, path, "Request-Time", lines)
    words = " ".join(f"-H '{name}: {value}'" for name, value in headers.items())
    command.write_text(f"curl {url} {words} --data-binary @body.json")
    assert run(command).exit_code == 0
    command.write_text(f"curl {url} {words} -d @body.json")
    assert run(command).exit_code == 1


def test_a_message_for_another_client_is_named(run, our_key, monkeypatch, their_key):
    monkeypatch.setenv("APLUS_CLIENT_ID", "CLIENT-9")
    message = raw(f"POST {PATH} HTTP/1.1", headers_for(their_key, PATH, "Request-Time"))
    done = run("-", content=message)
    assert done.exit_code == 1
    assert "the message is for client id 'CLIENT-1', the settings say 'CLIENT-9'" in done.output


def test_a_response_without_its_path_is_tried_for_every_call(run, their_key):
    headers = headers_for(their_key, "/aps/api/v1/payments/refund", "Response-Time")
    done = run("-", "--json", content=raw("HTTP/1.1 200 OK", headers))
    assert json.loads(done.output)["signed_path"] == "/aps/api/v1/payments/refund"


CHUNKED = b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (9, BODY[:9], len(BODY) - 9, BODY[9:])


@pytest.mark.parametrize(
    ("start", "more", "body"),
    [
        ("POST /x HTTP/1.1", {"Transfer-Encoding": "chunked"}, CHUNKED),
        ("POST /x HTTP/1.1", {"Transfer-Encoding": "chunked"}, BODY),  # joined by the capture
        ("POST /x HTTP/1.1", {"Content-Encoding": "gzip"}, gzip.compress(BODY)),
        (":path: /x", {"host": "shop.example"}, BODY),  # HTTP/2
        ("X-Other: 1", {}, BODY),  # headers alone: the body says that it is a notification
    ],
)
def test_a_raw_message_is_read_as_it_travels(run, their_key, start, more, body):
    headers = headers_for(their_key, PATH, "Request-Time") | more
    done = run("-", content=raw(start, headers, body))
    assert done.exit_code == 0, done.output
    assert "Alipay+'s notification: the signature matches" in done.output


def test_a_body_that_was_cut_is_hinted_at(run, their_key):
    headers = headers_for(their_key, PATH, "Request-Time") | {"Content-Length": len(BODY)}
    done = run("-", content=raw("POST /x HTTP/1.1", headers | {"client-id": CLIENT}, BODY[:-9]))
    assert done.exit_code == 1
    assert f"Content-Length says {len(BODY)} bytes" in done.output
    assert "the header client-id comes 2 times" in done.output


def test_options_replace_the_keys_of_the_settings(run, our_key, stranger_key, tmp_path, their_key):
    files = {"ours": our_key, "theirs": their_key, "other": stranger_key}
    for name, key in files.items():
        (tmp_path / name).write_text(key.public_key.to_pem())
    (tmp_path / "private").write_text(stranger_key.to_pem())
    message = raw(f"POST {PATH} HTTP/1.1", headers_for(stranger_key, PATH, "Request-Time"))
    told = run("-", "--other-key", f"new={tmp_path / 'other'}", content=message)
    assert "the key 'new'" in told.output
    assert "[other_key]" in told.output
    assert run("-", "--alipayplus-key", tmp_path / "other", content=message).exit_code == 0
    assert run("-", "--alipayplus-key", tmp_path / "private", content=message).exit_code == 0
    answer = raw(
        "HTTP/1.1 200 OK",
        headers_for(stranger_key, PATH, "Response-Time", b'{"result":1}'),
        b'{"result":1}',
    )
    assert run("-", content=answer).exit_code == 1
    assert run("-", "--our-key", tmp_path / "private", content=answer).exit_code == 0
    (tmp_path / "private").write_text("nonsense")
    assert run("-", "--our-key", tmp_path / "private", content=answer).exit_code == 2


def test_what_has_no_path_or_client_id_is_refused(run, monkeypatch, their_key):
    headers = headers_for(their_key, PATH, "Request-Time")
    monkeypatch.delenv("APLUS_NOTIFY_URL")
    done = run("-", content=raw("X-Other: 1", headers))
    assert done.exit_code == 2
    assert "found none in the capture, expected one; pass --path" in " ".join(done.output.split())
    monkeypatch.delenv("APLUS_CLIENT_ID")
    del headers["Client-Id"]
    assert "pass --client-id" in run("-", content=raw("POST /x HTTP/1.1", headers)).output


def test_a_notification_and_its_acknowledgement_are_verified_together(
    run, our_key, their_key, tmp_path
):
    answer = b'{"result":{"resultCode":"SUCCESS","resultStatus":"S"}}'
    asked = headers_for(their_key, PATH, "Request-Time")
    told = headers_for(our_key, "/aplus/notify", "Response-Time", answer)
    entry = {
        "request": {
            "url": f"http://10.0.0.7:8000{PATH}",
            "headers": [{"name": n, "value": v} for n, v in asked.items()],
            "postData": {"text": BODY.decode()},
        },
        "response": {
            "status": 200,
            "headers": [{"name": n, "value": v} for n, v in told.items()],
            "content": {"text": answer.decode()},
        },
    }
    file = tmp_path / "a.har"
    file.write_text(json.dumps({"log": {"entries": [entry]}}))
    first, second = map(json.loads, run(file, "--json").output.splitlines())
    assert (first["kind"], first["matches"]) == ("notification", True)
    assert (second["kind"], second["matches"]) == ("acknowledgement", False)
    assert [cause["code"] for cause in second["causes"]] == ["path_prefix"]


def test_odd_captures_are_judged_or_refused_without_a_traceback(run):
    deep = b'{"a":' * 300 + b"1" + b"}" * 300
    signature = "Signature: algorithm=RSA256,keyVersion=1,signature=" + "A" * 342
    head = f"POST /x HTTP/1.1\nClient-Id: C\nRequest-Time: nonsense\n{signature}\n\n".encode()
    har = {"log": {"entries": [{"request": {"url": "\ud800", "headers": []}, "response": None}]}}
    for content in (
        head + deep,
        head + b'{"a":NaN,"b":1e999,"c":"\\ud800"}',
        head + b"\xff\xfe\0" * 50,
        head + b"x" * 1_000_000,
        head.replace(b"/x", b"http://[/x"),
        json.dumps(har).encode(),
        b"curl http://[ -H 'Client-Id: \xff'",
    ):
        done = run("-", content=content)
        assert done.exit_code in (1, 2), done.output
        assert done.exception is None or isinstance(done.exception, SystemExit)


@pytest.mark.parametrize(
    ("words", "content", "found"),
    [
        (["/no/such/file"], "", "cannot read"),
        ([], "", "expected FILE, or --headers and --body together"),
        (["-"], "no message", "found no blank line"),
        (["-"], "curl 'unclosed", "curl command: cannot be read"),
        (["-"], "curl -H a:b", "found no address"),
        (["-"], '{"log": {}}', "HAR file: found no log of entries"),
        (["-", "--entry", "1"], "curl http://x", "expected it with a HAR file only"),
        (["-", "--other-key", "x"], "", "expected NAME=FILE"),
        (["-", "--other-key", "x=/no/file"], "", "expected a key file"),
    ],
)
def test_wrong_use_exits_with_2_and_says_what_was_expected(run, words, content, found):
    done = run(*words, content=content)
    assert done.exit_code == 2
    assert found in " ".join(done.output.split())


def test_without_a_key_that_can_be_read_it_says_how_to_give_one(run, monkeypatch):
    monkeypatch.setenv("APLUS_PRIVATE_KEY", "no key")
    done = run("-", content="curl http://x.example")
    assert done.exit_code == 2
    assert "APLUS_PRIVATE_KEY: found" in done.output
    for name in ("APLUS_PRIVATE_KEY", "APLUS_PUBLIC_KEY"):
        monkeypatch.delenv(name)
    done = run("-", content="curl http://x.example")
    assert done.exit_code == 2
    assert "found no key, expected at least one" in done.output
