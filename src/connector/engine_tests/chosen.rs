//! The connector that is told by the connection's configuration how an API is spoken to.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use ring::hmac;
use serde_json::{Value as Json, json};

use crate::testing::{Got, ManualClock, Say, Server, connect, connect_by, ok, shipped, write};
use crate::{Connection, Incoming, Outcome, Received, Refusal, Settings};

const SECRETS: [(&str, &str); 5] = [
    ("token", "t0ken"),
    ("api_key", "k3y"),
    ("password", "pa55"),
    ("client_id", "id"),
    ("client_secret", "s3cret"),
];

fn tool(server: &Server, config: &Json, auth: &str) -> Connection {
    let mut config = config.clone();
    config["base_url"] = json!(server.url);
    connect_by(&shipped("rest"), config, &SECRETS, auth)
}

/// The value of a parameter of the query.
fn asked(got: &Got, name: &str) -> Option<String> {
    let url = outbound::Url::parse(&format!("http://x{}", got.line.split(' ').nth(1)?)).ok()?;
    url.query_pairs()
        .find(|(n, _)| n == name)
        .map(|(_, value)| value.into_owned())
}

fn deals(ids: std::ops::Range<usize>) -> Json {
    ids.map(|id| json!({"id": id, "updated_at": "2026-11-23T09:00:00Z", "name": format!("n{id}")}))
        .collect()
}

/// The ids of a whole round.
async fn round(connection: &Connection, cursor: &mut Option<Json>) -> Vec<String> {
    let mut ids = Vec::new();
    loop {
        let page = connection
            .changes("deals", &["name".to_owned()], cursor.as_ref())
            .await
            .unwrap();
        ids.extend(page.objects.into_iter().map(|object| object.id));
        *cursor = Some(page.cursor);
        if !page.more {
            return ids;
        }
    }
}

#[tokio::test]
async fn every_way_to_sign_in_is_chosen_by_name() {
    for (auth, config, header, value) in [
        ("bearer", json!({}), "authorization", "Bearer t0ken"),
        (
            "basic",
            json!({"user": "hub"}),
            "authorization",
            "Basic aHViOnBhNTU=",
        ),
        (
            "api_key_header",
            json!({"key_name": "X-Acme-Key"}),
            "x-acme-key",
            "k3y",
        ),
        (
            "oauth2_client_credentials",
            json!({"scope": "crm"}),
            "authorization",
            "Bearer granted",
        ),
    ] {
        let server = Server::start(|got| match got.line.as_str() {
            "POST /token" => ok(json!({"access_token": "granted", "expires_in": 600})),
            _ => ok(json!({"data": []})),
        })
        .await;
        let mut config = config;
        config["token_url"] = json!(format!("{}/token", server.url));
        tool(&server, &config, auth).check().await.unwrap();
        let got = server.got().pop().unwrap();
        assert_eq!(got.line, "GET /deals", "{auth}");
        assert_eq!(got.headers.get(header).map(String::as_str), Some(value), "{auth}");
    }
    let server = Server::start(|_| ok(json!({"data": []}))).await;
    let by_query = tool(&server, &json!({"key_name": "apikey"}), "api_key_query");
    by_query.check().await.unwrap();
    assert_eq!(server.lines(), ["GET /deals?apikey=k3y"; 2]);
}

