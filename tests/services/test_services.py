"""The scripts of this folder, tested against the real servers that they start. `setup.py` comes first.

    python3 -m unittest discover -s tests/services
"""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import tryton_server  # noqa: E402
from processes import Failure, cache_dir, children_of  # noqa: E402

DEADLINE_S = 60


def is_running(pid):
    """Whether a process exists and is no zombie."""
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def eventually(condition):
    """Polls a condition; how long it takes is not what is tested."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def script(name, *arguments, **options):
    return subprocess.Popen(
        [sys.executable, HERE / name, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


class PostgresAlone(unittest.TestCase):
    def test_one_that_crashes_is_back_at_its_address_and_ends_with_its_input(self):
        child = script("postgres.py", "serve")
        self.addCleanup(child.kill)
        said = json.loads(child.stdout.readline())
        port = int(said["url"].split(":")[-1].split("/")[0])
        child.send_signal(signal.SIGUSR1)
        self.assertTrue(eventually(lambda: not is_running(said["pid"])), "it did not crash")

        def answers():
            with socket.socket() as peer:
                return peer.connect_ex(("127.0.0.1", port)) == 0

        self.assertTrue(eventually(answers), "it did not come back")
        child.communicate(timeout=DEADLINE_S)
        self.assertEqual(child.returncode, 0)
        self.assertFalse(answers())


class WithServices(unittest.TestCase):
    # Prints what it was told and stays until its input ends.
    COMMAND = "import json, os, sys; print(json.dumps(dict(os.environ)), flush=True); sys.stdin.read(); sys.exit(7)"

    def start(self):
        # What a killed run leaves of its data goes with the test; PostgreSQL may run as another user, who has to get in.
        home = tempfile.mkdtemp(prefix="interconnect-services-")
        os.chmod(home, 0o755)
        self.addCleanup(shutil.rmtree, home, ignore_errors=True)
        child = script("with_services.py", "--", sys.executable, "-c", self.COMMAND, env={**os.environ, "TMPDIR": home})
        self.addCleanup(child.communicate)
        self.addCleanup(child.kill)
        line = child.stdout.readline()
        self.assertTrue(line, child.stderr.read() if not line else "")
        return child, json.loads(line), [pid for pid, _ in children_of(child.pid)]

    def assert_gone(self, pids):
        for pid in pids:
            self.assertTrue(eventually(lambda: not is_running(pid)), f"process {pid} was left running")

    def test_the_command_gets_its_services_and_its_exit_code_is_passed_on(self):
        child, told, pids = self.start()
        self.assertEqual(len(pids), 2, "the command and PostgreSQL")
        port = int(told["IT_POSTGRES_URL"].split(":")[-1].split("/")[0])
        with socket.create_connection(("127.0.0.1", port)) as connection:
            # An SSLRequest: PostgreSQL says N (or S) in one byte, nothing else on that port would.
            connection.sendall(bytes([0, 0, 0, 8, 4, 210, 22, 47]))
            self.assertIn(connection.recv(1), (b"N", b"S"))
        self.assertTrue(os.access(told["IT_REDIS_SERVER"], os.X_OK))
        self.assertTrue(pathlib.Path(told["IT_TRYTON_TEMPLATE"], "stamp").exists())
        self.assertTrue(pathlib.Path(told["IT_NODE_CLIENTS"]).is_dir())
        child.communicate()
        self.assertEqual(child.returncode, 7)
        self.assert_gone(pids)

    def test_every_way_to_end_it_ends_everything(self):
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL):
            with self.subTest(number.name):
                child, _, pids = self.start()
                if number == signal.SIGINT:
                    # As Ctrl-C does: the command gets it too.
                    for pid, name in children_of(child.pid):
                        if not name.startswith("postgres"):
                            os.kill(pid, number)
                child.send_signal(number)
                _, errors = child.communicate()
                expected = -9 if number == signal.SIGKILL else 128 + number
                self.assertEqual(child.returncode, expected, errors)
                self.assert_gone(pids)

    def test_what_the_command_leaves_behind_is_stopped_and_named(self):
        left = "sh -c 'sleep 1000 & echo $!' </dev/null; exit 0"
        child = script("with_services.py", "--", "sh", "-c", left)
        # The stray holds our pipe open, so its pid is read before the pipe ends.
        pid = int(child.stdout.readline())
        _, errors = child.communicate()
        self.assertEqual(child.returncode, 0, errors)
        self.assertIn(f"left sleep ({pid}) running", errors)
        self.assertFalse(is_running(pid))


class Tryton(unittest.TestCase):
    def serve(self, data=None):
        if data is None:
            data = tempfile.mkdtemp(prefix="interconnect-tryton-")
            self.addCleanup(shutil.rmtree, data, ignore_errors=True)
        template = str(cache_dir() / "tryton")
        child = script("tryton.py", "serve", "--template", template, "--data", data)
        self.addCleanup(child.communicate)
        self.addCleanup(child.kill)
        line = child.stdout.readline()
        self.assertTrue(line, child.stderr.read() if not line else "")
        return child, json.loads(line), data

    def test_a_copy_answers_and_keeps_its_data_over_a_restart(self):
        child, ready, data = self.serve()
        session = tryton_server.Session(ready["url"], ready["password"])
        self.assertEqual(session.context, ready["context"])
        self.assertGreater(session.call("country.country.search_count", []), 240)
        subdivision = session.call(
            "country.subdivision.search_read", [["code", "=", "US-CA"]], 0, 1, None, ["name", "country.code"]
        )
        self.assertEqual(subdivision[0]["name"], "California")
        self.assertEqual(subdivision[0]["country."]["code"], "US")
        codes = [["code", "in", ["EUR", "JPY", "KWD"]]]
        currencies = session.call("currency.currency.search_read", codes, 0, 9, None, ["code", "digits", "rounding"])
        digits = {c["code"]: (c["digits"], c["rounding"]["decimal"]) for c in currencies}
        self.assertEqual(digits, {"EUR": (2, "0.01"), "JPY": (0, "1"), "KWD": (3, "0.001")})
        [party] = session.call("party.party.create", [{"name": "Quay & Sons"}])
        amount = {"__class__": "Decimal", "decimal": "12500.50"}
        session.call("sale.opportunity.create", [{"party": party, "description": "Cranes", "amount": amount}])
        child.communicate()
        self.assertEqual(child.returncode, 0)
        self.assertTrue(eventually(lambda: not is_running(ready["pid"])))

        child, ready, _ = self.serve(data)
        session = tryton_server.Session(ready["url"], ready["password"])
        rows = session.call("sale.opportunity.search_read", [], 0, 9, None, ["amount", "state", "party.name", "company"])
        self.assertEqual([row["amount"]["decimal"] for row in rows], ["12500.50"])
        self.assertEqual((rows[0]["party."]["name"], rows[0]["state"]), ("Quay & Sons", "lead"))
        self.assertEqual(rows[0]["company"], ready["context"]["company"])

    def test_two_copies_do_not_see_each_other_and_signals_end_them(self):
        (first, one, _), (second, other, _) = self.serve(), self.serve()
        tryton_server.Session(one["url"], one["password"]).call("party.party.create", [{"name": "Only here"}])
        search = [["name", "=", "Only here"]]
        session = tryton_server.Session(other["url"], other["password"])
        self.assertEqual(session.call("party.party.search_count", search), 0)
        first.terminate()
        second.kill()
        first.communicate()
        self.assertEqual(first.returncode, 0)
        for ready in (one, other):
            self.assertTrue(eventually(lambda: not is_running(ready["pid"])))

    def test_a_refusal_is_a_failure_that_names_the_method(self):
        _, ready, _ = self.serve()
        session = tryton_server.Session(ready["url"], ready["password"])
        with self.assertRaisesRegex(Failure, "party.party.create.*UserError"):
            session.call("party.party.create", [{"name": "A", "code": "1"}, {"name": "B", "code": "1"}])

    def test_without_a_template_it_says_what_to_run(self):
        with tempfile.TemporaryDirectory() as empty:
            child = script("tryton.py", "serve", "--template", empty, "--data", empty)
            _, errors = child.communicate()
        self.assertEqual(child.returncode, 1)
        self.assertIn("setup.py", errors)


if __name__ == "__main__":
    unittest.main()
