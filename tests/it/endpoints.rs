//! What is promised to each endpoint, through the binary.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value as Json, json};

use crate::harness::{Folder, Hub, Sandbox, eventually, exchange, expect, interconnect, json_of, said};
use crate::partners::{config, now, received, signed};

/// Endpoints that hang, each more than once as many as the hub has workers.
const HOSTILE: usize = 24;

/// More deliveries than fit into the files of a hub that is given 128.
const FILES: usize = 150;

/// Somebody who answers every request with a status, headers and one byte of a hundred, and then keeps the line open.
fn dripper() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    let taken = Arc::new(AtomicUsize::new(0));
    let count = taken.clone();
    thread::spawn(move || {
        let mut open = Vec::new();
        for peer in listener.incoming() {
            let Ok(mut peer) = peer else { return };
            let _read = peer.read(&mut [0; 4096]);
            let _written = peer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nx");
            count.fetch_add(1, Ordering::SeqCst);
            open.push(peer);
        }
    });
    (address, taken)
}

fn post(hub: &Hub, id: &str, data: &Json) {
    let body = json!({"type": "deal.updated", "timestamp": "2026-11-23T10:00:00Z", "data": data}).to_string();
    let headers = signed(id, now(), &body);
    let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let (status, answer) = exchange("POST", &format!("{}/hooks/acme", hub.url), Some(&body), &headers);
    assert_eq!(status, 202, "{answer}");
}

#[test]
fn endpoints_that_hang_hold_up_nobody_however_many_they_are() {
    let folder = Folder::new();
    let sandbox = Sandbox::start(&["--partner", "northwind", "--partner", "globex"]);
    let (address, taken) = dripper();
    let hostile: String = (0..HOSTILE)
        .map(|n| {
            format!(
                "      - {{ name: a-hostile-{n}, url: \"http://{address}/{n}\", secret: \"${{env:GLOBEX_SECRET}}\", \
                 events: ['*'], share: everything, timeout_ms: 60000, in_flight_max: 2 }}\n"
            )
        })
        .collect();
    let more = format!("  hostile:\n    endpoints:\n{hostile}");
    let (config, secrets) = config(&folder, &sandbox, &more);
    let text = std::fs::read_to_string(&config).expect("the configuration");
    let text = text.replace("limits: { ", "limits: { workers_max: 1, stop_timeout_ms: 100, ");
    std::fs::write(&config, text).expect("the configuration is written");
    let hub = Hub::start(&config, &secrets);
    post(&hub, "msg_0", &json!({"id": 0}));
    eventually("all that hang to hang", || {
        let taken = taken.load(Ordering::SeqCst);
        expect(taken == HOSTILE, taken)
    });
    for n in 1..=20 {
        post(&hub, &format!("msg_{n}"), &json!({"id": n}));
    }
    eventually("everything at the healthy one", || {
        let count = received(&sandbox, "northwind").len();
        expect(count == 21, count)
    });
    let path = config.to_str().expect("a path of text");
    let list = ["--config", path, "endpoint", "list", "--json"];
    let told = json_of(&interconnect(&list, &secrets));
    let states = told["data"].as_array().expect("a list");
    assert!(
        states.iter().all(|one| one["state"] == "ok"),
        "no try at them has ended: {told}"
    );
}

#[test]
fn an_endpoint_that_hangs_does_not_use_up_the_files_that_a_process_may_open_at_first() {
    let folder = Folder::new();
    let sandbox = Sandbox::start(&["--partner", "northwind", "--partner", "globex"]);
    let (address, taken) = dripper();
    let more = format!(
        "  hostile:\n    endpoints:\n      - {{ name: a-hostile, url: \"http://{address}/\", secret: \"${{env:GLOBEX_SECRET}}\", \
         events: [deal.updated], share: everything, timeout_ms: 60000, in_flight_max: 256 }}\n"
    );
    let (config, secrets) = config(&folder, &sandbox, &more);
    let text = std::fs::read_to_string(&config).expect("the configuration");
    let text = text.replace("limits: { ", "limits: { stop_timeout_ms: 100, ");
    std::fs::write(&config, text).expect("the configuration is written");
    let limited = ["sh", "-c", "ulimit -Sn 128; exec \"$0\" \"$@\""];
    let hub = Hub::begin(&limited, &config, &secrets).listening();
    for n in 0..FILES {
        post(&hub, &format!("msg_{n}"), &json!({"id": n}));
    }
    eventually(
        "everything at the healthy one, and all that hangs to hang",
        || {
            let count = (
                received(&sandbox, "northwind").len(),
                taken.load(Ordering::SeqCst),
            );
            expect(count == (FILES, FILES), format!("{count:?}"))
        },
    );
}

