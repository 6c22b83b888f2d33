//! Recorded replies of real servers: what we send must be what they accepted, and what they answered must become what
//! we say.
//!
//! The recordings lie beside the repository, in `../shared/artifacts/erp`, or where `INTERCONNECT_RECORDINGS` says.
//! Without them these tests say that they are skipped; the pairs that matter are samples of the connectors as well.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use outbound::Url;
use serde_json::{Value as Json, json};

use crate::testing::{Got, ManualClock, Say, Server, connect, connector, shipped, write};
use crate::{Class, Connection, Incoming, Outcome, Received, RecordClass, Refusal};

/// Parameters that a recorded server was not sent and accepts by its source: the search's own, and the context of all calls.
const BY_SOURCE: [(&str, &[&str]); 1] = [("web_search_read", &["order", "count_limit", "context"])];

/// Pairs of a request and its reply, as `title`, `method`, `url`, `request`, `status` and `response`.
struct Recordings(Vec<Json>);

fn folder() -> PathBuf {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/artifacts/erp");
    std::env::var_os("INTERCONNECT_RECORDINGS").map_or(beside, PathBuf::from)
}

/// The content of a file with recordings; nothing, said aloud, where there is none.
fn file(name: &str) -> Option<Json> {
    let path = folder().join(name);
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(serde_json::from_str(&text).unwrap()),
        Err(_) => {
            eprintln!("skipped: no recordings in {}", path.display());
            None
        }
    }
}

impl Recordings {
    /// The pairs of one interface.
    fn of(name: &str, begins: &str, ends: Option<&str>) -> Option<Recordings> {
        let Json::Array(pairs) = file(name)? else {
            panic!("{name} is no list")
        };
        let here = |pair: &Json| {
            let url = pair["url"].as_str().unwrap();
            url.starts_with(begins) && ends.is_none_or(|ends| !url.contains(ends))
        };
        Some(Recordings(pairs.into_iter().filter(here).collect()))
    }

    fn get(&self, title: &str) -> &Json {
        let found = self.0.iter().find(|pair| pair["title"] == title);
        found.unwrap_or_else(|| panic!("nothing is recorded as `{title}`"))
    }

    fn refusals(&self) -> impl Iterator<Item = &Json> {
        self.0
            .iter()
            .filter(|pair| pair["status"].as_u64().unwrap() >= 400)
    }

    /// A server that answers with these replies, in this order.
    async fn server(&self, titles: &[&str]) -> Server {
        Server::script(titles.iter().map(|title| said(self.get(title))).collect()).await
    }

    /// What the server was asked must be what the recorded one was asked: the same calls, and no key that it never accepted.
    fn compare(&self, server: &Server, titles: &[&str]) {
        let got = server.got();
        assert_eq!(got.len(), titles.len(), "{:?}", server.lines());
        for (got, title) in got.iter().zip(titles) {
            let pair = self.get(title);
            let (method, url) = asked(got);
            let recorded = Url::parse("http://recorded")
                .unwrap()
                .join(pair["url"].as_str().unwrap());
            assert_eq!(method, pair["method"], "{title}");
            assert_eq!(url.path(), recorded.unwrap().path(), "{title}");
            let accepted = self.accepted(pair);
            let foreign: Vec<String> = keys(got)
                .into_iter()
                .filter(|key| !accepted.contains(key))
                .collect();
            assert!(
                foreign.is_empty(),
                "{title}: the recorded server never saw {foreign:?}"
            );
        }
    }

    /// The keys that the server accepted in calls like this one: of the same method, whatever the object.
    fn accepted(&self, pair: &Json) -> BTreeSet<String> {
        let call = |pair: &Json| {
            let url = pair["url"].as_str().unwrap();
            let remote = url.starts_with("/json/");
            let path = if remote { url.rsplit('/').next() } else { Some(url) };
            (pair["method"].clone(), path.unwrap_or_default().to_owned())
        };
        let good = |other: &&Json| call(other) == call(pair) && other["status"].as_u64().unwrap() < 400;
        let requests = self
            .0
            .iter()
            .filter(good)
            .chain([pair])
            .filter_map(|pair| pair["request"].as_object());
        let by_source = BY_SOURCE.iter().find(|(name, _)| *name == call(pair).1);
        let by_source = by_source.map_or(&[][..], |(_, keys)| keys);
        let recorded = requests.flat_map(|request| request.keys().cloned());
        recorded
            .chain(by_source.iter().map(|key| (*key).to_owned()))
            .collect()
    }
}

