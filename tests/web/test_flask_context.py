"""Hooks that need Flask's application context have one in `flask aplus` and in the recipe."""

import re
import sys
import threading
import types
from pathlib import Path

import pytest
from flask import Flask, current_app, g

from aplus_adapters import Amount, AplusPay
from aplus_adapters.flask import create_blueprint
from aplus_adapters.testing.store_values import an_attempt, an_observation, nothing
from support.shop import SeenStore, Shop

CONFLICTS = 12


class FlaskShop(Shop):
    """Notes in which context each conflict is told: whether it is its thread's own."""

    def __init__(self):
        super().__init__()
        self.told, self.strangers = [], 0

    def payment_conflict(self, details):
        assert current_app.name == "corner"
        self.strangers += g.setdefault("thread", threading.get_ident()) != threading.get_ident()
        self.told.append(details.attempt.order_ref)


@pytest.fixture
def app(account):
    store = SeenStore()
    for number in range(CONFLICTS):
        made = store.add(an_attempt(number, f"A-{number}", client_id=account.client_id))
        other = an_observation(client_id=account.client_id, amount=Amount("JPY", 4000))
        store.record(made.payment_request_id, other, nothing)
    app = Flask("corner")
    app.pay = AplusPay(account=account, store=store, hooks=FlaskShop())
    app.pay.store.due = lambda *_: []
    app.register_blueprint(create_blueprint(app.pay))
    return app


@pytest.mark.parametrize("threads", [1, 4])
def test_each_worker_of_flask_aplus_reconcile_has_a_context_of_its_own(app, threads):
    done = app.test_cli_runner().invoke(args=["aplus", "reconcile", "--threads", str(threads)])
    assert done.exit_code == 0, done.output
    assert set(app.pay.hooks.told) == {f"A-{number}" for number in range(CONFLICTS)}
    assert app.pay.hooks.strangers == 0


def test_flask_aplus_show_has_a_context_too(app):
    stored, get = [], app.pay.store.get
    app.pay.store.get = lambda *ids: stored.append(current_app.name) or get(*ids)
    done = app.test_cli_runner().invoke(args=["aplus", "show", "pay1"])
    assert done.exit_code == 0, done.output
    assert set(stored) == {"corner"}


def test_the_recipe_for_other_schedulers_gives_hooks_the_context(app, monkeypatch):
    text = (Path(__file__).parents[2] / "docs/reconcile.md").read_text()
    block = re.search(r"## Hooks that need Flask.*?```python\n(.*?)```", text, re.DOTALL)[1]
    shop = types.ModuleType("shop")
    shop.app, shop.pay = app, app.pay
    monkeypatch.setitem(sys.modules, "shop", shop)
    names = {}
    exec(compile(block, "reconcile.md", "exec"), names)
    assert f"{CONFLICTS} conflicts reported, 0 failed" in names["reconcile"]()


def test_without_a_context_the_log_says_where_the_hook_failed(app, caplog):
    assert app.pay.reconcile().failed == CONFLICTS
    said = rf"payment_conflict: raised RuntimeError in {Path(__file__).name} line \d+"
    assert len(re.findall(said, "\n".join(caplog.messages))) == CONFLICTS


@pytest.mark.parametrize("words", [("reconcile",), ("show", "pay1"), ("show", "no such payment")])
def test_a_command_closes_what_it_opened_however_it_ends(app, monkeypatch, words):
    closed = []

    def close(pay):
        closed.append(pay)

    monkeypatch.setattr(AplusPay, "close", close)
    app.test_cli_runner().invoke(args=["aplus", *words])
    assert closed == [app.pay]
