"""What all tests share: keys, accounts, a shop that takes notes, a clock to turn, a simulator."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal

import pytest
from hypothesis import HealthCheck, settings

from aplus_adapters import Account, MemoryStore, PrivateKey
from aplus_adapters.testing.signer import AlipayPlus
from support.databases import DATABASES, SERVERS, STORES, new_database, ready_database
from support.leaks import LEAKS
from support.shop import NOTIFY_URL, Clock, Shop

# A busy machine is slow now and then; that says nothing about the code.
settings.register_profile("calm", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("calm")


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c():
    """Let the processes that tests start end by SIGINT, even if this run is in the background.

    A shell starts what runs in the background with SIGINT ignored, and children inherit that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _leaks():
    """Read every log line of the whole run."""
    ours = logging.getLogger("aplus_adapters")
    ours.setLevel(logging.DEBUG)
    # At both: a framework that sets logging up takes the root's handlers away.
    for logger in (logging.getLogger(), ours):
        logger.addHandler(LEAKS)
    yield
    for logger in (logging.getLogger(), ours):
        logger.removeHandler(LEAKS)


@pytest.fixture(autouse=True)
def _no_secret_is_logged():
    yield
    found, LEAKS.found = LEAKS.found, []
    assert found == [], "a secret was logged"


@pytest.fixture(scope="session")
def our_key():
    return _known(PrivateKey.generate())


@pytest.fixture(scope="session")
def their_key():
    return _known(PrivateKey.generate())


def _known(key):
    LEAKS.know(key)
    return key


@pytest.fixture(scope="session")
def account(our_key, their_key):
    return Account(
        client_id="CLIENT-1",
        private_key=our_key,
        alipayplus_keys=their_key.public_key,
        gateway="https://gateway.example",
        notify_url=NOTIFY_URL,
    )


@pytest.fixture(scope="session")
def alipayplus(account, their_key):
    return AlipayPlus(account, their_key)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def shop():
    return Shop()


@pytest.fixture(scope="session")
def postgres():
    from support.postgres import Cluster, require

    require()
    cluster = Cluster()
    yield cluster
    cluster.remove()


@pytest.fixture(scope="session")
def mysql():
    from support.mysql import Cluster, require

    require()
    cluster = Cluster()
    yield cluster
    cluster.remove()


# The bare session has nothing installed but what the package declares.


@pytest.fixture(params=DATABASES)
def database(request, tmp_path):
    return new_database(request.param, tmp_path, request)


@pytest.fixture(params=SERVERS)
def server_database(request, tmp_path):
    """The address of a new database on a server, which connects and locks otherwise than a file."""
    return new_database(request.param, tmp_path, request)


@pytest.fixture(params=STORES)
def store(request, tmp_path):
    if request.param == "memory":
        yield MemoryStore()
        return
    from aplus_adapters import SQLStore

    with ready_database(request.param, tmp_path, request) as address:
        made = SQLStore(address)
        yield made
        made.close()


@pytest.fixture(scope="session")
def simulator(tmp_path_factory):
    from aplus_adapters.simulator.process import SimulatorProcess

    with SimulatorProcess(tmp_path_factory.mktemp("simulator"), time_scale=1000) as running:
        yield running


@pytest.fixture(scope="session")
def simulated_account(simulator):
    """An account at the simulator whose notifications go nowhere: tests bring them themselves."""
    environ = {**simulator.environ, "APLUS_NOTIFY_URL": "http://127.0.0.1:9/aplus/notify"}
    account = Account.from_env(environ)
    LEAKS.know(account.private_key)
    return account


@pytest.fixture(scope="session")
def simulated_alipayplus(simulator, simulated_account):
    key = _known(PrivateKey.load((simulator.folder / "alipayplus_private.pem").read_bytes()))
    return AlipayPlus(simulated_account, key)


# Per module: the driver's event loop must not run while another module's tests start their own.
@pytest.fixture(scope="module")
def chromium():
    from support.browser import launch

    with launch() as browser:
        yield browser