fn said(pair: &Json) -> Say {
    let status = u16::try_from(pair["status"].as_u64().unwrap()).unwrap();
    // A page of HTML is recorded as its text.
    let body = pair["response"]
        .as_str()
        .map_or_else(|| pair["response"].to_string(), str::to_owned);
    Say::Json(status, body)
}

fn asked(got: &Got) -> (String, Url) {
    let (method, uri) = got.line.split_once(' ').unwrap();
    (
        method.to_owned(),
        Url::parse("http://recorded").unwrap().join(uri).unwrap(),
    )
}

fn keys(got: &Got) -> BTreeSet<String> {
    let body: Json = serde_json::from_str(&got.body).unwrap_or_default();
    let body = body.as_object().into_iter().flatten().map(|(key, _)| key.clone());
    asked(got)
        .1
        .query_pairs()
        .map(|(key, _)| key.into_owned())
        .chain(body)
        .collect()
}

fn texts(fields: &[&str]) -> Vec<String> {
    fields.iter().map(|field| (*field).to_owned()).collect()
}

/// Every refusal that was recorded becomes the class that the table says; none is left out of it.
async fn refusals(
    recordings: &Recordings,
    expected: &[(&str, &[&str])],
    open: impl Fn(&Server) -> Connection,
    object: &str,
) {
    let classes: BTreeMap<&str, &str> = expected
        .iter()
        .flat_map(|(class, titles)| titles.iter().map(|title| (*title, *class)))
        .collect();
    let titles: BTreeSet<&str> = recordings
        .refusals()
        .map(|pair| pair["title"].as_str().unwrap())
        .collect();
    assert_eq!(titles, classes.keys().copied().collect());
    for pair in recordings.refusals() {
        let server = Server::script(vec![said(pair)]).await;
        let failure = open(&server)
            .by_ids(object, &[], &texts(&["1"]))
            .await
            .unwrap_err();
        let title = pair["title"].as_str().unwrap();
        assert_eq!(failure.class.name(), classes[title], "{title}: {failure:?}");
        assert_eq!(server.got().len(), 1, "{title} is not tried again");
        for hidden in ["raceback", "_server_messages", "<strong>"] {
            assert!(!failure.detail.contains(hidden), "{title}: {}", failure.detail);
        }
    }
}

/// Calls on the models of an object-relational mapper, JSON-2.
mod model_calls {
    use super::*;

    fn recordings() -> Option<Recordings> {
        Recordings::of("odoo/json2-and-jsonrpc-replies.json", "/json/2/", None)
    }

    fn open(server: &Server) -> Connection {
        let config = json!({"base_url": server.url, "database": "odoo"});
        connect(
            &shipped("odoo"),
            config,
            &[("api_key", "key"), ("webhook_secret", "s3cret")],
            &Arc::default(),
        )
    }

    #[tokio::test]
    async fn the_account_is_known_and_described() {
        let Some(recordings) = recordings() else { return };
        let titles = ["no db header single db", "context_get", "fields_get"];
        let server = recordings.server(&titles).await;
        let connection = open(&server);
        assert_eq!(connection.check().await.unwrap().tenant, "odoo");
        let fields = connection.fields("crm.lead").await.unwrap();
        let kinds: BTreeMap<&str, &str> = fields
            .iter()
            .map(|f| (f.name.as_str(), f.kind.as_str()))
            .collect();
        assert_eq!(kinds["expected_revenue"], "decimal");
        assert_eq!(kinds["stage_id"], "reference");
        assert_eq!(kinds["type"], "enum");
        recordings.compare(&server, &titles);
        assert_eq!(server.got()[0].authorization, "bearer key");
        assert_eq!(server.got()[0].headers["x-odoo-database"], "odoo");
    }

