//! [`Shelf`]: a system with one kind of object, `things`, whose creations can be held back after they took effect, and whose
//! changes before they do.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{Json as Answer, Response};
use axum::routing::{get, patch};
use serde_json::{Value as Json, json};
use tokio::sync::Semaphore;

/// How it is spoken to. `hidden` is a field that no reading returns: a system that keeps our key to itself.
const MANIFEST: &str = r#"
apiVersion: interconnect/v1
kind: Connector
metadata: { name: shelf, version: 1.0.0, title: Shelf, docs: "https://shelf.example" }
connection:
  config:
    base_url: { help: the address }
    account: { default: "1", help: the account that the identity tells }
  secrets: { token: from nowhere }
  base_url: "{{ config.base_url }}"
  auth: [ { kind: bearer, header: "Bearer {{ secrets.token }}" } ]
  identity: { request: { method: GET, path: /me }, tenant: .account }
  check: { request: { method: GET, path: /me } }
limits:
  - { name: daily, kind: quota, share_percent: 80, probe_after: 15m, observe: { header: usage, used_of_after: "calls=" } }
errors:
  - { when: { status: 404 }, class: not_found, message: .says }
  - { when: { status: 409 }, class: validation, message: .says }
  - { when: { status: 410 }, class: duplicate, existing: .existing, message: .says }
  - { when: { status: 412 }, class: conflict, message: .says }
  - { when: { status: 429 }, class: rate_limited, wait: 1s, message: .says }
  - { when: { status: [500, 503] }, class: transient, message: .says }
fields:
  request: { method: GET, path: /fields }
  items: '.[] | {name, volatile: (.computed // false)}'
objects:
  things:
    id: .id
    modified: .changed
    version: .edition
    deleted: .deleted
    merged: '(.id as $to | .was[]? | {from: ., to: $to}), (select(.into != null) | {from: .id, to: .into})'
    read:
      changes:
        strategy: pages
        page: 100
        since: true
        overlap: 1h
        request: { method: GET, path: /things, query: { since: "{{ since.ms if since else 0 }}", after: "{{ after | default('', true) }}" } }
        records: .rows[]
        next: { by: cursor, value: .next }
      census: { every: 1d, ONLY }
      by_ids: { batch: 50, request: { method: GET, path: /things, query: { ids: "{{ ids | join(',') }}" } }, records: ".rows[]" }
    write:
      key: KEY
      batch: 1
      strategy: find_then_write
      find: { batch: 1, request: { method: GET, path: /things, query: { key: "{{ keys | first }}" } }, pairs: '.rows[] | {key: .ours, id: .id}' }
      create: { request: { method: POST, path: /things, body: { jq: "$batch[0].values" } }, results: '{index: 0, ok: true, id: .id, created: true}' }
      update: { request: { method: PATCH, path: "/things/{{ batch[0].id }}", body: { jq: "$batch[0].values" } }, results: '{index: 0, ok: true, id: .id, created: false}' }
      delete: { request: { method: DELETE, path: "/things/{{ batch[0].id }}" }, results: '{index: 0, ok: true, id: $batch[0].id}' }
"#;

const MAPPING: &str = "
apiVersion: interconnect/v1
kind: Mapping
system: shelf
object: things
record: partner
fields:
  - { record: display_name, object: name }
  - { record: description, object: note }
  - { record: domain, object: domain }
";

/// Things that name another thing are its deals.
const DEALS: &str = "
apiVersion: interconnect/v1
kind: Mapping
system: shelf
object: things
record: deal
when: partner
fields:
  - { record: name, object: name }
  - { record: stage, object: stage }
  - { record: partner, object: partner, lens: [ reference: { object: things } ] }
  - { record: product_lines, object: lines, lens: [ list ] }
";

/// Rows of a page of changes, as in the manifest.
const PAGE: usize = 100;

/// The field that holds our key, and whether a reading returns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Read,
    Hidden,
}

impl Key {
    fn field(self) -> &'static str {
        match self {
            Key::Read => "key",
            Key::Hidden => "hidden",
        }
    }
}

