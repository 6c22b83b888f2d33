//! [`System`]: rows that people and the hub write, with an index that is late, and what it answers.
//!
//! Reading by id and writing see the rows as they are; reading what changed sees the index, in which a row appears some
//! time after it was written. Its time of change has whole seconds, by a clock of its own. A row is only updated by who
//! knows its latest edition; a *blind* system does not look, so that what a person edits is *overwritten* when the hub has
//! not read it yet, and a *mute* one does not even tell its writer the edition. A *silent* one keeps no trace of what was
//! deleted, a *strict* one refuses some values for good until somebody changes its rules, a *secretive* one does not show the key by which the hub knows what it made, and a *bulky* one takes much at
//! once as a table ([`super::jobs`]).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use outbound::header::{DATE, HeaderMap, HeaderValue};
use outbound::{Request, Response};
use serde_json::{Map, Value as Json, json};

use super::jobs::{BULK, Jobs, READ};
use super::network::Chance;
use super::reviews::REGISTERED;

/// How it is spoken to.
const MANIFEST: &str = r#"
apiVersion: interconnect/v1
kind: Connector
metadata: { name: simulated, version: 1.0.0, title: Simulated, docs: "https://simulated.example" }
connection:
  config: { host: { help: its name } }
  secrets: { client_id: of the hub, client_secret: beside it }
  base_url: "http://{{ config.host }}.example"
  auth: [ { kind: oauth2_client_credentials, token_url: "http://{{ config.host }}.example/token" } ]
  identity: { request: { method: GET, path: /me }, tenant: .account }
errors:
  - { when: { status: 401 }, class: auth_expired, message: .says }
  - { when: { status: 404 }, class: not_found, message: .says }
  - { when: { status: 429 }, class: rate_limited, wait: 2s, message: .says }
  - { when: { status: [500, 503] }, class: transient, message: .says }
record_errors:
  - { codes: [LOCKED], class: locked, retry: true }
  - { codes: [GONE], class: gone }
  - { codes: [CHANGED], class: conflict }
templates:
  row:
    id: .id
    modified: .changed
    version: .edition
    deleted: .deleted
    merged: 'select(.into != null) | {from: .id, to: .into}'
    read:
      changes:
        strategy: window_keyset
        passes: PASSES
        precision: 1s
        page: 3
        id_order: text
        request: { method: GET, path: "/{{ object }}/changes", query: { from: "{{ window.from_ms }}", to: "{{ window.to_ms }}", last: "{{ last_id | default('', true) }}", limit: "{{ limit }}" } }
        records: .rows[]
      by_ids: { batch: 4, request: { method: GET, path: "/{{ object }}/ids", query: { ids: "{{ ids | join(',') }}" } }, records: ".rows[]" }
    write:
      key: key
      batch: 4
      strategy: upsert
      find: { batch: 4, request: { method: GET, path: "/{{ object }}/keys", query: { keys: "{{ keys | join(',') }}" } }, pairs: ".rows[] | {key: .key, id}" }
      upsert: { request: { method: POST, path: "/{{ object }}/upsert", body: { jq: "[$batch[] | {key, values}]" } }, results: &results "to_entries[] | .key as $i | .value | {index: $i, ok, id, created, code, message, version: .edition, modified: .changed}" }
      update: { request: { method: POST, path: "/{{ object }}/update", body: { jq: "[$batch[] | {id, version, values}]" } }, results: *results }
      delete: { request: { method: POST, path: "/{{ object }}/delete", body: { jq: "[$batch[] | {id, version}]" } }, results: *results }
objects:
  things: { extends: row }
  orders: { extends: row }
"#;

/// The objects of a system: partners, and deals that refer to them.
pub(crate) const OBJECTS: [&str; 2] = [THINGS, ORDERS];
pub(crate) const THINGS: &str = "things";
pub(crate) const ORDERS: &str = "orders";

/// The fields of partners that people edit, as the systems name them.
pub(crate) const EDITED: [&str; 4] = ["name", "note", "industry", MAIL];
/// The field of partners that holds an address, or what people take for one.
pub(crate) const MAIL: &str = "mail";
/// The field of deals that is a set.
pub(crate) const LINES: &str = "lines";
/// The fields of deals that people edit, beside the partner and what is a set.
pub(crate) const EDITED_OF_ORDERS: [&str; 2] = ["title", "note"];

