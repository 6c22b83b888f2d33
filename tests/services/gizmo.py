#!/usr/bin/env python3
"""Gizmo: a system that nobody has ever heard of, with a spelling of its own, for the story of one added by YAML alone.

An *outfit* is an organisation, a *bargain* is a deal; a *phase* is its stage. Times are milliseconds since 1970, amounts
are text with a unit beside them, values lie in groups (`web.host`, `worth.sum`).
The API lists rows of a kind by cursor, perhaps those changed `since`, finds them by key or by the partner's own
reference, and makes or changes one a call; every call needs the key and counts against the limit.
A change by anybody is told to the hook, signed. What stands under `/_gizmo/` is for the story: the screen that people
type at, the hook's address, what was called.

    gizmo.py

prints ONE line of JSON, {"url", "key", "secret", "limit"}, and stays until its standard input closes.
"""

import base64
import hashlib
import hmac
import json
import queue
import secrets
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

# Calls in any one second; the next one is refused.
CALLS_MAX = 10
# Rows of a page at most, so that a handful of rows is several pages.
ROWS_MAX = 4
PHASES = ["sniffing", "haggling", "signed", "dropped"]
HOOK_TIMEOUT_S = 10

# The fields of each kind: dotted where they lie in a group.
SHAPES = {
    "outfits": ["label", "web.host", "web.page", "place.town", "place.land", "ring", "partner_ref"],
    "bargains": ["headline", "phase", "worth.sum", "worth.unit", "due_ms", "outfit", "partner_ref"],
}
NUMBERS = {"due_ms"}
REQUIRED = {"outfits": {"label"}, "bargains": {"headline", "phase"}}


class Refused(Exception):
    """An answer that is no success: its status and what stands in it."""

    def __init__(self, status, says, **more):
        super().__init__(says)
        self.status, self.headers = status, more.pop("headers", {})
        self.body = {"trouble": {"says": says, **more}}


class Gizmo:
    """All that there is, behind one lock."""

    def __init__(self):
        self.lock = threading.Lock()
        self.rows = {kind: {} for kind in SHAPES}
        self.number = self.moment_ms = 0
        self.key, self.secret = secrets.token_hex(16), secrets.token_hex(16)
        self.calls, self.counted, self.closed_until = [], [], 0.0
        self.hook, self.told = None, queue.Queue()

    def admit(self, method, key):
        """Counts a call, and refuses it when it is one too many, or when others have used up the account for a while."""
        now = time.monotonic()
        self.counted = [at for at in self.counted if now - at < 1.0]
        wait_s = max(self.closed_until - now, 1.0 if len(self.counted) >= CALLS_MAX else 0.0)
        self.counted.append(now)
        back_s = int(wait_s) + 1 if wait_s > 0 else 0
        self.calls.append({"at_ms": int(now * 1000), "method": method, "back_ms": back_s * 1000})
        if back_s:
            raise Refused(429, "not so fast", headers={"Retry-After": str(back_s)})
        if not hmac.compare_digest(key or "", self.key):
            raise Refused(401, "who are you?")

    def listed(self, kind, asked):
        """A page of rows in the order of their changes, and the cursor behind it."""
        rows = sorted(self.rows[kind].values(), key=lambda row: row["changed_ms"])
        if "keys" in asked:
            return {"rows": [row for row in rows if row["key"] in asked["keys"].split(",")]}
        if "partner_ref" in asked:
            return {"rows": [row for row in rows if row.get("partner_ref") == asked["partner_ref"]]}
        behind = int(asked.get("since_ms") or 0) - 1
        if asked.get("cursor"):
            behind = int(base64.urlsafe_b64decode(asked["cursor"]))
        rows = [row for row in rows if row["changed_ms"] > behind]
        size = min(int(asked.get("size") or ROWS_MAX), ROWS_MAX)
        page, onward = rows[:size], None
        if rows[size:]:
            onward = base64.urlsafe_b64encode(str(page[-1]["changed_ms"]).encode()).decode()
        return {"rows": page, "onward": onward}

    def write(self, kind, key, given):
        """Makes a row, or changes the fields that are given; null clears."""
        checked(kind, given)
        ours = given.get("partner_ref")
        for row in self.rows[kind].values():
            if ours is not None and row.get("partner_ref") == ours and row["key"] != key:
                raise Refused(409, "we have that one", key=row["key"])
        if key is None:
            missing = REQUIRED[kind] - given.keys()
            if missing:
                raise Refused(422, f"without {min(missing)}", about=min(missing))
            self.number += 1
            key = f"{kind[0]}-{self.number}"
            self.rows[kind][key] = {"key": key}
        row = self.rows[kind].get(key)
        if row is None:
            raise Refused(404, f"no {key}")
        merge(row, given)
        self.moment_ms = max(self.moment_ms + 1, int(time.time() * 1000))
        row["changed_ms"] = self.moment_ms
        self.told.put({"about": kind, "key": key, "at_ms": self.moment_ms, "nr": self.told.qsize()})
        return row

    def shape(self, kind):
        """The fields of a kind, for people who map them."""
        fields = []
        for name in SHAPES[kind]:
            field = {"name": name, "kind": "number" if name in NUMBERS else "text", "must": name in REQUIRED[kind]}
            fields.append(field | ({"words": PHASES} if name == "phase" else {}))
        return {"fields": fields}

    def tell(self):
        """Tells the hook of every change, one after the other."""
        while True:
            body = json.dumps(self.told.get()).encode()
            if self.hook is None:
                continue
            stamp = str(int(time.time() * 1000))
            seal = hmac.new(self.secret.encode(), f"{stamp}|".encode() + body, hashlib.sha512).hexdigest()
            headers = {"Content-Type": "application/json", "X-Gizmo-Stamp": stamp, "X-Gizmo-Seal": f"seal={seal}"}
            try:
                urllib.request.urlopen(urllib.request.Request(self.hook, body, headers), timeout=HOOK_TIMEOUT_S).close()
            except OSError as error:
                # A hook that does not answer loses a hint and nothing else.
                print(f"gizmo: the hook: {error}", file=sys.stderr, flush=True)


