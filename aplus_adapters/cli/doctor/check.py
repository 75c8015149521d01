"""The result of one check."""

from __future__ import annotations

from attrs import frozen

__all__ = ["Check"]


@frozen
class Check:
    """The result of one check: `found` says what is there, `remedy` what to do if not `ok`."""

    name: str
    ok: bool
    found: str
    remedy: str = ""
