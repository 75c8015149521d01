"""`aplus demo` with a shop, a desk and a wallet in one window, and with databases of the user's."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process


@pytest.mark.parametrize(("framework", "kind"), [("django", "mysql"), ("flask", "postgres")])
def test_the_demonstration_pays_once_in_the_database_that_is_named(framework, kind, request):
    from aplus_adapters.cli.demo import pay_once

    database = request.getfixturevalue(kind).database()
    steps = []
    assert pay_once(framework, lambda *step: steps.append(step), database)
    assert "PAID" in dict(steps)
    assert dict(steps)["database"].rpartition("/")[2] == database.rpartition("/")[2]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_demonstration_that_is_stopped_leaves_no_process(number, tmp_path):
    command = [sys.executable, "-m", "aplus_adapters.cli", "demo", "--directory", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo:
        for line in demo.stdout:
            if " files " in line:  # the last line of its beginning
                break
        started = children(demo.pid)
        assert len(started) == 2, "the shop and the simulator"
        demo.send_signal(number)
        assert "shop and simulator are stopped" in demo.stdout.read()
    assert demo.returncode == 0
    assert [pid for pid in started if Path(f"/proc/{pid}").exists()] == []


def children(pid):
    """Return the processes that a process has started, by any of its threads."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for one in threads for child in (one / "children").read_text().split()]


@pytest.mark.browser
def test_a_person_pays_in_frames_beside_each_other(tmp_path, chromium):
    from playwright.sync_api import expect

    from aplus_adapters.cli.demo_page import side_by_side
    from support.browser import keep
    from support.demo_shop import running

    with (
        running("flask", tmp_path) as (demo, _),
        side_by_side(demo.address, demo.simulator.address) as address,
    ):
        page = chromium.new_page(viewport={"width": 1500, "height": 900})
        page.goto(address)
        said = []
        page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.accept()))
        page.get_by_role("button", name="Scan the shop's code").click()
        page.wait_for_timeout(500)
        assert said == ["The shop shows no code: buy something and press Pay."]
        shop = page.frame_locator("iframe[name=Shop]")
        shop.get_by_role("button", name="Ticket").click()
        shop.get_by_role("button", name="Pay").click()
        expect(shop.locator("svg.qr")).to_be_visible()
        order = page.frame_locator("iframe[name=Desk]").get_by_text("USD").first
        expect(order).to_be_visible(timeout=8000)
        keep(page, "demo", "side by side")
        page.get_by_role("button", name="Scan the shop's code").click()
        wallet = page.frame_locator("iframe[name=Wallet]")
        wallet.get_by_role("button", name="Pay", exact=True).click()
        expect(shop.locator("main[data-state=paid]")).to_be_visible(timeout=8000)
        page.close()
