"""The command `aplus verify`: its options, and what it reads."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aplus_adapters.cli.files import load_public_key
from aplus_adapters.cli.options import echo_json, examples
from aplus_adapters.cli.verify.question import Known, ask, guess_kind
from aplus_adapters.cli.verify.reading import read_captured
from aplus_adapters.cli.verify.report import as_json, echo
from aplus_adapters.cli.verify.search import diagnose
from aplus_adapters.cli.verify.values import Kind, NamedKey, Owner
from aplus_adapters.errors import AplusError
from aplus_adapters.runtime.settings import read_keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aplus_adapters.cli.verify.values import Captured, Diagnosis

__all__ = ["verify"]

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command(
    epilog=examples(
        "aplus verify capture.har --entry 3",
        "pbpaste | aplus verify -",
        "aplus verify --headers headers.txt --body body.json --kind notification",
        exits="0 the signature matches, 1 it does not",
    )
)
@click.argument("file", required=False, type=click.Path(path_type=Path, allow_dash=True))
@click.option("--headers", type=_FILE, help="A file of headers, in place of FILE; with --body.")
@click.option("--body", type=_FILE, help="The body, byte for byte; with --headers.")
@click.option("--entry", type=int, help="Which entry of a HAR file, counted from 1.")
@click.option("--kind", type=click.Choice([str(kind) for kind in Kind]), help="Guessed by default.")
@click.option("--path", help="The path that has to be signed, such as /aplus/notify.")
@click.option("--try-path", multiple=True, help="Another path that may have been signed.")
@click.option("--client-id", help="Ours; by default APLUS_CLIENT_ID, else the header's.")
@click.option("--try-client-id", multiple=True, help="Another client id that may be signed.")
@click.option("--our-key", type=_FILE, help="Ours, private or public; else APLUS_PRIVATE_KEY.")
@click.option("--alipayplus-key", type=_FILE, help="Alipay+'s; else APLUS_PUBLIC_KEY.")
@click.option("--other-key", multiple=True, metavar="NAME=FILE", help="A key to recognise.")
@click.option("--show-body", is_flag=True, help="Print the body of the signed content, too.")
@click.option("--json", "as_lines", is_flag=True, help="Print one JSON line for each message.")
def verify(
    *,
    file: Path | None,
    headers: Path | None,
    body: Path | None,
    entry: int | None,
    kind: str | None,
    path: str | None,
    try_path: tuple[str, ...],
    client_id: str | None,
    try_client_id: tuple[str, ...],
    our_key: Path | None,
    alipayplus_key: Path | None,
    other_key: tuple[str, ...],
    show_body: bool,
    as_lines: bool,
) -> None:
    """Check whether a captured message's signature matches, and explain why it does not.

    FILE holds a HAR, a curl command line or one raw HTTP message; - reads it from the input. Keys,
    client id and notify URL come from the APLUS_* variables unless an option replaces them. A
    cause is named only if the signature matches without it.
    """
    environ = os.environ
    known = Known(
        keys=tuple(_keys(our_key, alipayplus_key, other_key)),
        client_id=client_id or environ.get("APLUS_CLIENT_ID", ""),
        gateway=environ.get("APLUS_GATEWAY", "").rstrip("/"),
        notify_url=environ.get("APLUS_NOTIFY_URL", ""),
        signed_path=environ.get("APLUS_SIGNED_PATH", ""),
        key_version=environ.get("APLUS_KEY_VERSION") or (None if our_key else "1"),
        path=path or "",
        try_paths=try_path,
        try_client_ids=try_client_id,
    )
    if not known.keys:
        raise click.UsageError(
            "found no key, expected at least one; set the APLUS_* variables (`set -a; . "
            ".aplus/shop.env`), or pass --our-key and --alipayplus-key"
        )
    all_match = True
    for captured in read_captured(file, headers=headers, body=body, entry=entry):
        kind_of_it, diagnosis = _diagnose(captured, kind, known)
        all_match = all_match and diagnosis.matches
        if as_lines:
            echo_json(as_json(kind_of_it, diagnosis, show_body=show_body))
        else:
            echo(kind_of_it, diagnosis, show_body=show_body)
    sys.exit(0 if all_match else 1)


def _diagnose(captured: Captured, kind: str | None, known: Known) -> tuple[Kind, Diagnosis]:
    try:
        kind_of_it = Kind(kind) if kind else guess_kind(captured, known)
        return kind_of_it, diagnose(ask(captured, kind_of_it, known))
    except AplusError:
        raise
    except ValueError as error:  # of an address that is none, or of text that is no Unicode
        raise click.UsageError(f"captured message: cannot be read: {error}") from None


def _keys(
    our_key: Path | None, alipayplus_key: Path | None, other_keys: tuple[str, ...]
) -> Iterator[NamedKey]:
    """Yield the keys of options and settings; an option replaces the settings' key."""
    settings = dict(os.environ)
    for option, name in ((our_key, "PRIVATE_KEY"), (alipayplus_key, "PUBLIC_KEY")):
        if option is not None:
            settings = {
                key: value for key, value in settings.items() if not key.startswith(f"APLUS_{name}")
            }
    private_key, public_keys = read_keys(settings, "APLUS_")
    ours = private_key.public_key if private_key is not None else None
    if our_key is not None:
        ours = load_public_key(our_key, "--our-key")
    if ours is not None:
        version = os.environ.get("APLUS_KEY_VERSION", "1")
        yield NamedKey(owner=Owner.OURS, name=version, key=ours)
    if alipayplus_key is not None:
        version = os.environ.get("APLUS_ALIPAYPLUS_KEY_VERSION", "1")
        key = load_public_key(alipayplus_key, "--alipayplus-key")
        public_keys = {version: key}
    for version, key in public_keys.items():
        yield NamedKey(owner=Owner.THEIRS, name=version, key=key)
    for text in other_keys:
        name, equals, path = text.partition("=")
        if not equals or not name:
            message = f"found {text[:80]!r}, expected NAME=FILE, such as sandbox=sandbox.pem"
            raise click.BadParameter(message, param_hint="--other-key")
        key = load_public_key(Path(path), "--other-key")
        yield NamedKey(owner=Owner.OTHER, name=name, key=key)
