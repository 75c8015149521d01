"""Ctrl-C in a command that changes money says what may have been done, and it goes on from there."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from aplus_adapters import SQLStore
from aplus_adapters.payments.model import Outcome
from aplus_adapters.testing.store_values import an_attempt, an_observation, nothing
from support.gateway import done

SHOP = """
from aplus_adapters import Account, AplusPay, AsyncSQLStore, SQLStore

class Shop:
    {hook} load_order(self, details):
        return None

    {hook} payment_changed(self, details):
        pass

    {hook} payment_conflict(self, details):
        pass

pay = AplusPay(account=Account.from_env(), store={store}, hooks=Shop())
"""
FORMS = {
    "blocking": ("def", "SQLStore('sqlite:///{file}')"),
    "awaiting": ("async def", "AsyncSQLStore('sqlite+aiosqlite:///{file}')"),
}


@pytest.fixture
def silent():
    """A gateway that takes a connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def stored(tmp_path, simulated_account):
    """Two payments of a shop's database: one that is paid, and one whose code can be paid."""
    store = SQLStore(f"sqlite:///{tmp_path / 'shop.db'}")
    ours = {"client_id": simulated_account.client_id}
    store.add(an_attempt(1, "A-1", **ours))
    store.record("pay1", an_observation(Outcome.SUCCEEDED, **ours), nothing)
    store.add(an_attempt(2, "A-2", **ours))
    yield store
    store.close()


def interrupted(words, environ, asks):
    """Run a command, press Ctrl-C as soon as `asks` says that it is under way; return what it says."""
    process = subprocess.Popen(
        [sys.executable, "-m", "aplus_adapters.cli", *words],
        env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 20
    while not asks() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)  # from what is stored to the call
    process.send_signal(signal.SIGINT)
    said, wrong = process.communicate(timeout=20)
    assert "Traceback" not in wrong
    assert "never awaited" not in wrong
    return process.returncode, said, wrong


@pytest.fixture
def environ(tmp_path, simulator, silent):
    settings = {**simulator.environ, "APLUS_NOTIFY_URL": "http://127.0.0.1:9/aplus/notify"}
    return {**os.environ, **settings, "APLUS_GATEWAY": silent, "PYTHONPATH": str(tmp_path)}


@pytest.mark.process
@pytest.mark.parametrize("form", FORMS)
class TestAgainstAGatewayThatNeverAnswers:
    @pytest.fixture(autouse=True)
    def _shop(self, tmp_path, form):
        hook, store = FORMS[form]
        source = SHOP.format(hook=hook, store=store.format(file=tmp_path / "shop.db"))
        (tmp_path / "corner.py").write_text(source)

    def test_a_refund_is_stored_and_it_says_so(self, stored, environ):
        words = [
            "refund",
            "pay1",
            "--amount",
            "1",
            "--id",
            "note-1",
            "--yes",
            "--shop",
            "corner:pay",
        ]
        code, said, wrong = interrupted(words, environ, lambda: stored.refunds("pay1"))
        assert (code, said) == (1, "")
        assert "interrupted: refund note-1 may be stored and sent" in wrong
        assert "do not refund it with another --id" in wrong
        assert [refund.refund_request_id for refund in stored.refunds("pay1")] == ["note-1"]

    def test_closing_says_that_it_may_be_cancelled_or_paid(self, stored, environ):
        words = ["close", "A-2", "--yes", "--shop", "corner:pay"]
        claimed = stored.get("pay2").claim
        code, said, wrong = interrupted(words, environ, lambda: stored.get("pay2").claim > claimed)
        assert (code, said) == (1, "")
        assert "interrupted: payment pay2 may be cancelled or paid" in wrong
        assert "`aplus show pay2`" in wrong


@pytest.mark.process
@pytest.mark.parametrize("words", [["cancel", "pay2", "--yes"], ["inquire", "pay2"]], ids=" ".join)
def test_a_call_by_hand_says_that_it_may_have_arrived(environ, silent, words):
    started = time.monotonic()
    code, said, wrong = interrupted(words, environ, lambda: time.monotonic() - started > 1.5)
    assert (code, said) == (1, "")
    assert f"interrupted: {words[0]} pay2: the call may have arrived; to do: inquire" in wrong


@pytest.mark.process
def test_a_notification_by_hand_says_that_the_shop_may_have_it(environ, silent, simulator):
    started = time.monotonic()
    key = str(simulator.folder / "alipayplus_private.pem")
    code, said, wrong = interrupted(
        ["notify", "send", "pay2", "--key", key, "--url", f"{silent}/aplus/notify"], environ,
        lambda: time.monotonic() - started > 1.5,
    )  # fmt: skip
    assert (code, said) == (1, "")
    assert "interrupted: the shop may have the notification" in wrong


def test_ctrl_c_at_the_question_has_done_nothing(aplus, monkeypatch):
    aplus.person()
    attempt = aplus.paid()
    aplus.gateway.script["refund"] = [done()]

    def pressed(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("click.termui.visible_prompt_func", pressed)
    refused = aplus("refund", attempt.payment_request_id)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "interrupted" not in refused.stderr
    assert aplus.gateway.calls() == []
