//! Three connectors of the OData family against what an OData server was recorded to accept and to answer.
//!
//! The recordings are pairs of one server that speaks versions 2 and 4; they lie outside of the repository, where
//! `INTERCONNECT_RECORDINGS` says, or beside it. Without them these tests say that they were skipped; the connectors'
//! samples hold copies of the pairs that matter.
//! A request of ours must have the shape of the recorded one: method, path, options, literals, conditions, tokens. Where
//! a body differs, the test names the difference. Answers are the recorded ones.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use crate::testing::{Got, ManualClock, Part, Say, Server, connect, ok, parts, shipped, write};
use crate::{Class, Connection, Incoming, Outcome, Received, RecordClass, Refusal, Write};

const COMPANY: &str = "1da8be7a-55c5-466c-9c6d-a7e019d10eae";
const CUSTOMER: &str = "cf07a1e3-a792-41c1-8276-852e5f2409e9";

/// The recorded pairs by their titles; nothing when they are not at hand.
fn recordings() -> Option<BTreeMap<String, Json>> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/artifacts/erp");
    let folder = std::env::var_os("INTERCONNECT_RECORDINGS").map_or_else(beside, PathBuf::from);
    let file = folder.join("odata/replies.json");
    let Ok(text) = std::fs::read_to_string(&file) else {
        eprintln!("skipped: no recordings at {}", file.display());
        return None;
    };
    let pairs: Vec<Json> = serde_json::from_str(&text).unwrap();
    let title = |pair: &Json| pair["title"].as_str().unwrap().to_owned();
    Some(pairs.into_iter().map(|pair| (title(&pair), pair)).collect())
}

