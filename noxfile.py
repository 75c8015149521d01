"""Everything that is checked: `nox` runs the everyday sessions, `nox -l` lists all."""

from __future__ import annotations

import nox

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["lint", "typing", "tests", "tests_httpx2", "bare"]


def group(name: str) -> list[str]:
    """Give the requirements of one dependency group of pyproject.toml."""
    return list(nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), name))


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def typing(session: nox.Session) -> None:
    """Check types, by two checkers that disagree usefully."""
    session.install(".[all]", *group("typing"))
    session.run("mypy")
    session.run("pyright")


@nox.session
def tests(session: nox.Session) -> None:
    """Run every test against the built wheel; extra arguments go to pytest."""
    session.install(".[all]", *group("test"))
    session.run("pytest", "-n", "2", *session.posargs)


@nox.session
def tests_httpx2(session: nox.Session) -> None:
    """Run what sends HTTP with httpx2, the continuation of httpx."""
    session.install(".[all,httpx2]", *group("test"))
    session.run("pytest", "tests/runtime", "tests/web/test_behaviour.py", *session.posargs)


@nox.session
def bare(session: nox.Session) -> None:
    """Run the core with nothing installed but what it declares: no framework, no SQLAlchemy."""
    session.install(".", "pytest>=9", "hypothesis")
    session.run("pytest", "tests/protocol", "tests/payments", "tests/test_import_weight.py")


@nox.session
def faults(session: nox.Session) -> None:
    """Crash, kill, race, lose and freeze, at length: every figure of "never twice, never lost"."""
    session.install(".[all]", *group("test"))
    arguments = session.posargs or ["-n", "2", "-rP", "--show-capture=stdout"]
    session.run("pytest", "tests/faults", *arguments, env={"APLUS_LONG": "1", "CI": "true"})


@nox.session
def fuzz(session: nox.Session) -> None:
    """Throw a million inputs at every door, guided by coverage; or as many as the argument says."""
    session.install(".", "atheris>=3", "hypothesis", "pytest>=9")
    session.run("python", "tests/fuzz/long.py", *(session.posargs or ["1000000"]))


@nox.session
def mutation(session: nox.Session) -> None:
    """Break the code that signs, verifies, decodes and decides, line by line; print who notices."""
    session.install("-e", ".", "pytest>=9", "hypothesis", "mutmut>=3.8")
    session.run("python", "tests/mutation.py")


@nox.session
def bench(session: nox.Session) -> None:
    """Compare with hand-written code doing the same, interleaved in one run; a table and JSON."""
    session.install(".[all]", "pytest>=9")
    session.run("python", "tests/benchmarks/core.py", "core.json")
    session.run("python", "tests/benchmarks/store.py", "store.json", *session.posargs)
