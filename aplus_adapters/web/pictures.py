"""Pictures that a shop supplies: they become addresses that hold the whole picture."""

from __future__ import annotations

from base64 import b64encode

from aplus_adapters.errors import InvalidValue

__all__ = ["picture_address"]

_MOST = 12_000  # characters; the page stays small on a phone


def picture_address(name: str, picture: object) -> str:
    """Return the `data:image/...` address of a picture: SVG markup, or such an address already.

    Used as the address of an image, no script in it runs. Raises InvalidValue, with `name` in it,
    for anything else, and for an address of more than 12,000 characters.
    """
    if not isinstance(picture, str):
        raise InvalidValue(
            f"{name}: found {type(picture).__name__}, expected SVG markup or an address that "
            "starts with data:image/"
        )
    if picture.startswith("data:image/"):
        address = picture
    elif "<svg" in picture:
        address = "data:image/svg+xml;base64," + b64encode(picture.encode()).decode()
    else:
        raise InvalidValue(
            f"{name}: found {len(picture)} characters that are no picture, expected SVG markup or "
            "an address that starts with data:image/"
        )
    if len(address) > _MOST:
        raise InvalidValue(
            f"{name}: found a picture that makes an address of {len(address)} characters, expected "
            f"at most {_MOST}; use a smaller picture, such as a plain SVG"
        )
    return address
