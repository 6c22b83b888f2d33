//! Events of our own: what a change of a record means to those who listen.

use bytes::Bytes;
use jiff::Timestamp;
use ledger::{NewDelivery, NewEvent};
use model::merge::Change;
use model::{DeliveryId, EventId, EventType, Kind, Record, RecordId, stored, uuid_from};
use serde_json::{Map, Value as Json, json};

use crate::Engine;

/// Who says the events that we find ourselves.
pub(crate) const SOURCE: &str = "interconnect";

impl Engine {
    /// The event that a new or changed record causes.
    pub(crate) fn announce(
        &self,
        record: &Record,
        changes: &[Change],
        trace: &str,
        now: Timestamp,
    ) -> NewEvent {
        self.event(
            &event_type(record, changes),
            record,
            &data(record, changes),
            trace,
            now,
        )
    }

    /// The event that a record was deleted.
    pub(crate) fn announce_end(&self, record: &Record, trace: &str, now: Timestamp) -> NewEvent {
        let event_type = record.kind().deleted_event();
        self.event(&event_type, record, &data(record, &[]), trace, now)
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
        let mut data = data(record, changes);
        if let Json::Object(data) = &mut data {
            data.insert(what.to_owned(), Json::String(other.to_string()));
        }
        self.event(&event_type, record, &data, trace, now)
    }

    fn event(
        &self,
        event_type: &EventType,
        record: &Record,
        data: &Json,
        trace: &str,
        now: Timestamp,
    ) -> NewEvent {
        let id = EventId::from_uuid(uuid_from(now, self.world.random()));
        let deliveries = (self.fan_out)(event_type, &record.id.to_string())
            .into_iter()
            .map(|(endpoint, line)| NewDelivery {
                id: DeliveryId::from_uuid(uuid_from(now, self.world.random())),
                endpoint,
                line,
            })
            .collect();
        let body = json!({
            "type": event_type.name(),
            "timestamp": now.to_string(),
            "data": data,
        });
        NewEvent {
            id,
            event_type: event_type.name().to_owned(),
            source: SOURCE.to_owned(),
            dedupe: dedupe(record.id, record.version),
            body: Bytes::from(body.to_string()),
            received_at: now,
            trace: trace.to_owned(),
            deliveries,
        }
    }
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

/// The record as a nested document, and the fields that changed with what they were.
fn data(record: &Record, changes: &[Change]) -> Json {
    let mut document = Map::new();
    for (path, value) in record.fields.iter().filter(|(_, value)| !value.is_blank()) {
        place(&mut document, path, stored::to_json(value));
    }
    let changed: Map<String, Json> = changes
        .iter()
        .map(|change| {
            let before = change.before.as_ref().map_or(Json::Null, stored::to_json);
            (
                change.path.to_owned(),
                json!({"before": before, "after": stored::to_json(&change.after)}),
            )
        })
        .collect();
    json!({
        "id": record.id.to_string(),
        "version": record.version,
        record.kind().name(): document,
        "changed": changed,
    })
}

fn place(document: &mut Map<String, Json>, path: &str, value: Json) {
    match path.split_once('.') {
        None => {
            document.insert(path.to_owned(), value);
        }
        Some((group, rest)) => {
            let inner = document.entry(group).or_insert_with(|| Json::Object(Map::new()));
            if let Json::Object(inner) = inner {
                place(inner, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Value;

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
        let (record, changes) = deal(2, "qualified");
        insta::assert_snapshot!(data(&record, &changes), @r#"{"changed":{"stage":{"after":"qualified","before":"prospect"}},"deal":{"customer":{"country":"DE"},"stage":"qualified"},"id":"dea_0000000000e008000000000000","version":2}"#);
    }
}
