//! Promises about what is owed, runs, sealed values and health.

use serde_json::json;

use super::make::{at, attempt, deal, event, lined, mark, parked, record_id, run, write};
use super::stand::Stand;
use crate::{
    Backlog, EndpointBacklog, Next, ObjectBacklog, Owed, Parked, PushMark, Quarantined, Run, Standing,
    SyncCommit,
};

pub(super) async fn all_that_is_owed_is_told_once(stand: &Stand) {
    let ledger = stand.open().await;
    assert_eq!(ledger.owed().await.unwrap(), Owed::default());
    let leads = PushMark {
        object: "leads".into(),
        ..mark("hs", record_id(model::Kind::Lead, 1), 3)
    };
    let elsewhere = Parked {
        connection: "hs".into(),
        ..parked("a", true, 1, Some(70))
    };
    let commit = SyncCommit {
        records: vec![write(deal(1), 1)],
        marks: vec![
            mark("hs", deal(1), 9),
            mark("hs", deal(2), 5),
            mark("sf", deal(1), 7),
            leads,
        ],
        parked: vec![
            parked("a", true, 1, Some(60)),
            parked("b", true, 1, Some(50)),
            // Neither on its way in nor to be looked at again.
            parked("c", false, 1, Some(1)),
            parked("d", true, 1, None),
            elsewhere,
        ],
        events: vec![event(1, &["bolt", "acme"]), event(2, &["bolt"])],
        ..SyncCommit::default()
    };
    ledger.commit(commit).await.unwrap();
    ledger
        .settle(None, vec![attempt(1, "acme", 1, 2, Next::Delivered)])
        .await
        .unwrap();
    let place =
        |connection: &str, object: &str, second| (connection.to_owned(), object.to_owned(), at(second));
    let owed = Owed {
        pushes: vec![
            place("hs", "deals", 5),
            place("hs", "leads", 3),
            place("sf", "deals", 7),
        ],
        endpoints: vec![("bolt".to_owned(), at(1))],
        parked: vec![place("hs", "deals", 70), place("sf", "deals", 50)],
    };
    assert_eq!(ledger.owed().await.unwrap(), owed);
}

pub(super) async fn what_waits_is_counted_up_to_a_limit(stand: &Stand) {
    let ledger = stand.open().await;
    let commit = SyncCommit {
        records: vec![write(deal(1), 1)],
        marks: vec![
            mark("hs", deal(1), 9),
            mark("hs", deal(2), 5),
            mark("hs", deal(3), 5),
            mark("sf", deal(1), 7),
        ],
        parked: vec![
            parked("a", true, 1, Some(60)),
            parked("b", true, 1, None),
            parked("c", false, 1, Some(1)),
        ],
        events: vec![
            event(1, &["bolt", "acme"]),
            event(2, &["bolt"]),
            event(3, &["bolt"]),
            lined(4, &["echo"], "l"),
            lined(5, &["echo"], "l"),
        ],
        ..SyncCommit::default()
    };
    ledger.commit(commit).await.unwrap();
    let attempts = vec![
        attempt(1, "acme", 1, 2, Next::Dead),
        attempt(1, "bolt", 1, 2, Next::Retry(at(99))),
    ];
    ledger.settle(None, attempts).await.unwrap();
    let place = |connection: &str| (connection.to_owned(), "deals".to_owned());
    let objects = [place("sf"), place("nobody"), place("hs")];
    let endpoints = ["bolt", "acme", "nobody", "echo"].map(str::to_owned);
    let told = ledger.backlog(&objects, &endpoints, 100).await.unwrap();
    let object = |owed, parked_in, parked_out| ObjectBacklog {
        owed,
        parked_in,
        parked_out,
    };
    assert_eq!(told.objects, [object(1, 2, 1), object(0, 0, 0), object(3, 0, 0)]);
    let endpoint = |waiting, dead| EndpointBacklog { waiting, dead };
    assert_eq!(
        told.endpoints,
        [endpoint(3, 0), endpoint(0, 1), endpoint(0, 0), endpoint(2, 0)]
    );
    let told = ledger.backlog(&objects[2..], &endpoints[..1], 2).await.unwrap();
    assert_eq!(
        (told.objects[0].owed, told.endpoints[0].waiting),
        (2, 3),
        "of each sort so many at most"
    );
    assert_eq!(ledger.backlog(&[], &[], 1).await.unwrap(), Backlog::default());
}

