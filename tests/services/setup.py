#!/usr/bin/env python3
"""Makes sure that what the tests need is on this machine, a Debian or a relative of it.

System packages (redis-server, PostgreSQL's server, Python's venv) are installed by apt-get only when they are missing,
without starting a service, now or at the next boot. Everything else stays inside the checkout:
the client libraries from npm in `tests/clients/`, the Tryton template in Cargo's target folder.
Run it as often as you like; it prints one line a step and takes a moment when all is there.
"""

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys

import postgres
from processes import ROOT, Failure, cache_dir, locked, run, say, unwind_on_signals
from tryton_template import Template

NODE_MAJOR_MIN = 20

# Debian starts a service right after it is installed, unless /usr/sbin/policy-rc.d forbids it with 101,
# and enables it for the next boot. Neither is wanted: tests start private instances of their own.
# One script, so that there is one `sudo`; the machine's own policy, if any, is put back however it ends.
# An `.interconnect-kept` that is there already was left by a killed run and is the true one.
INSTALL = """
set -eu
policy=/usr/sbin/policy-rc.d
kept=$policy.interconnect-kept
restore() { if [ -e $kept ]; then mv -f $kept $policy; else rm -f $policy; fi; }
if [ -e $policy ] && [ ! -e $kept ]; then mv $policy $kept; fi
trap restore EXIT
trap 'exit 1' HUP INT TERM
printf '#!/bin/sh\\nexit 101\\n' > $policy
chmod 755 $policy
export DEBIAN_FRONTEND=noninteractive
apt-get -q update
apt-get -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 install "$@"
if [ -d /run/systemd/system ]; then
    for package in "$@"; do
        case $package in redis-server|postgresql) systemctl disable --quiet $package || true ;; esac
    done
fi
"""


def missing_packages():
    """Debian packages to install, decided by looking for what each would bring."""
    missing = []
    if shutil.which("redis-server") is None:
        missing.append("redis-server")
    if postgres.binaries() is None:
        missing.append("postgresql")
    if importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None:
        missing.append("python3-venv")
    return missing


def system_packages():
    """Installs what is missing, then looks again."""
    missing = missing_packages()
    if missing:
        names = " ".join(missing)
        by_hand = f"install by hand: {names}"
        if shutil.which("apt-get") is None:
            raise Failure(f"{names} missing and there is no apt-get here; {by_hand}")
        say("system packages", f"installing {names}")
        run([*_as_root(by_hand), "sh", "-c", INSTALL, "install", *missing], "apt-get")
        still = missing_packages()
        if still:
            raise Failure(f"apt-get ended well, but {' '.join(still)} cannot be found; {by_hand}")
    say("system packages", f"{shutil.which('redis-server')}, {postgres.binaries()}")


def _as_root(by_hand):
    """The words before a command that make it run as root."""
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo is None:
        raise Failure(f"installing needs root and there is no sudo; {by_hand}")
    # Asks for a password at a terminal; elsewhere nobody could answer.
    check = [sudo, "-v"] if sys.stdin.isatty() else [sudo, "-n", "true"]
    if subprocess.run(check, check=False, stderr=subprocess.DEVNULL).returncode != 0:
        raise Failure(f"installing needs root and sudo refused; {by_hand}")
    return [sudo, "-n"]


def client_libraries():
    """`npm ci` in tests/clients, when its lock file changed since the last time."""
    folder = ROOT / "tests" / "clients"
    lock = folder / "package-lock.json"
    if not (folder / "package.json").exists():
        say("client libraries", "tests/clients has no package.json; nothing to install")
        return
    if not lock.exists():
        raise Failure(f"{lock} is missing; run `npm install` in tests/clients and commit it")
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise Failure(f"node {NODE_MAJOR_MIN} or newer with npm is missing; install it, for example from your distribution")
    version = run([node, "--version"], "node").strip()
    major = re.match(r"v(\d+)\.", version)
    if major is None or int(major[1]) < NODE_MAJOR_MIN:
        raise Failure(f"node {NODE_MAJOR_MIN} or newer is needed, {node} is {version}")
    with locked(cache_dir() / "clients.lock"):
        stamp = folder / "node_modules" / ".interconnect-stamp"
        wanted = hashlib.sha256(lock.read_bytes() + version.encode()).hexdigest()
        if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
            say("client libraries", "npm ci in tests/clients")
            run([npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"], "npm ci", cwd=folder)
            stamp.parent.mkdir(exist_ok=True)
            stamp.write_text(wanted, encoding="utf-8")
    say("client libraries", f"ready, node {version}")


def main():
    unwind_on_signals()
    try:
        system_packages()
        client_libraries()
        Template(cache_dir() / "tryton").ensure()
    except Failure as failure:
        sys.exit(f"setup: {failure}")


if __name__ == "__main__":
    main()
