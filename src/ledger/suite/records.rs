//! Promises about records, links and what sync keeps beside them.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use model::{Kind, MatchKey, Value};
use serde_json::json;

use super::make::{as_read, at, change, deal, link, parked, record, record_id, run_id, write};
use super::stand::Stand;
use crate::{Cursor, Ledger, Link, Parked, ParkedCause, ParkedFilter, RecordWrite, SyncCommit, WaitsFor};

pub(super) async fn commit_records(ledger: &dyn Ledger, records: Vec<RecordWrite>) {
    let commit = SyncCommit {
        records,
        ..SyncCommit::default()
    };
    ledger.commit(commit).await.unwrap();
}

async fn commit_links(ledger: &dyn Ledger, links: Vec<Link>) {
    let commit = SyncCommit {
        links,
        ..SyncCommit::default()
    };
    ledger.commit(commit).await.unwrap();
}

/// The external ids that a connection has for a record.
async fn ids_at(ledger: &dyn Ledger, record: u32) -> Vec<String> {
    let links = ledger.links(&[deal(record)]).await.unwrap();
    let mut ids: Vec<String> = links.into_iter().map(|link| link.external_id).collect();
    ids.sort();
    ids
}

pub(super) async fn records_and_links_read_back_as_written(stand: &Stand) {
    let ledger = stand.open().await;
    let (written, other) = (link("sf", "006", deal(1)), link("hs", "006", deal(1)));
    let blank = Link {
        base: None,
        wire: None,
        external_version: None,
        modified: None,
        gone: true,
        made: true,
        ..link("sf", "007", deal(2))
    };
    let commit = SyncCommit {
        records: vec![write(deal(1), 1), write(deal(2), 1)],
        links: vec![written.clone(), other.clone(), blank.clone()],
        ..SyncCommit::default()
    };
    ledger.commit(commit).await.unwrap();

    let asked = ["006".to_owned(), "007".to_owned(), "unknown".to_owned()];
    let mut linked = ledger.linked("sf", "deals", &asked).await.unwrap();
    linked.sort_by(|a, b| a.link.external_id.cmp(&b.link.external_id));
    assert_eq!(linked.len(), 2);
    assert_eq!(
        (&linked[0].link, &linked[0].record),
        (&as_read(&written), &record(deal(1), 1))
    );
    assert_eq!(
        (&linked[1].link, &linked[1].record),
        (&as_read(&blank), &record(deal(2), 1))
    );
    assert_eq!(linked[0].link.wire.as_ref().unwrap()["a"].to_string(), "1.50");

    let mut links = ledger.links(&[deal(1)]).await.unwrap();
    links.sort_by(|a, b| b.connection.cmp(&a.connection));
    assert_eq!(links, [written, other].each_ref().map(as_read));
    assert_eq!(ledger.records(&[deal(2)]).await.unwrap(), [record(deal(2), 1)]);
}

pub(super) async fn moments_are_cut_to_microseconds(stand: &Stand) {
    let ledger = stand.open().await;
    let nanos = SignedDuration::from_nanos(1_234_567);
    let micros = SignedDuration::from_micros(1_234);
    let mut written = write(deal(1), 1);
    written.record.updated_at = at(1) + nanos;
    written.record.created_at = Timestamp::UNIX_EPOCH - nanos;
    written.changes[0].changed_at = at(1) + nanos;
    // What a system said stays as it said it.
    let exact = at(1) + nanos;
    let said = written.record.provenance.get_mut("name").unwrap();
    std::sync::Arc::make_mut(said).changed_at = exact;
    commit_records(&*ledger, vec![written]).await;

    let read = ledger.records(&[deal(1)]).await.unwrap().remove(0);
    assert_eq!(read.updated_at, at(1) + micros);
    assert_eq!(read.created_at, Timestamp::UNIX_EPOCH - micros);
    assert_eq!(read.provenance["name"].changed_at, exact);
    assert_eq!(
        ledger.history(deal(1)).await.unwrap()[0].changed_at,
        at(1) + micros
    );
}

pub(super) async fn what_is_not_known_is_left_out(stand: &Stand) {
    let ledger = stand.open().await;
    commit_records(&*ledger, vec![write(deal(1), 1)]).await;
    // The same number is another record in another kind.
    let asked = [deal(1), deal(2), record_id(Kind::Lead, 1)];
    assert_eq!(ledger.records(&asked).await.unwrap().len(), 1);
    assert!(ledger.links(&asked).await.unwrap().is_empty());
    assert!(
        ledger
            .linked("sf", "deals", &["006".to_owned()])
            .await
            .unwrap()
            .is_empty()
    );
    assert!(ledger.linked("sf", "deals", &[]).await.unwrap().is_empty());
    assert!(ledger.records(&[]).await.unwrap().is_empty());
    assert!(ledger.history(deal(2)).await.unwrap().is_empty());
    assert!(ledger.cursor("sf", "deals").await.unwrap().is_none());
    // An empty commit is one, too.
    ledger.commit(SyncCommit::default()).await.unwrap();
}

