//! What is deleted in Salesforce is deleted in HubSpot and in a real Tryton, where both sides say so: told before, done once,
//! never against a later change, and never much at once without a person.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use crate::harness::{Folder, Sandbox, Tryton, post, said, send};
use crate::plan::the_second_is_over;
use crate::systems::config;

/// Partners of the story; more than the brake lets go at once.
const PARTNERS: usize = 15;

struct Stage {
    folder: Folder,
    sandbox: Sandbox,
    tryton: Tryton,
    env: Vec<(&'static str, String)>,
    /// Ids in Salesforce.
    accounts: Vec<String>,
}

fn name(number: usize) -> String {
    format!("partner {number}")
}

/// Names of partners of the story.
fn names(all: impl Iterator<Item = Json>) -> BTreeSet<String> {
    let all = all.filter_map(|name| name.as_str().map(str::to_owned));
    all.filter(|name| name.starts_with("partner")).collect()
}

impl Stage {
    fn new() -> Stage {
        let folder = Folder::new();
        let (sandbox, tryton) = (Sandbox::start(&[]), Tryton::start(&folder));
        let (text, env) = config(&folder, &sandbox, &tryton);
        let mut text = text;
        for (connection, says) in [
            ("crm", "on_delete: propagate"),
            ("marketing", "delete: true"),
            ("erp", "delete: true"),
        ] {
            let sync = format!("connection: {connection}, record: partner");
            text = text.replace(&sync, &format!("{sync}, {says}"));
        }
        folder.write("interconnect.yaml", &text);
        let url = format!("{}/_sandbox/rows/Account", sandbox.url("salesforce"));
        let make = |number| {
            let row = json!({"Name": name(number), "Website": format!("https://p{number}.example")});
            let ids = post(&url, &row)["ids"][0].clone();
            ids.as_str().expect("an id").to_owned()
        };
        Stage {
            accounts: (0..PARTNERS).map(make).collect(),
            folder,
            sandbox,
            tryton,
            env,
        }
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, Json, String) {
        let mut all = arguments.to_vec();
        all.push("--json");
        let (code, text, error) = said(&self.folder.run(&all, &self.env));
        let json = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text} {error}"));
        (code, json, error)
    }

    fn delete(&self, number: usize) {
        let account = &self.accounts[number];
        let url = format!(
            "{}/_sandbox/rows/Account/{account}",
            self.sandbox.url("salesforce")
        );
        send("DELETE", &url, None, &[]);
    }

    fn companies(&self) -> BTreeSet<String> {
        let rows = self.sandbox.rows("hubspot", "companies").into_iter();
        let living = rows.filter(|row| row["archived"] != true);
        names(living.map(|row| row["properties"]["name"].clone()))
    }

    fn parties(&self) -> BTreeSet<String> {
        let asked = json!([[["active", "in", [true, false]]], 0, null, null, ["name"]]);
        let rows = self.tryton.call("model.party.party.search_read", &asked);
        let rows = rows.as_array().expect("rows").clone().into_iter();
        names(rows.map(|row| row["name"].clone()))
    }
}

#[test]
fn what_is_deleted_at_one_system_is_deleted_at_those_that_follow() {
    let stage = Stage::new();
    the_second_is_over();
    let (code, run, error) = stage.run(&["sync", "run"]);
    assert_eq!(code, Some(0), "{run} {error}");
    let everybody: BTreeSet<String> = (0..PARTNERS).map(name).collect();
    assert_eq!(
        (stage.companies(), stage.parties()),
        (everybody.clone(), everybody)
    );

    // One is deleted, and one that was deleted is renamed at the ERP a little later.
    stage.delete(0);
    stage.delete(1);
    the_second_is_over();
    let asked = json!([[["name", "=", name(1)]], 0, null, null]);
    let party = stage.tryton.call("model.party.party.search", &asked);
    let renamed = json!({"name": "partner of ours"});
    stage
        .tryton
        .call("model.party.party.write", &json!([party, renamed]));
    the_second_is_over();

    let (_, plan, _) = stage.run(&["plan"]);
    let of = |object: &str| {
        let all = plan["data"].as_array().expect("a list");
        let found = all.iter().find(|one| one["object"] == object);
        found.unwrap_or_else(|| panic!("no {object} in {plan:#}")).clone()
    };
    for object in ["companies", "party.party"] {
        assert_eq!(of(object)["system"]["deleted"], 1, "{plan:#}");
    }
    assert_eq!(of("Account")["gone"], 2, "{plan:#}");
    assert_eq!(
        (stage.companies().len(), stage.parties().len()),
        (PARTNERS, PARTNERS)
    );

    let (code, run, error) = stage.run(&["sync", "run"]);
    assert_eq!(code, Some(0), "{run} {error}");
    assert_eq!(run["total"]["deleted_there"], 2, "{run}");
    let mut left: BTreeSet<String> = (2..PARTNERS).map(name).collect();
    left.insert("partner of ours".to_owned());
    assert_eq!((stage.companies(), stage.parties()), (left.clone(), left));
    // Our own deletions are no news.
    let (_, run, _) = stage.run(&["sync", "run", "--full"]);
    assert_eq!(
        (run["total"].get("deleted"), run["total"].get("deleted_there")),
        (None, None),
        "{run}"
    );

    // Why, is written down.
    let (_, records, _) = stage.run(&["record", "list", "partner"]);
    let id = |name: &str| {
        let mut all = records["data"].as_array().expect("a list").iter();
        let found = all.rfind(|record| record["fields"]["display_name"]["value"] == name);
        found.and_then(|record| record["id"].as_str()).map(str::to_owned)
    };
    let history = |id: &str| stage.run(&["record", "show", id, "--history"]).1.to_string();
    let deleted = history(&id(&name(0)).unwrap_or_else(|| panic!("{records:#}")));
    assert!(deleted.contains("\"deleted\""), "{deleted}");
    let kept = history(&id("partner of ours").unwrap_or_else(|| panic!("{records:#}")));
    assert!(
        kept.contains("\"outlived\"") || kept.contains("\"revived\""),
        "{kept}"
    );

    // Much at once waits for a person, who allows it where it is told and where it is done.
    for number in 2..2 + 11 {
        stage.delete(number);
    }
    the_second_is_over();
    let (code, run, error) = stage.run(&["sync", "run"]);
    assert_eq!(code, Some(1), "{run}");
    assert!(error.contains("Account of crm would come to 13 gone"), "{error}");
    assert_eq!((stage.companies().len(), stage.parties().len()), (14, 14));
    let (code, run, error) = stage.run(&["sync", "run", "--allow", "gone=11", "--allow", "deletes=11"]);
    assert_eq!(code, Some(0), "{run} {error}");
    assert_eq!((stage.companies().len(), stage.parties().len()), (3, 3));
}