struct Held {
    rows: Vec<Json>,
    key: Key,
    calls: Vec<String>,
    made: usize,
    /// After how many more readings one is refused.
    refuse: Option<usize>,
    unwell: bool,
    silent: bool,
    passes_over: bool,
    tells_deletes: bool,
    keeps_notes: bool,
    computed: Option<&'static str>,
    visible: usize,
    listed: usize,
    /// What a listing shows that is behind.
    behind: Option<Vec<Json>>,
    used: Option<u64>,
    unheard: bool,
    /// The value that it takes nowhere.
    forbidden: Option<String>,
    /// How many creations from now on collide with another one.
    collisions: usize,
    /// The row that the next creation is taken for.
    mistakes: Option<String>,
    /// The row that whatever is to be created is already.
    existing: Option<String>,
    /// What its answers say that the time is.
    date: HeaderValue,
}

/// The system, which runs until the test's runtime ends.
#[derive(Clone)]
pub(crate) struct Shelf {
    pub(crate) url: String,
    key: Key,
    held: Arc<Mutex<Held>>,
    /// Permits for answers to creations.
    answers: Arc<Semaphore>,
    /// Permits for changes.
    changes: Arc<Semaphore>,
    /// Permits for answers to listings.
    listings: Arc<Semaphore>,
}

impl Shelf {
    pub(crate) async fn start(key: Key) -> Shelf {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shelf = Shelf {
            url: format!("http://{}", listener.local_addr().unwrap()),
            key,
            held: Arc::new(Mutex::new(Held {
                rows: Vec::new(),
                key,
                calls: Vec::new(),
                made: 0,
                refuse: None,
                unwell: false,
                silent: false,
                passes_over: false,
                tells_deletes: false,
                keeps_notes: false,
                computed: None,
                visible: usize::MAX,
                listed: usize::MAX,
                behind: None,
                used: None,
                unheard: false,
                forbidden: None,
                collisions: 0,
                mistakes: None,
                existing: None,
                // No test's clock is ahead of that: the machine's own is nobody's business.
                date: HeaderValue::from_static("Fri, 31 Dec 9999 23:59:59 GMT"),
            })),
            answers: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            changes: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            listings: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
        };
        let router = Router::new()
            .route("/me", get(|| async { Answer(json!({"account": "1"})) }))
            .route("/fields", get(fields))
            .route("/things", get(list).post(create))
            .route("/things/{id}", patch(change).delete(remove))
            .layer(axum::middleware::map_response_with_state(shelf.clone(), dated))
            .with_state(shelf.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        shelf
    }

    pub(crate) fn manifest(&self) -> String {
        let only = match self.lock().tells_deletes {
            true => ", only: volatile",
            false => "",
        };
        let strategy = "strategy: find_then_write";
        let kept = match self.lock().keeps_notes {
            true => format!("{strategy}\n      create_only: [note]"),
            false => strategy.to_owned(),
        };
        let manifest = MANIFEST.replace("KEY", self.key.field());
        manifest.replace(", ONLY", only).replace(strategy, &kept)
    }

    /// It tells what was deleted, so that a census is about what it computes.
    pub(crate) fn tells_deletes(&self) {
        self.lock().tells_deletes = true;
    }

    /// A note can be written only with a new row.
    pub(crate) fn keeps_notes(&self) {
        self.lock().keeps_notes = true;
    }

    /// From now on a field is computed.
    pub(crate) fn computes(&self, field: &'static str) {
        self.lock().computed = Some(field);
    }

    /// From now on no change moves a time of change.
    pub(crate) fn silence(&self) {
        self.lock().silent = true;
    }

    /// How much of its quota of 1,000 calls is used, as every answer tells from now on.
    pub(crate) fn tell_used(&self, calls: u64) {
        self.lock().used = Some(calls);
    }

    /// The next reading of what changed passes everything over.
    pub(crate) fn pass_over_once(&self) {
        self.lock().passes_over = true;
    }

    /// How many rows a listing shows, in the order of their making; asked by their ids all are told.
    pub(crate) fn list_only(&self, rows: usize) {
        self.lock().listed = rows;
    }

    /// From now on a listing shows every row as it is now; asked by their ids they are told as they are then.
    pub(crate) fn fall_behind(&self) {
        let mut held = self.lock();
        held.behind = Some(held.rows.clone());
    }

    pub(crate) fn catch_up(&self) {
        self.lock().behind = None;
    }

    /// What its answers say that the time is, from now on.
    pub(crate) fn tell_time(&self, date: &'static str) {
        self.lock().date = HeaderValue::from_static(date);
    }

    /// How many rows may be seen, in the order of their making.
    pub(crate) fn show_only(&self, rows: usize) {
        self.lock().visible = rows;
    }

    pub(crate) fn mapping() -> &'static str {
        MAPPING
    }

