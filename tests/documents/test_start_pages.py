"""The pages of docs/start: their shops and their tests run as they stand there."""

import os
import re
import subprocess
import sys

import pytest

from support.snippets import ROOT, snippets_of

PAGES = sorted((ROOT / "docs" / "start").glob("*.md"))
HEADINGS = [
    "Install", "First payment", "Your orders", "One commit", "Log-in and CSRF", "Behind a proxy",
    "Test it", "Go live",
]  # fmt: skip
# What the pages say of a buyer with a browser: the first shop of each takes a payment.
FIRST = """
import asyncio
from importlib import import_module

import pytest

from aplus_adapters import State


@pytest.mark.parametrize("name", ["flask_first", "starlette_first", "fastapi_first", "any_first"])
def test_first(name, aplus_simulator, aplus_buyer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # each has a database of its own
    shop = import_module(name)
    aplus_simulator.connect(shop.pay, shop.app)

    async def buy():
        attempt = await aplus_buyer.press_async("A-1001")
        assert (await aplus_buyer.pay_async(attempt)).is_acknowledged
        return await shop.pay.find_async(attempt.payment_request_id)

    if name in ("flask_first", "any_first"):
        attempt = aplus_buyer.press("A-1001")
        assert aplus_buyer.pay(attempt).is_acknowledged
        paid = shop.pay.find(attempt.payment_request_id)
    else:
        paid = asyncio.run(buy())
    assert paid.state is State.SUCCEEDED
"""


def named(page):
    """Return the snippets of a page that say a file's name in their first line."""
    return {
        match[1]: snippet.code
        for snippet in snippets_of(page)
        if (match := re.match(r"# ([\w/]+\.py)", snippet.code))
    }


def run(folder, *words):
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("APLUS_", "COV_"))}
    environ |= {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environ, capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def passed(output):
    return int(re.search(r"(\d+) passed", output)[1])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_start_page_has_the_same_headings(page):
    assert re.findall(r"^## (.+)$", page.read_text(), re.MULTILINE) == HEADINGS


def test_there_is_a_start_page_for_each_way_to_begin():
    names = ["any", "django", "fastapi", "flask", "starlette", "till"]
    assert [page.stem for page in PAGES] == names


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.stem != "django"], ids=lambda page: page.stem
)
def test_every_snippet_of_a_start_page_has_a_name_or_is_a_contract(page):
    unnamed = len(snippets_of(page)) - len(named(page))
    assert unnamed == (page.stem == "any")


def test_the_shops_and_tests_of_the_start_pages_pass(tmp_path):
    for page in PAGES:
        if page.stem != "django":
            for name, code in named(page).items():
                (tmp_path / name).write_text(code)
    (tmp_path / "test_first.py").write_text(FIRST)
    off = [word for name in ("asyncio", "django", "cacheprovider") for word in ("-p", f"no:{name}")]
    assert passed(run(tmp_path, "-m", "pytest", "-q", *off)) == 11


def test_the_project_of_the_django_page_passes_its_test(tmp_path):
    pytest.importorskip("pytest_django")
    run(tmp_path, "-m", "django", "startproject", "our_site", ".")
    run(tmp_path, "manage.py", "startapp", "our_orders")
    blocks = named(PAGES[1])
    settings = blocks.pop("our_site/settings.py")
    with (tmp_path / "our_site" / "settings.py").open("a") as file:
        file.write(settings)
    for name, code in blocks.items():
        (tmp_path / name).write_text(code)
    run(tmp_path, "manage.py", "makemigrations", "our_orders", "--skip-checks")
    words = ["-m", "pytest", "-q", "--ds=our_site.settings", "-p", "no:asyncio"]
    assert passed(run(tmp_path, *words, "our_orders/tests.py")) == 1
