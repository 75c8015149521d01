"""Write a diagnosis for a person and as JSON; neither holds a key or a signature."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from aplus_adapters.cli.verify.values import Cause, Diagnosis, Kind

__all__ = ["as_json", "echo"]


def echo(kind: Kind, diagnosis: Diagnosis, *, show_body: bool) -> None:
    """Print a diagnosis: the verdict first, then the causes with their remedies."""
    verdict = "matches" if diagnosis.matches else "does NOT match"
    color = "green" if diagnosis.matches else "red"
    click.echo(f"{kind.phrase}: the signature " + click.style(verdict, fg=color))
    if diagnosis.key is not None:
        click.echo(f"  signed with: {diagnosis.key}, {diagnosis.hash_name}")
    for word, causes in (("fault", diagnosis.faults), ("cause", diagnosis.causes)):
        for cause in causes:
            click.echo(f"  {word}: {cause.text} [{cause.code}]")
            click.echo(f"    to do: {cause.remedy}")
    if diagnosis.causes:
        click.echo("  it matches once this is undone")
    elif not diagnosis.matches and not diagnosis.faults:
        click.echo("  cause: not known; what is established:")
    for fact in diagnosis.facts:
        click.echo(f"  fact: {fact}")
    for remark in diagnosis.remarks:
        click.echo(f"  remark: {remark}")
    if diagnosis.content is not None:
        shown = _shown(diagnosis.content, show_body=show_body)
        click.echo("  signed content:")
        for line in shown.split("\n"):
            click.echo(f"    {line}")


def as_json(kind: Kind, diagnosis: Diagnosis, *, show_body: bool) -> dict[str, Any]:
    """Return a diagnosis as an object for JSON."""
    key, content = diagnosis.key, diagnosis.content
    return {
        "kind": str(kind),
        "matches": diagnosis.matches,
        "key": None if key is None else {"owner": str(key.owner), "name": key.name},
        "fingerprint": None if key is None else key.key.fingerprint,
        "hash": diagnosis.hash_name or None,
        "causes": [_as_object(cause) for cause in diagnosis.causes],
        "faults": [_as_object(fault) for fault in diagnosis.faults],
        "facts": list(diagnosis.facts),
        "remarks": list(diagnosis.remarks),
        "signed_path": diagnosis.path or None,
        "signed_content": (None if content is None else _shown(content, show_body=show_body)),
    }


def _as_object(cause: Cause) -> dict[str, str]:
    return {"code": cause.code, "text": cause.text, "remedy": cause.remedy}


def _shown(content: bytes, *, show_body: bool) -> str:
    r"""Return the signed content as text; its body, which may name a buyer, only if asked for.

    Content whose body is no JSON object is shown by its hash alone.
    """
    text = content.decode("utf-8", "backslashreplace")
    if show_body:
        return text
    start = content.find(b".{")
    if start < 0:
        return f"<{len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()[:16]}>"
    body = content[start + 1 :]
    head = content[: start + 1].decode("utf-8", "backslashreplace")
    digest = hashlib.sha256(body).hexdigest()[:16]
    return f"{head}<body of {len(body)} bytes, sha256 {digest}; --show-body prints it>"
