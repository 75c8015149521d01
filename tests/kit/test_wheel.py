"""The shop of docs/testing.md, outside this project: its tests run with the built wheel."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

from support.snippets import snippets_of

ROOT = Path(__file__).parent.parent.parent
LIMIT = 2.0  # seconds for the 12 tests, start-up of Python and pytest apart


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel, and unpack it as an installer does."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (archive,) = folder.glob("*.whl")
    with zipfile.ZipFile(archive) as content:
        content.extractall(folder / "installed")
    return folder / "installed"


# Seconds of the processor: this machine may be busy with other tests at the same time.
TIMER = """
import time
import pytest

spent = 0.0

@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    global spent
    start = time.process_time()
    result = yield
    spent += time.process_time() - start
    return result

def pytest_terminal_summary(terminalreporter):
    import aplus_adapters
    terminalreporter.write_line(f"spent {spent:.3f} in {aplus_adapters.__file__}")
"""


def test_the_documented_suite_passes_with_the_built_wheel_in_two_seconds(wheel, tmp_path):
    named = [one for one in snippets_of(ROOT / "docs" / "testing.md") if one.code.startswith("# ")]
    for snippet in named:
        (tmp_path / snippet.code.split()[1]).write_text(snippet.code)
    assert len(named) == 3
    (tmp_path / "timer.py").write_text(TIMER)
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COV_")}
    environ["PYTHONPATH"] = os.pathsep.join((str(wheel), str(tmp_path)))
    off = [word for name in ("asyncio", "django", "cacheprovider") for word in ("-p", f"no:{name}")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "timer", "--junitxml=report.xml", *off],
        cwd=tmp_path, env=environ, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    cases = ElementTree.parse(tmp_path / "report.xml").getroot().findall(".//testcase")
    assert len(cases) == 12
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("spent ")]
    spent, place = float(line.split()[1]), line.partition(" in ")[2]
    by_the_clock = sum(float(case.get("time")) for case in cases)
    print(f"a shop's 12 tests: {spent:.2f} s of one core, {by_the_clock:.2f} s by the clock")
    assert Path(place).is_relative_to(wheel)
    assert spent < LIMIT
