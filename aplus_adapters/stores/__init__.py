"""Ring 2: where attempts are kept.

The names below are public: a shop's own migrations use them to know our tables.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from aplus_adapters.errors import ConfigurationError

if TYPE_CHECKING:
    from aplus_adapters.stores.schema import Tables, include_object, metadata

__all__ = ["Tables", "include_object", "metadata"]

if not TYPE_CHECKING:  # so that a misspelt name is an error of every type checker

    def __getattr__(name: str) -> Any:
        """Load a public name; `MemoryStore` is used without SQLAlchemy."""
        if name not in __all__:
            raise AttributeError(f"module 'aplus_adapters.stores' has no attribute {name!r}")
        try:
            schema = import_module("aplus_adapters.stores.schema")
        except ImportError:
            raise ConfigurationError(
                f"aplus_adapters.stores.{name}: SQLAlchemy is not installed; "
                "run pip install 'aplus_adapters[sql]'"
            ) from None
        return getattr(schema, name)
