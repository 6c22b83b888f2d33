//! Where a change went, over the admin's API.

use jiff::SignedDuration;
use ledger::{Link, PushMark, PushOutcome, Pushed, SyncCommit};
use model::RunId;
use serde_json::{Value as Json, json};

use super::api::{keep_deals, uuid};
use super::stage::Stage;
use crate::ServerSettings;

#[tokio::test]
async fn a_change_is_followed_to_every_system() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::open(folder.path(), &[], ServerSettings::default()).await;
    let deal = keep_deals(&stage, 1).await[0];
    let pushed = |connection: &str, second: i64, outcome: PushOutcome| Pushed {
        record: deal,
        version: 1,
        connection: connection.into(),
        object: "deals".into(),
        external_id: "7".into(),
        at: stage.now + SignedDuration::from_secs(second),
        run: RunId::from_uuid(uuid(98)),
        outcome,
        detail: match outcome {
            PushOutcome::Refused => "required: a deal needs a pipeline".into(),
            _ => String::new(),
        },
    };
    let mut links = stage.ledger.links(&[deal]).await.unwrap();
    let link = links.remove(0);
    let commit = SyncCommit {
        links: vec![
            Link {
                connection: "marketing".into(),
                object: "deals".into(),
                external_id: "7".into(),
                ..link.clone()
            },
            Link {
                connection: "bi".into(),
                object: "deals".into(),
                external_id: "8".into(),
                ..link
            },
        ],
        pushed: vec![
            pushed("marketing", 1, PushOutcome::Refused),
            pushed("marketing", 2, PushOutcome::Created),
            pushed("marketing", 9, PushOutcome::Written),
            pushed("erp", 3, PushOutcome::Refused),
        ],
        marks: vec![PushMark {
            connection: "shop".into(),
            object: "orders".into(),
            record: deal,
            due_at: stage.now,
        }],
        ..SyncCommit::default()
    };
    stage.ledger.commit(commit).await.unwrap();

    let address = format!("/v1/records/{deal}/journey");
    let told = stage.get(&address).await.json();
    let journey = &told["data"][0];
    assert_eq!(
        [
            &journey["version"],
            &journey["changes"][0]["field"],
            &journey["event"]
        ],
        [&json!(1), &json!("name"), &Json::Null]
    );
    let systems = journey["systems"].as_array().unwrap().iter().map(|stop| {
        let outcomes: Vec<&str> = stop["writes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|write| write["outcome"].as_str().unwrap())
            .collect();
        format!(
            "{} {} {outcomes:?}",
            stop["connection"].as_str().unwrap(),
            stop["state"].as_str().unwrap()
        )
    });
    let systems: Vec<String> = systems.collect();
    assert_eq!(
        systems,
        [
            "bi nothing []",
            "crm source []",
            "erp refused [\"refused\"]",
            "marketing written [\"refused\", \"created\"]",
            "shop owed []",
        ]
    );
    let trace = journey["trace"].as_str().unwrap();
    assert_eq!(stage.get(&format!("{address}?trace={trace}")).await.json(), told);
    assert_eq!(stage.get(&format!("{address}?version=1")).await.json(), told);
    for (query, expected) in [
        ("?version=2", "404 not_found: there is no such change"),
        ("?trace=0af7", "404 not_found: there is no such change"),
        (
            "?version=1&trace=0af7",
            "400 bad_request: say either `version` or `trace`",
        ),
    ] {
        let problem = stage.get(&format!("{address}{query}")).await.problem();
        assert!(problem.starts_with(expected), "{problem}");
    }
}
