//! What a policy hides is nowhere on the partner's side, and what a partner was told about a record is one question.

use serde_json::{Value as Json, json};

use crate::clock::Clock;
use crate::harness::{Folder, Hub, Sandbox, eventually, exchange, expect, get, interconnect, json_of, said};
use crate::partners::{acme_secret, now, received, signed};

/// What nobody but the hub and who said it may know, wherever it stands in the event.
const HIDDEN: [&str; 6] = [
    "margin-7731",
    "ann@hidden.example",
    "4711.08",
    "competitor-9914",
    "next-week-5529",
    "wind-park-3086",
];

/// A deal that acme tells of, full of what is not for everybody.
fn deal(amount: &str) -> Json {
    json!({"type": "deal.updated", "timestamp": "2026-11-23T10:00:00Z", "data": {
        "id": "D-1", "margin": HIDDEN[0],
        "deal": {"name": "Rollout", "stage": "qualified", "amount": {"amount": amount, "currency": "EUR"},
            "contact": {"email": HIDDEN[1], "job_title": "Buyer"}, "lost_reason": HIDDEN[3], "next_steps": HIDDEN[4]},
        "changed": {"name": {"before": HIDDEN[5], "after": "Rollout"},
            "amount": {"before": {"amount": "12.00", "currency": "EUR"}, "after": {"amount": amount, "currency": "EUR"}}},
    }})
}

fn nothing_hidden(what: &str, text: &str) {
    for hidden in HIDDEN {
        assert!(!text.contains(hidden), "{what} shows {hidden}: {text}");
    }
}