    #[tokio::test]
    async fn windows_and_ids_are_read() {
        let Some(recordings) = recordings() else { return };
        let titles = ["web_read? web_search_read", "web_read? web_search_read"];
        let server = recordings.server(&titles).await;
        let connection = open(&server);
        let page = connection
            .changes("res.partner", &texts(&["name"]), None)
            .await
            .unwrap();
        let by_ids = connection
            .by_ids("res.partner", &texts(&["name"]), &texts(&["6", "7"]))
            .await
            .unwrap();
        for objects in [&page.objects, &by_ids] {
            let found: Vec<(&str, &Json)> =
                objects.iter().map(|o| (o.id.as_str(), &o.body["name"])).collect();
            assert_eq!(
                found,
                [("6", &json!("Acme Resellers GmbH")), ("7", &json!("Jane Doe"))]
            );
            assert_eq!(objects[0].body["parent_id"], Json::Null, "false is blank");
        }
        recordings.compare(&server, &titles);
        let domain = &server.got()[0].json()["domain"];
        // Whole seconds in UTC without a zone: with one the server refuses.
        assert_eq!(domain[0], json!(["write_date", ">=", "1970-01-01 00:00:00"]));
        assert_eq!(domain[1], json!(["write_date", "<", "2026-11-23 09:50:00"]));
        assert_eq!(domain[2], json!(["id", ">", 0]));
    }

    #[tokio::test]
    async fn what_is_not_found_by_our_key_is_created() {
        let Some(recordings) = recordings() else { return };
        let titles = ["search lost active_test", "create lead"];
        let server = recordings.server(&titles).await;
        let values = json!({"name": "Partner lead: 50 seats", "type": "lead", "partner_id": 6, "email_from": null,
                            "description": "hi & welcome\nJane", "lead_state": "open"});
        let outcomes = open(&server)
            .write("crm.lead", &[write(None, "led_1", values)])
            .await
            .unwrap();
        assert!(
            matches!(&outcomes[0], Outcome::Written { id, created: true, .. } if id == "1"),
            "{outcomes:?}"
        );
        recordings.compare(&server, &titles);
        assert_eq!(
            server.got()[1].json(),
            json!({"vals_list": [{"name": "Partner lead: 50 seats", "type": "lead", "partner_id": 6, "email_from": false,
                   "description": "<p>hi &amp; welcome<br>Jane</p>", "active": true, "x_interconnect_id": "led_1"}]})
        );
    }

    #[tokio::test]
    async fn stages_are_written_with_what_makes_them_won_or_lost() {
        let Some(recordings) = recordings() else { return };
        let titles = ["stages", "write", "write"];
        let server = recordings.server(&titles).await;
        let connection = open(&server);
        for (stage, expected) in [
            ("Won", json!({"stage_id": 4, "active": true, "probability": 100})),
            ("Lost", json!({"active": false, "probability": 0})),
        ] {
            let outcomes = connection
                .write("crm.lead", &[write(Some("1"), "dea_1", json!({"stage": stage}))])
                .await
                .unwrap();
            assert!(
                matches!(&outcomes[0], Outcome::Written { id, created: false, .. } if id == "1"),
                "{outcomes:?}"
            );
            assert_eq!(
                server.got().last().unwrap().json(),
                json!({"ids": [1], "vals": expected})
            );
        }
        recordings.compare(&server, &titles);
    }

    #[tokio::test]
    async fn what_is_gone_or_refused_harms_no_other_record() {
        let Some(recordings) = recordings() else { return };
        let titles = ["missing id write", "recursive parent", "write partner parent"];
        let server = recordings.server(&titles).await;
        let batch = ["999999", "6", "7"].map(|id| write(Some(id), id, json!({"parent_id": 6})));
        let outcomes = open(&server).write("res.partner", &batch).await.unwrap();
        assert_eq!(outcomes[0], Outcome::Gone);
        assert!(
            matches!(&outcomes[1], Outcome::Refused(e) if e.class == RecordClass::Validation
                     && e.message == "You cannot create recursive Partner hierarchies."),
            "{outcomes:?}"
        );
        assert!(
            matches!(&outcomes[2], Outcome::Written { id, .. } if id == "7"),
            "{outcomes:?}"
        );
        recordings.compare(&server, &titles);
    }

