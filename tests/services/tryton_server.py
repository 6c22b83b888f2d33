"""A real Tryton on loopback, and the JSON-RPC client that its set-up and its tests need.

A *home* is a folder with `tryton.sqlite`; the server writes its configuration and log beside it.
Promised: the server answered before `start` returns; it listens on 127.0.0.1 only.
Not promised: a client for products; it knows just enough to prepare and to check a server.
"""

import base64
import gzip
import json
import os
import sqlite3
import urllib.error
import urllib.request

from processes import Failure, free_port, port_was_taken, spawn, stop, wait_until

DATABASE = "tryton"
USER = "admin"
START_TIMEOUT_S = 120
START_TRIES_MAX = 3
CALL_TIMEOUT_S = 120


def clean_environment(**more):
    """Our environment without what would redirect trytond's configuration or Python's imports."""
    redirects = ("TRYTON", "PYTHONPATH", "PYTHONHOME")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(redirects)}
    return {**kept, **more}


def write_configuration(home, port):
    """Writes `trytond.conf` into a home and returns its path."""
    path = home / "trytond.conf"
    lines = [
        "[database]",
        "uri = sqlite://",
        f"path = {home}",
        "[web]",
        f"listen = 127.0.0.1:{port}",
        "[session]",
        "authentications = password",
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


class Server:
    """One running trytond over one home."""

    def __init__(self, venv, home, port=0):
        self.venv, self.home, self.wanted_port = venv, home, port
        self.log = home / "trytond.log"
        self.child = None
        self.url = None

    def start(self):
        """Starts it on the wanted port, or on a free one for 0, and waits until it answers."""
        for attempt in range(1, START_TRIES_MAX + 1):
            port = self.wanted_port or free_port()
            self.url = f"http://127.0.0.1:{port}"
            configuration = write_configuration(self.home, port)
            command = [self.venv / "bin" / "trytond", "-c", configuration, "-d", DATABASE]
            self.child = spawn(command, self.log, cwd=self.home, env=clean_environment())
            try:
                wait_until(self._answers, self.child, self.log, "trytond", START_TIMEOUT_S)
                return self
            except Failure:
                self.stop()
                if self.wanted_port or attempt == START_TRIES_MAX or not port_was_taken(self.log):
                    raise
            except BaseException:
                self.stop()
                raise

    def stop(self):
        """Ends it, then folds SQLite's write-ahead log into the one database file, so that it can be copied."""
        if self.child is None:
            return
        stop(self.child)
        database = sqlite3.connect(self.home / f"{DATABASE}.sqlite")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.close()

    def _answers(self):
        try:
            version = _post(f"{self.url}/rpc/", {"id": 0, "method": "common.server.version", "params": []})
        except (OSError, Failure):
            return False
        return "result" in version


class Session:
    """A logged-in user. Every call carries the user's preferences as its context, as the desktop client does."""

    def __init__(self, url, password):
        self.endpoint = f"{url}/{DATABASE}/rpc/"
        self.headers = {}
        self.context = {}
        login = self._send("common.db.login", [USER, {"password": password}, "en"])
        self.user, token = login[0], login[1]
        credentials = f"{USER}:{self.user}:{token}".encode()
        self.headers = {"Authorization": "Session " + base64.b64encode(credentials).decode()}
        self.refresh()

    def refresh(self):
        """Reads the preferences again, after company or employee changed."""
        self.context = {}
        self.context = self.call("res.user.get_preferences", True)

    def call(self, method, *arguments):
        """`model.<method>` with the context as its last argument; Tryton refuses a call without one."""
        return self._send(f"model.{method}", [*arguments, self.context])

    def _send(self, method, parameters):
        reply = _post(self.endpoint, {"id": 1, "method": method, "params": parameters}, self.headers)
        if "error" in reply:
            raise Failure(f"Tryton refused {method}: {reply['error']}")
        return reply["result"]


def _post(url, body, headers=None):
    request = urllib.request.Request(
        url,
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "Accept-Encoding": "gzip", **(headers or {})},
    )
    # Without the proxies of the environment: this never leaves the machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=CALL_TIMEOUT_S) as response:
            data = response.read()
    except urllib.error.HTTPError as error:
        raise Failure(f"Tryton answered HTTP {error.code} to {body['method']}") from error
    # trytond says `Content-Encoding: gzip` for plain bodies too, so the first bytes decide.
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    return json.loads(data)
