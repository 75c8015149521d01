"""What users type, set or pipe by mistake is told in one line, and nothing is half done."""

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from aplus_adapters.cli.main import main
from aplus_adapters.runtime.settings import without_settings


def said_wrong(*words, code=2, **options):
    done = CliRunner().invoke(main, list(words), **options)
    assert done.exit_code == code, done.output
    assert isinstance(done.exception, SystemExit), done.exception
    return " ".join(done.output.split())


@pytest.fixture
def settings(simulator, monkeypatch):
    for name, value in simulator.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("APLUS_NOTIFY_URL", "http://127.0.0.1:9/aplus/notify")


@pytest.mark.parametrize(
    "more", [["--order", "B-2"], ["--payment-request-id", "NEW-2"], ["--description", "x"]], ids=str
)
def test_a_whole_request_takes_no_other_word_about_the_payment(settings, tmp_path, more):
    file = tmp_path / "pay.json"
    file.write_text("{}")
    assert "found --request with another option" in said_wrong("pay", "--request", str(file), *more)


@pytest.mark.parametrize(
    "more",
    [["pay01"], ["--amount", "42.00", "USD"], ["--status", "F"], ["--code", "RISK_REJECT"]],
    ids=str,
)
def test_a_whole_notification_takes_no_other_word_about_it(settings, tmp_path, more):
    file = tmp_path / "said.json"
    file.write_text("{}")
    assert "found --body with what a message is made of" in said_wrong(
        "notify", "send", "--body", str(file), *more
    )


@pytest.mark.parametrize("command", ["list", "show", "health"])
def test_settings_of_django_that_are_none(monkeypatch, command):
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "no.such.settings")
    words = ["A-1"] if command == "show" else []
    said = said_wrong(command, *words, "--shop", "shop:pay")
    assert "cannot be loaded: ModuleNotFoundError: No module named" in said


@pytest.mark.parametrize("option", ["--overdue", "--since", "--until"])
@pytest.mark.parametrize("age", ["36501d", "9999999d", "1" + "0" * 300 + "h"])
def test_an_age_beyond_the_calendar(option, age):
    assert "expected" in said_wrong("list", option, age, "--shop", "shop:pay")


@pytest.mark.parametrize("text", ["0001-01-01T00:00+14:00", "9999-12-31T23:00-14:00"])
def test_a_time_that_is_none_in_utc(text):
    assert f"found {text!r}, expected a time" in said_wrong(
        "list", "--since", text, "--shop", "shop:pay"
    )


CONFORMANCE = [
    (["http://[::1/notify"], "notify URL: 'http://[::1/notify' is no address"),
    (["http://127.0.0.1:80000/aplus/notify"], "is no address: Port out of range"),
    (["http://shop/notify", "--status-url", "http://["], "--status-url: 'http://[' is no address"),
    (["http://shop/notify", "--pay-url", "http://["], "--pay-url: 'http://[' is no address"),
    (["http://shop/notify", "--refund-command", 'aplus refund "{payment}'],
     "is no command line: No closing quotation"),
    (["http://shop/notify", "--refund-command", " "], "--refund-command: found no word"),
    (["http://shop/notify", "--slow-command", "'"], "--slow-command: \"'\" is no command line"),
    (["http://127.0.0.1:9/notify", "--start", " ", "--port", "0"], "--start: found no word"),
    (["http://shop/notify", "--report", "/proc/nope/report"], "cannot write to /proc/nope/report"),
    (["http://shop/notify", "--directory", "/proc/nope"], "cannot use the folder /proc/nope"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "found"), CONFORMANCE)
def test_a_word_of_conformance_that_cannot_be_meant(tmp_path, words, found, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert found in said_wrong("conformance", *words)


@pytest.mark.parametrize("words", [["keygen"], ["simulator", "--port", "0"], ["demo"]], ids=str)
def test_a_folder_that_nobody_can_write_to(words):
    said = said_wrong(*words, "--directory", "/proc/nope")
    assert "/proc/nope" in said
    assert "expected" in said


@pytest.mark.process
@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
@pytest.mark.parametrize(
    "words",
    [["list", "--csv"], ["list"], ["show", "注文-7"], ["close", "注文-7", "--yes"]],
    ids=str,
)
def test_an_order_in_another_script_ends_no_command(
    tmp_path, simulator, simulated_account, encoding, words
):
    from aplus_adapters import SQLStore
    from aplus_adapters.payments.model import Outcome
    from aplus_adapters.testing.store_values import an_attempt, an_observation, nothing

    ours = {"client_id": simulated_account.client_id}
    store = SQLStore(f"sqlite:///{tmp_path / 'shop.db'}")
    store.add(an_attempt(1, "注文-7", **ours))
    store.record("pay1", an_observation(Outcome.FAILED, **ours), nothing)
    store.close()
    (tmp_path / "corner.py").write_text(
        "from aplus_adapters import Account, AplusPay, SQLStore\n"
        "class Shop:\n"
        "    load_order = payment_changed = payment_conflict = lambda self, details: None\n"
        f"pay = AplusPay(account=Account.from_env(), store=SQLStore('sqlite:///{tmp_path}/shop.db'),"
        " hooks=Shop())\n"
    )
    environ = {
        **os.environ, **simulator.environ, "PYTHONPATH": str(tmp_path),
        "APLUS_NOTIFY_URL": "http://127.0.0.1:9/aplus/notify", "PYTHONIOENCODING": encoding,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "aplus_adapters.cli", *words, "--shop", "corner:pay"],
        env=environ, capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
    assert rb"\u6ce8\u6587-7" in done.stdout


def test_an_environment_without_an_accounts_settings_keeps_all_others():
    kept = {"APLUS_SHOP": "shop:pay", "APLUS_DB_PASSWORD": 'pa55"', "PATH": "/bin", "APLUS": "x"}
    gone = ("CLIENT_ID", "PRIVATE_KEY", "PRIVATE_KEY_FILE", "PUBLIC_KEY_2", "PUBLIC_KEY_2_FILE",
            "SIGNED_PATH", "AGENT_TOKEN", "GATEWAY", "NOTIFY_URL", "ENVIRONMENT")  # fmt: skip
    assert without_settings(kept | {f"APLUS_{name}": "x" for name in gone}) == kept


@pytest.mark.process
def test_a_demo_is_not_disturbed_by_settings_of_the_shop_next_door(our_key):
    environ = {
        **os.environ, "APLUS_PRIVATE_KEY": our_key.to_pem(), "APLUS_SIGNED_PATH": "/elsewhere",
        "APLUS_PUBLIC_KEY_2": our_key.public_key.to_base64(),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "aplus_adapters.cli", "demo", "--once"],
        env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