/// One answer of a replay.
#[derive(Clone, Copy)]
enum Step {
    /// The answer of a recorded pair, and how the body of our request differs from the recorded one: `+key`, `-key`,
    /// `key` for another value.
    Recorded(&'static str, &'static [&'static str]),
    /// A batch, each operation of which is answered by a step.
    Batch(&'static [Step]),
    /// A batch of parts, each of which is answered by a step.
    Parts(&'static [Step]),
    /// The answer of a recorded pair to a request of another kind.
    Elsewhere(&'static str),
    /// An answer that nobody recorded.
    Plain(&'static str),
}

use Step::{Batch, Elsewhere, Parts, Plain, Recorded};

/// A server that answers step by step, and then compares what it was asked with what was recorded.
struct Replay {
    server: Server,
    steps: Vec<Step>,
    pairs: Arc<BTreeMap<String, Json>>,
}

impl Replay {
    async fn new(steps: &[Step]) -> Option<Replay> {
        let pairs = Arc::new(recordings()?);
        let mut left: VecDeque<Step> = steps.iter().copied().collect();
        let known = Arc::clone(&pairs);
        let server = Server::start(move |got| {
            if got.line.contains("/oauth2/v2.0/token") {
                return ok(json!({"access_token": "t", "expires_in": 3599}));
            }
            let step = left.pop_front();
            let step = step.unwrap_or_else(|| panic!("not expected: {}", got.line));
            said(&known, step, got)
        })
        .await;
        Some(Replay {
            server,
            steps: steps.to_vec(),
            pairs,
        })
    }

    fn s4hana(&self) -> Connection {
        let config = json!({"base_url": self.server.url, "user": "hub", "time_zone": "UTC"});
        connect(
            &shipped("s4hana"),
            config,
            &[("password", "pw")],
            &Arc::<ManualClock>::default(),
        )
    }

    fn businesscentral(&self) -> Connection {
        let base = format!("{}/v2.0/sandbox", self.server.url);
        let config = json!({"base_url": base, "login_url": self.server.url, "company_id": COMPANY});
        let secrets = [("client_id", "id"), ("client_secret", "s")];
        connect(
            &shipped("businesscentral"),
            config,
            &secrets,
            &Arc::<ManualClock>::default(),
        )
    }

    /// Compares every request with the recorded one of its step.
    fn compare(&self) {
        let mut got = self.server.got();
        got.retain(|got| !got.line.contains("/oauth2/v2.0/token"));
        assert_eq!(got.len(), self.steps.len(), "{:?}", self.server.lines());
        for (step, got) in self.steps.iter().zip(&got) {
            match step {
                Plain(_) | Elsewhere(_) => {}
                Recorded(title, differences) => {
                    let asked = Asked::over_the_wire(got);
                    asked.like(&self.pairs, title, differences);
                }
                Parts(steps) => {
                    let (root, inner) = (got.line.strip_suffix("$batch").unwrap(), got.parts());
                    assert_eq!(inner.len(), steps.len());
                    for (step, inner) in steps.iter().zip(inner) {
                        if let Recorded(title, differences) = step {
                            Asked::in_a_part(root.trim_start_matches("POST "), got, &inner).like(
                                &self.pairs,
                                title,
                                differences,
                            );
                        }
                    }
                }
                Batch(steps) => {
                    let body = got.json();
                    let root = got.line.strip_suffix("$batch").unwrap();
                    let inner = body["requests"].as_array().unwrap();
                    assert_eq!(inner.len(), steps.len());
                    for (step, inner) in steps.iter().zip(inner) {
                        if let Recorded(title, differences) = step {
                            Asked::in_a_batch(root.trim_start_matches("POST "), inner).like(
                                &self.pairs,
                                title,
                                differences,
                            );
                        }
                    }
                }
            }
        }
    }
}

fn said(pairs: &BTreeMap<String, Json>, step: Step, got: &Got) -> Say {
    match step {
        Plain(text) => ok(text),
        Recorded(title, _) | Elsewhere(title) => {
            let pair = &pairs[title];
            let headers = pair["headers"].as_object().unwrap().iter();
            // The server of the tests writes the type of the content itself.
            let headers = headers.filter(|(name, _)| !name.eq_ignore_ascii_case("content-type"));
            let text = |text: &str| -> &'static str { text.to_owned().leak() };
            let headers = headers.map(|(name, value)| (text(name), text(value.as_str().unwrap())));
            let body = match &pair["response"] {
                Json::String(text) => text.clone(),
                json => json.to_string(),
            };
            Say::Headers(status(pair), headers.collect(), body)
        }
        Parts(steps) => {
            let headers: Vec<Vec<(&str, &str)>> = steps
                .iter()
                .map(|step| match step {
                    Recorded(title, _) | Elsewhere(title) => texts_of(&pairs[*title]["headers"]),
                    _ => Vec::new(),
                })
                .collect();
            let mut answers: Vec<Part<'_>> = Vec::new();
            for (step, headers) in steps.iter().zip(&headers) {
                answers.push(match step {
                    Recorded(title, _) | Elsewhere(title) => {
                        let pair = &pairs[*title];
                        (status(pair), headers.as_slice(), pair["response"].to_string())
                    }
                    _ => (204, &[], String::new()),
                });
            }
            parts(&answers)
        }
        Batch(steps) => {
            let requests = got.json()["requests"].as_array().unwrap().clone();
            let answers = requests.iter().zip(steps).map(|(request, step)| {
                let (status, body) = match step {
                    Recorded(title, _) | Elsewhere(title) => {
                        (status(&pairs[*title]), pairs[*title]["response"].clone())
                    }
                    Plain(text) => (200, serde_json::from_str(text).unwrap()),
                    Batch(_) | Parts(_) => panic!("a batch in a batch"),
                };
                json!({"id": request["id"], "status": status, "headers": {}, "body": body})
            });
            ok(json!({"responses": answers.collect::<Vec<_>>()}))
        }
    }
}

fn texts_of(headers: &Json) -> Vec<(&str, &str)> {
    let headers = headers.as_object().unwrap().iter();
    headers
        .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
        .collect()
}

fn status(pair: &Json) -> u16 {
    u16::try_from(pair["status"].as_u64().unwrap()).unwrap()
}

/// A request, ours or a recorded one, in the parts that are compared.
struct Asked {
    method: String,
    path: String,
    options: BTreeMap<String, String>,
    /// The conditions and tokens among its headers.
    headers: BTreeMap<String, String>,
    body: Json,
}

const COMPARED: [&str; 2] = ["if-match", "x-csrf-token"];

impl Asked {
    fn new(method: &str, address: &str, headers: &BTreeMap<String, String>, body: Json) -> Asked {
        let url = outbound::Url::parse("http://x").unwrap().join(address).unwrap();
        let decoded = |text: &str| {
            percent_encoding::percent_decode_str(text)
                .decode_utf8()
                .unwrap()
                .into_owned()
        };
        let options = url.query_pairs().map(|(n, v)| (n.into_owned(), v.into_owned()));
        let compared = headers
            .iter()
            .filter(|(name, _)| COMPARED.contains(&name.as_str()));
        Asked {
            method: method.to_owned(),
            path: decoded(url.path()),
            options: options.collect(),
            headers: compared.map(|(n, v)| (n.clone(), v.clone())).collect(),
            body,
        }
    }

    fn over_the_wire(got: &Got) -> Asked {
        let (method, address) = got.line.split_once(' ').unwrap();
        let body = serde_json::from_str(&got.body).unwrap_or_default();
        Asked::new(method, address, &got.headers, body)
    }

    fn in_a_batch(root: &str, request: &Json) -> Asked {
        let address = format!("{root}{}", request["url"].as_str().unwrap());
        let method = request["method"].as_str().unwrap();
        Asked::new(
            method,
            &address,
            &texts(&request["headers"]),
            request["body"].clone(),
        )
    }

    /// A part has the token of the whole request.
    fn in_a_part(root: &str, whole: &Got, part: &Got) -> Asked {
        let (method, address) = part.line.split_once(' ').unwrap();
        let mut headers = part.headers.clone();
        let token = whole.headers.get("x-csrf-token").cloned();
        headers.extend(token.map(|token| ("x-csrf-token".to_owned(), token)));
        let body = serde_json::from_str(&part.body).unwrap_or_default();
        Asked::new(method, &format!("{root}{address}"), &headers, body)
    }

    fn recorded(pair: &Json) -> Asked {
        let (method, address) = (pair["method"].as_str().unwrap(), pair["url"].as_str().unwrap());
        let headers = texts(&pair["request_headers"]);
        Asked::new(method, address, &headers, pair["request"].clone())
    }

    /// The path without the key of one object, when that key stands in the filter.
    fn place(&self) -> &str {
        match self.path.rsplit_once("('") {
            Some((set, _)) => set,
            None => &self.path,
        }
    }

    /// Each field that the filter compares, and the kind of literal that it is compared with.
    fn comparisons(&self) -> BTreeSet<(String, String)> {
        let filter = self.options.get("$filter").cloned().unwrap_or_default();
        let words: Vec<&str> = filter
            .split([' ', '(', ')'])
            .filter(|word| !word.is_empty())
            .collect();
        let compared = words
            .windows(3)
            .filter(|three| ["eq", "ge", "gt", "le", "lt"].contains(&three[1]));
        let kind = |literal: &str| match literal.split_once('\'') {
            Some((kind, _)) => kind.to_owned(),
            None => "plain".to_owned(),
        };
        compared
            .map(|three| (three[0].to_owned(), kind(three[2])))
            .collect()
    }

    fn like(&self, pairs: &BTreeMap<String, Json>, title: &str, differences: &[&str]) {
        let pair = &pairs[title];
        let theirs = Asked::recorded(pair);
        assert_eq!(self.method, theirs.method, "{title}");
        if self.options.contains_key("$filter") {
            assert_eq!(self.place(), theirs.place(), "{title}");
        } else {
            assert_eq!(self.path, theirs.path, "{title}");
        }
        assert_eq!(self.headers, theirs.headers, "{title}");
        let accepted: Vec<Asked> = pairs
            .values()
            .filter(|pair| status(pair) < 300)
            .map(Asked::recorded)
            .collect();
        let known: BTreeSet<&String> = accepted.iter().flat_map(|asked| asked.options.keys()).collect();
        for option in self.options.keys() {
            assert!(known.contains(option), "{title}: nobody recorded `{option}`");
        }
        let literals: BTreeSet<(String, String)> = accepted.iter().flat_map(Asked::comparisons).collect();
        for (field, kind) in self.comparisons() {
            let mut of_field = literals.iter().filter(|(f, _)| *f == field).peekable();
            let same = of_field.peek().is_none() || of_field.any(|(_, k)| *k == kind);
            assert!(same, "{title}: `{field}` is compared with `{kind}'…'`");
        }
        let mut found = Vec::new();
        differ("", &theirs.body, &self.body, &mut found);
        assert_eq!(found, differences, "{title}: {}", self.body);
    }
}

fn texts(headers: &Json) -> BTreeMap<String, String> {
    let headers = headers.as_object().into_iter().flatten();
    headers
        .map(|(name, value)| (name.to_lowercase(), value.as_str().unwrap().to_owned()))
        .collect()
}

/// How our body differs from the recorded one.
fn differ(path: &str, theirs: &Json, ours: &Json, found: &mut Vec<String>) {
    match (theirs, ours) {
        (Json::Object(theirs), Json::Object(ours)) => {
            let keys: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
            for key in keys {
                let here = format!("{path}{key}");
                match (theirs.get(key), ours.get(key)) {
                    (Some(theirs), Some(ours)) => differ(&format!("{here}."), theirs, ours, found),
                    (None, _) => found.push(format!("+{here}")),
                    (_, None) => found.push(format!("-{here}")),
                }
            }
        }
        (Json::Array(theirs), Json::Array(ours)) if theirs.len() == ours.len() => {
            theirs
                .iter()
                .zip(ours)
                .for_each(|(theirs, ours)| differ(path, theirs, ours, found));
        }
        _ if theirs == ours => {}
        _ => found.push(path.trim_end_matches('.').to_owned()),
    }
}

fn versioned(id: &str, values: Json, version: Option<&str>) -> Write {
    Write {
        version: version.map(str::to_owned),
        ..write(Some(id), "ptn_01kare9m8hfk3v9z6tq1c4x7yz", values)
    }
}

fn written(outcome: &Outcome) -> (&str, bool, Option<&str>) {
    match outcome {
        Outcome::Written {
            id, created, version, ..
        } => (id, *created, version.as_deref()),
        other => panic!("not written: {other:?}"),
    }
}

fn refused(outcome: &Outcome) -> (&RecordClass, &str) {
    match outcome {
        Outcome::Refused(error) => (&error.class, &error.message),
        other => panic!("not refused: {other:?}"),
    }
}

const CSRF: Step = Recorded("csrf fetch", &[]);
const FIRST: &str = "W/\"2026-11-23T03:41:32.503Z\"";
/// What our new partner has besides the recorded one, and what it lacks: our id has 30 characters, the recorded place 20.
const NEW_PARTNER: &[&str] = &[
    "-BusinessPartnerIDByExtSystem",
    "-CreationDate",
    "+OrganizationBPName2",
    "+OrganizationBPName3",
    "+OrganizationBPName4",
    "+to_BuPaIdentification",
    "+to_BusinessPartnerAddress.PostalCode",
    "+to_BusinessPartnerAddress.StreetName",
    "+to_BusinessPartnerAddress.StreetSuffixName",
    "+to_BusinessPartnerAddress.to_AddressUsage",
];
/// A name is four parts there.
const NAME_PARTS: &[&str] = &[
    "+OrganizationBPName2",
    "+OrganizationBPName3",
    "+OrganizationBPName4",
];

#[tokio::test]
async fn version_two_is_read_by_windows_and_by_id() {
    let steps = [CSRF, Recorded("v2 list", &[]), Recorded("v2 get", &[])];
    let Some(replay) = Replay::new(&steps).await else {
        return;
    };
    let connection = replay.s4hana();
    let fields = ["name".to_owned()];
    let page = connection
        .changes("A_BusinessPartner", &fields, None)
        .await
        .unwrap();
    let seen: Vec<(&str, Option<&str>)> = page
        .objects
        .iter()
        .map(|o| (o.id.as_str(), o.version.as_deref()))
        .collect();
    let second = Some("W/\"2026-11-23T03:41:32.573Z\"");
    assert_eq!(seen, [("1000001", Some(FIRST)), ("1000003", second)]);

    let found = connection
        .by_ids("A_BusinessPartner", &fields, &["1000001".to_owned()])
        .await
        .unwrap();
    assert_eq!(found[0].version.as_deref(), Some(FIRST));
    let plain = ["name", "city", "country"].map(|name| found[0].body[name].as_str().unwrap());
    assert_eq!(plain, ["Acme Resellers GmbH", "Berlin", "DE"]);
    replay.compare();
}

#[tokio::test]
async fn quotations_are_read_by_their_moment_and_found_by_our_key() {
    let list = Recorded("v2 quotation filter dto", &[]);
    let Some(replay) = Replay::new(&[CSRF, list, list]).await else {
        return;
    };
    let connection = replay.s4hana();
    let page = connection.changes("A_SalesQuotation", &[], None).await.unwrap();
    let quotation = &page.objects[0];
    let modified = quotation.modified.unwrap().to_string();
    assert_eq!(
        (quotation.id.as_str(), modified.as_str()),
        ("21000006", "2026-11-23T03:41:32.897Z")
    );
    assert_eq!(quotation.body["TotalNetAmount"], "12500.5");
    assert_eq!(quotation.body["name"], "Quotation 21000006");

    let same = [write(None, "ic-lead-77", json!({}))];
    let outcomes = connection.write("A_SalesQuotation", &same).await.unwrap();
    assert_eq!(written(&outcomes[0]), ("21000006", false, None));
    replay.compare();
}

#[tokio::test]
async fn new_objects_of_version_two_are_one_deep_insert() {
    let quotation = Recorded(
        "v2 quotation",
        &[
            "+DistributionChannel",
            "+OrganizationDivision",
            "+SalesOrganization",
            "-TotalNetAmount",
            "-TransactionCurrency",
            "-to_Item",
        ],
    );
    let nobody = Plain(r#"{"d": {"results": []}}"#);
    let steps = [
        CSRF,
        nobody,
        Recorded("v2 deep insert", NEW_PARTNER),
        nobody,
        quotation,
    ];
    let Some(replay) = Replay::new(&steps).await else {
        return;
    };
    let connection = replay.s4hana();
    let values = json!({"BusinessPartnerCategory": "2", "name": "Acme Resellers GmbH", "city": "Berlin", "country": "DE"});
    let partner = [write(None, "ptn_01kare9m8hfk3v9z6tq1c4x7yz", values)];
    let outcomes = connection.write("A_BusinessPartner", &partner).await.unwrap();
    assert_eq!(written(&outcomes[0]), ("1000001", true, Some(FIRST)));

    let deal = [write(None, "ic-lead-77", json!({"SoldToParty": "1000001"}))];
    let outcomes = connection.write("A_SalesQuotation", &deal).await.unwrap();
    let version = Some("W/\"2026-11-23T03:41:32.897Z\"");
    assert_eq!(written(&outcomes[0]), ("21000006", true, version));
    replay.compare();
    let cookies: BTreeSet<Option<String>> = replay.server.got()[1..]
        .iter()
        .map(|got| got.headers.get("cookie").cloned())
        .collect();
    let session = "SAP_SESSIONID_IC_100=c6feb27e-80c9-4a57-b6ab-13190d48a618";
    assert_eq!(cookies, BTreeSet::from([Some(session.to_owned())]));
}

#[tokio::test]
async fn a_token_that_has_ended_is_fetched_again_and_the_write_repeated_once() {
    let nobody = Plain(r#"{"d": {"results": []}}"#);
    // The recorded request had no token; ours has one that is not good any more.
    let steps = [
        CSRF,
        nobody,
        Elsewhere("v2 post without token"),
        CSRF,
        Recorded("v2 deep insert", NEW_PARTNER),
    ];
    let Some(replay) = Replay::new(&steps).await else {
        return;
    };
    let values = json!({"BusinessPartnerCategory": "2", "name": "Acme Resellers GmbH", "city": "Berlin", "country": "DE"});
    let partner = [write(None, "ptn_01kare9m8hfk3v9z6tq1c4x7yz", values)];
    let outcomes = replay
        .s4hana()
        .write("A_BusinessPartner", &partner)
        .await
        .unwrap();
    assert_eq!(written(&outcomes[0]), ("1000001", true, Some(FIRST)));
    replay.compare();
}

#[tokio::test]
async fn updates_of_version_two_say_which_version_they_mean() {
    let steps = [
        CSRF,
        Parts(&[Recorded("v2 patch good", NAME_PARTS)]),
        Parts(&[Recorded("v2 patch stale", NAME_PARTS)]),
    ];
    let Some(replay) = Replay::new(&steps).await else {
        return;
    };
    let connection = replay.s4hana();
    for (name, expected) in [("Acme 2", "written"), ("Acme 3", "refused")] {
        let batch = [versioned("1000001", json!({"name": name}), Some(FIRST))];
        let outcomes = connection.write("A_BusinessPartner", &batch).await.unwrap();
        if expected == "written" {
            let version = Some("W/\"2026-11-23T03:41:32.795Z\"");
            assert_eq!(written(&outcomes[0]), ("1000001", false, version));
        } else {
            let conflict = (&RecordClass::Conflict, "Precondition Failed");
            assert_eq!(refused(&outcomes[0]), conflict);
        }
    }
    replay.compare();
}

#[tokio::test]
async fn an_address_and_what_belongs_to_it_are_parts_of_one_request() {
    let row = Recorded("v2 get", &[]);
    let steps = [
        CSRF,
        row,
        Parts(&[Recorded("v2 patch good", NAME_PARTS), Plain(""), Plain("")]),
    ];
    let Some(replay) = Replay::new(&steps).await else {
        return;
    };
    let values = json!({"name": "Acme 2", "city": "Bonn", "email": "hello@acme.example"});
    let batch = [versioned("1000001", values, Some(FIRST))];
    let outcomes = replay.s4hana().write("A_BusinessPartner", &batch).await.unwrap();
    let version = Some("W/\"2026-11-23T03:41:32.795Z\"");
    assert_eq!(written(&outcomes[0]), ("1000001", false, version));
    replay.compare();
    let body = &replay.server.got()[2].body;
    assert_eq!(
        body.replace("\r\n", "\n"),
        r#"--batch_interconnect
Content-Type: multipart/mixed; boundary=changeset_0

--changeset_0
Content-Type: application/http
Content-Transfer-Encoding: binary
Content-ID: 1

PATCH A_BusinessPartner('1000001') HTTP/1.1
Accept: application/json
If-Match: W/"2026-11-23T03:41:32.503Z"
Content-Type: application/json
Content-Length: 107

{"OrganizationBPName1":"Acme 2","OrganizationBPName2":"","OrganizationBPName3":"","OrganizationBPName4":""}
--changeset_0--
--batch_interconnect
Content-Type: multipart/mixed; boundary=changeset_1

--changeset_1
Content-Type: application/http
Content-Transfer-Encoding: binary
Content-ID: 2

PATCH A_BusinessPartnerAddress(BusinessPartner='1000001',AddressID='1000002') HTTP/1.1
Accept: application/json
If-Match: *
Content-Type: application/json
Content-Length: 19

{"CityName":"Bonn"}
--changeset_1--
--batch_interconnect
Content-Type: multipart/mixed; boundary=changeset_2

--changeset_2
Content-Type: application/http
Content-Transfer-Encoding: binary
Content-ID: 3

POST A_BusinessPartnerAddress(BusinessPartner='1000001',AddressID='1000002')/to_EmailAddress HTTP/1.1
Accept: application/json
Content-Type: application/json
Content-Length: 37

{"EmailAddress":"hello@acme.example"}
--changeset_2--
--batch_interconnect--
"#
    );
    assert_eq!(
        body.matches('\n').count(),
        body.matches("\r\n").count(),
        "lines end with both"
    );
}

#[tokio::test]
async fn a_part_that_is_refused_is_sorted_like_any_answer() {
    let row = json!({"d": {"results": [{"BusinessPartner": "1", "to_BusinessPartnerAddress": {"results": [
        {"__metadata": {"uri": "x/API_BUSINESS_PARTNER/A_BusinessPartnerAddress(BusinessPartner='1',AddressID='2')"}}]}}]}});
    let said =
        |text: &str| json!({"error": {"code": "X/1", "message": {"lang": "en", "value": text}}}).to_string();
    let locked = said("Business partner 1 is locked by JOHN");
    for (answers, told) in [
        (
            vec![parts(&[
                (204, &[], String::new()),
                (400, &[], said("No such city")),
            ])],
            "Refused Validation No such city",
        ),
        (
            vec![parts(&[
                (204, &[], String::new()),
                (412, &[], said("Precondition Failed")),
            ])],
            "Refused Conflict Precondition Failed",
        ),
        (
            vec![parts(&[(403, &[], said("No authorization"))])],
            "Refused Permission No authorization",
        ),
        (
            vec![
                parts(&[(400, &[], locked.clone())]),
                parts(&[(204, &[], String::new()), (204, &[], String::new())]),
            ],
            "Written",
        ),
        (
            vec![parts(&[(400, &[], said("Property 'Zip' does not exist"))])],
            "NotSent SchemaDrift { field: Some(\"Zip\") }",
        ),
    ] {
        let mut answers = VecDeque::from(answers);
        let row = row.to_string();
        let server = Server::start(
            move |got| match got.headers.get("x-csrf-token").map(String::as_str) {
                Some("Fetch") => Say::Header(200, "x-csrf-token", "t", "{}".to_owned()),
                _ if got.line.starts_with("GET ") => ok(&row),
                _ => answers.pop_front().unwrap(),
            },
        )
        .await;
        let config = json!({"base_url": server.url, "user": "hub"});
        let clock = Arc::<ManualClock>::default();
        let connection = connect(&shipped("s4hana"), config, &[("password", "pw")], &clock);
        let batch = [versioned("1", json!({"name": "A", "city": "B"}), None)];
        let outcome = connection
            .write("A_BusinessPartner", &batch)
            .await
            .unwrap()
            .remove(0);
        let seen = match outcome {
            Outcome::Written { .. } => "Written".to_owned(),
            Outcome::Refused(error) => format!("Refused {:?} {}", error.class, error.message),
            Outcome::NotSent(failure) => format!("NotSent {:?}", failure.class),
            other => format!("{other:?}"),
        };
        assert_eq!(seen, told);
    }
}

#[tokio::test]
async fn what_version_two_refuses_has_its_class() {
    let refusals: [(&str, Class); 4] = [
        ("v2 404", Class::NotFound),
        (
            "v2 bad prop",
            Class::SchemaDrift {
                field: Some("Nope".to_owned()),
            },
        ),
        (
            "v2 bad body",
            Class::SchemaDrift {
                field: Some("Nope".to_owned()),
            },
        ),
        ("v2 patch no if-match", Class::Conflict),
    ];
    for (title, class) in refusals {
        let Some(replay) = Replay::new(&[CSRF, Recorded(title, &[])]).await else {
            return;
        };
        let ids = ["0".to_owned()];
        let failure = replay.s4hana().by_ids("A_BusinessPartner", &[], &ids).await;
        assert_eq!(failure.unwrap_err().class, class, "{title}");
    }
}

#[tokio::test]
async fn version_four_is_read_page_by_page_and_by_id() {
    // The second page is the recorded list that has no further one; its address is compared below.
    let list = Recorded("v4 list incr", &[]);
    let steps = [Recorded("v4 paging", &[]), Elsewhere("v4 list incr"), list];
    let Some(replay) = Replay::new(&steps).await else {
        return;
    };
    let connection = replay.businesscentral();
    let fields = ["number".to_owned()];
    let first = connection.changes("customers", &fields, None).await.unwrap();
    assert_eq!((first.objects.len(), first.more), (50, true));
    let rest = connection
        .changes("customers", &fields, Some(&first.cursor))
        .await
        .unwrap();
    assert_eq!((rest.objects.len(), rest.more), (1, false));
    let coho = &rest.objects[0];
    assert_eq!(coho.id, CUSTOMER);
    assert_eq!(coho.version.as_deref(), Some("W/\"2026-11-23T03:41:33.021Z\""));
    assert_eq!(coho.modified.unwrap().to_string(), "2026-11-23T03:41:33.021Z");
    assert_eq!(coho.body["creditLimit"].to_string(), "1500.25");

    let ids = [CUSTOMER.to_owned()];
    let found = connection.by_ids("customers", &fields, &ids).await.unwrap();
    assert_eq!(&found[0], coho);
    replay.compare();
    let next = format!(
        "GET /v2.0/sandbox/api/v2.0/companies({COMPANY})/customers?%24select=number&%24orderby=number&%24skiptoken=50"
    );
    let pages = replay.server.lines();
    assert_eq!(
        pages[2], next,
        "a relative address begins where the service begins"
    );
}

#[tokio::test]
async fn customers_are_made_and_changed_in_batches_with_an_outcome_each() {
    const OLD: &str = "W/\"2026-11-23T03:41:33.021Z\"";
    let steps = [
        Batch(&[Plain(r#"{"value": []}"#)]),
        Batch(&[Recorded("v4 create customer", &["number"])]),
        Batch(&[Recorded("v4 patch good", &[])]),
        Batch(&[Recorded("v4 patch stale", &[])]),
    ];
    let Some(replay) = Replay::new(&steps).await else {
        return;
    };
    let connection = replay.businesscentral();
    let credit: Json = serde_json::from_str(r#"{"displayName": "Coho", "creditLimit": 1500.25}"#).unwrap();
    let new = [write(None, "ptn_01kare9m8hfk3v9z6tq1c4x7yz", credit)];
    let outcomes = connection.write("customers", &new).await.unwrap();
    assert_eq!(written(&outcomes[0]), (CUSTOMER, true, Some(OLD)));

    let changed = [versioned(CUSTOMER, json!({"displayName": "Coho 2"}), Some(OLD))];
    let outcomes = connection.write("customers", &changed).await.unwrap();
    let new_version = Some("W/\"2026-11-23T03:41:33.117Z\"");
    assert_eq!(written(&outcomes[0]), (CUSTOMER, false, new_version));

    let late = [versioned(CUSTOMER, json!({"displayName": "Coho 3"}), Some(OLD))];
    let outcomes = connection.write("customers", &late).await.unwrap();
    assert_eq!(
        refused(&outcomes[0]),
        (&RecordClass::Conflict, "Precondition Failed")
    );
    replay.compare();
}

#[tokio::test]
async fn operations_of_a_recorded_batch_go_to_their_own_inputs() {
    let Some(replay) = Replay::new(&[Recorded("v4 json batch", &[])]).await else {
        return;
    };
    // The recorded answers are for the operations 1, 2 and 3: what is not mentioned is not known.
    let batch: Vec<Write> = ["a", "b", "c", "d"]
        .map(|id| versioned(id, json!({"displayName": "Z"}), Some("W/\"bad\"")))
        .into();
    let outcomes = replay.businesscentral().write("customers", &batch).await.unwrap();
    assert_eq!(outcomes[0], Outcome::Unknown);
    let made = "9eaed008-06fb-4222-9579-eb17003e8524";
    let version = Some("W/\"2026-11-23T03:41:33.213Z\"");
    assert_eq!(written(&outcomes[2]), (made, true, version));
    assert_eq!(
        refused(&outcomes[3]),
        (&RecordClass::Conflict, "Precondition Failed")
    );
    let requests = replay.server.got()[1].json()["requests"].clone();
    let ids: Vec<&str> = requests
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["0", "1", "2", "3"]);
}

#[tokio::test]
async fn what_version_four_refuses_has_its_class() {
    for (title, class) in [
        ("v4 404", Class::NotFound),
        ("v4 patch no ifmatch", Class::Conflict),
    ] {
        let Some(replay) = Replay::new(&[Recorded(title, &[])]).await else {
            return;
        };
        let ids = [CUSTOMER.to_owned()];
        let failure = replay.businesscentral().by_ids("customers", &[], &ids).await;
        assert_eq!(failure.unwrap_err().class, class, "{title}");
    }
}

/// Dataverse at a server of a test; nobody recorded one.
async fn dataverse(mut answers: Vec<Say>) -> (Server, Connection) {
    answers.reverse();
    let server = Server::start(move |got| {
        if got.line.contains("/oauth2/") {
            return ok(json!({"access_token": "t", "expires_in": 3599}));
        }
        answers.pop().unwrap()
    })
    .await;
    let config = json!({"base_url": server.url, "login_url": server.url, "currencies": {"c1": "EUR"}});
    let secrets = [("client_id", "id"), ("client_secret", "s")];
    let connection = connect(
        &shipped("dataverse"),
        config,
        &secrets,
        &Arc::<ManualClock>::default(),
    );
    (server, connection)
}

#[tokio::test]
async fn tracked_changes_tell_deletions_and_begin_anew_when_they_are_forgotten() {
    let row = json!({"@odata.etag": "W/\"1\"", "accountid": "a1", "name": "A", "modifiedon": "2026-11-23T09:00:00Z"});
    let gone =
        json!({"@odata.context": "x/$metadata#accounts/$deletedEntity", "id": "a2", "reason": "deleted"});
    let delta = |number: u8| format!("/api/data/v9.2/accounts?$select=name&$deltatoken={number}");
    let forgotten = json!({"error": {"code": "0x80044352",
        "message": "Version stamp associated with the client has expired. Please perform a full sync."}});
    let (server, connection) = dataverse(vec![
        ok(json!({"value": [row], "@odata.deltaLink": delta(1)})),
        ok(json!({"value": [gone], "@odata.deltaLink": delta(2)})),
        Say::Json(400, forgotten.to_string()),
        ok(json!({"value": [row], "@odata.deltaLink": delta(3)})),
    ])
    .await;
    let mut cursor = None;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let page = connection
            .changes("accounts", &["name".to_owned()], cursor.as_ref())
            .await
            .unwrap();
        seen.extend(page.objects.iter().map(|o| (o.id.clone(), o.deleted)));
        cursor = Some(page.cursor);
    }
    let expected = [("a1", false), ("a2", true), ("a1", false)];
    assert_eq!(seen, expected.map(|(id, deleted)| (id.to_owned(), deleted)));
    let asked = server.got()[0].body.clone();
    let scope = url::form_urlencoded::parse(asked.as_bytes()).find(|(name, _)| name == "scope");
    assert_eq!(scope.unwrap().1, format!("{}/.default", server.url));
    let got = &server.got()[1..];
    assert!(
        got.iter()
            .all(|got| got.headers["prefer"] == "odata.track-changes")
    );
    let tokens = got.iter().map(|got| got.line.split("deltatoken=").nth(1));
    assert_eq!(tokens.collect::<Vec<_>>(), [None, Some("1"), Some("2"), None]);
}

#[tokio::test]
async fn a_deal_that_is_won_is_made_with_its_lookups_and_then_won() {
    let made = json!({"@odata.etag": "W/\"7\"", "opportunityid": "o1", "modifiedon": "2026-11-23T10:00:00Z"});
    let (server, connection) = dataverse(vec![
        ok(json!({"value": []})),
        Say::Json(201, made.to_string()),
        Say::Json(204, String::new()),
    ])
    .await;
    let values = json!({"name": "Fleet", "state": "won", "estimatedvalue": 5, "currency_code": "EUR", "account_id": "a1"});
    let outcomes = connection
        .write("opportunities", &[write(None, "dea_1", values)])
        .await
        .unwrap();
    assert_eq!(written(&outcomes[0]), ("o1", true, Some("W/\"7\"")));
    let got = &server.got()[1..];
    let bodies = [
        json!({"name": "Fleet", "estimatedvalue": 5, "ic_recordid": "dea_1",
               "transactioncurrencyid@odata.bind": "/transactioncurrencies(c1)", "parentaccountid@odata.bind": "/accounts(a1)"}),
        json!({"Status": -1, "OpportunityClose": {"subject": "Won", "opportunityid@odata.bind": "/opportunities(o1)"}}),
    ];
    assert_eq!([got[1].json(), got[2].json()], bodies);
    assert_eq!(got[2].line, "POST /api/data/v9.2/WinOpportunity");
}

#[tokio::test]
async fn accounts_are_upserted_by_our_key_and_changed_by_their_version_many_at_once() {
    let row = |id: &str, version: u8| {
        json!({"@odata.etag": format!("W/\"{version}\""), "accountid": id, "modifiedon": "2026-11-23T10:00:00Z"}).to_string()
    };
    let other = json!({"error": {"code": "0x80060882", "message": "The version of the existing record doesn't match."}});
    let doubled = json!({"error": {"code": "0x80040237", "message": "A record with matching key values already exists."}});
    let (server, connection) = dataverse(vec![
        parts(&[
            (201, &[], row("a1", 7)),
            (
                204,
                &[(
                    "OData-EntityId",
                    "x/accounts(3f2a5c1e-7b0d-ee11-8f6e-000d3a2b4c5d)",
                )],
                String::new(),
            ),
            (412, &[], doubled.to_string()),
        ]),
        parts(&[
            (412, &[], other.to_string()),
            (200, &[], row("a2", 8)),
            (404, &[], "{}".to_owned()),
        ]),
    ])
    .await;
    let name = |name: &str| json!({"name": name});
    let new = [
        write(None, "ptn_1", name("A")),
        write(None, "ptn_2", name("B")),
        write(None, "ptn_3", name("C")),
    ];
    let outcomes = connection.write("accounts", &new).await.unwrap();
    assert_eq!(written(&outcomes[0]), ("a1", true, Some("W/\"7\"")));
    assert_eq!(
        written(&outcomes[1]),
        ("3f2a5c1e-7b0d-ee11-8f6e-000d3a2b4c5d", false, None)
    );
    assert_eq!(refused(&outcomes[2]).0, &RecordClass::Duplicate);
    let changed = [
        Write {
            key: "ptn_1".into(),
            ..versioned("a1", name("D"), Some("W/\"7\""))
        },
        Write {
            key: "ptn_2".into(),
            ..versioned("a2", name("E"), None)
        },
        Write {
            key: "ptn_3".into(),
            ..versioned("a3", name("F"), Some("W/\"1\""))
        },
    ];
    let outcomes = connection.write("accounts", &changed).await.unwrap();
    assert_eq!(refused(&outcomes[0]).0, &RecordClass::Conflict);
    assert_eq!(written(&outcomes[1]), ("a2", false, Some("W/\"8\"")));
    assert_eq!(outcomes[2], Outcome::Gone);

    let got = &server.got()[1..];
    assert_eq!(got.len(), 2);
    for got in got {
        assert_eq!(got.line, "POST /api/data/v9.2/$batch");
        assert_eq!(got.headers["prefer"], "odata.continue-on-error");
    }
    let asked: Vec<(String, Option<String>)> = got
        .iter()
        .flat_map(Got::parts)
        .map(|part| (part.line.clone(), part.headers.get("if-match").cloned()))
        .collect();
    let line = |which: &str| format!("PATCH /api/data/v9.2/accounts({which})?$select=accountid,modifiedon");
    let expected = [
        (line("ic_recordid='ptn_1'"), None),
        (line("ic_recordid='ptn_2'"), None),
        (line("ic_recordid='ptn_3'"), None),
        (line("a1"), Some("W/\"7\"".to_owned())),
        (line("a2"), Some("*".to_owned())),
        (line("a3"), Some("W/\"1\"".to_owned())),
    ];
    assert_eq!(asked, expected);
}

#[tokio::test]
async fn windows_of_partners_are_asked_for_in_the_time_of_the_system() {
    let server = Server::start(|got| match got.headers.get("x-csrf-token") {
        Some(_) => Say::Header(200, "x-csrf-token", "t", "{}".to_owned()),
        None => ok(json!({"d": {"results": [{"BusinessPartner": "1"}]}})),
    })
    .await;
    let config = json!({"base_url": server.url, "user": "hub", "time_zone": "Asia/Kolkata"});
    let clock = Arc::<ManualClock>::default();
    let connection = connect(&shipped("s4hana"), config, &[("password", "pw")], &clock);
    connection.changes("A_BusinessPartner", &[], None).await.unwrap();
    let line = &server.lines()[1];
    let asked = percent_encoding::percent_decode_str(line).decode_utf8().unwrap();
    let from = "LastChangeDate eq datetime'1970-01-01T00:00:00' and LastChangeTime ge time'PT05H30M00S'";
    assert!(asked.contains(from), "{asked}");
}

fn incoming(query: &str, headers: &[(&str, &str)], body: &Json) -> Incoming {
    let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
    Incoming {
        method: "POST".to_owned(),
        url: format!("https://hub.example/hooks/connections/crm{query}"),
        headers: headers.collect(),
        body: body.to_string().into(),
    }
}

#[test]
fn a_subscription_is_answered_its_challenge_and_told_by_its_own_text() {
    let config = json!({"base_url": "https://x.example/v2.0/t/e", "company_id": COMPANY});
    let secrets = [
        ("client_id", "id"),
        ("client_secret", "s"),
        ("client_state", "state"),
    ];
    let clock = Arc::<ManualClock>::default();
    let connection = connect(&shipped("businesscentral"), config, &secrets, &clock);
    let now = jiff::Timestamp::UNIX_EPOCH;
    let challenge = incoming("?validationToken=abc-1", &[], &json!(""));
    let Ok(Received::Challenge(answer)) = connection.receive(&challenge, now) else {
        panic!("not taken for a challenge")
    };
    assert_eq!(answer.body, "abc-1");

    let resource = |id: &str| format!("/api/v2.0/companies({COMPANY})/customers{id}");
    let told = |state: &str| {
        json!({"value": [
            {"clientState": state, "changeType": "deleted", "resource": resource("(c1)"), "lastModifiedDateTime": "2026-11-23T10:15:30.581Z"},
            {"clientState": state, "changeType": "collection", "resource": resource("?$filter=x")},
        ]})
    };
    let Ok(Received::Hints(hints)) = connection.receive(&incoming("", &[], &told("state")), now) else {
        panic!("not taken for a notification")
    };
    let seen: Vec<_> = hints
        .iter()
        .map(|h| (h.object.as_str(), h.id.as_str(), h.op.as_str()))
        .collect();
    assert_eq!(seen, [("customers", "c1", "delete")]);
    assert_eq!(hints[0].tenant.as_deref(), Some(COMPANY));
    assert!(
        connection
            .receive(&incoming("", &[], &told("other")), now)
            .is_err()
    );
}

#[test]
fn a_registered_step_is_known_by_its_header() {
    let config = json!({"base_url": "https://x.example"});
    let secrets = [
        ("client_id", "id"),
        ("client_secret", "s"),
        ("webhook_key", "key"),
    ];
    let clock = Arc::<ManualClock>::default();
    let connection = connect(&shipped("dataverse"), config, &secrets, &clock);
    let now = jiff::Timestamp::UNIX_EPOCH;
    let body = json!({"MessageName": "Update", "PrimaryEntityName": "lead", "PrimaryEntityId": "l1",
        "OrganizationId": "o1", "InitiatingUserId": "u1", "OperationCreatedOn": "/Date(1795405292000+0000)/"});
    let Ok(Received::Hints(hints)) =
        connection.receive(&incoming("", &[("x-interconnect-key", "key")], &body), now)
    else {
        panic!("not taken for a message")
    };
    assert_eq!((hints[0].object.as_str(), hints[0].id.as_str()), ("leads", "l1"));
    assert_eq!(hints[0].origin.as_deref(), Some("u1"));
    assert_eq!(hints[0].occurred.unwrap().to_string(), "2026-11-23T03:41:32Z");
    let silent = connection.receive(&incoming("", &[], &body), now);
    assert!(matches!(silent, Err(Refusal::Missing(_))), "{silent:?}");
}
