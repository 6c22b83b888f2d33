"""Child processes that end with us, free ports, and the folder where built things are kept.

A *child* is a server that one of these scripts starts: PostgreSQL, Tryton.
Promised: a child is stopped by its pid and waited for; when we are killed without a chance to stop it,
the kernel ends it for us; a signal to us unwinds like an exception, so that every `finally` runs.
Not promised: anything about processes that we did not start.
"""

import ctypes
import fcntl
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

ROOT = pathlib.Path(__file__).resolve().parents[2]

# From <linux/prctl.h>.
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

# Below the range from which Linux serves "any free port" (32768 and up): a test that binds port 0
# between our look and the server's bind cannot be given the same number.
PORTS = range(15_000, 30_000)

STOP_GRACE_S = 10


class Failure(Exception):
    """What went wrong and what to do about it, in words for the person at the terminal."""


def say(step, text):
    """Prints one plain progress line."""
    print(f"{step}: {text}", file=sys.stderr, flush=True)


def cache_dir():
    """Where expensive things are kept between runs; it lies in Cargo's target folder, so `cargo clean` clears it."""
    target = os.environ.get("CARGO_TARGET_DIR") or ROOT / "target"
    return (ROOT / target / "services").resolve()


@contextmanager
def locked(path):
    """Holds an exclusive lock on `path`, so that two runs at once build a thing only once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def free_port():
    """A loopback port that nobody listens on right now. A caller retries when another process was quicker."""
    for port in random.sample(PORTS, 200):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise Failure(f"no free loopback port among 200 tried in {PORTS.start}..{PORTS.stop}")


def _prctl(option, value):
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def adopt_orphans():
    """From now on a descendant whose parent ends becomes our child, so that `stop_strays` can find it."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def spawn(command, log, death_signal=signal.SIGTERM, **options):
    """Starts a child that writes to the file `log`, reads nothing, and gets `death_signal` when we die."""
    with open(log, "ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # A new session: Ctrl-C at the terminal reaches us, and we decide the order in which things stop.
            start_new_session=True,
            preexec_fn=lambda: _prctl(PR_SET_PDEATHSIG, death_signal),
            **options,
        )


def stop(child, how=signal.SIGTERM):
    """Stops one child and waits for it; one that does not end in time is killed."""
    if child.poll() is None:
        child.send_signal(how)
        try:
            child.wait(STOP_GRACE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def wait_until(ready, child, log, what, timeout_s):
    """Polls `ready` until it is true; fails with the end of `log` when the child ends or time runs out."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        ended = child.poll() is not None
        if ended or time.monotonic() > deadline:
            reason = f"ended with {child.returncode}" if ended else f"did not answer within {timeout_s} s"
            raise Failure(f"{what} {reason}; the end of its log:\n{tail(log)}")
        time.sleep(0.05)


def tail(log, lines=20):
    """The last lines of a log file."""
    path = pathlib.Path(log)
    text = path.read_text("utf-8", "replace") if path.exists() else ""
    return "\n".join(text.splitlines()[-lines:])


def port_was_taken(log):
    """Whether a server gave up because another process was quicker to bind its port: the one failure worth another try."""
    return "already in use" in tail(log)


def run(command, what, **options):
    """Runs a command to its end, silently; when it fails, its last lines are the message."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **options
    )
    output = done.stdout.decode("utf-8", "replace")
    if done.returncode != 0:
        last = "\n".join(output.splitlines()[-20:])
        raise Failure(f"{what} failed with {done.returncode}: {' '.join(map(str, command))}\n{last}")
    return output


def unwind_on_signals():
    """Makes SIGINT, SIGTERM and SIGHUP raise `SystemExit`, once: while we stop things, a second one is ignored."""

    def unwind(number, _frame):
        ignore_signals()
        raise SystemExit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, unwind)


def ignore_signals():
    """From here on only stopping is left to do, and nothing may interrupt it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def children_of(pid):
    """(pid, name) of the direct children of a process."""
    found = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text("utf-8", "replace")
        except OSError:
            continue
        # "pid (name) state ppid …": the name may hold blanks and brackets itself.
        head, _, rest = text.rpartition(")")
        state, parent = rest.split()[:2]
        if int(parent) == pid and state != "Z":
            found.append((int(stat.parent.name), head.partition("(")[2]))
    return found


def stop_strays(keep, grace_s=3.0):
    """Stops every child of ours, adopted ones included, but for the pids in `keep`; returns what had to be stopped.

    A process that ends by itself within the grace time is not counted: a server whose pipe was just closed
    needs a moment to go.
    """
    stopped = []
    for number in (None, signal.SIGTERM, signal.SIGKILL):
        strays = [child for child in children_of(os.getpid()) if child[0] not in keep]
        if not strays:
            break
        for pid, name in strays if number else []:
            if number == signal.SIGTERM:
                stopped.append((pid, name))
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + grace_s
        while time.monotonic() < deadline and any(c[0] not in keep for c in children_of(os.getpid())):
            _reap(keep)
            time.sleep(0.05)
    _reap(keep)
    return stopped


def _reap(keep):
    """Takes the exit status of ended children that no `Popen` of ours waits for."""
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            rest = stat.read_text("utf-8", "replace").rpartition(")")[2].split()
        except OSError:
            continue
        pid = int(stat.parent.name)
        if rest[0] == "Z" and int(rest[1]) == os.getpid() and pid not in keep:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                continue