/// Every field of an object, blank or not.
const FIELDS: [(&str, &[&str]); 2] = [
    (
        THINGS,
        &[
            "domain", "name", "note", "industry", MAIL, REGISTERED, "key", "into",
        ],
    ),
    (
        ORDERS,
        &["mark", "title", "note", "stage", "partner", LINES, "key"],
    ),
];

/// Whether a value means something elsewhere.
pub(crate) fn makes_sense(field: &str, value: &Json) -> bool {
    field != MAIL || value.as_str().is_none_or(|mail| mail.contains('@'))
}

const OF_PARTNERS: &str = "
apiVersion: interconnect/v1
kind: Mapping
system: simulated
object: things
record: partner
fields:
  - { record: display_name, object: name }
  - { record: domain, object: domain }
  - { record: description, object: note }
  - { record: industry, object: industry }
  - { record: email, object: mail }
  - { record: legal_name, object: registered }
";

const OF_DEALS: &str = "
apiVersion: interconnect/v1
kind: Mapping
system: simulated
object: orders
record: deal
fields:
  - { record: name, object: title }
  - { record: stage, object: stage }
  - { record: partner, object: partner, lens: [ reference: { object: things } ] }
  - { record: next_steps, object: note }
  - { record: description, object: mark }
  - { record: product_lines, object: lines, lens: [ list ] }
";

/// How often all that is linked at a silent system is asked for by its id.
const CENSUS: &str = "      census: { every: 1m }\n    write:";

/// The passes of reading that a system needs whose index is up to a minute late, and what is not enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passes {
    Both,
    OnlyFast,
}

/// How late the index is at most.
const INDEX_LAG_MAX_MS: i64 = 40_000;
/// How far a system's clock is from ours at most.
const SKEW_MAX_MS: i64 = 3_000;

#[derive(Clone)]
pub(crate) struct Row {
    object: &'static str,
    pub(crate) values: Map<String, Json>,
    pub(crate) deleted: bool,
    changed_ms: i64,
    /// Counts what was done to it.
    edition: u64,
    /// The edition in which a person last gave a field its value.
    edited: BTreeMap<String, u64>,
    /// The last edition that the hub named when it wrote: what people said later it may not know, whatever it wrote since.
    named: u64,
    /// The edition that the hub wrote last, and where it wrote over what it had not read, the one it had: naming its own it
    /// knows no more than that.
    pub(super) ours: u64,
    missed: Option<u64>,
}

/// How a system treats who writes there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writers {
    /// Only who knows the latest edition of a row updates it, and is told the new one.
    Heeded,
    /// Everybody updates it, whatever they know of it: it is blind.
    Unheeded,
    /// Nor are they told what it is then, or when that was: it is mute.
    Untold,
}

/// How a system treats the hub.
#[derive(Clone, Copy)]
pub(crate) struct Manners {
    pub(crate) writers: Writers,
    /// Whether what changed does not tell what was deleted.
    pub(crate) silent: bool,
    /// Whether partners do not show our key.
    pub(crate) secretive: bool,
    /// Whether it takes jobs, which know no editions; nor does the hub of what they wrote.
    pub(crate) bulky: bool,
    /// Whether it has rules by which it refuses some values for good.
    pub(crate) strict: bool,
}

pub(crate) struct System {
    pub(crate) name: &'static str,
    manners: Manners,
    /// What people edited and the hub wrote over without knowing it: rows and fields.
    pub(crate) overwritten: Vec<(String, String)>,
    pub(crate) rows: BTreeMap<String, Row>,
    pub(super) jobs: Jobs,
    index: BTreeMap<String, Row>,
    /// What is on its way into the index: when it is there.
    coming: Vec<(i64, String, Row)>,
    tokens: BTreeSet<String>,
    given: u64,
    skew_ms: i64,
    /// Rows that the hub has written, whatever it was told of it.
    pub(crate) written: u64,
    /// Whether its rules hold now, if it is strict.
    pub(super) rules_hold: bool,
}

