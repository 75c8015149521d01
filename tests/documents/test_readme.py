"""The README's shop runs as it stands there, and its commands are what CI runs."""

import re

import httpx
import pytest

from support.snippets import ROOT, snippets_of

PATH = ROOT / "README.md"
README = PATH.read_text()
(SHOP,) = [snippet.code for snippet in snippets_of(PATH)]
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


def test_the_front_page_has_150_lines_and_its_shop_25_at_most():
    assert len(README.splitlines()) <= 150
    assert len(SHOP.splitlines()) <= 25


def test_the_flask_shop_takes_a_payment(run, simulated_alipayplus, capsys):
    names = run(SHOP)
    with httpx.Client(transport=httpx.WSGITransport(names["app"]), base_url="http://shop") as buyer:
        assert "/aplus/pay" in buyer.get("/").text
        payment = buyer.post("/aplus/pay", data={"order_ref": "A-1001"}, headers=JSON).json()
        assert payment["state"] == "waiting"
        attempt = names["pay"].store.get(payment["paymentRequestId"])
        body = simulated_alipayplus.notification(attempt)
        reply = buyer.post("/aplus/notify", content=body, headers=simulated_alipayplus.sign(body))
        assert simulated_alipayplus.accepts(reply.status_code, reply.headers, reply.content)
    assert "A-1001 is succeeded" in capsys.readouterr().out


def test_there_are_two_set_up_commands_of_one_line_each():
    commands = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    assert [len(command.splitlines()) for command in commands] == [1, 1]
    assert commands[0].strip().endswith("aplus demo --once")
    assert commands[1].strip().endswith("nox")


@pytest.mark.parametrize("name", ["flask_shop.py", "starlette_shop.py"])
def test_the_example_shops_have_80_lines_at_most(name):
    path = ROOT / "examples" / name
    assert len(path.read_text().splitlines()) <= 80


def test_ci_runs_the_second_command():
    pattern = re.search(r"grep -E '(.+)' README.md", (ROOT / ".ci" / "run").read_text())[1]
    commands = [line for line in README.splitlines() if re.search(pattern, line)]
    assert len(commands) == 1


def test_every_error_and_hook_is_in_its_table():
    from aplus_adapters import errors
    from aplus_adapters.payments.hooks import OPTIONAL_HOOKS, REQUIRED_HOOKS

    table = (ROOT / "docs" / "errors.md").read_text()
    assert [name for name in errors.__all__ if f"`{name}`" not in table] == []
    table = (ROOT / "docs" / "hooks.md").read_text()
    assert [name for name in (*REQUIRED_HOOKS, *OPTIONAL_HOOKS) if f"`{name}(" not in table] == []


def test_the_client_asks_about_a_payment(run, capsys):
    first, *_ = snippets_of(ROOT / "docs" / "client.md")
    run(first.code)
    assert capsys.readouterr().out == "ORDER_NOT_EXIST\n"


def test_every_row_of_what_happens_if_names_a_test_that_exists():
    section = (ROOT / "docs" / "what-if.md").read_text()
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", section)
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    assert len(named) == len(rows) > 10
    for file, test in named:
        (path,) = (ROOT / "tests").rglob(file)
        assert f"def {test}(" in path.read_text(), test