    /// The mapping with another line.
    pub(crate) fn longer_mapping() -> String {
        format!("{MAPPING}  - {{ record: legal_name, object: legal }}\n")
    }

    /// Another way to map deals: it knows a word for a stage that [`Shelf::mapping_of_deals`] does not.
    pub(crate) fn corrected_mapping_of_deals() -> String {
        let lens = ", lens: [ enum: { prospect: [prospect, warm] } ] }";
        DEALS.replace("object: stage }", &format!("object: stage{lens}"))
    }

    pub(crate) fn mapping_of_deals() -> &'static str {
        DEALS
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a person does there: a new row, …
    pub(crate) fn put(&self, values: Json) -> String {
        let row = self.lock().add(values);
        row["id"].as_str().unwrap().to_owned()
    }

    /// … a change of one, …
    pub(crate) fn edit(&self, id: &str, field: &str, value: Json) {
        let mut held = self.lock();
        let row = held.rows.iter_mut().find(|row| row["id"] == id).unwrap();
        row[field] = value;
        let changed: jiff::Timestamp = row["changed"].as_str().unwrap().parse().unwrap();
        row["changed"] = json!((changed + jiff::SignedDuration::from_mins(1)).to_string());
    }

    /// … one that moves no time of change, …
    pub(crate) fn meddle(&self, id: &str, field: &str, value: Json) {
        let mut held = self.lock();
        let row = held.rows.iter_mut().find(|row| row["id"] == id).unwrap();
        row[field] = value;
    }

    /// … and one that goes without a trace.
    pub(crate) fn take(&self, id: &str) {
        self.lock().rows.retain(|row| row["id"] != id);
    }

    /// Refuses the reading after so many others for good.
    pub(crate) fn refuse_after(&self, others: usize) {
        self.lock().refuse = Some(others);
    }

    /// Is unwell, or well again.
    pub(crate) fn be_unwell(&self, unwell: bool) {
        self.lock().unwell = unwell;
    }

    /// The next deletion takes effect, and the answer says that it did not.
    pub(crate) fn deny_one_deletion(&self) {
        self.lock().unheard = true;
    }

    /// Takes a value nowhere any more, or everything again.
    pub(crate) fn forbid(&self, value: Option<&str>) {
        self.lock().forbidden = value.map(str::to_owned);
    }

    /// The next creations collide with others.
    pub(crate) fn collide(&self, times: usize) {
        self.lock().collisions = times;
    }

    /// The next creation is answered with a row that is there already.
    pub(crate) fn mistake_for(&self, id: &str) {
        self.lock().mistakes = Some(id.to_owned());
    }

    /// From now on, whatever is to be created is a row already, or is not.
    pub(crate) fn has_all_as(&self, id: Option<&str>) {
        self.lock().existing = id.map(str::to_owned);
    }

    pub(crate) fn rows(&self) -> Vec<Json> {
        self.lock().rows.clone()
    }

    /// The calls so far, as `GET ids`, `GET changes`, `POST`, …
    pub(crate) fn calls(&self) -> Vec<String> {
        self.lock().calls.clone()
    }

    pub(crate) fn forget_calls(&self) {
        self.lock().calls.clear();
    }

    /// Creations take effect, and are not answered until [`Shelf::answer`] or [`Shelf::let_answers`].
    pub(crate) fn hold_answers(&self) {
        self.answers.forget_permits(Semaphore::MAX_PERMITS);
    }