@pytest.fixture(scope="module")
def scan(chromium):
    """Read every QR code that can be seen on a page."""
    from functools import partial

    from support.browser import read_codes

    eye = chromium.new_page()
    yield partial(read_codes, eye)
    eye.close()


# What runs the same lines again and again, which to count takes a third more time.
UNCOUNTED = (
    "tests/faults/",
    "tests/fuzz/",
    "tests/runtime/test_nothing_grows.py",
    "tests/scenarios/test_outages.py",
    "tests/soak/",
    "tests/web/test_openapi.py",
    "tests/web/test_page_browser.py",
    "tests/web/test_page_everywhere.py",
    "tests/web/test_paths.py",
    "tests/web/test_paying_in_a_browser.py",
    "tests/web/test_strangers.py",
)
COUNTED_ON_SERVERS = (
    "tests/stores/test_async_contract.py",
    "tests/stores/test_connect_arguments.py",
    "tests/stores/test_contract.py",
    "tests/stores/test_databases.py",
    "tests/stores/test_migrations.py",
    "tests/stores/test_mysql.py",
    "tests/stores/test_watchdog.py",
)
BEHAVIOUR = "tests/web/test_behaviour.py"  # is counted in the plain form of each adapter
OTHER_FORM = re.compile(
    r"nested|mounted|root-path|script-name|subdomain|litestar|quart|gunicorn|uvicorn|hypercorn"
    r"|granian|waitress|wsgiref|uwsgi"
)
PLAYED_AT_ONCE = "tests/conformance/test_mistakes.py"
SERVER_FIXTURES = {"mysql", "postgres", "server_database"}
ON_SERVERS = ("postgresql", "psycopg", "asyncpg", "mysql", "asyncmy")


def pytest_collection_modifyitems(config, items):
    """Mark what asks a database server, which `nox -s servers` runs, and what is not counted.

    Leave out what needs Chromium on a machine without it; where CI runs it fails instead.
    """
    for item in items:
        row = item.nodeid.partition("[")[2]
        if SERVER_FIXTURES & {*item.fixturenames} or any(name in row for name in ON_SERVERS):
            item.add_marker("server")
    if config.pluginmanager.hasplugin("pytest_cov"):
        for item in items:
            if not _is_counted(item):
                item.add_marker("no_cover")
    if shutil.which("chromium") or os.environ.get("CI"):
        return
    absent = pytest.mark.skip(reason="no chromium on this machine: apt-get install chromium")
    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker(absent)


def _is_counted(item):
    if item.nodeid.startswith(UNCOUNTED):
        return False
    if item.get_closest_marker("server"):
        return item.nodeid.startswith(COUNTED_ON_SERVERS)
    return not (item.nodeid.startswith(BEHAVIOUR) and OTHER_FORM.search(item.nodeid))


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session):
    """In a worker of xdist, stop what counts twice.

    pytest-cov starts to count when it is loaded, and there once more when the session starts. The
    first is never saved, and goes on where `no_cover` stops the second.
    """
    if hasattr(session.config, "workerinput") and session.config.pluginmanager.hasplugin("_cov"):
        from coverage import Coverage

        if (early := Coverage.current()) is not None:
            early.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Let the processes that an uncounted test starts count nothing either."""
    asked = None
    if item.get_closest_marker("no_cover"):
        asked = os.environ.pop("COVERAGE_PROCESS_CONFIG", None)
    try:
        return (yield)
    finally:
        if asked is not None:
            os.environ["COVERAGE_PROCESS_CONFIG"] = asked


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Keep on one worker what shares a costly set-up: one form of serving, the bad shops."""
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling

    from support.forms import FORMS

    longest_first = sorted(FORMS, key=len, reverse=True)

    class ByForm(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            if nodeid.startswith(PLAYED_AT_ONCE):
                return PLAYED_AT_ONCE
            _, bracket, parameters = nodeid.partition("[")
            named = (form for form in longest_first if form in parameters)
            return next(named, nodeid) if bracket and "/web/" in nodeid else nodeid

    return ByForm(config, log)
