"""Arguments of an adapter that cannot work are our own error, in the shop's own line."""

import pytest

from aplus_adapters import AplusPay, ConfigurationError, InvalidValue, MemoryStore
from aplus_adapters.web.page import PageDesign
from support.shop import Shop


@pytest.fixture
def pay(account):
    return AplusPay(account=account, store=MemoryStore(), hooks=Shop())


def application(environ, start_response):
    return []


def flask(pay, *arguments, **options):
    from aplus_adapters.flask import create_blueprint

    return create_blueprint(pay, *arguments, **options)


def fastapi(pay, **options):
    from aplus_adapters.fastapi import create_router

    return create_router(pay, **options)


def starlette(pay):
    from aplus_adapters.starlette import create_routes

    return create_routes(pay)


def django(pay):
    from aplus_adapters.django import create_urls

    return create_urls(pay)


def wsgi(app, pay):
    from aplus_adapters.wsgi import AplusMiddleware

    return AplusMiddleware(app, pay)


def asgi(app, pay):
    from aplus_adapters.asgi import AplusMiddleware

    return AplusMiddleware(app, pay)


MISTAKES = {
    "a prefix that belongs to register_blueprint": (
        lambda pay: flask(pay, url_prefix="/x"),
        r"options \['url_prefix'\] .* belongs to app\.register_blueprint",
    ),
    "a name with a dot": (
        lambda pay: flask(pay, "a.b"),
        r"create_blueprint: found the name 'a\.b'",
    ),
    "a name that is none": (lambda pay: flask(pay, 5), "create_blueprint: found the name 5"),
    "Flask without pay": (lambda pay: flask(None), "found NoneType, expected the AplusPay"),
    "Starlette without pay": (lambda pay: starlette("pay"), "found str, expected the AplusPay"),
    "Django without pay": (lambda pay: django({}), "found dict, expected the AplusPay"),
    "FastAPI without pay": (lambda pay: fastapi(application), "found function, expected the Aplus"),
    "a dependency that is a function": (
        lambda pay: fastapi(pay, dependencies=[application]),
        r"found function, expected Depends\(\.\.\.\)",
    ),
    "WSGI with both swapped": (lambda pay: wsgi(pay, application), "pay: found function"),
    "ASGI with both swapped": (lambda pay: asgi(pay, application), "pay: found function"),
    "WSGI without an application": (lambda pay: wsgi(None, pay), "found NoneType as app"),
    "ASGI without an application": (lambda pay: asgi(None, pay), "found NoneType as app"),
    "a template's file name": (
        lambda pay: PageDesign(template="checkout.html"),
        r"template: found 'checkout.html', .* write Path\(\.\.\.\)\.read_text",
    ),
    "a template that is no text": (
        lambda pay: PageDesign(template=application),
        "expected the text of a Jinja template",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_an_argument_that_cannot_work_is_refused_where_it_stands(pay, mistake):
    make, message = MISTAKES[mistake]
    with pytest.raises(ConfigurationError, match=message):
        make(pay)


ODD_IDS = {
    None: "found NoneType, expected text",
    5: "found int, expected text",
    b"pay1": "found bytes, expected text",
    "pay\ud83d1": "found half a surrogate pair",
    "pay\0": "found a NUL character",
}
CALLS = {
    "find": lambda pay, one: pay.find(one),
    "latest": lambda pay, one: pay.latest(one),
    "timeline": lambda pay, one: pay.timeline(one),
    "close_order": lambda pay, one: pay.close_order(one),
    "forget_buyer": lambda pay, one: pay.forget_buyer(one),
    "refund": lambda pay, one: pay.refund(one, refund_request_id="r1"),
    "resolve_conflict": lambda pay, one: pay.resolve_conflict(one, note="n", by="b"),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("odd", ODD_IDS)
def test_an_id_that_cannot_be_one_is_an_error_in_the_shops_own_line(pay, call, odd):
    with pytest.raises(InvalidValue, match=ODD_IDS[odd]):
        CALLS[call](pay, odd)


@pytest.mark.parametrize("odd", ["pay\ud83d1", "pay\0"])
def test_neither_is_it_searched_for_in_a_list(pay, odd):
    for name in ("order_ref", "wallet", "account"):
        with pytest.raises(InvalidValue, match=f"payments {name}: found"):
            pay.list(**{name: odd})
    with pytest.raises(InvalidValue, match="payment_request_id: found"):
        pay.conflicts(payment_request_id=odd)


TEXTS = {
    "refund_request_id": lambda pay, one: pay.refund("pay1", refund_request_id=one),
    "refund reason": lambda pay, one: pay.refund("pay1", refund_request_id="r", reason=one),
    "resolve_conflict note": lambda pay, one: pay.resolve_conflict("k", note=one, by="Mei"),
    "resolve_conflict by": lambda pay, one: pay.resolve_conflict("k", note="n", by=one),
    "conflicts after": lambda pay, one: pay.conflicts(after=one),
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("odd", ["pay\ud83d1", "pay\0"])
def test_a_text_that_no_database_keeps_is_refused_before_anything_is_asked(pay, name, odd):
    with pytest.raises(InvalidValue, match=f"{name}: found (half a surrogate|a NUL)"):
        TEXTS[name](pay, odd)


@pytest.mark.parametrize("odd", ["", "x" * 65, "A\n1", "A\0", "\ud83d", 5, None])
def test_a_button_is_made_for_no_order_that_its_route_would_refuse(pay, odd):
    with pytest.raises(InvalidValue, match="payment_button order_ref: found"):
        pay.payment_button(odd)


def test_text_in_any_script_is_an_id_that_nobody_has(pay):
    assert pay.find("\U0001f4b0") is None
    assert pay.latest("\u8ba2\u5355" * 99) is None
