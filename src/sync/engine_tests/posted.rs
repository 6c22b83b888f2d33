//! What partners post is absorbed as it was said: in order, once, and never against what is newer.

use std::sync::Arc;

use jiff::Timestamp;
use ledger::{Delivery, DeliveryFilter, DeliveryState, Inlet, NewDelivery, NewEvent, ParkedFilter};
use model::{Confidence, DeliveryId, EventId, Kind, MatchRule, Record, RecordId, uuid_from};
use serde_json::{Value as Json, json};

use super::stage::Stage;
use crate::{Deletes, Depth, Engine, PostedBy, Settle};

/// A day, whose events are told by their second.
fn at(second: i64) -> Timestamp {
    let began: Timestamp = "2026-11-26T07:00:00Z".parse().unwrap();
    began + jiff::SignedDuration::from_secs(second)
}

struct Posting {
    stage: Stage,
    engine: Arc<Engine>,
    said: std::sync::atomic::AtomicU32,
}

impl Posting {
    async fn begin() -> Posting {
        Posting::matching(&[]).await
    }

    /// With rules by which partners meet; the built-in ones when there are none.
    async fn matching(rules: &[MatchRule]) -> Posting {
        let mut stage = Stage::new(&[]).await;
        stage.posted = vec!["portal"];
        if !rules.is_empty() {
            stage.matching.insert(Kind::Partner, rules.to_vec());
        }
        let propagate = Deletes {
            propagate: true,
            follow: false,
        };
        stage.deletes.insert("portal", propagate);
        let engine = stage.node("first", Arc::clone(&stage.ledger));
        Posting {
            stage,
            engine,
            said: std::sync::atomic::AtomicU32::new(0),
        }
    }

    /// A record that is linked at another connection alone.
    async fn stranger(&self, name: &str) -> RecordId {
        let said = json!({"id": name, "thing": {"name": name}});
        self.say_as("elsewhere", "partner.created", 0, &said).await;
        self.pull().await;
        let all = self.stage.partners().await;
        let made = all
            .iter()
            .find(|record| record.fields.text("display_name") == Some(name));
        let id = made.expect("it was made").id;
        let links = self.stage.ledger.links(&[id]).await.unwrap();
        let elsewhere = ledger::Link {
            connection: format!("crm of {name}"),
            ..links[0].clone()
        };
        let here = |link: &ledger::Link| {
            (
                link.connection.clone(),
                link.object.clone(),
                link.external_id.clone(),
            )
        };
        let moved = ledger::SyncCommit {
            forgotten: links.iter().map(here).collect(),
            links: vec![elsewhere],
            ..ledger::SyncCommit::default()
        };
        self.stage.ledger.commit(moved).await.unwrap();
        id
    }

    /// Somebody says something about a record, and a partner is told of it.
    async fn told(&self, record: RecordId, source: &str, partner: &str) {
        let endpoint = format!("{partner}-crm");
        let data = json!({"id": record.to_string()});
        let delivery = self.post(source, ("partner.updated", 0, &data), &endpoint).await;
        let terms = ledger::Terms {
            digest: partner.to_owned(),
            partner: partner.to_owned(),
            text: "all".to_owned(),
        };
        self.stage.ledger.keep_terms(&terms).await.unwrap();
        let about = ledger::About {
            record: record.to_string(),
            terms: terms.digest,
        };
        let pulled = vec![(DeliveryId::from_uuid(delivery.uuid()), about)];
        self.stage.ledger.note_pulled(pulled, at(0)).await.unwrap();
    }

    /// Deliveries of acme and of us to the inlet, in the order of acceptance.
    async fn at_inlet(&self) -> Vec<Delivery> {
        let mut all = self.deliveries().await;
        all.retain(|one| one.endpoint == "portal/things");
        // What made a stranger.
        all.split_off(1)
    }

    /// acme says something, as old as it says; the id of the event.
    async fn say(&self, event_type: &str, second: i64, data: &Json) -> EventId {
        self.say_as("acme", event_type, second, data).await
    }

    /// Somebody says something to the inlet.
    async fn say_as(&self, source: &str, event_type: &str, second: i64, data: &Json) -> EventId {
        let inlet = Inlet::new("portal", "things").to_string();
        self.post(source, (event_type, second, data), &inlet).await
    }

    async fn post(
        &self,
        source: &str,
        (event_type, second, data): (&str, i64, &Json),
        endpoint: &str,
    ) -> EventId {
        self.post_at(3_600, source, (event_type, second, data), endpoint)
            .await
    }

