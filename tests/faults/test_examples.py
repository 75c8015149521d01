"""The examples that keep their orders by an ORM: "paid" and the order's row are one commit.

The shop is killed at each step of a notification, by SIGKILL, until it survives. After each death
both are stored or neither, and the notification that Alipay+ sends again settles both.
"""

import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

from support import killed_shop
from support.databases import DATABASES, new_database

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = {
    "django_shop": "django",
    "flask_sqlalchemy_shop": "flask_migrate",
    "sqlmodel_shop": "sqlmodel",
}
ROWS = list(product(EXAMPLES, DATABASES))
if not os.environ.get("APLUS_LONG"):
    ROWS = list(zip(EXAMPLES, ["postgresql", "mysql", "sqlite"], strict=True))
pytestmark = pytest.mark.process


def deaths_of(example, database, simulator):
    environ = {
        **os.environ,
        **simulator.environ,
        "APLUS_NOTIFY_URL": "http://127.0.0.1:9/aplus/notify",
        "ALIPAYPLUS_KEY": str(simulator.folder / "alipayplus_private.pem"),
        "DATABASE": database,
        "PYTHONPATH": str(ROOT / "examples"),
    }
    command = [sys.executable, killed_shop.__file__, example]
    done = subprocess.run(
        command, env=environ, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(("example", "kind"), ROWS)
def test_paid_and_the_orders_row_are_one_commit_wherever_the_process_dies(
    example, kind, simulator, tmp_path, request
):
    pytest.importorskip(EXAMPLES[example])
    database = new_database(kind, tmp_path, request)
    deaths = deaths_of(example, database, simulator)
    neither, both = ["pending", "new"], ["succeeded", "paid"]
    stored = [death["after_death"] for death in deaths]
    print(f"{example}, {kind}: {len(deaths) - 1} deaths,",
          f"{stored.count(neither)} before the commit")  # fmt: skip
    assert len(deaths) > 10
    assert stored.count(neither) + stored.count(both) == len(deaths)
    assert stored == sorted(stored)  # neither up to the commit, both from then on
    assert stored[0] == neither
    assert stored[-2] == both  # the last one survived, this one died after the commit
    assert [death["survived"] for death in deaths] == [None] * (len(deaths) - 1) + [True]
    assert all(death["acknowledged"] for death in deaths)
    assert all(death["in_the_end"] == both for death in deaths)


@pytest.mark.parametrize("example", EXAMPLES)
def test_these_examples_have_90_lines_at_most(example):
    path = ROOT / "examples" / f"{example}.py"
    assert len(path.read_text().splitlines()) <= 90
