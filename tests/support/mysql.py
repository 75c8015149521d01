"""A throw-away MariaDB server on the loopback interface, started by the tests themselves."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from aplus_adapters.simulator.ports import ReservedPort


def find(program):
    """Give the path of a server program: on PATH, or where Debian keeps it."""
    return shutil.which(program) or shutil.which(program, path="/usr/sbin")


def require():
    """Skip without MariaDB on a developer's machine; fail where CI runs."""
    if find("mariadbd") is None:
        if os.environ.get("CI"):
            pytest.fail("MariaDB is not installed: apt-get install mariadb-server")
        pytest.skip("no MariaDB on this machine: apt-get install mariadb-server")


class Cluster:
    """A running server; `database()` makes a database."""

    def __init__(self, *options):
        # Where the tests' own files are, in memory if the session says so: making our tables takes
        # a second on a disk.
        place = os.environ.get("PYTEST_DEBUG_TEMPROOT")
        self.folder = Path(tempfile.mkdtemp(prefix="aplus-mysql-", dir=place))
        self._as, self._options = [], options
        # A server that starts deletes the temporary tables of every other one in the same folder.
        temporary = self.folder / "tmp"
        temporary.mkdir()
        self._environ = {**os.environ, "TMPDIR": str(temporary)}
        if os.getuid() == 0:  # the server refuses to run as root
            for folder in (self.folder, temporary):
                shutil.chown(folder, "mysql")
            self._as = ["--user=mysql"]
        self._port = ReservedPort()
        self._made = 0
        done = subprocess.run(
            ["mariadb-install-db", "--no-defaults", *self._as, f"--datadir={self.folder}/data",
             "--auth-root-authentication-method=normal", "--skip-test-db"],
            cwd="/tmp", env=self._environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-500:]
        self.start()
        self.run("CREATE USER shop@'127.0.0.1' IDENTIFIED BY 'x'")
        # No right to write while the server is read-only, unlike root's.
        self.run("GRANT ALL ON `shop%`.* TO shop@'127.0.0.1'")

    def start(self):
        command = [
            find("mariadbd"), "--no-defaults", *self._as, f"--datadir={self.folder}/data",
            f"--socket={self.folder}/s", f"--port={self._port.number}", "--bind-address=127.0.0.1",
            f"--pid-file={self.folder}/pid", "--skip-name-resolve", "--max-connections=200",
            "--innodb-buffer-pool-size=64M", "--innodb-flush-method=nosync",
            "--innodb-file-per-table=0", *self._options,
        ]  # fmt: skip
        ready = self.folder / "s"
        ready.unlink(missing_ok=True)  # a server that was killed leaves it
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd="/tmp", env=self._environ, stdout=log, stderr=log
            )
        deadline = time.monotonic() + 30
        while not ready.exists():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError((self.folder / "log").read_text()[-1000:])
            time.sleep(0.05)
        self.run("SELECT 1")

    def stop(self):
        """Kill the server; what it has committed is there after `start`."""
        self._process.kill()
        self._process.wait()

    def run(self, statement):
        """Execute a statement as the server's administrator and return its rows."""
        import pymysql

        # A frozen server says nothing. By a socket of the machine there is nothing to encrypt.
        options = {"connect_timeout": 20, "read_timeout": 60, "ssl_disabled": True}
        with pymysql.connect(unix_socket=f"{self.folder}/s", user="root", **options) as connection:
            cursor = connection.cursor()
            cursor.execute(statement)
            return cursor.fetchall()

    def database(self):
        """Make a new, empty database and give its address."""
        self._made += 1
        self.run(f"CREATE DATABASE shop{self._made} CHARACTER SET utf8mb4")  # it ignores case
        return f"mysql+pymysql://shop:x@127.0.0.1:{self._port.number}/shop{self._made}"

    def freeze(self):
        """Stop the server in its tracks; `thaw` lets it go on."""
        self._process.send_signal(signal.SIGSTOP)
        # Its threads stop one after the other: until then one of them may still answer.
        tasks = Path(f"/proc/{self._process.pid}/task")
        while any(_state(task) not in "Tt" for task in tasks.iterdir()):
            time.sleep(0.001)

    def thaw(self):
        self._process.send_signal(signal.SIGCONT)

    def remove(self):
        self.thaw()
        self.stop()
        self._port.release()
        shutil.rmtree(self.folder, ignore_errors=True)


def _state(task):
    """Give the letter of a thread's state, T for one that is stopped or has ended."""
    try:
        return (task / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "T"
