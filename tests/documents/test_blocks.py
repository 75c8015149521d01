"""Every block of the documents is run, type-checked or parsed; the counts are printed."""

import json
import re
import shlex
import sys
import tomllib
import types
from collections import Counter

import click
import pytest
from attrs import frozen

from support.snippets import DOCUMENTS, ROOT, snippets_of

# Blocks of Python that a test of their own runs; all are type-checked by typing/test_snippets.py.
RUN_ELSEWHERE = {
    "README.md": "documents/test_readme.py",
    "client.md": "documents/test_readme.py",
    "page.md": "documents/test_recipes.py",
    "logging.md": "documents/test_log_events.py",
    "flask.md": "documents/test_start_pages.py",
    "starlette.md": "documents/test_start_pages.py",
    "fastapi.md": "documents/test_start_pages.py",
    "start/django.md": "documents/test_start_pages.py",
    "any.md": "documents/test_start_pages.py",
    "till.md": "documents/test_start_pages.py",
    "testing.md": "kit/test_wheel.py",
}
RECIPES = ("Celery", "APScheduler")  # of reconcile.md: documents/test_recipes.py
# They need a project of Django's or Alembic's around them: stores/test_django.py and
# stores/test_migrations.py do the same in such a project.
TYPES_ALONE = {
    ("django.md", "Settings and tables"), ("django.md", "A shop"), ("django.md", "Commands"),
    ("schema.md", "Alembic leaves our tables to the library"),
    ("schema.md", "Alembic makes our tables"), ("schema.md", "Flask-Migrate"),
    ("any.md", "Test it"), ("testing.md", "Tests that await"), ("testing.md", "Other ways"),
}  # fmt: skip


def place(snippet):
    return snippet.document.name, snippet.heading


def is_run_elsewhere(snippet):
    names = {snippet.document.name, f"{snippet.document.parent.name}/{snippet.document.name}"}
    is_recipe = snippet.document.name == "reconcile.md" and snippet.heading in RECIPES
    return bool(names & set(RUN_ELSEWHERE)) or is_recipe


PYTHON = [snippet for document in DOCUMENTS for snippet in snippets_of(document)]
CHECKED = [one for one in PYTHON if place(one) in TYPES_ALONE and not one.code.startswith("# test")]
ELSEWHERE = [one for one in PYTHON if one not in CHECKED and is_run_elsewhere(one)]
HERE = [one for one in PYTHON if one not in CHECKED and one not in ELSEWHERE]


@frozen(kw_only=True)
class Block:
    """One fenced block that is not Python."""

    document: str
    language: str
    text: str


OTHERS = [
    Block(document=document.name, language=match[1], text=match[2])
    for document in DOCUMENTS
    for match in re.finditer(
        r"^ *```([a-z]+)\n(.*?)^ *```", document.read_text(), re.DOTALL | re.MULTILINE
    )
    if match[1] != "python"
]


@pytest.fixture
def shop(aplus_simulator, aplus_buyer, aplus_notification, aplus_account, monkeypatch):
    """Let `shop` be a module with a `pay` whose order A-1001 is paid; `contradict` makes a conflict."""
    from flask import Flask

    from aplus_adapters import Amount, AplusPay, MemoryStore, OrderToPay

    class Hooks:
        def load_order(self, details):
            return OrderToPay(amount=Amount.parse("42.00", "USD"), description="2 tickets")

        def payment_changed(self, details): ...

        def payment_conflict(self, details): ...

    module = types.ModuleType("shop")
    module.app = Flask("shop")
    module.pay = AplusPay(account=aplus_account, store=MemoryStore(), hooks=Hooks())
    aplus_simulator.connect(module.pay)
    aplus_buyer.press("A-1001")
    aplus_buyer.pay()
    module.contradict = lambda: aplus_notification.send("other_amount")
    beside = {"our_store": {"OurStore": MemoryStore}, "our_web": {"our_application": None}}
    for name, values in beside.items():
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
        vars(sys.modules[name]).update(values)
    monkeypatch.setitem(sys.modules, "shop", module)
    return module


@pytest.mark.parametrize("snippet", HERE, ids=lambda one: f"{one.document.name}:{one.line}")
def test_a_block_runs_as_it_stands(snippet, shop, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "pay.conflicts" in snippet.code:
        shop.contradict()
    names = {"__name__": "block", "pay": shop.pay}
    code = compile(snippet.code, str(snippet.document), "exec")
    exec(code, names)


def commands_of(block):
    """Return the words of each command of ours in a block, and of each `pip install`."""
    for line in block.text.splitlines():
        if block.language == "console" and not line.lstrip().startswith("$ "):
            continue  # what is printed
        words = shlex.split(line.strip().removeprefix("$ "), comments=True)
        for number, word in enumerate(words):
            name = word.rpartition("/")[2].removeprefix("ExecStart=")
            if name in ("aplus", "pip") and words[number + 1 : number + 2]:
                yield words[number:]
                break


@pytest.mark.parametrize("block", OTHERS, ids=lambda one: f"{one.document}-{one.language}")
def test_a_block_of_commands_or_data_can_be_read(block):
    from aplus_adapters.cli.main import main

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = set(project["optional-dependencies"])
    if block.language == "json":
        json.loads(block.text)
    elif block.language == "http":
        json.loads(block.text.partition("\n")[2])
    for program, *words in commands_of(block):
        named = set(re.findall(r"[\w]+", "".join(re.findall(r"\[([\w,]+)\]", " ".join(words)))))
        if program.endswith("pip"):
            asked = {
                name
                for one in re.findall(r"\[([\w,]+)\]", " ".join(words))
                for name in one.split(",")
            }
            assert asked <= extras, named
            continue
        while words and words[-1] in (";", "&&", "&", "|"):
            words.pop()
        check_command(main, words)


def check_command(command, words):
    """Raise click's error for a command or an option that there is not."""
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        assert words[0] in command.commands, words
        command, words = command.commands[words[0]], words[1:]
    known = {option: one for one in command.params for option in one.opts}
    for word in words:
        if word.startswith("--"):
            assert word.partition("=")[0] in {*known, "--help"}, (command.name, word)


def test_every_block_is_counted():
    fences = sum(
        len(re.findall(r"^ *```[a-z]", document.read_text(), re.MULTILINE))
        for document in DOCUMENTS
    )
    counts = Counter(block.language for block in OTHERS)
    kinds = ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))
    print(
        f"blocks: {len(PYTHON)} of Python, all type-checked by mypy and pyright, of which "
        f"{len(HERE) + len(ELSEWHERE)} are run; others are parsed: {kinds}"
    )
    assert len(PYTHON) + len(OTHERS) == fences
    assert len(HERE) + len(ELSEWHERE) + len(CHECKED) == len(PYTHON)
    assert len(CHECKED) <= 10
    for test in RUN_ELSEWHERE.values():
        assert (ROOT / "tests" / test).exists()
