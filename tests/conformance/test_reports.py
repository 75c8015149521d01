"""What a report holds and what it must not hold, and how a shop's ways are read."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aplus_adapters.conformance.cases import Case, Results, Scenario
from aplus_adapters.conformance.evidence import BUYER, CALL, NOTIFICATION, Evidence, Message
from aplus_adapters.conformance.pictures import Camera
from aplus_adapters.conformance.report import ACCEPTANCE, content_of, write_report
from aplus_adapters.conformance.run import Run, scenarios
from aplus_adapters.conformance.shop import Shop
from aplus_adapters.conformance.ways import Ways, fill, fill_url

CASES = {case.name: case for part in scenarios(acceptance=True) for case in part.cases}
DOCS = Path(__file__).parent.parent.parent / "docs"


def a_run(evidence, *numbers):
    case = Case(name="a-case", rule="A rule.", expected="this", source="")
    scenario = Scenario(name="it", title="It happens", cases=(case,), play=lambda _play: None)
    results = Results(lambda _result: None)
    results.open(scenario)
    results.wrong("a-case", "<script>alert(1)</script>")
    results.all["a-case"].exchanges.extend(numbers)
    return Run(
        notify_url="http://shop.example/notify", acceptance=True, began=datetime.now(UTC),
        seconds=1.0, results=results, evidence=evidence, scenarios=(scenario,),
        public_keys={"shop": "MIIB"}, pictures=[("Paid", b"png")],
    )  # fmt: skip


def test_what_the_shop_sent_is_no_markup_in_the_report(tmp_path):
    evidence = Evidence()
    exchange = evidence.begin(CALL, "pay", "http://gateway.example/pay", {}, b"<b>bold</b>")
    exchange.answer = Message({"x": "<i>"}, b"<img src=x onerror=alert(1)>")
    write_report(a_run(evidence), tmp_path)
    page = (tmp_path / "report.html").read_text()
    for markup in ("<script", "<b>", "<i>", "<img src=x"):
        assert markup not in page
    assert "&lt;script&gt;" in page
    assert 'src="data:image/png;base64,cG5n"' in page


@pytest.mark.parametrize("fails", [1, 2])
def test_a_picture_is_tried_again_and_the_report_says_that_there_is_none(tmp_path, fails):
    browser = tmp_path / "browser"
    browser.write_text(
        f"""#!/bin/sh
        echo >> {tmp_path}/tries
        [ $(wc -l < {tmp_path}/tries) -gt {fails} ] || exit 1
        for word; do case $word in --screenshot=*) printf png > "${{word#*=}}";; esac; done
        """
    )
    browser.chmod(0o755)
    camera = Camera(browser=str(browser))
    camera.take("Paid", "http://shop.example/paid")
    run = a_run(Evidence())
    run.pictures = camera.pictures
    write_report(run, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert ("data:image/png;base64,cG5n" in page) is (fails == 1)
    assert ("No picture could be taken." in page) is (fails == 2)


def test_secrets_of_requests_are_not_in_the_report(tmp_path):
    evidence = Evidence()
    evidence.hidden.add("x-login")
    headers = {"Cookie": "id=open", "Agent-Token": "sesame", "X-Login": "please", "Accept": "any"}
    evidence.begin(NOTIFICATION, "true", "http://shop.example/notify", headers, b"{}")
    write_report(a_run(evidence), tmp_path)
    for name in ("report.html", "report.json"):
        text = (tmp_path / name).read_text()
        assert "any" in text
        assert not any(secret in text for secret in ("id=open", "sesame", "please"))


def test_of_the_buyers_pages_only_the_cited_ones_are_shown():
    evidence = Evidence()
    for _ in range(3):
        evidence.begin(BUYER, "page", "http://shop.example/page", {}, b"")
    messages = content_of(a_run(evidence, 2))["messages"]
    assert [message["number"] for message in messages] == [2]


def test_a_long_page_is_cut_in_the_report():
    evidence = Evidence()
    evidence.begin(CALL, "pay", "http://gateway.example/pay", {}, b"x" * 300_000)
    assert len(json.dumps(content_of(a_run(evidence)))) < 30_000


def test_every_acceptance_case_rests_on_cases_that_exist():
    assert {name for names in ACCEPTANCE.values() for name in names} <= set(CASES)


def test_the_document_names_every_case_with_its_rule():
    text = (DOCS / "conformance.md").read_text()
    for name, case in CASES.items():
        assert f"| `{name}`" in text
        assert case.rule in text


def test_no_two_cases_have_one_name():
    every = [case.name for part in scenarios(acceptance=True) for case in part.cases]
    assert len(every) == len(set(every))


@pytest.mark.parametrize(
    ("orders", "first"),
    [
        (("A-7", "A-8"), ["A-7", "A-8"]),
        (("B-{3-5}",), ["B-3", "B-4", "B-5"]),
        (("B-{3-4}", "C"), ["B-3", "B-4", "C"]),
    ],
)
def test_orders_are_named_one_by_one_or_by_a_range(orders, first):
    shop = Shop(Ways(notify_url="http://shop.example/n", orders=orders), Evidence(), timeout=1)
    assert [shop.new_order() for _ in first] == first
    shop.close()


def test_the_order_of_a_page_is_the_end_of_its_address_or_what_the_pattern_finds():
    import httpx

    def answer(request):
        if request.method == "POST":
            return httpx.Response(303, headers={"Location": "/orders/A%2F7/?new=1"})
        return httpx.Response(200, text="Order number 4711!")

    for find, order in ((None, "A/7"), (r"number (\d+)", "4711")):
        ways = Ways(notify_url="http://shop.example/n", order_url="/orders", order_find=find)
        with httpx.Client(transport=httpx.MockTransport(answer)) as client:
            assert Shop(ways, Evidence(), client, timeout=1).new_order() == order


@pytest.mark.parametrize("location", ["http://[", "//[::1", "http://shop.example:x/", "/a b\x7f"])
def test_a_redirect_to_no_address_ends_the_walk(location):
    import httpx

    def answer(request):
        return httpx.Response(303, headers={"Location": location})

    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        shop = Shop(Ways(notify_url="http://shop.example/n"), Evidence(), client, timeout=1)
        page = shop.press_pay("A-1")
    assert len(page.exchanges) == 1
    assert page.status == 303 or "location" in page.exchanges[0].failure


def test_words_in_braces_are_filled_in_and_others_are_left():
    assert fill("{order} {other} {minor}", order="A{minor}", minor="5") == "A{minor} {other} 5"
    assert fill_url("/orders/{order}", order="A/7 ?") == "/orders/A%2F7%20%3F"
