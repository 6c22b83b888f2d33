//! Listings that lead from page to page.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use crate::testing::{Got, ManualClock, Say, Server, connect, connector, ok};
use crate::{Class, Connection, Connector, Failure};

/// A manifest with one object, read in this way.
fn manifest(changes: &str) -> Arc<Connector> {
    let changes = changes.replace('\n', "\n        ");
    connector(&format!(
        r#"apiVersion: interconnect/v1
kind: Connector
metadata: {{ name: acme, version: 1.0.0, title: Acme }}
connection:
  config: {{ base_url: {{ help: the address }} }}
  secrets: {{ token: where }}
  base_url: "{{{{ config.base_url }}}}"
  auth: [{{ kind: bearer, header: "Bearer {{{{ secrets.token }}}}" }}]
  identity: {{ request: {{ method: GET, path: /me }}, tenant: .id }}
errors: [{{ when: {{ status: 410 }}, class: cursor_expired }}]
objects:
  things:
    id: .id
    read:
      changes:
        strategy: pages
        page: 2
        records: .items[]
        {changes}
"#
    ))
}

struct Reader {
    server: Server,
    manifest: Arc<Connector>,
    clock: Arc<ManualClock>,
    cursor: Option<Json>,
}

impl Reader {
    fn new(server: Server, changes: &str) -> Reader {
        Reader {
            server,
            manifest: manifest(changes),
            clock: Arc::default(),
            cursor: None,
        }
    }

    fn connection(&self) -> Connection {
        let config = json!({"base_url": self.server.url});
        connect(&self.manifest, config, &[("token", "t")], &self.clock)
    }

    /// The ids of a whole round. Every page is read by a connection of its own: only the cursor is remembered.
    async fn round(&mut self) -> Result<Vec<String>, Failure> {
        let mut ids = Vec::new();
        loop {
            let page = self
                .connection()
                .changes("things", &["name".to_owned()], self.cursor.as_ref())
                .await?;
            ids.extend(page.objects.into_iter().map(|object| object.id));
            self.cursor = Some(page.cursor);
            if !page.more {
                return Ok(ids);
            }
        }
    }
}

fn items(ids: std::ops::Range<usize>) -> Json {
    ids.map(|id| json!({"id": id, "name": format!("n{id}")}))
        .collect()
}

/// The value of a parameter of the query.
fn asked(got: &Got, name: &str) -> Option<String> {
    let url = outbound::Url::parse(&format!("http://x{}", got.line.split(' ').nth(1)?)).ok()?;
    url.query_pairs()
        .find(|(n, _)| n == name)
        .map(|(_, value)| value.into_owned())
}

const ALL: [&str; 5] = ["0", "1", "2", "3", "4"];

