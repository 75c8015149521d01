"""Load what the page says, choose the buyer's language, and write amounts the way buyers read them.

The folder `languages` has one file per language, named by the language's tag. It says whether a
native reader has read it, and its `texts` have every key that those of `en.json` have.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from aplus_adapters.errors import InvalidValue

if TYPE_CHECKING:
    from datetime import datetime

    from aplus_adapters.protocol.amounts import Amount
    from aplus_adapters.protocol.results import Reason

__all__ = [
    "TEXTS",
    "choose_language",
    "format_amount",
    "format_time",
    "merge_texts",
    "translate_reason",
]

# RFC 9110, 12.5.4: a language range, and a weight from 0 to 1 with at most three decimals.
_ITEM = re.compile(
    r"[ \t]*([A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8}){0,7})[ \t]*"
    r"(?:;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*)?"
)
_MAX_HEADER = 1000
# A language, its script and its region, as BCP 47 spells them.
_TAG = re.compile(r"([A-Za-z]{2,3})(?:-([A-Za-z]{4}))?(?:-([A-Za-z]{2}|[0-9]{3}))?")
# Where Chinese is written in traditional characters unless the tag says otherwise.
_TRADITIONAL = ("TW", "HK", "MO")
# Older names by which some browsers still ask for a language.
_OLDER_NAMES = {"tl": "fil", "in": "id"}
_DATE_PARTS = ("{year}", "{month}", "{day}", "{clock}")


@cache
def _languages() -> frozenset[str]:
    """Return the tags of the languages that have a file."""
    names = (file.name for file in files("aplus_adapters.web").joinpath("languages").iterdir())
    return frozenset(name.removesuffix(".json") for name in names if name.endswith(".json"))


@cache
def _load(language: str) -> Mapping[str, str]:
    """Return the texts of a language's file; none for a language that has no file."""
    if language not in _languages():
        return MappingProxyType({})
    file = files("aplus_adapters.web").joinpath("languages", f"{language}.json")
    return MappingProxyType(json.loads(file.read_text(encoding="utf-8"))["texts"])


class _Texts(Mapping[str, Mapping[str, str]]):
    """Language to text key to text; every language has every key.

    A language is read and merged when it is first asked for.
    """

    def __init__(self, own: Mapping[str, Mapping[str, str]]) -> None:
        self._own = own
        self._merged: dict[str, Mapping[str, str]] = {}

    def __getitem__(self, language: str) -> Mapping[str, str]:
        if language not in self._merged:
            if language not in self:
                raise KeyError(language)
            wider = reversed(_lookup(language))
            layers = [texts for tag in wider for texts in (_load(tag), self._own.get(tag, {}))]
            merged = {key: text for layer in (_load("en"), *layers) for key, text in layer.items()}
            self._merged[language] = MappingProxyType(merged)
        return self._merged[language]

    def __contains__(self, language: object) -> bool:
        return language in self._own or language in _languages()

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(_languages().union(self._own)))

    def __len__(self) -> int:
        return len(_languages().union(self._own))


TEXTS: Mapping[str, Mapping[str, str]] = _Texts({})
"""Our own texts by language."""


def merge_texts(own: Mapping[str, Mapping[str, str]]) -> Mapping[str, Mapping[str, str]]:
    """Return a shop's texts put over ours, by language.

    A language may be a regional one such as `pt-BR`. What it leaves out is taken from the wider one
    (`pt`), then from English. Raises InvalidValue for a key that no page shows, for what is no
    language, for one that is there twice, or for an `amount` that leaves out the currency or the
    number.
    """
    named: dict[str, Mapping[str, str]] = {}
    for language, texts in _pairs(own):
        _check_texts(language, texts)
        if (tag := _spelled(language)) in named:
            raise InvalidValue(f"texts: found {tag} twice, expected each language once; join them")
        named[tag] = MappingProxyType(dict(texts))
    return _Texts(named)


def _pairs(own: object) -> list[tuple[Any, Any]]:
    if not isinstance(own, Mapping):
        raise InvalidValue(
            f"texts: found {type(own).__name__}, expected texts by language, such as "
            '{"en": {"paid": "Thanks!"}}'
        )
    return list(own.items())