    #[tokio::test]
    async fn a_500_is_an_answer_that_harms_no_other_record() {
        let Some(recordings) = recordings() else { return };
        let titles = ["search lost active_test", "bad selection", "create lead2"];
        let server = recordings.server(&titles).await;
        let batch = [
            write(None, "led_1", json!({"name": "x", "type": "bogus"})),
            write(None, "led_2", json!({"name": "L2"})),
        ];
        let outcomes = open(&server).write("crm.lead", &batch).await.unwrap();
        assert!(
            matches!(&outcomes[0], Outcome::Refused(e) if e.class == RecordClass::Validation
                     && e.message == "Wrong value for crm.lead.type: 'bogus'"),
            "{outcomes:?}"
        );
        assert!(
            matches!(&outcomes[1], Outcome::Written { id, created: true, .. } if id == "2"),
            "{outcomes:?}"
        );
        recordings.compare(&server, &titles);
        // A field that is not there is told at once, and not as a write that may have been carried out.
        let server = recordings.server(&["bad field write"]).await;
        let batch = ["6", "7"].map(|id| write(Some(id), id, json!({"nosuch": 1})));
        let failure = open(&server).write("res.partner", &batch).await.unwrap_err();
        let field = Some("nosuch".to_owned());
        assert_eq!(
            (failure.class, failure.ambiguous),
            (Class::SchemaDrift { field }, false)
        );
    }

    #[tokio::test]
    async fn refusals_have_their_class() {
        let Some(recordings) = recordings() else { return };
        let expected: [(&str, &[&str]); 7] = [
            ("auth_revoked", &["bad key", "no key", "wrong db hdr"]),
            ("permission", &["private method", "bad model"]),
            ("not_found", &["missing id write"]),
            (
                "protocol",
                &[
                    "bad method",
                    "path404",
                    "bad kwarg",
                    "ids on model method",
                    "bad json",
                ],
            ),
            (
                "schema_drift",
                &["bad field read", "bad field write", "bad field domain"],
            ),
            ("duplicate", &["xmlid dup"]),
            (
                "validation",
                &[
                    "search_read iso T",
                    "validation (required)",
                    "recursive parent",
                    "bad selection",
                    "fk error",
                    "delete company user partner",
                ],
            ),
        ];
        refusals(&recordings, &expected, open, "res.partner").await;
    }

    #[tokio::test]
    async fn webhooks_are_known_by_the_secret_in_their_address() {
        let Some(Json::Array(deliveries)) = file("odoo/webhook-deliveries.json") else {
            return;
        };
        let connection = open(&Server::script(Vec::new()).await);
        let mut dedupe = BTreeSet::new();
        for delivery in &deliveries {
            let mut request = incoming(
                "https://hub.example.com/hooks/connections/odoo?token=s3cret",
                delivery,
            );
            let Ok(Received::Hints(hints)) = connection.receive(&request, Timestamp::UNIX_EPOCH) else {
                panic!("{delivery}")
            };
            assert_eq!(
                (hints[0].object.as_str(), hints[0].id.as_str()),
                ("crm.lead", "6")
            );
            dedupe.extend(hints[0].dedupe.clone());
            request.url = "https://hub.example.com/hooks/connections/odoo?token=guess".to_owned();
            assert_eq!(
                connection.receive(&request, Timestamp::UNIX_EPOCH),
                Err(Refusal::Bad)
            );
        }
        // One creation and one write, whatever the number of calls.
        assert!(deliveries.len() > 2 && dedupe.len() == 2, "{dedupe:?}");
    }
}

/// Documents by their type and name.
mod documents {
    use super::*;

    fn recordings() -> Option<Recordings> {
        Recordings::of("frappe/resource-api-replies.json", "/api/", Some("/api/v2/"))
    }

    /// The connector, with the document types and the key of the recorded site in the place of ERPNext's.
    fn open(server: &Server) -> Connection {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../connectors/erpnext/connector.yaml");
        let text = std::fs::read_to_string(path).unwrap();
        let text = text
            .replace("custom_interconnect_id", "external_id")
            .replace("  Sales Partner:", "  IC Party:");
        let config = json!({"base_url": server.url, "time_zone": "Asia/Kolkata"});
        let secrets = [
            ("api_key", "k"),
            ("api_secret", "s"),
            ("webhook_secret", "s3cret"),
        ];
        connect(
            &connector(&text),
            config,
            &secrets,
            &Arc::new(ManualClock::default()),
        )
    }