#[tokio::test]
async fn every_way_to_the_next_page_reads_all_of_five() {
    type Way = (&'static str, fn(&Got) -> Say);
    let ways: [Way; 5] = [
        (
            "next: { by: cursor, value: '.after // empty' }\nrequest: { method: GET, path: /things, query: { after: \"{{ after or '' }}\" } }",
            |got| {
                let from: usize = asked(got, "after")
                    .unwrap()
                    .trim_start_matches('c')
                    .parse()
                    .unwrap_or(0);
                let after = (from + 2 < 5).then(|| format!("c{}", from + 2));
                ok(json!({"items": items(from..5.min(from + 2)), "after": after}))
            },
        ),
        (
            "next: { by: address, value: '.[\"@odata.nextLink\"] // empty' }\nrequest: { method: GET, path: /things, headers: { prefer: odata.maxpagesize=2 } }",
            |got| {
                assert_eq!(
                    got.headers["prefer"], "odata.maxpagesize=2",
                    "every page is asked in the same way"
                );
                let from: usize = asked(got, "skip").map_or(0, |skip| skip.parse().unwrap());
                let next = (from + 2 < 5).then(|| format!("things?skip={}", from + 2));
                ok(json!({"items": items(from..5.min(from + 2)), "@odata.nextLink": next}))
            },
        ),
        (
            "next: { by: link }\nrequest: { method: GET, path: /things }",
            |got| {
                let from: usize = asked(got, "skip").map_or(0, |skip| skip.parse().unwrap());
                let body = json!({"items": items(from..5.min(from + 2))}).to_string();
                match from {
                    0 => Say::Header(200, "link", "</things?skip=2>; rel=\"next\"", body),
                    2 => Say::Header(200, "link", "</things?skip=4>; rel=\"next\"", body),
                    _ => Say::Json(200, body),
                }
            },
        ),
        (
            "next: { by: offset }\nrequest: { method: GET, path: /things, query: { start: \"{{ after or 0 }}\", limit: \"{{ limit }}\" } }",
            |got| {
                let from: usize = asked(got, "start").unwrap().parse().unwrap();
                assert_eq!(asked(got, "limit").unwrap(), "2");
                ok(json!({"items": items(from..5.min(from + 2))}))
            },
        ),
        (
            "next: { by: number, first: 1 }\nrequest: { method: GET, path: /things, query: { page: \"{{ after or 1 }}\" } }",
            |got| {
                let page: usize = asked(got, "page").unwrap().parse().unwrap();
                ok(json!({"items": items((page - 1) * 2..5.min(page * 2))}))
            },
        ),
    ];
    for (changes, answer) in ways {
        let server = Server::start(answer).await;
        let mut reader = Reader::new(server, changes);
        assert_eq!(reader.round().await.unwrap(), ALL, "{changes}");
        assert_eq!(reader.server.got().len(), 3, "{changes}");
        assert!(
            reader
                .server
                .got()
                .iter()
                .all(|got| got.authorization == "Bearer t")
        );
    }
}

/// What rounds ask for, an hour apart, of a system whose answers tell this time with each page.
async fn since(date: Option<&'static str>) -> Vec<String> {
    let changes = "since: true\noverlap: 10m\nnext: { by: number }\n\
        request: { method: GET, path: /things, query: { since: \"{{ since.at if since else '' }}\", page: \"{{ after or 1 }}\" } }";
    let server = Server::start(move |got| {
        let page: usize = asked(got, "page").unwrap().parse().unwrap();
        let body = json!({"items": items((page - 1) * 2..3.min(page * 2))});
        match date {
            Some(date) => Say::Header(200, "date", date, body.to_string()),
            None => ok(body),
        }
    })
    .await;
    let mut reader = Reader::new(server, changes);
    reader.round().await.unwrap();
    reader.clock.advance(3_600_000);
    reader.round().await.unwrap();
    let got = reader.server.got();
    got.iter().map(|got| asked(got, "since").unwrap()).collect()
}

#[tokio::test]
async fn the_next_round_asks_for_what_changed_since_the_one_before_began() {
    let later = "2026-11-23T09:50:00Z";
    assert_eq!(since(None).await, ["", "", later, later]);
}

/// By ours it is ten o'clock when the first one begins.
#[tokio::test]
async fn it_began_when_the_system_said_so_where_our_clock_is_ahead_and_by_ours_where_it_is_behind() {
    let earlier = "2026-11-23T09:10:00Z";
    assert_eq!(
        since(Some("Mon, 23 Nov 2026 09:20:00 GMT")).await,
        ["", "", earlier, earlier]
    );
    let ours = "2026-11-23T09:50:00Z";
    assert_eq!(
        since(Some("Mon, 23 Nov 2026 10:20:00 GMT")).await,
        ["", "", ours, ours]
    );
}

#[tokio::test]
async fn a_delta_goes_on_where_it_ended_and_begins_anew_when_it_is_forgotten() {
    let changes = "next: { by: address, value: '.next // empty' }\ndelta: '.delta // empty'\nrequest: { method: GET, path: /things }";
    let answers = vec![
        ok(json!({"items": items(0..2), "next": "/things?page=2"})),
        ok(json!({"items": items(2..3), "delta": "/things?delta=d1"})),
        ok(json!({"items": items(9..10), "delta": "/things?delta=d2"})),
        Say::Json(410, "{}".to_owned()),
        ok(json!({"items": items(0..2), "delta": "/things?delta=d3"})),
    ];
    let server = Server::script(answers).await;
    let mut reader = Reader::new(server, changes);
    assert_eq!(reader.round().await.unwrap(), ["0", "1", "2"]);
    assert_eq!(reader.round().await.unwrap(), ["9"]);
    assert_eq!(reader.round().await.unwrap(), ["0", "1"]);
    let expected = ["", "?page=2", "?delta=d1", "?delta=d2", ""].map(|query| format!("GET /things{query}"));
    assert_eq!(reader.server.lines(), expected);
}

#[tokio::test]
async fn pages_that_lead_nowhere_good_are_noticed() {
    let changes = "next: { by: address, value: '.next // empty' }\nrequest: { method: GET, path: /things }";
    let next = |address: &str| ok(json!({"items": items(0..2), "next": address}));
    let server = Server::script(vec![next("/things?page=2"), next("/things?page=2")]).await;
    let failure = Reader::new(server, changes).round().await.unwrap_err();
    assert_eq!(failure.detail, "the next page is the same page again");

    let server = Server::script(vec![next("http://evil.example/things")]).await;
    let mut reader = Reader::new(server, changes);
    let failure = reader.round().await.unwrap_err();
    assert_eq!(failure.class, Class::Protocol);
    assert_eq!(
        failure.detail,
        "the next page is at another place, http://evil.example: nothing is sent there"
    );
    assert_eq!(reader.server.got().len(), 1);
}

#[tokio::test]
async fn a_cursor_of_another_strategy_is_not_guessed_at() {
    let changes = "next: { by: offset }\nrequest: { method: GET, path: /things }";
    let mut reader = Reader::new(Server::script(Vec::new()).await, changes);
    reader.cursor = Some(json!({"v": 1, "passes": [], "round": null}));
    let failure = reader.round().await.unwrap_err();
    assert_eq!(failure.class, Class::Settings);
    assert!(
        failure.detail.contains("drop it to read from the beginning"),
        "{failure:?}"
    );
}
