"""The house has four rings, and an import may point inwards only."""

import ast
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "aplus_adapters"

# Each room: the rooms of ours that it may import, and the packages of others.
CORE = {"errors", "protocol", "payments"}
RINGS = CORE | {"runtime", "stores", "web"}
ROOMS = {
    "errors": (set(), set()),
    "protocol": ({"errors", "protocol"}, {"attrs", "cryptography"}),
    "payments": (CORE, {"attrs", "typing_extensions"}),  # the latter for type checkers alone
    "runtime": (CORE | {"runtime"}, {"attrs"}),
    "stores": (CORE | {"stores"}, {"attrs", "django", "sqlalchemy"}),
    "web": (CORE | {"web"}, {"attrs", "jinja2", "segno"}),
    "messages": ({"protocol"}, set()),
    "operations": (CORE, set()),
    "aplus_pay": (RINGS | {"operations"}, {"attrs"}),
    "flask": (RINGS | {"aplus_pay", "cli"}, {"click", "flask", "werkzeug"}),
    "django": (RINGS | {"aplus_pay", "cli"}, {"click", "django"}),
    "starlette": (RINGS | {"aplus_pay"}, {"starlette"}),
    "fastapi": (RINGS | {"aplus_pay", "starlette"}, {"fastapi"}),
    "wsgi": (RINGS | {"aplus_pay"}, set()),
    "asgi": (RINGS | {"aplus_pay"}, set()),
    "simulator": (
        {"errors", "protocol", "simulator"},
        {"attrs", "httpx", "jinja2", "segno", "starlette", "uvicorn"},
    ),
    "conformance": (
        {"errors", "protocol", "simulator", "conformance"},
        {"attrs", "httpx", "jinja2"},
    ),
    "testing": (
        RINGS | {"aplus_pay", "asgi", "wsgi", "testing", "simulator"},
        {"attrs", "httpx", "pytest"},
    ),
    "cli": (
        RINGS | {"aplus_pay", "simulator", "conformance", "cli"},
        {"attrs", "click", "cryptography", "httpx", "sqlalchemy"},
    ),
    "__init__": (RINGS | {"aplus_pay"}, set()),
}
# What rings 0 and 1 would need for a clock, I/O or concurrency of their own.
WORLD = {
    "asyncio",
    "http",
    "os",
    "pathlib",
    "random",
    "secrets",
    "socket",
    "sqlite3",
    "ssl",
    "subprocess",
    "threading",
    "time",
}


def imports_of(path):
    """Give the full names of every module that a file imports, wherever the import stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module == "aplus_adapters":
                yield from (f"aplus_adapters.{alias.name}" for alias in node.names)
            else:
                yield node.module


def names_of(path):
    """Give the full name of everything that a file imports from a package."""
    return {
        f"{node.module}.{alias.name}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def violations(package):
    found = []
    for path in sorted(package.rglob("*.py")):
        place = path.relative_to(package).as_posix()
        room = place.removesuffix(".py").split("/")[0]
        ours, others = ROOMS[room]
        for name in imports_of(path):
            top, _, rest = name.partition(".")
            target = rest.split(".")[0]
            if top == "aplus_adapters":
                if target not in ours:
                    found.append(f"{place} imports {name}")
            elif top in WORLD and room in CORE:
                found.append(f"{place} imports {name}: rings 0 and 1 are pure")
            elif not _is_standard(top) and top not in others:
                found.append(f"{place} imports {name}")
    return found


def _is_standard(name):
    import sys

    return name in sys.stdlib_module_names


def test_every_import_points_inwards():
    assert violations(PACKAGE) == []


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("protocol/wire.py", "from aplus_adapters.payments import states"),
        ("protocol/wire.py", "import time"),
        ("protocol/wire.py", "import httpx"),
        ("payments/flows/initiate.py", "def late():\n    import asyncio"),
        ("web/page.py", "from aplus_adapters.stores.sql import SQLStore"),
        ("flask.py", "from aplus_adapters import simulator"),
        (
            "errors.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from aplus_adapters.aplus_pay import AplusPay",
        ),
    ],
)
def test_an_import_that_points_outwards_is_found(tmp_path, place, line):
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(line)
    assert len(violations(tmp_path)) == 1


def graph(package):
    """Give each module of ours and those that it imports, for types alone as well."""
    modules = {
        ".".join(("aplus_adapters", *path.relative_to(package).with_suffix("").parts)): path
        for path in package.rglob("*.py")
    }
    return {
        name: modules.keys() & {*imports_of(path), *names_of(path)}
        for name, path in modules.items()
    }


def circles(imports):
    """Give the modules that cannot be taken away by taking away those which import no other."""
    left = dict(imports)
    while leaves := [name for name, names in left.items() if not names & left.keys()]:
        for name in leaves:
            del left[name]
    return left


def test_no_imports_go_in_a_circle():
    assert circles(graph(PACKAGE)) == {}


def test_a_circle_is_found(tmp_path):
    for name, other in (("one", "two"), ("two", "three"), ("three", "one"), ("apart", "one")):
        line = f"from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from aplus_adapters.{other} import x"
        (tmp_path / f"{name}.py").write_text(line)
    assert {name.rpartition(".")[2] for name in circles(graph(tmp_path))} == {
        "one",
        "two",
        "three",
        "apart",
    }


def test_no_property_is_computed_under_a_lock_that_a_fork_would_leave_locked():
    """`cached_property` has one up to Python 3.11; a child would wait for its parent's thread."""
    paths = sorted(PACKAGE.rglob("*.py"))
    users = [path.name for path in paths if "functools.cached_property" in names_of(path)]
    assert users == []


def test_half_of_the_modules_have_at_most_140_lines():
    sizes = [len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")]
    assert statistics.median(sizes) <= 140


def test_no_module_is_larger_than_a_room_one_knows():
    sizes = {p.name: len(p.read_text().splitlines()) for p in PACKAGE.rglob("*.py")}
    assert {name: size for name, size in sizes.items() if size > 400} == {}


@pytest.mark.skipif(
    "NOX_CURRENT_SESSION" not in os.environ, reason="the tree may be tested by hand"
)
def test_under_nox_it_is_the_installed_wheel_that_is_tested():
    import aplus_adapters

    child = [sys.executable, "-c", "import aplus_adapters; print(aplus_adapters.__file__)"]
    printed = subprocess.run(child, capture_output=True, text=True, check=True).stdout.strip()
    assert printed == aplus_adapters.__file__
    assert "site-packages" in Path(printed).parts


def test_adapters_stay_thin():
    for name in (
        "flask.py",
        "django/__init__.py",
        "starlette.py",
        "fastapi.py",
        "wsgi.py",
        "asgi.py",
    ):
        assert len((PACKAGE / name).read_text().splitlines()) <= 130