#[test]
fn whoever_may_open_few_files_is_told_what_follows() {
    let folder = Folder::new();
    let sandbox = Sandbox::start(&["--partner", "northwind", "--partner", "globex"]);
    let (config, secrets) = config(&folder, &sandbox, "");
    let mut lines = Vec::new();
    let limited = ["sh", "-c", "ulimit -n 200; exec \"$0\" \"$@\""];
    let _hub = Hub::begin(&limited, &config, &secrets).listening_after(|line| lines.push(line.to_owned()));
    let told: Vec<&String> = lines.iter().filter(|line| line.contains("files")).collect();
    insta::assert_snapshot!(told[0], @"at most 100 connections are taken at a time, and endpoints that hang may keep others waiting: this process may open only 200 files; raise its hard limit, as with `ulimit -Hn` or `LimitNOFILE=`");
}

#[test]
fn a_paused_endpoint_keeps_its_events_and_gets_them_in_order() {
    let folder = Folder::new();
    let sandbox = Sandbox::start(&["--partner", "northwind", "--partner", "globex"]);
    let (config, secrets) = config(&folder, &sandbox, "");
    let text = std::fs::read_to_string(&config).expect("the configuration");
    let text = text.replace(
        "retry_ms: [100, 100]",
        "order: record, rate_per_s: 200, retry_ms: [100, 100]",
    );
    std::fs::write(&config, text).expect("the configuration is written");
    let path = config.to_str().expect("a path of text");
    let hub = Hub::start(&config, &secrets);
    let endpoint = |arguments: &[&str]| {
        let all = [&["--config", path, "endpoint"], arguments].concat();
        interconnect(&all, &secrets)
    };
    let paused = endpoint(&["pause", "northwind-all", "--reason", "their migration", "--json"]);
    assert_eq!(json_of(&paused)["state"], "paused");
    for n in 0..5 {
        post(&hub, &format!("msg_{n}"), &json!({"id": "D-1", "n": n}));
    }
    let list = [
        "--config",
        path,
        "delivery",
        "list",
        "--endpoint",
        "northwind-all",
        "--json",
    ];
    let told = json_of(&interconnect(&list, &secrets));
    let stand = told["data"].as_array().expect("a list").iter();
    // Those of one millisecond are listed in no order.
    let mut stand: Vec<(u64, &str)> = stand
        .filter_map(|one| Some((one["sequence"].as_u64()?, one["state"].as_str()?)))
        .collect();
    stand.sort_unstable();
    assert_eq!(
        stand,
        [(1, "due"), (2, "held"), (3, "held"), (4, "held"), (5, "held")]
    );
    let shown = json_of(&endpoint(&["show", "northwind-all", "--json"]));
    assert_eq!(
        (&shown["state"], &shown["reason"], &shown["sequence"]),
        (&json!("paused"), &json!("their migration"), &json!(5))
    );
    assert!(received(&sandbox, "northwind").is_empty());

    // A failure on the way changes nothing about the order.
    sandbox.fault("northwind", &json!({"kind": "unavailable", "times": 2}));
    assert_eq!(said(&endpoint(&["resume", "northwind-all"])).0, Some(0));
    let all = eventually("all that was kept", || {
        let all = received(&sandbox, "northwind");
        expect(all.len() == 5, all.len()).map(|()| all)
    });
    let order: Vec<i64> = all
        .iter()
        .map(|one| serde_json::from_str::<Json>(one["body"].as_str().expect("a body")).expect("JSON"))
        .map(|event| event["data"]["n"].as_i64().expect("a number"))
        .collect();
    assert_eq!(order, [0, 1, 2, 3, 4]);
    let (code, _, told) = said(&endpoint(&["resume", "northwind-all"]));
    assert_eq!((code, told.contains("is not stopped")), (Some(1), true), "{told}");
    let (code, _, told) = said(&endpoint(&["pause", "nobody"]));
    assert_eq!(
        (code, told.contains("there is no endpoint `nobody`")),
        (Some(2), true),
        "{told}"
    );
}

