//! What `GET /metrics` tells is in the format of Prometheus, and true; and everything is compared when it is due.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::harness::{Hub, eventually, exchange, expect, json_of, send};
use crate::plan::{Stage, the_second_is_over};

/// Every number by its name with its labels, as they are told.
fn scrape(hub: &Hub) -> BTreeMap<String, u64> {
    let (status, text) = exchange("GET", &format!("{}/metrics", hub.url), None, &[]);
    assert_eq!(status, 200, "{text}");
    let (mut heads, mut numbers) = (BTreeMap::new(), BTreeMap::new());
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("# TYPE ") {
            let (name, kind) = head.split_once(' ').expect("a name and a kind");
            assert!(["gauge", "counter"].contains(&kind), "{line}");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
            assert!(heads.insert(name, kind).is_none(), "{line} stands twice");
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (what, number) = line.rsplit_once(' ').expect("a number behind a name");
        let name = what.split('{').next().unwrap_or_default();
        assert!(heads.contains_key(name), "{line} without a head");
        let number = number.parse().unwrap_or_else(|_| panic!("{line}"));
        assert!(
            numbers.insert(what.to_owned(), number).is_none(),
            "{line} stands twice"
        );
    }
    numbers
}

#[test]
fn what_is_told_is_true_and_everything_is_compared_when_it_is_due() {
    let stage = Stage::new("sqlite:hub.db");
    stage.configure("every: 100ms, reconcile_every: 1s");
    let (_, companies) = stage.fill();
    the_second_is_over();
    let config = stage.folder.path("interconnect.yaml");
    let hub = Hub::start(&config, &stage.env);
    let ended = r#"interconnect_reconciled_timestamp_seconds{connection="marketing",object="companies"}"#;
    let drift = |field: &str| {
        format!(r#"interconnect_drift{{connection="marketing",object="companies",field="{field}"}}"#)
    };
    let found = eventually("a reconciliation", || {
        let numbers = scrape(&hub);
        let told = numbers.contains_key(ended);
        expect(told, format!("{numbers:#?}")).map(|()| numbers)
    });
    assert_eq!(found[&drift("")], 0, "{found:#?}");
    assert!(
        found[r#"interconnect_calls_total{connection="crm",lane="live"}"#] > 0,
        "{found:#?}"
    );
    assert!(
        found[r#"interconnect_calls_total{connection="marketing",lane="backfill"}"#] > 0,
        "{found:#?}"
    );
    assert!(found["interconnect_objects_read_total"] > 0, "{found:#?}");
    // Nobody is compared who is not to be.
    assert!(
        !found
            .keys()
            .any(|what| what.contains("reconciled") && what.contains("deals")),
        "{found:#?}"
    );
    eventually("nothing owed", || {
        let numbers = scrape(&hub);
        let owed = numbers
            .iter()
            .filter(|(what, _)| what.starts_with("interconnect_owed"));
        let owed: u64 = owed.map(|(_, number)| number).sum();
        expect(owed == 0, format!("{numbers:#?}"))
    });
    assert_eq!(hub.running.stop(), Some(0));
    let runs = json_of(&stage.folder.run(&["sync", "runs", "--json"], &stage.env));
    assert!(runs.to_string().contains("\"reconcile\""), "{runs:#}");

    // One goes without a trace, one cannot be mapped, and nobody compares by himself any more.
    let text = std::fs::read_to_string(&config).expect("it was written");
    stage
        .folder
        .write("interconnect.yaml", &text.replace(", reconcile_every: 1s", ""));
    let token = format!("Bearer {}", stage.env[2].1);
    let url = format!(
        "{}/crm/v3/objects/companies/{}",
        stage.sandbox.url("hubspot"),
        companies[1]
    );
    send("DELETE", &url, None, &[("authorization", &token)]);
    stage.put("hubspot", "companies", &[json!({"domain": "nameless.example"})]);
    the_second_is_over();
    let told = json_of(&stage.folder.run(&["sync", "reconcile", "--json"], &stage.env));
    let all = told["data"].as_array().expect("a list").iter();
    let gone: Vec<&Json> = all.filter(|one| one["drift"]["(gone)"] == 1).collect();
    assert_eq!(gone.len(), 1, "{told:#}");
    let hub = Hub::start(&config, &stage.env);
    let found = scrape(&hub);
    assert_eq!((found[&drift("(gone)")], found[&drift("")]), (1, 1), "{found:#?}");
    let parked = r#"interconnect_parked{connection="marketing",object="companies",way="in"}"#;
    assert_eq!(found[parked], 1, "{found:#?}");
    let halted = r#"interconnect_halted{connection="marketing",object="companies"}"#;
    assert_eq!(
        (found[halted], found["interconnect_conflicts_open"]),
        (0, 0),
        "{found:#?}"
    );
    let dump = format!("{found:?}");
    for secret in stage.env.iter().map(|(_, secret)| secret.as_str()) {
        assert!(!dump.contains(secret), "a secret is told");
    }
    assert!(!dump.contains(".example"), "a value is told: {dump}");
}