    #[tokio::test]
    async fn the_clock_of_the_site_is_compared() {
        let zone = |zone: &str| Say::Json(200, json!({"message": {"time_zone": zone}}).to_string());
        let server = Server::script(vec![zone("Asia/Kolkata"), zone("Europe/Berlin")]).await;
        let connection = open(&server);
        assert_eq!(connection.identity().await.unwrap().tenant, server.url);
        let failure = connection.identity().await.unwrap_err();
        assert!(
            failure
                .detail
                .contains("the clock of the site is in Europe/Berlin"),
            "{failure:?}"
        );
        let Some(recordings) = recordings() else { return };
        let server = recordings.server(&["whoami"]).await;
        assert!(open(&server).try_out().await.unwrap());
        recordings.compare(&server, &["whoami"]);
        assert_eq!(server.got()[0].authorization, "token k:s");
    }

    #[tokio::test]
    async fn windows_and_ids_are_read_at_the_site_s_own_time() {
        let Some(recordings) = recordings() else { return };
        let titles = ["list", "list"];
        let server = recordings.server(&titles).await;
        let connection = open(&server);
        let page = connection
            .changes("IC Party", &texts(&["party_name"]), None)
            .await
            .unwrap();
        let by_ids = connection
            .by_ids("IC Party", &texts(&["party_name"]), &texts(&["5lmqp8lak1"]))
            .await
            .unwrap();
        for objects in [&page.objects, &by_ids] {
            assert_eq!(objects.len(), 2);
            assert_eq!(
                (objects[0].id.as_str(), &objects[0].body["party_name"]),
                ("5lmqp8lak1", &json!("Acme 2"))
            );
            assert_eq!(
                objects[0].modified.unwrap().to_string(),
                "2026-11-23T03:39:36.808311Z"
            );
            assert_eq!(objects[0].version.as_deref(), Some("2026-11-23 09:09:36.808311"));
        }
        recordings.compare(&server, &titles);
        let query: BTreeMap<String, String> = asked(&server.got()[0]).1.query_pairs().into_owned().collect();
        let filters: Json = serde_json::from_str(&query["filters"]).unwrap();
        // 09:50 in UTC.
        assert_eq!(filters[1], json!(["modified", "<", "2026-11-23 15:20:00.000"]));
        assert_eq!(
            serde_json::from_str::<Json>(&query["fields"]).unwrap(),
            json!(["modified", "modified_by", "name", "party_name"])
        );
    }

    #[tokio::test]
    async fn what_has_our_key_is_updated_and_what_has_not_is_created() {
        let Some(recordings) = recordings() else { return };
        let titles = ["list", "put", "create"];
        let server = recordings.server(&titles).await;
        let values = |name: &str| json!({"party_name": name, "email": "ops@acme.test"});
        let batch = [
            write(None, "IC-P-1", json!({"party_name": "Acme 2"})),
            write(None, "IC-P-9", values("Acme")),
        ];
        let outcomes = open(&server).write("IC Party", &batch).await.unwrap();
        assert!(
            matches!(&outcomes[0], Outcome::Written { id, created: false, version: Some(version), .. }
                     if id == "5lmqp8lak1" && version == "2026-11-23 09:09:36.808311"),
            "{outcomes:?}"
        );
        assert!(
            matches!(&outcomes[1], Outcome::Written { id, created: true, .. } if id == "5lmqp8lak1"),
            "{outcomes:?}"
        );
        recordings.compare(&server, &titles);
        assert_eq!(server.got()[1].json(), json!({"party_name": "Acme 2"}));
        assert_eq!(
            server.got()[2].json(),
            json!({"party_name": "Acme", "email": "ops@acme.test", "external_id": "IC-P-9"})
        );
    }

    #[tokio::test]
    async fn what_somebody_changed_since_is_a_conflict() {
        let Some(recordings) = recordings() else { return };
        let titles = ["put stale modified"];
        let server = recordings.server(&titles).await;
        let mut stale = write(Some("5lmqp8lak1"), "IC-P-1", json!({"party_name": "Acme 3"}));
        stale.version = Some("2026-11-23 09:09:36.675402".to_owned());
        let outcomes = open(&server).write("IC Party", &[stale]).await.unwrap();
        assert!(
            matches!(&outcomes[0], Outcome::Refused(e) if e.class == RecordClass::Conflict
                     && e.message.starts_with("Error: 5lmqp8lak1 (IC Party) has been modified")),
            "{outcomes:?}"
        );
        recordings.compare(&server, &titles);
        assert_eq!(server.got()[0].json(), recordings.get(titles[0])["request"]);
    }