#[tokio::test]
async fn every_way_from_page_to_page_reads_all_of_five() {
    type Way = (&'static str, Json, fn(&Got) -> Say, usize);
    fn from(got: &Got, page: usize) -> usize {
        asked(got, "p").map_or(0, |text| {
            text.trim_start_matches('c').parse::<usize>().unwrap() * page
        })
    }
    fn some(at: usize) -> Json {
        deals(at.min(5)..5.min(at + 2))
    }
    let ways: [Way; 7] = [
        (
            "cursor",
            json!({"next_field": "meta.next"}),
            |got| {
                let at = from(got, 1);
                ok(json!({"data": some(at), "meta": {"next": (at + 2 < 5).then(|| format!("c{}", at + 2))}}))
            },
            3,
        ),
        (
            "address",
            json!({"next_field": "next"}),
            |got| {
                let at = from(got, 1);
                ok(json!({"data": some(at), "next": (at + 2 < 5).then(|| format!("?p={}", at + 2))}))
            },
            3,
        ),
        (
            "link",
            json!({"records": ""}),
            |got| match from(got, 1) {
                0 => Say::Header(200, "link", "</deals?p=2>; rel=\"next\"", some(0).to_string()),
                2 => Say::Header(200, "link", "</deals?p=4>; rel=\"next\"", some(2).to_string()),
                at => ok(some(at)),
            },
            3,
        ),
        // Nobody says which page is the last: the empty one is.
        (
            "offset",
            json!({"limit_param": "take", "page_size": "2"}),
            |got| {
                assert_eq!(asked(got, "take").as_deref(), Some("2"));
                ok(json!({"data": some(from(got, 1))}))
            },
            4,
        ),
        (
            "number",
            json!({}),
            |got| {
                let page: usize = asked(got, "p").map_or(1, |page| page.parse().unwrap());
                ok(json!({"data": some((page - 1) * 2)}))
            },
            4,
        ),
        (
            "number_from_0",
            json!({}),
            |got| ok(json!({"data": some(from(got, 2))})),
            4,
        ),
        ("none", json!({}), |_| ok(json!({"data": deals(0..5)})), 1),
    ];
    for (paging, mut config, answer, calls) in ways {
        let server = Server::start(answer).await;
        config["paging"] = json!(paging);
        config["page_param"] = json!("p");
        let connection = tool(&server, &config, "bearer");
        let read = round(&connection, &mut None).await;
        assert_eq!(read, ["0", "1", "2", "3", "4"], "{paging}");
        assert_eq!(server.got().len(), calls, "{paging}: {:?}", server.lines());
    }
}

#[tokio::test]
async fn a_later_round_asks_for_what_changed_where_the_tool_can_be_asked() {
    for (config, later) in [
        (
            json!({"since_param": "changed_since"}),
            "GET /crm/deals?changed_since=2026-11-23T09%3A00%3A00Z",
        ),
        (
            json!({"since_param": "since", "since_form": "ms"}),
            "GET /crm/deals?since=1795424400000",
        ),
        (json!({}), "GET /crm/deals"),
    ] {
        let server = Server::start(|_| ok(json!({"data": deals(0..1)}))).await;
        let mut config = config;
        config["deals_path"] = json!("/crm/deals");
        let connection = tool(&server, &config, "bearer");
        let mut cursor = None;
        round(&connection, &mut cursor).await;
        round(&connection, &mut cursor).await;
        assert_eq!(server.lines(), ["GET /crm/deals", later]);
    }
    // An answer of another shape is no empty list.
    let server = Server::start(|_| ok(json!({"items": []}))).await;
    let connection = tool(&server, &json!({}), "bearer");
    let failure = connection.changes("deals", &[], None).await.unwrap_err();
    assert!(
        failure.detail.contains("config.records says where it lies"),
        "{failure:?}"
    );
}

#[tokio::test]
async fn an_object_is_found_by_our_id_before_it_is_made() {
    let ours = "dea_01h2xcejqtf2nbrexx3vqjhp41";
    let server = Server::start(move |got| match got.line.split([' ', '?']).next().unwrap() {
        "GET" if asked(got, "interconnect_id").as_deref() == Some("dea_known") => {
            ok(json!({"data": [{"id": 8, "interconnect_id": "dea_known"}]}))
        }
        "GET" => ok(json!({"data": []})),
        _ => ok(json!({"deal": {"id": 7}})),
    })
    .await;
    let connection = tool(&server, &json!({"record": "deal"}), "bearer");
    let values = json!({"name": "Roof", "customer.name": "Solarhof"});
    let outcomes = connection
        .write(
            "deals",
            &[
                write(None, ours, values.clone()),
                write(None, "dea_known", values.clone()),
                write(Some("a/9"), "dea_x", values),
            ],
        )
        .await
        .unwrap();
    let ids: Vec<(String, bool)> = outcomes
        .into_iter()
        .map(|outcome| match outcome {
            Outcome::Written { id, created, .. } => (id, created),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        ids,
        [("7".into(), true), ("8".into(), false), ("a/9".into(), false)]
    );
    let mut sent: Vec<(String, Json)> = server
        .got()
        .into_iter()
        .filter(|got| !got.line.starts_with("GET"))
        .map(|got| (got.line.clone(), got.json()))
        .collect();
    sent.sort_by(|a, b| a.0.cmp(&b.0));
    let body = json!({"name": "Roof", "customer": {"name": "Solarhof"}});
    let mut made = body.clone();
    made["interconnect_id"] = json!(ours);
    assert_eq!(
        sent,
        [
            ("PATCH /deals/8".to_owned(), json!({"deal": body.clone()})),
            ("PATCH /deals/a%2F9".to_owned(), json!({"deal": body})),
            ("POST /deals".to_owned(), json!({"deal": made})),
        ]
    );
}

#[tokio::test]
async fn a_tool_that_does_not_filter_is_written_nothing() {
    for listed in [
        json!([{"id": 1, "interconnect_id": "dea_a"}, {"id": 2, "interconnect_id": "dea_b"}]),
        json!([{"id": 1}]),
    ] {
        let server = Server::start(move |_| ok(json!({"data": listed.clone()}))).await;
        let connection = tool(&server, &json!({}), "bearer");
        let outcomes = connection
            .write("deals", &[write(None, "dea_c", json!({"name": "Roof"}))])
            .await;
        let told = format!("{outcomes:?}");
        assert!(
            !told.contains("Written") && told.contains("filters by interconnect_id"),
            "{told}"
        );
        assert!(
            server.lines().iter().all(|line| line.starts_with("GET ")),
            "{:?}",
            server.lines()
        );
    }
}

#[tokio::test]
async fn an_address_with_nothing_behind_it_is_an_object_that_is_gone() {
    let server = Server::start(|got| match got.line.as_str() {
        "GET /deals/7" => ok(json!({"id": 7, "updated_at": "2026-11-23T09:00:00Z"})),
        _ => Say::Json(404, "{}".to_owned()),
    })
    .await;
    let connection = tool(&server, &json!({}), "bearer");
    let found = connection
        .by_ids("deals", &[], &["6".into(), "7".into()])
        .await
        .unwrap();
    assert_eq!(
        found.into_iter().map(|object| object.id).collect::<Vec<_>>(),
        ["7"]
    );
}

#[tokio::test]
async fn a_webhook_is_proven_by_the_secret_that_is_set() {
    let server = Server::script(Vec::new()).await;
    let body = r#"{"event": {"type": "deal.updated", "data": {"id": 7}}}"#;
    let receive = |secret: (&str, &str), headers: &[(&str, &str)]| {
        let config = json!({"base_url": server.url, "event_object": "event.type", "event_id": "event.data.id", "webhook_user": "tool"});
        let secrets = [("token", "t0ken"), secret];
        let connection = connect(&shipped("rest"), config, &secrets, &Arc::default());
        let request = Incoming {
            method: "POST".to_owned(),
            url: "https://hub.example/hooks/connections/tool".to_owned(),
            headers: headers
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            body: Bytes::copy_from_slice(body.as_bytes()),
        };
        connection.receive(&request, Timestamp::from_second(1_795_428_000).unwrap())
    };
    let hex = |signed: &str| {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"hook-key"), signed.as_bytes());
        tag.as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let github = format!("sha256={}", hex(body));
    let stripe = format!("t=1795428000,v1={}", hex(&format!("1795428000.{body}")));
    for (secret, header) in [
        (
            ("webhook_github_key", "hook-key"),
            ("x-hub-signature-256", github.as_str()),
        ),
        (
            ("webhook_stripe_key", "hook-key"),
            ("stripe-signature", stripe.as_str()),
        ),
        (
            ("webhook_token", "hook-key"),
            ("authorization", "Bearer hook-key"),
        ),
        (
            ("webhook_password", "hook-key"),
            ("authorization", "Basic dG9vbDpob29rLWtleQ=="),
        ),
    ] {
        match receive(secret, &[header]) {
            Ok(Received::Hints(hints)) => {
                let told: Vec<_> = hints
                    .iter()
                    .map(|hint| (hint.object.as_str(), hint.id.as_str(), hint.op.as_str()))
                    .collect();
                assert_eq!(told, [("deals", "7", "update")], "{secret:?}");
            }
            other => panic!("{secret:?}: {other:?}"),
        }
        let refused = receive((secret.0, "another"), &[header]);
        assert!(matches!(refused, Err(Refusal::Bad)), "{secret:?}: {refused:?}");
    }
    // What is not set proves nothing, however right it is.
    let refused = receive(
        ("webhook_token", "another"),
        &[("x-hub-signature-256", github.as_str())],
    );
    assert!(refused.is_err(), "{refused:?}");
}

#[test]
fn a_setting_is_one_of_its_options() {
    let guard = outbound::Guard::public_only();
    let client = outbound::Client::new(outbound::Limits::default(), guard).unwrap();
    let config = json!({"base_url": "https://tool.example", "paging": "curser"});
    let settings = Settings::new(
        "tool",
        config.as_object().unwrap().clone(),
        SECRETS.into_iter().collect(),
    );
    let refused = Connection::open(
        shipped("rest"),
        settings,
        client,
        Arc::new(ManualClock::default()),
    );
    let refused = refused.map(|_| ()).unwrap_err();
    assert_eq!(
        refused.detail,
        "the setting `paging` is `curser`, expected one of cursor, address, link, offset, number, number_from_0, none"
    );

    let text = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../connectors/rest/connector.yaml"
    ));
    let text = text.unwrap().replacen("default: iso", "default: isso", 1);
    let mut report = diagnostic::Report::new();
    let source = diagnostic::Source::new("connector.yaml", text);
    assert!(crate::Connector::compile(&source, &mut report).is_none());
    let shown = report.render(false);
    assert!(
        shown.contains("`isso` is not one of the `options` of `since_form`")
            && shown.contains("did you mean `iso`?"),
        "{shown}"
    );
}
