"""How a message class becomes JSON and back; the annotations of its fields are the rules.

    @message
    class Merchant(Message):
        reference_merchant_id: Annotated[str, Text(64)] | None = None

A field's wire name is its own in camelCase unless `Key` says otherwise. Everything is checked when
a message is made, so an illegal one cannot exist. Fields that Alipay+ may add later survive in
`extra`, in their order, and are written again.
"""

import logging
import re
import types
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import (
    Annotated,
    Any,
    ClassVar,
    Self,
    TypeVar,
    Union,
    cast,
    dataclass_transform,
    get_args,
    get_origin,
)

import attrs

from aplus_adapters.errors import InvalidValue, MessageError
from aplus_adapters.protocol import wire
from aplus_adapters.protocol.amounts import Amount
from aplus_adapters.protocol.messages.rules import (
    AlwaysTrue,
    Currency,
    Decides,
    Key,
    OneOf,
    Text,
    Unread,
    Url,
    wrong,
)
from aplus_adapters.protocol.timestamps import Timestamp

__all__ = [
    "AlwaysTrue",
    "Currency",
    "Decides",
    "Key",
    "Message",
    "OneOf",
    "Text",
    "Unread",
    "Url",
    "message",
]

log = logging.getLogger("aplus_adapters")

_T = TypeVar("_T")
# Decimal() and int() alone would also take 1_000, NaN and digits of other scripts.
_RATE = re.compile(r"[0-9]{1,30}(?:\.[0-9]{1,30})?")
# A repr ends up in logs, where nothing about a buyer belongs.
_PRIVATE = frozenset({"customer_id", "code_value", "extend_info"})
_COUNT = re.compile(r"[0-9]{1,18}")
_NO_KEYS: frozenset[str] = frozenset()


class _Undecided(MessageError):
    """A field that decides cannot be read: nothing of the whole message is believed."""


@attrs.frozen(eq=False)
class Codec:
    """What one field is on the wire: `to_json` writes its value, `check` raises InvalidValue."""

    name: str
    key: str
    label: str  # in errors
    required: bool
    insisted: bool  # an unreadable value is an error, however lenient the reader
    decides: bool  # likewise, and also for the whole message around it
    instead: Unread | None  # what is read in its place
    check: Callable[[str, object], None]
    to_json: Callable[[Any], str]
    from_wire: Callable[[Any, bool], Any]


