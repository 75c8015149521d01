"""An environment in which no HTTP client can be made is named, with the variable to correct."""

import asyncio
import logging
import pickle
from datetime import UTC, datetime, timedelta

import pytest
from attrs import evolve

from aplus_adapters import (
    AplusPay,
    Client,
    ConfigurationError,
    MemoryStore,
    NotSent,
    State,
    Visitor,
)
from aplus_adapters.messages import InquiryRequest
from aplus_adapters.payments.flows.initiate import initiate
from aplus_adapters.runtime.http_clients import make_client, preferred_library
from aplus_adapters.runtime.senders import AsyncSender, Sender
from support.http_requests import request_to
from support.shop import Clock

BROKEN = [
    ("NO_PROXY", "localhost,[::1]", "httpx"),  # httpx2 reads it
    ("SSL_CERT_FILE", "/nowhere/certificates.pem", "httpx"),
    ("SSL_CERT_FILE", "/nowhere/certificates.pem", "httpx2"),
    ("SSL_CERT_FILE", __file__, "httpx2"),
    ("SSLKEYLOGFILE", "/nowhere/keys", "httpx"),
    ("ALL_PROXY", "socks5://user:s3cret@127.0.0.1:1", "httpx"),
    ("no_proxy", "localhost,[::1]", "httpx"),
    ("all_proxy", "socks5://user:s3cret@127.0.0.1:1", "httpx2"),
    ("HTTPS_PROXY", "ftp://user:s3cret@proxy.example", "httpx2"),
    ("HTTPS_PROXY", "http://user:s3cret@proxy.example:port", "httpx"),
]


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch):
    for name in {name for name, *_ in BROKEN} | {"HTTP_PROXY"}:
        for spelling in (name.upper(), name.lower()):
            monkeypatch.delenv(spelling, raising=False)


@pytest.mark.parametrize("kind", ["Client", "AsyncClient"])
@pytest.mark.parametrize(("variable", "value", "library"), BROKEN)
def test_a_variable_that_keeps_a_client_from_being_made_is_named(
    monkeypatch, variable, value, library, kind
):
    http = pytest.importorskip(library)
    if value.startswith("/nowhere/cert") and http.__version__.startswith("0.27."):
        pytest.skip("this httpx takes its own certificates for a file that is not there")
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=f"HTTP client.*found .*{variable}") as refused:
        make_client(http, kind, "https://gateway.example")
    assert isinstance(refused.value, NotSent)
    assert isinstance(pickle.loads(pickle.dumps(refused.value)), ConfigurationError)
    assert "s3cret" not in str(refused.value)
    if variable != "SSLKEYLOGFILE":  # which Python itself reads, for every client
        make_client(http, "Client", "http://127.0.0.1:1").close()


def test_of_several_variables_the_one_that_is_wrong_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("SSL_CERT_FILE", __file__)
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "yet to be written"))
    monkeypatch.setenv("NO_PROXY", "localhost")
    with pytest.raises(ConfigurationError, match=r"found SSL_CERT_FILE that is no readable file"):
        make_client(preferred_library(), "Client", "https://gateway.example")


@pytest.mark.parametrize("is_async", [False, True])
def test_a_sender_says_it_at_each_call_and_works_once_it_is_corrected(monkeypatch, is_async):
    request = request_to("https://127.0.0.1:9")

    async def awaited():
        sender = AsyncSender()
        try:
            await sender.send(request, 1.0)
        finally:
            await sender.aclose()

    def send():
        asyncio.run(awaited()) if is_async else Sender().send(request, 1.0)

    monkeypatch.setenv("SSL_CERT_FILE", __file__)  # which is no certificate
    with pytest.raises(ConfigurationError, match="SSL_CERT_FILE"):
        send()
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(NotSent, match="could not connect"):
        send()


@pytest.mark.parametrize("is_async", [False, True])
def test_it_stops_neither_a_press_nor_reconcile_for_other_payments_and_is_in_the_log(
    account, shop, monkeypatch, caplog, is_async
):
    """One account's gateway cannot be called; the other's can, and its payment is seen to."""
    caplog.set_level(logging.WARNING)  # what a default logger prints
    here = evolve(
        account, client_id="CLIENT-2", gateway="http://127.0.0.1:9", environment="simulator"
    )
    store = MemoryStore()
    clock = Clock(datetime.now(UTC))
    pay = AplusPay(account=[account, here], store=store, hooks=shop, clock=clock)
    monkeypatch.setenv("SSL_CERT_FILE", __file__)  # which is no certificate
    load_order = shop.load_order

    def with_account(details):
        client_id = "CLIENT-2" if details.order_ref == "HERE" else None
        return evolve(load_order(details), client_id=client_id)

    shop.load_order = with_account

    def run(flow):
        return asyncio.run(pay.run_async(flow)) if is_async else pay.run(flow)

    pressed = [
        run(initiate(pay.config, order_ref, Visitor())) for order_ref in ("A-1", "HERE", "A-2")
    ]
    assert [one.state for one in pressed] == [State.CREATED] * 3
    for one in pressed:
        said = [
            record.getMessage()
            for record in caplog.records
            if one.payment_request_id in record.getMessage()
        ]
        expected = "could not connect" if one.order_ref == "HERE" else "found SSL_CERT_FILE"
        assert any(expected in message for message in said)
    clock.moment += timedelta(seconds=30)
    done = asyncio.run(pay.reconcile_async()) if is_async else pay.reconcile()
    assert (done.asked, done.failed) == (3, 0)
    pay.close()


def test_a_call_that_cannot_be_made_is_not_repeated(account, monkeypatch):
    """The set-up is as wrong a second later: the buyer is answered at once."""
    monkeypatch.setenv("SSL_CERT_FILE", __file__)  # which is no certificate
    clock = Clock()
    with (
        Client(account, clock=clock) as client,
        pytest.raises(ConfigurationError, match="SSL_CERT_FILE"),
    ):
        client.inquire(InquiryRequest(payment_request_id="payment-1"))
    assert clock.slept == []


@pytest.mark.parametrize("url", ["https://gateway.example", "http://127.0.0.1:8100"])
def test_our_clients_follow_no_redirect_whoever_sends_with_them(url):
    with make_client(preferred_library(), "Client", url) as client:
        assert client.follow_redirects is False
    assert make_client(preferred_library(), "AsyncClient", url).follow_redirects is False