    /// One creation is answered.
    pub(crate) fn answer(&self) {
        self.answers.add_permits(1);
    }

    pub(crate) fn let_answers(&self) {
        self.answers
            .add_permits(Semaphore::MAX_PERMITS - self.answers.available_permits());
    }

    /// Changes of ours are on their way, and take no effect until [`Shelf::let_changes`].
    pub(crate) fn hold_changes(&self) {
        self.changes.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub(crate) fn let_changes(&self) {
        self.changes.add_permits(Semaphore::MAX_PERMITS);
    }

    /// What is listed is on its way, and does not arrive until [`Shelf::let_listings`].
    pub(crate) fn hold_listings(&self) {
        self.listings.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub(crate) fn let_listings(&self) {
        self.listings.add_permits(Semaphore::MAX_PERMITS);
    }

    /// Waits until a call was received so often.
    pub(crate) async fn called(&self, call: &str, times: usize) {
        while self.calls().iter().filter(|c| *c == call).count() < times {
            tokio::task::yield_now().await;
        }
    }

    fn listed(&self, asked: &Asked) -> Result<(HeaderMap, Answer<Json>), Refused> {
        let mut held = self.lock();
        if held.unwell {
            return Err((StatusCode::SERVICE_UNAVAILABLE, Answer(json!({"says": "unwell"}))));
        }
        let refused = held.refuse == Some(0);
        held.refuse = held.refuse.and_then(|others| others.checked_sub(1));
        if refused {
            return Err((StatusCode::NOT_FOUND, Answer(json!({"says": "not now"}))));
        }
        let field = held.key.field();
        let named = asked.ids.is_some() || asked.key.is_some();
        let passed_over = !named && std::mem::take(&mut held.passes_over);
        let wanted = |row: &&Json| match (&asked.ids, &asked.key) {
            (Some(ids), _) => ids.split(',').any(|id| row["id"] == id) && row["deleted"] != true,
            (_, Some(key)) => row[field] == key.as_str() && row["deleted"] != true,
            // Who asks for everything is shown it.
            _ => (!held.silent || asked.since.as_deref() == Some("0")) && !passed_over,
        };
        let rows = match &held.behind {
            Some(behind) if !named => behind,
            _ => &held.rows,
        };
        let rows: Vec<Json> = rows
            .iter()
            .take(if named {
                held.visible
            } else {
                held.visible.min(held.listed)
            })
            .filter(wanted)
            .map(|row| held.shown(row))
            .collect();
        let from: usize = asked
            .after
            .iter()
            .find_map(|after| after.parse().ok())
            .unwrap_or(0);
        let next = (rows.len() > from + PAGE).then_some(from + PAGE);
        let rows = &rows[from.min(rows.len())..next.unwrap_or(rows.len())];
        let answer = Answer(json!({"rows": rows, "next": next.map(|next| next.to_string())}));
        let call = match asked {
            Asked { ids: Some(_), .. } => "GET ids",
            Asked { key: Some(_), .. } => "GET key",
            _ => "GET changes",
        };
        held.calls.push(call.to_owned());
        Ok((held.headers(), answer))
    }
}

impl Held {
    fn add(&mut self, values: Json) -> Json {
        self.made += 1;
        let number = self.made;
        let mut row = values;
        row["id"] = json!(format!("T{number}"));
        row["changed"] = json!(format!("2026-11-26T08:00:{:02}Z", number % 60));
        self.rows.push(row.clone());
        row
    }

    fn takes(&self, values: &Json) -> Result<(), Refused> {
        let mut values = values.as_object().into_iter().flat_map(serde_json::Map::values);
        match values.any(|value| value.is_string() && value.as_str() == self.forbidden.as_deref()) {
            true => Err(says(StatusCode::CONFLICT, "that is not allowed here")),
            false => Ok(()),
        }
    }

    fn living(&mut self, id: &str) -> Option<&mut Json> {
        let mut rows = self.rows.iter_mut();
        rows.find(|row| row["id"] == id && row["deleted"] != true)
    }

    fn headers(&self) -> HeaderMap {
        let used = self.used.map(|used| format!("calls={used}/1000"));
        let used = used.map(|used| (HeaderName::from_static("usage"), used.parse().unwrap()));
        used.into_iter().collect()
    }

    /// A row as a reading returns it.
    fn shown(&self, row: &Json) -> Json {
        let mut row = row.clone();
        row["ours"] = row[self.key.field()].clone();
        row.as_object_mut().unwrap().remove("hidden");
        row
    }
}

#[derive(serde::Deserialize)]
struct Asked {
    ids: Option<String>,
    after: Option<String>,
    since: Option<String>,
    key: Option<String>,
}

async fn list(
    State(shelf): State<Shelf>,
    Query(asked): Query<Asked>,
) -> Result<(HeaderMap, Answer<Json>), Refused> {
    let is_listing = asked.ids.is_none() && asked.key.is_none();
    let listed = shelf.listed(&asked);
    if is_listing {
        drop(shelf.listings.acquire().await.unwrap());
    }
    listed
}
async fn dated(State(shelf): State<Shelf>, mut answer: Response) -> Response {
    answer.headers_mut().insert("date", shelf.lock().date.clone());
    answer
}

async fn fields(State(shelf): State<Shelf>) -> Answer<Json> {
    let mut held = shelf.lock();
    held.calls.push("GET fields".to_owned());
    let field = |name: &&str| json!({"name": name, "computed": held.computed == Some(*name)});
    Answer(["key", "name", "note"].iter().map(field).collect())
}

async fn create(
    State(shelf): State<Shelf>,
    Answer(values): Answer<Json>,
) -> Result<(HeaderMap, Answer<Json>), Refused> {
    let (headers, row) = {
        let mut held = shelf.lock();
        held.calls.push("POST".to_owned());
        held.takes(&values)?;
        if let Some(left) = held.collisions.checked_sub(1) {
            held.collisions = left;
            return Err(says(StatusCode::PRECONDITION_FAILED, "the number is taken"));
        }
        if let Some(id) = &held.existing {
            let told = json!({"says": "it is there already", "existing": id});
            return Err((StatusCode::GONE, Answer(told)));
        }
        let known = held.mistakes.take();
        let known = known.and_then(|id| held.living(&id).cloned());
        (held.headers(), known.unwrap_or_else(|| held.add(values)))
    };
    let permit = shelf.answers.acquire().await.unwrap();
    permit.forget();
    Ok((headers, Answer(row)))
}

type Refused = (StatusCode, Answer<Json>);

fn says(status: StatusCode, text: &str) -> Refused {
    (status, Answer(json!({"says": text})))
}

async fn change(
    State(shelf): State<Shelf>,
    Path(id): Path<String>,
    Answer(values): Answer<Json>,
) -> Result<Answer<Json>, Refused> {
    shelf.lock().calls.push("PATCH".to_owned());
    drop(shelf.changes.acquire().await.unwrap());
    let mut held = shelf.lock();
    held.takes(&values)?;
    let row = held
        .living(&id)
        .ok_or_else(|| says(StatusCode::NOT_FOUND, "no such thing"))?;
    for (name, value) in values.as_object().unwrap() {
        row[name] = value.clone();
    }
    // It does not tell when that was.
    let changed: jiff::Timestamp = row["changed"].as_str().unwrap().parse().unwrap();
    row["changed"] = json!((changed + jiff::SignedDuration::from_millis(1)).to_string());
    Ok(Answer(row.clone()))
}

/// Deletes a row, which stays to be told of.
async fn remove(State(shelf): State<Shelf>, Path(id): Path<String>) -> Result<StatusCode, Refused> {
    let mut held = shelf.lock();
    held.calls.push("DELETE".to_owned());
    let unheard = std::mem::take(&mut held.unheard);
    let row = held
        .living(&id)
        .ok_or_else(|| says(StatusCode::NOT_FOUND, "no such thing"))?;
    if row["needed"] == true {
        return Err(says(StatusCode::CONFLICT, "it is needed"));
    }
    row["deleted"] = json!(true);
    match unheard {
        true => Err(says(StatusCode::SERVICE_UNAVAILABLE, "not now")),
        false => Ok(StatusCode::NO_CONTENT),
    }
}
