"""The package itself, and the scripts of the long sessions, pass the type checkers."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# No everyday test runs these scripts: they name only what there is. Their types are their own matter.
SCRIPTS = ["tests/benchmarks", "tests/fuzz", "tests/soak", "tests/mutation.py"]
LENIENT = [
    "arg-type",
    "assignment",
    "call-arg",
    "index",
    "misc",
    "operator",
    "union-attr",
    "var-annotated",
]
OF_SCRIPTS = [
    "mypy",
    "--explicit-package-bases",
    "--config-file=",
    "--cache-dir=.mypy_cache/scripts",
    "--check-untyped-defs",
    "--ignore-missing-imports",
    "--follow-imports=silent",
    *(f"--disable-error-code={code}" for code in LENIENT),
    *SCRIPTS,
]


@pytest.mark.parametrize(
    "command", [["mypy"], ["pyright"], OF_SCRIPTS], ids=["mypy", "pyright", "scripts"]
)
def test_no_error_is_reported(command, monkeypatch):
    pytest.importorskip(command[0])
    if command is OF_SCRIPTS:
        monkeypatch.setenv("MYPYPATH", "tests")
    if command[0] == "pyright":
        command = [*command, "--pythonpath", sys.executable]
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
