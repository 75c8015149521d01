"""The recipes of docs/ run as they stand there."""

import base64
import json
import re
import sys
import types

import pytest

from support.snippets import ROOT, snippets_of

DOCS = ROOT / "docs"
RECIPES = {
    snippet.heading: snippet.code
    for snippet in snippets_of(DOCS / "reconcile.md")
    if snippet.heading in ("Celery", "APScheduler")
}


class CountingPay:
    def __init__(self):
        self.rounds = 0

    def reconcile(self):
        self.rounds += 1
        return self.rounds


@pytest.fixture
def pay(monkeypatch):
    shop = types.ModuleType("shop")
    shop.pay = CountingPay()
    monkeypatch.setitem(sys.modules, "shop", shop)
    return shop.pay


def test_there_is_a_recipe_for_each_scheduler():
    text = (DOCS / "reconcile.md").read_text()
    assert set(RECIPES) == {"Celery", "APScheduler"}
    assert "## cron" in text


@pytest.mark.filterwarnings("default")  # what Celery's own dependencies warn of
def test_the_celery_recipe_reconciles(pay):
    names = {}
    exec(compile(RECIPES["Celery"], "reconcile.md", "exec"), names)
    app = names["app"]
    (beat,) = app.conf.beat_schedule.values()
    assert app.tasks[beat["task"]]() == "1"
    assert pay.rounds == 1


@pytest.mark.filterwarnings("default")
def test_the_apscheduler_recipe_reconciles(pay):
    names = {}
    exec(compile(RECIPES["APScheduler"], "reconcile.md", "exec"), names)
    scheduler = names["scheduler"]
    try:
        (job,) = scheduler.get_jobs()
        assert job.trigger.interval.total_seconds() == 10
        job.func()
        assert pay.rounds == 1
    finally:
        scheduler.shutdown()


FORM = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}


def gateway_event():
    """Return what Amazon's gateway passes on for `POST /aplus/pay` (payload version 2.0)."""
    where = {"method": "POST", "path": "/aplus/pay", "protocol": "HTTP/1.1"}
    where |= {"sourceIp": "203.0.113.9", "userAgent": "test"}
    context = {"http": where, "domainName": "shop.example", "stage": "$default"}
    body = base64.b64encode(b"order_ref=A-1").decode()
    return {
        "version": "2.0", "routeKey": "$default", "rawPath": "/aplus/pay", "rawQueryString": "",
        "headers": {**FORM, "host": "shop.example"}, "requestContext": context,
        "body": body, "isBase64Encoded": True,
    }  # fmt: skip


@pytest.mark.filterwarnings("default")  # Mangum asks for an event loop as older Pythons did
@pytest.mark.parametrize("name", ["mangum", "apig_wsgi"])
def test_a_serverless_recipe_starts_a_payment(name, tmp_path, simulated_account):
    from aplus_adapters.testing.served_shop import make_pay
    from support.served import fastapi_application, flask_application

    pytest.importorskip(name)
    (recipe,) = [one for one in snippets_of(DOCS / "serving.md") if f"from {name} " in one.code]
    names = {}
    exec(compile(recipe.code, "serving.md", "exec"), names)
    pay = make_pay(tmp_path / "shop.db", simulated_account)
    application = fastapi_application if name == "mangum" else flask_application
    try:
        answer = names["create_handler"](application(pay))(gateway_event(), None)
    finally:
        pay.close()
        pay.store.close()
    body = answer["body"]
    text = base64.b64decode(body).decode() if answer.get("isBase64Encoded") else body
    assert (answer["statusCode"], json.loads(text)["state"]) == (200, "waiting")


PAGE = (DOCS / "page.md").read_text()


def test_every_picture_of_the_page_is_there():
    names = re.findall(r"\((images/[\w-]+\.png)\)", PAGE)
    assert len(names) >= 14
    assert [name for name in names if not (DOCS / name).is_file()] == []


