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
    done = aplus("doctor", env=settings)
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


SHOP = """
from aplus_adapters import Account, AplusPay, MemoryStore, SQLStore

class Shop:
    def load_order(self, details): ...
    def payment_changed(self, details): ...
    def payment_conflict(self, details): ...

account = Account.from_env()
pay = AplusPay(account=account, store=SQLStore({database!r}), hooks=Shop())
forgetful = AplusPay(account=account, store=MemoryStore(), hooks=Shop())
"""


def test_schema_makes_the_tables_before_the_shop_is_started(settings, tmp_path):
    file = tmp_path / "shop.db"
    (tmp_path / "small_shop.py").write_text(SHOP.format(database=f"sqlite:///{file}"))
    env = {**settings, "PYTHONPATH": str(tmp_path)}
    refused = aplus("schema", "--shop", "small_shop:forgetful", env=env)
    assert (refused.returncode, file.exists()) == (2, False)
    assert "found MemoryStore, expected a store with tables" in refused.stderr
    for _ in range(2):
        done = aplus("schema", "--shop", "small_shop:pay", env=env)
        assert done.returncode == 0, done.stderr
        assert "the tables are there" in done.stdout
    connection = sqlite3.connect(file)
    versions = connection.execute("SELECT version FROM aplus_schema").fetchall()
    connection.close()
    assert versions == [(1,)]