pub(super) async fn a_run_is_noted_and_ended(stand: &Stand) {
    let ledger = stand.open().await;
    for number in [2, 1, 3] {
        ledger.note_run(&run(number)).await.unwrap();
    }
    let ended = Run {
        ended_at: Some(at(9)),
        counts: json!({"read": 5}),
        error: "rate limit".into(),
        ..run(2)
    };
    ledger.note_run(&ended).await.unwrap();
    assert_eq!(ledger.runs(9).await.unwrap(), [run(3), ended, run(1)]);
    assert_eq!(ledger.runs(1).await.unwrap(), [run(3)]);
}

pub(super) async fn a_sealed_value_is_kept_as_it_is(stand: &Stand) {
    let ledger = stand.open().await;
    assert_eq!(ledger.sealed("sf").await.unwrap(), None);
    for sealed in [&[0, 255, 1][..], &[]] {
        ledger.keep_sealed("sf", sealed).await.unwrap();
        assert_eq!(ledger.sealed("sf").await.unwrap().as_deref(), Some(sealed));
    }
}

pub(super) async fn how_a_connection_stands_is_told_as_noted_last(stand: &Stand) {
    let ledger = stand.open().await;
    let standing = |connection: &str, account: Option<&str>, code: &str| Standing {
        connection: connection.into(),
        account: account.map(str::to_owned),
        code: code.into(),
        reason: code.into(),
        since: at(3),
    };
    let (fine, stopped) = (
        standing("sf", Some("00D1"), ""),
        standing("sf", Some("00D1"), "revoked"),
    );
    let unknown = standing("hub", None, "revoked");
    assert!(!fine.is_stopped() && stopped.is_stopped());
    for noted in [&fine, &stopped, &unknown] {
        ledger.note_standing(noted).await.unwrap();
    }
    assert_eq!(ledger.standings(None).await.unwrap(), [unknown, stopped.clone()]);
    assert_eq!(ledger.standings(Some("sf")).await.unwrap(), [stopped]);
    assert_eq!(ledger.standings(Some("nosuch")).await.unwrap(), []);
}

pub(super) async fn fields_stay_in_quarantine_until_they_are_released(stand: &Stand) {
    let ledger = stand.open().await;
    let field = |object: &str, field: &str, moment: i64| Quarantined {
        connection: "sf".into(),
        object: object.into(),
        field: field.into(),
        reason: "No such column".into(),
        since: at(moment),
    };
    let (phone, city, stage) = (
        field("Account", "Phone", 1),
        field("Account", "City", 2),
        field("Deal", "Stage", 3),
    );
    for quarantined in [&phone, &city, &stage, &field("Account", "Phone", 9)] {
        ledger.quarantine(quarantined).await.unwrap();
    }
    let all = ledger.quarantined(None).await.unwrap();
    assert_eq!(
        all,
        [city.clone(), phone.clone(), stage.clone()],
        "the first moment stays"
    );
    assert_eq!(
        ledger.quarantined(Some(("sf", "Account"))).await.unwrap(),
        [city, phone.clone()]
    );
    let released = ["City".to_owned(), "Stage".to_owned()];
    ledger.release_fields("sf", "Account", &released).await.unwrap();
    assert_eq!(ledger.quarantined(None).await.unwrap(), [phone, stage]);
    assert_eq!(ledger.quarantined(Some(("hub", "Account"))).await.unwrap(), []);
}

pub(super) async fn the_check_writes(stand: &Stand) {
    let ledger = stand.open().await;
    ledger.check().await.unwrap();
    ledger.check().await.unwrap();
    ledger.accept(vec![event(1, &["bolt", "acme"])]).await.unwrap();
    let counts = ledger.row_counts().await.unwrap();
    let filled: Vec<_> = counts.iter().filter(|(_, rows)| *rows > 0).cloned().collect();
    assert_eq!(filled, [("events".to_owned(), 1), ("deliveries".to_owned(), 2)]);
}
