"""The brand: what Alipay+ wants to be shown, and what a shop is told that leaves it out."""

import logging
import re

import pytest

from aplus_adapters import AplusPay, Brand, ConfigurationError, MemoryStore, PageDesign
from aplus_adapters.protocol.account import Environment
from aplus_adapters.web.page import render_page
from aplus_adapters.web.view import PageState
from support.pages import VIEW
from support.shop import Shop

MARK = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path d="M4 1h1v7h-1z"/></svg>'
LOGO = MARK.replace("9 9", "8 8")


def page(design, **changes):
    from attrs import evolve

    return render_page(evolve(VIEW, **changes), "en", design).decode()


def test_the_mark_is_in_the_code_and_the_shops_logo_is_not():
    shown = page(PageDesign(brand=Brand(mark=MARK), logo=LOGO))
    code = shown.partition('<svg role="img"')[2].partition("</svg>")[0]
    assert code.count("<image ") == 1
    assert Brand(mark=MARK).mark_address in code
    assert '<img class="logo"' in shown.partition("</header>")[0]
    assert "<image" not in page(PageDesign(logo=LOGO))


def test_the_words_stand_beside_the_code_and_the_wallets_by_name_or_picture():
    brand = Brand(words="Alipay+ <Partner>", wallets={"Kakao Pay": None, "AlipayHK": MARK})
    shown = page(PageDesign(brand=brand))
    assert "Alipay+ &lt;Partner&gt;" in shown
    assert "<li>Kakao Pay</li>" in shown
    assert re.search(r'<li><img src="data:image/svg\+xml;base64,[^"]+" alt="AlipayHK"></li>', shown)
    assert "Alipay+ Partner" in page(PageDesign())
    assert "AlipayHK" not in page(PageDesign(brand=brand), state=PageState.EXPIRED)


def test_the_receipt_shows_the_brand():
    shown = page(PageDesign(brand=Brand(mark=MARK)), state=PageState.PAID)
    brand = shown.partition('<p class="brand">')[2].partition("</p>")[0]
    assert Brand(mark=MARK).mark_address in brand
    assert "Alipay+ Partner" in brand


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mark": "https://cdn.example/plus.svg"}, "Brand mark: found 28 characters"),
        ({"mark": b"<svg>"}, "Brand mark: found bytes, expected SVG markup"),
        ({"mark": "<svg>" + "x" * 10_000}, "expected at most 12000"),
        ({"area": 0.2}, "Brand area: found 0.2, expected 0.02 to 0.15"),
        ({"area": 0}, "Brand area: found 0"),
        ({"area": "15 %"}, "Brand area: found '15 %'"),
        ({"words": ""}, "Brand words: found ''"),
        ({"words": None}, "Brand words: found None"),
        ({"words": "x" * 41}, "text of 1 to 40 characters"),
        ({"wallets": "AlipayHK"}, "Brand wallets: found str, expected names"),
        ({"wallets": 5}, "Brand wallets: found int"),
        ({"wallets": [""]}, "Brand wallets: found the name ''"),
        ({"wallets": {"AlipayHK": "hk.png"}}, "wallets: picture of AlipayHK: found 6 characters"),
        ({"wallets": [f"W{n}" for n in range(31)]}, "found 31, expected at most 30"),
    ],
)
def test_a_brand_that_cannot_be_shown_is_refused_at_once(changes, message):
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        Brand(**changes)


class OwnPage(Shop):
    def render_order_code(self, details):
        return None


@pytest.mark.parametrize(
    ("environment", "mark", "hooks", "warns"),
    [
        (Environment.PRODUCTION, None, Shop, True),
        (Environment.PRODUCTION, MARK, Shop, False),
        (Environment.PRODUCTION, None, OwnPage, False),
        (Environment.SANDBOX, None, Shop, False),
    ],
)
def test_a_missing_mark_is_said_at_start_in_production(
    account, caplog, environment, mark, hooks, warns
):
    from attrs import evolve

    caplog.set_level(logging.WARNING)
    AplusPay(
        account=evolve(account, environment=environment),
        store=MemoryStore(),
        hooks=hooks(),
        page=PageDesign(brand=Brand(mark=mark)),
    )
    assert ("found no Alipay+ mark" in caplog.text) is warns
    assert ("PageDesign(brand=Brand(mark=...))" in caplog.text) is warns
