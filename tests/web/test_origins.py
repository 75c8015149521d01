"""Which pages may make a buyer's browser post: by Fetch Metadata, or by Origin where it is missing."""

import pytest
from attrs import evolve

from aplus_adapters import AplusPay, MemoryStore
from aplus_adapters.web.http import HttpRequest
from aplus_adapters.web.page import PAGE_HEADERS
from support.shop import Shop

TRUSTED = ["https://partner.example", "capacitor://localhost", "ionic://localhost"]


@pytest.fixture
def context(account):
    other = evolve(account, client_id="CLIENT-2", notify_url="https://pay.other.example:8443/n")
    return AplusPay(
        account=[account, other], store=MemoryStore(), hooks=Shop(), trusted_origins=TRUSTED
    ).context


def is_foreign(context, **headers):
    pairs = tuple((name.replace("_", "-").title(), value) for name, value in headers.items())
    request = HttpRequest(method="POST", path="/aplus/pay", headers=pairs)
    return context.is_foreign(request)


OWN = {
    "no browser": {"host": "shop.example"},
    "the same host": {"host": "shop.example", "origin": "https://shop.example"},
    "another spelling": {"host": "Shop.Example.", "origin": "https://shop.example"},
    "a host with a dot behind it": {"host": "Kiosk.Example.:8443", "origin": "https://kiosk.example"},
    "plain http": {"host": "192.0.2.7:8000", "origin": "http://192.0.2.7:8000"},
    "IPv6": {"host": "[::1]:8000", "origin": "http://[::1]:8000"},
    "a port that a proxy drops": {"host": "stage.example", "origin": "https://stage.example:8443"},
    "a proxy that changes Host": {"host": "127.0.0.1:8000", "origin": "https://shop.example"},
    "another account's host": {"host": "10.0.0.5", "origin": "https://pay.other.example"},
    "a proxy that passes Host on": {
        "host": "app:8000", "x_forwarded_host": "inner, kiosk.example", "origin": "https://kiosk.example",
    },
    "a proxy that writes no space": {
        "host": "app:8000", "x_forwarded_host": "inner,kiosk.example", "origin": "https://kiosk.example",
    },
    "a proxy that speaks RFC 7239": {
        "host": "app:8000", "origin": "https://kiosk.example",
        "forwarded": 'for=192.0.2.1;HOST="kiosk.example:443";proto=https, for=10.0.0.1',
    },
    "a trusted site": {"host": "shop.example", "origin": "https://partner.example"},
    "an app": {"host": "shop.example", "origin": "capacitor://localhost"},
    "another app": {"host": "shop.example", "origin": "ionic://localhost", "sec_fetch_site": "cross-site"},
    "a browser of today": {"host": "x", "sec_fetch_site": "same-origin", "origin": "null"},
    "a sibling": {"host": "x", "sec_fetch_site": "same-site", "origin": "https://www.shop.example"},
    "the buyer's own typing": {"host": "x", "sec_fetch_site": "none"},
}  # fmt: skip
FOREIGN = {
    "another site": "https://evil.example",
    "a sandboxed page": "null",
    "an empty Origin": "",
    "a host that begins alike": "https://shop.example.evil.example",
    "a host that ends alike": "https://evilshop.example",
    "a user named like the host": "https://shop.example@evil.example",
    "the host in the path": "https://evil.example/shop.example",
    "another scheme": "capacitor://shop.example",
    "an app that is not trusted": "capacitor://evil",
    "a file": "file://",
    "two at once": "https://shop.example, https://evil.example",
    "a bracket": "https://[shop.example",
    "no host": "https://",
    "another port of a trusted site": "https://partner.example:8443",
    "a sibling of a trusted site": "https://www.partner.example",
}


@pytest.mark.parametrize("name", OWN)
def test_the_shops_own_pages_apps_and_programs_may_post(context, name):
    assert not is_foreign(context, **OWN[name])


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("site", [None, "cross-site"])
def test_a_page_of_another_site_may_not_post(context, name, site, caplog):
    headers = {"host": "shop.example", "origin": FOREIGN[name]}
    if site is not None:
        headers["sec_fetch_site"] = site
    assert is_foreign(context, **headers)
    assert "name it in AplusPay(trusted_origins=...)" in caplog.text


@pytest.mark.parametrize("host", [None, "", "[", "evil", "app:8000"])
def test_without_a_host_that_can_be_read_only_the_notify_urls_is_ours(context, host):
    headers = {} if host is None else {"host": host}
    assert is_foreign(context, origin="https://evil.example", **headers)
    assert not is_foreign(context, origin="https://shop.example", **headers)
    assert is_foreign(
        context, origin="https://[", **headers
    )  # two that cannot be read are not equal


def test_the_pages_own_form_says_where_it_comes_from():
    # Under no-referrer a browser sends the Origin "null" with it.
    assert PAGE_HEADERS["Referrer-Policy"] == "same-origin"
