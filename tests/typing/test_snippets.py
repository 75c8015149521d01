"""Every snippet of README.md and docs/ passes the type checkers in their strict forms."""

import re

import pytest

from support import type_checkers
from support.snippets import DOCUMENTS, ROOT, snippets_of

SNIPPETS = [snippet for document in DOCUMENTS for snippet in snippets_of(document)]
# What documents leave to the reader, and what a shop tells mypy of packages without types.
BESIDE = {
    "our_store.py": "from aplus_adapters import MemoryStore\n\nOurStore = MemoryStore\n",
    "our_web.py": "from typing import Any\n\n\ndef our_application(pay: object) -> Any: ...\n",
    "our_orders/__init__.py": "from typing import Any\n\nOrder: Any = None\n",
    "our_orders/models.py": "from typing import Any\n\nOrder: Any = None\n",
    "our_site/__init__.py": "",
    "our_site/urls.py": "from aplus_adapters import AplusPay\n\npay: AplusPay\n",
    "mypy.ini": "[mypy]\n[mypy-apig_wsgi.*,apscheduler.*,django.*,flask_migrate.*]\nignore_missing_imports = True\n",
    "planted.py": "from aplus_adapters import Amount\n\nAmount('USD', '4200')\n",
}
PLANTED = ("planted.py", 3)


def mypy_settings():
    """Return mypy's settings: a model of Django's inherits from what has no types."""
    names = [file_of(snippet).removesuffix(".py") for snippet in SNIPPETS]
    models = [f"mypy-{name}" for name in names if name.startswith("start_django")]
    sections = "".join(f"[{name}]\ndisallow_subclassing_any = False\n" for name in models)
    return BESIDE["mypy.ini"] + sections


def file_of(snippet):
    """Return a snippet's file; the README's first shop is the `shop` that others import from.

    A snippet that others import from may say its name in its first line.
    """
    if snippet is SNIPPETS[0]:
        return "shop.py"
    if named := re.match(r"# (\w+\.py)\n", snippet.code):
        return named[1]
    room = "start_" if snippet.document.parent.name == "start" else ""
    return f"{room}{snippet.document.stem}_{snippet.line}.py".replace("-", "_")


def source_of(snippet):
    """Return what is checked: each line has its number in the document.

    A snippet that uses `pay` without saying whence imports it as the executing tests have it.
    """
    has_pay = re.search(r"^pay = |^from shop import .*\bpay\b", snippet.code, re.MULTILINE)
    preamble = "from shop import pay" if "pay." in snippet.code and not has_pay else ""
    if "INSTALLED_APPS +=" in snippet.code:
        preamble = "INSTALLED_APPS: list[str] = []"  # as `startproject` writes it
    return preamble + "\n" * (snippet.line - 1) + snippet.code


@pytest.mark.parametrize("name", ["mypy", "pyright"])
def test_every_snippet_passes(name, tmp_path):
    pytest.importorskip(name)
    places = {}
    for snippet in SNIPPETS:
        places[file_of(snippet)] = snippet.document.relative_to(ROOT).as_posix()
        (tmp_path / file_of(snippet)).write_text(source_of(snippet))
    for file, text in BESIDE.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(text)
    if name == "mypy":
        (tmp_path / "mypy.ini").write_text(mypy_settings())
        reports = type_checkers.mypy(tmp_path, "mypy.ini")
    else:
        reports = type_checkers.pyright(tmp_path)
    reported = [(places.get(file, file), int(line), message) for file, line, message in reports]
    assert PLANTED in [report[:2] for report in reported], "the checker has not run"
    assert [report for report in reported if report[:2] != PLANTED] == []


def test_no_snippet_is_overlooked():
    fences = [
        line for path in DOCUMENTS for line in path.read_text().splitlines() if "```py" in line
    ]
    assert len(SNIPPETS) == len(fences) == len({file_of(snippet) for snippet in SNIPPETS}) >= 12
