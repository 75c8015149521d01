"""The pytest plugin: fixtures with which a shop tests its payments without a network.

A shop's conftest.py needs one fixture of its own that connects it:

    @pytest.fixture
    def shop(aplus_simulator):
        app = create_app()               # Account.from_env() finds the simulator's account
        aplus_simulator.connect(app.extensions["pay"], app)
        return app.test_client()

Nothing of the package is loaded before a test asks for one of the fixtures.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aplus_adapters.protocol.account import Account
    from aplus_adapters.testing.buyer import Buyer
    from aplus_adapters.testing.clock import VirtualClock
    from aplus_adapters.testing.notifications import Notifications
    from aplus_adapters.testing.simulator import Simulator

__all__ = ["aplus_account", "aplus_buyer", "aplus_clock", "aplus_notification", "aplus_simulator"]

_MARKER = "aplus_fault"
_NOTIFY_URL = "aplus_notify_url"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the setting of where the shop takes notifications."""
    parser.addini(
        _NOTIFY_URL,
        "notify URL of the simulated account (default: https://testserver/aplus/notify)",
        default="",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        f'{_MARKER}(fault, call="*", times=1): order a fault of the simulated Alipay+, '
        f'such as @pytest.mark.{_MARKER}("drop_answer", call="pay")',
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail a test whose fault would never happen."""
    if item.get_closest_marker(_MARKER) and "aplus_simulator" not in getattr(
        item, "fixturenames", ()
    ):
        pytest.fail(
            f"marker {_MARKER}: found a test that uses no fixture aplus_simulator, so that the "
            "fault would never happen; ask for a fixture that connects your shop",
            pytrace=False,
        )


@pytest.fixture
def aplus_clock() -> VirtualClock:
    """Return the clock of shop and Alipay+; it stands still until `aplus_clock.advance(minutes=3)`.

    Then codes expire and notifications come, in order of time.
    """
    from aplus_adapters.testing.clock import VirtualClock  # noqa: PLC0415  # only if it is used

    return VirtualClock()


@pytest.fixture
def aplus_simulator(
    request: pytest.FixtureRequest, aplus_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Simulator]:
    """Return a simulated Alipay+ of this test's own; connect your shop: `connect(pay, app)`.

    The APLUS_* variables are replaced meanwhile, so that `Account.from_env` makes `aplus_account`.
    Faults that the test's markers order are in force from the start.
    """
    from aplus_adapters.testing.simulator import (  # noqa: PLC0415  # only if it is used
        NOTIFY_URL,
        Simulator,
    )

    notify_url = request.config.getini(_NOTIFY_URL) or NOTIFY_URL
    with Simulator(clock=aplus_clock, notify_url=notify_url) as simulator:
        # A machine where the shop runs too has settings that would mix with these.
        for name in [name for name in os.environ if name.startswith("APLUS_")]:
            monkeypatch.delenv(name)
        for name, value in simulator.environ.items():
            monkeypatch.setenv(name, value)
        for marker in reversed(list(request.node.iter_markers(_MARKER))):
            simulator.fault(*marker.args, **marker.kwargs)
        yield simulator


@pytest.fixture
def aplus_account(aplus_simulator: Simulator) -> Account:
    """Return the shop's account at the simulated Alipay+, for `AplusPay(account=...)`."""
    return aplus_simulator.account


@pytest.fixture
def aplus_buyer(aplus_simulator: Simulator) -> Buyer:
    """Return the buyer: press, scan, pay, refuse, wait."""
    from aplus_adapters.testing.buyer import Buyer  # noqa: PLC0415  # only if it is used

    return Buyer(aplus_simulator)


@pytest.fixture
def aplus_notification(aplus_simulator: Simulator) -> Notifications:
    """Return what sends a notification in a form of your choice, such as `send("forged")`."""
    from aplus_adapters.testing.notifications import (  # noqa: PLC0415  # only if it is used
        Notifications,
    )

    return Notifications(aplus_simulator)
