"""Find out why a signature does not match: try what is known to go wrong, alone and in pairs.

Nothing is guessed. A cause is named only if the signature matches once it is undone.
"""

from __future__ import annotations

from itertools import chain, combinations, product
from typing import TYPE_CHECKING, Any

from attrs import frozen

from aplus_adapters.cli.verify.bodies import body_variants, reordered_bodies
from aplus_adapters.cli.verify.header_values import HeaderValue, read_values
from aplus_adapters.cli.verify.places import LAYOUTS, client_id_variants, path_variants
from aplus_adapters.cli.verify.seals import Seal, open_seal, signed_with_pss
from aplus_adapters.cli.verify.times import likely_times, near_times
from aplus_adapters.cli.verify.values import (
    Cause,
    Diagnosis,
    NamedKey,
    Owner,
    Question,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["diagnose"]

_MOST_HASHED = 300_000_000  # bytes: about a second
_MOST_PAIRED = 800  # the likely ones of each kind, which are tried in pairs


@frozen(kw_only=True)
class _Opened:
    """A reading of the header, the key that made the signature, and what the signature holds."""

    value: HeaderValue
    key: NamedKey
    seal: Seal


@frozen(kw_only=True)
class _Match:
    """Content that was signed, and in what it differs from what should have been."""

    content: bytes
    path: str
    client_id: str
    causes: tuple[Cause, ...]


def diagnose(question: Question) -> Diagnosis:
    """Return whether the signature matches; if not, why, as far as it can be established."""
    faults = tuple(_faults(question))
    if not question.signature:
        text = "there is no Signature header"
        remedy = (
            "what is not signed proves nothing; Alipay+ leaves it out where it cannot accept ours"
        )
        unsigned = Cause(code="unsigned", text=text, remedy=remedy)
        return Diagnosis(matches=False, faults=(*faults, unsigned))
    values = list(read_values(question.signature))
    # The key that should have signed comes first, where one key was given as two.
    keys = sorted(question.keys, key=lambda key: not question.is_expected(key))
    for value, key in product(values, keys):
        seal = open_seal(key.key, value.signature)
        if seal is not None:
            return _explain(question, _Opened(value=value, key=key, seal=seal), faults)
    return _explain_unopened(question, values, faults)


def _explain(question: Question, opened: _Opened, faults: tuple[Cause, ...]) -> Diagnosis:
    causes = (
        *opened.value.causes,
        *_of_key(question, opened.key),
        *_of_own_version(question, opened),
        *opened.seal.causes,
    )
    match = _search(question, opened.seal)
    remarks = (*opened.value.remarks, *_of_their_version(question, opened))
    if match is not None:
        causes = (*causes, *match.causes, *_of_client(question, match))
        return Diagnosis(
            matches=not causes and not faults,
            key=opened.key,
            hash_name=opened.seal.hash_name,
            causes=causes,
            faults=faults,
            remarks=remarks,
            content=match.content,
            path=match.path,
        )
    facts = [f"{opened.key} made the signature, so key and Signature header are whole"]
    facts += [cause.text for cause in causes]
    facts.append(
        f"it covers other content than this capture gives: path, client id, time or body differ "
        f"(signed was content with the {opened.seal.hash_name} {opened.seal.digest.hex()})"
    )
    return Diagnosis(
        matches=False,
        key=opened.key,
        hash_name=opened.seal.hash_name,
        faults=faults,
        facts=(*facts, *question.hints),
        remarks=remarks,
    )


def _explain_unopened(
    question: Question, values: list[HeaderValue], faults: tuple[Cause, ...]
) -> Diagnosis:
    """Return what is established where none of the keys made the signature in the usual way."""
    content = LAYOUTS[0].write(
        question.paths[0].encode(),
        question.client_id.encode(),
        question.time.encode(),
        question.body,
    )
    for value, key in product(values, question.keys):
        cause = signed_with_pss(key.key, value.signature, content)
        if cause is not None:
            return Diagnosis(
                matches=False,
                key=key,
                hash_name="sha256",
                causes=(*value.causes, *_of_key(question, key), cause),
                faults=faults,
                content=content,
                path=question.paths[0],
            )
    facts = []
    if not values:
        facts.append("the Signature header holds no base64 in any spelling that is known")
    for value in values[:1]:
        bits = len(value.signature) * 8
        shape = (
            "" if bits in (2048, 3072, 4096) else ", which is no key's size: it was cut or changed"
        )
        facts.append(f"the signature has {bits} bits{shape}")
    names = ", ".join(map(str, question.keys)) or "no key, as none was given"
    facts.append(f"none of these keys made it: {names}")
    facts.append(
        "so another key signed (rotated, or another environment's), or the value was damaged; "
        "give more keys by --other-key NAME=FILE"
    )
    return Diagnosis(matches=False, faults=faults, facts=(*facts, *question.hints))


def _search(question: Question, seal: Seal) -> _Match | None:
    """Return the content that the signature covers: with the fewest causes, None if not found."""
    paths = path_variants(question.kind, question.paths, question.other_paths)
    count = len(question.paths)  # the first ones are right, each
    clients = client_id_variants(question.client_id, question.other_client_ids)
    times = likely_times(question.time, question.other_times)
    bodies = body_variants(question.body)
    right = (paths[:count], clients[:1], times[:1], bodies[:1], LAYOUTS[:1])
    wrong = (paths[count:], clients[1:], times[1:], bodies[1:], LAYOUTS[1:])
    path, client, time, body, layout = (kinds[0] for kinds in right)
    attempts = chain(
        _by_causes(right, wrong, (0, 1)),
        ((path, client, time, other, layout) for other in reordered_bodies(question.body)),
        ((path, client, other, body, layout) for other in near_times(question.time)),
        _by_causes(right, wrong, (2,)),
    )
    left = _MOST_HASHED
    for parts in attempts:
        match = _try(parts, seal)
        left -= len(parts[3].value) + 200
        if match is not None or left < 0:
            return match
    return None


def _by_causes(
    right: tuple[Sequence[Any], ...], wrong: tuple[Sequence[Any], ...], numbers: tuple[int, ...]
) -> Iterator[tuple[Any, ...]]:
    """Yield the combinations with so many things wrong."""
    places = range(len(right))
    for number in numbers:
        most = _MOST_PAIRED if number == 2 else None
        for chosen in combinations(places, number):
            yield from product(*(wrong[i][:most] if i in chosen else right[i] for i in places))


def _try(parts: tuple[Any, ...], seal: Seal) -> _Match | None:
    path, client, time, body, layout = parts
    content = layout.write(path.value, client.value, time.value, body.value)
    if not seal.covers(content):
        return None
    causes = tuple(part.cause for part in parts if part.cause is not None)
    return _Match(
        content=content,
        path=path.value.decode(),
        client_id=client.value.decode(),
        causes=causes,
    )


def _of_key(question: Question, key: NamedKey) -> Iterator[Cause]:
    """Yield the cause if another key signed than should have."""
    if question.is_expected(key):
        return
    wanted = [str(other) for other in question.keys if question.is_expected(other)]
    expected = f"expected {' or '.join(wanted) or 'another, which was not given'}"
    text = f"{key} made it, {expected}"
    if key.owner is Owner.OTHER:
        remedy = (
            "sandbox and production have their own keys, and keys are rotated: "
            + ("sign with" if question.kind.is_ours else "set APLUS_PUBLIC_KEY to")
            + " the key of this environment that is valid now"
        )
        yield Cause(code="other_key", text=text, remedy=remedy)
        return
    remedy = "our private key signs our requests and acknowledgements, Alipay+'s key the others"
    yield Cause(code="swapped_keys", text=text, remedy=remedy)


def _of_client(question: Question, match: _Match) -> Iterator[Cause]:
    """Yield the cause if all is right, but for another client than that of the settings."""
    own = question.own_client_id
    if own and match.client_id == question.client_id != own:
        yield Cause(
            code="client_id",
            text=f"the message is for client id {match.client_id!r}, the settings say {own!r}",
            remedy="use the settings of the same environment for keys, client id and gateway",
        )


def _faults(question: Question) -> Iterator[Cause]:
    """Yield what is wrong whatever the signature is: the given keys, a missing time."""
    if question.signature and not question.time:
        name = question.kind.time_header
        text = f"there is no {name} header, whose text is signed"
        yield Cause(code="no_time", text=text, remedy=f"send {name} with the signed text")
    if question.kind.is_ours:
        return
    ours = {key.key.fingerprint for key in question.keys if key.owner is Owner.OURS}
    for key in question.keys:
        if key.owner is Owner.THEIRS and key.key.fingerprint in ours:
            yield Cause(
                code="own_key_as_theirs",
                text=f"the key given as Alipay+'s is our own public key ({key.key.fingerprint}): "
                "no message of Alipay+'s can match it",
                remedy="download Alipay+'s public key from the developer center",
            )


def _of_own_version(question: Question, opened: _Opened) -> Iterator[Cause]:
    """Yield the cause if our message names another keyVersion than the settings.

    Alipay+ looks our key up by it, and answers KEY_NOT_FOUND.
    """
    version, own = opened.value.key_version, question.key_version
    is_ours = question.kind.is_ours and opened.key.owner is Owner.OURS
    if is_ours and own is not None and version not in (None, own):
        text = f"the Signature header says keyVersion {version!r}, the settings say {own!r}"
        remedy = "set APLUS_KEY_VERSION to the version that the developer center shows for our key"
        yield Cause(code="key_version", text=text, remedy=remedy)


def _of_their_version(question: Question, opened: _Opened) -> Iterator[str]:
    """Yield a remark if Alipay+'s keyVersion names another key than the one that signed."""
    version, key = opened.value.key_version, opened.key
    if key.owner is not Owner.THEIRS or version in (None, key.name):
        return
    known = [other.name for other in question.keys if other.owner is Owner.THEIRS]
    what = "another key" if version in known else "none of the keys that were given"
    yield (
        f"keyVersion {version!r} names {what}, and {key.name!r} signed; this library accepts it, a "
        "program that chooses the key by its version does not"
    )
