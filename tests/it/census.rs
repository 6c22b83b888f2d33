//! What leaves no trace is found: deletions and merges at a real Tryton, and what HubSpot's search hides.

use serde_json::{Value as Json, json};

use crate::harness::{Folder, Hub, Sandbox, Tryton, eventually, expect, json_of, said, send};

fn connect(folder: &Folder, sandbox: &Sandbox, tryton: &Tryton) -> Vec<(&'static str, String)> {
    let text = format!(
        "listen: 127.0.0.1:0
ledger: sqlite:hub.db
outbound: {{ allow: [127.0.0.0/8] }}
connections:
  erp:
    system: tryton
    auth: session_login
    config: {{ base_url: \"{tryton}\", database: {database}, user: {user} }}
    secrets: {{ password: \"${{env:ERP_PASSWORD}}\" }}
    lag: 0ms
  marketing:
    system: hubspot
    auth: bearer
    config: {{ base_url: \"{hubspot}\" }}
    secrets: {{ access_token: \"${{env:HS_TOKEN}}\" }}
    lag: 0ms
limits: {{ sweep_every_ms: 200 }}
syncs:
  - {{ connection: erp, record: partner, every: 300ms }}
  - {{ connection: marketing, record: partner, every: 300ms }}
",
        tryton = tryton.said("url"),
        database = tryton.said("database"),
        user = tryton.said("user"),
        hubspot = sandbox.url("hubspot"),
    );
    folder.write("interconnect.yaml", &text);
    let token = sandbox.said["hubspot"]["token"].as_str().expect("a token");
    vec![
        ("ERP_PASSWORD", tryton.said("password")),
        ("HS_TOKEN", token.to_owned()),
    ]
}

/// The id of a company of a name.
fn company(sandbox: &Sandbox, name: &str) -> Result<String, String> {
    let rows = sandbox.rows("hubspot", "companies");
    let found = rows.iter().find(|row| row["properties"]["name"] == name);
    let id = found.and_then(|row| row["id"].as_str()).map(str::to_owned);
    id.ok_or_else(|| format!("no {name} in {rows:?}"))
}

#[test]
fn what_leaves_no_trace_is_found_by_asking_for_it() {
    let folder = Folder::new();
    let (sandbox, tryton) = (Sandbox::start(&[]), Tryton::start(&folder));
    let secrets = connect(&folder, &sandbox, &tryton);
    let party = |name: &str| {
        let made = tryton.call("model.party.party.create", &json!([[{"name": name}]]));
        made[0].as_i64().expect("a new id")
    };
    let [_, fabrikam, contoso] = ["Northwind", "Fabrikam", "Contoso"].map(party);
    let hub = Hub::start(&folder.path("interconnect.yaml"), &secrets);
    for name in ["Northwind", "Fabrikam", "Contoso"] {
        eventually("a party in HubSpot", || company(&sandbox, name));
    }
    let companies = sandbox.rows("hubspot", "companies").len();

    assert_eq!(hub.running.stop(), Some(0));

    // A party that takes the place of another one takes its company, too.
    let traders = party("Contoso Traders");
    let replaced = json!({"active": false, "replaced_by": traders});
    tryton.call("model.party.party.write", &json!([[contoso], replaced]));
    eventually("the new name of the same company", || {
        let run = json_of(&folder.run(&["sync", "run", "--json"], &secrets));
        expect(run["parked"] == 0, run)?;
        company(&sandbox, "Contoso Traders")
    });
    assert_eq!(sandbox.rows("hubspot", "companies").len(), companies);

    // What it would take to read all of it again is told before.
    let forecast = json_of(&folder.run(&["sync", "forecast", "--json"], &secrets));
    let told = |connection: &str| {
        let all = forecast["data"].as_array().expect("a list").iter();
        let one = all
            .filter(|one| one["connection"] == connection)
            .collect::<Vec<_>>();
        (one[0]["objects"].clone(), one[0]["calls"].clone())
    };
    assert_eq!(told("marketing"), (json!(companies), json!(1)));
    let parties = tryton.call(
        "model.party.party.search_count",
        &json!([[["active", "in", [true, false]]]]),
    );
    assert_eq!(told("erp"), (parties, json!(1)));

    // Neither tells of a deletion when it is asked for what changed.
    tryton.call("model.party.party.delete", &json!([[fabrikam]]));
    let northwind = company(&sandbox, "Northwind").expect("it was there");
    let token = format!("Bearer {}", secrets[1].1);
    let url = format!("{}/crm/v3/objects/companies/{northwind}", sandbox.url("hubspot"));
    send("DELETE", &url, None, &[("authorization", &token)]);
    let run = json_of(&folder.run(&["sync", "run", "--json"], &secrets));
    assert_eq!(run["total"]["gone"], Json::Null, "{run}");
    let census = |connection: &str| {
        let arguments = ["sync", "census", "--connection", connection, "--json"];
        json_of(&folder.run(&arguments, &secrets))["total"].clone()
    };
    for connection in ["erp", "marketing"] {
        let first = census(connection);
        assert_eq!(first["gone"], 1, "{connection}: {first}");
        assert_eq!(first.get("updated"), None, "{connection}: {first}");
        let second = census(connection);
        assert_eq!(second.get("gone"), None, "{connection}: {second}");
        let left = first["read"].as_u64().expect("a count") - 1;
        assert_eq!(second["read"], left, "{connection}: {second}");
    }
    // What is gone at one is not made again there, and stays at the other.
    let run = json_of(&folder.run(&["sync", "run", "--full", "--json"], &secrets));
    assert_eq!(run["total"].get("written"), None, "{run}");
    company(&sandbox, "Fabrikam").expect("it stays");
}

#[test]
fn a_census_of_nothing_is_a_mistake_of_the_command_line() {
    let folder = Folder::new();
    folder.write("interconnect.yaml", "ledger: sqlite:hub.db\n");
    let (code, _, stderr) = said(&folder.run(&["sync", "census", "--connection", "erp"], &[]));
    assert_eq!(code, Some(2));
    insta::assert_snapshot!(stderr, @"error: no sync reads anything of `erp`; see: interconnect sync list");
}