    #[tokio::test]
    async fn refusals_have_their_class_and_the_text_for_people() {
        let Some(recordings) = recordings() else { return };
        let expected: [(&str, &[&str]); 7] = [
            ("auth_revoked", &["bad token"]),
            ("permission", &["no token", "bad doctype"]),
            ("not_found", &["404"]),
            ("conflict", &["put stale modified"]),
            ("duplicate", &["dup unique"]),
            ("schema_drift", &["bad field list", "bad filter field"]),
            (
                "validation",
                &["missing reqd", "bad email", "bad link", "bad select"],
            ),
        ];
        refusals(&recordings, &expected, open, "IC Party").await;
        let server = recordings.server(&["missing reqd", "bad field list"]).await;
        let connection = open(&server);
        let failure = connection.changes("IC Party", &[], None).await.unwrap_err();
        assert_eq!(failure.detail, "Error: Value missing for IC Party: Party Name");
        let failure = connection.changes("IC Party", &[], None).await.unwrap_err();
        assert_eq!(
            failure.class,
            Class::SchemaDrift {
                field: Some("nope".to_owned())
            }
        );
    }

    #[tokio::test]
    async fn webhooks_are_verified_by_the_signatures_that_were_sent() {
        let Some(Json::Array(deliveries)) = file("frappe/webhook-deliveries.json") else {
            return;
        };
        let connection = open(&Server::script(Vec::new()).await);
        assert!(!deliveries.is_empty());
        for delivery in &deliveries {
            let mut request = incoming("https://hub.example.com/hooks/connections/erp", delivery);
            // The recorded body does not name its document type, which ours is told to: it is verified, and says nothing.
            assert_eq!(
                connection.receive(&request, Timestamp::UNIX_EPOCH),
                Ok(Received::Hints(Vec::new()))
            );
            request.body = Bytes::from_static(b"{}");
            assert_eq!(
                connection.receive(&request, Timestamp::UNIX_EPOCH),
                Err(Refusal::Bad)
            );
        }
    }
}

/// No account was at hand: what the documentation shows, said by a script.
mod queries {
    use base64::Engine as _;

    use super::*;
    use crate::testing::ok;

    fn open(server: &Server, clock: &Arc<ManualClock>) -> Connection {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../connectors/netsuite/connector.yaml");
        let text = std::fs::read_to_string(path).unwrap();
        // A key on a curve is made faster than one for PS256.
        let text = text.replace("algorithm: PS256", "algorithm: ES256");
        let config =
            json!({"base_url": server.url, "account": "123456_SB1", "time_zone": "America/Los_Angeles"});
        let key = crate::jwt::tests::p256_key();
        let secrets = [
            ("client_id", "id"),
            ("certificate_id", "cert"),
            ("private_key", key.as_str()),
        ];
        connect(&connector(&text), config, &secrets, clock)
    }

    fn token() -> Say {
        ok(json!({"access_token": "t", "expires_in": "3600", "token_type": "bearer"}))
    }

    fn rows(rows: &Json) -> Say {
        let count = rows.as_array().unwrap().len();
        ok(
            json!({"links": [], "count": count, "hasMore": false, "items": rows, "offset": 0, "totalResults": count}),
        )
    }

