//! What a sync costs in calls: close to the largest batches of the systems, and next to nothing when nothing happened.

use serde_json::{Value as Json, json};

use crate::harness::json_of;
use crate::plan::{Stage, the_second_is_over};

/// Partners that change all at once.
const CHANGES: usize = 1_000;

fn calls(run: &Json, object: &str) -> u64 {
    run["objects"][object]["calls"].as_u64().unwrap_or(0)
}

#[test]
fn a_thousand_changes_cost_a_handful_of_calls_and_silence_costs_two_an_object() {
    let stage = Stage::new("sqlite:hub.db");
    let account = |number: usize| json!({"Name": format!("Partner {number}"), "Website": format!("https://p{number}.example")});
    let accounts = stage.put(
        "salesforce",
        "Account",
        &(0..CHANGES).map(account).collect::<Vec<_>>(),
    );
    the_second_is_over();
    let sync = || json_of(&stage.folder.run(&["sync", "run", "--json"], &stage.env));
    sync();
    the_second_is_over();
    sync();
    for account in &accounts {
        stage.edit(
            "salesforce",
            "Account",
            account,
            &json!({"Phone": "+12125550177"}),
        );
    }
    // Each edit has a millisecond of its own, so the last ones lie in the next second where a thousand take less than one.
    the_second_is_over();
    the_second_is_over();
    for system in ["salesforce", "hubspot"] {
        stage.sandbox.reset_calls(system);
    }
    let run = sync();
    let written = &run["objects"]["marketing/companies"]["written"];
    assert_eq!(*written, CHANGES, "{run:#}");
    // A page has 2,000 accounts; a round before and one after, and signing in.
    assert!(calls(&run, "crm/Account") <= 5, "{run:#}");
    // Ten batches of 100; reading back what was written, 200 a page, with one look at each page's references.
    assert!(calls(&run, "marketing/companies") <= 10 + 3 * 5, "{run:#}");
    assert!(run["calls_per_thousand_changes"].as_u64() <= Some(25), "{run:#}");
    // What is told is what was made, but for asking whose accounts they are.
    let made: u64 = ["salesforce", "hubspot"]
        .iter()
        .map(|system| stage.sandbox.calls(system))
        .map(|(reads, writes)| reads + writes)
        .sum();
    let told = run["total"]["calls"].as_u64().expect("a number");
    assert!(
        told.abs_diff(made) <= 4,
        "{told} calls are told, {made} were made"
    );
    let runs = json_of(&stage.folder.run(&["sync", "runs", "--json"], &stage.env));
    let push = runs["data"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|run| run["counts"]["written"] == CHANGES);
    let push = push.unwrap_or_else(|| panic!("no run wrote them: {runs:#}"));
    assert!(
        push["calls_per_thousand_changes"].as_u64() <= Some(11),
        "{push:#}"
    );

    the_second_is_over();
    sync();
    the_second_is_over();
    let idle = sync();
    assert_eq!(idle["total"]["written"], Json::Null, "{idle:#}");
    for object in [
        "crm/Account",
        "crm/Opportunity",
        "marketing/companies",
        "marketing/deals",
    ] {
        assert!(calls(&idle, object) <= 2, "{object}: {idle:#}");
    }
}

#[test]
fn a_reconciliation_of_systems_that_agree_finds_nothing() {
    let stage = Stage::new("sqlite:hub.db");
    stage.fill();
    the_second_is_over();
    stage.folder.run(&["sync", "run"], &stage.env);
    the_second_is_over();
    let found = json_of(&stage.folder.run(&["sync", "reconcile", "--json"], &stage.env));
    let objects = found["data"].as_array().expect("a list");
    assert_eq!((objects.len(), &found["errors"]), (4, &json!([])), "{found:#}");
    for object in objects {
        assert_eq!(object["drift"], json!({}), "{found:#}");
        assert!(object["counts"]["read"].as_u64() >= Some(12), "{found:#}");
    }
    let runs = json_of(&stage.folder.run(&["sync", "runs", "--json"], &stage.env));
    assert!(runs.to_string().contains("\"reconcile\""), "{runs:#}");
}
