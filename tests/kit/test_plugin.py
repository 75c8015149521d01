"""The pytest plugin, in sessions of a shop's own: nothing of them is this project's set-up."""

import os
import subprocess
import sys

import pytest

CONFTEST = """
import pytest
from aplus_adapters import AplusPay, Amount, MemoryStore, OrderToPay

class Shop:
    def __init__(self):
        self.states = []
    def load_order(self, details):
        return OrderToPay(amount=Amount("JPY", 4200), description="2 tickets")
    def payment_changed(self, details):
        self.states.append(str(details.attempt.state))
    def payment_conflict(self, details):
        self.states.append("conflict")

@pytest.fixture
def shop(aplus_account, aplus_simulator):
    from starlette.applications import Starlette
    from starlette.routing import Mount
    from aplus_adapters.starlette import create_routes
    hooks = Shop()
    pay = AplusPay(account=aplus_account, store=MemoryStore(), hooks=hooks)
    app = Starlette(routes=[Mount("/aplus", routes=create_routes(pay))])
    aplus_simulator.connect(pay, app)
    return hooks
"""


def run(folder, *arguments, files, ini=""):
    """Run pytest on files in a folder of their own; return its exit code and what it printed."""
    for name, text in files.items():
        (folder / name).write_text(text)
    (folder / "pytest.ini").write_text(f"[pytest]\nfilterwarnings = error\n{ini}")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COV_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


UNUSED = """
import sys

def test_nothing_is_loaded():
    ours = {name for name in sys.modules if name.startswith("aplus_adapters")}
    assert ours == {"aplus_adapters", "aplus_adapters.testing", "aplus_adapters.testing.plugin"}
    assert not {"httpx", "httpx2", "cryptography", "attrs", "sqlalchemy", "starlette"} & set(sys.modules)
"""
MARKED = """
import pytest

@pytest.mark.aplus_fault("reset")
def test_marked():
    pass
"""


def test_a_session_that_uses_no_fixture_loads_nothing_and_a_lost_fault_fails(tmp_path):
    names = ("no:django", "no:asyncio", "no:hypothesispytest", "no:anyio")
    off = [word for name in names for word in ("-p", name)]
    files = {"test_unused.py": UNUSED, "test_marked.py": MARKED}
    code, printed = run(tmp_path, "--strict-markers", *off, files=files)
    assert code == 1, printed
    assert "1 passed, 1 error" in printed
    assert "uses no fixture aplus_simulator" in printed


AWAITING = """
import pytest

async def pays(aplus_buyer, aplus_clock, shop):
    await aplus_buyer.press_async("A-1")
    await aplus_clock.advance_async(minutes=1)
    assert (await aplus_buyer.pay_async()).is_acknowledged
    assert shop.states == ["succeeded"]

@pytest.mark.asyncio
async def test_by_pytest_asyncio(aplus_buyer, aplus_clock, shop):
    await pays(aplus_buyer, aplus_clock, shop)

@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_by_anyio(aplus_buyer, aplus_clock, shop, anyio_backend):
    await pays(aplus_buyer, aplus_clock, shop)
"""
URL = """
def test_setting(aplus_account):
    assert aplus_account.notify_url == "https://testserver/payments/notify"
"""


@pytest.mark.parametrize(("mode", "workers"), [("strict", 0), ("auto", 2)])
def test_tests_that_await_work_in_each_mode_and_side_by_side(tmp_path, mode, workers):
    pytest.importorskip("pytest_asyncio")
    files = {"conftest.py": CONFTEST, "test_awaiting.py": AWAITING, "test_url.py": URL}
    ini = f"asyncio_mode = {mode}\nasyncio_default_fixture_loop_scope = function\n"
    ini += "aplus_notify_url = https://testserver/payments/notify\n"
    # The shop of these tests is mounted elsewhere, so that it must be told.
    files["conftest.py"] = CONFTEST.replace('Mount("/aplus"', 'Mount("/payments"')
    code, printed = run(tmp_path, "-n", str(workers), files=files, ini=ini)
    assert code == 0, printed
    assert "3 passed" in printed


DJANGO = """
from django.core.wsgi import get_wsgi_application
from django.urls import include, path
import pytest
from aplus_adapters import Account, Amount, AplusPay, DjangoStore, OrderToPay
from aplus_adapters.django import create_urls

class Shop:
    def __init__(self):
        self.states = []
    def load_order(self, details):
        return OrderToPay(amount=Amount("JPY", 4200), description="2 tickets")
    def payment_changed(self, details):
        self.states.append(str(details.attempt.state))
    def payment_conflict(self, details):
        self.states.append("conflict")

urlpatterns = []

@pytest.fixture
def shop(db, aplus_simulator):
    hooks = Shop()
    pay = AplusPay(account=Account.from_env(), store=DjangoStore(), hooks=hooks)
    urlpatterns[:] = [path("aplus/", include(create_urls(pay)))]
    aplus_simulator.connect(pay, get_wsgi_application())
    return hooks

@pytest.mark.parametrize("time", [1, 2])
def test_a_django_shop_is_paid(shop, client, aplus_buyer, aplus_notification, time):
    started = client.post("/aplus/pay", {"order_ref": "A-1"}, "application/json", headers={"Accept": "application/json"})
    assert started.json()["state"] == "waiting"
    assert aplus_buyer.pay().is_acknowledged
    assert not aplus_notification.send("forged").is_acknowledged
    assert shop.states == ["succeeded"]
"""
SETTINGS = """
SECRET_KEY = "x" * 50
ROOT_URLCONF = "test_django_shop"
INSTALLED_APPS = ["aplus_adapters.django"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
USE_TZ = True
"""


def test_a_django_shop_is_tested_with_pytest_django(tmp_path):
    pytest.importorskip("pytest_django")
    files = {"test_django_shop.py": DJANGO, "shop_settings.py": SETTINGS}
    ini = "DJANGO_SETTINGS_MODULE = shop_settings\npythonpath = .\n"
    code, printed = run(tmp_path, "-p", "no:asyncio", files=files, ini=ini)
    assert code == 0, printed
    assert "2 passed" in printed