    /// Posts when our clock says this second.
    async fn post_at(
        &self,
        received: i64,
        source: &str,
        (event_type, second, data): (&str, i64, &Json),
        endpoint: &str,
    ) -> EventId {
        let number = self.said.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut random = [0; 10];
        random[..4].copy_from_slice(&number.to_be_bytes());
        let uuid = uuid_from(at(3_600), random);
        let body = json!({"type": event_type, "timestamp": at(second).to_string(), "data": data});
        let event = NewEvent {
            id: EventId::from_uuid(uuid),
            event_type: event_type.to_owned(),
            source: source.to_owned(),
            dedupe: number.to_string(),
            body: body.to_string().into_bytes().into(),
            received_at: at(received),
            trace: format!("trace-{number}"),
            hops: "0123456789abcdef".to_owned(),
            arrival: String::new(),
            deliveries: vec![NewDelivery {
                id: DeliveryId::from_uuid(uuid),
                endpoint: endpoint.to_owned(),
                line: None,
            }],
        };
        self.stage.ledger.accept(vec![event]).await.unwrap();
        EventId::from_uuid(uuid)
    }

    async fn pull(&self) {
        self.engine.pull("portal", "things", Depth::Named).await.unwrap();
    }

    async fn only(&self) -> Record {
        let mut all = self.stage.partners().await;
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    /// Deliveries in the order of acceptance.
    async fn deliveries(&self) -> Vec<Delivery> {
        let all = DeliveryFilter::default();
        let listed = self.stage.ledger.list_deliveries(&all, None, 1_000);
        let mut listed = listed.await.unwrap();
        listed.reverse();
        listed
    }

    async fn states(&self) -> Vec<DeliveryState> {
        self.deliveries().await.iter().map(|one| one.state).collect()
    }

    async fn parked(&self) -> Vec<(String, String)> {
        let parked = self
            .stage
            .ledger
            .parked(&ParkedFilter::default(), 100)
            .await
            .unwrap();
        parked.into_iter().map(|one| (one.key, one.reason)).collect()
    }
}

fn thing(values: &Json) -> Json {
    json!({"id": "P-1", "thing": values})
}

const ARRIVED: DeliveryState = DeliveryState::Delivered;

#[tokio::test]
async fn each_event_leaves_its_own_version_and_what_it_does_not_say_stays() {
    let posting = Posting::begin().await;
    posting
        .say(
            "partner.created",
            10,
            &thing(&json!({"name": "Northwind", "note": "first"})),
        )
        .await;
    posting
        .say("partner.updated", 30, &thing(&json!({"note": "third"})))
        .await;
    posting
        .say(
            "partner.updated",
            20,
            &thing(&json!({"note": "second", "domain": "northwind.example"})),
        )
        .await;
    posting.pull().await;
    let record = posting.only().await;
    let text = |path: &str| record.fields.text(path).map(str::to_owned);
    assert_eq!(
        [text("display_name"), text("description"), text("domain")].map(Option::unwrap),
        ["Northwind", "third", "northwind.example"]
    );
    let history = posting.stage.ledger.history(record.id).await.unwrap();
    let notes = history.iter().filter(|change| change.path == "description");
    let notes: Vec<(u64, &str, Json)> = notes
        .map(|change| (change.version, change.trace.as_str(), change.after.clone()))
        .collect();
    assert_eq!(
        notes,
        [
            (1, "trace-0", json!("first")),
            (2, "trace-2", json!("second")),
            (3, "trace-1", json!("third"))
        ]
    );
    assert!(
        history.iter().all(|change| change.external_id == "acme/P-1"),
        "{history:?}"
    );
    assert_eq!(posting.states().await, [ARRIVED; 3]);
    // The event says on whose account what is announced is said.
    let by = PostedBy {
        partner: "acme".to_owned(),
        hops: "0123456789abcdef".to_owned(),
    };
    let expected = ["partner.created", "partner.updated", "partner.updated"];
    let expected = expected.map(|event_type| (event_type.to_owned(), Some(by.clone())));
    assert_eq!(*posting.stage.announced.lock().unwrap(), expected);
    // What was said last is what later events add to, whatever the record became elsewhere.
    let links = posting.stage.ledger.links(&[record.id]).await.unwrap();
    assert_eq!(
        links[0].wire,
        Some(json!({"name": "Northwind", "note": "third", "domain": "northwind.example"}))
    );
}

#[tokio::test]
async fn what_is_older_than_what_is_known_says_nothing() {
    let posting = Posting::begin().await;
    posting
        .say(
            "partner.updated",
            30,
            &thing(&json!({"name": "Northwind", "note": "new"})),
        )
        .await;
    posting.pull().await;
    posting
        .say("partner.updated", 20, &thing(&json!({"note": "old"})))
        .await;
    posting.pull().await;
    assert_eq!(posting.only().await.fields.text("description"), Some("new"));
    // Equally old: who was accepted later is newer. From the future: as old as its arrival.
    posting
        .say("partner.updated", 30, &thing(&json!({"note": "same second"})))
        .await;
    posting.pull().await;
    assert_eq!(
        posting.only().await.fields.text("description"),
        Some("same second")
    );
    posting
        .say("partner.updated", 999_999, &thing(&json!({"note": "tomorrow"})))
        .await;
    posting
        .say("partner.updated", 3_600, &thing(&json!({"note": "now"})))
        .await;
    posting.pull().await;
    assert_eq!(posting.only().await.fields.text("description"), Some("now"));
}

#[tokio::test]
async fn what_is_newer_is_so_whenever_it_was_taken_in() {
    for at_once in [true, false] {
        let posting = Posting::begin().await;
        let inlet = Inlet::new("portal", "things").to_string();
        // Our clock was set back before the second; the clock of acme may be ahead of it all the time.
        for (received, second, note) in [
            (101, 100, "before"),
            (81, 110, "after"),
            (83, 99, "late"),
            (381, 109, "tried again"),
        ] {
            let data = thing(&json!({"name": "Northwind", "note": note}));
            let said = ("partner.updated", second, &data);
            posting.post_at(received, "acme", said, &inlet).await;
            if !at_once {
                posting.pull().await;
            }
        }
        posting.pull().await;
        let record = posting.only().await;
        assert_eq!(record.fields.text("description"), Some("after"), "{at_once}");
    }
}

#[tokio::test]
async fn who_is_ahead_of_our_clock_changed_nothing_later_than_now() {
    let posting = Posting::begin().await;
    let inlet = Inlet::new("portal", "things").to_string();
    let data = thing(&json!({"name": "Northwind"}));
    // The engine's clock is at the hour.
    let ahead = ("partner.updated", 3_600 + 200, &data);
    posting.post("acme", ahead, &inlet).await;
    posting.pull().await;
    let record = posting.only().await;
    let said = &record.provenance["display_name"];
    assert!(said.changed_at <= said.observed_at, "{said:?}");
}

#[tokio::test]
async fn what_is_gone_stays_so_for_what_is_older_and_is_back_for_what_is_newer() {
    let posting = Posting::begin().await;
    let note = |note: &str| thing(&json!({"name": "Northwind", "note": note}));
    posting.say("partner.updated", 10, &note("first")).await;
    posting.pull().await;
    posting.say("partner.deleted", 30, &json!({"id": "P-1"})).await;
    posting.pull().await;
    assert!(posting.only().await.deleted_at.is_some());
    posting.say("partner.updated", 20, &note("late")).await;
    posting.pull().await;
    let record = posting.only().await;
    assert_eq!(
        (record.deleted_at.is_some(), record.fields.text("description")),
        (true, Some("first"))
    );
    posting.say("partner.updated", 40, &note("back")).await;
    posting.pull().await;
    let record = posting.only().await;
    assert_eq!(
        (record.deleted_at, record.fields.text("description")),
        (None, Some("back"))
    );
    assert_eq!(posting.states().await, [ARRIVED; 4]);
}

#[tokio::test]
async fn what_makes_no_sense_is_parked_until_it_does() {
    let posting = Posting::begin().await;
    posting
        .say("partner.created", 10, &thing(&json!({"note": "without a name"})))
        .await;
    let stray = posting
        .say("partner.created", 10, &json!({"thing": {"name": "Nobody"}}))
        .await;
    posting.pull().await;
    let mut parked = posting.parked().await;
    parked.sort();
    assert_eq!(parked.len(), 2, "{parked:?}");
    assert_eq!(parked[0].0, "acme/P-1");
    assert!(parked[0].1.contains("a partner needs"), "{parked:?}");
    assert_eq!(parked[1].0, stray.to_string());
    let dead = posting.deliveries().await;
    assert_eq!([dead[0].state, dead[1].state], [DeliveryState::Dead; 2]);
    assert!(dead[0].last_error.contains("a partner needs") && dead[1].last_error.contains("without an id"));
    // Nothing is made of it again by itself; a person may try it again.
    posting.pull().await;
    assert_eq!(posting.states().await, [DeliveryState::Dead; 2]);
    posting
        .say("partner.updated", 20, &thing(&json!({"name": "Northwind"})))
        .await;
    let again = DeliveryFilter {
        state: Some(DeliveryState::Dead),
        ..DeliveryFilter::default()
    };
    assert_eq!(posting.stage.ledger.retry(&again, at(0)).await.unwrap(), 2);
    posting.pull().await;
    let record = posting.only().await;
    assert_eq!(record.fields.text("display_name"), Some("Northwind"));
    assert_eq!(
        posting
            .parked()
            .await
            .into_iter()
            .map(|(key, _)| key)
            .collect::<Vec<_>>(),
        [stray.to_string()]
    );
}

#[tokio::test]
async fn who_was_told_of_a_record_names_it_by_our_own_id() {
    let posting = Posting::begin().await;
    let record = posting.stranger("Northwind").await;
    let news = |second: i64, note: &str| (second, json!({"id": record.to_string(), "thing": {"note": note}}));
    let (second, said) = news(20, "early");
    posting.say("partner.updated", second, &said).await;
    // Nor is it known to acme because somebody else says so, or because somebody else was told.
    posting.told(record, "globex", "acme").await;
    posting.told(record, "interconnect", "globex").await;
    posting.pull().await;
    assert_eq!(posting.only().await.fields.text("description"), None);
    let parked = posting.parked().await;
    assert_eq!(parked.len(), 1, "{parked:?}");
    assert_eq!(parked[0].0, format!("acme/{record}"));
    let reason = format!("names {record}, which is no things that acme was told of");
    assert!(parked[0].1.starts_with(&reason), "{parked:?}");
    let refused = posting.at_inlet().await;
    assert_eq!(
        (refused[0].state, &refused[0].last_error),
        (DeliveryState::Dead, &parked[0].1)
    );

    posting.told(record, "interconnect", "acme").await;
    let dead = DeliveryFilter {
        state: Some(DeliveryState::Dead),
        ..DeliveryFilter::default()
    };
    assert_eq!(posting.stage.ledger.retry(&dead, at(0)).await.unwrap(), 1);
    posting.pull().await;
    let adopted = posting.only().await;
    assert_eq!(
        (adopted.id, adopted.fields.text("description")),
        (record, Some("early"))
    );
    assert_eq!(posting.parked().await, []);
    // From now on it is linked, whatever is still kept.
    let (second, said) = news(30, "later");
    posting.say("partner.updated", second, &said).await;
    posting.pull().await;
    assert_eq!(posting.only().await.fields.text("description"), Some("later"));
    assert!(posting.at_inlet().await.iter().all(|one| one.state == ARRIVED));
}

#[tokio::test]
async fn what_looks_like_our_id_and_is_none_is_the_sender_s_own() {
    let posting = Posting::begin().await;
    let record = posting.stranger("Northwind").await;
    let theirs = RecordId::new(Kind::Partner, uuid_from(at(1), [7; 10]));
    for id in [record, theirs] {
        let data = json!({"id": id.to_string(), "thing": {"name": "Else", "note": "from afar"}});
        posting.say("partner.updated", 20, &data).await;
    }
    posting.pull().await;
    let parked = posting.parked().await;
    let keys: Vec<&str> = parked.iter().map(|(key, _)| &**key).collect();
    assert_eq!(keys, [format!("acme/{record}")], "{parked:?}");
    let all = posting.stage.partners().await;
    let (ours, made): (Vec<_>, Vec<_>) = all.iter().partition(|one| one.id == record);
    assert_eq!((all.len(), ours[0].version), (2, 1), "{all:?}");
    assert_eq!(made[0].fields.text("display_name"), Some("Else"));
    assert_ne!(made[0].id, theirs, "an id of ours is given by us");
    let links = posting.stage.ledger.links(&[made[0].id]).await.unwrap();
    assert_eq!(links[0].external_id, format!("acme/{theirs}"));

    // Who speaks for us knows what there is.
    let said = json!({"id": record.to_string(), "thing": {"note": "our own"}});
    posting.say_as("interconnect", "partner.updated", 20, &said).await;
    posting.pull().await;
    let all = posting.stage.partners().await;
    let ours = all.iter().find(|one| one.id == record);
    assert_eq!(
        ours.and_then(|one| one.fields.text("description")),
        Some("our own"),
        "{all:?}"
    );
}

#[tokio::test]
async fn who_was_told_of_what_was_merged_away_names_what_stands_for_it() {
    for told_of_the_survivor in [false, true] {
        let posting = Posting::begin().await;
        let (gone, stays) = (
            posting.stranger("Northwind").await,
            posting.stranger("North Wind").await,
        );
        let merged = posting.engine.merge("ann", stays, gone, &[]).await;
        assert!(merged.is_ok(), "{merged:?}");
        posting
            .told(
                if told_of_the_survivor { stays } else { gone },
                "interconnect",
                "acme",
            )
            .await;
        let data = json!({"id": gone.to_string(), "thing": {"note": "from afar"}});
        posting.say("partner.updated", 20, &data).await;
        posting.pull().await;
        let records = posting.stage.ledger.records(&[stays]).await.unwrap();
        assert_eq!(records[0].fields.text("description"), Some("from afar"));
    }
}

#[tokio::test]
async fn a_person_says_which_record_an_event_names() {
    let posting = Posting::begin().await;
    let record = posting.stranger("Northwind").await;
    let data = json!({"id": record.to_string(), "thing": {"note": "from afar"}});
    posting.say("partner.updated", 20, &data).await;
    posting.pull().await;
    let object = format!("portal/things/acme/{record}").parse().unwrap();
    posting.engine.link("ann", record, &object, false).await.unwrap();
    assert_eq!(posting.only().await.fields.text("description"), Some("from afar"));
    assert_eq!(posting.parked().await, []);
    let dead = DeliveryFilter {
        state: Some(DeliveryState::Dead),
        ..DeliveryFilter::default()
    };
    assert_eq!(posting.stage.ledger.retry(&dead, at(0)).await.unwrap(), 1);
    posting.pull().await;
    assert_eq!(posting.at_inlet().await[0].state, ARRIVED);
}

#[tokio::test]
async fn a_person_decides_about_what_was_posted_by_its_newest_event() {
    let by_name = MatchRule {
        fields: vec!["display_name"],
        confidence: Confidence::Probable,
    };
    let posting = Posting::matching(std::slice::from_ref(&by_name)).await;
    posting
        .say("partner.created", 10, &thing(&json!({"name": "Northwind"})))
        .await;
    posting.pull().await;
    let first = posting.only().await;
    // What it was linked by is gone, so that the next of that name may be it.
    let links = posting.stage.ledger.links(&[first.id]).await.unwrap();
    let elsewhere = ledger::Link {
        connection: "crm".to_owned(),
        ..links[0].clone()
    };
    let moved = ledger::SyncCommit {
        forgotten: vec![(
            "portal".to_owned(),
            "things".to_owned(),
            links[0].external_id.clone(),
        )],
        links: vec![elsewhere],
        ..ledger::SyncCommit::default()
    };
    posting.stage.ledger.commit(moved).await.unwrap();
    let other = |note: &str| json!({"id": "P-2", "thing": {"name": "Northwind", "note": note}});
    posting.say("partner.created", 20, &other("first")).await;
    posting.pull().await;
    posting.say("partner.updated", 40, &other("third")).await;
    posting.say("partner.updated", 30, &other("second")).await;
    posting.pull().await;
    let reviews = posting.engine.reviews(9).await.unwrap();
    assert_eq!(reviews.len(), 1, "{reviews:?}");
    let at: crate::ObjectAt = format!("portal/things/{}", reviews[0].key).parse().unwrap();
    let review = posting.engine.review(&at).await.unwrap();
    let sides = review.candidates[0].sides.iter();
    let notes: Vec<_> = sides
        .filter(|side| side.path == "description")
        .map(|side| side.theirs.clone())
        .collect();
    assert_eq!(notes, [Some(model::Value::text("third"))]);
    let same = Settle::Record(first.id, Vec::new());
    posting.engine.decide("ann", &at, &same).await.unwrap();
    let record = posting.only().await;
    assert_eq!(
        (record.id, record.fields.text("description")),
        (first.id, Some("third"))
    );
    assert!(posting.engine.reviews(9).await.unwrap().is_empty());
}
