"""Which error of the database made a hook fail, however the hook wrapped it."""

import sqlite3

import pytest
from sqlalchemy.exc import OperationalError

from aplus_adapters.errors import HookError
from aplus_adapters.stores.database import _cause, _own_error

DEADLOCK = OperationalError("UPDATE orders", None, sqlite3.OperationalError("deadlock"))


def wrapped(times, error=DEADLOCK):
    """Return a hook's error that wraps another one, by `raise ... from` and without it in turn."""
    for number in range(times):
        outer = RuntimeError(number)
        setattr(outer, "__context__" if number % 2 else "__cause__", error)
        error = outer
    hook_error = HookError("hook payment_changed raised RuntimeError", hook="payment_changed")
    hook_error.__cause__ = error
    return hook_error


@pytest.mark.parametrize("times", range(5))
def test_a_database_error_is_found_behind_what_a_hook_made_of_it(times):
    assert _cause(wrapped(times), _own_error) is DEADLOCK


def test_what_lies_deeper_than_five_errors_is_no_cause():
    assert _cause(wrapped(5), _own_error) is None


def test_an_error_of_the_hooks_own_has_no_cause_in_the_database():
    assert _cause(wrapped(1, ValueError("a price of None")), _own_error) is None
    assert (
        _cause(HookError("hook payment_changed timed out", hook="payment_changed"), _own_error)
        is None
    )


def test_an_error_of_djangos_that_sqlalchemy_does_not_have_is_known_by_what_it_extends():
    django_db = pytest.importorskip("django.db")
    from aplus_adapters.stores.django_database import _as_dbapi_error

    class Retired(django_db.OperationalError):
        """Made by a backend of a shop's own."""

    found = _as_dbapi_error(Retired("gone"))
    assert isinstance(found, OperationalError)
    assert str(found.orig) == "gone"
    assert _as_dbapi_error(ValueError()) is None
    assert _as_dbapi_error(DEADLOCK) is DEADLOCK
