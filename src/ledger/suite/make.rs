//! Samples. Everything is made from small numbers; the clock is a count of seconds.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use model::{
    Currency, DeliveryId, EventId, Fields, Kind, MatchKey, Money, Provenance, Record, RecordId, RunId, Value,
    uuid_from,
};
use serde_json::json;

use crate::{
    Attempt, Change, Conflict, ConflictState, Ledger, Link, NewDelivery, NewEvent, Next, Parked, PushMark,
    RecordWrite, Refusal, Run, Stop, StopKind, SyncCommit,
};

/// A moment, so many seconds after the start of the tests' time.
pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000).unwrap() + SignedDuration::from_secs(second)
}

fn uuid(what: u8, number: u32) -> uuid::Uuid {
    let mut random = [what; 10];
    random[6..].copy_from_slice(&number.to_be_bytes());
    uuid_from(at(i64::from(number)), random)
}

pub(super) fn event_id(number: u32) -> EventId {
    uuid(1, number).into()
}

/// The id of an event's delivery to an endpoint.
pub(super) fn delivery_id(event: u32, endpoint: &str) -> DeliveryId {
    uuid(endpoint.bytes().fold(2, u8::wrapping_add), event).into()
}

pub(super) fn run_id(number: u32) -> RunId {
    uuid(3, number).into()
}

pub(super) fn record_id(kind: Kind, number: u32) -> RecordId {
    RecordId::new(kind, uuid(4, number))
}

pub(super) fn deal(number: u32) -> RecordId {
    record_id(Kind::Deal, number)
}

/// An event of a source, received at its number's second, for some endpoints.
pub(super) fn event(number: u32, endpoints: &[&str]) -> NewEvent {
    NewEvent {
        id: event_id(number),
        event_type: "deal.won".into(),
        source: "acme".into(),
        dedupe: format!("msg-{number}"),
        body: format!("{{\"n\":{number}}}").into(),
        received_at: at(i64::from(number)),
        trace: format!("trace-{number}"),
        hops: String::new(),
        arrival: String::new(),
        deliveries: endpoints
            .iter()
            .map(|endpoint| NewDelivery {
                id: delivery_id(number, endpoint),
                endpoint: (*endpoint).to_owned(),
                line: None,
            })
            .collect(),
    }
}

/// An event whose deliveries stand in a line.
pub(super) fn lined(number: u32, endpoints: &[&str], line: &str) -> NewEvent {
    let mut event = event(number, endpoints);
    for delivery in &mut event.deliveries {
        delivery.line = Some(line.to_owned());
    }
    event
}

/// A person stops an endpoint.
pub(super) fn stop(reason: &str, second: i64) -> Stop {
    Stop {
        kind: StopKind::Paused,
        reason: reason.to_owned(),
        at: at(second),
    }
}

/// An attempt at an event's delivery.
pub(super) fn attempt(event: u32, endpoint: &str, number: u32, second: i64, next: Next) -> Attempt {
    let arrived = next == Next::Delivered;
    Attempt {
        delivery: delivery_id(event, endpoint),
        number,
        at: at(second),
        duration_ms: 12,
        status: Some(if arrived { 200 } else { 503 }),
        error: if arrived { String::new() } else { "busy".into() },
        next,
        told: None,
    }
}

/// A deal at a version, with every sort of value that is easily bent.
pub(super) fn record(id: RecordId, version: u64) -> Record {
    let mut fields = Fields::new();
    fields.set("name", Value::text(format!("Déal “{version}”")));
    if id.kind == Kind::Deal {
        let currency = Currency::parse("JPY").unwrap();
        fields.set("amount", Value::Money(Money::parse("1200300", currency).unwrap()));
        fields.set("description", Value::Null);
    }
    let said = std::sync::Arc::new(Provenance {
        connection: "sf".into(),
        external_id: "006".into(),
        changed_at: at(1),
        observed_at: at(2),
    });
    let provenance: BTreeMap<_, _> = fields.iter().map(|(path, _)| (path, said.clone())).collect();
    Record {
        id,
        version,
        created_at: at(0),
        updated_at: at(i64::try_from(version).unwrap()),
        deleted_at: None,
        merged_into: None,
        fields,
        provenance,
    }
}

