"""Everything that is checked: `nox` runs the everyday sessions, `nox -l` lists all."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import nox

nox.options.default_venv_backend = "uv|virtualenv"
# Tests start hundreds of processes, each of which would compile what it imports for seconds.
os.environ["UV_COMPILE_BYTECODE"] = "1"
AS_IT_IS = {"UV_COMPILE_BYTECODE": "0"}  # for few processes: to compile it all takes nine seconds
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# Workers of the tests, twice as many as the machines have cores: they often wait for processes.
SIDE_BY_SIDE = ["-n", "4", "--dist", "loadgroup"]
ON_TWO_CORES = ["-n", "2"]  # where load is itself what is measured, or nothing waits
IN_BROWSERS = ["-n", "3"]  # which wait now and then; with more load pages would be late
LIMIT = "--timeout=300"  # seconds; a test that hangs says where instead of holding up the others
FIGURES = ["-rP", "--show-capture=stdout"]  # what the tests print
COVERED = Path(".coverage-data").resolve()  # what each session has run of the package
# `.ci/run` runs these, and then `servers`, `by_hand`, `httpx2` and `coverage`.
nox.options.sessions = ["lint", "typing", "tests", "bare", "core_coverage"]


def group(name: str) -> list[str]:
    """Give the requirements of one dependency group of pyproject.toml."""
    return list(nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), name))


def test(session: nox.Session, *arguments: str, **environ: str) -> None:
    """Run pytest on what is installed: no process of it finds the package in this folder first."""
    environ["PYTHONSAFEPATH"] = "1"
    # SQLite waits for the disk at every commit. Tests kill processes, never the machine.
    memory = Path("/dev/shm")  # noqa: S108
    if memory.is_dir() and shutil.disk_usage(memory).free > 2**31:
        environ["PYTEST_DEBUG_TEMPROOT"] = str(memory)
    session.run("pytest", "-q", *arguments, *session.posargs, env=environ)


def counted(session: nox.Session, name: str, *, always: bool = False) -> list[str]:
    """Return pytest's options to keep, by that name, which branches of the package it runs.

    It slows the tests down: it is done for the core, and where CI reports of the whole.
    """
    if not always and not os.environ.get("CI"):
        return []
    COVERED.mkdir(exist_ok=True)
    session.env["COVERAGE_FILE"] = str(COVERED / f".coverage.{name}")
    return ["--cov", "--cov-report="]


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def typing(session: nox.Session) -> None:
    """Check types, ours by two checkers, and what three of them say about a shop of a user's."""
    session.install(".[all]", *group("typing"), env=AS_IT_IS)
    test(session, "--noconftest", *ON_TWO_CORES, "tests/typing")


