"""Keys, signatures, tokens and buyers' data: in no repr, no page, no error, no log line."""

import logging

import pytest
from attrs import evolve

from aplus_adapters import Account, Amount, OrderToPay, PrivateKey, Visitor
from aplus_adapters.messages import PaymentNotification
from aplus_adapters.payments.flows.initiate import initiate
from aplus_adapters.protocol.signed_messages import sign_request
from aplus_adapters.testing.served_shop import JSON, make_pay, reach
from aplus_adapters.web.http import HttpRequest
from support import served as shops
from support.buyers import NAME, KnowsTheBuyer, the_buyer
from support.leaks import AGENT_TOKEN, BUYER, LEAKS

_, MAIL, PHONE, _ = BUYER

HTML = {"Accept": "text/html", "User-Agent": "Mozilla/5.0"}


@pytest.fixture
def pay(tmp_path, simulated_account):
    account = evolve(simulated_account, agent_token=AGENT_TOKEN)
    made = make_pay(tmp_path / "shop.db", account, KnowsTheBuyer())
    yield made
    made.close()
    made.store.close()


def holds_a_secret(text):
    before = len(LEAKS.found)
    LEAKS.read(text)
    found = LEAKS.found[before:]
    del LEAKS.found[before:]
    return found


def test_the_watch_sees_what_it_is_there_for(simulated_account, account):
    key = simulated_account.private_key
    der = key._key.private_numbers().d
    for text in (*BUYER, AGENT_TOKEN, f"{der:x}", "signature=" + "Ab%2F" * 20,
                 "-----BEGIN PRIVATE KEY-----"):  # fmt: skip
        assert holds_a_secret(f"before {text} after")
    logging.getLogger("aplus_adapters").error("%s", AGENT_TOKEN)
    assert LEAKS.found
    LEAKS.found.clear()


def test_no_repr_shows_a_secret(pay, simulated_alipayplus):
    buyer, shipping = the_buyer()
    attempt = pay.run(initiate(pay.config, "A-1", Visitor(user_agent="x", client_ip="203.0.113.9")))
    body = simulated_alipayplus.notification(attempt, customerId=NAME)
    account = pay.config.default_account
    headers = tuple(simulated_alipayplus.sign(body).items())
    shown = [
        account, account.private_key, account.alipayplus_keys, pay, pay.config, pay.context,
        pay.performer, buyer, shipping, attempt, attempt.request, attempt.request.order,
        OrderToPay(amount=Amount("USD", 1), description="x", buyer=buyer, shipping=shipping),
        sign_request(account, "/x", MAIL.encode(), attempt.created_at),
        HttpRequest(method="POST", path="/", headers=headers, body=body, client_ip=PHONE),
        PaymentNotification.decode(body), pay.store.history(attempt.payment_request_id),
    ]  # fmt: skip
    for one in shown:
        assert holds_a_secret(repr(one)) == [], type(one)
        assert holds_a_secret(str(one)) == [], type(one)


@pytest.mark.parametrize("make", [shops.flask_application, shops.starlette_application])
def test_no_page_and_no_error_shows_a_secret(pay, simulated_alipayplus, make):
    shown = []
    with reach(make(pay), pay) as client:

        def ask(*arguments, **options):
            response = client.request(*arguments, **options)
            kept = {k: v for k, v in response.headers.items() if k.lower() != "signature"}
            if response.headers.get("agent-token"):  # an acknowledgement echoes Alipay+'s own
                kept.pop("agent-token")
            shown.append(response.text + repr(kept))
            return response

        made = ask("POST", "/aplus/pay", json={"order_ref": "A-1"}, headers=JSON).json()
        path = f"/aplus/{made['page']}"
        body = simulated_alipayplus.notification(pay.store.latest("A-1"), customerId=NAME)
        signed = {**simulated_alipayplus.sign(body), "Agent-Token": AGENT_TOKEN}
        for _ in range(2):
            for headers in (JSON, HTML):
                ask("GET", path, headers=headers)
                ask("GET", f"{path}/status", headers=headers)
            ask("POST", "/aplus/notify", content=body[:-1], headers=signed)
            ask("POST", "/aplus/notify", content=body, headers={**signed, "Client-Id": "X"})
            ask("POST", "/aplus/notify", content=body, headers=signed)
        ask("POST", "/aplus/pay", json={"order_ref": "broken"}, headers=JSON)
        ask("POST", f"{path}/new", headers=JSON)
    assert pay.store.get(made["paymentRequestId"]).state.value == "succeeded"
    assert len(shown) == 17
    assert [found for text in shown if (found := holds_a_secret(text))] == []


@pytest.mark.parametrize(
    "variable", ["APLUS_PRIVATE_KEY", "APLUS_PUBLIC_KEY", "APLUS_NOTIFY_URL", "APLUS_GATEWAY"]
)
def test_no_error_of_the_settings_shows_the_key(simulator, variable):
    environ = {**simulator.environ, "APLUS_NOTIFY_URL": "http://127.0.0.1:9/aplus/notify"}
    key = (simulator.folder / "client_private.pem").read_text()
    environ["APLUS_PRIVATE_KEY"] = key
    environ.pop("APLUS_PRIVATE_KEY_FILE", None)
    environ[variable] = key[: len(key) // 2] if variable == "APLUS_PRIVATE_KEY" else key
    if variable == "APLUS_PUBLIC_KEY":
        environ.pop("APLUS_PUBLIC_KEY_FILE", None)
    with pytest.raises(Exception) as error:  # its text is what matters
        Account.from_env(environ)
    assert holds_a_secret(str(error.value) + repr(error.value)) == []
    assert PrivateKey.load(key)
