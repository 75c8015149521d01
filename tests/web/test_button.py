"""The payment button for the shop's own pages."""

from html.parser import HTMLParser

import pytest
from attrs import evolve

from aplus_adapters import AplusPay, Brand, InvalidValue, MemoryStore, PageDesign
from support.shop import Shop

MARK = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"/>'


def make(account, **page):
    return AplusPay(account=account, store=MemoryStore(), hooks=Shop(), page=PageDesign(**page))


class Elements(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.found = []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def test_a_button_is_a_form_that_starts_the_payment(account):
    pay = make(account, brand=Brand(mark=MARK, wallets=["Kakao Pay"]))
    html = pay.payment_button("A-1", accept_language="de", fields={"token": 't"<'})
    elements = Elements(html).found
    (form,) = [found for tag, found in elements if tag == "form"]
    assert (form["method"], form["action"], form["lang"]) == ("post", "/aplus/pay", "de")
    hidden = {found["name"]: found["value"] for tag, found in elements if tag == "input"}
    assert hidden == {"token": 't"<', "order_ref": "A-1"}
    assert [found["alt"] for tag, found in elements if tag == "img"] == [""]
    assert "<span>Mit Alipay+ bezahlen</span>" in html
    assert "Akzeptierte Wallets: Kakao Pay" in html
    assert "style=" not in html


def test_everything_in_a_button_is_escaped_and_a_template_inserts_it_as_it_is(account):
    from jinja2 import Environment

    html = make(account).payment_button('"><script>', action='/x"y')
    assert "<script>" not in html
    assert 'action="/x&quot;y"' in html
    template = Environment(autoescape=True).from_string("{{ button }}")
    assert template.render(button=html) == html


@pytest.mark.parametrize("order_ref", ["", "x" * 65, None, 5])
def test_an_order_that_cannot_be_paid_is_refused(account, order_ref):
    with pytest.raises(InvalidValue, match=r"payment_button order_ref: found .*expected text"):
        make(account).payment_button(order_ref)


def test_a_notify_url_that_does_not_show_the_mount_needs_an_action(account):
    pay = make(evolve(account, notify_url="https://shop.example/hooks/alipay"))
    with pytest.raises(InvalidValue, match="pass action=, the address of the route /pay"):
        pay.payment_button("A-1")
    assert 'action="/p"' in pay.payment_button("A-1", action="/p")
