"""Read the request of a curl command line, as browsers copy it and as logs print it."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from aplus_adapters.cli.verify.values import Captured
from aplus_adapters.errors import InvalidValue

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["is_curl", "read_curl"]

_DATA = ("-d", "--data", "--data-ascii", "--data-raw", "--data-binary", "--json")
_FLAG = re.compile(
    r"-[sSkviLgfN#0GI46]|--(?:silent|show-error|insecure|verbose|include|location|globoff|fail"
    r"|compressed|http1.1|http2|http2-prior-knowledge|no-buffer|path-as-is|ssl-no-revoke)"
)
_DOLLAR = re.compile(r"\$'((?:[^'\\]|\\.)*)'", re.DOTALL)
_ESCAPE = re.compile(
    r"\\(u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{1,4}"
    r"|U[0-9a-fA-F]{1,6}|x[0-9a-fA-F]{1,2}|[0-7]{1,3}|.)",
    re.DOTALL,
)
_LETTERS = {
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "v": "\v",
    "e": "\x1b",
}


def is_curl(content: bytes) -> bool:
    """Return whether the content looks like a curl command."""
    return re.match(rb"\s*(?:\$ )?curl(?:\.exe)?\s", content) is not None


def read_curl(content: bytes, folder: Path) -> Captured:
    """Return the request that the command sends; `@name` is a file in `folder`.

    Raises InvalidValue if the command cannot be read.
    """
    words = iter(_words(content))
    next(words)
    url, headers, data = "", [], []
    is_json = False
    for word in words:
        option, value = _option(word, words)
        if option in ("-H", "--header"):
            name, _, text = value.partition(":")
            headers.append((name.strip(), text.strip(" \t")))
        elif option in _DATA:
            data.append(_data(option, value, folder))
            is_json = is_json or option == "--json"
        elif option in ("", "--url"):
            url = value
    if not url:
        raise InvalidValue("curl command: found no address, expected one, such as https://...")
    separator = b"" if is_json else b"&"  # as curl joins several
    return Captured(is_response=False, url=url, headers=tuple(headers), body=separator.join(data))


def _words(content: bytes) -> list[str]:
    text = content.decode("utf-8", "surrogateescape").strip().removeprefix("$ ")
    text = re.sub(r"\\\r?\n", " ", text)
    quoted = _DOLLAR.sub(lambda match: shlex.quote(_unescaped(match[1])), text)
    try:
        return shlex.split(quoted)
    except ValueError as error:
        raise InvalidValue(
            f"curl command: cannot be read ({error}), expected one whole command in a shell's "
            "quoting; of a browser take 'Copy as cURL (bash)'"
        ) from None


def _option(word: str, words: Iterator[str]) -> tuple[str, str]:
    """Return an option and its value; an address has the option ""."""
    if not word.startswith("-"):
        return "", word
    while len(word) > 2 and _FLAG.fullmatch(word[:2]):  # several in one, such as -sX
        word = "-" + word[2:]
    if _FLAG.fullmatch(word):
        return word, ""
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        return name, value if equals else next(words, "")
    return word[:2], word[2:] or next(words, "")


def _data(option: str, value: str, folder: Path) -> bytes:
    if not value.startswith("@") or option == "--data-raw":
        return value.encode("utf-8", "surrogateescape")
    path = folder / value[1:]
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidValue(f"curl command: cannot read {path} ({error.strerror})") from None
    # curl leaves the line ends of a file out, but with these two options.
    return content if option in ("--data-binary", "--json") else re.sub(rb"[\r\n]", b"", content)


def _unescaped(text: str) -> str:
    def character(match: re.Match[str]) -> str:
        escape = match[1]
        if len(escape) == 11:  # a character beyond U+FFFF, as browsers write it
            units = bytes.fromhex(escape[1:5] + escape[7:11])
            return units.decode("utf-16-be", "surrogatepass")
        if escape[0] in "uU" and len(escape) > 1:
            return chr(int(escape[1:], 16))
        is_octal = escape[0] in "01234567"
        if is_octal or (escape[0] == "x" and len(escape) > 1):
            byte = int(escape, 8) % 256 if is_octal else int(escape[1:], 16)
            return bytes([byte]).decode("ascii", "surrogateescape")
        return _LETTERS.get(escape, escape)

    # Bytes that were written one by one may be one character together.
    whole = _ESCAPE.sub(character, text)
    return whole.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
