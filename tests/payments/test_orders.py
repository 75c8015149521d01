"""What a shop answers to load_order: what is wrong in it is refused where the shop writes it."""

import re
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aplus_adapters import Amount, Goods, InvalidValue, LogIn, OrderToPay
from aplus_adapters.payments.flows.initiate import new_attempt
from aplus_adapters.payments.hooks import Visitor
from aplus_adapters.web.hooks import Rendering
from support.shop import NOON


def order(**changes):
    return OrderToPay(**{"amount": Amount("USD", 5), "description": "x", **changes})


BAD = {
    "a float": ({"amount": 42.0}, r"amount: found float, expected an Amount; write Amount\.parse"),
    "a Decimal": ({"amount": Decimal("42.00")}, "amount: found Decimal, expected an Amount"),
    "text": ({"amount": "42.00 USD"}, "amount: found str"),
    "nothing to pay": ({"amount": Amount("USD", 0)}, "amount: found 0, expected at least one"),
    "a currency of nobody's": ({"amount": Amount("QQQ", 5)}, "amount: found the currency 'QQQ'"),
    "a part of a rupiah": ({"amount": Amount("IDR", 5050)}, r"found 50\.50 IDR, expected whole rupiah"),
    "no description": ({"description": ""}, "description: found 0 characters"),
    "a long description": ({"description": "x" * 257}, "description: found 257 characters"),
    "None to describe": ({"description": None}, "description: found NoneType"),
    "an hour": ({"expires_in": timedelta(hours=1)}, "found 3600 s, expected more than 0 and less than 180"),
    "3 minutes": ({"expires_in": timedelta(minutes=3)}, "found 180 s, expected .* less than 180 s"),
    "no time at all": ({"expires_in": timedelta(0)}, "found 0 s, expected more than 0"),
    "the past": ({"expires_in": timedelta(seconds=-1)}, "found -1 s, expected more than 0"),
    "seconds as a number": ({"expires_in": 30}, r"expires_in: found int, expected a timedelta"),
    "a dictionary for a merchant": ({"merchant": {}}, "merchant: found dict, expected Merchant"),
    "a name for a buyer": ({"buyer": "Q"}, "buyer: found str, expected Buyer or None"),
    "an address for shipping": ({"shipping": "Q"}, "shipping: found str, expected Shipping or None"),
    "goods that are none": ({"goods": ["ticket"]}, "goods: found tuple, expected a list or tuple of Goods"),
    "one of the goods": ({"goods": Goods(goods_name="x")}, "goods: found Goods, expected a list"),
    "a currency to settle in": ({"settlement_currency": "usd"}, "settlement_currency: found the .*'usd'"),
    "a currency that is none": ({"settlement_currency": 5}, "found the currency int, expected"),
    "a long split id": ({"split_settlement_id": "x" * 17}, "split_settlement_id: found 17"),
    "a client id that is none": ({"client_id": 5}, "client_id: found int"),
    "a return address one too long": ({"return_url": "/" + "y" * 2048}, "found 2049 characters"),
    "a long return address": ({"return_url": "https://x/" + "y" * 2048}, "found 2058 characters"),
    "an object for an address": ({"return_url": object()}, "return_url: found object"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_order_is_refused_where_the_shop_writes_it(name):
    changes, message = BAD[name]
    with pytest.raises(InvalidValue, match=f"^OrderToPay .*{message}") as refused:
        order(**changes)
    assert ", expected " in str(refused.value)


def test_what_is_legal_is_taken():
    goods = Goods(goods_name="ticket")
    assert order(goods=[goods]).goods == (goods,)
    assert order(amount=Amount("IDR", 5000)).amount.value == 5000
    for seconds in (0.001, 60, 179.999):
        assert order(expires_in=timedelta(seconds=seconds)).expires_in
    none = dict.fromkeys(("merchant", "goods", "buyer", "shipping", "expires_in", "return_url",
                          "settlement_currency", "split_settlement_id", "client_id"))  # fmt: skip
    assert order(**none) == order()


ELSEWHERE = [
    "orders/17", "", " ", "javascript:alert(1)", "JaVaScRiPt:x", "java\tscript:x", "data:text/html,x", "vbscript:x",
    "ftp://shop.example/", "//evil.example/", "/\\evil.example/", "\\\\evil.example", "/\t/evil.example", "/\n/evil.example",
    "/\r\n/evil.example", "\t//evil.example", " //evil.example", "\x00//evil.example", "/\x00/evil.example", "/a\\..\\b",
    "/\x0b/evil.example", "/\x7f/evil.example", "/\u2028/evil.example", "/\uff0f/evil.example", "/\u200b/evil.example",
    "https:evil.example", "https:/evil.example", "https:///evil.example", "http:\\\\evil", "https://a@evil.example/",
    "https://shop.example\\@evil.example/", "https://shop.example\t.evil.example/", "https://\u0455hop.example/",
    "https://shop.example%2f.evil.example/", "https://shop.example/\\evil", "/a\r\nSet-Cookie: x=1", "/a b", "/caf\xe9",
    "https://", "https://-/", "https://shop.example:port/", "https://[::1/", "https://[evil.example]/", "?x", "#x", "/\ud800",
]  # fmt: skip


@pytest.mark.parametrize("url", ELSEWHERE, ids=lambda url: ascii(url).replace("\\", ""))
def test_an_address_that_a_browser_may_read_otherwise_is_refused(url):
    with pytest.raises(
        InvalidValue, match=r"^OrderToPay return_url: found .*, expected "
    ) as refused:
        order(return_url=url)
    assert "evil" not in str(refused.value)


GOOD = [
    "/", "/orders/17", "/orders/17?paid=1#top", "/a//b", "/caf%C3%A9", "/a:b@c", "https://shop.example",
    "https://shop.example:8443/orders/17", "http://127.0.0.1:8000/", "http://[::1]:8000/x", "https://xn--e1afmkfd.example/?a=b",
    "https://shop_2.example./", "https://Shop.Example/", "/" + "y" * 2047,
]  # fmt: skip


@pytest.mark.parametrize("url", GOOD)
def test_the_shops_own_addresses_are_taken(url):
    assert order(return_url=url).return_url == url


def as_a_browser_reads_it(url):
    """Give scheme and host by the rules of the WHATWG URL standard that matter here."""
    url = url.strip("".join(map(chr, range(0x21))))
    url = url.translate(dict.fromkeys((9, 10, 13))).replace("\\", "/")
    if url.startswith("//"):
        return "another host"
    return "the shop's host" if url.startswith("/") else url.partition("/")[0]


@given(
    st.text(st.sampled_from("/\\\t\n\r\x00 @:.?#%ea\u2028"), max_size=8).map(
        lambda text: "/" + text
    )
)
def test_no_path_that_is_taken_leaves_the_shops_host(account, url):
    try:
        taken = order(return_url=url)
    except InvalidValue:
        return
    assert as_a_browser_reads_it(url) == "the shop's host"
    attempt = new_attempt(account, taken, "A-1", expiry=timedelta(minutes=3), payment_request_id="p",
                          visitor=Visitor(), moment=NOON)  # fmt: skip
    sent = attempt.request.payment_redirect_url
    assert sent.startswith("https://shop.example/")


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("//x", "a path with characters that a browser may read as another host's address"),
        ("javascript:alert(1)", "an address that begins with javascript:"),
        ("http://a@x", "an address whose host or characters are not legal"),
        ("HTTPS://a@x", "an address whose host or characters are not legal"),
        ("orders/1", "8 characters that begin with neither a slash nor a scheme"),
    ],
)
def test_the_message_says_what_is_wrong_with_an_address(url, seen):
    with pytest.raises(InvalidValue, match=f"return_url: found {re.escape(seen)}, expected "):
        order(return_url=url)


def test_a_log_in_is_checked_where_the_shop_writes_it():
    assert LogIn("/login").url == "/login"
    with pytest.raises(InvalidValue, match="LogIn url: found"):
        LogIn("//evil.example")


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        ({"body": "<p>"}, "Rendering.body: found str, expected bytes"),
        ({"body": b"x", "headers": None}, "headers that cannot be sent"),
        ({"body": b"x", "headers": {"X-A": "a\nb"}}, "headers that cannot be sent"),
        ({"body": b"x", "content_type": None}, "a content_type or headers"),
    ],
)
def test_a_page_that_no_server_can_send_is_refused(wrong, found):
    with pytest.raises(InvalidValue, match=found):
        Rendering(**wrong)
    assert Rendering(body=b"x", headers={"X-A": "b"}).body == b"x"
