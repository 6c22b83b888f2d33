//! Lookups that read: an owner's id is their e-mail, and back.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use crate::testing::{Got, ManualClock, Say, Server, hubspot, ok, salesforce, write};
use crate::{Connection, LeftOut, Outcome};

/// An account with three owners on two pages, and one who left; `41` owns what `deals` says.
fn portal(got: &Got) -> Say {
    let owner = |id: u32, archived: bool| json!({"id": id.to_string(), "email": format!("P{id}@us.example"), "archived": archived});
    match got.line.as_str() {
        "GET /crm/v3/owners?limit=500&archived=false" => {
            ok(json!({"results": [owner(41, false), owner(42, false)], "paging": {"next": {"after": "x"}}}))
        }
        "GET /crm/v3/owners?limit=500&archived=false&after=x" => ok(json!({"results": [owner(43, false)]})),
        "GET /crm/v3/owners?limit=500&archived=true" => ok(json!({"results": [owner(40, true)]})),
        "POST /crm/v3/objects/deals/batch/read" => {
            let row = |input: Json| match input["id"].as_str() {
                Some("0") => json!({"id": "0", "archived": false, "properties": {"hubspot_owner_id": null}}),
                id => json!({"id": id, "archived": false, "properties": {"hubspot_owner_id": id}}),
            };
            ok(json!({"results": inputs(got).into_iter().map(row).collect::<Vec<_>>()}))
        }
        "POST /crm/v3/objects/deals/batch/update" => {
            let row = |input: Json| json!({"id": input["id"]});
            ok(json!({"results": inputs(got).into_iter().map(row).collect::<Vec<_>>()}))
        }
        line => panic!("{line}"),
    }
}

fn inputs(got: &Got) -> Vec<Json> {
    got.json()["inputs"].as_array().unwrap().clone()
}

fn lists(server: &Server) -> usize {
    let lines = server.lines();
    lines.iter().filter(|line| line.contains("/owners")).count()
}

/// The e-mails of the owners of deals, each of which belongs to the owner with its own id.
async fn owners(hubspot: &Connection, deals: &[&str]) -> Vec<Json> {
    let ids: Vec<String> = deals.iter().map(|id| (*id).to_owned()).collect();
    let objects = hubspot
        .by_ids("deals", &["owner_email".to_owned()], &ids)
        .await
        .unwrap();
    objects
        .into_iter()
        .map(|object| object.body["owner_email"].clone())
        .collect()
}

#[tokio::test]
async fn an_owner_is_read_as_their_e_mail_and_the_list_is_read_once() {
    let server = Server::start(portal).await;
    let clock = Arc::new(ManualClock::default());
    let hubspot = hubspot(&server, &clock);
    let told = owners(&hubspot, &["41", "43", "0", "40"]).await;
    assert_eq!(
        told,
        [
            json!("p41@us.example"),
            json!("p43@us.example"),
            Json::Null,
            json!("p40@us.example")
        ]
    );
    assert_eq!(
        lists(&server),
        3,
        "two pages of those who are there, one of those who left"
    );

    // What the list does not have is told as what it is, and nobody asks again for each of them.
    for unknown in ["77", "78", "79"] {
        assert_eq!(
            owners(&hubspot, &[unknown, "41"]).await[0],
            json!(format!("owner with the e-mail {unknown}"))
        );
    }
    assert_eq!(lists(&server), 3);
    clock.advance(60_000);
    owners(&hubspot, &["41"]).await;
    assert_eq!(lists(&server), 3, "what is known is believed for longer");
    owners(&hubspot, &["77", "78"]).await;
    assert_eq!(lists(&server), 6);
    clock.advance(600_000);
    owners(&hubspot, &["41"]).await;
    assert_eq!(lists(&server), 9);
}

