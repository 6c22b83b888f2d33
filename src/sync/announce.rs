//! Events of our own: what a change of a record means to those who listen.

use bytes::Bytes;
use jiff::Timestamp;
use ledger::{NewDelivery, NewEvent};
use model::merge::Change;
use model::stored::Plain;
use model::{BY_HAND, DeliveryId, EventId, EventType, Kind, Record, RecordId, Value, uuid_from};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use crate::trace::Trace;
use crate::{Announced, Engine, PostedBy};

/// Who says the events that we find ourselves.
pub(crate) const SOURCE: &str = "interconnect";

/// What an event is said because of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cause<'a> {
    pub(crate) trace: &'a str,
    /// Who posted it, if a partner did.
    pub(crate) posted: Option<&'a PostedBy>,
}

impl<'a> From<&'a str> for Cause<'a> {
    fn from(trace: &'a str) -> Cause<'a> {
        Cause { trace, posted: None }
    }
}

impl<'a> Cause<'a> {
    /// What an object was read with.
    pub(crate) fn of(trace: &'a Trace, object_id: &str) -> Cause<'a> {
        Cause {
            trace: trace.of(object_id),
            posted: trace.poster(object_id),
        }
    }
}

impl Engine {
    /// The event that a new or changed record causes.
    pub(crate) fn announce(
        &self,
        record: &Record,
        changes: &[Change],
        cause: Cause<'_>,
        now: Timestamp,
    ) -> NewEvent {
        let data = Data {
            record,
            changes,
            union: None,
        };
        self.event(
            &event_type(record, changes),
            &data,
            said_by(record, changes),
            cause,
            now,
        )
    }

    /// The event that a record was deleted, first at a connection.
    pub(crate) fn announce_end(
        &self,
        record: &Record,
        connection: &str,
        cause: Cause<'_>,
        now: Timestamp,
    ) -> NewEvent {
        let data = Data {
            record,
            changes: &[],
            union: None,
        };
        self.event(
            &record.kind().deleted_event(),
            &data,
            Some(connection),
            cause,
            now,
        )
    }

    /// The event that a record has become one with another one (`merged`), or two again (`unmerged`).
    pub(crate) fn announce_union(
        &self,
        record: &Record,
        (what, other): (&str, RecordId),
        changes: &[Change],
        trace: &str,
        now: Timestamp,
    ) -> NewEvent {
        let (merged, unmerged) = record.kind().union_events();
        let event_type = if what == "merged" { merged } else { unmerged };
        let data = Data {
            record,
            changes,
            union: Some((what, other)),
        };
        self.event(&event_type, &data, None, trace.into(), now)
    }

    fn event(
        &self,
        event_type: &EventType,
        data: &Data<'_>,
        connection: Option<&str>,
        cause: Cause<'_>,
        now: Timestamp,
    ) -> NewEvent {
        let id = EventId::from_uuid(uuid_from(now, self.world.random()));
        let body = Body {
            r#type: event_type.name(),
            timestamp: now,
            data,
        };
        let body = serde_json::to_vec(&body).expect("maps of plain values serialise");
        let announced = Announced {
            event_type,
            record: &data.record.id.to_string(),
            connection,
            posted: cause.posted,
            body: &body,
        };
        let addressed = (self.fan_out)(&announced);
        let deliveries = addressed
            .deliveries
            .into_iter()
            .map(|(endpoint, line)| NewDelivery {
                id: DeliveryId::from_uuid(uuid_from(now, self.world.random())),
                endpoint,
                line,
            })
            .collect();
        NewEvent {
            id,
            event_type: event_type.name().to_owned(),
            source: SOURCE.to_owned(),
            dedupe: dedupe(data.record.id, data.record.version),
            body: Bytes::from(body),
            received_at: now,
            trace: cause.trace.to_owned(),
            hops: addressed.hops,
            arrival: addressed.arrival,
            deliveries,
        }
    }
}

/// The connection that said what changed, or the first of them; nothing when a person said it here.
fn said_by<'r>(record: &'r Record, changes: &[Change]) -> Option<&'r str> {
    let said = changes
        .iter()
        .filter_map(|change| record.provenance.get(change.path));
    let mut connections = said.map(|said| said.connection.as_str());
    connections.find(|connection| *connection != BY_HAND)
}

/// What the event of a version of a record is called.
pub(crate) fn dedupe(record: RecordId, version: u64) -> String {
    format!("{record}/{version}")
}