def _check_texts(language: object, texts: object) -> None:
    is_language = isinstance(language, str) and _TAG.fullmatch(language) is not None
    known = _load("en")
    keys = set(texts) if isinstance(texts, Mapping) else {"no texts"}
    unknown = sorted(map(str, keys - set(known)))
    if unknown or not is_language:
        raise InvalidValue(
            f"texts: found {language!r} with {', '.join(unknown) or 'texts'}, expected a "
            f"language such as 'fr' or 'pt-BR' with any of {', '.join(known)}"
        )
    assert isinstance(texts, Mapping)  # noqa: S101  # for the type checkers
    if strange := [key for key, text in texts.items() if not isinstance(text, str)]:
        raise InvalidValue(
            f"texts: found {type(texts[strange[0]]).__name__} for {language!r} {strange[0]}, "
            "expected text"
        )
    amount = texts.get("amount", known["amount"])
    if not all(part in amount for part in ("{currency}", "{number}")):
        raise InvalidValue(
            f"texts: found the {language!r} amount {amount!r}, expected both {{currency}} and "
            "{number} in it"
        )
    date = texts.get("date", known["date"])
    if not all(part in date for part in _DATE_PARTS):
        raise InvalidValue(
            f"texts: found the {language!r} date {date!r}, expected {', '.join(_DATE_PARTS)} in it"
        )
    digits = texts.get("grouped_from", known["grouped_from"])
    if not (digits.isascii() and digits.isdigit()):
        raise InvalidValue(
            f"texts: found {digits!r:.40} for {language!r} grouped_from, expected a number of "
            "digits such as '4'"
        )


def _spelled(language: str) -> str:
    """Return a language tag in the letters that BCP 47 recommends: zh-Hant-TW."""
    first, *others = language.split("-")
    first = _OLDER_NAMES.get(first.lower(), first)
    cased = (part.title() if len(part) == 4 else part.upper() for part in others)
    return "-".join((first.lower(), *cased))


def _lookup(tag: str) -> list[str]:
    """Return the languages that suit a tag, the closest first (RFC 4647, 3.4: lookup).

    The end is taken off bit by bit. Chinese of Taiwan, Hong Kong and Macao is tried with its script
    before that, as otherwise it would end in the other one.
    """
    parts = _spelled(tag).split("-")
    tags = []
    while parts:
        tags.append("-".join(parts))
        match parts:
            case ["zh", region] if region in _TRADITIONAL:
                tags += [f"zh-Hant-{region}", "zh-Hant"]
            case ["zh", "Hant", region]:
                tags.append(f"zh-{region}")
        parts.pop()
        if len(parts) > 1 and len(parts[-1]) == 1:  # it only introduces what was taken off
            parts.pop()
    return list(dict.fromkeys(tags))


def translate_reason(reason: Reason, texts: Mapping[str, str]) -> str:
    """Return why a payment failed, as a sentence in the language of `texts`."""
    return texts[f"because_{reason}"]


def choose_language(
    accept_language: str | None, texts: Mapping[str, Mapping[str, str]] = TEXTS
) -> str:
    """Return the language of `texts` that an Accept-Language header prefers, English otherwise.

    Takes any text; items that RFC 9110 does not allow count for nothing.

    >>> choose_language("fr;q=1, zh-Hans-CN;q=0.9, en;q=0.8")
    'zh'
    >>> choose_language("zh-TW, zh;q=0.8")
    'zh-Hant'
    """
    best, weight = "en", 0.0
    for item in (accept_language or "")[:_MAX_HEADER].split(","):
        match = _ITEM.fullmatch(item)
        quality = float(match[2] or 1) if match else 0.0
        if match is None or quality <= weight:
            continue
        language = next((tag for tag in _lookup(match[1]) if tag in texts), None)
        if language is not None:
            best, weight = language, quality
    return best


def format_amount(amount: Amount, texts: Mapping[str, str]) -> str:
    """Write an amount for a buyer: grouped digits and the currency's ISO code, never ambiguous.

    `texts` are those of the buyer's language: its `amount` says where the code stands, `thousands`
    and `decimal` how the number is written, `grouped_from` how many digits a number needs to be
    grouped. Western digits are kept in every language: they are what the wallet shows. Raises
    InvalidValue if ISO 4217 has no such currency.

    >>> from aplus_adapters.protocol.amounts import Amount
    >>> format_amount(Amount("USD", 123456), TEXTS["en"])
    'USD 1,234.56'
    >>> format_amount(Amount("JPY", 4200), TEXTS["ar"])
    '4,200 JPY'
    """
    whole, point, decimals = amount.format().partition(".")
    grouped = len(whole) >= int(texts["grouped_from"])
    number = f"{int(whole):,}".replace(",", texts["thousands"]) if grouped else whole
    number += texts["decimal"] * bool(point) + decimals
    return texts["amount"].replace("{currency}", amount.currency).replace("{number}", number)


def format_time(moment: datetime, texts: Mapping[str, str]) -> str:
    """Write an aware time for a buyer, by the clock of its own zone, with its distance from UTC.

    >>> from datetime import datetime, timedelta, timezone
    >>> tokyo = timezone(timedelta(hours=9))
    >>> format_time(datetime(2026, 11, 3, 9, 5, tzinfo=tokyo), TEXTS["en"])
    '2026-11-03 09:05 (UTC+09:00)'
    """
    values = (f"{moment:%Y}", f"{moment:%m}", f"{moment:%d}", f"{moment:%H:%M}")
    text = texts["date"]
    for part, value in zip(_DATE_PARTS, values, strict=True):
        text = text.replace(part, value)
    offset = moment.isoformat()[-6:]  # whole minutes: no zone of today has seconds
    return f"{text} (UTC{offset})"
