"""The picture of an order code: a QR code that scans on a light and on a dark page."""

from __future__ import annotations

from html import escape
from math import sqrt

from aplus_adapters.errors import ConfigurationError, InvalidValue

__all__ = ["render_qr_svg"]

# In smaller codes a mark of 15 % hides more of the data than level H restores.
_LEAST_VERSION = 5
_QUIET_ZONE = 4  # modules of white on each side, which ISO/IEC 18004 requires


def render_qr_svg(
    text: str, *, label: str = "QR code", mark: str | None = None, area: float = 0.15
) -> str:
    """Return `text` as a QR code: an inline `<svg>`, black on a white plate with its quiet zone.

    `label` is read by screen readers. `mark` is the address of a picture for the middle, such as
    `Brand.mark_address`; with its white plate it hides at most `area` of the code. It is embedded
    as an image, so that no script in it runs. Error correction is H with a mark and at least Q
    without (protocol, "The page with the code").

    Raises InvalidValue if the text is empty or too long for a QR code. Raises ConfigurationError if
    segno is not installed.
    """
    try:
        import segno  # noqa: PLC0415  # an extra; the web layer must import without it
    except ImportError:
        raise ConfigurationError(
            "order-code page: segno is not installed; run pip install 'aplus_adapters[page]', or "
            "implement the hook render_order_code"
        ) from None
    if not text:
        raise InvalidValue("order code: found no text, expected the text of the QR code")
    try:
        # Not make(): it returns a Micro QR code for a few digits, and wallets do not read those.
        code = segno.make_qr(text, error="h" if mark else "q")
        if mark and int(code.version) < _LEAST_VERSION:
            code = segno.make_qr(text, error="h", version=_LEAST_VERSION)
    except ValueError as error:  # segno's own errors are ValueErrors and may quote the text
        raise InvalidValue(
            f"order code: found {len(text)} characters, expected text that fits into a QR code "
            f"({type(error).__name__})"
        ) from None
    # Without `light` the plate is transparent and cannot be read on a dark page.
    svg = code.svg_inline(
        dark="#000", light="#fff", border=_QUIET_ZONE, omitsize=True, svgclass="qr", lineclass=None
    )
    picture = _draw_mark(mark, len(code.matrix), area) if mark else ""
    labelled = svg.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1)
    return labelled.removesuffix("</svg>") + picture + "</svg>"


def _draw_mark(address: str, side: int, area: float) -> str:
    """Return the SVG elements of the mark: the picture on a white plate in the middle.

    `side` is the side of the QR code in modules. The plate hides whole modules, and at most `area`
    of all of them; level H restores 30 %. Its side is odd, as that of every QR code, to be in the
    middle.
    """
    plate = int(side * sqrt(area))
    plate -= plate % 2 == 0
    start = _QUIET_ZONE + (side - plate) // 2
    inset, width = start + 0.5, plate - 1
    return (
        f'<path fill="#fff" d="M{start} {start}h{plate}v{plate}h-{plate}z"/>'
        f'<image href="{escape(address)}" x="{inset}" y="{inset}" '
        f'width="{width}" height="{width}"/>'
    )
