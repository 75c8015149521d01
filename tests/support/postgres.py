"""A throw-away PostgreSQL cluster on the loopback interface, started by the tests themselves."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from aplus_adapters.simulator.ports import ReservedPort

_DEBIAN = "/usr/lib/postgresql"


def find(program):
    """Give the path of a server program: on PATH, or where Debian keeps it."""
    found = shutil.which(program)
    if found is None:
        folders = sorted(Path(_DEBIAN).glob("*/bin"), reverse=True)
        found = next((str(one / program) for one in folders if (one / program).exists()), None)
    return found


def require():
    """Skip without PostgreSQL on a developer's machine; fail where CI runs."""
    if find("initdb") is None:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL is not installed: apt-get install postgresql")
        pytest.skip("no PostgreSQL on this machine: apt-get install postgresql")


class Cluster:
    """A running server; `database` makes a database."""

    def __init__(self, more=""):
        self._more = more  # options of the server
        self.folder = Path(tempfile.mkdtemp(prefix="aplus-postgres-"))
        self._as = []
        if os.getuid() == 0:  # the server refuses to run as root
            shutil.chown(self.folder, "postgres")
            self._as = ["runuser", "-u", "postgres", "--"]
        self._port = ReservedPort()
        self._made = 0
        self._run("initdb", "-D", self.data, "-A", "trust", "-U", "postgres", "--no-sync",
                  "-E", "UTF8", "--locale=C.UTF-8")  # fmt: skip
        self.start()

    @property
    def data(self):
        return str(self.folder / "data")

    def start(self):
        options = (
            f"-c listen_addresses=127.0.0.1 -p {self._port.number} -k {self.folder} -c fsync=off "
            f"-c max_connections=200 {self._more}"
        )
        self._run(
            "pg_ctl", "-D", self.data, "-w", "-l", str(self.folder / "log"), "-o", options, "start"
        )

    def stop(self, mode="immediate"):
        self._run("pg_ctl", "-D", self.data, "-w", "-m", mode, "stop")

    def database(self, encoding="UTF8"):
        """Make a new, empty database and give its address."""
        self._made += 1
        name = f"shop{self._made}"
        locale = "" if encoding == "UTF8" else "LC_COLLATE 'C' LC_CTYPE 'C'"
        with self._connect() as connection:
            connection.execute(
                f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' {locale}"
            )
        return f"postgresql+psycopg://postgres@127.0.0.1:{self._port.number}/{name}"

    def _connect(self):
        import psycopg

        where = {"host": "127.0.0.1", "port": self._port.number, "user": "postgres"}
        return psycopg.connect(**where, dbname="postgres", autocommit=True)

    def freeze(self):
        """Stop every process of the server in its tracks; `thaw` lets them go on."""
        self._signal(signal.SIGSTOP)

    def thaw(self):
        self._signal(signal.SIGCONT)

    def remove(self):
        self.thaw()
        self.stop()
        self._port.release()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _signal(self, number):
        for pid in self._pids():
            with contextlib.suppress(ProcessLookupError):  # a backend that has just ended
                os.kill(pid, number)

    def _pids(self):
        main = int((self.folder / "data" / "postmaster.pid").read_text().splitlines()[0])
        children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        return [main, *map(int, children)]

    def _run(self, program, *arguments):
        command = [*self._as, find(program), *arguments]
        for _ in range(3):
            done = subprocess.run(
                command, cwd="/tmp", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False
            )  # fmt: skip
            if done.returncode == 0:
                return
            time.sleep(0.3)
        raise RuntimeError(f"{program}: {done.stderr[-500:]}")
