"""`aplus doctor` posts to the notify URL and says what stands there in place of our route."""

import json
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from aplus_adapters import PrivateKey
from aplus_adapters.protocol.messages.notification import ACKNOWLEDGED
from aplus_adapters.protocol.signed_messages import acknowledge
from support.in_place import serving


def answering(status, body=b"", **headers):
    """Return an application that gives one answer to everything."""

    def application(environ, start_response):
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
        start_response(f"{status} X", pairs)
        return [body]

    return application


@pytest.fixture
def examined(aplus):
    def run(*words):
        done = aplus("doctor", "--no-gateway", "--json", *words)
        found = json.loads(done.output)
        assert done.exit_code == (0 if found["ok"] else 1)
        return {check["name"]: check for check in found["checks"]}, found

    return run


def test_a_shop_that_is_right_is_probed_unsigned_forged_and_signed(shop, examined):
    checks, found = examined()
    assert found["ok"], found
    assert "refuses an unsigned message" in checks["notify URL answers"]["found"]
    assert checks["forged probe"]["found"] == "refused with HTTP 401"
    assert "verified by the shop" in checks["signed probe"]["found"]


def test_without_alipayplus_key_it_says_what_is_not_proved(shop, examined, tmp_path):
    (tmp_path / "alipayplus_private.pem").unlink()
    checks, found = examined()
    assert found["ok"]
    assert "not sent: only Alipay+ has its key" in checks["signed probe"]["found"]


def test_a_wrong_path_is_named_with_the_right_one(shop, examined, monkeypatch):
    for wrong in ("/notify", "/shop/aplus/notify", "/aplus/notify/", "/aplus"):
        monkeypatch.setenv("APLUS_NOTIFY_URL", shop.address + wrong)
        checks, _ = examined()
        remedy = checks["notify URL answers"]["remedy"]
        assert f"the route answers at {shop.address}/aplus/notify" in remedy, wrong


def test_a_shop_that_verifies_for_another_path_is_found(shop, examined, monkeypatch):
    monkeypatch.setenv("APLUS_SIGNED_PATH", "/outer/aplus/notify")
    checks, _ = examined()
    assert not checks["signed probe"]["ok"]
    assert "the shop verifies for the path /aplus/notify" in checks["signed probe"]["remedy"]


def test_a_shop_that_signs_with_another_key_version_is_found(shop, examined, monkeypatch):
    monkeypatch.setenv("APLUS_KEY_VERSION", "2")
    checks, _ = examined()
    assert not checks["signed probe"]["ok"]
    assert "keyVersion 1, the settings here say 2" in checks["signed probe"]["found"]
    assert "the same APLUS_KEY_VERSION" in checks["signed probe"]["remedy"]


def test_the_simulators_client_in_production_is_found(settings, examined, monkeypatch):
    monkeypatch.setenv("APLUS_ENVIRONMENT", "production")
    monkeypatch.setenv("APLUS_GATEWAY", "https://open-sea-global.alipayplus.com")
    monkeypatch.setenv("APLUS_NOTIFY_URL", "https://shop.example/aplus/notify")
    monkeypatch.setenv("APLUS_CLIENT_ID", "SIMULATED_CLIENT_0001")
    checks, _ = examined("--no-notify")
    assert "use the developer center's" in checks["configuration"]["remedy"]


def test_a_shop_with_another_key_of_alipayplus_is_found(shop, examined, monkeypatch, tmp_path):
    other = PrivateKey.generate()
    (tmp_path / "alipayplus_private.pem").write_text(other.to_pem())
    (tmp_path / "alipayplus_public.pem").write_text(other.public_key.to_pem())
    checks, _ = examined()
    assert "the shop runs with other settings" in checks["signed probe"]["remedy"]


CSRF = b"<h1>Forbidden</h1><p>CSRF verification failed. Request aborted."


