"""The payment button for the shop's own pages: one form, one button, the brand beside its words."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aplus_adapters.errors import InvalidValue
from aplus_adapters.payments.order_checks import check_order_ref
from aplus_adapters.web.routing import NOTIFY_PATH
from aplus_adapters.web.texts import choose_language

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aplus_adapters.web.page import PageDesign

__all__ = ["pay_path", "payment_button"]


class _Html(str):
    """Text that is HTML already: Jinja2, Django and MarkupSafe insert it as it is."""

    __slots__ = ()

    def __html__(self) -> str:
        """Return the HTML."""
        return str(self)


def pay_path(notify_url: str) -> str:
    """Return the path of the route that starts a payment, next to that of the notifications.

    Raises InvalidValue if the notify URL does not show where the routes are mounted.
    """
    path = urlsplit(notify_url).path
    if not path.endswith(NOTIFY_PATH):
        raise InvalidValue(
            f"payment_button: found the notify URL's path {path[:200]!r}, which does not end with "
            f"{NOTIFY_PATH}; pass action=, the address of the route /pay"
        )
    return path.removesuffix(NOTIFY_PATH) + "/pay"


def payment_button(
    order_ref: str,
    *,
    action: str,
    accept_language: str | None,
    design: PageDesign,
    fields: Mapping[str, str],
) -> str:
    """Return the form that pays an order, as HTML in the language that the buyer prefers.

    It needs no script and no inline style. `action` is the address of the route that starts a
    payment. Raises InvalidValue for an `order_ref` that this route would refuse.
    """
    check_order_ref("payment_button order_ref", order_ref)
    language = choose_language(accept_language, design.all_texts)
    texts, brand = design.all_texts[language], design.brand
    hidden = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
        for name, value in {**fields, "order_ref": order_ref}.items()
    )
    mark = brand.mark_address
    icon = f'<img src="{escape(mark)}" alt="" width="24" height="24">' if mark else ""
    names = ", ".join(wallet.name for wallet in brand.accepted)
    wallets = (
        f'<span class="aplus-wallets">{escape(texts["wallets"])}: {escape(names)}</span>'
        if names
        else ""
    )
    return _Html(
        f'<form class="aplus-pay" method="post" action="{escape(action)}" lang="{language}">'
        f'{hidden}<button class="aplus-button">{icon}<span>{escape(texts["pay"])}</span></button>'
        f"{wallets}</form>"
    )