@attrs.frozen(kw_only=True, repr=False)
class Message:
    """Base of every message and of every object inside one.

    `extra` holds the fields that this version of the library does not know, as they were received
    (numbers as their digits), and is written after the known ones.
    """

    codecs: ClassVar[tuple[Codec, ...]] = ()
    writers: ClassVar[tuple[tuple[str, str, Callable[[Any], str]], ...]] = ()
    personal: ClassVar[bool] = False  # the repr of such a message shows none of its values

    extra: Mapping[str, Any] = attrs.field(factory=dict, hash=False)

    def __repr__(self) -> str:
        present = (codec.name for codec in self.codecs if getattr(self, codec.name) is not None)
        shown = (
            name if self.personal or name in _PRIVATE else f"{name}={getattr(self, name)!r}"
            for name in present
        )
        return f"{type(self).__name__}({', '.join(shown)})"

    def to_json(self) -> str:
        """Return the JSON text: every scalar a string, absent fields left out, `extra` last.

        Raises InvalidValue if `extra` names a field again or holds what JSON cannot.
        """
        parts = []
        for name, label, to_json in self.writers:
            value = getattr(self, name)
            # No truth test, which would drop False.
            if value is not None:
                parts.append(label + to_json(value))
        if self.extra:
            parts.append(self._extra_to_json())
        return "{" + ",".join(parts) + "}"

    def _extra_to_json(self) -> str:
        for codec in self.codecs:
            if codec.key in self.extra and getattr(self, codec.name) is not None:
                raise InvalidValue(
                    f"{type(self).__name__}.extra: found {codec.key} again, expected only fields "
                    f"that the class does not have; set {codec.name} instead"
                )
        return wire.text_of(dict(self.extra))[1:-1]

    def encode(self) -> bytes:
        """Return the exact bytes of the message that are signed and sent."""
        return wire.encoded(self.to_json())

    def to_wire(self) -> dict[str, Any]:
        """Return the JSON object as Python dictionaries, lists and strings."""
        return wire.loads(self.encode())

    @classmethod
    def from_wire(cls, found: object, strict: bool = False) -> Self:
        """Read a JSON object.

        An optional field that cannot be read is kept in `extra`, so that a malformed detail never
        hides that a payment succeeded; one that is there twice is left out. Raises MessageError for
        a required field and for one that decides, and with `strict` for any field, that cannot be
        read.
        """
        if not isinstance(found, dict):
            raise MessageError(
                f"{cls.__name__}: found {type(found).__name__}, expected a JSON object"
            )
        values: dict[str, Any] = {}
        extra = dict(found)
        twice = found.keys_twice if isinstance(found, wire.Ambiguous) else _NO_KEYS
        for codec in cls.codecs:
            raw = extra.get(codec.key)
            # To Alipay+ a null is an absent field.
            if raw is None and codec.key not in twice:
                if codec.required:
                    raise MessageError(f"{cls.__name__}: {codec.key} is missing, it is required")
                extra.pop(codec.key, None)
                continue
            try:
                if twice or codec.insisted:
                    _check_unambiguous(codec, raw, twice)
                value = codec.from_wire(raw, strict)
                codec.check(codec.label, value)
            except (InvalidValue, MessageError) as error:
                is_undecided = codec.decides or isinstance(error, _Undecided)
                if strict or ((codec.insisted or is_undecided) and codec.instead is None):
                    kind = _Undecided if is_undecided else MessageError
                    raise kind(f"{codec.label}: {error}") from None
                log.warning(
                    "%s is not read: %s", codec.label, error, extra={"event": "field_unread"}
                )
                if codec.instead is not None:
                    values[codec.name] = codec.instead.value
                if codec.instead or codec.key in twice or isinstance(raw, wire.Ambiguous):
                    del extra[codec.key]  # who wrote and read it again would believe the last one
                continue
            values[codec.name] = value
            del extra[codec.key]
        return cls(**values, extra=extra)

    @classmethod
    def stand_in(cls, found: object, error: MessageError) -> Self | None:
        """Return what stands in a list for an entry that cannot be read; None leaves it out.

        By default the error is the whole message's if a field that decides cannot be read.
        """
        _ = found
        if isinstance(error, _Undecided):
            raise error
        return None

    @classmethod
    def decode(cls, body: bytes, strict: bool = False) -> Self:
        """Read the bytes of a received message; raises MessageError, nothing else."""
        try:
            return cls.from_wire(wire.loads(body) if strict else wire.read(body), strict)
        except (InvalidValue, _Undecided) as error:  # InvalidValue: a rule that spans fields
            raise MessageError(str(error)) from None


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(attrs.field,))
def message(cls: type[_T]) -> type[_T]:
    """Make a frozen, keyword-only message class whose field types are its wire rules."""
    decorated = attrs.frozen(cls, kw_only=True, repr=False, field_transformer=_with_validators)
    # attrs.fields() is typed for classes that it decorated visibly; every one here is a Message.
    fields = attrs.fields(cast("type[Any]", decorated))
    codecs = tuple(item.metadata["codec"] for item in fields if item.metadata)
    writers = tuple((codec.name, f'"{codec.key}":', codec.to_json) for codec in codecs)
    setattr(decorated, "codecs", codecs)  # noqa: B010  # a type variable has no such attribute
    setattr(decorated, "writers", writers)  # noqa: B010  # likewise
    return decorated


def _check_unambiguous(codec: Codec, raw: object, twice: frozenset[str]) -> None:
    """Raise MessageError for a repeated key, also inside a field that decides."""
    if codec.key in twice or (codec.insisted and isinstance(raw, wire.Ambiguous)):
        raise MessageError("found a key twice, expected it once")


def _with_validators(
    cls: type[Any], fields: list["attrs.Attribute[Any]"]
) -> list["attrs.Attribute[Any]"]:
    out = []
    for attribute in fields:
        if attribute.name == "extra":
            out.append(attribute)
            continue
        codec = _codec(cls.__name__, attribute.name, attribute.type, attribute.default)
        out.append(
            attribute.evolve(
                validator=_validator(codec),
                metadata={"codec": codec},
            )
        )
    return out


def _validator(codec: Codec) -> Callable[[Any, Any, Any], None]:
    check, label = codec.check, codec.label

    def validate(_instance: object, _attribute: object, value: object) -> None:
        if value is not None:
            check(label, value)
        elif codec.required:
            raise InvalidValue(f"{label}: found None, expected a value; it is required")

    return validate


