//! What there is to hear and to say: told by the hub, and held against what comes in.

use std::path::Path;

use serde_json::{Value as Json, json};

use crate::harness::{
    Folder, Hub, Sandbox, base64, eventually, exchange, expect, get, interconnect, json_of, required, said,
};
use crate::partners::{config, now, received, signed};
use crate::plan::{Stage, the_second_is_over};

/// A type of a customer's own.
const QUOTE: &str = "
version: 1
events:
  - type: custom.acme.quote_sent
    doc: a quote went out
    versions:
      - version: 1
        schema: { required: [id, pages], properties: { id: { type: string }, pages: { type: integer } } }
        sample: { id: Q-1, pages: 2 }
";

fn publish(hub: &Hub, event_type: &str, data: &Json) -> (u16, Json) {
    let body = json!({"type": event_type, "timestamp": "2026-11-26T09:00:00Z", "data": data}).to_string();
    let (status, answer) = exchange("POST", &format!("{}/v1/events", hub.url), Some(&body), &[]);
    (
        status,
        serde_json::from_str(&answer).expect("the API answers JSON"),
    )
}

#[test]
fn a_type_of_ones_own_is_told_and_held_to() {
    let folder = Folder::new();
    folder.write("events/acme.yaml", QUOTE);
    let sandbox = Sandbox::start(&["--partner", "northwind", "--partner", "globex"]);
    let (config, secrets) = config(&folder, &sandbox, "events: ./events\n");
    let hub = Hub::start(&config, &secrets);

    let types = get(&format!("{}/v1/event-types", hub.url));
    let types = types["data"].as_array().expect("a list").clone();
    let won = types
        .iter()
        .find(|one| one["name"] == "deal.won")
        .expect("it is there");
    assert_eq!(
        won["endpoints"],
        json!(["acme-self", "globex-won", "northwind-all"]),
        "{won}"
    );
    let quote = get(&format!("{}/v1/event-types/custom.acme.quote_sent", hub.url));
    let shape = &quote["shapes"][0];
    assert_eq!(shape["sample"], json!({"id": "Q-1", "pages": 2}));
    let path = config.to_str().expect("a path of text");
    let printed = interconnect(
        &[
            "--config",
            path,
            "event",
            "type",
            "custom.acme.quote_sent",
            "--schema",
        ],
        &secrets,
    );
    assert_eq!(
        json_of(&printed),
        shape["schema"],
        "the command line says the same"
    );
    let printed = interconnect(&["--config", path, "asyncapi"], &secrets);
    assert_eq!(json_of(&printed), get(&format!("{}/v1/asyncapi.json", hub.url)));

    let (status, problem) = publish(
        &hub,
        "custom.acme.quote_sent",
        &json!({"id": "Q-1", "pages": "two"}),
    );
    assert_eq!(
        (status, &problem["code"]),
        (422, &json!("event_invalid")),
        "{problem}"
    );
    let detail = problem["detail"].as_str().expect("text");
    assert!(
        detail.contains("`data.pages`") && !detail.contains("two"),
        "{detail}"
    );
    assert_eq!(publish(&hub, "custom.acme.quote_sent", &shape["sample"]).0, 202);
}

