"""What a shop gives to AplusPay is right, or refused at start with what to write instead."""

from types import ModuleType, SimpleNamespace
from unittest.mock import AsyncMock, MagicMock, Mock, create_autospec

import httpx
import pytest

from aplus_adapters import Account, AplusPay, ConfigurationError, MemoryStore, PageDesign, Timing
from support.shop import AsyncShop, Clock, Shop


def make(given, /, **changes):
    return AplusPay(**{"account": given, "store": MemoryStore(), "hooks": Shop(), **changes})


def refuse(given, /, **changes):
    with pytest.raises(ConfigurationError, match=r"found .*expected .*") as refused:
        make(given, **changes)
    return str(refused.value)


class Proxy:
    """Raises outside of a request, as the frameworks' own proxies do."""

    def __getattr__(self, name):
        raise RuntimeError("working outside of application context")


WRONG = {
    "no account": ({"account": None}, "account: found NoneType, expected an Account; write Account.from_env"),
    "an account's name": ({"account": "CLIENT-1"}, "account: found str, expected an Account"),
    "a class of accounts": ({"account": Account}, "account: found the class Account"),
    "no account in a list": ({"account": [None]}, "account: found NoneType"),
    "an empty list": ({"account": []}, "found 0 accounts"),
    "accounts by name": ({"account": {"a": 1}}, "account: found dict"),
    "a class of stores": ({"store": MemoryStore}, "found the class MemoryStore, .* write MemoryStore()"),
    "an address for a store": ({"store": "sqlite:///x.db"}, r"found str, expected a store; write SQLStore"),
    "no store": ({"store": None}, "store: found NoneType without add"),
    "a class of hooks": ({"hooks": Shop}, r"hooks: found the class Shop, expected an object of it; write Shop\(\)"),
    "no hooks": ({"hooks": None}, "hooks: found NoneType without load_order"),
    "a proxy": ({"hooks": Proxy()}, "found Proxy.load_order, which raises RuntimeError"),
    "a store that is a proxy": ({"store": Proxy()}, "store: found Proxy.add, which raises RuntimeError"),
    "timing": ({"timing": {}}, r"timing: found dict, expected a Timing; write Timing"),
    "a class of rules": ({"timing": Timing}, "timing: found the class Timing"),
    "a shop's name": ({"shop_name": b"Shop"}, "shop_name: found bytes, expected a str"),
    "an empty page": ({"page": {}}, "page: found dict, expected a PageDesign"),
    "a class of pages": ({"page": PageDesign}, "page: found the class PageDesign"),
    "false for a page": ({"page": False}, "page: found bool"),
    "origins": ({"trusted_origins": None}, "trusted_origins: found None"),
    "a client": ({"client": "httpx"}, "HTTP client: found builtins.str, expected an httpx.Client"),
    "a false client": ({"client": 0}, "HTTP client: found builtins.int"),
    "an awaiting client": ({"client": httpx.AsyncClient()}, "found httpx.AsyncClient, expected an httpx.Client"),
    "a blocking client": ({"async_client": httpx.Client()}, "found httpx.Client, expected an httpx.AsyncClient"),
    "a clock": ({"clock": object()}, "clock: found object without now, sleep"),
    "a class of clocks": ({"clock": Clock}, "clock: found the class Clock"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_an_argument_of_the_wrong_kind_is_refused_at_start(account, name):
    import re

    changes, message = WRONG[name]
    assert re.search(message, refuse(account, **changes))


def test_an_address_with_a_password_in_place_of_a_store_is_not_shown(account):
    assert "s3cret" not in refuse(account, store="postgresql://shop:s3cret@host/shop")


def shop_with(**methods):
    return type("Corner", (Shop,), methods)()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("authorise", "authorize"),
        ("authorized", "authorize"),
        ("Authorize", "authorize"),
        ("render_ordercode", "render_order_code"),
        ("renderOrderCode", "render_order_code"),
        ("render_receipts", "render_receipt"),
        ("renderReceipt", "render_receipt"),
        ("refund_change", "refund_changed"),
        ("refunds_changed", "refund_changed"),
        ("on_refund_changed", "refund_changed"),
    ],
)
@pytest.mark.parametrize("kind", [staticmethod, classmethod, lambda function: function])
def test_a_misspelt_optional_hook_is_refused_at_start(account, written, meant, kind):
    hooks = shop_with(**{written: kind(lambda *_: None)})
    message = refuse(account, hooks=hooks)
    assert f"found {written}; did you mean {meant}?" in message
    attached = Shop()
    setattr(attached, written, lambda details: None)
    assert f"did you mean {meant}?" in refuse(account, hooks=attached)


