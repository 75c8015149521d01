"""The brand of Alipay+ on the page: the mark in the code, the words beside it, the wallets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import field, frozen

from aplus_adapters.errors import ConfigurationError, InvalidValue
from aplus_adapters.web.pictures import picture_address

__all__ = ["Brand", "Wallet"]

_MOST_AREA = 0.15  # of the code, which error correction H still restores
_MOST_WORDS = 40  # characters
_MOST_WALLETS = 30


@frozen
class Wallet:
    """One accepted wallet: its name, and the address of its picture (None: the name is shown)."""

    name: str
    picture: str | None = field(default=None, repr=False)


@frozen(kw_only=True)
class Brand:
    """What Alipay+ wants to be shown with an order code, for `PageDesign(brand=...)`.

    `mark` is the plus icon, which belongs in the middle of the code. It is licensed: take the file
    from your contract with Alipay+. It is SVG markup or an address that starts with data:image/,
    of a square picture. `area` is the share of the code that the mark may hide, at most 0.15; the
    code is made with error correction H, so that it still scans. `words` stand beside the code.
    `wallets` are the accepted wallets: names, or a mapping of each name to its picture (or None).

    Raises ConfigurationError for a picture that is none, an `area` outside 0.02 to 0.15, and words
    or names that are empty or too long. Source: protocol, "The page with the code".

    >>> Brand(wallets=["AlipayHK", "Kakao Pay"]).accepted[1].name
    'Kakao Pay'
    """

    mark: str | None = field(default=None, repr=False)
    words: str = "Alipay+ Partner"
    wallets: Iterable[str] | Mapping[str, str | None] = ()
    area: float = _MOST_AREA
    mark_address: str | None = field(init=False, repr=False, eq=False)
    accepted: tuple[Wallet, ...] = field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        """Raise ConfigurationError here for what the page could not show."""
        try:
            address = None if self.mark is None else picture_address("mark", self.mark)
            accepted = _accepted(self.wallets)
        except InvalidValue as error:
            raise ConfigurationError(f"Brand {error}") from None
        if not _is_text(self.words):
            raise ConfigurationError(
                f"Brand words: found {self.words!r:.60}, expected text of 1 to {_MOST_WORDS} "
                "characters, such as 'Alipay+ Partner'"
            )
        if not (isinstance(self.area, int | float) and 0.02 <= self.area <= _MOST_AREA):
            raise ConfigurationError(
                f"Brand area: found {self.area!r:.40}, expected 0.02 to {_MOST_AREA}: with a "
                "larger mark the code may not scan"
            )
        object.__setattr__(self, "mark_address", address)
        object.__setattr__(self, "accepted", accepted)


def _accepted(wallets: object) -> tuple[Wallet, ...]:
    """Return the wallets as values; InvalidValue for what names none."""
    if isinstance(wallets, str) or not isinstance(wallets, Iterable):
        raise InvalidValue(
            f"wallets: found {type(wallets).__name__}, expected names, such as "
            "['AlipayHK', 'Kakao Pay'], or a mapping of names to pictures"
        )
    pictures = wallets if isinstance(wallets, Mapping) else dict.fromkeys(wallets)
    if strange := [name for name in pictures if not _is_text(name)]:
        raise InvalidValue(
            f"wallets: found the name {strange[0]!r:.60}, expected text of 1 to {_MOST_WORDS} "
            "characters"
        )
    if len(pictures) > _MOST_WALLETS:
        raise InvalidValue(f"wallets: found {len(pictures)}, expected at most {_MOST_WALLETS}")
    return tuple(
        Wallet(
            name,
            None if picture is None else picture_address(f"wallets: picture of {name}", picture),
        )
        for name, picture in pictures.items()
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 1 <= len(value.strip()) <= _MOST_WORDS