fn event_type(record: &Record, changes: &[Change]) -> EventType {
    let (created, updated) = record.kind().events();
    if record.version == 1 {
        return created;
    }
    let became = |path: &str| {
        changes
            .iter()
            .find(|c| c.path == path)
            .and_then(|c| c.after.as_text())
    };
    match (record.kind(), became("stage"), became("status")) {
        (Kind::Deal, Some("committed" | "launched"), _) => EventType::DEAL_WON,
        (Kind::Deal, Some("closed_lost"), _) => EventType::DEAL_LOST,
        (Kind::Deal, Some(_), _) => EventType::DEAL_STAGE_CHANGED,
        (Kind::Lead, _, Some("converted")) => EventType::LEAD_CONVERTED,
        _ => updated,
    }
}

/// An event as it is written: straight from the record, for there is one for each change of each record.
#[derive(Serialize)]
struct Body<'a> {
    r#type: &'a str,
    timestamp: Timestamp,
    data: &'a Data<'a>,
}

/// The record as a nested document, and the fields that changed with what they were.
struct Data<'a> {
    record: &'a Record,
    changes: &'a [Change],
    /// What it was to another record (`merged`, `unmerged`), and to which.
    union: Option<(&'a str, RecordId)>,
}

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Record { id, version, .. } = self.record;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &id.to_string())?;
        map.serialize_entry("version", version)?;
        let known = self.record.fields.iter().filter(|(_, value)| !value.is_blank());
        map.serialize_entry(id.kind.name(), &Group(&known.collect::<Vec<_>>()))?;
        map.serialize_entry("changed", &Changed(self.changes))?;
        if let Some((what, other)) = &self.union {
            map.serialize_entry(what, &other.to_string())?;
        }
        map.end()
    }
}

struct Changed<'a>(&'a [Change]);

impl Serialize for Changed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Values<'a> {
            before: Option<Plain<'a>>,
            after: Plain<'a>,
        }
        serializer.collect_map(self.0.iter().map(|change| {
            let values = Values {
                before: change.before.as_ref().map(Plain),
                after: Plain(&change.after),
            };
            (change.path, values)
        }))
    }
}

/// Values in the order of their paths, as a nested document: those whose paths begin alike stand side by side.
struct Group<'a>(&'a [(&'a str, &'a Value)]);

