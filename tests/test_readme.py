"""The README's shops run as they stand there, and its commands are what CI runs."""

import re
from pathlib import Path

import httpx
import pytest

from support.snippets import snippets_of

PATH = Path(__file__).parent.parent / "README.md"
README = PATH.read_text()
PAGE_DOCUMENT = (Path(__file__).parent.parent / "docs" / "page.md").read_text()
BLOCKS = [snippet.code for snippet in snippets_of(PATH) if "import" in snippet.code]
JSON = {"Accept": "application/json"}


@pytest.fixture
def run(tmp_path, monkeypatch, simulator):
    """Run a block of the README in an empty folder with the simulator's settings."""
    monkeypatch.chdir(tmp_path)
    for name, value in simulator.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("APLUS_NOTIFY_URL", "http://127.0.0.1:9/aplus/notify")
    made = []

    def execute(block):
        names = {"__name__": "shop"}
        exec(compile(block, "README.md", "exec"), names)
        made.append(names)
        return names

    yield execute
    for names in made:
        if pay := names.get("pay"):
            pay.close()
            pay.store.close()


@pytest.mark.parametrize("block", BLOCKS[:3], ids=["flask", "fastapi", "starlette"])
def test_a_shop_has_25_lines_at_most(block):
    assert len(block.splitlines()) <= 25


def test_the_flask_shop_takes_a_payment(run, simulated_alipayplus, capsys):
    names = run(BLOCKS[0])
    with httpx.Client(transport=httpx.WSGITransport(names["app"]), base_url="http://shop") as buyer:
        assert "/aplus/pay" in buyer.get("/").text
        payment = buyer.post("/aplus/pay", data={"order_ref": "A-1001"}, headers=JSON).json()
        assert payment["state"] == "waiting"
        attempt = names["pay"].store.get(payment["paymentRequestId"])
        body = simulated_alipayplus.notification(attempt)
        reply = buyer.post("/aplus/notify", content=body, headers=simulated_alipayplus.sign(body))
        assert simulated_alipayplus.accepts(reply.status_code, reply.headers, reply.content)
    assert "A-1001 is succeeded" in capsys.readouterr().out


@pytest.mark.parametrize("block", BLOCKS[1:3], ids=["fastapi", "starlette"])
def test_the_asgi_shops_take_a_payment(run, simulated_alipayplus, capsys, block):
    import asyncio

    names = run(block)

    async def main():
        transport = httpx.ASGITransport(names["app"])
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as buyer:
            assert "/aplus/pay" in (await buyer.get("/")).text
            paid = await buyer.post("/aplus/pay", data={"order_ref": "A-1001"}, headers=JSON)
            attempt = names["pay"].store.get(paid.json()["paymentRequestId"])
            body = simulated_alipayplus.notification(attempt)
            headers = simulated_alipayplus.sign(body)
            reply = await buyer.post("/aplus/notify", content=body, headers=headers)
            assert simulated_alipayplus.accepts(reply.status_code, reply.headers, reply.content)
        await names["pay"].aclose()

    asyncio.run(main())
    assert "A-1001 is succeeded" in capsys.readouterr().out


def test_there_are_two_set_up_commands_of_one_line_each():
    commands = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    assert [len(command.splitlines()) for command in commands] == [1, 1]
    assert commands[0].strip().endswith("aplus demo --once")
    assert commands[1].strip().endswith("nox")


@pytest.mark.parametrize("name", ["flask_shop.py", "starlette_shop.py"])
def test_the_example_shops_have_80_lines_at_most(name):
    path = Path(__file__).parent.parent / "examples" / name
    assert len(path.read_text().splitlines()) <= 80


def test_every_error_and_hook_is_in_the_readme_or_the_document_of_the_page():
    from aplus_adapters import errors
    from aplus_adapters.payments.hooks import OPTIONAL_HOOKS, REQUIRED_HOOKS

    for name in (*errors.__all__, *REQUIRED_HOOKS, *OPTIONAL_HOOKS):
        assert f"`{name}" in README + PAGE_DOCUMENT


def test_the_client_asks_about_a_payment(run, capsys):
    run(BLOCKS[3])
    assert capsys.readouterr().out == "ORDER_NOT_EXIST\n"


def test_every_row_of_what_happens_if_names_a_test_that_exists():
    section = README.partition("## What happens if")[2].partition("\n## ")[0]
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", section)
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    assert len(named) == len(rows) > 10
    for file, test in named:
        (path,) = Path(__file__).parent.rglob(file)
        assert f"def {test}(" in path.read_text(), test
