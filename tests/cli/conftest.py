"""A served shop, its settings as a command finds them, and servers that stand in its place."""

import pytest
from click.testing import CliRunner

from aplus_adapters import Account, AplusPay, MemoryStore
from aplus_adapters.cli.main import main
from support.in_place import serving
from support.shop import Shop


@pytest.fixture
def settings(monkeypatch, tmp_path, our_key, their_key):
    """Set the variables of a shop at a simulator, whose folder holds Alipay+'s private key."""
    (tmp_path / "alipayplus_private.pem").write_text(their_key.to_pem())
    public = tmp_path / "alipayplus_public.pem"
    public.write_text(their_key.public_key.to_pem())
    values = {
        "ENVIRONMENT": "simulator",
        "CLIENT_ID": "CLIENT-1",
        "PRIVATE_KEY": our_key.to_pem(),
        "PUBLIC_KEY_FILE": str(public),
        "GATEWAY": "http://127.0.0.1:9",
        "NOTIFY_URL": "http://127.0.0.1:9/aplus/notify",
    }
    for name, value in values.items():
        monkeypatch.setenv(f"APLUS_{name}", value)
    monkeypatch.chdir(tmp_path)  # the commands look for .aplus here


@pytest.fixture
def aplus():
    """Return a function that runs a command in this process."""

    def run(*words, **options):
        return CliRunner().invoke(main, [str(word) for word in words], **options)

    return run


@pytest.fixture
def shop(settings, monkeypatch):
    """Serve a shop below /aplus, set its notify URL, and return its AplusPay."""
    from aplus_adapters.flask import create_blueprint

    flask = pytest.importorskip("flask")
    app = flask.Flask("shop")
    with serving(app) as address:
        monkeypatch.setenv("APLUS_NOTIFY_URL", f"{address}/aplus/notify")
        pay = AplusPay(account=Account.from_env(), store=MemoryStore(), hooks=Shop())
        app.register_blueprint(create_blueprint(pay), url_prefix="/aplus")
        pay.address = address
        yield pay
