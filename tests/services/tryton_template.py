"""The template: an installed Tryton and an initialised database that every test server starts from as a copy.

It holds the modules a sales team uses, all countries with their subdivisions, all currencies,
one company in US dollars, one employee, and an administrator who works for both.
Promised: it is built once and kept; it is built again when this file, the version of Python or the folder's path changes.
Not promised: that two templates have the same ids or the same password.
"""

import hashlib
import json
import pathlib
import secrets
import shutil
import subprocess
import sys
import time

from processes import Failure, locked, run, say
from tryton_server import DATABASE, Server, Session, clean_environment, write_configuration

MODULES = ("party", "company", "sale", "sale_opportunity", "currency", "country")
# 8.0 is a long-term-support series: patch releases bring fixes, never a changed schema.
# The two HTTP-facing and data packages are held at their major version for the same reason.
REQUIREMENTS = (
    "trytond==8.0.*",
    *(f"trytond_{module}==8.0.*" for module in MODULES),
    "Werkzeug==3.*",
    "pycountry==26.*",
    # Nothing of Tryton's: what stories have in Python beside it. It needs no other package.
    "standardwebhooks==1.1.*",
)
PYTHON_MIN = (3, 10)
CREATE_BATCH_MAX = 1000

# ISO 4217 minor units where they are not two; pycountry does not carry them.
MINOR_UNITS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}

# Runs inside the virtual environment, where pycountry is, and prints one JSON object.
REFERENCE_DATA = """
import json, pycountry
name = lambda text: " ".join(text.split())
print(json.dumps({
    "countries": [{"name": name(c.name), "code": c.alpha_2, "code3": c.alpha_3, "code_numeric": c.numeric}
                  for c in pycountry.countries],
    "subdivisions": [{"name": name(s.name), "code": s.code, "country": s.country_code,
                      "type": s.type.lower(), "parent": s.parent_code} for s in pycountry.subdivisions],
    "currencies": [{"name": name(c.name), "code": c.alpha_3, "numeric_code": c.numeric}
                   for c in pycountry.currencies],
}))
"""


