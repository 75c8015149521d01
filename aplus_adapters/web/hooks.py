"""The optional hooks: what a shop may render itself, and what type checkers know of all four."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Generic

from attrs import field, frozen

from aplus_adapters.errors import InvalidValue
from aplus_adapters.payments.hooks import C_contra

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from aplus_adapters.payments.hooks import AuthorizeDetails, LogIn, RefundDetails, Visitor
    from aplus_adapters.payments.model import Attempt
    from aplus_adapters.web.view import PageView

__all__ = ["AsyncOptionalHooks", "OptionalHooks", "RenderDetails", "Rendering"]


@frozen(kw_only=True)
class RenderDetails:
    """The argument of `render_order_code` and `render_receipt`: the attempt and the page's view.

    `view` is what the default page is made from.
    """

    attempt: Attempt
    view: PageView
    visitor: Visitor


@frozen(kw_only=True)
class Rendering:
    """The result of `render_order_code` or `render_receipt`: a whole response of the shop's own."""

    body: bytes
    content_type: str = "text/html; charset=utf-8"
    headers: Mapping[str, str] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        """Raise InvalidValue for what no server can send."""
        if not isinstance(self.body, bytes):
            raise InvalidValue(
                f"Rendering.body: found {type(self.body).__name__}, expected bytes; encode the page"
            )
        pairs = self.headers.items() if isinstance(self.headers, Mapping) else [(None, None)]
        words = [self.content_type, *(word for pair in pairs for word in pair)]
        if not all(isinstance(one, str) and one.isascii() and one.isprintable() for one in words):
            raise InvalidValue(
                "Rendering: found a content_type or headers that cannot be sent, expected text and "
                "a mapping of text to text, of visible ASCII characters"
            )


class OptionalHooks(Generic[C_contra]):
    """A base class for those who want their optional hooks compared by a type checker.

    Nothing has to inherit from it. At run time it has no methods, because a hook that is there is
    called. `C_contra` is the type of the connection, as for `Hooks`.
    """

    if TYPE_CHECKING:

        def authorize(self, details: AuthorizeDetails, /) -> bool | LogIn:
            """Return whether the visitor may pay the order, or see the payment."""
            return True

        def refund_changed(self, details: RefundDetails[C_contra], /) -> None:
            """Record that a refund succeeded or failed, in the store's transaction."""

        def render_order_code(self, details: RenderDetails, /) -> Rendering | None:
            """Return the page with the code, None for the default one."""
            return None

        def render_receipt(self, details: RenderDetails, /) -> Rendering | None:
            """Return the page of a payment that is paid, None for the default one."""
            return None


class AsyncOptionalHooks(Generic[C_contra]):
    """The same for a shop that is served by ASGI: each hook may be async."""

    if TYPE_CHECKING:

        def authorize(self, details: AuthorizeDetails, /) -> Awaitable[bool | LogIn] | bool | LogIn:
            """Return whether the visitor may pay the order, or see the payment."""
            return True

        def refund_changed(self, details: RefundDetails[C_contra], /) -> Awaitable[None] | None:
            """Record that a refund succeeded or failed, in the store's transaction."""
            return None

        def render_order_code(
            self, details: RenderDetails, /
        ) -> Awaitable[Rendering | None] | Rendering | None:
            """Return the page with the code, None for the default one."""
            return None

        def render_receipt(
            self, details: RenderDetails, /
        ) -> Awaitable[Rendering | None] | Rendering | None:
            """Return the page of a payment that is paid, None for the default one."""
            return None