def checked(kind, given):
    """Refuses what is no field, and values that cannot be."""
    for name, value in given.items():
        if not any(field.split(".")[0] == name for field in SHAPES[kind]):
            raise Refused(422, f"{name} is no field", about=name)
        if name == "phase" and value not in PHASES:
            raise Refused(422, f"{value} is no phase", about=name)
        if name in NUMBERS and not isinstance(value, int | None):
            raise Refused(422, f"{name} is a number", about=name)


def merge(row, given):
    for name, value in given.items():
        if isinstance(value, dict):
            merge(row.setdefault(name, {}), value)
        else:
            row[name] = value


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    gizmo = None

    def answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        try:
            status, headers, answer = 200, {}, self.dispatch(json.loads(body) if body else {})
        except Refused as refused:
            status, headers, answer = refused.status, refused.headers, refused.body
        answer = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_PATCH = answer

    def dispatch(self, given):
        address = urlsplit(self.path)
        parts = address.path.strip("/").split("/")
        asked = {name: values[0] for name, values in parse_qs(address.query).items()}
        with self.gizmo.lock:
            if parts[0] == "_gizmo":
                return self.staged(parts[1:], given)
            self.gizmo.admit(self.command, self.headers.get("X-Gizmo-Key"))
            match (self.command, *parts):
                case ("GET", "me"):
                    return {"account": {"nr": 4711}}
                case ("GET", "shape", kind) if kind in SHAPES:
                    return self.gizmo.shape(kind)
                case ("GET", kind) if kind in SHAPES:
                    return self.gizmo.listed(kind, asked)
                case ("POST", kind) if kind in SHAPES:
                    return self.gizmo.write(kind, None, given)
                case ("PATCH", kind, key) if kind in SHAPES:
                    return self.gizmo.write(kind, key, given)
        raise Refused(404, "there is nothing here")

    def staged(self, parts, given):
        """What the story does and looks at; it is not counted."""
        match (self.command, *parts):
            case ("POST", "hook"):
                self.gizmo.hook = given["url"]
            case ("POST", "close"):
                self.gizmo.closed_until = time.monotonic() + given["seconds"]
            case ("POST", "calls"):
                self.gizmo.calls, self.gizmo.counted = [], []
            case ("GET", "calls"):
                return self.gizmo.calls
            case ("GET", kind):
                return list(self.gizmo.rows[kind].values())
            case ("POST", kind):
                return self.gizmo.write(kind, None, given)
            case ("POST", kind, key):
                return self.gizmo.write(kind, key, given)
        return {}

    def log_message(self, *_):
        """Nobody reads a log of every call."""


def main():
    gizmo = Handler.gizmo = Gizmo()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    for work in (server.serve_forever, gizmo.tell):
        threading.Thread(target=work, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    print(json.dumps({"url": url, "key": gizmo.key, "secret": gizmo.secret, "limit": CALLS_MAX}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