#[tokio::test]
async fn nobody_is_made_owner_who_left_or_is_not_there_and_the_rest_is_written() {
    let server = Server::start(portal).await;
    let hubspot = hubspot(&server, &Arc::default());
    let batch: Vec<_> = ["p42@us.example", "p40@us.example", "who@us.example", ""]
        .into_iter()
        .enumerate()
        .map(|(at, email)| {
            let values = json!({"dealname": at, "owner_email": email});
            write(Some(&at.to_string()), "k", values)
        })
        .collect();
    let outcomes = hubspot.write("deals", &batch).await.unwrap();
    let written = server
        .got()
        .into_iter()
        .find(|got| got.line.contains("batch/update"))
        .unwrap()
        .json();
    let properties: Vec<&Json> = written["inputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| &i["properties"])
        .collect();
    assert_eq!(
        properties,
        [
            &json!({"dealname": "0", "hubspot_owner_id": "42"}),
            &json!({"dealname": "1"}),
            &json!({"dealname": "2"}),
            &json!({"dealname": "3", "hubspot_owner_id": ""}),
        ]
    );
    let left_out: Vec<&[LeftOut]> = outcomes
        .iter()
        .map(|outcome| match outcome {
            Outcome::Written { left_out, .. } => left_out.as_slice(),
            other => panic!("{other:?}"),
        })
        .collect();
    let why = |email: &str| LeftOut {
        field: "owner_email".to_owned(),
        why: format!("the system has no owner with the e-mail `{email}`, add it there or correct the value"),
        instead: None,
    };
    assert_eq!(
        left_out,
        [&[][..], &[why("p40@us.example")], &[why("who@us.example")], &[]]
    );
    assert_eq!(lists(&server), 3);
    hubspot.write("deals", &batch).await.unwrap();
    assert_eq!(lists(&server), 3);
}

/// An organisation where Rita works, and one row.
struct Organisation {
    rita_left: bool,
    owner: &'static str,
}

impl Organisation {
    fn say(&mut self, got: &Got) -> Say {
        let line = got.line.as_str();
        if line.starts_with("POST /services/oauth2/token") {
            let host = format!("http://{}", got.headers["host"]);
            return ok(
                json!({"access_token": "t", "instance_url": host, "id": "https://login.example/id/00D000000000001AAA/005000000000HubAAA"}),
            );
        }
        if line.starts_with("GET /services/data/v67.0/query") {
            assert!(line.contains("Id+%21%3D+%27005000000000HubAAA%27"), "{line}");
            let both = [
                ("005000000000RitAAA", "Rita@us.example"),
                ("005000000000AdaAAA", "ada@us.example"),
            ];
            let users = both
                .into_iter()
                .filter(|(id, email)| match line.contains("IsActive+%3D+true") {
                    true => {
                        line.to_lowercase()
                            .contains(&email.to_lowercase().replace('@', "%40"))
                            && !(self.rita_left && id.contains("Rit"))
                    }
                    false => line.contains(id),
                });
            let rows = users.map(|(id, email)| json!({"Id": id, "Email": email, "IsActive": !(self.rita_left && id.contains("Rit"))}));
            return ok(json!({"done": true, "records": rows.collect::<Vec<_>>()}));
        }
        if line.starts_with("POST ") {
            let asked = got.json()["fields"].as_array().unwrap().clone();
            assert!(asked.contains(&json!("Id")), "{asked:?}");
            return ok(json!([{"Id": "00Q1", "OwnerId": self.owner, "IsDeleted": false}]));
        }
        let rows = got.json()["records"].as_array().unwrap().iter().map(|row| {
            let inactive = row["OwnerId"] == "005000000000RitAAA" && self.rita_left;
            let errors = json!([{"statusCode": "INACTIVE_OWNER_OR_USER", "message": "operation performed with inactive user", "fields": []}]);
            match inactive {
                true => json!({"success": false, "errors": errors}),
                false => json!({"id": row["id"], "success": true, "errors": []}),
            }
        }).collect::<Vec<_>>();
        ok(Json::Array(rows))
    }
}

/// What was written to objects: the bodies of all PATCH requests.
fn patches(server: &Server) -> Vec<Json> {
    let patches = server
        .got()
        .into_iter()
        .filter(|got| got.line.starts_with("PATCH"));
    patches.map(|got| got.json()["records"].clone()).collect()
}

async fn organisation(owner: &'static str) -> (Server, Connection, Arc<std::sync::Mutex<Organisation>>) {
    let organisation = Arc::new(std::sync::Mutex::new(Organisation {
        rita_left: false,
        owner,
    }));
    let said = Arc::clone(&organisation);
    let server = Server::start(move |got| said.lock().unwrap().say(got)).await;
    let connection = salesforce(&server, &Arc::default());
    (server, connection, organisation)
}

#[tokio::test]
async fn who_left_since_they_were_looked_up_is_looked_up_again_and_the_rest_is_written() {
    let (server, salesforce, organisation) = organisation("005000000000AdaAAA").await;
    let lead = |title: &str| {
        write(
            Some("00Q1"),
            "k",
            json!({"Title": title, "owner_email": "rita@us.example"}),
        )
    };
    let outcomes = salesforce.write("Lead", &[lead("a")]).await.unwrap();
    assert!(
        matches!(&outcomes[0], Outcome::Written { left_out, .. } if left_out.is_empty()),
        "{outcomes:?}"
    );
    organisation.lock().unwrap().rita_left = true;
    let outcomes = salesforce.write("Lead", &[lead("b")]).await.unwrap();
    assert!(
        matches!(&outcomes[0], Outcome::Written { left_out, .. } if left_out.len() == 1),
        "{outcomes:?}"
    );
    let attributes = json!({"type": "Lead"});
    let row = |title: &str| json!([{"attributes": attributes, "id": "00Q1", "Title": title, "OwnerId": "005000000000RitAAA"}]);
    let alone = json!([{"attributes": attributes, "id": "00Q1", "Title": "b"}]);
    assert_eq!(patches(&server), [row("a"), row("b"), alone]);
}

#[tokio::test]
async fn a_queue_is_nobody_and_keeps_what_it_has() {
    let (server, salesforce, organisation) = organisation("00G000000000QueAAA").await;
    let read = || async {
        let fields = ["owner_email".to_owned()];
        let objects = salesforce
            .by_ids("Lead", &fields, &["00Q1".to_owned()])
            .await
            .unwrap();
        objects[0].body["owner_email"].clone()
    };
    assert_eq!(read().await, Json::Null);
    let lead = write(
        Some("00Q1"),
        "k",
        json!({"Title": "a", "owner_email": "rita@us.example"}),
    );
    let blank = write(Some("00Q1"), "k", json!({"Title": "b", "owner_email": null}));
    let outcomes = salesforce
        .write("Lead", std::slice::from_ref(&lead))
        .await
        .unwrap();
    let Outcome::Written { left_out, .. } = &outcomes[0] else {
        panic!("{outcomes:?}")
    };
    assert_eq!(
        left_out[0].why,
        "what stands there stays until it is changed there: 00G000000000QueAAA"
    );
    organisation.lock().unwrap().owner = "005000000000RitAAA";
    assert_eq!(read().await, json!("rita@us.example"));
    for write in [lead, blank] {
        salesforce.write("Lead", &[write]).await.unwrap();
    }
    let attributes = json!({"type": "Lead"});
    assert_eq!(
        patches(&server),
        [
            json!([{"attributes": attributes, "id": "00Q1", "Title": "a"}]),
            json!([{"attributes": attributes, "id": "00Q1", "Title": "a", "OwnerId": "005000000000RitAAA"}]),
            json!([{"attributes": attributes, "id": "00Q1", "Title": "b"}]),
        ]
    );
}

#[tokio::test]
async fn our_own_user_is_nobody() {
    let (_server, salesforce, _) = organisation("005000000000HubAAA").await;
    let objects = salesforce
        .by_ids("Lead", &["owner_email".to_owned()], &["00Q1".to_owned()])
        .await
        .unwrap();
    assert_eq!(objects[0].body["owner_email"], Json::Null);
}