impl System {
    pub(crate) fn new(name: &'static str, manners: Manners, chance: &mut Chance) -> System {
        System {
            name,
            manners,
            overwritten: Vec::new(),
            rows: BTreeMap::new(),
            jobs: Jobs::default(),
            index: BTreeMap::new(),
            coming: Vec::new(),
            tokens: BTreeSet::new(),
            given: 0,
            skew_ms: chance.ms(2 * SKEW_MAX_MS) - SKEW_MAX_MS,
            written: 0,
            rules_hold: false,
        }
    }

    pub(crate) fn manifest(passes: Passes, manners: Manners) -> String {
        let passes = match passes {
            Passes::Both => {
                "[ { mode: best_effort, lag: 4s }, { mode: authoritative, lag: 1m, every: 30s } ]"
            }
            Passes::OnlyFast => "[ { mode: authoritative, lag: 4s } ]",
        };
        let mut manifest = MANIFEST.replace("PASSES", passes);
        if manners.bulky {
            manifest = manifest.replace("\n      strategy: upsert", BULK);
            manifest = manifest.replace("\n      by_ids:", READ);
        }
        match manners.silent {
            true => manifest.replace("    write:", CENSUS),
            false => manifest,
        }
    }

    /// The mappings of its objects; that of partners without the line of a field, where it has none yet.
    pub(crate) fn mappings(without: Option<&str>) -> [String; 2] {
        let is_line_of =
            |line: &str| without.is_some_and(|field| line.contains(&format!("object: {field} }}")));
        let lines = OF_PARTNERS.lines().filter(|line| !is_line_of(line));
        let of_partners: String = lines.flat_map(|line| [line, "\n"]).collect();
        [of_partners, OF_DEALS.to_owned()]
    }

    /// Writes a row; it comes into the index later.
    fn put(&mut self, id: &str, row: Row, now_ms: i64, chance: &mut Chance) {
        let mut row = row;
        row.changed_ms = self.shifted(now_ms).div_euclid(1_000) * 1_000;
        row.edition += 1;
        let visible = now_ms + chance.ms(INDEX_LAG_MAX_MS);
        self.coming.push((visible, id.to_owned(), row.clone()));
        self.rows.insert(id.to_owned(), row);
    }

    fn new_id(&mut self) -> String {
        format!("{}{:05}", self.name, self.rows.len() + 1)
    }

    /// What a person does there.
    pub(crate) fn make(
        &mut self,
        object: &'static str,
        values: Json,
        now_ms: i64,
        chance: &mut Chance,
    ) -> String {
        let id = self.new_id();
        let Json::Object(values) = values else {
            panic!("values are an object")
        };
        let row = Row {
            object,
            values,
            deleted: false,
            changed_ms: 0,
            edition: 0,
            edited: BTreeMap::new(),
            named: 0,
            ours: 0,
            missed: None,
        };
        self.put(&id, row, now_ms, chance);
        id
    }

    pub(crate) fn edit(&mut self, id: &str, field: &str, value: Json, now_ms: i64, chance: &mut Chance) {
        let mut row = self.rows[id].clone();
        row.values.insert(field.to_owned(), value);
        row.edited.insert(field.to_owned(), row.edition + 1);
        self.put(id, row, now_ms, chance);
    }

    /// Makes two partners one: the one that is kept takes what it has not from the other one, which says where it went, and
    /// whose deals go to the one that is kept.
    pub(crate) fn merge(&mut self, kept: &str, lost: &str, now_ms: i64, chance: &mut Chance) {
        let mut row = self.rows[lost].clone();
        row.values.insert("into".to_owned(), json!(kept));
        row.deleted = true;
        self.put(lost, row, now_ms, chance);
        let mut row = self.rows[kept].clone();
        for field in EDITED {
            if row.values.get(field).is_none_or(Json::is_null)
                && let Some(value) = self.rows[lost].values.get(field)
            {
                row.values.insert(field.to_owned(), value.clone());
            }
        }
        self.put(kept, row, now_ms, chance);
        let its = self
            .rows
            .iter()
            .filter(|(_, row)| !row.deleted && row.values.get("partner") == Some(&json!(lost)));
        let its: Vec<String> = its.map(|(id, _)| id.clone()).collect();
        for id in its {
            self.edit(&id, "partner", json!(kept), now_ms, chance);
        }
    }

