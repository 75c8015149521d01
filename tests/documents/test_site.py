"""The documents build as a site without a warning, and the check of links finds broken ones."""

import importlib.util
import subprocess
import sys

import pytest

from support.snippets import ROOT

DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def check_links():
    spec = importlib.util.spec_from_file_location("check_links", DOCS / "check_links.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_documents_build_without_a_warning(tmp_path):
    # `nox -s docs` writes the HTML and follows its links; this reads all and resolves references.
    pytest.importorskip("myst_parser")
    strict = ["-q", "-n", "-W", "--keep-going", "-b", "dummy"]
    words = [sys.executable, "-m", "sphinx", *strict, str(DOCS), str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr


def test_a_broken_link_of_the_site_is_found(check_links, tmp_path):
    (tmp_path / "a.html").write_text(
        '<p id="here"><a href="#here">1</a><a href="#there">2</a><a href="b.html">3</a>'
        '<a href="https://shop.example/">4</a><a href="http://somewhere.org">5</a>'
    )
    wrong, counts = check_links.broken(tmp_path)
    assert wrong == ["a.html: #there", "a.html: b.html", "a.html: http://somewhere.org"]
    assert counts == {"pages": 1, "within": 3, "elsewhere": 2}
