"""The examples in the docstrings are true."""

import doctest
import pkgutil
from importlib import import_module

import aplus_adapters.protocol as ring0


def test_every_example_of_ring_0_is_true():
    tried = 0
    for found in pkgutil.walk_packages(ring0.__path__, "aplus_adapters.protocol."):
        result = doctest.testmod(import_module(found.name))
        assert result.failed == 0
        tried += result.attempted
    print(f"{tried} examples")
    assert tried >= 12


def test_every_public_name_of_ring_0_is_documented():
    bare = []
    for found in pkgutil.walk_packages(ring0.__path__, "aplus_adapters.protocol."):
        module = import_module(found.name)
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if callable(value) and not (value.__doc__ or "").strip():
                bare.append(f"{found.name}.{name}")
    assert bare == []
