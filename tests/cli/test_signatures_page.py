"""The commands of docs/signatures.md print what stands there."""

import re
from pathlib import Path

import pytest

from aplus_adapters.protocol import signing
from support.broken_messages import BODY, CLIENT, PLANTED, TIME, written

DOCS = Path(__file__).parent.parent.parent / "docs"
PAGE = (DOCS / "signatures.md").read_text()
EXAMPLES = re.findall(r"\$ aplus (verify \S+)\n(.*?)```", PAGE, re.DOTALL)


def message(key, path, body):
    content = signing.signed_content(path, CLIENT, TIME, BODY)
    head = (
        "POST /shop/aplus/notify HTTP/1.1\r\nHost: shop.example\r\n"
        f"Client-Id: {CLIENT}\r\nRequest-Time: {TIME}\r\n"
        f"Signature: {signing.sign(key, '1', content)}\r\n\r\n"
    )
    return head.encode() + body


def plain(text):
    """Return output without the fingerprints and hashes, which differ with every key."""
    return re.sub(r"(sha256[: ])[0-9a-f]+", r"\1...", text).rstrip()


@pytest.mark.parametrize(("command", "printed"), EXAMPLES, ids=[c for c, _ in EXAMPLES])
def test_an_example_of_the_page_prints_what_stands_there(
    settings, monkeypatch, aplus, tmp_path, their_key, command, printed
):
    monkeypatch.setenv("APLUS_NOTIFY_URL", "https://shop.example/shop/aplus/notify")
    right = "/shop/aplus/notify"
    (tmp_path / "right.http").write_bytes(message(their_key, right, BODY))
    spaced = written(ensure_ascii=False)
    (tmp_path / "wrong.http").write_bytes(message(their_key, "/aplus/notify", spaced))
    altered = BODY.replace(b"4200", b"4300")
    (tmp_path / "altered.http").write_bytes(message(their_key, right, altered))
    assert plain(aplus(*command.split()).output) == plain(printed)


def test_the_page_has_three_examples_and_every_cause():
    assert len(EXAMPLES) == 3
    for _, code in PLANTED.values():
        assert f"`{code}`" in PAGE
    for module in (DOCS.parent / "aplus_adapters/cli/verify").glob("*.py"):
        for code in re.findall(r'(?:code=|code = |_cause\()"(\w+)"', module.read_text()):
            assert f"`{code}`" in PAGE, f"{module.name}: {code}"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_offered_as_the_page_says(aplus, shell):
    page = (DOCS / "commands.md").read_text()
    assert f"_APLUS_COMPLETE={shell}_source aplus" in page
    # Bash is asked for its version, which not every machine has.
    if shell != "bash":
        done = aplus(env={"_APLUS_COMPLETE": f"{shell}_source"}, prog_name="aplus")
        assert "aplus" in done.output
        assert "_APLUS_COMPLETE" in done.output