impl<'a> Serialize for Group<'a> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let mut left = self.0;
        while let Some((path, value)) = left.first() {
            let Some((group, _)) = path.split_once('.') else {
                map.serialize_entry(path, &Plain(value))?;
                left = &left[1..];
                continue;
            };
            let inside = |path: &'a str| path.strip_prefix(group)?.strip_prefix('.');
            let members = left
                .iter()
                .map_while(|(path, value)| Some((inside(path)?, *value)));
            let members: Vec<(&str, &Value)> = members.collect();
            map.serialize_entry(group, &Group(&members))?;
            left = &left[members.len()..];
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn deal(version: u64, stage: &str) -> (Record, Vec<Change>) {
        let id = RecordId::new(Kind::Deal, uuid_from(Timestamp::UNIX_EPOCH, [0; 10]));
        let mut record = Record::empty(id, Timestamp::UNIX_EPOCH);
        record.version = version;
        record.fields.set("stage", Value::text(stage));
        record.fields.set("customer.country", Value::text("DE"));
        let change = Change {
            path: "stage",
            before: Some(Value::text("prospect")),
            after: Value::text(stage),
            reason: model::merge::Reason::Theirs,
        };
        (record, vec![change])
    }

    #[test]
    fn the_type_says_what_happened() {
        for (version, stage, expected) in [
            (1, "committed", "deal.created"),
            (2, "committed", "deal.won"),
            (2, "closed_lost", "deal.lost"),
            (2, "qualified", "deal.stage_changed"),
        ] {
            let (record, changes) = deal(version, stage);
            assert_eq!(event_type(&record, &changes).name(), expected);
        }
        let (record, _) = deal(2, "qualified");
        assert_eq!(event_type(&record, &[]).name(), "deal.updated");
    }

    #[test]
    fn data_is_a_nested_document_with_what_changed() {
        let (mut record, changes) = deal(2, "qualified");
        record.fields.set("customer.address.city", Value::text("Köln"));
        record.fields.set("customer.name", Value::Null);
        let data = Data {
            record: &record,
            changes: &changes,
            union: Some(("merged", record.id)),
        };
        insta::assert_snapshot!(serde_json::to_string(&data).unwrap(), @r#"{"id":"dea_0000000000e008000000000000","version":2,"deal":{"customer":{"address":{"city":"Köln"},"country":"DE"},"stage":"qualified"},"changed":{"stage":{"before":"prospect","after":"qualified"}},"merged":"dea_0000000000e008000000000000"}"#);
    }

    #[test]
    fn what_a_connection_said_is_told_from_what_a_person_said() {
        let (mut record, changes) = deal(2, "qualified");
        assert_eq!(said_by(&record, &changes), None, "nobody knows who said it");
        for (connection, expected) in [("crm", Some("crm")), (BY_HAND, None)] {
            let said = model::Provenance {
                connection: connection.to_owned(),
                external_id: "006".to_owned(),
                changed_at: Timestamp::UNIX_EPOCH,
                observed_at: Timestamp::UNIX_EPOCH,
            };
            record.provenance.insert("stage", std::sync::Arc::new(said));
            assert_eq!(said_by(&record, &changes), expected);
        }
    }

    /// A value of each type of field.
    fn example(field_type: model::FieldType) -> Value {
        use model::FieldType;
        let json = match field_type {
            FieldType::Money => serde_json::json!({"amount": "-1200.50", "currency": "EUR"}),
            FieldType::Decimal => "0.25".into(),
            FieldType::Integer => 7.into(),
            FieldType::Bool => true.into(),
            FieldType::Date => "2026-11-26".into(),
            FieldType::Instant => "2026-11-26T09:00:00Z".into(),
            FieldType::Choice(words) => words[0].into(),
            FieldType::Choices(words) => serde_json::json!(words),
            FieldType::Set => serde_json::json!(["a", "b"]),
            FieldType::Reference(kind) => RecordId::new(kind, uuid_from(Timestamp::UNIX_EPOCH, [0; 10]))
                .to_string()
                .into(),
            _ => "text".into(),
        };
        model::stored::from_json(field_type, &json).unwrap()
    }

    proptest! {
        #[test]
        fn what_is_said_is_what_the_catalogue_says(
            kind in prop::sample::select(Kind::ALL.to_vec()), some in prop::collection::vec(0..4, 80), version in 1u64..3,
        ) {
            let id = RecordId::new(kind, uuid_from(Timestamp::UNIX_EPOCH, [0; 10]));
            let mut record = Record::empty(id, Timestamp::UNIX_EPOCH);
            record.version = version;
            let mut changes = Vec::new();
            for (field, how) in kind.fields().zip(some) {
                let value = if how == 1 { Value::Null } else { example(field.field_type) };
                if how > 0 {
                    record.fields.set(field.path, value.clone());
                }
                if how > 1 {
                    changes.push(Change {
                        path: field.path,
                        before: (how == 2).then_some(Value::Null),
                        after: value,
                        reason: model::merge::Reason::Theirs,
                    });
                }
            }
            let (merged, unmerged) = kind.union_events();
            for (event_type, union) in [
                (event_type(&record, &changes), None),
                (kind.deleted_event(), None),
                (merged, Some(("merged", id))),
                (unmerged, Some(("unmerged", id))),
            ] {
                let data = serde_json::to_value(Data { record: &record, changes: &changes, union }).unwrap();
                prop_assert_eq!(event::Catalogue::own().check(&event_type, None, &data), Ok(()));
            }
        }

        // Fields are sorted by path, and a name that begins like a group must not tear it apart.
        #[test]
        fn each_group_is_there_once(kind in prop::sample::select(Kind::ALL.to_vec()), some in prop::collection::vec(any::<bool>(), 80)) {
            let known = kind.fields().zip(&some).filter(|(_, known)| **known);
            let fields: model::Fields = known.map(|(field, _)| (field.path, Value::text(field.path))).collect();
            let values: Vec<(&str, &Value)> = fields.iter().collect();
            let text = serde_json::to_string(&Group(&values)).unwrap();
            let document: serde_json::Value = serde_json::from_str(&text).unwrap();
            for (path, _) in &values {
                prop_assert_eq!(document.pointer(&format!("/{}", path.replace('.', "/"))), Some(&serde_json::json!(path)));
            }
        }
    }
}