def test_of_several_methods_the_likest_is_asked_about(account):
    hooks = shop_with(
        zorder_author=lambda *_: None, authorise=lambda *_: None, autor=lambda *_: None
    )
    assert "found authorise; did you mean authorize?" in refuse(account, hooks=hooks)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("load_orders", "load_order"),
        ("get_order", "load_order"),
        ("loadOrder", "load_order"),
        ("payment_change", "payment_changed"),
        ("payment_conflicts", "payment_conflict"),
    ],
)
def test_a_misspelt_required_hook_is_named_with_what_was_meant(account, written, meant):
    hooks = shop_with(**{meant: None, written: lambda self, details: None})
    message = refuse(account, hooks=hooks)
    assert f"without {meant}, expected load_order" in message
    assert f"found {written}; did you mean {meant}?" in message


def test_other_methods_of_a_shop_are_its_own_business(account):
    names = (
        "render_order",
        "order_code",
        "author",
        "refund",
        "notify",
        "load",
        "_authorise",
        "render",
    )
    make(account, hooks=shop_with(**dict.fromkeys(names, lambda self, *_: None)))
    # With the hook itself there, a neighbour of its name is no mistake.
    make(account, hooks=shop_with(authorize=lambda self, details: True, authorise=lambda self: 1))
    make(account, hooks=shop_with(authorise="a word is no method"))
    make(account, hooks=shop_with(load_orders=lambda self: []))


class Dynamic:
    """Finds its hooks only when they are asked for."""

    def __getattr__(self, name):
        if name not in ("load_order", "payment_changed", "payment_conflict"):
            raise AttributeError(name)
        return lambda details: None


class Slotted:
    __slots__ = ()
    load_order = payment_changed = payment_conflict = lambda self, details: None


def module():
    made = ModuleType("shop")
    made.load_order = made.payment_changed = made.payment_conflict = lambda details: None
    return made


@pytest.mark.parametrize(
    "hooks",
    [Dynamic(), Slotted(), module(), Mock(), MagicMock(), AsyncMock(), Mock(spec=Shop), create_autospec(Shop, instance=True),
     SimpleNamespace(load_order=print, payment_changed=print, payment_conflict=print), AsyncShop()],
    ids=lambda hooks: type(hooks).__name__,
)  # fmt: skip
def test_hooks_of_every_making_are_taken(account, hooks):
    make(account, hooks=hooks)


@pytest.mark.parametrize("hook", ["load_order", "payment_changed", "payment_conflict", "authorize", "refund_changed",
                                  "render_order_code", "render_receipt"])  # fmt: skip
@pytest.mark.parametrize(
    "plain", [lambda self: None, lambda self, a, b: None, lambda self, *, details: None]
)
def test_a_hook_with_other_parameters_is_refused_at_start(account, hook, plain):
    message = refuse(account, hooks=shop_with(**{hook: plain}))
    assert f"hook Corner.{hook}: found the parameters (" in message
    assert f"write def {hook}(self, details)" in message


def test_a_hook_with_more_parameters_that_may_be_left_out_is_taken(account):
    make(account, hooks=shop_with(load_order=lambda self, order, again=None, *more, **named: None))
    make(account, hooks=shop_with(load_order=dict))


def test_an_optional_hook_that_cannot_be_called_is_refused(account):
    assert "Corner.authorize: found bool" in refuse(account, hooks=shop_with(authorize=True))
    make(account, hooks=shop_with(authorize=None))
