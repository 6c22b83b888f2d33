#!/usr/bin/env python3
"""Builds the Tryton template, or serves a copy of it.

    tryton.py template DIR
    tryton.py serve --template DIR --data NEWDIR [--port 0]

`serve` copies the template's database into NEWDIR (one that lies there already is served as it is), starts trytond,
waits until it answers, prints ONE line of JSON on standard output

    {"url", "database", "user", "password", "pid", "context": {"company", "employee", …}}

and stays until its standard input closes or it gets SIGTERM; then it stops trytond and ends with 0.
A test therefore starts it with a pipe as its input and only has to drop the pipe.
"""

import argparse
import json
import os
import pathlib
import select
import shutil
import sys

from processes import Failure, ignore_signals, tail, unwind_on_signals
from tryton_server import DATABASE, USER, Server, Session
from tryton_template import Template


def serve(template_dir, data, port):
    """Serves a copy until nobody wants it any more."""
    template = Template(template_dir)
    if not template.stamp.exists():
        raise Failure(f"{template_dir} holds no finished template; run `python3 tests/services/setup.py`")
    home = pathlib.Path(data).absolute()
    home.mkdir(parents=True, exist_ok=True)
    if not (home / f"{DATABASE}.sqlite").exists():
        shutil.copyfile(template.database, home / f"{DATABASE}.sqlite")
    server = Server(template.venv, home, port)
    try:
        server.start()
        session = Session(server.url, template.password)
        ready = {
            "url": server.url,
            "database": DATABASE,
            "user": USER,
            "password": template.password,
            "pid": server.child.pid,
            "context": session.context,
        }
        print(json.dumps(ready), flush=True)
        _stay(server)
    finally:
        ignore_signals()
        server.stop()


def _stay(server):
    """Returns when standard input ends; fails when trytond does."""
    while server.child.poll() is None:
        readable, _, _ = select.select([sys.stdin], [], [], 0.5)
        if readable and not os.read(sys.stdin.fileno(), 4096):
            return
    raise Failure(f"trytond ended with {server.child.returncode}; the end of its log:\n{tail(server.log)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("template", help="build the template unless it is current")
    build.add_argument("directory")
    run = commands.add_parser("serve", help="serve a copy of the template")
    run.add_argument("--template", required=True)
    run.add_argument("--data", required=True)
    run.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()

    unwind_on_signals()
    try:
        if arguments.command == "template":
            Template(arguments.directory).ensure()
        else:
            serve(arguments.template, arguments.data, arguments.port)
    except Failure as failure:
        sys.exit(f"tryton: {failure}")
    except SystemExit as stop:
        # SIGTERM is how a caller ends `serve`; it is no failure of ours.
        sys.exit(0 if arguments.command == "serve" else stop.code)


if __name__ == "__main__":
    main()