def _codec(owner: str, name: str, annotation: Any, default: Any) -> Codec:
    rules: list[Any] = []
    while (origin := get_origin(annotation)) in (Annotated, Union, types.UnionType):
        if origin is Annotated:
            rules.extend(annotation.__metadata__)
            annotation = annotation.__origin__
        else:
            annotation = next(arg for arg in get_args(annotation) if arg is not types.NoneType)
    head, *rest = name.split("_")
    key = head + "".join(part.capitalize() for part in rest)
    check: Callable[[str, object], None] | None = None
    # Beside a default the unreadable value could not be kept in `extra` and be written again.
    insisted, decides, instead = default is not None, False, None
    for rule in rules:
        if isinstance(rule, Key):
            key = rule.name
        elif isinstance(rule, Unread):
            instead = rule
        elif isinstance(rule, Decides):
            insisted = decides = True
        else:
            check = rule.check
    kind_check, to_json, from_wire = _kind(annotation)
    required = default is attrs.NOTHING
    check = check or kind_check
    label = f"{owner}.{key}"
    return Codec(name, key, label, required, insisted, decides, instead, check, to_json, from_wire)


def _kind(
    annotation: Any,
) -> tuple[Callable[[str, object], None], Callable[[Any], str], Callable[[Any, bool], Any]]:
    if get_origin(annotation) is tuple:
        item, _ellipsis = get_args(annotation)
        return (
            _many(item),
            lambda children: "[" + ",".join([child.to_json() for child in children]) + "]",
            lambda raw, strict: tuple(_items(item, _array(raw), strict)),
        )
    if annotation in _SCALARS:
        to_json, from_wire = _SCALARS[annotation]
        return _instance(annotation), to_json, from_wire
    return _instance(annotation), annotation.to_json, annotation.from_wire


def _instance(kind: type[Any]) -> Callable[[str, object], None]:
    def check(name: str, value: object) -> None:
        # To Python True is an int.
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise wrong(name, type(value).__name__, kind.__name__)
        # Alipay+ takes an empty string for an error; what is absent is left out.
        if kind is str and not value:
            raise wrong(name, "an empty string", "text, or the field left out (None)")

    return check


def _many(kind: type[Any]) -> Callable[[str, object], None]:
    def check(name: str, value: object) -> None:
        if not isinstance(value, tuple) or not all(isinstance(item, kind) for item in value):
            raise wrong(name, type(value).__name__, f"a tuple of {kind.__name__}")

    return check


def _items(kind: type[Any], raw: list[Any], strict: bool) -> Iterator[Any]:
    """Read the entries; unless `strict`, leave out an entry that cannot be read."""
    for child in raw:
        if child is None:  # to Alipay+ the same as nothing
            continue
        try:
            yield kind.from_wire(child, strict)
        except MessageError as error:
            if strict:
                raise
            instead = kind.stand_in(child, error)
            # One odd detail must not cost the whole code, for which a buyer waits.
            log.warning("an entry is left out: %s", error, extra={"event": "entry_left_out"})
            if instead is not None:
                yield instead


def _array(raw: object) -> list[Any]:
    if not isinstance(raw, list):
        raise MessageError(f"found {type(raw).__name__}, expected a JSON array")
    return raw


def _text(raw: object, _strict: bool) -> str:
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if not isinstance(raw, str):
        raise MessageError(f"found {type(raw).__name__}, expected a string")
    return raw


def _amount(raw: object, _strict: bool) -> Amount:
    if isinstance(raw, wire.Ambiguous):
        raise MessageError("found a key twice in an amount, expected it once")
    return Amount.from_wire(raw)


def _boolean(raw: object, strict: bool) -> bool:
    word = _text(raw, strict)
    if word not in ("true", "false"):
        raise MessageError(f"found {word[:40]!r}, expected true or false")
    return word == "true"


def _rate(raw: object, strict: bool) -> Decimal:
    digits = _text(raw, strict)
    if _RATE.fullmatch(digits) is None:
        raise MessageError(f"found {digits[:40]!r}, expected a decimal such as 150.53")
    return Decimal(digits)  # never through float, as rates are exact


def _count(raw: object, strict: bool) -> int:
    digits = _text(raw, strict)
    if _COUNT.fullmatch(digits) is None:
        raise MessageError(f"found {digits[:40]!r}, expected a whole number")
    return int(digits)


_SCALARS: dict[type[Any], tuple[Callable[[Any], str], Callable[[Any, bool], Any]]] = {
    str: (wire.quoted, _text),
    # In the protocol every scalar is a JSON string, booleans and numbers as well.
    bool: (lambda value: '"true"' if value else '"false"', _boolean),
    int: (lambda value: f'"{value:d}"', _count),
    Decimal: (lambda value: f'"{value:f}"', _rate),
    Amount: (
        lambda value: f'{{"currency":"{value.currency}","value":"{value.value:d}"}}',
        _amount,
    ),
    Timestamp: (
        lambda value: wire.quoted(value.text),
        lambda raw, strict: Timestamp(_text(raw, strict)),
    ),
}