    pub(crate) fn delete(&mut self, id: &str, now_ms: i64, chance: &mut Chance) {
        let mut row = self.rows[id].clone();
        row.deleted = true;
        self.put(id, row, now_ms, chance);
    }

    pub(crate) fn expire_tokens(&mut self) {
        self.tokens.clear();
    }

    /// Rows of an object that are there, by what makes them known everywhere: a partner's domain, a deal's mark.
    pub(crate) fn living(&self, object: &str) -> BTreeMap<String, Vec<String>> {
        let name = if object == THINGS { "domain" } else { "mark" };
        let mut living: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let here = |row: &Row| row.object == object && !row.deleted;
        for (id, row) in self.rows.iter().filter(|(_, row)| here(row)) {
            let name = row.values[name].as_str().unwrap().to_owned();
            living.entry(name).or_default().push(id.clone());
        }
        living
    }

    /// What a row holds of what is a set.
    pub(crate) fn lines_of(&self, order: &str) -> BTreeSet<String> {
        let lines = self.rows[order].values.get(LINES).and_then(Json::as_array);
        let lines = lines.into_iter().flatten().filter_map(Json::as_str);
        lines.map(str::to_owned).collect()
    }

    /// Whether a deal refers to a partner's row, or did before it was deleted.
    pub(crate) fn names(&self, partner: &str) -> bool {
        let named = |row: &Row| row.values.get("partner").and_then(Json::as_str) == Some(partner);
        self.rows.values().any(named)
    }

    /// The row of the partner that a deal refers to, and the partner's domain.
    pub(crate) fn partner_of(&self, order: &str) -> (&str, &str) {
        let id = self.rows[order].values["partner"].as_str().unwrap();
        (id, self.rows[id].values["domain"].as_str().unwrap())
    }

    /// Carries a request out, and says when. `faulty` lets one row of a batch be locked.
    pub(crate) fn answer(
        &mut self,
        request: &Request,
        now_ms: i64,
        faulty: bool,
        chance: &mut Chance,
    ) -> Response {
        let mut answer = self.carry_out(request, now_ms, faulty, chance);
        answer.headers.insert(DATE, date(self.shifted(now_ms)));
        answer
    }

    fn carry_out(&mut self, request: &Request, now_ms: i64, faulty: bool, chance: &mut Chance) -> Response {
        let asked: BTreeMap<String, String> = request.url.query_pairs().into_owned().collect();
        let path = request.url.path();
        if path == "/token" {
            self.given += 1;
            let token = format!("token-{}", self.given);
            self.tokens.insert(token.clone());
            return said(200, &json!({"access_token": token, "token_type": "Bearer"}));
        }
        let proof = request
            .headers
            .get("authorization")
            .and_then(|value| value.to_str().ok());
        let token = proof
            .and_then(|proof| proof.strip_prefix("Bearer "))
            .unwrap_or_default();
        if !self.tokens.contains(token) {
            return said(401, &json!({"says": "who are you?"}));
        }
        if path == "/me" {
            return said(200, &json!({"account": self.name}));
        }
        let (object, path) = path[1..].split_once('/').unwrap();
        let object = OBJECTS.into_iter().find(|known| *known == object).unwrap();
        if path.split('/').next() == Some("jobs") {
            let about = (path, asked.get("operation"));
            return self.about_jobs(object, about, request, (now_ms, faulty), chance);
        }
        if path.split('/').next() == Some("reads") {
            return self.about_reads(object, (path, &asked), request, (now_ms, faulty), chance);
        }
        match path {
            "count" => said(200, &json!({"count": self.all(object).len()})),
            "changes" => said(200, &json!({"rows": self.changes(object, &asked, now_ms)})),
            "ids" => {
                let ids = asked["ids"].split(',');
                let rows = ids.filter_map(|id| Some(self.shown(id, self.rows.get(id)?)));
                let rows: Vec<Json> = rows.filter(|row| row["deleted"] == false).collect();
                said(200, &json!({"rows": rows}))
            }
            "keys" => {
                let keys: Vec<&str> = asked["keys"].split(',').collect();
                let has = |row: &Row| {
                    let key = row.values.get("key").and_then(Json::as_str);
                    row.object == object && !row.deleted && key.is_some_and(|key| keys.contains(&key))
                };
                let rows = self.rows.iter().filter(|(_, row)| has(row));
                let rows: Vec<Json> = rows
                    .map(|(id, row)| json!({"id": id, "key": row.values["key"]}))
                    .collect();
                said(200, &json!({"rows": rows}))
            }
            "upsert" | "update" | "delete" => {
                let remove = path == "delete";
                let batch: Vec<Json> = serde_json::from_slice(&request.body).unwrap();
                let locked = (faulty && chance.percent(15)).then(|| chance.below(batch.len()));
                let mut results = Vec::new();
                for (index, one) in batch.iter().enumerate() {
                    results.push(match locked == Some(index) {
                        true => json!({"ok": false, "code": "LOCKED", "message": "somebody else is at it"}),
                        false if remove => self.remove(one, now_ms, chance),
                        false => self.write(object, one, now_ms, chance),
                    });
                }
                said(200, &Json::Array(results))
            }
            _ => said(404, &json!({"says": format!("there is no {path}")})),
        }
    }