/// A write of a record on top of the version before.
pub(super) fn write(id: RecordId, version: u64) -> RecordWrite {
    RecordWrite {
        record: record(id, version),
        read_version: version - 1,
        changes: vec![change(version, "name"), change(version, "amount")],
        match_keys: vec![MatchKey(format!("name={}", id.uuid)), MatchKey("shared".into())],
    }
}

pub(super) fn change(version: u64, path: &str) -> Change {
    Change {
        version,
        path: path.into(),
        before: json!(null),
        after: json!({"amount": "1.50", "v": version}),
        reason: "theirs".into(),
        connection: "sf".into(),
        external_id: "006".into(),
        changed_at: at(1),
        committed_at: at(3),
        run: run_id(1),
        trace: "trace-1".into(),
    }
}

pub(super) fn link(connection: &str, external_id: &str, record: RecordId) -> Link {
    Link {
        connection: connection.into(),
        object: "deals".into(),
        external_id: external_id.into(),
        record,
        base: Some(self::record(record, 1).fields),
        // Numbers as a system spells them must come back as they were.
        wire: Some(serde_json::from_str(r#"{"a":1.50,"b":1e5,"c":"\u0000","d":null}"#).unwrap()),
        external_version: Some("etag".into()),
        modified: None,
        seen_at: at(5),
        replaces: None,
        gone: false,
        ignored: false,
        made: false,
    }
}

/// A link as it is read back.
pub(super) fn as_read(link: &Link) -> Link {
    Link {
        replaces: Some(link.seen_at),
        ..link.clone()
    }
}

/// A conflict about a record's name, found at its second; its id is of that second and the record.
pub(super) fn conflict(record: RecordId, second: u32, open: bool) -> Conflict {
    let mut random = [5; 10];
    random[..6].copy_from_slice(&record.uuid.as_bytes()[10..]);
    Conflict {
        id: uuid_from(at(i64::from(second)), random).into(),
        record,
        path: "name".into(),
        connection: "sf".into(),
        object: "deals".into(),
        external_id: "006".into(),
        base: json!(null),
        ours: json!("a"),
        theirs: json!({"n": second}),
        kept: json!("a"),
        ours_by: "hs".into(),
        theirs_at: Some(at(0)),
        rule: if open { "manual" } else { "most_recent" }.into(),
        winner: if open { "nobody" } else { "ours" }.into(),
        run: Some(run_id(second)),
        trace: "trace".into(),
        found_at: at(i64::from(second)),
        revision: 1,
        state: if open {
            ConflictState::Open
        } else {
            ConflictState::Decided
        },
        closed_at: (!open).then(|| at(i64::from(second))),
        closed_by: String::new(),
    }
}

pub(super) fn mark(connection: &str, record: RecordId, second: i64) -> PushMark {
    PushMark {
        connection: connection.into(),
        object: "deals".into(),
        record,
        due_at: at(second),
    }
}

/// Owes to an object of a connection all that is linked there, at 10 s.
pub(super) async fn owe_linked(ledger: &dyn Ledger, connection: &str, object: &str) {
    let commit = SyncCommit {
        owe_linked: Some((connection.into(), object.into(), at(10))),
        ..SyncCommit::default()
    };
    ledger.commit(commit).await.unwrap();
}

pub(super) fn parked(key: &str, inbound: bool, since: i64, retry_at: Option<i64>) -> Parked {
    Parked {
        connection: "sf".into(),
        object: "deals".into(),
        key: key.into(),
        inbound,
        code: "mapping".into(),
        fields: Vec::new(),
        reason: "no currency".into(),
        records: Vec::new(),
        since: at(since),
        retry_at: retry_at.map(at),
        waits_for: None,
    }
}

pub(super) fn refusal(second: i64) -> Refusal {
    Refusal {
        at: at(second),
        addressed_to: "acme".into(),
        status: 401,
        code: "signature_missing".into(),
        webhook_id: String::new(),
        body_bytes: 7,
    }
}

pub(super) fn run(number: u32) -> Run {
    Run {
        id: run_id(number),
        connection: "sf".into(),
        object: "deals".into(),
        direction: "pull".into(),
        started_at: at(i64::from(number)),
        ended_at: None,
        counts: json!({"read": 1}),
        error: String::new(),
    }
}