#[test]
fn every_sample_is_taken_and_what_arrives_is_what_the_schema_says() {
    let folder = Folder::new();
    let sandbox = Sandbox::start(&["--partner", "northwind", "--partner", "globex"]);
    let (config, secrets) = config(&folder, &sandbox, "");
    let hub = Hub::start(&config, &secrets);
    let types = get(&format!("{}/v1/event-types", hub.url));
    let mut sent = 0;
    for one in types["data"].as_array().expect("a list") {
        let name = one["name"].as_str().expect("a name");
        let about = get(&format!("{}/v1/event-types/{name}", hub.url));
        let (status, answer) = publish(&hub, name, &about["shapes"][0]["sample"]);
        let ours = name.starts_with("endpoint.") || name.starts_with("secret.");
        assert_eq!(status, if ours { 422 } else { 202 }, "{name}: {answer}");
        sent += u64::from(name.starts_with("deal."));
    }
    let arrived = eventually("all events about deals", || {
        let arrived = received(&sandbox, "northwind");
        expect(
            arrived.len() as u64 >= sent,
            format!("{} of {sent}", arrived.len()),
        )
        .map(|()| arrived)
    });
    for webhook in arrived {
        let body: Json = serde_json::from_str(webhook["body"].as_str().expect("a body")).expect("JSON");
        let name = body["type"].as_str().expect("a type");
        let about = get(&format!("{}/v1/event-types/{name}", hub.url));
        let validator = jsonschema::draft202012::new(&about["shapes"][0]["schema"]).expect("a schema");
        assert!(validator.is_valid(&body), "{body}");
    }
}

#[test]
fn who_hears_of_what_and_as_what_is_said_in_the_configuration() {
    let folder = Folder::new();
    let sandbox = Sandbox::start(&["--partner", "northwind", "--partner", "globex"]);
    let (config, secrets) = config(&folder, &sandbox, "");
    let text = std::fs::read_to_string(&config).expect("it was written");
    let text = text.replace(
        "events: ['deal.*', custom.ping]",
        "events: [custom.ping, { types: ['deal.*'], from: [acme], where: '.data.deal.stage == \"committed\"' }], shape: thin",
    );
    let text = text.replace(
        "events: [deal.won]",
        "events: [deal.won], shape: { program: '{name: .data.deal.name, stage: .data.deal.stage}' }",
    );
    std::fs::write(&config, text).expect("it can be written");
    let hub = Hub::start(&config, &secrets);
    for (id, stage) in [("D-1", "committed"), ("D-2", "prospect")] {
        let deal = json!({"id": id, "deal": {"name": "Solar park", "stage": stage}});
        let body = json!({"type": "deal.won", "timestamp": "2026-11-26T09:00:00Z", "data": deal}).to_string();
        let headers = signed(id, now(), &body);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let (status, answer) = exchange("POST", &format!("{}/hooks/acme", hub.url), Some(&body), &headers);
        assert_eq!(status, 202, "{answer}");
    }
    // Said by the hub, not by acme.
    assert_eq!(
        publish(
            &hub,
            "deal.won",
            &json!({"id": "D-3", "deal": {"stage": "committed"}})
        )
        .0,
        202
    );
    let bodies = |partner: &str| -> Vec<Json> {
        let all = received(&sandbox, partner);
        all.iter()
            .map(|one| serde_json::from_str(one["body"].as_str().expect("a body")).expect("JSON"))
            .collect()
    };
    eventually("three at globex and two at northwind", || {
        let counts = (bodies("globex").len(), bodies("northwind").len());
        expect(counts == (3, 2), format!("{counts:?}"))
    });
    let northwind = bodies("northwind");
    let thin = northwind
        .iter()
        .filter(|one| one["data"] == json!({"id": "D-1"}))
        .count();
    assert_eq!(thin, 1, "committed, by acme, and thin: {northwind:?}");
    let full = northwind.iter().filter(|one| one["data"]["id"] == "D-3").count();
    assert_eq!(
        full, 1,
        "the other one is what acme's own endpoint, which lies there too, hears from the hub"
    );
    let globex = bodies("globex");
    assert!(
        globex.contains(&json!({"name": "Solar park", "stage": null})),
        "the policy comes first: {globex:?}"
    );
    let shown = get(&format!("{}/v1/endpoints/northwind-all", hub.url));
    assert_eq!(
        (&shown["shape"], &shown["subscriptions"][1]["from"]),
        (&json!("thin"), &json!(["acme"])),
        "{shown}"
    );
}