# What a person sees or types: browsers want a calmer machine, and commands are counted in every
# process of theirs.
BY_HAND = [
    "tests/scenarios",
    "tests/simulator/test_pages.py",
    "tests/simulator/test_pages_in_a_browser.py",
    "tests/test_cli.py",
    "tests/web/test_page_browser.py",
    "tests/web/test_page_everywhere.py",
    "tests/web/test_paying_in_a_browser.py",
]
# The core's own tests are run by `bare`, the types of snippets by `typing`.
REST = [
    f"--ignore={name}" for name in (*BY_HAND, "tests/protocol", "tests/payments", "tests/typing")
]


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests against the built wheel, with all stores that need no server."""
    session.install(".[all]", *group("test"))
    chosen = [*REST, "-m", "not server", "--durations=25"]
    test(session, *SIDE_BY_SIDE, LIMIT, *chosen, *counted(session, "tests"))


@nox.session
def servers(session: nox.Session) -> None:
    """Run the tests on PostgreSQL and on MariaDB, by every driver."""
    session.install(".[all]", *group("test"))
    chosen = [*REST, "-m", "server", "--durations=25"]
    test(session, *SIDE_BY_SIDE, LIMIT, *chosen, *counted(session, "servers"))


@nox.session
def by_hand(session: nox.Session) -> None:
    """Run the commands in a terminal, and pages in a browser."""
    session.install(".[all]", *group("test"))
    pictures = Path("screenshots")  # of every page in every form, for people to look at
    pictures.mkdir(exist_ok=True)
    shown = {"APLUS_SCREENSHOTS": str(pictures.resolve())}
    config = "--cov-config=tests/processes.coveragerc"
    test(session, *IN_BROWSERS, LIMIT, *BY_HAND, config, *counted(session, "by_hand"), **shown)


@nox.session
def httpx2(session: nox.Session) -> None:
    """Run what sends HTTP with httpx2, the continuation of httpx."""
    session.install(".[all,httpx2]", *group("test"), env=AS_IT_IS)
    # Leaks are looked for in `tests`, which is enough with one client.
    sends = ["tests/runtime", "--ignore=tests/runtime/test_nothing_grows.py"]
    test(session, *SIDE_BY_SIDE, LIMIT, *sends)
    # The shops' outgoing calls: one form of serving for each kind of driver is enough.
    forms = "flask-gunicorn-gthread or starlette-nested"
    test(session, "tests/web/test_behaviour.py", "-k", forms)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documents without a warning, follow every link, and run or parse every block."""
    session.install(".[all]", *group("test"), *group("docs"))
    site = Path("build/docs").resolve()
    shutil.rmtree(site, ignore_errors=True)
    strict = ["-q", "-n", "-W", "--keep-going"]
    session.run("sphinx-build", *strict, "-b", "html", "docs", str(site))
    session.run("python", "docs/check_links.py", str(site))
    test(session, *FIGURES, "--no-header", "tests/documents")


@nox.session
def release(session: nox.Session) -> None:
    """Build wheel and sdist as they are published, and check what is in them (needs an index)."""
    session.install(*group("release"), "pytest>=9")
    dist = Path("dist").resolve()
    shutil.rmtree(dist, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(dist))
    session.run("twine", "check", "--strict", *map(str, sorted(dist.iterdir())))
    built = {"APLUS_DIST": str(dist)}
    test(session, "--noconftest", "-o", "addopts=", "tests/test_release.py", **built)


EXTRAS = nox.project.load_toml("pyproject.toml")["project"]["optional-dependencies"]


@nox.session
@nox.parametrize("extra", list(EXTRAS), ids=list(EXTRAS))
def extras(session: nox.Session, extra: str) -> None:
    """Use each extra alone in an empty environment, for what the documents say that it is for."""
    session.install(f".[{extra}]")
    session.run(
        "python", str(Path("tests/extras.py").resolve()), extra, env={"PYTHONSAFEPATH": "1"}
    )


@nox.session
def audit(session: nox.Session) -> None:
    """Ask the Python advisory database about the newest of everything (needs the internet)."""
    session.install(".[all,httpx2]", "pip-audit")
    session.run("pip-audit", "--skip-editable", "--progress-spinner", "off")


@nox.session
def bare(session: nox.Session) -> None:
    """Run the core with nothing installed but what it declares: no framework, no SQLAlchemy."""
    session.install(".", "pytest>=9", "pytest-cov", "pytest-xdist", "hypothesis")
    core = ["tests/protocol", "tests/payments", "tests/test_import_weight.py"]
    test(session, *ON_TWO_CORES, *core, *counted(session, "bare", always=True))


def report(session: nox.Session, start: str, *arguments: str) -> None:
    """Report which branches were run by the sessions whose names start so."""
    session.install("coverage>=7.10")
    # In another folder than the data, which `report` would combine again, and delete.
    session.env["COVERAGE_FILE"] = str(COVERED.parent / ".coverage")
    session.run("coverage", "combine", "--keep", *map(str, COVERED.glob(f".coverage.{start}*")))
    session.run("coverage", "report", *arguments)


