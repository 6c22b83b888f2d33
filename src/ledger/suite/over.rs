//! What an overlay promises over every store: it shows what would be, and leaves what is below.

use std::collections::BTreeSet;

use serde_json::json;

use super::make::{
    at, attempt, conflict, deal, delivery_id, event, event_id, link, mark, owe_linked, parked, record, write,
};
use super::stand::Stand;
use crate::{
    About, Conflict, ConflictFilter, ConflictState, Cursor, Ledger, LedgerError, Link, Next, ParkedFilter,
    PushEnd, Sent, SyncCommit, Terms, overlay,
};

fn cursor(second: i64) -> Option<(String, String, Cursor)> {
    let cursor = Cursor {
        complete_at: Some(at(second)),
        ..Cursor::at(json!(second), at(second))
    };
    Some(("sf".into(), "deals".into(), cursor))
}

async fn filled(stand: &Stand) -> std::sync::Arc<dyn Ledger> {
    let below = stand.open().await;
    let commit = SyncCommit {
        records: (1..=4).map(|number| write(deal(number), 1)).collect(),
        links: (1..=4)
            .map(|number| link("sf", &format!("00{number}"), deal(number)))
            .collect(),
        conflicts: vec![conflict(deal(1), 1, true)],
        marks: (1..=3).map(|number| mark("hs", deal(number), 1)).collect(),
        parked: vec![parked("005", true, 1, None), parked("006", true, 2, None)],
        cursor: cursor(1),
        ..SyncCommit::default()
    };
    below.commit(commit).await.unwrap();
    below
}

/// Everything that can be seen of a ledger that was filled.
async fn seen(ledger: &dyn Ledger) -> String {
    let ids: Vec<_> = (1..=5).map(deal).collect();
    let mut records = ledger.records(&ids).await.unwrap();
    records.sort_by_key(|record| record.id);
    let versions: Vec<u64> = records.iter().map(|record| record.version).collect();
    let mut links = ledger.links(&ids).await.unwrap();
    links.sort_by_key(|link| (link.record, link.external_id.clone()));
    let links: Vec<_> = links
        .iter()
        .map(|link| (link.external_id.as_str(), link.gone))
        .collect();
    let ids: Vec<String> = (0..=9).map(|number| format!("00{number}")).collect();
    let mut linked = ledger.linked("sf", "deals", &ids).await.unwrap();
    linked.sort_by(|a, b| a.link.external_id.cmp(&b.link.external_id));
    let linked: Vec<_> = linked
        .iter()
        .map(|linked| (linked.link.external_id.as_str(), linked.record.version))
        .collect();
    let mut here = Vec::new();
    let mut after: Option<String> = None;
    while let Some(id) = ledger
        .linked_ids("sf", "deals", after.as_deref(), 1)
        .await
        .unwrap()
        .pop()
    {
        here.push(id.clone());
        after = Some(id);
    }
    let pushes = ledger.pushes("hs", "deals", at(9), 9).await.unwrap();
    let mut pushes: Vec<_> = pushes.iter().map(|push| push.record).collect();
    pushes.sort();
    let pushes: Vec<usize> = pushes
        .iter()
        .filter_map(|record| (1..=5).position(|number| deal(number) == *record))
        .collect();
    let parked = ledger.parked(&ParkedFilter::default(), 9).await.unwrap();
    let parked: Vec<&str> = parked.iter().map(|parked| parked.key.as_str()).collect();
    let shared = ledger
        .matching(model::Kind::Deal, &[model::MatchKey("shared".into())])
        .await
        .unwrap();
    let conflicts = ledger
        .list_conflicts(&ConflictFilter::default(), None, 1)
        .await
        .unwrap();
    let (revision, state) = (conflicts[0].revision, conflicts[0].state.word());
    let counted = ledger.count_conflicts(&ConflictFilter::default()).await.unwrap();
    let open = ledger.open_conflicts(&[deal(1), deal(2)]).await.unwrap().len();
    let history = ledger.history(deal(1)).await.unwrap().len();
    let cursor = ledger.cursor("sf", "deals").await.unwrap().unwrap().position;
    format!(
        "versions {versions:?} links {links:?} linked {linked:?} ids {here:?} pushes {pushes:?} parked {parked:?} \
         shared {} conflicts {counted}, {open} open, the first {state} in {revision} history {history} cursor {cursor}",
        shared.len()
    )
}