/// What it is owed is seen by its old name, nobody claims to have sent it, and it arrives when the name is back.
#[test]
fn an_endpoint_that_is_renamed_while_it_is_owed_something_is_told_of() {
    let folder = Folder::new();
    let sandbox = Sandbox::start(&["--partner", "northwind", "--partner", "globex"]);
    let (config, secrets) = config(&folder, &sandbox, "");
    let text = std::fs::read_to_string(&config).expect("the configuration");
    let text = text.replace("retry_ms: [100, 100]", "order: record, retry_ms: [3600000]");
    folder.write("interconnect.yaml", &text);
    let path = config.to_str().expect("a path of text");
    let run = |arguments: &[&str]| {
        let all = [&["--config", path], arguments].concat();
        said(&interconnect(&all, &secrets))
    };
    let hub = Hub::start(&config, &secrets);
    sandbox.fault("northwind", &json!({"kind": "unavailable", "times": 1}));
    post(&hub, "msg_1", &json!({"id": "D-1"}));
    // It waits for the one before it.
    post(&hub, "msg_2", &json!({"id": "D-1"}));
    let list = ["delivery", "list", "--endpoint", "northwind-all", "--json"];
    eventually("a failed try", || {
        let all: Json = serde_json::from_str(&run(&list).1).expect("JSON");
        let tried = all["data"][1]["attempts"] == 1;
        expect(tried, all)
    });
    assert_eq!(hub.running.stop(), Some(0));

    let text = std::fs::read_to_string(&config).expect("the configuration");
    folder.write(
        "interconnect.yaml",
        &text.replace("name: northwind-all", "name: northwind-new"),
    );
    let hub = Hub::start(&config, &secrets);
    let (_, told, note) = run(&["status", "--json"]);
    let status: Json = serde_json::from_str(&told).expect("JSON");
    let owed = status["endpoints"].as_array().expect("a list").iter();
    let owed: Vec<_> = owed.map(|one| (&one["endpoint"], &one["configured"])).collect();
    assert_eq!(owed, [(&json!("northwind-all"), &json!(false))]);
    let unknown = "not configured, and owed something: northwind-all; it waits";
    assert!(note.contains(unknown), "{note}");
    let (_, _, note) = run(&["endpoint", "list"]);
    assert!(note.contains(unknown), "{note}");
    for again in ["retry", "replay"] {
        let (code, told, error) = run(&["delivery", again, "--endpoint", "northwind-all"]);
        assert_eq!((code, told.as_str()), (Some(2), ""));
        assert!(
            error.contains("`northwind-all` is not configured any more"),
            "{error}"
        );
    }
    // What nobody will be told is given up, and nothing is lost by that either.
    let give_up = ["delivery", "give-up", "--endpoint", "northwind-all", "--json"];
    let (_, told, _) = run(&[&give_up[..], &["--dry-run"]].concat());
    assert_eq!(serde_json::from_str::<Json>(&told).expect("JSON")["given_up"], 2);
    let (code, told, _) = run(&give_up);
    assert_eq!(
        (
            code,
            serde_json::from_str::<Json>(&told).expect("JSON")["given_up"].as_u64()
        ),
        (Some(0), Some(2))
    );
    assert!(!run(&["status"]).2.contains("not configured"));
    let all: Json = serde_json::from_str(&run(&list).1).expect("JSON");
    let states: Vec<&Json> = all["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| &one["state"])
        .collect();
    assert_eq!(states, ["dead", "dead"]);
    assert_eq!(hub.running.stop(), Some(0));

    folder.write("interconnect.yaml", &text);
    let (code, _, error) = run(&give_up);
    assert_eq!(
        (code, error.contains("is configured")),
        (Some(2), true),
        "{error}"
    );
    let hub = Hub::start(&config, &secrets);
    assert_eq!(
        run(&["delivery", "retry", "--endpoint", "northwind-all"]).0,
        Some(0)
    );
    eventually("what was kept", || {
        let count = received(&sandbox, "northwind").len();
        expect(count == 2, count)
    });
    assert_eq!(hub.running.stop(), Some(0));
}

#[test]
fn what_a_partner_lost_is_counted_and_sent_again_under_the_same_ids() {
    let folder = Folder::new();
    let sandbox = Sandbox::start(&["--partner", "northwind", "--partner", "globex"]);
    let (config, secrets) = config(&folder, &sandbox, "");
    let path = config.to_str().expect("a path of text");
    let hub = Hub::start(&config, &secrets);
    for n in 0..3 {
        post(&hub, &format!("msg_{n}"), &json!({"id": n}));
    }
    eventually("all to arrive", || {
        let count = received(&sandbox, "northwind").len();
        expect(count == 3, count)
    });
    let delivery = |arguments: &[&str]| {
        let all = [&["--config", path, "delivery"], arguments].concat();
        interconnect(&all, &secrets)
    };
    let which = ["replay", "--endpoint", "northwind-all", "--since", "1h", "--json"];
    // An attempt is written after it was made: until then a delivery has not arrived, for the ledger.
    eventually("nothing to replay but what arrived", || {
        let counted = json_of(&delivery(&[&which[..], &["--dry-run"]].concat()));
        let arrived = json_of(&delivery(&[&which[..], &["--arrived", "--dry-run"]].concat()));
        expect(
            (&counted["total"], &arrived["total"]) == (&json!(0), &json!(3)),
            format!("{counted} {arrived}"),
        )
    });
    let replay = json_of(&delivery(&[&which[..], &["--arrived", "--wait"]].concat()));
    assert_eq!(
        (&replay["state"], &replay["begun"]),
        (&json!("done"), &json!(3)),
        "{replay}"
    );
    let all = eventually("all once more", || {
        let all = received(&sandbox, "northwind");
        expect(all.len() == 6, all.len()).map(|()| all)
    });
    let mut ids: Vec<&str> = all.iter().map(|one| one["id"].as_str().expect("an id")).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 3, "{ids:?}");
    let listed = json_of(&delivery(&["replays", "--json"]));
    assert_eq!(listed["data"][0]["id"], replay["id"]);
    let (code, _, told) = said(&delivery(&["cancel", replay["id"].as_str().expect("an id")]));
    assert_eq!(
        (code, told.contains("the replay is done already")),
        (Some(1), true),
        "{told}"
    );
    assert_eq!(said(&delivery(&["replay"])).0, Some(2));
}

