"""The till of the examples knows every state of the JSON, and does what docs/page.md asks of it."""

import importlib.util
import json
from pathlib import Path

import httpx
import pytest

from aplus_adapters.web.view import PageState

EXAMPLE = Path(__file__).parents[2] / "examples" / "till.py"


@pytest.fixture
def till(monkeypatch):
    spec = importlib.util.spec_from_file_location("till", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.slept = []
    monkeypatch.setattr("time.sleep", module.slept.append)
    monkeypatch.setattr("builtins.input", lambda _question: "y")
    return module


def payment(state, number=1):
    return {
        "paymentRequestId": f"pay{number}", "state": state, "description": "Ticket",
        "amount": {"value": "4200", "currency": "USD"}, "message": None,
        "code": f"https://codes.example/{number}" if state == "waiting" else None,
        "expiresAt": "2026-11-23T12:03:00+00:00", "serverTime": "2026-11-23T12:00:01+00:00",
    }  # fmt: skip


def run(till, monkeypatch, states, *, terminal=False):
    """Take a payment whose status goes through these states; return exit code and what was asked."""
    asked, left = [], list(states)

    def answer(request):
        asked.append(f"{request.method} {request.url.path}")
        if request.url.path == "/aplus/pay":
            assert json.loads(request.content) == {"order_ref": "A-1"}
            return httpx.Response(200, json=payment("waiting"))
        if request.url.path.endswith("/new"):
            return httpx.Response(200, json=payment("waiting", 2))
        state = left.pop(0)
        return httpx.Response(503) if state == "503" else httpx.Response(200, json=payment(state))

    client = httpx.Client
    monkeypatch.setattr(
        httpx, "Client", lambda **options: client(**options, transport=httpx.MockTransport(answer))
    )
    monkeypatch.setattr("sys.stdin.isatty", lambda: terminal)
    return till.main("http://shop.example", "A-1"), asked


@pytest.mark.parametrize("state", [state for state in PageState if state.is_over])
def test_each_end_is_said_and_ends_the_till(till, monkeypatch, capsys, state):
    code, asked = run(till, monkeypatch, ["waiting", "503", "retrying", "checking", state.value])
    assert code == (0 if state is PageState.PAID else 1)
    assert till.OVER[state.value] in capsys.readouterr().out
    assert till.slept == [2.0] * 5
    assert len(asked) == 6


def test_the_code_is_shown_once_with_the_time_that_is_left(till, monkeypatch, capsys):
    run(till, monkeypatch, ["waiting", "waiting", "paid"])
    said = capsys.readouterr().out
    assert said.count("https://codes.example/1\nIt can be paid for 179 seconds.") == 1


@pytest.mark.parametrize("state", ["failed", "expired", "cancelled", "returned", "refunded"])
def test_whoever_stands_there_may_ask_for_another_code(till, monkeypatch, capsys, state):
    code, asked = run(till, monkeypatch, [state, "paid"], terminal=True)
    assert (code, asked.count("POST /aplus/payments/pay1/new")) == (0, 1)
    assert "https://codes.example/2" in capsys.readouterr().out


def test_a_conflict_asks_for_no_other_code(till, monkeypatch):
    code, asked = run(till, monkeypatch, ["conflict"], terminal=True)
    assert (code, len(asked)) == (1, 2)