pub(super) async fn an_overlay_shows_what_would_be_and_leaves_what_is(stand: &Stand) {
    let below = filled(stand).await;
    let (before, rows) = (seen(&*below).await, below.row_counts().await.unwrap());
    let over = overlay(below.clone()).await.unwrap();
    assert_eq!(seen(&*over).await, before, "nothing was written yet");

    let first = over.pushes("hs", "deals", at(9), 1).await.unwrap().remove(0);
    let mut written = write(deal(1), 2);
    written.match_keys.pop();
    let gone = Link {
        gone: true,
        ..link("sf", "003", deal(3))
    };
    let resolved = Conflict {
        state: ConflictState::Resolved,
        revision: 2,
        ..conflict(deal(1), 1, true)
    };
    let commit = SyncCommit {
        // The first changes and loses a key; the second has another object now; the third's is gone; the fifth is new.
        records: vec![written, write(deal(5), 1)],
        links: vec![link("sf", "009", deal(2)), gone, link("sf", "005", deal(5))],
        conflicts: vec![resolved, conflict(deal(2), 2, true)],
        ended: vec![(first.clone(), PushEnd::Done)],
        marks: vec![mark("hs", deal(5), 2)],
        unparked: vec![("sf".into(), "deals".into(), "005".into(), true)],
        parked: vec![parked("007", true, 3, None)],
        cursor: cursor(2),
        ..SyncCommit::default()
    };
    over.commit(commit).await.unwrap();
    assert_eq!(first.record, deal(1));
    assert_eq!(
        seen(&*over).await,
        "versions [2, 1, 1, 1, 1] links [(\"001\", false), (\"009\", false), (\"003\", true), (\"004\", false), \
         (\"005\", false)] linked [(\"001\", 2), (\"003\", 1), (\"004\", 1), (\"005\", 1), (\"009\", 1)] \
         ids [\"001\", \"004\", \"005\", \"009\"] pushes [1, 2, 4] parked [\"006\", \"007\"] shared 4 conflicts 2, 1 open, the first resolved in 2 \
         history 4 cursor 2"
    );
    owe_linked(&*over, "sf", "deals").await;
    assert_eq!(over.all_pushes("sf", "deals", None, 9).await.unwrap().len(), 4);

    assert_eq!(seen(&*below).await, before, "what is below stays");
    assert_eq!(below.row_counts().await.unwrap(), rows);
}

pub(super) async fn an_overlay_refuses_what_is_stale_below(stand: &Stand) {
    let below = filled(stand).await;
    let over = overlay(below.clone()).await.unwrap();
    for stale in [write(deal(1), 1), write(deal(1), 3)] {
        let commit = SyncCommit {
            records: vec![stale],
            ..SyncCommit::default()
        };
        let refused = over.commit(commit).await;
        assert!(matches!(refused, Err(LedgerError::Stale(ids)) if ids == [deal(1)]));
    }
    assert_eq!(over.records(&[deal(1)]).await.unwrap(), [record(deal(1), 1)]);
}

pub(super) async fn an_overlay_takes_pushes_over_whole(stand: &Stand) {
    let below = stand.open().await;
    let marks = (0..2_500).map(|number| mark("hs", deal(number), i64::from(number)));
    let commit = SyncCommit {
        marks: marks.collect(),
        ..SyncCommit::default()
    };
    below.commit(commit).await.unwrap();
    let mut sent = below
        .pushes("hs", "deals", at(7), 100)
        .await
        .unwrap()
        .pop()
        .unwrap();
    let values = json!({"name": "x"});
    let written = Sent {
        at: at(3),
        values,
        creates: false,
    };
    sent.sent = vec![written.clone()];
    let commit = SyncCommit {
        sending: vec![sent],
        ..SyncCommit::default()
    };
    below.commit(commit).await.unwrap();
    let over = overlay(below).await.unwrap();
    let taken = over.pushes("hs", "deals", at(9_999), 9_999).await.unwrap();
    assert_eq!(taken.len(), 2_500);
    let moments: Vec<_> = taken.iter().map(|push| push.due_at).collect();
    assert_eq!(moments, (0..2_500).map(at).collect::<Vec<_>>());
    let heard = over.sent("hs", "deals", &[deal(7)]).await.unwrap();
    assert_eq!(heard, [(deal(7), vec![written])]);
}

pub(super) async fn an_overlay_knows_who_was_told_below(stand: &Stand) {
    let below = stand.open().await;
    let terms = Terms {
        digest: "a1".to_owned(),
        partner: "acme".to_owned(),
        text: "all".to_owned(),
    };
    below.keep_terms(&terms).await.unwrap();
    below.accept(vec![event(1, &["bolt"])]).await.unwrap();
    let about = About {
        record: "D-1".to_owned(),
        terms: terms.digest,
    };
    below
        .note_pulled(vec![(delivery_id(1, "bolt"), about)], at(2))
        .await
        .unwrap();
    let over = overlay(below).await.unwrap();
    let asked: BTreeSet<_> = [("D-1".to_owned(), terms.partner)].into();
    assert_eq!(over.told(&asked, "acme").await.unwrap(), asked);
}

pub(super) async fn an_overlay_takes_what_is_due_at_an_inlet(stand: &Stand) {
    let below = stand.open().await;
    below
        .accept(vec![event(1, &["sf/deals", "bolt"]), event(2, &["sf/deals"])])
        .await
        .unwrap();
    let over = overlay(below.clone()).await.unwrap();
    let due = over.due("sf/deals", at(9), 1).await.unwrap();
    assert_eq!((due.len(), due[0].event), (1, event_id(1)));
    assert_eq!(due, below.due("sf/deals", at(9), 1).await.unwrap());
    over.settle(None, vec![attempt(1, "sf/deals", 1, 9, Next::Delivered)])
        .await
        .unwrap();
    let due = over.due("sf/deals", at(9), 9).await.unwrap();
    assert_eq!(due.iter().map(|due| due.event).collect::<Vec<_>>(), [event_id(2)]);
    // Below, nothing has become of it; and an endpoint is told nothing from here.
    assert_eq!(below.due("sf/deals", at(9), 9).await.unwrap().len(), 2);
    assert!(over.due("bolt", at(9), 9).await.unwrap().is_empty());
}
