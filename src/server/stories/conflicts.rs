//! Conflicts over the admin's API.

use ledger::{Conflict, ConflictState, SyncCommit};
use model::{RecordId, RunId, uuid_from};
use serde_json::{Value as Json, json};

use super::api::keep_deals;
use super::stage::Stage;
use crate::ServerSettings;

/// A person is to decide about the name of a deal, found at a second.
fn conflict(stage: &Stage, record: RecordId, second: i64) -> Conflict {
    let found_at = stage.now + jiff::SignedDuration::from_secs(second);
    let uuid = uuid_from(found_at, [7; 10]);
    Conflict {
        id: uuid.into(),
        record,
        path: "name".into(),
        connection: "erp".into(),
        object: "sale.order".into(),
        external_id: "S1".into(),
        base: json!("Solar"),
        ours: json!("Solar park"),
        theirs: json!("Wind park"),
        kept: json!("Solar park"),
        ours_by: "crm".into(),
        theirs_at: Some(stage.now),
        rule: "manual".into(),
        winner: "nobody".into(),
        run: Some(RunId::from_uuid(uuid)),
        trace: "0af7651916cd43dd8448eb211c80319c".into(),
        found_at,
        revision: 1,
        state: ConflictState::Open,
        closed_at: None,
        closed_by: String::new(),
    }
}

async fn staged(count: u8) -> (tempfile::TempDir, Stage, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::open(folder.path(), &[], ServerSettings::default()).await;
    let deals = keep_deals(&stage, count).await;
    let conflicts: Vec<Conflict> = deals
        .iter()
        .zip(0..)
        .map(|(deal, second)| conflict(&stage, *deal, second))
        .collect();
    let ids = conflicts.iter().map(|conflict| conflict.id.to_string()).collect();
    let commit = SyncCommit {
        conflicts,
        ..SyncCommit::default()
    };
    stage.ledger.commit(commit).await.unwrap();
    (folder, stage, ids)
}