pub(super) async fn records_are_listed_page_by_page(stand: &Stand) {
    let ledger = stand.open().await;
    // Written out of order, and one of another kind between them.
    let mut records: Vec<_> = [3, 1, 5, 2, 4].into_iter().map(|n| write(deal(n), 1)).collect();
    records.push(write(record_id(Kind::Lead, 3), 1));
    commit_records(&*ledger, records).await;
    let page = |after, limit| {
        let ledger = ledger.clone();
        async move {
            let page = ledger.list_records(Kind::Deal, after, limit).await.unwrap();
            page.iter().map(|record| record.id).collect::<Vec<_>>()
        }
    };
    assert_eq!(page(None, 2).await, [deal(1), deal(2)]);
    assert_eq!(page(Some(deal(2)), 2).await, [deal(3), deal(4)]);
    assert_eq!(page(Some(deal(4)), 2).await, [deal(5)]);
    assert_eq!(page(Some(deal(5)), 2).await, []);
}

pub(super) async fn a_record_is_met_by_its_present_keys_only(stand: &Stand) {
    let ledger = stand.open().await;
    let key = |text: &str| MatchKey(text.to_owned());
    let keyed = |number, version, keys: &[&str]| RecordWrite {
        match_keys: keys.iter().map(|text| key(text)).collect(),
        ..write(deal(number), version)
    };
    let lead = RecordWrite {
        match_keys: vec![key("b")],
        ..write(record_id(Kind::Lead, 9), 1)
    };
    commit_records(
        &*ledger,
        vec![keyed(1, 1, &["a", "b", "b"]), keyed(2, 1, &["b", "é"]), lead],
    )
    .await;
    // Byte by byte, so after every ASCII key.
    let met = ledger
        .matching(Kind::Deal, &[key("é"), key("b"), key("a"), key("a"), key("x")])
        .await
        .unwrap();
    let expected = [
        (key("a"), deal(1)),
        (key("b"), deal(1)),
        (key("b"), deal(2)),
        (key("é"), deal(2)),
    ];
    assert_eq!(met, expected);

    let mut deleted = keyed(2, 2, &["b"]);
    deleted.record.deleted_at = Some(at(9));
    commit_records(&*ledger, vec![keyed(1, 2, &["b", "c"]), deleted]).await;
    let met = ledger
        .matching(Kind::Deal, &[key("a"), key("b"), key("c"), key("é")])
        .await
        .unwrap();
    assert_eq!(met, [(key("b"), deal(1)), (key("c"), deal(1))]);
}

pub(super) async fn a_second_link_of_a_record_replaces_the_first(stand: &Stand) {
    let ledger = stand.open().await;
    let object = link("sf", "a", deal(1)).object;
    commit_records(&*ledger, vec![write(deal(1), 1), write(deal(2), 1)]).await;
    commit_links(&*ledger, vec![link("sf", "a", deal(1))]).await;
    commit_links(&*ledger, vec![link("sf", "b", deal(1))]).await;
    assert_eq!(ids_at(&*ledger, 1).await, ["b"]);
    let former = async |connection: &str, ids: &[&str]| {
        let ids: Vec<String> = ids.iter().map(|&id| id.to_owned()).collect();
        let mut former = ledger.former(connection, &object, &ids).await.unwrap();
        former.sort();
        former
    };
    assert_eq!(former("sf", &["a", "b", "c"]).await, [("a".to_owned(), deal(1))]);
    assert_eq!(former("elsewhere", &["a"]).await, []);
    // An object that belongs to another record now.
    commit_links(&*ledger, vec![link("sf", "b", deal(2))]).await;
    assert!(ids_at(&*ledger, 1).await.is_empty());
    assert_eq!(ids_at(&*ledger, 2).await, ["b"]);
    // Within one commit the last counts.
    let several = vec![
        link("sf", "c", deal(2)),
        link("sf", "d", deal(2)),
        link("sf", "d", deal(1)),
    ];
    commit_links(&*ledger, several).await;
    assert_eq!(ids_at(&*ledger, 1).await, ["d"]);
    commit_links(&*ledger, vec![link("sf", "e", deal(3)), link("sf", "f", deal(3))]).await;
    assert_eq!(ids_at(&*ledger, 3).await, ["f"]);
    // What is forgotten was nobody's.
    let forgotten = vec![("sf".to_owned(), object.clone(), "f".to_owned())];
    let commit = SyncCommit {
        forgotten,
        ..SyncCommit::default()
    };
    ledger.commit(commit).await.unwrap();
    assert_eq!(former("sf", &["e", "f"]).await, []);
    let last = [("b".to_owned(), deal(2)), ("d".to_owned(), deal(2))];
    commit_links(&*ledger, vec![link("sf", "g", deal(2)), link("sf", "h", deal(1))]).await;
    commit_links(&*ledger, vec![link("sf", "d", deal(2))]).await;
    commit_links(&*ledger, vec![link("sf", "i", deal(2))]).await;
    assert_eq!(former("sf", &["b", "d"]).await, last);
}