/// Posts as acme.
fn post(hub: &Hub, id: &str, body: &str, more: &[(&str, &str)]) -> (u16, Json) {
    let headers = signed(id, now(), body);
    let mut headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    headers.extend(more);
    let (status, answer) = exchange("POST", &format!("{}/hooks/acme", hub.url), Some(body), &headers);
    (status, serde_json::from_str(&answer).expect("JSON"))
}

#[test]
fn what_arrives_in_any_form_is_an_event_and_can_be_read_again() {
    let folder = Folder::new();
    let sandbox = Sandbox::start(&["--partner", "northwind", "--partner", "globex"]);
    let (config, secrets) = config(&folder, &sandbox, "");
    let text = std::fs::read_to_string(&config).expect("it was written");
    let takes =
        "    takes: { program: '{type: \"custom.ping\", data: {id: (.id // .order.id)}}' }\n    endpoints:\n";
    std::fs::write(&config, text.replacen("    endpoints:\n", takes, 1)).expect("it can be written");
    let hub = Hub::start(&config, &secrets);
    let cloud = json!({"specversion": "1.0", "id": "A-1", "source": "/acme", "type": "custom.ping", "data": {"id": "cloud"}});
    let binary = [
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", "A-2"),
        ("ce-source", "/acme"),
        ("ce-type", "custom.ping"),
    ];
    let plain = json!({"type": "custom.ping", "timestamp": "2026-11-26T09:00:00Z", "data": {"id": "plain"}})
        .to_string();
    let secret = [("x-api-key", "hunter2"), ("content-type", "application/json")];
    let mut ids = Vec::new();
    for (id, body, headers) in [
        ("m1", plain.as_str(), &secret[..]),
        (
            "m2",
            cloud.to_string().as_str(),
            &[("content-type", "application/cloudevents+json; charset=utf-8")],
        ),
        ("m3", r#"{"id":"binary"}"#, &binary),
        (
            "m4",
            "id=form&x=1",
            &[("content-type", "application/x-www-form-urlencoded")],
        ),
        (
            "m5",
            "<order><id>xml</id></order>",
            &[("content-type", "text/xml; charset=utf-8")],
        ),
        ("m6", r#"{"id":"json"}"#, &[("content-type", "application/json")]),
    ] {
        let (status, answer) = post(&hub, id, body, headers);
        assert_eq!(status, 202, "{id}: {answer}");
        ids.push(answer["id"].as_str().expect("an id").to_owned());
    }
    let arrived = eventually("six at northwind", || {
        let arrived = received(&sandbox, "northwind");
        expect(arrived.len() == 6, format!("{}", arrived.len())).map(|()| arrived)
    });
    let data = |webhook: &Json| -> String {
        let body: Json = serde_json::from_str(webhook["body"].as_str().expect("a body")).expect("JSON");
        body["data"]["id"].as_str().expect("an id").to_owned()
    };
    let mut names: Vec<String> = arrived.iter().map(data).collect();
    names.sort_unstable();
    assert_eq!(names, ["binary", "cloud", "form", "json", "plain", "xml"]);

    let shown = get(&format!("{}/v1/events/{}", hub.url, ids[0]));
    let arrival = &shown["arrival"];
    assert_eq!(
        (&arrival["verified"], &arrival["original"]),
        (&json!("v1"), &Json::Null),
        "{shown}"
    );
    let headers = arrival["headers"].to_string();
    assert!(
        headers.contains(r#"["webhook-id","m1"]"#) && !headers.contains("hunter2"),
        "{headers}"
    );
    assert_eq!(shown["deliveries"].as_array().map(Vec::len), Some(1));
    let path = config.to_str().expect("a path of text");
    let printed = json_of(&interconnect(
        &["--config", path, "event", "show", &ids[4], "--json"],
        &secrets,
    ));
    assert_eq!(
        (
            &printed["arrival"]["came_as"],
            &printed["arrival"]["original"],
            &printed["body"]["data"]["id"]
        ),
        (
            &json!("xml"),
            &json!("<order><id>xml</id></order>"),
            &json!("xml")
        )
    );
    let listed = eventually("all six are delivered", || {
        let list = [
            "--config", path, "event", "list", "--source", "acme", "--type", "custom.*", "--json",
        ];
        let listed = json_of(&interconnect(&list, &secrets));
        let rows = listed["data"].as_array().expect("a list").clone();
        expect(rows.iter().all(|row| row["delivered"] == 1), &listed).map(|()| rows)
    });
    assert_eq!(
        (listed.len(), &listed[5]["id"]),
        (6, &json!(ids[0])),
        "newest first"
    );
    assert_eq!(
        get(&format!("{}/v1/events?source=acme&limit=2", hub.url))["data"][0]["id"],
        json!(ids[5])
    );
}

#[test]
fn a_changed_route_is_tried_on_what_is_kept_before_anything_runs_by_it() {
    let folder = Folder::new();
    let sandbox = Sandbox::start(&["--partner", "northwind", "--partner", "globex"]);
    let (config, secrets) = config(&folder, &sandbox, "");
    let hub = Hub::start(&config, &secrets);
    for (id, stage) in [("D-1", "committed"), ("D-2", "prospect"), ("D-3", "committed")] {
        let deal = json!({"id": id, "deal": {"name": "Solar park", "stage": stage}});
        let body = json!({"type": "deal.won", "timestamp": "2026-11-26T09:00:00Z", "data": deal}).to_string();
        assert_eq!(post(&hub, id, &body, &[]).0, 202);
    }
    let text = std::fs::read_to_string(&config).expect("it was written");
    let changed = text
        .replace(
            "events: ['deal.*', custom.ping]",
            "events: [{ types: ['deal.*'], where: '.data.deal.stage == \"committed\"' }]",
        )
        .replace("events: [deal.won]", "events: [deal.won], shape: thin");
    let changed = folder.write("changed.yaml", &changed);
    let tried = |config: &Path, against: &[&str]| {
        let path = config.to_str().expect("a path of text");
        let mut arguments = vec!["--config", path, "endpoint", "try", "--json"];
        arguments.extend(against);
        let tried = json_of(&interconnect(&arguments, &secrets));
        assert_eq!(tried["events"], 3, "{tried}");
        let rows = tried["endpoints"].as_array().expect("a list").iter();
        let counts = |row: &Json| {
            let count = |kind: &str| row[kind]["count"].as_u64().unwrap_or_default();
            (
                row["same"].as_u64().unwrap_or_default(),
                count("more"),
                count("fewer"),
                count("changed"),
            )
        };
        rows.map(|row| {
            (
                row["endpoint"].as_str().unwrap_or_default().to_owned(),
                counts(row),
            )
        })
        .collect::<Vec<_>>()
    };
    let named = |globex, northwind| {
        vec![
            ("globex-won".to_owned(), globex),
            ("northwind-all".to_owned(), northwind),
        ]
    };
    assert_eq!(
        tried(&config, &[]),
        named((3, 0, 0, 0), (3, 0, 0, 0)),
        "as it was sent"
    );
    assert_eq!(
        tried(&changed, &[]),
        named((3, 0, 0, 0), (2, 0, 1, 0)),
        "one would not go out"
    );
    let path = config.to_str().expect("a path of text");
    assert_eq!(
        tried(&changed, &["--against", path]),
        named((0, 0, 0, 3), (2, 0, 1, 0)),
        "and three look otherwise"
    );
    let other = changed.to_str().expect("a path of text");
    assert_eq!(
        tried(&config, &["--against", other, "northwind-all"]),
        named((0, 0, 0, 0), (2, 1, 0, 0))[1..]
    );
    // What a partner would come to know is told by its place.
    let (_, told, _) = said(&interconnect(
        &[
            "--config",
            path,
            "endpoint",
            "try",
            "--against",
            other,
            "globex-won",
            "--sample",
            "0",
        ],
        &secrets,
    ));
    insta::assert_snapshot!(told.trim_end(), @r"
    3 events were tried

    endpoint    same  more  fewer  changed
    globex-won  0     0     0      3
    globex-won  told more: data.deal.name (3)
    ");
    let all = ["--config", other, "endpoint", "try", "--against", path, "--json"];
    let told = json_of(&interconnect(&all, &secrets));
    let told = &told["endpoints"][0];
    assert_eq!(
        (&told["told_more"], &told["told_less"], &told["told_otherwise"]),
        (&json!({}), &json!({"data.deal.name": 3}), &json!({}))
    );
}

#[test]
fn a_partner_that_posts_too_fast_is_told_when_to_come_back() {
    let folder = Folder::new();
    let sandbox = Sandbox::start(&["--partner", "northwind", "--partner", "globex"]);
    let (config, secrets) = config(&folder, &sandbox, "");
    let text = std::fs::read_to_string(&config).expect("it was written");
    std::fs::write(
        &config,
        text.replacen("    endpoints:\n", "    posts_per_s: 1\n    endpoints:\n", 1),
    )
    .expect("it can be written");
    let hub = Hub::start(&config, &secrets);
    let body = json!({"type": "custom.ping", "timestamp": "2026-11-26T09:00:00Z", "data": {}}).to_string();
    let answers: Vec<(u16, Json)> = (0..20)
        .map(|n| post(&hub, &format!("m{n}"), &body, &[]))
        .collect();
    assert_eq!(answers[0].0, 202);
    let (_, problem) = answers
        .iter()
        .find(|(status, _)| *status == 429)
        .expect("20 do not take 20 seconds");
    assert_eq!(problem["code"], "too_fast");
    let forged = exchange("POST", &format!("{}/hooks/acme", hub.url), Some(&body), &[]).0;
    assert_eq!(forged, 401, "what is not signed is no message of acme's");
}

#[test]
fn what_changed_at_a_system_goes_to_those_who_asked_for_that_system() {
    let mut stage = Stage::new("sqlite:hub.db");
    stage.env.push(("HOOK", format!("whsec_{}", base64(&[7; 32]))));
    let path = stage.folder.path("interconnect.yaml");
    let mut text = std::fs::read_to_string(&path).expect("it was written");
    text.push_str("partners:\n  northwind:\n    endpoints:\n");
    for name in ["crm", "marketing"] {
        let to = format!(
            "      - {{ name: of-{name}, url: \"https://127.0.0.1:9/hook\", secret: \"${{env:HOOK}}\", \
             events: [ {{ types: [partner.*], from: [{name}] }} ], share: everything }}\n"
        );
        text.push_str(&to);
    }
    stage.folder.write("interconnect.yaml", &text);
    stage.put(
        "salesforce",
        "Account",
        &[json!({"Name": "Solar", "Website": "https://solar.example"})],
    );
    the_second_is_over();
    let (code, _, stderr) = said(&stage.folder.run(&["sync", "run"], &stage.env));
    assert_eq!(code, Some(0), "{stderr}");
    let run = |arguments: &[&str]| json_of(&stage.folder.run(arguments, &stage.env));
    let list = run(&["event", "list", "--type", "partner.created", "--json"]);
    let [created] = &list["data"].as_array().expect("a list")[..] else {
        panic!("one partner was created: {list}")
    };
    let event = run(&["event", "show", created["id"].as_str().expect("an id"), "--json"]);
    assert_eq!(
        (&event["source"], &event["arrival"]["connection"]),
        (&json!("interconnect"), &json!("crm"))
    );
    let endpoints: Vec<&Json> = event["deliveries"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| &one["endpoint"])
        .collect();
    assert_eq!(endpoints, [&json!("of-crm")]);
}

#[test]
fn an_endpoint_that_wants_a_token_is_shown_one() {
    let folder = Folder::new();
    let sandbox = Sandbox::start(&["--partner", "northwind", "--partner", "globex"]);
    // A system whose API lets nobody in without a token.
    let system = sandbox.url("salesforce");
    let auth = format!(
        "auth: {{ token_url: \"{system}/services/oauth2/token\", client_id: \"${{env:ID}}\", client_secret:"
    );
    let wants = |name: &str, secret: &str| {
        format!(
            "      - {{ name: {name}, url: \"{system}/services/data/v67.0/composite/sobjects\", secret: \"${{env:NORTHWIND_SECRET}}\", \
             events: [custom.ping], share: everything, retry_ms: [], {auth} \"${{env:{secret}}}\" }} }}\n"
        )
    };
    let endpoints = format!(
        "  initech:\n    endpoints:\n{}{}",
        wants("known", "RIGHT"),
        wants("unknown", "WRONG")
    );
    let (config, mut secrets) = config(&folder, &sandbox, &endpoints);
    let credential = |pointer: &str| {
        sandbox
            .said
            .pointer(pointer)
            .and_then(Json::as_str)
            .expect("a credential")
            .to_owned()
    };
    secrets.extend([
        ("ID", credential("/salesforce/client_id")),
        ("RIGHT", credential("/salesforce/client_secret")),
        ("WRONG", "swordfish".to_owned()),
    ]);
    let hub = Hub::start(&config, &secrets);
    assert_eq!(publish(&hub, "custom.ping", &json!({"id": "P-1"})).0, 202);
    let dead = |name: &str| {
        eventually("a try", || {
            let list = get(&format!("{}/v1/deliveries?endpoint={name}&state=dead", hub.url));
            let one = list["data"][0].clone();
            expect(one.is_object(), &list).map(|()| one)
        })
    };
    // An event is no record of theirs, so it is refused: but not at the door.
    assert_eq!(dead("known")["last_status"], 400);
    let unknown = dead("unknown");
    assert_eq!(
        unknown["last_status"],
        Json::Null,
        "nothing is sent without a token: {unknown}"
    );
    let error = unknown["last_error"].as_str().expect("text");
    assert!(
        error.contains("no token to show") && !error.contains("swordfish"),
        "{error}"
    );
}

#[test]
fn the_document_is_what_asyncapi_says_a_document_is() {
    let folder = Folder::new();
    let document = json_of(&folder.run(&["asyncapi"], &[]));
    let clients = required("IT_NODE_CLIENTS");
    let official = Path::new(&clients).join("node_modules/@asyncapi/specs/schemas/3.0.0-without-$id.json");
    let official = std::fs::read_to_string(&official).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; run `python3 tests/services/setup.py`",
            official.display()
        )
    });
    let official: Json = serde_json::from_str(&official).expect("it is JSON");
    let validator = jsonschema::draft7::new(&official).expect("it is a schema");
    let wrong: Vec<String> = validator
        .iter_errors(&document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert_eq!(wrong, Vec::<String>::new());
    let mut broken = document;
    broken["channels"]["intake"]["adress"] = json!("/hooks");
    assert!(!validator.is_valid(&broken), "it notices what is wrong");
}

#[test]
fn a_wrong_file_of_events_is_shown_with_a_caret() {
    let folder = Folder::new();
    folder.write("events/acme.yaml", &QUOTE.replace("pages: 2", "pages: two"));
    folder.write("interconnect.yaml", "events: ./events\n");
    let (code, stdout, _) = said(&folder.run(&["check"], &[]));
    assert_eq!(code, Some(2));
    insta::assert_snapshot!(stdout, @r#"
    error[IC0405]: the sample does not fit the schema: `data.pages`: it is not of type "integer"
     --> ./events/acme.yaml:9:17
      |
    9 |         sample: { id: Q-1, pages: two }
      |                 ^^
      |
      = help: correct the one that is wrong: partners write their code by both
    "#);
}
