"""Draw the order code as a QR picture that scans on a light or dark page."""

from __future__ import annotations

from base64 import b64encode
from html import escape

from aplus_adapters.errors import ConfigurationError, InvalidValue

__all__ = ["check_logo", "render_qr_svg"]

_QUIET_ZONE = 4  # modules, as ISO/IEC 18004 asks


def render_qr_svg(text: str, *, label: str = "QR code", logo: str | None = None) -> str:
    """Draw `text` as a QR code: one inline `<svg>`, black on a white plate, quiet zone included.

    `label` is what a screen reader says. `logo` is a picture for the middle, either SVG markup or a
    `data:image/...` address; it is embedded as a picture, so that nothing in it can run. Error
    correction is H with a logo and at least Q without (protocol, "The page with the code").

    Raises InvalidValue if the text is empty or too long for a QR code, or if the logo is neither;
    ConfigurationError if segno is not installed.
    """
    try:
        import segno  # noqa: PLC0415  # an extra; importing the web layer must not need it
    except ImportError:
        raise ConfigurationError(
            "order-code page: segno is not installed; run pip install 'aplus_adapters[page]', or "
            "implement the hook render_order_code"
        ) from None
    if not text:
        raise InvalidValue("order code: found no text, expected what the QR code shall say")
    try:
        # Never make(): it returns a Micro QR for short digits, which wallets do not read.
        code = segno.make_qr(text, error="h" if logo else "q")
    except ValueError as error:  # segno's own errors are ValueErrors and may quote the text
        raise InvalidValue(
            f"order code: found {len(text)} characters, expected text that fits into a QR code "
            f"({type(error).__name__})"
        ) from None
    # Without `light` the plate is transparent and cannot be read on a dark page.
    svg = code.svg_inline(
        dark="#000", light="#fff", border=_QUIET_ZONE, omitsize=True, svgclass="qr", lineclass=None
    )
    picture = _logo(logo, len(code.matrix)) if logo else ""
    named = svg.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1)
    return named.removesuffix("</svg>") + picture + "</svg>"


def check_logo(logo: str) -> None:
    """Raise InvalidValue unless `logo` can be put into a code."""
    _address(logo)


def _logo(logo: str, side: int) -> str:
    """Return the elements that put the picture on a white plate in the middle.

    `side` is the symbol's in modules. A fifth of it hides 4 % of the symbol, far within the 30 %
    that level H restores; the odd size keeps the plate on the grid.
    """
    plate = side // 5 | 1
    start = _QUIET_ZONE + (side - plate) // 2
    inset, width = start + 0.5, plate - 1
    return (
        f'<path fill="#fff" d="M{start} {start}h{plate}v{plate}h-{plate}z"/>'
        f'<image href="{escape(_address(logo))}" x="{inset}" y="{inset}" '
        f'width="{width}" height="{width}"/>'
    )


def _address(logo: str) -> str:
    if logo.startswith("data:image/"):
        return logo
    if "<svg" not in logo:
        raise InvalidValue(
            f"logo: found {len(logo)} characters that are neither, expected SVG markup or an "
            "address that starts with data:image/"
        )
    return "data:image/svg+xml;base64," + b64encode(logo.encode()).decode()