    fn changes(&mut self, object: &str, asked: &BTreeMap<String, String>, now_ms: i64) -> Vec<Json> {
        let (there, coming) = std::mem::take(&mut self.coming)
            .into_iter()
            .partition(|(visible, _, _)| *visible <= now_ms);
        self.coming = coming;
        for (_, id, row) in there {
            let newer = self
                .index
                .get(&id)
                .is_none_or(|old: &Row| old.edition < row.edition);
            if newer {
                self.index.insert(id, row);
            }
        }
        // Windows are told in milliseconds of the hub's time, which begins where ours does.
        let number = |name: &str| asked[name].parse::<i64>().unwrap() - beginning_ms();
        let (from, to, last) = (number("from"), number("to"), asked["last"].as_str());
        let limit: usize = asked["limit"].parse().unwrap();
        let found = self
            .index
            .iter()
            .filter(|(_, row)| row.object == object)
            .filter(|(_, row)| !row.deleted || !self.manners.silent)
            .filter(|(id, row)| (from..to).contains(&row.changed_ms) && id.as_str() > last);
        found.take(limit).map(|(id, row)| self.shown(id, row)).collect()
    }

    /// Every row of an object as it is.
    pub(super) fn all(&self, object: &str) -> Vec<Json> {
        let rows = self.rows.iter().filter(|(_, row)| row.object == object);
        let rows = rows.filter(|(_, row)| !row.deleted || !self.manners.silent);
        rows.map(|(id, row)| self.shown(id, row)).collect()
    }

    /// What the hub deletes.
    fn remove(&mut self, one: &Json, now_ms: i64, chance: &mut Chance) -> Json {
        let id = one["id"].as_str().unwrap();
        match self.rows.get(id).filter(|row| !row.deleted) {
            None => json!({"ok": false, "code": "GONE", "message": "it was deleted"}),
            Some(row)
                if one["version"]
                    .as_str()
                    .is_some_and(|seen| seen != row.edition.to_string()) =>
            {
                json!({"ok": false, "code": "CHANGED", "message": "somebody changed it"})
            }
            Some(_) => {
                self.delete(id, now_ms, chance);
                self.written += 1;
                json!({"ok": true, "id": id})
            }
        }
    }

