//! What partners were told about a record is one question.

use super::make::{at, attempt, delivery_id, event, event_id};
use super::stand::Stand;
use crate::{About, Attempt, Ledger, NewEvent, Next, OldEvents, Terms, Way};

fn terms(digest: &str, partner: &str) -> Terms {
    Terms {
        digest: digest.to_owned(),
        partner: partner.to_owned(),
        text: format!("what {partner} may know, “{digest}”"),
    }
}

fn about(record: &str, terms: &str) -> About {
    About {
        record: record.to_owned(),
        terms: terms.to_owned(),
    }
}

fn telling(of: Attempt, record: &str, terms: &str) -> Attempt {
    Attempt {
        told: Some(about(record, terms)),
        ..of
    }
}

/// What was told of a record: when, how, through which endpoint, which event, and by which terms.
async fn told(ledger: &dyn Ledger, record: &str, partner: Option<&str>) -> Vec<String> {
    let told = ledger.disclosed(record, partner, 9).await.unwrap();
    let line = |one: &crate::Disclosed| {
        let kept = event(1, &[]);
        assert_eq!(
            (&one.event_type, &one.terms),
            (&kept.event_type, &terms(&one.terms.digest, &one.terms.partner))
        );
        let number = (1..9).find(|number| event_id(*number) == one.event).unwrap();
        assert_eq!(one.body, event(number, &[]).body);
        let way = match one.way {
            Way::Sent(status) => format!("{status:?}"),
            Way::Pulled => "pulled".to_owned(),
        };
        let second = one.at.as_second() - at(0).as_second();
        format!("{second} {way} {} {number} {}", one.endpoint, one.terms.digest)
    };
    told.iter().map(line).collect()
}

/// What is remembered of a record: from when to when, how often, through which endpoint, and by which terms.
async fn remembered(ledger: &dyn Ledger, record: &str, partner: Option<&str>) -> Vec<String> {
    let remembered = ledger.remembered(record, partner, 9).await.unwrap();
    let line = |one: &crate::Remembered| {
        assert_eq!(
            (&one.event_type, &one.terms),
            (
                &event(1, &[]).event_type,
                &terms(&one.terms.digest, &one.terms.partner)
            )
        );
        let second = |moment: jiff::Timestamp| moment.as_second() - at(0).as_second();
        let (first, last) = (second(one.first_at), second(one.last_at));
        format!(
            "{first} to {last}, {} times, {} {}",
            one.times, one.endpoint, one.terms.digest
        )
    };
    remembered.iter().map(line).collect()
}

pub(super) async fn what_was_told_of_a_record_is_one_question(stand: &Stand) {
    let ledger = stand.open().await;
    for kept in [terms("a1", "acme"), terms("b1", "borealis"), terms("a2", "acme")] {
        ledger.keep_terms(&kept).await.unwrap();
    }
    // Terms that are kept stay as they were.
    let other = Terms {
        text: "other".into(),
        ..terms("a1", "bolt")
    };
    ledger.keep_terms(&other).await.unwrap();
    let events = [1, 2, 3].map(|number| event(number, &["a", "b"])).to_vec();
    ledger.accept(events).await.unwrap();
    let no_answer = Attempt {
        status: None,
        ..attempt(1, "a", 1, 10, Next::Retry(at(20)))
    };
    let attempts = vec![
        telling(no_answer.clone(), "D-1", "a1"),
        telling(attempt(1, "a", 2, 20, Next::Delivered), "D-1", "a2"),
        telling(attempt(1, "b", 1, 15, Next::Delivered), "D-1", "b1"),
        telling(attempt(2, "a", 1, 30, Next::Delivered), "D-2", "a2"),
        attempt(3, "a", 1, 40, Next::Dead),
    ];
    ledger.settle(None, attempts.clone()).await.unwrap();
    assert_eq!(
        ledger.attempts(no_answer.delivery).await.unwrap(),
        [attempts[0].clone(), attempts[1].clone()]
    );
    assert_eq!(
        told(&*ledger, "D-1", None).await,
        ["20 Some(200) a 1 a2", "15 Some(200) b 1 b1", "10 None a 1 a1"]
    );
    assert_eq!(
        told(&*ledger, "D-1", Some("borealis")).await,
        ["15 Some(200) b 1 b1"]
    );
    assert_eq!(told(&*ledger, "D-2", Some("borealis")).await, [""; 0]);
    assert_eq!(ledger.disclosed("D-1", None, 1).await.unwrap().len(), 1);
}

