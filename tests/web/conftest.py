"""The noting shop, served in every form, and one payment's page in a browser."""

from contextlib import contextmanager

import pytest

from aplus_adapters.testing.served_shop import ServedShop
from support.forms import FORMS


@pytest.fixture(scope="session", params=FORMS)
def served(request, tmp_path_factory, simulator, simulated_account, simulated_alipayplus):
    tmp = tmp_path_factory.mktemp(request.param)
    database = tmp / "shop.db"
    with FORMS[request.param](database, simulated_account, tmp, simulator) as client:
        shop = ServedShop(request.param, client, database, simulated_alipayplus, simulator)
        yield shop
        shop.store.close()


@pytest.fixture(scope="module")
def page_server():
    from support.page_server import serving

    with serving() as shop:
        yield shop


@pytest.fixture
def page_shop(page_server):
    page_server.reset()
    return page_server


@pytest.fixture
def visit(chromium, page_shop):
    """Open the page as some buyer; whatever the browser complains about fails the test."""
    from support.page_server import LOCALES, PAYMENT

    complaints = []

    @contextmanager
    def opened(width=320, language="en", *, height=800, before="", path="", **options):
        context = chromium.new_context(
            viewport={"width": width, "height": height},
            locale=LOCALES.get(language, language),
            **options,
        )
        page = context.new_page()
        page.add_init_script(
            "addEventListener('securitypolicyviolation', (e) =>"
            " console.error('violates ' + e.violatedDirective))"
        )
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.add_init_script(before)
        page.goto(f"{page_shop.address}{path or f'/payments/{PAYMENT}'}")
        try:
            yield page
        finally:
            context.close()

    yield opened
    assert [text for text in complaints if "503" not in text] == []