pub(super) async fn linked_ids_are_listed_page_by_page(stand: &Stand) {
    let ledger = stand.open().await;
    let numbers = 1..=6;
    commit_records(&*ledger, numbers.map(|number| write(deal(number), 1)).collect()).await;
    let mut links = vec![
        link("sf", "b", deal(1)),
        link("sf", "B", deal(2)),
        link("sf", "10", deal(3)),
        link("sf", "9", deal(4)),
        link("sf", "gone", deal(5)),
        link("elsewhere", "a", deal(6)),
    ];
    links[4].gone = true;
    commit_links(&*ledger, links).await;
    let object = link("sf", "b", deal(1)).object;
    let mut pages = Vec::new();
    let mut after = None;
    loop {
        let page = ledger
            .linked_ids("sf", &object, after.as_deref(), 3)
            .await
            .unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.clone());
        pages.push(page);
    }
    assert_eq!(pages, [vec!["10", "9", "B"], vec!["b"]]);
}

pub(super) async fn what_was_seen_is_told_where_it_was_agreed_on(stand: &Stand) {
    let ledger = stand.open().await;
    let numbers = 1..=6;
    commit_records(&*ledger, numbers.map(|number| write(deal(number), 1)).collect()).await;
    let known = link("sf", "known", deal(1));
    let versionless = Link {
        external_version: None,
        ..link("sf", "versionless", deal(2))
    };
    let mut links: Vec<Link> = ["gone", "alone", "unagreed", "unseen"]
        .into_iter()
        .zip(3..)
        .map(|(id, number)| link("sf", id, deal(number)))
        .collect();
    links[0].gone = true;
    links[1].ignored = true;
    links[2].base = None;
    links[3].wire = None;
    let elsewhere = link("hs", "elsewhere", deal(1));
    let object = known.object.clone();
    let told = |link: &Link| crate::Seen {
        external_id: link.external_id.clone(),
        record: link.record,
        wire: link.wire.clone().unwrap(),
        external_version: link.external_version.clone(),
    };
    let expected = [told(&known), told(&versionless)];
    links.extend([known, versionless, elsewhere]);
    let mut asked: Vec<String> = links.iter().map(|link| link.external_id.clone()).collect();
    asked.push("unknown".to_owned());
    commit_links(&*ledger, links).await;
    let mut seen = ledger.seen("sf", &object, &asked).await.unwrap();
    seen.sort_by(|a, b| a.external_id.cmp(&b.external_id));
    assert_eq!(seen, expected);
    assert_eq!(ledger.seen("sf", &object, &[]).await.unwrap(), []);
}

pub(super) async fn of_links_made_at_once_for_one_record_one_stays(stand: &Stand) {
    let ledger = stand.open().await;
    commit_records(&*ledger, vec![write(deal(1), 1)]).await;
    let made = (0..4).map(|n| {
        let ledger = ledger.clone();
        let link = link("sf", &n.to_string(), deal(1));
        tokio::spawn(async move { commit_links(&*ledger, vec![link]).await })
    });
    for made in futures_util::future::join_all(made).await {
        made.unwrap();
    }
    assert_eq!(ids_at(&*ledger, 1).await.len(), 1);
}

pub(super) async fn two_records_may_trade_their_objects(stand: &Stand) {
    let ledger = stand.open().await;
    commit_records(&*ledger, vec![write(deal(1), 1), write(deal(2), 1)]).await;
    commit_links(&*ledger, vec![link("sf", "a", deal(1)), link("sf", "b", deal(2))]).await;
    commit_links(&*ledger, vec![link("sf", "b", deal(1)), link("sf", "a", deal(2))]).await;
    assert_eq!(ids_at(&*ledger, 1).await, ["b"]);
    assert_eq!(ids_at(&*ledger, 2).await, ["a"]);
}

