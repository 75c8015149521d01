"""`--shop module:name`: where a shop is found, and what is said if there is none."""

import builtins
import sys

import pytest

from aplus_adapters import AplusPay, ConfigurationError, MemoryStore
from aplus_adapters.cli.commands import load_shop
from support.shop import Shop


def _pay(account):
    return AplusPay(account=account, store=MemoryStore(), hooks=Shop())


SHOPS = """
import functools
from aplus_adapters.wsgi import AplusMiddleware

@functools.lru_cache
def cached():
    return made

def named(name):
    return made

part = functools.partial(named, "x")
pair = (object(), made)
middleware = AplusMiddleware(lambda environ, start: [], made)

class Settings:
    def pay(self):
        return made

settings = Settings()

def broken():
    return 1 + "one"

def lacking():
    raise KeyError("SHOP_KEY")

def secret():
    raise ValueError("postgresql://shop:pass@host")

async def awaited():
    return made

class Application:
    def __call__(self, environ, start_response):
        return []

    register_blueprint = None

flask = Application()
number = 5
"""


@pytest.fixture
def module(account, tmp_path, monkeypatch):
    (tmp_path / "some_shop.py").write_text(SHOPS)
    made = _pay(account)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(builtins, "made", made, raising=False)
    monkeypatch.delitem(sys.modules, "some_shop", raising=False)
    yield made
    sys.modules.pop("some_shop", None)


@pytest.mark.parametrize("name", ["cached", "part", "pair", "middleware", "settings.pay"])
def test_a_shop_is_found_in_what_holds_or_returns_it(module, name):
    assert load_shop(f"some_shop:{name}") is module


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("broken", "cannot be loaded: TypeError: unsupported .* in some_shop.py line 23$"),
        ("lacking", "cannot be loaded: KeyError: 'SHOP_KEY' in some_shop.py line 26$"),
        ("secret", "cannot be loaded: ValueError in some_shop.py line 29$"),
        ("awaited", "found an async function, expected .* without awaiting"),
        ("flask", "found a Flask application, .* `flask --app some_shop aplus list`"),
        ("number", "found int, expected an AplusPay"),
        ("named", "found a function that cannot be called without an argument, expected"),
        ("Settings", "found type, expected an AplusPay"),
        ("nothing", "has no attribute 'nothing'"),
    ],
)
def test_what_is_no_shop_is_refused_with_where_and_why(module, name, message):
    with pytest.raises(ConfigurationError, match=message):
        load_shop(f"some_shop:{name}")
