"""The command line as a person uses it."""

import os
import sqlite3
import stat
import subprocess
import sys

import pytest

from aplus_adapters import PrivateKey, PublicKey
from aplus_adapters.protocol.results import CODES


def aplus(*words, env=None):
    environ = {name: value for name, value in os.environ.items() if not name.startswith("APLUS_")}
    return subprocess.run(
        [sys.executable, "-m", "aplus_adapters.cli", *words],
        env={**environ, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def settings(simulator):
    return {**simulator.environ, "APLUS_NOTIFY_URL": "http://127.0.0.1:9/aplus/notify"}


def test_codes_prints_every_code_with_what_to_do():
    printed = aplus("codes").stdout
    for code, row in CODES.items():
        assert f"{row.status} {code}: {row.meaning}" in printed
    assert aplus("codes", "RISK_REJECT").stdout.splitlines()[2:] == [
        "    to a buyer: The payment was not accepted. Please try another wallet or another way to pay."
    ]
    assert "to a buyer" not in aplus("codes", "UNKNOWN_EXCEPTION").stdout
    assert aplus("codes", "NONSENSE").returncode == 2


def test_keygen_makes_a_pair_that_loads_and_never_overwrites_one(tmp_path):
    done = aplus("keygen", "--directory", str(tmp_path))
    path = tmp_path / "aplus_private_key.pem"
    key = PrivateKey.load(path.read_bytes())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert PublicKey.load(done.stdout.splitlines()[-1]) == key.public_key
    assert key.to_pem().splitlines()[1] not in done.stdout
    again = aplus("keygen", "--directory", str(tmp_path))
    assert again.returncode == 2
    assert "not overwritten" in again.stderr
    assert PrivateKey.load(path.read_bytes()).public_key == key.public_key


def test_doctor_finds_a_working_configuration_well(settings):
    done = aplus("doctor", "--no-notify", env=settings)
    assert done.returncode == 0, done.stdout
    assert "BAD" not in done.stdout
    assert "verified answer: F ORDER_NOT_EXIST" in done.stdout


@pytest.mark.parametrize(
    ("changes", "found", "remedy"),
    [
        ({"APLUS_CLIENT_ID": ""}, "found no APLUS_CLIENT_ID", "correct the variable"),
        ({"APLUS_PRIVATE_KEY_FILE": "/no/such/file"}, "cannot read", ""),
        ({"APLUS_GATEWAY": "http://127.0.0.1:9"}, "could not connect", "check APLUS_GATEWAY"),
        (
            {"APLUS_GATEWAY": "https://127.0.0.1:9", "SSL_CERT_FILE": "/no/such"},
            "found SSL_CERT_FILE",
            "correct what it names",
        ),
        ({"APLUS_GATEWAY": "http://gateway.example"}, "expected https://", ""),
        (
            {"APLUS_NOTIFY_URL": "127.0.0.1:5002/aplus/notify"},
            "configuration: APLUS_NOTIFY_URL: found 27 characters that do not begin with https://",
            "correct the variable",
        ),
        ({"APLUS_KEY_VERSION": "1,2"}, "APLUS_KEY_VERSION: found 3 characters", ""),
        (
            {"APLUS_GATEWAY": "http://127.0.0.1:9/a b"},
            "APLUS_GATEWAY: found 22 characters with",
            "",
        ),
        ({"APLUS_CLIENT_ID": "SOMEONE"}, "INVALID_CLIENT", "refuse us"),
    ],
)
def test_doctor_says_what_is_wrong_and_how_to_mend_it(settings, changes, found, remedy):
    done = aplus("doctor", env={**settings, **changes})
    assert done.returncode == 1
    assert found in done.stdout
    assert remedy in done.stdout
    assert done.stderr == ""


def test_doctor_recognises_swapped_keys(settings, tmp_path):
    ours, theirs = PrivateKey.generate(), PrivateKey.generate()
    ours_path, theirs_path = tmp_path / "ours.pem", tmp_path / "theirs.pem"
    ours_path.write_text(ours.to_pem())
    theirs_path.write_text(theirs.public_key.to_pem())
    not_uploaded = aplus("doctor", env={**settings, "APLUS_PRIVATE_KEY_FILE": str(ours_path)})
    assert "INVALID_SIGNATURE" in not_uploaded.stdout
    wrong = aplus("doctor", env={**settings, "APLUS_PUBLIC_KEY_FILE": str(theirs_path)})
    assert "sandbox and production have different keys" in wrong.stdout
    theirs_path.write_text(PrivateKey.load(ours_path.read_text()).public_key.to_pem())
    both = {"APLUS_PRIVATE_KEY_FILE": str(ours_path), "APLUS_PUBLIC_KEY_FILE": str(theirs_path)}
    assert "our own public key" in aplus("doctor", env={**settings, **both}).stdout


def test_an_error_is_one_line_and_no_traceback(tmp_path, simulator):
    port = simulator.address.rpartition(":")[2]
    done = aplus("simulator", "--port", port, "--directory", str(tmp_path))
    assert done.returncode == 2
    assert "cannot listen" in done.stderr
    assert "Traceback" not in done.stderr
    assert aplus("simulator", "--time-scale", "0").returncode == 2
    for words in (("simulator", "--port", "99999"), ("demo", "--port", "-1")):
        refused = aplus(*words)
        assert refused.returncode == 2
        assert "is not in the range 0<=x<=65535" in refused.stderr
    refused = aplus("simulator", "--notify-url", "nonsense")
    assert refused.returncode == 2
    assert "found 'nonsense', expected an address such as https://" in refused.stderr


SHOP = """
from aplus_adapters import Account, AplusPay, MemoryStore, SQLStore

class Shop:
    def load_order(self, details): ...
    def payment_changed(self, details): ...
    def payment_conflict(self, details): ...

account = Account.from_env()
pay = AplusPay(account=account, store=SQLStore({database!r}), hooks=Shop())
forgetful = AplusPay(account=account, store=MemoryStore(), hooks=Shop())

class App:
    class state:
        pay = pay

def create_app():
    return App()

def create_both():
    return App(), pay
"""


def test_schema_makes_the_tables_before_the_shop_is_started(settings, tmp_path):
    file = tmp_path / "shop.db"
    (tmp_path / "small_shop.py").write_text(SHOP.format(database=f"sqlite:///{file}"))
    env = {**settings, "PYTHONPATH": str(tmp_path)}
    refused = aplus("schema", "--shop", "small_shop:forgetful", env=env)
    assert (refused.returncode, file.exists()) == (2, False)
    assert (
        "found MemoryStore, whose payments are in the memory of the shop's own process"
        in refused.stderr
    )
    for _ in range(2):
        done = aplus("schema", "--shop", "small_shop:pay", env=env)
        assert done.returncode == 0, done.stderr
        assert "the tables are there" in done.stdout
    connection = sqlite3.connect(file)
    versions = connection.execute("SELECT version FROM aplus_schema").fetchall()
    connection.close()
    assert versions == [(1,)]


FLASK_SHOP = """
from flask import Flask
from aplus_adapters.flask import create_blueprint
from small_shop import pay

def create_app():
    app = Flask("shop")
    app.register_blueprint(create_blueprint(pay), url_prefix="/aplus")
    return app
"""


def flask(*words, env):
    return subprocess.run(
        [sys.executable, "-m", "flask", "--app", "flask_shop", "aplus", *words],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def shop_file(settings, tmp_path):
    """Return the file of a shop's database, and the variables with which commands find the shop."""
    file = tmp_path / "shop.db"
    (tmp_path / "small_shop.py").write_text(SHOP.format(database=f"sqlite:///{file}"))
    (tmp_path / "flask_shop.py").write_text(FLASK_SHOP)
    return file, {**settings, "PYTHONPATH": str(tmp_path)}


@pytest.mark.parametrize("command", [aplus, flask])
def test_schema_checks_the_tables_and_prints_their_sql_without_making_them(shop_file, command):
    file, env = shop_file
    env = {**env, "APLUS_SHOP": "small_shop:pay"} if command is aplus else env
    absent = command("schema", "--check", env=env)
    assert (absent.returncode, absent.stdout, file.exists()) == (1, "", False)
    assert f"found no file {file}, expected the database of" in absent.stderr
    sqlite3.connect(file).executescript("VACUUM")  # an empty database
    checked = command("schema", "--check", env=env)
    assert checked.returncode == 1
    assert "missing: table aplus_payments\n" in checked.stdout
    assert "to do: run this command without --check" in checked.stdout
    printed = command("schema", "--print", env=env)
    assert printed.returncode == 0, printed.stderr
    connection = sqlite3.connect(file)
    assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    connection.executescript(printed.stdout)
    connection.close()
    checked = command("schema", "--check", env=env)
    assert (checked.returncode, checked.stdout) == (0, "the tables are complete\n")
    other = command("schema", "--print", "--dialect", "postgresql", env=env)
    assert "BYTEA" in other.stdout
    assert "BLOB" in printed.stdout
    both = command("schema", "--print", "--check", env=env)
    assert (both.returncode, both.stdout) == (2, "")
    assert "expected one of them" in both.stderr
    lonely = command("schema", "--dialect", "sqlite", env=env)
    assert "expected it with --print only" in lonely.stderr


def test_no_command_looks_at_payments_that_are_in_another_process(settings, tmp_path):
    (tmp_path / "small_shop.py").write_text(SHOP.format(database="sqlite:///unused.db"))
    env = {**settings, "PYTHONPATH": str(tmp_path), "APLUS_SHOP": "small_shop:forgetful"}
    for words in ("list", "health", "reconcile", "prune --older-than 400d", "show A-1"):
        refused = aplus(*words.split(), env=env)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "payments are in the memory of the shop's own process" in refused.stderr


def test_the_shop_is_found_in_its_application(settings, tmp_path):
    file = tmp_path / "shop.db"
    (tmp_path / "small_shop.py").write_text(SHOP.format(database=f"sqlite:///{file}"))
    env = {**settings, "PYTHONPATH": str(tmp_path)}
    assert aplus("schema", "--shop", "small_shop:create_app", env=env).returncode == 0
    for name in ("create_app", "create_both"):
        listed = aplus("list", "--shop", f"small_shop:{name}", env=env)
        assert listed.returncode == 0, listed.stderr
        assert "no payment meets" in listed.stderr
    refused = aplus("list", "--shop", "small_shop:Shop", env=env)
    assert refused.returncode == 2
    assert "found type, expected an AplusPay, an application with it as app.state" in refused.stderr


@pytest.mark.parametrize("pause", ["0s", "99ms", "10"])
def test_rounds_without_a_pause_are_refused(settings, pause):
    refused = aplus("reconcile", "--shop", "small_shop:pay", "--every", pause, env=settings)
    assert refused.returncode == 2
    assert "expected 100ms or more" in refused.stderr or "expected a duration" in refused.stderr


def test_schema_prints_for_a_dialect_without_any_shop():
    printed = aplus("schema", "--print", "--dialect", "postgresql")
    assert printed.returncode == 0, printed.stderr
    assert "CREATE TABLE aplus_payments (\n    shop VARCHAR(64) NOT NULL," in printed.stdout
    refused = aplus("schema", "--print", "--dialect", "oracle")
    assert refused.returncode == 2
    assert "found 'oracle', expected sqlite or postgresql" in refused.stderr
    for words in ([], ["--check"], ["--print"]):
        refused = aplus("schema", *words)
        assert refused.returncode == 2
        assert "found no --shop and no APLUS_SHOP" in refused.stderr


def test_schema_refuses_the_tables_of_a_newer_version(shop_file):
    file, env = shop_file
    env["APLUS_SHOP"] = "small_shop:pay"
    aplus("schema", env=env)
    connection = sqlite3.connect(file)
    with connection:
        connection.execute("UPDATE aplus_schema SET version = 2")
    connection.close()
    for words in ([], ["--check"]):
        refused = aplus("schema", *words, env=env)
        assert refused.returncode == 1
        assert "found version 2, expected at most 1; a newer aplus_adapters" in refused.stderr
        assert "Traceback" not in refused.stderr


def fill(file):
    """Store an old payment that failed, an old one that was paid, and a young one."""
    from datetime import UTC, datetime, timedelta

    from attrs import evolve

    from aplus_adapters import Outcome, SQLStore
    from aplus_adapters.testing.retention_contract import a_request
    from aplus_adapters.testing.store_contract import an_attempt, an_observation, nothing

    store = SQLStore(f"sqlite:///{file}")
    now = datetime.now(UTC)
    for number, days, outcome in (
        (1, 401, Outcome.FAILED),
        (2, 401, Outcome.SUCCEEDED),
        (3, 399, Outcome.FAILED),
    ):
        body = a_request(number).encode()
        store.add(an_attempt(number, f"A-{number}", request_body=body))
        said = evolve(an_observation(outcome), at=now - timedelta(days=days))
        store.record(f"pay{number}", said, nothing)
    store.close()


def stored(file):
    from aplus_adapters import SQLStore

    store = SQLStore(f"sqlite:///{file}")
    attempts = [store.get(f"pay{number}") for number in (1, 2, 3)]
    store.close()
    return [attempt and attempt.is_forgotten for attempt in attempts]


def end(done):
    """Return the last line: on a slow machine others say before how far it is."""
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("command", [aplus, flask])
def test_prune_deletes_and_forgets_what_is_old_and_first_says_what_it_would_do(shop_file, command):
    file, env = shop_file
    env = {**env, "APLUS_SHOP": "small_shop:pay"} if command is aplus else env
    fill(file)
    would = command("prune", "--older-than", "400d", "--dry-run", env=env)
    assert would.returncode == 0, would.stderr
    assert end(would) == "dry run, nothing is changed: 1 deleted, 1 buyers forgotten, 0 kept"
    assert stored(file) == [False, False, False]
    done = command("prune", "--older-than", "400d", "--batch", "1", env=env)
    assert (done.returncode, end(done)) == (0, "done: 1 deleted, 1 buyers forgotten, 0 kept")
    assert stored(file) == [None, True, False]
    done = command("prune", "--older-than", "400d", "--forget-after", "90d", env=env)
    assert end(done) == "done: 0 deleted, 1 buyers forgotten, 0 kept"
    assert stored(file) == [None, True, True]
    everything = ("--older-than", "100d", "--even-paid", "--even-refundable")
    done = command("prune", *everything, env=env)
    assert end(done) == "done: 2 deleted, 0 buyers forgotten, 0 kept"


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], "prune: found no age, expected older_than, forget_after, or both"),
        (["--older-than", "400"], "found '400', expected a duration such as 10s"),
        (["--older-than", "400s"], "found 0:06:40, expected 2 days to 36500 days"),
        (
            ["--older-than", "a year"],
            "found 'a year', expected a duration such as 10s, 2m, 1h or 90d",
        ),
        (["--older-than", "9" * 30 + "d"], "expected at most 36500d"),
        (["--older-than", "90d", "--forget-after", "400d"], "more than older_than"),
        (["--forget-after", "1d"], "prune forget_after: found 1 day, 0:00:00"),
        (["--older-than", "400d", "--even-refundable"], "found even_paid=False"),
        (["--older-than", "400d", "--batch", "0"], "0 is not in the range"),
    ],
)
def test_prune_refuses_an_age_that_cannot_be_meant(shop_file, words, found):
    file, env = shop_file
    fill(file)
    refused = aplus("prune", "--shop", "small_shop:pay", *words, env=env)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert found in " ".join(refused.stderr.replace("│", " ").split())
    assert stored(file) == [False, False, False]
