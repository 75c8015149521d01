"""What a shop may change about the page, and what it is told if it cannot be."""

import re
from html import unescape

import pytest
from attrs import evolve

from aplus_adapters import Amount, ConfigurationError, PageDesign, Rendering
from aplus_adapters.testing.served_shop import JSON, RecordingShop, make_pay, reach
from aplus_adapters.web.page import asset, render_page
from aplus_adapters.web.texts import TEXTS
from aplus_adapters.web.view import PageState
from support import served as shops
from support.pages import VIEW


def page(design, state=PageState.WAITING, language="en", **changes):
    return unescape(render_page(evolve(VIEW, state=state, **changes), language, design).decode())


def test_a_shops_text_stands_in_place_of_ours_and_the_others_stay():
    design = PageDesign(texts={"en": {"waiting": "Scan me"}})
    assert "Scan me" in page(design)
    assert "Time left" in page(design)
    assert "Scan me" not in page(design, language="zh")


def test_a_shop_brings_a_language_of_its_own():
    design = PageDesign(texts={"sv": {"waiting": "Skanna koden"}})
    shown = page(design, language="sv-FI,en;q=0.5")
    assert '<html lang="sv" dir="ltr">' in shown
    assert "Skanna koden" in shown
    assert "Time left" in shown
    assert '<html lang="he" dir="rtl">' in page(PageDesign(texts={"he": {}}), language="he")


@pytest.mark.parametrize(
    ("own", "header", "language"),
    [
        (["pt-BR"], "pt-BR", "pt-BR"),
        (["pt-BR"], "pt-br;q=0.8, en;q=0.7", "pt-BR"),
        (["nl-BE"], "nl-NL", "en"),
        (["pt-BR"], "pt", "pt"),
        (["pt", "pt-BR"], "pt-PT", "pt"),
        (["pt", "pt-BR"], "pt-BR-x-private", "pt-BR"),
        (["pt"], "pt-BR", "pt"),
        (["PT-br"], "pt-BR", "pt-BR"),
        (["zh-TW"], "zh-TW", "zh-TW"),
        (["zh-TW"], "zh-Hant-TW", "zh-TW"),
        (["zh-TW"], "zh-HK", "zh-Hant"),
        (["zh-Hant-HK"], "zh-HK", "zh-Hant-HK"),
        (["es-419"], "es-419, en", "es-419"),
        (["es-419"], "es-MX, en;q=0.5", "es"),
        (["sr-Latn"], "sr-Latn-RS", "sr-Latn"),
        (["de-CH"], "de-CH-1996", "de-CH"),
    ],
)
def test_a_shops_regional_language_is_looked_up_by_the_rules(own, header, language):
    shown = page(PageDesign(texts={tag: {"waiting": f"T {tag}"} for tag in own}), language=header)
    assert f'<html lang="{language}" dir="ltr">' in shown
    if language in own:
        assert f"T {language}" in shown


def test_a_regional_language_takes_the_rest_from_the_wider_one():
    texts = {
        "pt": {"waiting": "Leia", "remaining": "Tempo"},
        "pt-BR": {"waiting": "Escaneie"},
        "zh-TW": {"remaining": "TW"},
        "zh": {"waiting": "ZH"},
    }
    design = PageDesign(texts=texts)
    brazil = page(design, language="pt-BR")
    assert "Escaneie" in brazil
    assert "Tempo" in brazil
    assert "Obter um novo código" in page(design, PageState.EXPIRED, "pt-BR", new_code_url="x/new")
    taiwan = page(design, language="zh-TW")
    assert "請用錢包掃描條碼" in taiwan
    assert "TW" in taiwan
    assert '<html lang="ar-EG" dir="rtl">' in page(
        PageDesign(texts={"ar-EG": {}}), language="ar-EG"
    )


def test_traditional_chinese_has_texts_of_its_own_in_its_own_characters():
    simplified, traditional = TEXTS["zh"], TEXTS["zh-Hant"]
    assert list(simplified) == list(traditional)
    same = {key for key in simplified if simplified[key] == traditional[key]}
    alike = {"failed", "cancelled", "returned", "refunded", "return", "pay", "error_payment"}
    assert same - {"amount", "thousands", "decimal", "grouped_from", "date"} == alike
    only_simplified = set("请钱码扫应获订单间页关闭货种验证额显")
    assert not only_simplified & set("".join(traditional.values()))