pub(super) async fn history_is_told_oldest_first(stand: &Stand) {
    let ledger = stand.open().await;
    for version in 1..=11 {
        let mut written = write(deal(1), version);
        written.changes[1].connection = "hubspot".into();
        written.changes[1].run = run_id(2);
        commit_records(&*ledger, vec![written]).await;
    }
    let history = ledger.history(deal(1)).await.unwrap();
    let mut second = change(11, "amount");
    second.connection = "hubspot".into();
    second.run = run_id(2);
    assert_eq!(history.len(), 22);
    assert_eq!(history[20..], [change(11, "name"), second]);
    assert!(history.is_sorted_by_key(|change| change.version));
}

pub(super) async fn what_is_parked_is_listed_until_it_is_not(stand: &Stand) {
    let ledger = stand.open().await;
    let park = |parked: Vec<Parked>, unparked: Vec<&str>| SyncCommit {
        parked,
        unparked: unparked
            .into_iter()
            .map(|key| ("sf".to_owned(), "deals".to_owned(), key.to_owned(), true))
            .collect(),
        ..SyncCommit::default()
    };
    let (a, b, out) = (
        parked("a", true, 2, Some(10)),
        parked("b", true, 1, None),
        parked("a", false, 3, Some(20)),
    );
    let elsewhere = Parked {
        connection: "hubspot".into(),
        ..parked("a", true, 4, Some(30))
    };
    // What is parked again under another code waits since then, and under the same one as long as it did.
    let first = Parked {
        code: "other".into(),
        ..parked("a", true, 0, None)
    };
    ledger.commit(park(vec![first, b.clone()], vec![])).await.unwrap();
    let later = parked("b", true, 7, None);
    ledger.commit(park(vec![later], vec![])).await.unwrap();
    let all = vec![a.clone(), b.clone(), out.clone(), elsewhere.clone()];
    ledger.commit(park(all, vec!["unknown"])).await.unwrap();

    let list = |filter: ParkedFilter, limit| {
        let ledger = ledger.clone();
        async move { ledger.parked(&filter, limit).await.unwrap() }
    };
    let everything = ParkedFilter::default();
    assert_eq!(
        list(everything.clone(), 9).await,
        [b.clone(), a.clone(), out.clone(), elsewhere.clone()]
    );
    assert_eq!(list(everything, 1).await, std::slice::from_ref(&b));
    let here = ParkedFilter {
        of: Some(("sf".into(), "deals".into())),
        inbound: Some(true),
        ..ParkedFilter::default()
    };
    let named = |keys: &[&str]| ParkedFilter {
        keys: Some(keys.iter().map(|&key| key.to_owned()).collect()),
        ..here.clone()
    };
    assert_eq!(
        list(named(&["b", "c", "it's \"quoted\""]), 9).await,
        std::slice::from_ref(&b)
    );
    assert_eq!(list(named(&[]), 9).await, []);
    let coded = |code: &str| ParkedFilter {
        codes: Some(vec![code.to_owned(), "none".to_owned()]),
        ..here.clone()
    };
    assert_eq!(list(coded(&a.code), 9).await, [b.clone(), a.clone()]);
    assert_eq!(list(coded("other"), 9).await, []);
    assert_eq!(list(here.clone(), 9).await, [b.clone(), a.clone()]);
    let due = |second| ParkedFilter {
        retry_by: Some(at(second)),
        ..ParkedFilter::default()
    };
    assert_eq!(list(due(20), 9).await, [a, out]);
    assert_eq!(list(due(9), 9).await, []);

    ledger.commit(park(vec![], vec!["a"])).await.unwrap();
    assert_eq!(list(here, 9).await, [b]);
    // What is parked again in the commit that unparks it is parked.
    ledger
        .commit(park(vec![parked("b", true, 8, None)], vec!["b"]))
        .await
        .unwrap();
    assert_eq!(
        list(ParkedFilter::default(), 9).await.last().unwrap().since,
        at(8)
    );
}

