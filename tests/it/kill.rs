//! Killed fifty times at random moments, the hub loses nothing that it acknowledged, and writes nothing twice; whatever
//! its ledger and its queue are.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::harness::{Folder, Hub, Redis, Sandbox, database, eventually, expect, try_exchange};
use crate::partners::{config_on, now, received, signed};

/// Fifteen seconds of dying on either ledger; what the story takes beyond waits for the leases of the last dead hub.
const KILLS: usize = 50;
const POSTERS: usize = 4;
/// Webhooks that each poster sends between two kills at most.
const PER_LIFE_MAX: usize = 40;

/// Posts webhooks until the hub is gone; every acknowledged event id is noted.
fn post_until_gone(
    url: &str,
    life: usize,
    poster: usize,
    acknowledged: &Mutex<BTreeSet<String>>,
    count: &AtomicUsize,
) {
    for number in 0..PER_LIFE_MAX {
        let id = format!("msg_{life}_{poster}_{number}");
        let body = json!({"type": "custom.ping", "timestamp": "2026-11-23T10:00:00Z", "data": {"id": id}})
            .to_string();
        let headers = signed(&id, now(), &body);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let Ok((status, answer)) = try_exchange("POST", &format!("{url}/hooks/acme"), Some(&body), &headers)
        else {
            return;
        };
        if status == 202 {
            let answer: serde_json::Value = serde_json::from_str(&answer).expect("the answer is JSON");
            acknowledged
                .lock()
                .expect("no poster panics")
                .insert(answer["id"].as_str().expect("an id").to_owned());
            count.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// One life: posts until so many are acknowledged in it, then the power is cut.
fn live_and_die(
    config: &Path,
    secrets: &[(&str, String)],
    life: usize,
    die_after: usize,
    acknowledged: &Arc<Mutex<BTreeSet<String>>>,
) {
    let hub = Hub::start(config, secrets);
    let count = Arc::new(AtomicUsize::new(0));
    let posters: Vec<_> = (0..POSTERS)
        .map(|poster| {
            let (url, acknowledged, count) = (hub.url.clone(), acknowledged.clone(), count.clone());
            std::thread::spawn(move || post_until_gone(&url, life, poster, &acknowledged, &count))
        })
        .collect();
    eventually("enough acknowledged webhooks to die after", || {
        let seen = count.load(Ordering::SeqCst);
        expect(seen >= die_after, format!("{seen} of {die_after}"))
    });
    hub.running.kill();
    for poster in posters {
        poster.join().expect("a poster ends with the hub");
    }
}

#[test]
fn killed_fifty_times_nothing_acknowledged_is_lost() {
    let folder = Folder::new();
    let ledger = format!("ledger: sqlite:{}", folder.path("hub.db").display());
    nothing_acknowledged_is_lost(&folder, &ledger);
}

#[test]
fn nor_is_it_on_postgresql_and_redis() {
    let folder = Folder::new();
    let redis = Redis::start(&folder);
    let stores = format!("ledger: {}\nqueue: {}", database("kill"), redis.url);
    nothing_acknowledged_is_lost(&folder, &stores);
}

/// The story, on a ledger and a queue.
fn nothing_acknowledged_is_lost(folder: &Folder, stores: &str) {
    let sandbox = Sandbox::start(&["--partner", "northwind", "--partner", "globex"]);
    let credentials = |pointer: &str| {
        sandbox
            .said
            .pointer(pointer)
            .and_then(|v| v.as_str())
            .expect("credentials")
            .to_owned()
    };
    let systems = format!(
        "connections:
  crm: {{ system: salesforce, auth: oauth2_client_credentials, config: {{ login_url: \"{}\" }}, secrets: {{ client_id: \"${{env:SF_ID}}\", client_secret: \"${{env:SF_SECRET}}\" }}, currency: USD, country: US, lag: 0ms }}
  marketing: {{ system: hubspot, auth: bearer, config: {{ base_url: \"{}\" }}, secrets: {{ access_token: \"${{env:HS_TOKEN}}\" }}, currency: USD, country: US, lag: 0ms }}
syncs:
  - {{ connection: crm, record: partner, every: 50ms }}
  - {{ connection: marketing, record: partner, every: 50ms }}
",
        sandbox.url("salesforce"),
        sandbox.url("hubspot"),
    );
    let (config, mut secrets) = config_on(folder, &sandbox, stores, &systems);
    secrets.extend([
        ("SF_ID", credentials("/salesforce/client_id")),
        ("SF_SECRET", credentials("/salesforce/client_secret")),
        ("HS_TOKEN", credentials("/hubspot/token")),
    ]);
    let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
    // A fixed seed: which moments are hit still differs from run to run, because the machine does.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for life in 0..KILLS {
        let account =
            json!({"Name": format!("Account {life}"), "Website": format!("https://account-{life}.example")});
        crate::harness::post(
            &format!("{}/_sandbox/rows/Account", sandbox.url("salesforce")),
            &account,
        );
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let die_after = 1 + usize::try_from(state >> 33).expect("31 bits") % (POSTERS * PER_LIFE_MAX / 2);
        live_and_die(&config, &secrets, life, die_after, &acknowledged);
    }
    let hub = Hub::start(&config, &secrets);
    let acknowledged = acknowledged.lock().expect("no poster panics").clone();
    assert!(acknowledged.len() >= KILLS);
    let arrived = eventually("every acknowledged webhook at northwind", || {
        let received = received(&sandbox, "northwind");
        let ids: BTreeSet<String> = received
            .iter()
            .filter_map(|webhook| Some(webhook["id"].as_str()?.to_owned()))
            .collect();
        let missing = acknowledged.difference(&ids).count();
        expect(
            missing == 0,
            format!("{missing} of {} missing", acknowledged.len()),
        )
        .map(|()| ids.len())
    });
    assert!(arrived >= acknowledged.len());
    eventually("every account in HubSpot, once", || {
        let companies = sandbox.rows("hubspot", "companies");
        let text = companies.iter().map(ToString::to_string);
        let domains: BTreeSet<String> = text
            .filter_map(|row| {
                let at = row.find("account-")?;
                Some(row[at..].split('"').next()?.to_owned())
            })
            .collect();
        expect(
            companies.len() == KILLS && domains.len() == KILLS,
            format!("{} companies, {} domains", companies.len(), domains.len()),
        )
    });
    assert_eq!(
        sandbox.rows("salesforce", "Account").len(),
        KILLS,
        "nothing was created a second time"
    );
    assert_eq!(hub.running.stop(), Some(0));
}