def test_a_language_writes_amounts_its_own_way():
    own = {"amount": "{number} {currency}", "thousands": "\u202f", "decimal": ","}
    design = PageDesign(texts={"sv": own, "nl": {"thousands": ".", "decimal": ","}})
    assert "1\u202f234,50 USD" in page(design, language="sv")
    assert "USD 1.234,50" in page(design, language="nl")
    assert "JPY 1.234" in page(design, language="nl", amount=Amount("JPY", 1234))


def test_css_comes_after_ours():
    ours, _ = asset("page.css")
    own, kind = asset("page.css", PageDesign(css=":root { --accent: #c00 }"))
    assert own == ours + b":root { --accent: #c00 }"
    assert kind.startswith("text/css")


def test_a_shop_may_have_no_dark_colours():
    ours, own = asset("page.css")[0], asset("page.css", PageDesign(dark=False))[0]
    assert b"prefers-color-scheme: dark" in ours
    assert b"prefers-color-scheme" not in own
    assert 'content="light dark"' in page(PageDesign())
    assert 'name="color-scheme" content="light"' in page(PageDesign(dark=False))


def test_a_template_replaces_blocks_or_all_of_it():
    block = '{% extends "page.html" %}{% block footer %}<p>Ask at the desk</p>{% endblock %}'
    shown = page(PageDesign(template=block))
    assert "<p>Ask at the desk</p>" in shown
    assert "<svg" in shown
    assert "Back to the shop" not in shown
    whole = "<h1>{{ headline }}</h1>{{ amount }} {{ view.order_ref }}{{ '<' }}"
    assert page(PageDesign(template=whole)) == (
        "<h1>Scan the code with your wallet</h1>USD 1,234.50 ORDER-1<"
    )


EXTENDS = '{% extends "page.html" %}'


@pytest.mark.parametrize(
    "template",
    [
        "{% if %}",
        "{{ nothing_such }}",
        "{% extends 'x.html' %}",
        "{{ view.amount / 0 }}",
        EXTENDS + "{% block footer %}{{ ordre.foo }}{% endblock %}",
        EXTENDS + "{% block footer %}{% if state == 'failed' %}{{ x }}{% endif %}{% endblock %}",
        EXTENDS + "{% block footr %}{% endblock %}",
    ],
)
def test_a_template_that_cannot_be_rendered_is_refused_at_once(template):
    with pytest.raises(ConfigurationError, match=r"correct PageDesign\.template"):
        PageDesign(template=template)


def test_a_block_that_the_page_has_not_is_named():
    with pytest.raises(ConfigurationError, match=r"block footr, expected head, header, status"):
        PageDesign(template=EXTENDS + "{% block footr %}{% endblock %}")
    nested = "{% block footer %}{% block of_the_shops_own %}x{% endblock %}{% endblock %}"
    assert ">x</main>" in page(PageDesign(template=EXTENDS + nested)).replace("\n", "")