fn ids(page: &Json) -> Vec<&str> {
    page["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|conflict| conflict["id"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_conflict_is_decided_once() {
    let (_folder, stage, ids_) = staged(1).await;
    let address = format!("/v1/conflicts/{}", ids_[0]);
    let shown = stage.get(&address).await.json();
    insta::assert_snapshot!(serde_json::to_string_pretty(&shown).unwrap(), @r#"
    {
      "base": "Solar",
      "closed_at": null,
      "closed_by": "",
      "connection": "erp",
      "external_id": "S1",
      "field": "name",
      "found_at": "2026-11-23T06:00:00Z",
      "id": "cfl_01m83ftsr0ew3re1r70w3ge1r7",
      "kept": "Solar park",
      "object": "sale.order",
      "ours": "Solar park",
      "ours_by": "crm",
      "record": "dea_01m83ccy40e40r2081040g2081",
      "revision": 1,
      "rule": "manual",
      "run": "run_01m83ftsr0ew3re1r70w3ge1r7",
      "state": "open",
      "theirs": "Wind park",
      "theirs_at": "2026-11-23T06:00:00Z",
      "trace": "0af7651916cd43dd8448eb211c80319c",
      "winner": "nobody"
    }
    "#);
    let decided = stage
        .post_json(
            &format!("{address}/resolve"),
            &json!({"take": "theirs", "by": "ada", "revision": 1}),
        )
        .await;
    assert_eq!(decided.status(), 200, "{decided:?}");
    let decided = decided.json();
    assert_eq!(
        [
            &decided["state"],
            &decided["kept"],
            &decided["winner"],
            &decided["closed_by"]
        ],
        [
            &json!("resolved"),
            &json!("Wind park"),
            &json!("theirs"),
            &json!("ada")
        ]
    );
    let record = stage
        .get(&format!("/v1/records/{}", shown["record"].as_str().unwrap()))
        .await
        .json();
    let name = &record["record"]["fields"]["name"];
    assert_eq!(
        [
            &name["value"],
            &name["said_by"]["connection"],
            &name["said_by"]["external_id"]
        ],
        [&json!("Wind park"), &json!("by_hand"), &json!("ada")]
    );
    assert_eq!(record["conflicts"][0], decided);
    assert_eq!(record["history"][1]["reason"], "by_hand");
    let again = stage
        .post_json(&format!("{address}/resolve"), &json!({"take": "ours"}))
        .await
        .problem();
    assert!(
        again.starts_with("409 closed: ") && again.contains("resolved by ada"),
        "{again}"
    );
}

#[tokio::test]
async fn conflicts_come_in_pages_and_by_what_is_asked() {
    let (_folder, stage, ids_) = staged(3).await;
    let first = stage
        .get("/v1/conflicts?limit=2&connection=erp&field=name&kind=deal")
        .await
        .json();
    assert_eq!(ids(&first), &ids_[..2]);
    let next = first["next_cursor"].as_str().unwrap();
    let second = stage
        .get(&format!("/v1/conflicts?limit=2&cursor={next}"))
        .await
        .json();
    assert_eq!(
        (ids(&second), &second["next_cursor"]),
        (vec![ids_[2].as_str()], &Json::Null)
    );
    stage
        .post_json(
            &format!("/v1/conflicts/{}/resolve", ids_[1]),
            &json!({"value": "Park"}),
        )
        .await;
    assert_eq!(
        ids(&stage.get("/v1/conflicts").await.json()),
        [&*ids_[0], &*ids_[2]]
    );
    assert_eq!(
        ids(&stage.get("/v1/conflicts?state=resolved").await.json()),
        [&*ids_[1]]
    );
    assert_eq!(ids(&stage.get("/v1/conflicts?state=all").await.json()).len(), 3);
    assert!(ids(&stage.get("/v1/conflicts?connection=crm").await.json()).is_empty());
}

#[tokio::test]
async fn what_cannot_be_decided_is_told() {
    let (_folder, stage, ids_) = staged(1).await;
    let mut told = Vec::new();
    for body in [
        json!({}),
        json!({"take": "ours", "value": 1}),
        json!({"tak": "ours"}),
        json!({"take": "hubspot"}),
        json!({"value": 1}),
        json!({"value": null}),
        json!({"take": "ours", "revision": 4}),
        json!({"take": "ours", "by": " "}),
    ] {
        told.push(
            stage
                .post_json(&format!("/v1/conflicts/{}/resolve", ids_[0]), &body)
                .await
                .problem(),
        );
    }
    let unknown = ids_[0].replace("cfl_0", "cfl_1");
    told.push(stage.get(&format!("/v1/conflicts/{unknown}")).await.problem());
    told.push(stage.get("/v1/conflicts/dlv_1").await.problem());
    told.push(stage.get("/v1/conflicts?state=stuck").await.problem());
    let told = told
        .join("\n")
        .replace(&ids_[0], "cfl_1st")
        .replace(&unknown, "cfl_none");
    insta::assert_snapshot!(told, @r#"
    400 bad_request: say either `take` or `value`
    400 bad_request: say either `take` or `value`
    400 bad_request: the body cannot be read: unknown field `tak`, expected one of `take`, `value`, `by`, `revision` at line 1 column 6
    422 unfit: cfl_1st cannot be decided so: `hubspot` has no value of `name` here; take ours, theirs or one of: crm
    422 unfit: cfl_1st cannot be decided so: 1 is no value of `name`; a value like "Wind park" would be
    422 unfit: cfl_1st cannot be decided so: a deal needs `name`
    409 moved_on: cfl_1st has moved on: it is at revision 1, ours is "Solar park" and theirs "Wind park" now; look at it again with `interconnect conflict show cfl_1st` and decide anew
    422 unfit: cfl_1st cannot be decided so: say who decides, in 1 to 100 characters
    404 not_found: there is no conflict cfl_none
    400 bad_request: the id is not the id of a conflict, `cfl_…`
    400 bad_request: `state` is one of `all`, `open`, `decided`, `resolved`, `agreed`, `withdrawn`, `gone`
    "#);
    assert_eq!(
        ids(&stage.get("/v1/conflicts").await.json()).len(),
        1,
        "nothing was written"
    );
}
