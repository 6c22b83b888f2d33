#!/usr/bin/env python3
"""Runs a command with private services around it.

    with_services.py -- COMMAND [ARGUMENT …]

COMMAND finds in its environment

    IT_POSTGRES_URL      a running, empty PostgreSQL; a test creates a database of its own inside
    IT_TRYTON_TEMPLATE   the folder that `tryton.py serve --template` copies from
    IT_REDIS_SERVER      the program `redis-server`; a test starts instances of its own
    IT_NODE_CLIENTS      the folder with the real client libraries

Promised: its exit code is passed on; whatever we or it started is stopped by pid, also on SIGINT, SIGTERM and SIGHUP.
Not promised: that anything is installed; `setup.py` does that.
"""

import os
import shutil
import signal
import subprocess
import sys
import time

import postgres
from processes import ROOT, Failure, adopt_orphans, cache_dir, ignore_signals, say, stop, stop_strays, unwind_on_signals
from tryton_template import Template


def environment(database):
    """What COMMAND is told; fails when something is not installed."""
    redis_server = shutil.which("redis-server")
    if redis_server is None:
        raise Failure("redis-server is missing; run `python3 tests/services/setup.py`")
    template = Template(cache_dir() / "tryton")
    if not template.is_current():
        raise Failure("the Tryton template is missing or old; run `python3 tests/services/setup.py`")
    return {
        "IT_POSTGRES_URL": database.url,
        "IT_TRYTON_TEMPLATE": str(template.directory),
        "IT_REDIS_SERVER": redis_server,
        "IT_NODE_CLIENTS": str(ROOT / "tests" / "clients"),
    }


def run_command(command, variables):
    """Runs COMMAND in the foreground and returns its exit code as a shell would."""
    try:
        child = subprocess.Popen(command, env={**os.environ, **variables})
    except OSError as error:
        raise Failure(f"cannot run {command[0]}: {error.strerror}") from error
    try:
        code = child.wait()
    except SystemExit as unwinding:
        if unwinding.code == 128 + signal.SIGINT:
            # Ctrl-C reached the whole foreground group: COMMAND is ending already and may report what it has.
            _wait(child)
        stop(child)
        raise
    return code if code >= 0 else 128 - code


def _wait(child, grace_s=10):
    try:
        child.wait(grace_s)
    except subprocess.TimeoutExpired:
        return


def main():
    if len(sys.argv) < 3 or sys.argv[1] != "--":
        sys.exit("usage: with_services.py -- COMMAND [ARGUMENT …]")
    unwind_on_signals()
    adopt_orphans()
    started = time.monotonic()
    try:
        with postgres.Postgres() as database:
            variables = environment(database)
            say("services", f"PostgreSQL on {database.url} after {time.monotonic() - started:.1f} s")
            try:
                code = run_command(sys.argv[2:], variables)
            finally:
                ignore_signals()
                for pid, name in stop_strays(keep={database.child.pid}):
                    say("services", f"the command left {name} ({pid}) running; stopped it")
    except Failure as failure:
        sys.exit(f"with_services: {failure}")
    say("services", f"stopped; the command ended with {code}")
    sys.exit(code)


if __name__ == "__main__":
    main()