    #[tokio::test]
    async fn rows_say_what_they_were_asked_for_and_the_time_of_the_place() {
        let asked_for = "companyName,email,id,isPerson,lastModifiedDate";
        let row = json!({"links": [], "id": "647", "companyname": "Acme", "isperson": "F",
                         "lastmodifieddate": "2026-11-23T01:00:00", "asked": asked_for});
        let server = Server::script(vec![token(), rows(&json!([row]))]).await;
        let connection = open(&server, &Arc::default());
        let fields = texts(&["companyName", "email", "isPerson"]);
        let page = connection.changes("customer", &fields, None).await.unwrap();
        let object = &page.objects[0];
        assert_eq!(object.modified.unwrap().to_string(), "2026-11-23T09:00:00Z");
        assert_eq!(object.body["companyName"], "Acme");
        assert_eq!(object.body["isPerson"], false);
        // A column that is null does not come, and is blank all the same.
        assert_eq!(object.body.get("email"), Some(&Json::Null));

        let got = server.got();
        let form: BTreeMap<String, String> = Url::parse(&format!("http://form/?{}", got[0].body))
            .unwrap()
            .query_pairs()
            .into_owned()
            .collect();
        assert_eq!(form["grant_type"], "client_credentials");
        let part = |number: usize| -> Json {
            let part = form["client_assertion"].split('.').nth(number).unwrap();
            let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
                .decode(part)
                .unwrap();
            serde_json::from_slice(&bytes).unwrap()
        };
        assert_eq!(part(0), json!({"alg": "ES256", "typ": "JWT", "kid": "cert"}));
        assert_eq!(part(1)["iss"], "id");
        assert_eq!(
            part(1)["aud"],
            format!("{}/services/rest/auth/oauth2/v1/token", server.url)
        );
        assert_eq!(part(1)["scope"], json!(["rest_webservices"]));
        assert_eq!(
            got[1].line,
            "POST /services/rest/query/v1/suiteql?limit=1000&offset=0"
        );
        assert_eq!(got[1].headers["prefer"], "transient");
        assert_eq!(got[1].authorization, "Bearer t");
        // 19:00 of the day before in UTC, fifteen hours behind the present.
        let span =
            "t.lastmodifieddate < TO_DATE('2026-11-22 11:00:00', 'YYYY-MM-DD HH24:MI:SS') ORDER BY t.id";
        assert!(
            got[1].json()["q"].as_str().unwrap().ends_with(span),
            "{}",
            got[1].body
        );
    }

    #[tokio::test]
    async fn a_new_record_has_the_id_of_its_location_and_a_busy_account_is_waited_for() {
        let busy = r#"{"status":429,"o:errorDetails":[{"detail":"busy","o:errorCode":"CONCURRENCY_LIMIT_EXCEEDED"}]}"#;
        let location = "https://123456-sb1.suitetalk.api.netsuite.com/services/rest/record/v1/customer/647";
        let server = Server::script(vec![
            token(),
            rows(&json!([])),
            Say::Json(429, busy.to_owned()),
            Say::Header(204, "location", location, String::new()),
            Say::Json(204, String::new()),
        ])
        .await;
        let connection = open(&server, &Arc::default());
        let values = json!({"companyName": "Acme", "entityStatus": "6", "subsidiary": 1});
        let outcomes = connection
            .write("customer", &[write(None, "led_1", values)])
            .await
            .unwrap();
        assert!(
            matches!(&outcomes[0], Outcome::Written { id, created: true, .. } if id == "647"),
            "{outcomes:?}"
        );
        let values = json!({"partner": "5", "url": null});
        let outcomes = connection
            .write("customer", &[write(Some("647"), "led_1", values)])
            .await
            .unwrap();
        assert!(
            matches!(&outcomes[0], Outcome::Written { id, created: false, .. } if id == "647"),
            "{outcomes:?}"
        );
        let lines = server.lines();
        assert_eq!(lines[3], "PUT /services/rest/record/v1/customer/eid:led_1");
        assert_eq!(lines[4], "PATCH /services/rest/record/v1/customer/647");
        let got = server.got();
        let expected = json!({"companyName": "Acme", "entityStatus": {"id": "6"}, "subsidiary": {"id": "1"}});
        assert_eq!(got[3].json(), expected);
        assert_eq!(got[4].json(), json!({"partner": {"id": "5"}, "url": null}));
        assert_eq!(got[3].headers["x-netsuite-propertynamevalidation"], "Error");
    }
}

/// A recorded delivery as the hub gets it.
fn incoming(url: &str, delivery: &Json) -> Incoming {
    let headers = delivery["headers"].as_object().unwrap().iter();
    Incoming {
        method: "POST".to_owned(),
        url: url.to_owned(),
        headers: headers
            .map(|(name, value)| (name.to_lowercase(), value.as_str().unwrap().to_owned()))
            .collect(),
        body: Bytes::from(delivery["body"].as_str().unwrap().to_owned()),
    }
}
