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
    """Run the tests against the built wheel; the core's own are run by the two sessions below."""
    session.install(".[all]", *group("test"))
    core = ["--ignore=tests/protocol", "--ignore=tests/payments"]
    session.run("pytest", "-q", "-n", "2", "--durations=15", *core, *session.posargs)


@nox.session
def tests_httpx2(session: nox.Session) -> None:
    """Run what sends HTTP with httpx2, the continuation of httpx; all branches of the core run."""
    session.install(".[all,httpx2]", *group("test"))
    core = ["tests/protocol", "tests/payments", "tests/runtime"]
    counted = ["--cov=aplus_adapters.protocol", "--cov=aplus_adapters.payments", "--cov-branch"]
    whole = ["--cov-fail-under=100", "--cov-report=term-missing:skip-covered"]
    session.run("pytest", "-q", "-n", "2", *core, *counted, *whole, *session.posargs)
    # The shops' outgoing calls: one form of serving for each kind of driver is enough.
    forms = "flask-gunicorn-gthread or starlette-nested"
    session.run("pytest", "-q", "tests/web/test_behaviour.py", "-k", forms, *session.posargs)


@nox.session
def bare(session: nox.Session) -> None:
    """Run the core with nothing installed but what it declares: no framework, no SQLAlchemy."""
    session.install(".", "pytest>=9", "hypothesis")
    session.run("pytest", "-q", "tests/protocol", "tests/payments", "tests/test_import_weight.py")


# Each row: what is pinned, what is run, and why it is worth its seconds.
FLASK = "flask and not waitress and not granian"
STARLETTE = "starlette and not hypercorn and not granian"
FASTAPI = "fastapi"
CORE = ["tests/protocol", "tests/runtime", "tests/stores"]
WEB = ["tests/web/test_behaviour.py"]
ROWS = {
    "flask-lowest": (["flask==2.3.3", "werkzeug==2.3.8"], FLASK),  # the lowest that is declared
    "flask-3.0": (["flask==3.0.3"], FLASK),  # the first whose request limits changed
    "flask-newest": (["flask>=3.1.3"], FLASK),
    "starlette-lowest": (["starlette==0.37.2"], STARLETTE),  # the lowest that is declared
    "starlette-0.41": (
        ["starlette==0.41.3"],
        STARLETTE,
    ),  # root_path as the ASGI specification has it
    "starlette-0.49": (["starlette==0.49.3"], STARLETTE),
    "starlette-0.52": (["starlette==0.52.1"], STARLETTE),  # the last before 1.0
    "starlette-1.0": (["starlette==1.0.1"], STARLETTE),  # a forged Host no longer rewrites the path
    "starlette-1.3": (["starlette==1.3.1"], STARLETTE),  # the security floor
    "starlette-newest": (["starlette>=1.10"], STARLETTE),
    "fastapi-lowest": (["fastapi==0.110.3"], FASTAPI),  # the lowest that is declared
    "fastapi-0.115": (["fastapi==0.115.14"], FASTAPI),
    "fastapi-0.128": (["fastapi==0.128.8"], FASTAPI),
    "fastapi-0.135": (["fastapi==0.135.4"], FASTAPI),  # the last that keeps the prefix in its path
    "fastapi-newest": (["fastapi>=0.165"], FASTAPI),
    "lowest-core": (  # every lower bound of the core and the store at once
        ["attrs==22.2.0", "cryptography==42.0.8", "httpx==0.27.0", "SQLAlchemy==2.0.0"],
        None,
    ),
    "sqlalchemy-2.0": (["SQLAlchemy==2.0.*"], None),  # the newest of the older series
    "newest-core": (["attrs>=26", "cryptography>=50", "httpx>=0.28.1", "SQLAlchemy>=2.1"], None),
}


@nox.session
@nox.parametrize("row", list(ROWS), ids=list(ROWS))
def matrix(session: nox.Session, row: str) -> None:
    """Run one row of versions; warnings are errors where our package causes them."""
    pins, forms = ROWS[row]
    session.install(".[all]", *group("matrix"), *pins)
    what = CORE if forms is None else [*WEB, "-k", forms]
    ours = "filterwarnings=default\nerror:::aplus_adapters"
    session.run("pytest", "-q", "-n", "2", "-o", ours, *what, *session.posargs)


@nox.session(python=["3.11", "3.12", "3.13"])
def pythons(session: nox.Session) -> None:
    """Run the core and the behaviour suite on every Python that is there."""
    session.install(".[all]", *group("test"))
    session.run("pytest", "-q", "-n", "2", *CORE, *WEB, *session.posargs)


@nox.session
def faults(session: nox.Session) -> None:
    """Crash, kill, race, lose and freeze, at length: every figure of "never twice, never lost"."""
    session.install(".[all]", *group("test"))
    arguments = session.posargs or ["-n", "2", "-rP", "--show-capture=stdout"]
    session.run("pytest", "tests/faults", *arguments, env={"APLUS_LONG": "1", "CI": "true"})


@nox.session
def soak(session: nox.Session) -> None:
    """Load a shop for ten minutes under each kind of server; memory has to stay flat."""
    session.install(".[all]", *group("test"))
    # The two kinds run side by side, a core for each.
    session.run("pytest", "tests/soak", "-n", "2", "-rP", *session.posargs, env={"APLUS_LONG": "1"})


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
    session.install(".[all]", "pytest>=9", "gunicorn", "httptools", "uvloop")
    session.run("python", "tests/benchmarks/core.py", "core.json")
    session.run("python", "tests/benchmarks/web.py", "web.json")
    session.run("python", "tests/benchmarks/store.py", "store.json", *session.posargs)
