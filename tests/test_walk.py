"""A request runs through few files, and docs/architecture.md names them all."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("flask")
HERE = Path(__file__).parent
ARCHITECTURE = HERE.parent / "docs" / "architecture.md"
MOST_FILES = {"POST /pay: 200": 46, "notification: 200": 33}


@pytest.fixture(scope="module")
def walks():
    """Return the files of each walk by its title."""
    command = [sys.executable, str(HERE / "walk.py")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    walks = re.findall(r"^(\S.*), (\d+) files\n((?:  .*\n)+)", printed, re.MULTILINE)
    assert [int(count) for _, count, _ in walks] == [len(files.split()) for *_, files in walks]
    return {title: files.split() for title, _, files in walks}


def documented(heading):
    section = ARCHITECTURE.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    (count,) = re.findall(r"runs? through (\d+) files", section)
    names = re.findall(r"^\d+\. `(.+?)`", section, re.MULTILINE)
    assert len(names) == int(count)
    return names


def test_no_request_runs_through_more_files_than_it_did(walks):
    counts = {title: len(files) for title, files in walks.items()}
    assert counts.keys() == MOST_FILES.keys()
    assert {title: count for title, count in counts.items() if count > MOST_FILES[title]} == {}


@pytest.mark.parametrize(
    ("title", "heading"),
    [
        ("POST /pay: 200", "The walk of a pay request"),
        ("notification: 200", "The walk of a notification"),
    ],
)
def test_the_documents_name_the_files_of_a_walk(walks, title, heading):
    assert set(documented(heading)) == set(walks[title])