/// A hub whose log lies in `hub.log`, with acme, who posts, and northwind, who may know little, in three ways.
fn stage(folder: &Folder, sandbox: &Sandbox) -> (Hub, Vec<(&'static str, String)>) {
    let text = format!(
        "listen: 127.0.0.1:0
ledger: sqlite:hub.db
outbound: {{ allow: [127.0.0.0/8] }}
limits: {{ sweep_every_ms: 200 }}
sharing:
  deals:
    allow: [id, deal.stage, deal.amount, deal.contact]
    mask: [deal.lost_reason]
    bucket: {{ deal.amount: [1000, 10000] }}
    purpose: co_sell
    agreement: MSA 7
partners:
  acme: {{ secrets: [\"${{env:ACME}}\"] }}
  northwind:
    share: deals
    endpoints:
      - {{ name: crm, url: \"{url}/hook\", secret: \"${{env:NORTHWIND}}\", pull_key: \"${{env:PULL_KEY}}\", events: [deal.*] }}
      - {{ name: broken, url: \"{url}/broken\", secret: \"${{env:NORTHWIND}}\", events: [deal.*],
          shape: {{ program: '{{deal: (.data.deal.amount.amount + 1)}}' }} }}
      - {{ name: reader, secret: \"${{env:NORTHWIND}}\", pull_key: \"${{env:PULL_KEY}}\", events: [deal.*] }}
      - {{ name: ended, url: \"{url}/ended\", secret: \"${{env:NORTHWIND}}\", events: [deal.*],
          share: {{ preset: everything, until: 2026-01-01T00:00:00Z }} }}
",
        url = sandbox.url("northwind"),
    );
    let config = folder.write("interconnect.yaml", &text);
    let secret = sandbox.said["partners"]["northwind"]["secret"].as_str();
    let secrets = vec![
        ("ACME", acme_secret()),
        ("NORTHWIND", secret.expect("a secret").to_owned()),
        ("PULL_KEY", "the-key-by-which-northwind-pulls".to_owned()),
        ("INTERCONNECT_LOG", "trace".to_owned()),
    ];
    let logged = ["bash", "-c", "exec \"$0\" \"$@\" 2> >(tee hub.log >&2)"];
    (Hub::begin(&logged, &config, &secrets).listening(), secrets)
}

fn post(hub: &Hub, id: &str, event: &Json) {
    let body = event.to_string();
    let headers = signed(id, now(), &body);
    let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let (status, answer) = exchange("POST", &format!("{}/hooks/acme", hub.url), Some(&body), &headers);
    assert_eq!(status, 202, "{answer}");
}

#[test]
fn what_is_only_pulled_waits_until_it_is() {
    let folder = Folder::new();
    let sandbox = Sandbox::start(&["--partner", "northwind"]);
    let (hub, secrets) = stage(&folder, &sandbox);
    post(&hub, "msg_1", &deal(HIDDEN[2]));
    let sent = eventually("what northwind is sent", || {
        let got = received(&sandbox, "northwind");
        expect(!got.is_empty(), "nothing").map(|()| got)
    });
    let state = || {
        let all = get(&format!("{}/v1/deliveries?endpoint=reader", hub.url));
        all["data"][0]["state"].clone()
    };
    let pull = |key: &str| {
        let feed = format!("{}/v1/endpoints/reader/events", hub.url);
        let bearer = format!("Bearer {key}");
        exchange("GET", &feed, None, &[("authorization", bearer.as_str())])
    };
    // Whoever looks on this machine is an operator, and takes nothing away.
    assert_eq!(pull("another").0, 200);
    assert_eq!(state(), "due");
    for _ in 0..2 {
        let (status, page) = pull(&secrets[2].1);
        assert_eq!(status, 200, "{page}");
        let page: Json = serde_json::from_str(&page).expect("JSON");
        assert_eq!(page["data"][0]["body"], sent[0]["body"], "{page}");
        assert_eq!(state(), "delivered");
    }
    // What it has had it asks for again; sent to it would be nothing.
    for again in [
        ["retry", "--endpoint", "reader"],
        ["replay", "--endpoint", "reader"],
    ] {
        let arguments = [&["delivery"], &again[..]].concat();
        let (code, _, stderr) = said(&folder.run(&arguments, &secrets));
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains("no `url`"), "{stderr}");
    }
}

#[test]
fn what_a_policy_hides_is_nowhere_on_the_partners_side() {
    let folder = Folder::new();
    let sandbox = Sandbox::start(&["--partner", "northwind"]);
    let (hub, secrets) = stage(&folder, &sandbox);
    post(&hub, "msg_1", &deal(HIDDEN[2]));
    let got = eventually("what northwind may know", || {
        let got = received(&sandbox, "northwind");
        expect(!got.is_empty(), "nothing").map(|()| got)
    });
    let body: Json = serde_json::from_str(got[0]["body"].as_str().expect("a body")).expect("JSON");
    assert_eq!(
        body["data"],
        json!({
            "id": "D-1",
            "deal": {"stage": "qualified", "amount": {"amount": "1000..10000", "currency": "EUR"},
                "contact": {"job_title": "Buyer"}},
            "changed": {"amount": {"before": {"amount": "..1000", "currency": "EUR"},
                "after": {"amount": "1000..10000", "currency": "EUR"}}},
        })
    );
    nothing_hidden("what it was sent", &Json::from(got).to_string());

    // What it asks for itself, and what it is refused.
    let feed = format!("{}/v1/endpoints/crm/events", hub.url);
    let bearer = |key: &str| [("authorization", format!("Bearer {key}"))];
    for (key, more) in [
        (secrets[2].1.as_str(), ""),
        (secrets[2].1.as_str(), "?cursor=at_x"),
        ("another", ""),
    ] {
        let headers = bearer(key);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let (_, answer) = exchange("GET", &format!("{feed}{more}"), None, &headers);
        nothing_hidden("what it pulls", &answer);
    }
    let to = format!("{}/hook", sandbox.url("northwind"));
    let listen = [
        "listen",
        &to,
        "--hub",
        &hub.url,
        "--endpoint",
        "crm",
        "--from",
        "oldest",
        "--count",
        "1",
        "--json",
        "--key-env",
        "PULL_KEY",
    ];
    let (code, told, remarks) = said(&interconnect(&listen, &secrets));
    assert_eq!(code, Some(0), "{remarks}");
    nothing_hidden("listen", &(told + &remarks));

    // What became of the others: one has no shape, for the other nothing may be told.
    let given_up = eventually("reasons", || {
        let list = get(&format!("{}/v1/deliveries?state=dead", hub.url));
        expect(list["data"].as_array().is_some_and(|all| all.len() == 2), &list).map(|()| list)
    });
    nothing_hidden("why they were given up", &given_up.to_string());
    assert!(
        given_up
            .to_string()
            .contains("the sharing policy `ended` ended at 2026-01-01T00:00:00Z"),
        "{given_up}"
    );
    let tried = folder.run(&["endpoint", "try", "--since", "1h", "--sample", "9"], &secrets);
    let (code, told, remarks) = said(&tried);
    assert_eq!(code, Some(0), "{remarks}");
    nothing_hidden("endpoint try", &(told + &remarks));
    hub.running.stop();
    let log = std::fs::read_to_string(folder.path("hub.log")).expect("the log");
    assert!(
        log.contains("an event cannot be sent"),
        "it is the hub's log: {log}"
    );
    nothing_hidden("the log", &log);
}

#[test]
fn what_a_partner_was_told_about_a_record_is_one_question() {
    let folder = Folder::new();
    let sandbox = Sandbox::start(&["--partner", "northwind"]);
    let (hub, secrets) = stage(&folder, &sandbox);
    post(&hub, "msg_1", &deal("500"));
    let url = format!("{}/v1/records/D-1/told", hub.url);
    let sent = eventually("what was sent", || {
        let told = get(&format!("{url}?partner=northwind"));
        expect(told["data"].as_array().is_some_and(|all| !all.is_empty()), &told).map(|()| told)
    });
    assert_eq!(get(&format!("{url}?partner=globex"))["data"], json!([]));
    let [one] = &sent["data"].as_array().expect("a list")[..] else {
        panic!("where nothing left, nothing was told: {sent}")
    };
    assert_eq!(
        (&one["way"], &one["status"], &one["endpoint"]),
        (&json!("sent"), &json!(200), &json!("crm"))
    );
    let policy = json!({"name": "deals", "purpose": "co_sell", "agreement": "MSA 7", "until": null});
    assert_eq!(one["policy"], policy);
    let plainly = |path: &str| json!({"path": path, "shown": "plainly"});
    assert_eq!(
        one["shared"],
        json!([
            {"path": "data.deal.amount.amount", "shown": "bucketed"},
            plainly("data.deal.amount.currency"),
            plainly("data.deal.contact.job_title"),
            plainly("data.deal.stage"),
            plainly("data.id"),
        ])
    );
    nothing_hidden("what was told", &sent.to_string());

    // The policy is another one from now on; what was told by the old one stays told by it. Pulling tells, too.
    hub.running.stop();
    let path = folder.path("interconnect.yaml");
    let text = std::fs::read_to_string(&path).expect("the configuration");
    std::fs::write(&path, text.replace("deal.amount, deal.contact]", "deal.name]")).expect("written");
    let hub = Hub::start(&path, &secrets);
    let bearer = format!("Bearer {}", secrets[2].1);
    let feed = format!("{}/v1/endpoints/crm/events", hub.url);
    // An admin who looks on tells nobody.
    assert_eq!(get(&feed)["data"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        get(&format!("{}/v1/records/D-1/told", hub.url))["data"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    for _ in 0..2 {
        assert_eq!(exchange("GET", &feed, None, &[("authorization", &bearer)]).0, 200);
    }
    let told = json_of(&folder.run(
        &["record", "told", "D-1", "--partner", "northwind", "--json"],
        &secrets,
    ));
    let [pulled, earlier] = &told["data"].as_array().expect("a list")[..] else {
        panic!("sent once, and pulled for the first time once: {told}")
    };
    let paths = |one: &Json| {
        let shared = one["shared"].as_array().into_iter().flatten();
        shared
            .filter_map(|field| field["path"].as_str().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    assert_eq!(pulled["way"], "pulled");
    assert_eq!(paths(pulled), ["data.deal.name", "data.deal.stage", "data.id"]);
    assert_eq!(paths(earlier), paths(one));
    let (code, table, _) = said(&folder.run(&["record", "told", "D-1"], &secrets));
    assert_eq!(code, Some(0));
    assert!(
        table.contains("data.deal.amount.amount (bucketed)") && table.contains("pulled"),
        "{table}"
    );
}

/// The event goes after its time, and what was told by it is remembered.
#[test]
fn what_a_partner_was_told_outlives_the_event() {
    let folder = Folder::new();
    let sandbox = Sandbox::start(&["--partner", "northwind"]);
    let text = format!(
        "listen: 127.0.0.1:0
ledger: sqlite:hub.db
outbound: {{ allow: [127.0.0.0/8] }}
limits: {{ sweep_every_ms: 200 }}
retention: {{ arrived: 1d }}
partners:
  acme: {{ secrets: [\"${{env:ACME}}\"] }}
  northwind:
    share: {{ allow: [id, deal.stage] }}
    endpoints:
      - {{ name: crm, url: \"{url}/hook\", secret: \"${{env:NORTHWIND}}\", events: [deal.*] }}
",
        url = sandbox.url("northwind"),
    );
    let config = folder.write("interconnect.yaml", &text);
    let secret = sandbox.said["partners"]["northwind"]["secret"].as_str();
    let clock = Clock::new(&folder);
    let mut secrets = vec![
        ("ACME", acme_secret()),
        ("NORTHWIND", secret.expect("a secret").to_owned()),
    ];
    secrets.extend(clock.environment());
    let hub = Hub::start(&config, &secrets);
    // The newest event is kept whatever happens.
    for id in ["msg_1", "msg_2"] {
        post(&hub, id, &deal("500"));
    }
    let told = |hub: &Hub| get(&format!("{}/v1/records/D-1/told", hub.url));
    let all = eventually("what was told", || {
        let told = told(&hub);
        expect(told["data"].as_array().map(Vec::len) == Some(2), &told).map(|()| told)
    });
    assert_eq!(all["earlier"], json!([]));

    hub.running.stop();
    clock.set(2 * 86_400);
    let hub = Hub::start(&config, &secrets);
    // Two reads, one after the other: what is forgotten in between is in both.
    let all = eventually("what is remembered", || {
        let told = told(&hub);
        let (still, earlier) = (told["data"].as_array(), told["earlier"].as_array());
        let lengths = (still.map(Vec::len), earlier.map(Vec::len));
        expect(lengths == (Some(1), Some(1)), &told).map(|()| told)
    });
    let [kept] = &all["data"].as_array().expect("a list")[..] else {
        panic!("the newest is kept: {all}")
    };
    let [earlier] = &all["earlier"].as_array().expect("a list")[..] else {
        panic!("one was forgotten: {all}")
    };
    assert_eq!(
        (
            &earlier["partner"],
            &earlier["endpoint"],
            &earlier["event_type"],
            &earlier["times"],
            &earlier["policy"]
        ),
        (
            &json!("northwind"),
            &json!("crm"),
            &json!("deal.updated"),
            &json!(1),
            &kept["policy"]
        )
    );
    assert_eq!(earlier["first_at"], earlier["last_at"]);
    assert_eq!(earlier["at_most"]["allow"], json!(["id", "deal.stage"]));
    let (code, table, _) = said(&folder.run(&["record", "told", "D-1", "--partner", "northwind"], &secrets));
    assert_eq!(code, Some(0));
    assert!(table.contains("by events that are kept no more"), "{table}");
    let other = json_of(&folder.run(
        &["record", "told", "D-1", "--partner", "acme", "--json"],
        &secrets,
    ));
    assert_eq!((&other["data"], &other["earlier"]), (&json!([]), &json!([])));
}
