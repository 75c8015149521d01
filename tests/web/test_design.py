"""What a shop may change about the page, and what it is told if it cannot be."""

import re
from html import unescape

import pytest
from attrs import evolve

from aplus_adapters import Amount, ConfigurationError, PageDesign
from aplus_adapters.web.page import PageState, asset, render_page
from test_page import VIEW


def page(design, state=PageState.WAITING, language="en", **changes):
    return unescape(render_page(evolve(VIEW, state=state, **changes), language, design).decode())


def test_a_shops_text_stands_in_place_of_ours_and_the_others_stay():
    design = PageDesign(texts={"en": {"waiting": "Scan me"}})
    assert "Scan me" in page(design)
    assert "Time left" in page(design)
    assert "Scan me" not in page(design, language="zh")


def test_a_shop_brings_a_language_of_its_own():
    design = PageDesign(texts={"fr": {"waiting": "Scannez le code"}})
    shown = page(design, language="fr-CA,en;q=0.5")
    assert '<html lang="fr" dir="ltr">' in shown
    assert "Scannez le code" in shown
    assert "Time left" in shown
    assert '<html lang="he" dir="rtl">' in page(PageDesign(texts={"he": {}}), language="he")


def test_a_language_writes_amounts_its_own_way():
    own = {"amount": "{number} {currency}", "thousands": "\u202f", "decimal": ","}
    design = PageDesign(texts={"fr": own, "de": {"thousands": ".", "decimal": ","}})
    assert "1\u202f234,50 USD" in page(design, language="fr")
    assert "USD 1.234,50" in page(design, language="de")
    assert "JPY 1.234" in page(design, language="de", amount=Amount("JPY", 1234))


def test_css_comes_after_ours():
    ours, _ = asset("page.css")
    own, kind = asset("page.css", PageDesign(css=":root { --accent: #c00 }"))
    assert own == ours + b":root { --accent: #c00 }"
    assert kind.startswith("text/css")


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


@pytest.mark.parametrize(
    "template",
    ["{% if %}", "{{ nothing_such }}", "{% extends 'x.html' %}", "{{ view.amount / 0 }}"],
)
def test_a_template_that_cannot_be_rendered_says_so(template):
    with pytest.raises(ConfigurationError, match=r"correct PageDesign\.template"):
        page(PageDesign(template=template))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"texts": {"en": {"wating": "x"}}}, "'en' with wating"),
        ({"texts": {"English": {}}}, "'English'"),
        ({"texts": {"fr": {"amount": "{number} €"}}}, "'fr' amount '{number} €'"),
        ({"logo": "https://shop.example/logo.png"}, "logo"),
        ({"return_after": -1}, "return_after is -1"),
        ({"return_after": float("nan")}, "return_after is nan"),
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