def test_the_design_of_the_page_recipe_is_one(tmp_path):
    from aplus_adapters.web.page import asset, render_page
    from support.pages import VIEW

    names = {}
    (snippet,) = [found for found in snippets_of(DOCS / "page.md") if "design = " in found.code]
    exec(compile(snippet.code, "page.md", "exec"), names)
    shown = render_page(VIEW, "fr", names["design"]).decode()
    assert "Scannez pour payer" in shown
    assert "Ask at the desk" in shown
    assert asset("page.css", names["design"])[0].endswith(b"--card: #241a16 } }\n")


def test_the_page_recipe_knows_every_variable_block_state_and_field(
    tmp_path, simulated_account, simulator
):
    from aplus_adapters.testing.served_shop import JSON, make_pay, reach
    from aplus_adapters.web.page import asset
    from aplus_adapters.web.texts import TEXTS
    from aplus_adapters.web.view import PageState
    from support.served import flask_application

    css = asset("page.css")[0].decode()
    assert set(re.findall(r"^\s*(?:--[\w-]+: .*)", css, re.MULTILINE))
    for variable in set(re.findall(r"(--[\w-]+):", css)):
        assert variable in PAGE
    for key in TEXTS["en"]:
        assert f"`{key}`" in PAGE
    for state in PageState:
        assert f"`{state}`" in PAGE
        assert f"(images/{state}.png)" in PAGE
    pay = make_pay(tmp_path / "shop.db", simulated_account)
    with reach(flask_application(pay), pay) as client:
        told = client.post("/aplus/pay", json={"order_ref": "A-1"}, headers=JSON).json()
    pay.store.close()
    shown = json.loads(re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)[1])
    assert list(shown) == list(told)


def test_the_commands_of_operations_md_do_what_stands_there(
    account, their_key, clock, shop, monkeypatch, tmp_path
):
    import shlex

    from aplus_adapters import SQLStore
    from support.gateway import CLOSED, OPEN, done, inquired
    from support.operated import Operated

    store = SQLStore(f"sqlite:///{tmp_path / 'shop.db'}")
    aplus = Operated(account, their_key, clock, store, shop, monkeypatch)
    paid, failed, opened = (aplus.paid("A-1001"), aplus.start("A-1003"), aplus.start("A-1002"))
    failed = aplus.settle(failed, CLOSED)
    aplus.notify_paid(failed)
    key = aplus.pay.conflicts()[0].key
    aplus.gateway.script |= {
        "inquiryPayment": [inquired(opened, OPEN)], "cancelPayment": [done()], "refund": [done()],
    }  # fmt: skip
    (block,) = re.findall(r"```sh\n(.*?)```", (DOCS / "operations.md").read_text(), re.DOTALL)
    names = {"$PAYMENT": paid.payment_request_id, "$KEY": key}
    lines = [shlex.split(line, comments=True) for line in block.splitlines()]
    codes = {}
    for program, *words in lines:
        assert program == "aplus"
        printed = aplus(*(names.get(word, word) for word in words))
        codes[" ".join(words[:2])] = printed.exit_code
        assert printed.stdout
    # 1 where something is wrong: no reconcile has run yet, and a conflict is open.
    assert {words for words, code in codes.items() if code} == {"health --conflicts", "conflicts"}
    assert set(codes.values()) == {0, 1}


PAGES = [
    *sorted(DOCS.rglob("*.md")),
    *(ROOT / f"{n}.md" for n in ("README", "CONTRIBUTING", "SECURITY")),
]


def headings(page):
    """Return the anchors of a page's headings, spelled as GitHub spells them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    lines = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


def broken_links(page):
    targets = re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)", page.read_text())
    for target, anchor in targets:
        path = page.parent / target if target else page
        if not path.exists() or (anchor and anchor not in headings(path)):
            yield f"{page.name}: {target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_picture_link_and_heading_that_a_page_points_to_exists(page):
    assert list(broken_links(page)) == []


def test_a_link_to_a_missing_file_or_heading_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Here it is\n[a](#here-it-is) [b](#there) [c](none.md) [d](page.md#here)")
    assert len(list(broken_links(page))) == 3
