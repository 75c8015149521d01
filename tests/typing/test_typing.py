"""What type checkers say about a shop: nothing about a right one, each mistake about a wrong one."""

import shutil
from pathlib import Path

import pytest

from support import type_checkers

HERE = Path(__file__).parent
SHOPS = sorted(path.name for path in HERE.glob("*_shop.py"))
LINES = (HERE / "mistakes.py").read_text().splitlines()
MISTAKES = {
    number + 1: line.partition("# mistake: ")[2]  # is about the line below
    for number, line in enumerate(LINES, 1)
    if line.strip().startswith("# mistake: ")
}
# What a checker knows too little to report: `==` between kinds that can never be equal.
BLIND = {"ty": {"a word that is no state"}}


@pytest.fixture(scope="module", params=["mypy", "pyright", "ty"])
def checker(request, tmp_path_factory):
    pytest.importorskip(request.param)
    folder = tmp_path_factory.mktemp(request.param)  # where no settings of ours are found
    for name in (*SHOPS, "mistakes.py"):
        shutil.copy(HERE / name, folder)
    reports = getattr(type_checkers, request.param)(folder)
    assert reports, "the checker has not run"
    return request.param, [(file, int(line), message) for file, line, message in reports]


def test_a_typed_and_an_untyped_shop_of_each_framework_pass(checker):
    _, reports = checker
    assert [report for report in reports if report[0] != "mistakes.py"] == []


def test_each_mistake_is_reported_where_it_is_made(checker):
    name, reports = checker
    reported = {line for file, line, _ in reports if file == "mistakes.py"}
    missed = {mistake for line, mistake in MISTAKES.items() if line not in reported}
    assert missed == BLIND.get(name, set())
    assert len(MISTAKES) >= 20


def test_nothing_else_is_reported(checker):
    _, reports = checker
    assert [report for report in reports if report[1] not in MISTAKES] == []