pub(super) async fn what_is_parked_is_counted_by_cause(stand: &Stand) {
    let ledger = stand.open().await;
    let about = |fields: &[&str], parked: Parked| Parked {
        fields: fields.iter().map(|&field| field.to_owned()).collect(),
        reason: format!("of {}", parked.key),
        ..parked
    };
    let of_mail = [3, 1, 2].map(|n| {
        about(
            &["mail", "na\"me"],
            parked(&format!("m{n}"), true, n, Some(10 * n)),
        )
    });
    let of_nothing = about(&[], parked("n", true, 5, None));
    let out = about(&["mail"], parked("o", false, 4, None));
    let all = of_mail.iter().chain([&of_nothing, &out]).cloned().collect();
    let commit = SyncCommit {
        parked: all,
        ..SyncCommit::default()
    };
    ledger.commit(commit).await.unwrap();

    let cause = |newest: &Parked, count, first| ParkedCause {
        connection: newest.connection.clone(),
        object: newest.object.clone(),
        inbound: newest.inbound,
        code: newest.code.clone(),
        fields: newest.fields.clone(),
        count,
        first: at(first),
        last: newest.since,
        retry_at: newest.retry_at.map(|_| at(10)),
        reason: newest.reason.clone(),
        key: newest.key.clone(),
    };
    assert_eq!(
        ledger.parked_causes().await.unwrap(),
        [
            cause(&of_nothing, 1, 5),
            cause(&of_mail[0], 3, 1),
            cause(&out, 1, 4)
        ]
    );

    // A cause at a time, and of that a page at a time.
    for (fields, keys) in [
        (&of_mail[0].fields, "m1 m2 m3"),
        (&of_nothing.fields, "n"),
        (&out.fields, "o"),
    ] {
        let mut filter = ParkedFilter {
            fields: Some(fields.clone()),
            ..ParkedFilter::default()
        };
        let mut found = Vec::new();
        while let Some(one) = ledger.parked(&filter, 1).await.unwrap().pop() {
            found.push(one.key.clone());
            filter.after = Some(one.at());
        }
        assert_eq!(found.join(" "), keys);
    }
}

pub(super) async fn a_cursor_is_where_reading_stands(stand: &Stand) {
    let ledger = stand.open().await;
    for (n, complete_at, round_at) in [(1, None, Some(at(1))), (2, Some(at(1)), None)] {
        let cursor = Cursor {
            position: json!({"after": n}),
            complete_at,
            round_at,
            fields_read: complete_at.map(|_| ["Name".to_owned(), "a,b".to_owned()].into()),
            fields_asked: round_at.map(|_| BTreeSet::new()),
            stored_at: at(n),
        };
        let commit = SyncCommit {
            cursor: Some(("sf".into(), "deals".into(), cursor.clone())),
            ..SyncCommit::default()
        };
        ledger.commit(commit).await.unwrap();
        assert_eq!(ledger.cursor("sf", "deals").await.unwrap(), Some(cursor));
    }
    assert_eq!(ledger.cursor("sf", "leads").await.unwrap(), None);
}

pub(super) async fn who_waits_for_an_object_is_looked_at_when_it_is_linked(stand: &Stand) {
    let ledger = stand.open().await;
    let waits = |key: &str, for_id: &str| Parked {
        waits_for: Some(WaitsFor {
            object: "deals".into(),
            external_id: for_id.into(),
        }),
        ..parked(key, true, 1, Some(1_000))
    };
    let elsewhere = Parked {
        connection: "hs".into(),
        ..waits("c", "9")
    };
    let commit = SyncCommit {
        records: vec![write(deal(1), 1)],
        parked: vec![waits("a", "9"), waits("b", "8"), elsewhere],
        ..SyncCommit::default()
    };
    ledger.commit(commit).await.unwrap();
    let due = async || {
        let all = ParkedFilter::default();
        let all = ledger.parked(&all, 9).await.unwrap().into_iter();
        let mut due: Vec<_> = all.map(|parked| (parked.key, parked.retry_at.unwrap())).collect();
        due.sort();
        due.into_iter().map(|(_, at)| at).collect::<Vec<_>>()
    };
    let new = Link {
        seen_at: at(10),
        ..link("sf", "9", deal(1))
    };
    let linked = SyncCommit {
        claims: vec![new],
        ..SyncCommit::default()
    };
    ledger.commit(linked).await.unwrap();
    assert_eq!(due().await, [at(10), at(1_000), at(1_000)]);
}

pub(super) async fn text_with_a_nul_breaks_nothing(stand: &Stand) {
    let ledger = stand.open().await;
    let mut written = write(deal(1), 1);
    written.record.fields.set("name", Value::text("a\0b"));
    let commit = SyncCommit {
        records: vec![written],
        links: vec![link("sf", "x\0y", deal(1))],
        parked: vec![Parked {
            reason: "found \0".into(),
            ..parked("k", true, 1, None)
        }],
        ..SyncCommit::default()
    };
    ledger.commit(commit).await.unwrap();
    let linked = ledger.linked("sf", "deals", &["x\0y".to_owned()]).await.unwrap();
    assert_eq!(linked[0].record.fields.text("name"), Some("a\0b"));
}
