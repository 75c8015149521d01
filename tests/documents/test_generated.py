"""What the documents take from the code is what the code says."""

import importlib.util
import re

import pytest

from support.snippets import ROOT

DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def generate():
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_diagram_tables_and_index_are_those_of_the_code(generate):
    old = [name for name, text in generate.files().items() if (DOCS / name).read_text() != text]
    assert old == [], "run python docs/generate.py"


def test_the_diagram_has_every_state_and_every_way_between_two(generate):
    from aplus_adapters.payments.states import TABLE

    picture = generate.state_diagram()
    assert all(f">{state.name}<" in picture for state, _ in TABLE)
    ways = {
        (state, str(after)) for (state, _), after in TABLE.items() if str(after) != str(state)
    } - {(state, "conflict") for state, _ in TABLE}
    assert picture.count("marker-end") == len(ways) == 12


def test_every_page_is_in_the_table_of_contents():
    index = (DOCS / "index.md").read_text()
    listed = re.findall(r"^[\w/-]+$", index, re.MULTILINE)
    pages = [page.relative_to(DOCS).with_suffix("").as_posix() for page in DOCS.rglob("*.md")]
    assert sorted(listed) == sorted(set(pages) - {"index"})


def test_every_command_is_in_the_table_of_commands():
    from aplus_adapters.cli.main import main

    tables = (DOCS / "commands.md").read_text()
    beside = ["inquire", "cancel"]  # in the row of `aplus pay`
    assert [name for name in main.commands if f"| `aplus {name}`" not in tables] == beside


def test_every_setting_is_in_the_table_of_settings():
    from aplus_adapters.runtime.settings import Account

    table = (DOCS / "settings.md").read_text()
    settings = set(re.findall(r"APLUS_[A-Z][A-Z_0-9]+", Account.from_env.__doc__))
    assert [name for name in sorted(settings) if f"`{name}`" not in table] == []


def test_every_extra_is_in_the_table_of_extras():
    import tomllib

    table = (DOCS / "extras.md").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert [name for name in project["optional-dependencies"] if f"`{name}`" not in table] == []


def test_every_route_is_in_the_table_of_routes():
    from aplus_adapters.web.routing import ROUTES

    table = re.sub(r"{\w+}", "{}", (DOCS / "routes.md").read_text())
    rows = [
        f"| `{route.method} {re.sub(r'{.+?}|(page|button)[.].+', '{}', route.path)}` |"
        for route in ROUTES
    ]
    assert [row for row in rows if row not in table] == []