@nox.session
def core_coverage(session: nox.Session) -> None:
    """Report which branches of the core `bare` has run: it has to be all of them."""
    report(session, "bare", "--include=*/protocol/*,*/payments/*", "--fail-under=100")


@nox.session
def coverage(session: nox.Session) -> None:
    """Report the branches that all sessions have run of the package: 95 % or more."""
    report(session, "", "--fail-under=95")


# What rows run: the core, or the adapters in those forms of serving that are chosen by name.
CORE = ["tests/protocol", "tests/runtime", "tests/stores"]
WEB = ["tests/web/test_behaviour.py", "tests/web/test_mounting.py", "tests/web/test_consumed.py"]
FLASK = [*WEB, "-k", "flask and not waitress and not granian"]
STARLETTE = [*WEB, "-k", "starlette and not hypercorn and not granian"]
FASTAPI = [*WEB, "-k", "fastapi"]
SENDS = ["tests/runtime", WEB[0], "-k", "not TestEveryForm or gthread or starlette-nested"]
ALL = [*CORE, *WEB, "-k", "not TestEveryForm or gthread or httptools or fastapi"]
# Each row: what is pinned, what is run, and why it is worth its seconds. Security floors, as of
# November 2026, are starlette 1.3.1 and cryptography 50.0.0: what is older runs, it is not advised.
ROWS = {
    # Every lower bound of pyproject.toml at once (uv chooses them); Flask 2.3 takes Werkzeug 2.3.
    "lowest": (["--resolution", "lowest-direct", "werkzeug==2.3.8"], ALL),
    # The lowest that is declared, with the newest of everything else that it can be used with.
    "flask-2.3": (["flask==2.3.3", "werkzeug==2.3.8"], FLASK),
    # The first that takes Werkzeug 3.
    "flask-3.0": (["flask==3.0.3"], FLASK),
    # The newest; limits on bodies are each request's own since 3.1.
    "flask-3.1": (["flask>=3.1.3"], FLASK),
    # The lowest that is declared; takes root_path away as a regular expression.
    "starlette-0.37": (["starlette==0.37.2"], STARLETTE),
    # Takes root_path away as text.
    "starlette-0.41": (["starlette==0.41.3"], STARLETTE),
    # Mends the Range header of files (0.49.1).
    "starlette-0.49": (["starlette==0.49.3"], STARLETTE),
    # The last before 1.0: on_startup is still there.
    "starlette-0.52": (["starlette==0.52.1"], STARLETTE),
    # The first that a forged Host cannot give another path.
    "starlette-1.0": (["starlette==1.0.1"], STARLETTE),
    # The security floor; urlencoded forms have limits.
    "starlette-1.3": (["starlette==1.3.1"], STARLETTE),
    # The newest; closes the iterators of bodies.
    "starlette-1.10": (["starlette>=1.10"], STARLETTE),
    # The lowest that is declared: the first that takes Starlette 0.37.
    "fastapi-0.110": (["fastapi==0.110.3"], FASTAPI),
    # Holds Starlette below 0.47 and still allows pydantic 1.
    "fastapi-0.115": (["fastapi==0.115.14"], FASTAPI),
    # Holds Starlette below 1.0.
    "fastapi-0.128": (["fastapi==0.128.8"], FASTAPI),
    # Lets any Starlette in; the path of a route still has its router's prefix (0.137 lost it).
    "fastapi-0.135": (["fastapi==0.135.4"], FASTAPI),
    # The newest; wants Starlette 1.6 and Python 3.11.
    "fastapi-0.165": (["fastapi>=0.165"], FASTAPI),
    # The last httpx that there will be, and attrs and cryptography of today.
    "httpx-0.28": (["httpx==0.28.1", "attrs>=26", "cryptography>=50", "SQLAlchemy>=2.1"], SENDS),
    # Its continuation, first and newest.
    "httpx2-2.0": (["httpx2==2.0.0"], SENDS),
    "httpx2-2.16": (["httpx2>=2.16"], SENDS),
    # The older series, which is still maintained; 2.1 leaves greenlet out.
    "sqlalchemy-2.0": (["SQLAlchemy==2.0.*"], CORE),
    # The lowest that is declared: SQLite has no transaction_mode before 5.1.
    "django-4.2": (["django==4.2"], ["tests/stores/test_django.py"]),
    # The lowest that is declared, with everything else of today.
    "cryptography-42": (["cryptography==42.0.8"], CORE),
    "attrs-22": (["attrs==22.2.0"], CORE),
}