@pytest.mark.parametrize(
    ("application", "remedy"),
    [
        (answering(302, Location="/accounts/login?next=/aplus/notify"), "a log-in stands in front"),
        (answering(301, Location="/aplus/notify/"), "a POST must not be redirected"),
        (answering(302, Location="/elsewhere"), "take the redirect away"),
        (answering(403, CSRF), "a CSRF guard stands in front"),
        (answering(400, b"The CSRF token is missing."), "a CSRF guard stands in front"),
        (answering(403, b"no"), "a log-in, a firewall or an allow-list"),
        (answering(401, WWW_Authenticate="Basic"), "HTTP authentication"),
        (answering(502, b"bad gateway"), "the shop behind it does not"),
        (answering(500, b"oops"), "the shop fails: see its log"),
        (answering(400, b"the body was consumed or cut off"), "something reads the body before"),
        (answering(200, b"<form>Log in <input type=password>"), "a log-in page answers"),
        (answering(200, b"welcome"), "the route is not here"),
        (answering(404, b"nothing"), "the route is not here"),
    ],
)
def test_what_stands_in_front_is_named(settings, examined, monkeypatch, application, remedy):
    with serving(application) as address:
        monkeypatch.setenv("APLUS_NOTIFY_URL", f"{address}/aplus/notify")
        checks, _ = examined()
    check = checks["notify URL answers"]
    assert not check["ok"]
    assert remedy in check["remedy"]
    assert "signed probe" not in checks  # it would say nothing more


def test_a_dead_port_and_an_unknown_name_are_named(settings, examined, monkeypatch):
    checks, _ = examined()
    assert "nothing listens at 127.0.0.1:9" in checks["notify URL answers"]["remedy"]
    monkeypatch.setenv("APLUS_NOTIFY_URL", "https://shop.invalid/aplus/notify")
    checks, _ = examined()
    assert "the name shop.invalid is not known here" in checks["notify URL answers"]["remedy"]
    assert "notify URL answers" not in examined("--no-notify")[0]


def test_a_certificate_that_nobody_vouches_for_is_named(settings, examined, monkeypatch, tmp_path):
    key = PrivateKey.generate()
    loaded = serialization.load_pem_private_key(key.to_pem().encode(), None)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, loaded.public_key(), 1, now, now + timedelta(1))
    certificate = made.sign(loaded, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    file = tmp_path / "server.pem"
    file.write_bytes(key.to_pem().encode() + certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)

    def accept():
        connection, _ = listener.accept()
        with connection:
            try:
                context.wrap_socket(connection, server_side=True).close()
            except OSError:
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        port = listener.getsockname()[1]
        monkeypatch.setenv("APLUS_NOTIFY_URL", f"https://localhost:{port}/aplus/notify")
        checks, _ = examined()
        thread.join()
    assert f"TLS of localhost:{port} is wrong" in checks["notify URL answers"]["remedy"]


def test_a_shop_that_accepts_what_anybody_signed_is_found(shop, examined, monkeypatch):
    account = shop.config.accounts["CLIENT-1"]

    def gullible(environ, start_response):
        environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        if "HTTP_SIGNATURE" not in environ:
            start_response("400 X", [])
            return [b"notification refused"]
        headers = acknowledge(account, ACKNOWLEDGED, datetime.now(UTC))
        start_response("200 OK", list(headers))
        return [ACKNOWLEDGED]

    with serving(gullible) as address:
        monkeypatch.setenv("APLUS_NOTIFY_URL", f"{address}/aplus/notify")
        checks, _ = examined()
    assert "must refuse what Alipay+ did not sign" in checks["forged probe"]["remedy"]
    assert "must not acknowledge a payment" in checks["signed probe"]["remedy"]


def test_the_list_before_going_live_is_printed_and_what_can_be_checked_is(shop, aplus, examined):
    checks, found = examined("--live")
    assert not checks["live: environment"]["ok"]
    assert not checks["live: notify URL"]["ok"]
    assert len(found["by_hand"]) == 12
    printed = aplus("doctor", "--no-gateway", "--no-notify", "--live")
    assert printed.exit_code == 1
    assert "[ ]  all sandbox test cases of the Developer Center are passed" in printed.output


def test_a_public_production_account_is_ready(settings, examined, monkeypatch):
    monkeypatch.setenv("APLUS_ENVIRONMENT", "production")
    monkeypatch.setenv("APLUS_GATEWAY", "https://open-sea-global.alipayplus.com")
    monkeypatch.setenv("APLUS_NOTIFY_URL", "https://shop.example/aplus/notify")
    checks, found = examined("--live", "--no-notify")
    assert found["ok"], found
    monkeypatch.setenv("APLUS_NOTIFY_URL", "https://10.0.0.7/aplus/notify")
    checks, _ = examined("--live", "--no-notify")
    assert "known in public" in checks["live: notify URL"]["remedy"]
