"""The recipes of docs/ run as they stand there."""

import re
import sys
import types
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
RECIPES = dict(
    re.findall(r"\n## (\w+)\n+```python\n(.*?)```", (DOCS / "reconcile.md").read_text(), re.DOTALL)
)


class CountingPay:
    def __init__(self):
        self.rounds = 0

    def reconcile(self):
        self.rounds += 1
        return self.rounds


@pytest.fixture
def pay(monkeypatch):
    shop = types.ModuleType("shop")
    shop.pay = CountingPay()
    monkeypatch.setitem(sys.modules, "shop", shop)
    return shop.pay


def test_there_is_a_recipe_for_each_scheduler():
    text = (DOCS / "reconcile.md").read_text()
    assert set(RECIPES) == {"Celery", "APScheduler"}
    assert "## cron" in text


@pytest.mark.filterwarnings("default")  # what Celery's own dependencies warn of
def test_the_celery_recipe_reconciles(pay):
    names = {}
    exec(compile(RECIPES["Celery"], "reconcile.md", "exec"), names)
    app = names["app"]
    (beat,) = app.conf.beat_schedule.values()
    assert app.tasks[beat["task"]]() == "1"
    assert pay.rounds == 1


@pytest.mark.filterwarnings("default")
def test_the_apscheduler_recipe_reconciles(pay):
    names = {}
    exec(compile(RECIPES["APScheduler"], "reconcile.md", "exec"), names)
    scheduler = names["scheduler"]
    try:
        (job,) = scheduler.get_jobs()
        assert job.trigger.interval.total_seconds() == 10
        job.func()
        assert pay.rounds == 1
    finally:
        scheduler.shutdown()
