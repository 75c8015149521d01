"""The contract as a third party uses it: a good adapter passes, wrong ones are caught."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAD = """
import json
from aplus_adapters.testing.adapter_contract import AdapterContract
from aplus_adapters.wsgi import AplusMiddleware
from support.served import flask_application, nothing_here, starlette_application
"""
GOOD = """
class TestGood(AdapterContract):
    def application(self, pay):
        return {application}(pay)
"""
WRONG = {
    "parses and writes the body anew": """
    def application(self, pay):
        inner = flask_application(pay)
        def application(environ, start_response):
            import io
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            try:
                body = json.dumps(json.loads(body)).encode()
            except ValueError:
                pass
            environ.update({"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))})
            return inner(environ, start_response)
        return application
""",
    "leaves the signature of the acknowledgement out": """
    def application(self, pay):
        inner = flask_application(pay)
        def application(environ, start_response):
            def start(status, headers, *more):
                kept = [pair for pair in headers if pair[0].lower() != "signature"]
                return start_response(status, kept, *more)
            return inner(environ, start)
        return application
""",
    "answers every method alike": """
    def application(self, pay):
        inner = flask_application(pay)
        def application(environ, start_response):
            environ["REQUEST_METHOD"] = environ["REQUEST_METHOD"].replace("PUT", "POST")
            return inner(environ, start_response)
        return application
""",
}


def run(folder, text, *options):
    """Run a file of tests as its author would; give pytest's last line."""
    (folder / "test_theirs.py").write_text(HEAD + text)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        *options,
        "test_theirs.py",
    ]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    return done.returncode, done.stdout


@pytest.mark.parametrize("application", ["flask_application", "starlette_application"])
def test_a_good_adapter_passes(tmp_path, application):
    code, shown = run(tmp_path, GOOD.format(application=application))
    assert code == 0, shown[-2000:]


@pytest.mark.parametrize("name", WRONG)
def test_an_adapter_that_does_it_wrong_is_caught(tmp_path, name):
    code, shown = run(tmp_path, f"class TestWrong(AdapterContract):\n{WRONG[name]}", "-x")
    print(shown.rstrip().rpartition("\n")[2])
    assert code == 1
    assert "failed" in shown
    assert " error" not in shown.rpartition("\n")[2]


def test_an_adapter_that_is_none_is_told_what_to_do(tmp_path):
    code, shown = run(tmp_path, "class TestNone(AdapterContract):\n    pass\n", "-x")
    assert code == 1
    assert "TestNone: found no method application(self, pay)" in shown
