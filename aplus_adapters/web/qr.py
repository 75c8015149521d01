"""The order code as a QR picture that scans on any page, light or dark."""

from __future__ import annotations

from aplus_adapters.errors import ConfigurationError

__all__ = ["render_qr_svg"]


def render_qr_svg(text: str) -> str:
    """Give an inline SVG of the QR code of `text`: black on a white plate, with its quiet zone.

    Error correction is Q at least (protocol, "The page with the code"). Raises ConfigurationError
    if segno is not installed.
    """
    try:
        import segno  # noqa: PLC0415  # an extra; importing the web layer must not need it
    except ImportError:
        raise ConfigurationError(
            "order-code page: segno is not installed; run pip install 'aplus_adapters[page]', or "
            "implement the hook render_order_code"
        ) from None
    # Never make(): it gives a Micro QR for short digits, which wallets do not read. Without
    # `light` the plate is transparent and cannot be read on a dark page.
    code = segno.make_qr(text, error="q")
    return code.svg_inline(
        dark="#000", light="#fff", border=4, omitsize=True, svgclass="qr", lineclass=None, unit=None
    )
