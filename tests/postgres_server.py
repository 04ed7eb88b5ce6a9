"""A real PostgreSQL server for tests: a fresh cluster in a temporary folder, on a free port.

Debian packages: `postgresql` (server; any version under /usr/lib/postgresql) and `util-linux`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from free_ports import free_port


class NoServerError(Exception):
    """PostgreSQL cannot run here; the message is the reason to skip."""


def programs() -> Path:
    """Return the newest server's folder of programs. Raises NoServerError."""
    found = sorted(
        (p for p in Path("/usr/lib/postgresql").glob("*/bin") if (p / "postgres").exists()),
        key=lambda p: int(p.parent.name) if p.parent.name.isdigit() else 0,
    )
    if not found:
        raise NoServerError("no PostgreSQL server installed (Debian package postgresql)")
    return found[-1]


class PostgresServer:
    """A running server that trusts connections from this host.

    Attributes:
        port: its TCP port on 127.0.0.1.
    """

    def __init__(self) -> None:
        self._bin = programs()
        self._user = self._unprivileged()
        self._folder = Path(tempfile.mkdtemp(prefix="pg-"))
        self._process: subprocess.Popen[bytes] | None = None
        try:
            if self._user is not None:
                entry = pwd.getpwnam(self._user)
                os.chown(self._folder, entry.pw_uid, entry.pw_gid)
            self._run("initdb", "-A", "trust", "-U", "postgres", "-N", "-D", str(self._data))
            self.port = free_port()
            self.start()
        except BaseException:
            self.close()
            raise

    def url(self, name: str, like: str = "template1") -> str:
        """Return the address of a database, made now, as a copy of another, when it does not exist."""
        import psycopg

        address = f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres"
        with psycopg.connect(address, autocommit=True) as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
            if found.fetchone() is None:
                connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{like}"')  # type: ignore[call-overload]
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{name}"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        settings = [
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            f"unix_socket_directories={self._folder}",
        ]
        small = ["-c", "shared_buffers=16MB", "-c", "max_connections=30", "-c", "autovacuum=off"]
        command = self._command(
            "postgres", "-D", str(self._data), "-p", str(self.port), *settings, *small
        )
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True
            )
        stop = time.monotonic() + 60
        ready = self._command("pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port))
        while subprocess.run(ready, check=False).returncode != 0:
            if time.monotonic() > stop or self._process.poll() is not None:
                raise NoServerError((self._folder / "log").read_text()[-2000:])
            threading.Event().wait(0.05)

    def stop(self, *, kill: bool = False) -> None:
        """Stop the server; `kill` as a power cut would."""
        if self._process is None:
            return
        group = self._process.pid
        if kill:
            os.killpg(group, signal.SIGKILL)
        elif self._process.poll() is None:
            self._run("pg_ctl", "stop", "-D", str(self._data), "-m", "immediate", "-s")
        self._process.wait(30)
        self._process = None

    def dump(self, name: str, to: str) -> None:
        """Back a database up while it is used, as `pg_dump` does; `to` is a name in the server's folder."""
        at = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres"]
        self._run("pg_dump", *at, "-Fc", "-f", str(self._folder / to), name)

    def restore(self, name: str, from_: str) -> None:
        """Put a backup in the place of a database; whoever is connected to that is thrown out."""
        at = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres"]
        self._run("dropdb", *at, "--force", name)
        self._run("createdb", *at, name)
        self._run("pg_restore", *at, "-d", name, str(self._folder / from_))

    def keep_files(self) -> None:
        """Copy the files of the stopped server."""
        shutil.rmtree(self._folder / "kept", ignore_errors=True)
        subprocess.run(["cp", "-a", self._data, self._folder / "kept"], check=True)

    def put_back_files(self) -> None:
        """Put the copied files in the place of those of the stopped server."""
        shutil.rmtree(self._data)
        subprocess.run(["cp", "-a", self._folder / "kept", self._data], check=True)

    def close(self) -> None:
        """Stop the server and remove everything."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def process(self) -> int:
        """The id of the server's first process."""
        return 0 if self._process is None else self._process.pid

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    @staticmethod
    def _unprivileged() -> str | None:
        """Return the user to run as: PostgreSQL refuses root."""
        if os.getuid() != 0:
            return None
        for name in ("postgres", "nobody"):
            try:
                pwd.getpwnam(name)
            except KeyError:
                continue
            return name
        raise NoServerError("running as root and there is no user postgres or nobody")

    def _command(self, program: str, *arguments: str) -> list[str]:
        command = [str(self._bin / program), *arguments]
        if self._user is None:
            return command
        return [
            "setpriv",
            f"--reuid={self._user}",
            f"--regid={self._group()}",
            "--clear-groups",
            *command,
        ]

    def _group(self) -> int:
        return pwd.getpwnam(str(self._user)).pw_gid

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            self._command(program, *arguments),
            check=False,
            capture_output=True,
            text=True,
            cwd=self._folder,
        )
        if done.returncode != 0:
            raise NoServerError(f"{program}: {done.stderr[-2000:]}")
