"""Type checkers, each run once over all files of a folder."""

import json
import re
import subprocess
import sys
from pathlib import Path


def run(folder, *command):
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, check=False
    ).stdout


def mypy(folder, config=""):
    """Return file, line and message of each error; `config` is the name of a settings file."""
    output = run(folder, "mypy", "--strict", "--no-incremental", f"--config-file={config}", ".")
    return re.findall(r"^(\w+\.py):(\d+): error: (.*)$", output, re.MULTILINE)


def pyright(folder):
    """Return file, line and message of each error."""
    settings = {"typeCheckingMode": "standard", "reportUnnecessaryComparison": "error"}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    output = run(folder, "pyright", "--outputjson", "--pythonpath", sys.executable)
    return [
        (Path(report["file"]).name, report["range"]["start"]["line"] + 1, report["message"])
        for report in json.loads(output[output.index("{") :])["generalDiagnostics"]
        if report["severity"] == "error"
    ]


def ty(folder):
    """Return file, line and message of each error."""
    output = run(folder, "ty", "check", "--output-format", "concise", "--python", sys.prefix)
    return re.findall(r"^(\w+\.py):(\d+):\d+: error(.*)$", output, re.MULTILINE)