@nox.session
@nox.parametrize("row", list(ROWS), ids=list(ROWS))
def matrix(session: nox.Session, row: str) -> None:
    """Run one row of versions; warnings are errors where our package causes them."""
    pins, chosen = ROWS[row]
    session.install(".[all]", *pins)
    session.install(*group("matrix"))  # on its own, so that its tools are never the lowest
    ours = "filterwarnings=default\nerror:::aplus_adapters"
    test(session, *SIDE_BY_SIDE, "-o", ours, *chosen)


@nox.session(python=["3.11", "3.12", "3.13", "3.14"])
def pythons(session: nox.Session) -> None:
    """Run the core and the behaviour suite on every Python that is there."""
    session.install(".[all]", *group("test"))
    test(session, *SIDE_BY_SIDE, *CORE, *WEB)


@nox.session
def strangers(session: nox.Session) -> None:
    """Send every address what it never asked for, at length: the fuzzed half of the web tests."""
    session.install(".[all]", *group("test"))
    doors = [f"tests/web/test_{name}.py" for name in ("openapi", "paths", "strangers")]
    test(session, *SIDE_BY_SIDE, *FIGURES, *doors, APLUS_LONG="1")


@nox.session
def faults(session: nox.Session) -> None:
    """Crash, kill, race, lose and freeze, at length: every figure of "never twice, never lost"."""
    session.install(".[all]", *group("test"))
    test(session, *ON_TWO_CORES, *FIGURES, "tests/faults", APLUS_LONG="1", CI="true")


@nox.session
def soak(session: nox.Session) -> None:
    """Load a shop for ten minutes under each kind of server; memory has to stay flat."""
    session.install(".[all]", *group("test"))
    # The two kinds run side by side, a core for each.
    test(session, *ON_TWO_CORES, *FIGURES, "tests/soak", APLUS_LONG="1")


@nox.session
def fuzz(session: nox.Session) -> None:
    """Throw a million inputs at every door, guided by coverage; or as many as the argument says."""
    session.install(".", "atheris>=3", "hypothesis", "pytest>=9")
    session.run("python", "tests/fuzz/long.py", *(session.posargs or ["1000000"]))


@nox.session
def mutation(session: nox.Session) -> None:
    """Break the code, line by line: all that signs and decides, a sample of the rest."""
    session.install("-e", ".[all]", *group("test"), "mutmut>=3.8")
    session.run("python", "tests/mutation.py", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Compare with hand-written code doing the same, interleaved in one run; a table and JSON."""
    session.install(".[all]", "pytest>=9", "gunicorn", "httptools", "uvloop")
    missed = []  # every table is wanted, whatever an earlier one says
    rows = session.posargs
    for name, more in (
        ("core", []),
        ("web", []),
        ("polls", []),
        ("handlers", []),
        ("store", rows),
        ("asking", rows),
    ):
        report = Path(f"{name}.json")
        report.unlink(missing_ok=True)
        script = f"tests/benchmarks/{name}.py"
        session.run("python", script, str(report), *more, success_codes=[0, 1])
        results = json.loads(report.read_text())["results"]
        missed += [row["name"] for row in results if row["verdict"] == "MISSED"]
    if missed:
        session.error(f"missed: {'; '.join(missed)}")
