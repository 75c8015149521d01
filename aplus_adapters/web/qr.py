"""The picture of an order code: a QR code that scans on a light and on a dark page."""

from __future__ import annotations

from base64 import b64encode
from html import escape

from aplus_adapters.errors import ConfigurationError, InvalidValue

__all__ = ["check_logo", "render_qr_svg"]

_QUIET_ZONE = 4  # modules of white on each side, which ISO/IEC 18004 requires


def render_qr_svg(text: str, *, label: str = "QR code", logo: str | None = None) -> str:
    """Return `text` as a QR code: an inline `<svg>`, black on a white plate with its quiet zone.

    `label` is read by screen readers. `logo` is a picture for the middle: SVG markup or a
    `data:image/...` address. It is embedded as an image, so that no script in it runs. Error
    correction is H with a logo and at least Q without (protocol, "The page with the code").

    Raises InvalidValue if the text is empty or too long for a QR code, or if the logo is neither
    SVG nor such an address. Raises ConfigurationError if segno is not installed.
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
    picture = _draw_logo(logo, len(code.matrix)) if logo else ""
    labelled = svg.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1)
    return labelled.removesuffix("</svg>") + picture + "</svg>"


def check_logo(logo: str) -> None:
    """Raise InvalidValue if `logo` is neither SVG markup nor an address of an image."""
    _image_address(logo)


def _draw_logo(logo: str, side: int) -> str:
    """Return the SVG elements of the logo: the picture on a white plate in the middle.

    `side` is the side of the QR code in modules. A plate of a fifth of it hides 4 % of the code;
    level H restores 30 %. The size is odd, as that of every QR code, to fit whole modules.
    """
    plate = side // 5 | 1
    start = _QUIET_ZONE + (side - plate) // 2
    inset, width = start + 0.5, plate - 1
    return (
        f'<path fill="#fff" d="M{start} {start}h{plate}v{plate}h-{plate}z"/>'
        f'<image href="{escape(_image_address(logo))}" x="{inset}" y="{inset}" '
        f'width="{width}" height="{width}"/>'
    )


def _image_address(logo: str) -> str:
    if logo.startswith("data:image/"):
        return logo
    if "<svg" not in logo:
        raise InvalidValue(
            f"logo: found {len(logo)} characters that are no picture, expected SVG markup or an "
            "address that starts with data:image/"
        )
    return "data:image/svg+xml;base64," + b64encode(logo.encode()).decode()