def test_a_template_that_fails_for_one_payment_costs_the_buyer_nothing(caplog):
    design = PageDesign(
        template=EXTENDS + "{% block head %}{{ view.shop_name.lower() }}{% endblock %}"
    )
    assert "corner shop" in page(design)
    shown = page(design, shop_name=None)
    assert "<svg" in shown
    assert "the buyer is shown the default page" in caplog.text
    assert "correct PageDesign.template" in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"texts": {"en": {"wating": "x"}}}, "'en' with wating"),
        ({"texts": {"English": {}}}, "'English'"),
        (
            {"texts": {"pt_BR": {}}},
            "'pt_BR' with texts, expected a language such as 'fr' or 'pt-BR'",
        ),
        ({"texts": {"pt-BR": {}, "pt-br": {}}}, "found pt-BR twice"),
        ({"texts": {5: {}}}, "found 5 with texts"),
        ({"texts": {"en": "Merci"}}, "'en' with no texts"),
        ({"texts": {"en": {"paid": 5}}}, "found int for 'en' paid"),
        ({"texts": {"en": {"amount": 5}}}, "found int for 'en' amount"),
        ({"texts": [("en", {})]}, "found list, expected texts by language"),
        ({"texts": None}, "found NoneType, expected texts by language"),
        ({"return_after": "5"}, "return_after: found '5'"),
        ({"texts": {"fr": {"amount": "{number} €"}}}, "'fr' amount '{number} €'"),
        (
            {"texts": {"fr": {"date": "{day}/{month}"}}},
            "'fr' date '{day}/{month}', expected {year}",
        ),
        ({"texts": {"fr": {"grouped_from": "four"}}}, "found 'four' for 'fr' grouped_from"),
        ({"brand": "Alipay+"}, "brand: found 'Alipay+', expected a Brand"),
        (
            {"shop_url": "javascript:alert(1)"},
            "shop_url: found an address that begins with javascript:",
        ),
        ({"time_zone": "Asia/Tokyo"}, "time_zone: found 'Asia/Tokyo', expected a tzinfo"),
        (
            {"frame_ancestors": "https://shop.example"},
            "frame_ancestors: found 'https://shop.example'",
        ),
        ({"frame_ancestors": ["https://shop.example/a"]}, "frame_ancestors: found ['https://shop"),
        ({"frame_ancestors": ["*; script-src *"]}, "expected a list of origins"),
        ({"logo": "https://shop.example/logo.png"}, "logo"),
        ({"return_after": -1}, "return_after: found -1"),
        ({"return_after": float("nan")}, "return_after: found nan"),
    ],
)
def test_a_design_that_cannot_be_is_refused_at_once(changes, message):
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        PageDesign(**changes)


def test_the_buyer_goes_back_when_the_shop_says():
    assert 'data-after="0"' in page(PageDesign(return_after=0), PageState.PAID)
    for shown in (
        page(PageDesign(return_after=None), PageState.PAID),
        page(PageDesign(), PageState.PAID, return_url=None),
        page(PageDesign(), PageState.FAILED),
    ):
        assert "data-return" not in shown
        assert "http-equiv" not in shown


class OwnPage(RecordingShop):
    answer: object = None

    def render_order_code(self, details):
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer == "own":
            text = (
                f"{details.attempt.order_ref} {details.view.code_text} {details.visitor.user_agent}"
            )
            headers = {"X-Shop": "own"}
            return Rendering(body=text.encode(), content_type="text/plain", headers=headers)
        return self.answer


@pytest.mark.parametrize("make", [shops.flask_application, shops.starlette_application])
def test_a_shop_renders_the_whole_page_itself(tmp_path, simulated_account, make, caplog):
    hooks = OwnPage()
    pay = make_pay(tmp_path / "shop.db", simulated_account, hooks)
    with reach(make(pay), pay) as client:
        made = client.post("/aplus/pay", json={"order_ref": "A-1"}, headers=JSON).json()
        address, headers = f"/aplus/{made['page']}", {"Accept": "text/html", "User-Agent": "Mine/1"}

        def shown(answer):
            hooks.answer = answer
            return client.get(address, headers=headers)

        own = shown("own")
        assert own.text == f"A-1 {made['code']} Mine/1"
        assert own.headers["content-type"].startswith("text/plain")
        assert (own.headers["x-shop"], own.headers["cache-control"]) == ("own", "no-store")
        assert client.get(address, headers=JSON).json()["code"] == made["code"]
        for answer in (None, RuntimeError("its bug"), "a page", b"a page"):
            assert 'class="qr"' in shown(answer).text
    assert "hook render_order_code: raised RuntimeError" in caplog.text
    assert "found bytes, expected a Rendering or None; the default page is shown" in caplog.text
    pay.store.close()


def test_a_missing_package_of_the_page_is_said_at_start_up(tmp_path, account, caplog, monkeypatch):
    from importlib.util import find_spec

    monkeypatch.setattr(
        "aplus_adapters.web.template.find_spec",
        lambda name: None if name == "segno" else find_spec(name),
    )
    make_pay(tmp_path / "shop.db", account, OwnPage()).store.close()
    assert "not installed" not in caplog.text
    make_pay(tmp_path / "shop.db", account).store.close()
    assert "segno not installed, so that only JSON can be answered; run pip install" in caplog.text