#[test]
fn what_waits_for_an_endpoint_is_folded_into_the_newest_and_nothing_is_lost_of_sight() {
    let folder = Folder::new();
    let sandbox = Sandbox::start(&["--partner", "northwind", "--partner", "globex"]);
    let (config, secrets) = config(&folder, &sandbox, "");
    let text = std::fs::read_to_string(&config).expect("the configuration");
    let text = text.replace(
        "events: ['deal.*', custom.ping], share: everything, retry_ms: [100, 100]",
        "events: [{ types: [deal.*], fold: true }], order: record, share: everything, retry_ms: [100, 100]",
    );
    assert!(text.contains("fold: true"), "{text}");
    std::fs::write(&config, text).expect("the configuration is written");
    let path = config.to_str().expect("a path of text");
    let hub = Hub::start(&config, &secrets);
    let ask = |arguments: &[&str]| {
        let all = [&["--config", path], arguments, &["--json"]].concat();
        json_of(&interconnect(&all, &secrets))
    };
    assert_eq!(ask(&["endpoint", "pause", "northwind-all"])["state"], "paused");
    for n in 0..5 {
        post(&hub, &format!("msg_{n}"), &json!({"id": "D-1", "n": n}));
    }
    post(&hub, "msg_other", &json!({"id": "D-2", "n": 0}));
    ask(&["endpoint", "resume", "northwind-all"]);
    let all = eventually("what was kept", || {
        let all = received(&sandbox, "northwind");
        expect(all.len() == 2, format!("{all:?}")).map(|()| all)
    });
    let mut bodies: Vec<String> = all
        .iter()
        .map(|one| {
            one["body"]
                .as_str()
                .map_or_else(|| one["body"].to_string(), str::to_owned)
        })
        .collect();
    bodies.sort();
    assert!(
        bodies
            .iter()
            .any(|body| body.contains("D-1") && body.contains("\"n\":4")),
        "{bodies:?}"
    );
    let shown = ask(&["endpoint", "show", "northwind-all"]);
    assert_eq!(
        (&shown["sequence"], &shown["folded"]),
        (&json!(6), &json!(4)),
        "{shown:#}"
    );

    // Each of them says which one went instead, and that one says for which it went.
    let folded = ask(&["delivery", "list", "--state", "folded"]);
    let folded = folded["data"].as_array().expect("a list");
    assert_eq!(folded.len(), 4, "{folded:#?}");
    let newest = folded[0]["folded_into"].as_str().expect("an id");
    assert!(
        folded.iter().all(|one| one["folded_into"] == newest),
        "{folded:#?}"
    );
    let newest = ask(&["delivery", "show", newest]);
    let newest = newest.get("delivery").unwrap_or(&newest);
    assert_eq!(
        (&newest["state"], &newest["stands_for"], &newest["sequence"]),
        (&json!("delivered"), &json!("1-4"), &json!(5)),
        "{newest:#}"
    );
    let id = folded[0]["id"].as_str().expect("an id");
    let url = format!("{}/v1/deliveries/{id}/retry", hub.url);
    let (status, answer) = exchange("POST", &url, Some("{}"), &[]);
    assert!(
        status == 409 && answer.contains("\"folded\""),
        "{status} {answer}"
    );
    let (status, metrics) = exchange("GET", &format!("{}/metrics", hub.url), None, &[]);
    assert_eq!(status, 200);
    let counted = "interconnect_deliveries_folded_total{endpoint=\"northwind-all\"} 4";
    assert!(metrics.contains(counted), "{metrics}");
}
