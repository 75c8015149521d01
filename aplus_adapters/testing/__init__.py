"""For a shop's own tests: a simulated Alipay+ without a network, and contract suites.

The fixtures come with pytest by themselves; docs/testing.md shows a shop's suite. The names are
loaded when they are first used. The suites for a store or an adapter of your own are in the modules
`store_contract`, `async_store_contract` and `adapter_contract`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aplus_adapters.simulator.ledger import Order, OrderState
    from aplus_adapters.testing.buyer import Buyer, NotPayable, NotStarted
    from aplus_adapters.testing.clock import VirtualClock
    from aplus_adapters.testing.deliveries import Delivery
    from aplus_adapters.testing.notifications import Notifications
    from aplus_adapters.testing.signer import AlipayPlus
    from aplus_adapters.testing.simulator import Simulator

__all__ = [
    "AlipayPlus",
    "Buyer",
    "Delivery",
    "NotPayable",
    "NotStarted",
    "Notifications",
    "Order",
    "OrderState",
    "Simulator",
    "VirtualClock",
]

if not TYPE_CHECKING:  # so that a misspelt name is an error of every type checker
    _HOME_OF = {
        "AlipayPlus": "testing.signer",
        "Buyer": "testing.buyer",
        "Delivery": "testing.deliveries",
        "NotPayable": "testing.buyer",
        "NotStarted": "testing.buyer",
        "Notifications": "testing.notifications",
        "Order": "simulator.ledger",
        "OrderState": "simulator.ledger",
        "Simulator": "testing.simulator",
        "VirtualClock": "testing.clock",
    }

    def __getattr__(name: str) -> Any:
        """Load a public name from the module that owns it."""
        if name not in _HOME_OF:
            raise AttributeError(f"module 'aplus_adapters.testing' has no attribute {name!r}")
        value = getattr(import_module(f"aplus_adapters.{_HOME_OF[name]}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        """List the public names, loaded or not."""
        return sorted({*globals(), *__all__})
