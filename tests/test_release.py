"""What is published: the contents of wheel and sdist, one version, and a page that PyPI can show.

`nox -s release` runs this on the files that `python -m build` has made.
"""

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "aplus_adapters"
VERSION = re.search(r'^__version__ = "(.+)"$', (PACKAGE / "__init__.py").read_text(), re.MULTILINE)[
    1
]
LIMIT = 2_000_000  # bytes of the wheel; pictures belong into the documents


def run(*words):
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return the folder with one wheel and one sdist."""
    if folder := os.environ.get("APLUS_DIST"):
        return Path(folder)
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-d", str(folder))
    return folder


@pytest.fixture(scope="module")
def wheel(built):
    """Return the wheel's files: {name: bytes}."""
    (path,) = built.glob("*.whl")
    assert path.name == f"aplus_adapters-{VERSION}-py3-none-any.whl"
    assert path.stat().st_size < LIMIT
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def sdist(built):
    """Return the sdist's files, without its folder: {name: bytes}."""
    (path,) = built.glob("*.tar.gz")
    assert path.name == f"aplus_adapters-{VERSION}.tar.gz"
    with tarfile.open(path) as archive:
        files = [member for member in archive.getmembers() if member.isfile()]
        return {one.name.partition("/")[2]: archive.extractfile(one).read() for one in files}


def sources(*rooms):
    """Return what version control would hold of these folders."""
    paths = (path for room in rooms for path in (ROOT / room).rglob("*") if path.is_file())
    skipped = {"__pycache__", ".aplus", "_build"}
    return {
        path.relative_to(ROOT).as_posix()
        for path in paths
        if not skipped & set(path.parts) and path.suffix not in (".pyc", ".db")
    }


def test_the_wheel_holds_the_package_its_shops_and_nothing_else(wheel):
    info = f"aplus_adapters-{VERSION}.dist-info/"
    shops = {name for name in wheel if name.startswith("aplus_adapters/examples/")}
    meta = {name for name in wheel if name.startswith(info)}
    assert set(wheel) - shops - meta == sources("aplus_adapters")
    assert all(wheel[name] == (ROOT / name.partition("/")[2]).read_bytes() for name in shops)
    assert len(shops) == 6
    assert f"{info}licenses/LICENSE" in meta
    assert "aplus_adapters/py.typed" in wheel


def test_the_sdist_holds_what_is_needed_to_test_and_build_it(sdist):
    needed = sources("aplus_adapters", "docs", "examples", "tests", ".ci", ".github")
    needed |= {
        "pyproject.toml",
        "noxfile.py",
        "hatch_build.py",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
    }
    assert needed - set(sdist) == set()
    assert {name.partition("/")[0] for name in sdist} <= {
        "aplus_adapters", "docs", "examples", "tests", ".ci", ".github", "pyproject.toml",
        "noxfile.py", "hatch_build.py", "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md",
        "PKG-INFO", ".gitignore", ".editorconfig", ".pre-commit-config.yaml",
    }  # fmt: skip


def test_no_file_that_is_published_holds_a_private_key_or_a_machines_path(wheel, sdist):
    secret = re.compile(rb"-----BEGIN (RSA )?PRIVATE KEY-----\n?[A-Za-z0-9+/]{60}")
    held = [name for files in (wheel, sdist) for name, text in files.items() if secret.search(text)]
    assert held == []


def test_the_metadata_says_one_version_every_extra_and_the_oldest_python(wheel):
    import tomllib

    text = wheel[f"aplus_adapters-{VERSION}.dist-info/METADATA"].decode()
    metadata = Parser().parsestr(text)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert metadata["Version"] == VERSION
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert set(metadata.get_all("Provides-Extra")) == set(project["optional-dependencies"])
    assert "version" in project["dynamic"]


def test_the_version_stands_in_one_place_and_the_changelog_begins_with_it():
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert re.findall(r"^## (\S+)", changelog, re.MULTILINE)[0] == VERSION
    said = [
        name
        for name in ("pyproject.toml", "docs/conf.py", "noxfile.py")
        if VERSION in (ROOT / name).read_text().replace(">=0.1", "")
    ]
    assert said == []


def test_an_index_accepts_both_files(built):
    pytest.importorskip("twine")
    files = map(str, sorted(built.iterdir()))
    assert "PASSED" in run(sys.executable, "-m", "twine", "check", "--strict", *files)


def test_the_front_page_of_an_index_has_no_link_that_works_in_the_repository_alone(wheel):
    text = wheel[f"aplus_adapters-{VERSION}.dist-info/METADATA"].decode()
    relative = re.findall(r"\]\((?!https?:|#)([^)]+)\)", text.partition("\n\n")[2])
    assert relative == []