class Template:
    """A folder with `venv/`, `home/tryton.sqlite`, `password` and the `stamp` that says what it was built from."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory).absolute()
        self.venv = self.directory / "venv"
        self.home = self.directory / "home"
        self.stamp = self.directory / "stamp"

    @property
    def database(self):
        """The file to copy."""
        return self.home / f"{DATABASE}.sqlite"

    @property
    def password(self):
        """The administrator's password, made up when the template was built."""
        return (self.directory / "password").read_text(encoding="utf-8")

    def is_current(self):
        """Whether it was built completely, by this version of this file."""
        return self.stamp.exists() and self.stamp.read_text(encoding="utf-8") == self._wanted_stamp()

    def ensure(self):
        """Builds it unless it is current."""
        with locked(self.directory.with_name(self.directory.name + ".lock")):
            if self.is_current():
                say("tryton template", f"ready in {self.directory}")
                return self
            started = time.monotonic()
            shutil.rmtree(self.directory, ignore_errors=True)
            self.home.mkdir(parents=True)
            (self.directory / "password").write_text(secrets.token_urlsafe(16), encoding="utf-8")
            self._install()
            self._initialise()
            self._seed()
            # Written last: a build that was interrupted has no stamp and starts over.
            self.stamp.write_text(self._wanted_stamp(), encoding="utf-8")
            say("tryton template", f"built in {time.monotonic() - started:.0f} s")
        return self

    def _wanted_stamp(self):
        # A virtual environment names its own path and its Python, so both are part of what was built.
        parts = [pathlib.Path(__file__).read_text(encoding="utf-8"), sys.version, str(self.directory)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def _install(self):
        if sys.version_info < PYTHON_MIN:
            wanted = ".".join(map(str, PYTHON_MIN))
            raise Failure(f"Tryton 8.0 needs Python {wanted} or newer, this is {sys.version.split()[0]}")
        say("tryton template", "installing trytond 8.0 into a virtual environment")
        run([sys.executable, "-m", "venv", self.venv], "creating a virtual environment", env=clean_environment())
        pip = [self.venv / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-input"]
        run([*pip, "--disable-pip-version-check", *REQUIREMENTS], "pip", env=clean_environment())

    def _initialise(self):
        say("tryton template", "creating its database (about half a minute)")
        # trytond-admin refuses a SQLite file that does not exist yet.
        self.database.touch()
        configuration = write_configuration(self.home, port=0)
        admin = [self.venv / "bin" / "trytond-admin", "-c", configuration, "-d", DATABASE]
        modules = ["--update", *MODULES, "--activate-dependencies"]
        run(
            [*admin, "--all", "--email", "admin@example.test", *modules],
            "trytond-admin",
            env=clean_environment(TRYTONPASSFILE=str(self.directory / "password")),
        )

    def _seed(self):
        say("tryton template", "countries, currencies, company and employee")
        reference = json.loads(
            subprocess.check_output([self.venv / "bin" / "python", "-c", REFERENCE_DATA], env=clean_environment())
        )
        # Through the running server: what another process writes stays unseen until its caches expire.
        server = Server(self.venv, self.home).start()
        try:
            session = Session(server.url, self.password)
            _create_countries(session, reference)
            _create_currencies(session, reference["currencies"])
            _create_company(session)
        finally:
            server.stop()


def _create(session, model, rows):
    """Creates rows in batches and returns their ids in the order given."""
    ids = []
    for start in range(0, len(rows), CREATE_BATCH_MAX):
        ids += session.call(f"{model}.create", rows[start : start + CREATE_BATCH_MAX])
    return ids


def _create_countries(session, reference):
    countries = reference["countries"]
    country_ids = dict(zip((c["code"] for c in countries), _create(session, "country.country", countries)))
    types = session.call("country.subdivision.fields_get", ["type"])["type"]["selection"]
    known_types = {value for value, _label in types}
    created, waiting = {}, reference["subdivisions"]
    while waiting:
        # A parent comes before its children: each round creates the rows whose parent is there already.
        batch = [s for s in waiting if s["parent"] is None or s["parent"] in created]
        if not batch:
            raise Failure(f"{len(waiting)} subdivisions name a parent that does not exist, first {waiting[0]}")
        rows = [
            {
                **subdivision,
                "country": country_ids[subdivision["country"]],
                "type": subdivision["type"] if subdivision["type"] in known_types else None,
                "parent": created.get(subdivision["parent"]),
            }
            for subdivision in batch
        ]
        created.update(zip((s["code"] for s in batch), _create(session, "country.subdivision", rows)))
        waiting = [s for s in waiting if s["code"] not in created]


def _create_currencies(session, currencies):
    digits = {code: count for count, codes in MINOR_UNITS.items() for code in codes.split()}
    rows = []
    for currency in currencies:
        count = digits.get(currency["code"], 2)
        smallest = "1" if count == 0 else f"0.{'1'.zfill(count)}"
        rounding = {"__class__": "Decimal", "decimal": smallest}
        rows.append({**currency, "digits": count, "rounding": rounding})
    _create(session, "currency.currency", rows)


def _create_company(session):
    [dollar] = session.call("currency.currency.search", [["code", "=", "USD"]], 0, 1, None)
    parties = session.call("party.party.create", [{"name": "Harbour Trading"}, {"name": "Eve Seller"}])
    [company] = session.call("company.company.create", [{"party": parties[0], "currency": dollar}])
    [employee] = session.call("company.employee.create", [{"party": parties[1], "company": company}])
    # Allowed first, chosen second: the choice is checked against what is allowed.
    allowed = {"companies": [["add", [company]]], "employees": [["add", [employee]]]}
    session.call("res.user.write", [session.user], allowed)
    session.call("res.user.write", [session.user], {"company": company, "employee": employee})
