"""The files that commands read and write: keys, and folders for what they make."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from aplus_adapters.errors import ConfigurationError
from aplus_adapters.protocol.keys import PrivateKey, PublicKey

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["load_private_key", "load_public_key", "make_folder"]


def load_private_key(path: Path, option: str) -> PrivateKey:
    """Return the private key of a file; raise BadParameter if it holds none."""
    try:
        return PrivateKey.load(_read(path, option), path.name)
    except ConfigurationError as error:
        raise click.BadParameter(str(error), param_hint=option) from None


def load_public_key(path: Path, option: str) -> PublicKey:
    """Return the public key of a file, also of a private one; raise BadParameter otherwise."""
    content = _read(path, option)
    try:
        return PublicKey.load(content, path.name)
    except ConfigurationError as error:
        try:
            return PrivateKey.load(content, path.name).public_key
        except ConfigurationError:
            raise click.BadParameter(str(error), param_hint=option) from None


def make_folder(folder: Path, option: str) -> None:
    """Make a folder unless it is there; raise BadParameter if it cannot be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        reason = None if os.access(folder, os.W_OK) else "permission denied"
    except OSError as error:
        reason = error.strerror
    if reason is not None:
        raise click.BadParameter(
            f"cannot write to {folder} ({reason}), expected a folder of yours", param_hint=option
        )


def _read(path: Path, option: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        message = f"cannot read {path} ({error.strerror}), expected a key file"
        raise click.BadParameter(message, param_hint=option) from None
