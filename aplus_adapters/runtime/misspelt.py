"""Guess which name was meant by one that nothing reads."""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MISSPELT", "most_like"]

MISSPELT = 0.85  # likeness of authorise or refundChanged to a hook's name; render_order has less


def most_like(wanted: str, names: Iterable[str], limit: float = MISSPELT) -> str | None:
    """Return the name that is most like `wanted`, None if none is as like as `limit` (0 to 1)."""
    likeness = {name: _likeness(wanted, name) for name in names}
    closest = max(likeness, key=lambda name: likeness[name], default=None)
    return closest if closest is not None and likeness[closest] >= limit else None


def _likeness(first: str, second: str) -> float:
    first, second = (name.lower().replace("_", "") for name in (first, second))
    return SequenceMatcher(None, first, second).ratio()