    pub(super) fn write(
        &mut self,
        object: &'static str,
        one: &Json,
        now_ms: i64,
        chance: &mut Chance,
    ) -> Json {
        let values = one["values"].as_object().unwrap();
        let known = match (one["id"].as_str(), one["key"].as_str()) {
            (Some(id), _) => Some(id.to_owned()),
            (None, Some(key)) => {
                let ours = |row: &Row| {
                    row.object == object && !row.deleted && row.values.get("key").is_some_and(|k| k == key)
                };
                let found = self.rows.iter().find(|(_, row)| ours(row));
                found.map(|(id, _)| id.clone())
            }
            _ => panic!("neither id nor key: {one}"),
        };
        if self.manners.strict
            && self.rules_hold
            && values.iter().any(|(field, value)| is_against_rules(field, value))
        {
            return json!({"ok": false, "code": "RULE", "message": "a rule refuses it"});
        }
        let (id, created) = match known {
            Some(id) => {
                let Some(row) = self.rows.get(&id).filter(|row| !row.deleted) else {
                    return json!({"ok": false, "code": "GONE", "message": "it was deleted"});
                };
                let known = one["version"]
                    .as_str()
                    .map(|version| version.parse::<u64>().unwrap());
                if self.manners.writers == Writers::Heeded && known.is_some_and(|known| known != row.edition)
                {
                    return json!({"ok": false, "code": "CHANGED", "message": "somebody changed it"});
                }
                let untold = self.manners.writers == Writers::Untold || self.manners.bulky;
                let missed = row.missed.filter(|_| known == Some(row.ours));
                let known = missed.or(known).or(untold.then_some(row.named));
                let unseen = values
                    .keys()
                    .filter(|field| row.edited.get(*field).copied() > known.or(Some(u64::MAX)));
                self.overwritten
                    .extend(unseen.map(|field| (id.clone(), field.clone())));
                let mut row = row.clone();
                row.values.extend(values.clone());
                row.named = known.unwrap_or_default();
                row.missed = known.filter(|known| *known < row.edition);
                row.ours = row.edition + 1;
                self.put(&id, row, now_ms, chance);
                (id, false)
            }
            None => {
                let mut values = values.clone();
                values.insert("key".to_owned(), one["key"].clone());
                (self.make(object, Json::Object(values), now_ms, chance), true)
            }
        };
        self.written += 1;
        if self.manners.writers == Writers::Untold {
            return json!({"ok": true, "id": id, "created": created});
        }
        let row = self.shown(&id, &self.rows[&id]);
        json!({"ok": true, "id": id, "created": created, "changed": row["changed"], "edition": row["edition"]})
    }

    /// A moment by its own clock.
    pub(super) fn shifted(&self, now_ms: i64) -> i64 {
        now_ms + self.skew_ms
    }

    fn shown(&self, id: &str, row: &Row) -> Json {
        let mut shown = Json::Object(row.values.clone());
        shown["id"] = json!(id);
        shown["deleted"] = json!(row.deleted);
        shown["edition"] = json!(row.edition.to_string());
        shown["changed"] = json!(told_ms(row.changed_ms));
        let fields = FIELDS.iter().find(|(object, _)| *object == row.object).unwrap();
        for field in fields.1 {
            shown.as_object_mut().unwrap().entry(*field).or_insert(Json::Null);
        }
        if self.manners.secretive && row.object == THINGS {
            shown["key"] = Json::Null;
        }
        shown
    }
}

/// Whether the rules of a strict system refuse a value: every third one that people gave.
fn is_against_rules(field: &str, value: &Json) -> bool {
    let number = value
        .as_str()
        .and_then(|value| value.strip_prefix('v')?.parse::<u64>().ok());
    ["name", "title", "note", "industry"].contains(&field)
        && number.is_some_and(|number| number.is_multiple_of(3))
}

/// A moment as an answer tells it.
pub(super) fn told_ms(ms: i64) -> String {
    let moment = jiff::Timestamp::from_millisecond(beginning_ms() + ms).unwrap();
    moment.to_string()
}

/// The present as a header tells it, by a system's clock.
fn date(now_ms: i64) -> HeaderValue {
    let now = jiff::Timestamp::from_millisecond(beginning_ms() + now_ms).unwrap();
    let told = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&now);
    HeaderValue::from_str(&told.unwrap()).unwrap()
}

fn beginning_ms() -> i64 {
    let beginning: jiff::Timestamp = super::network::BEGINNING.parse().unwrap();
    beginning.as_millisecond()
}

/// An answer.
pub(crate) fn said(status: u16, body: &Json) -> Response {
    Response {
        status,
        headers: HeaderMap::new(),
        body: Bytes::from(body.to_string()),
    }
}
