"""A private PostgreSQL for one test run.

    postgres.py serve

`serve` starts one for a single test, prints ONE line of JSON on standard output, {"url", "pid"}, and stays until its
standard input closes or it gets SIGTERM. SIGUSR1 breaks it off, as a crash would, and starts it again at its address.

Promised: its own data folder, a free loopback port, everybody trusted, durable writes as in production (fsync on).
Not promised: that the data outlives the run.
"""

import json
import os
import pathlib
import pwd
import re
import select
import shutil
import signal
import sys
import tempfile

from processes import (
    Failure,
    free_port,
    ignore_signals,
    port_was_taken,
    run,
    spawn,
    stop,
    unwind_on_signals,
    wait_until,
)

CONNECTIONS_MAX = 200
START_TIMEOUT_S = 60
START_TRIES_MAX = 3
RESTART_LOOK_S = 0.05


def binaries():
    """The folder with `postgres` and `initdb`, newest version first; None when there is none."""
    # Debian keeps the server's programs out of PATH, one folder a version.
    versions = pathlib.Path("/usr/lib/postgresql").glob("*/bin/postgres")
    numbered = [p for p in versions if re.fullmatch(r"\d+(\.\d+)?", p.parts[-3])]
    for postgres in sorted(numbered, key=lambda p: float(p.parts[-3]), reverse=True):
        if (postgres.parent / "initdb").exists():
            return postgres.parent
    found = shutil.which("postgres")
    directory = pathlib.Path(found).resolve().parent if found else None
    return directory if directory and (directory / "initdb").exists() else None


def _unprivileged():
    """Options that make a child run as somebody else when we are root: PostgreSQL refuses to serve as root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise Failure("PostgreSQL cannot run as root and there is neither a user `postgres` nor `nobody`; run as another user")


class Postgres:
    """One running server; `url` names its database `postgres`. Use it with `with`."""

    def __init__(self):
        self.bin = binaries()
        if self.bin is None:
            raise Failure("PostgreSQL's server programs are missing; run `python3 tests/services/setup.py`")
        self.as_user = _unprivileged()
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="interconnect-postgres-"))
        self.child = None
        self.port = None

    @property
    def url(self):
        """Where tests connect; they create databases of their own inside."""
        return f"postgres://postgres@127.0.0.1:{self.port}/postgres"

    def __enter__(self):
        try:
            if self.as_user:
                os.chown(self.home, self.as_user["user"], self.as_user["group"])
            options = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-locale", "--no-sync"]
            run(
                [self.bin / "initdb", "-D", self.home / "data", *options],
                "creating a PostgreSQL cluster",
                cwd=self.home,
                **self.as_user,
            )
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.child is not None:
            # SIGINT is PostgreSQL's "fast" shutdown: it closes the connections that tests left open.
            stop(self.child, signal.SIGINT)
        shutil.rmtree(self.home, ignore_errors=True)

    def crash(self):
        """Ends it at once, without writing anything down, and starts it again at its address, where it recovers."""
        stop(self.child, signal.SIGQUIT)
        self._start()

    def _start(self):
        address = self.port
        for attempt in range(1, START_TRIES_MAX + 1):
            self.port = address or free_port()
            log = self.home / f"log-{attempt}"
            settings = {
                "listen_addresses": "127.0.0.1",
                "port": self.port,
                "unix_socket_directories": self.home,
                "max_connections": CONNECTIONS_MAX,
                "fsync": "on",
            }
            arguments = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
            self.child = spawn(
                [self.bin / "postgres", "-D", self.home / "data", *arguments],
                log,
                death_signal=signal.SIGINT,
                cwd=self.home,
                **self.as_user,
            )
            try:
                wait_until(self._ready, self.child, log, "PostgreSQL", START_TIMEOUT_S)
                return
            except Failure:
                stop(self.child, signal.SIGINT)
                if attempt == START_TRIES_MAX or not port_was_taken(log):
                    raise

    def _ready(self):
        """The eighth line of `postmaster.pid` is the server's own word on whether it accepts connections."""
        try:
            lines = (self.home / "data" / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) > 7 and lines[0] == str(self.child.pid) and lines[7].strip() == "ready"


def serve():
    """Serves one until nobody wants it any more."""
    wanted = []
    signal.signal(signal.SIGUSR1, lambda *_: wanted.append("crash"))
    with Postgres() as database:
        try:
            print(json.dumps({"url": database.url, "pid": database.child.pid}), flush=True)
            while True:
                readable, _, _ = select.select([sys.stdin], [], [], RESTART_LOOK_S)
                if readable and not os.read(sys.stdin.fileno(), 4096):
                    return
                if wanted:
                    wanted.clear()
                    database.crash()
        finally:
            ignore_signals()


if __name__ == "__main__":
    if sys.argv[1:] != ["serve"]:
        sys.exit("usage: postgres.py serve")
    unwind_on_signals()
    try:
        serve()
    except Failure as failure:
        sys.exit(f"postgres: {failure}")
    except SystemExit:
        # SIGTERM is how a caller ends it; it is no failure of ours.
        sys.exit(0)