pub(super) async fn what_was_pulled_was_told_once_by_the_same_terms(stand: &Stand) {
    let ledger = stand.open().await;
    for kept in [terms("a1", "acme"), terms("a2", "acme")] {
        ledger.keep_terms(&kept).await.unwrap();
    }
    ledger
        .accept(vec![event(1, &["a"]), event(2, &["a"])])
        .await
        .unwrap();
    for (second, terms) in [(10, "a1"), (20, "a1"), (30, "a2")] {
        let pulled =
            [(1, "D-1"), (2, "D-2")].map(|(number, record)| (delivery_id(number, "a"), about(record, terms)));
        ledger.note_pulled(pulled.to_vec(), at(second)).await.unwrap();
    }
    let unknown = (delivery_id(8, "a"), about("D-1", "a1"));
    ledger.note_pulled(vec![unknown], at(50)).await.unwrap();
    ledger.note_pulled(Vec::new(), at(50)).await.unwrap();
    let both = ["30 pulled a 1 a2", "10 pulled a 1 a1"];
    assert_eq!(told(&*ledger, "D-1", None).await, both);

    // What is not kept any more is remembered.
    let sent = [1, 2].map(|number| telling(attempt(number, "a", 1, 40, Next::Delivered), "D-1", "a1"));
    ledger.settle(None, sent.to_vec()).await.unwrap();
    let lease = ledger
        .lease("forget", "here", at(0), at(9_999))
        .await
        .unwrap()
        .unwrap();
    let old = OldEvents {
        arrived_before: Some(at(9_999)),
        dead_before: Some(at(9_999)),
    };
    let forgotten = ledger
        .forget_events(&lease, &old, Default::default(), 9)
        .await
        .unwrap();
    assert_eq!(forgotten.removed, 1, "all but the newest");
    assert_eq!(told(&*ledger, "D-1", None).await, ["40 Some(200) a 2 a1"]);
    assert_eq!(
        remembered(&*ledger, "D-1", None).await,
        ["10 to 40, 2 times, a a1", "30 to 30, 1 times, a a2"]
    );
    let counts: std::collections::BTreeMap<String, u64> =
        ledger.row_counts().await.unwrap().into_iter().collect();
    assert_eq!(
        (counts["pulls"], counts["terms"], counts["remembered"]),
        (2, 2, 2)
    );

    // And it is summed.
    let asked: std::collections::BTreeSet<_> = [("D-2".to_owned(), "acme".to_owned())].into();
    let source = event(1, &[]).source;
    for _ in 0..2 {
        assert_eq!(ledger.told(&asked, &source).await.unwrap(), asked);
        ledger.accept(vec![event(3, &[])]).await.unwrap();
        ledger
            .forget_events(&lease, &old, Default::default(), 9)
            .await
            .unwrap();
    }
    assert_eq!(told(&*ledger, "D-1", None).await, [""; 0]);
    assert_eq!(
        remembered(&*ledger, "D-1", Some("acme")).await,
        ["10 to 40, 3 times, a a1", "30 to 30, 1 times, a a2"]
    );
    assert_eq!(remembered(&*ledger, "D-1", Some("borealis")).await, [""; 0]);
    assert_eq!(ledger.remembered("D-1", None, 1).await.unwrap().len(), 1);
    assert!(ledger.told(&asked, "somebody").await.unwrap().is_empty());
}

pub(super) async fn who_was_told_of_which_records_is_asked_at_once(stand: &Stand) {
    let ledger = stand.open().await;
    for kept in [terms("a1", "acme"), terms("a2", "acme"), terms("b1", "borealis")] {
        ledger.keep_terms(&kept).await.unwrap();
    }
    let by = |source: &str, number: u32| NewEvent {
        source: source.to_owned(),
        ..event(number, &["a", "b"])
    };
    ledger
        .accept(vec![
            by("interconnect", 1),
            by("interconnect", 2),
            by("borealis", 3),
        ])
        .await
        .unwrap();
    let refused = Attempt {
        status: None,
        ..attempt(1, "a", 1, 10, Next::Retry(at(20)))
    };
    let attempts = vec![
        telling(refused, "D-1", "a1"),
        telling(attempt(1, "a", 2, 20, Next::Delivered), "D-1", "a2"),
        telling(attempt(3, "a", 1, 20, Next::Delivered), "D-3", "a2"),
        // Nothing left.
        attempt(2, "a", 1, 20, Next::Dead),
    ];
    ledger.settle(None, attempts).await.unwrap();
    let pulled = vec![(delivery_id(2, "b"), about("D-2", "b1"))];
    ledger.note_pulled(pulled, at(30)).await.unwrap();

    let pair = |record: &str, partner: &str| (record.to_owned(), partner.to_owned());
    let asked = ["D-1", "D-2", "D-3", "D-4"].map(|record| ["acme", "borealis"].map(|who| pair(record, who)));
    let asked = asked.into_iter().flatten().collect();
    for (source, expected) in [
        ("interconnect", vec![pair("D-1", "acme"), pair("D-2", "borealis")]),
        ("borealis", vec![pair("D-3", "acme")]),
        ("acme", Vec::new()),
    ] {
        let told = ledger.told(&asked, source).await.unwrap();
        assert_eq!(told.into_iter().collect::<Vec<_>>(), expected, "{source}");
    }
    assert!(ledger.told(&[].into(), "interconnect").await.unwrap().is_empty());
}
