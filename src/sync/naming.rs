//! Naming: an object refers to others by their ids, and which records those are may become known later than the object, and
//! may become other ones.
//!
//! As long as an object names the same it says nothing new, whosever that is. But when a person has taken an object away from
//! its record and it is another one's, who named it means that one, and is read again as if it had named nobody.

use std::collections::BTreeMap;

use ledger::{LedgerError, Link, Linked, Parked};
use mapping::Forward;
use model::{FieldType, Fields, Kind, Record, RecordId, Value};
use serde_json::Value as Json;

use crate::Engine;
use crate::absorb::{Arrival, Place};
use crate::action::ObjectAt;
use crate::engine::SyncError;
use crate::linking::{UNLINKED, object_of};
use crate::parked::READ_AGAIN;
use crate::refs::Refs;

impl Engine {
    /// Maps every arrival. Those that refer to something not looked up yet are mapped again once it is; and what they were
    /// last seen to refer to is what that is now.
    pub(crate) async fn map_forward(
        &self,
        place: Place<'_>,
        arrivals: &mut [Arrival<'_>],
        refs: &mut Refs,
    ) -> Result<(), SyncError> {
        for arrival in arrivals.iter_mut() {
            arrival.forward = forward(arrival, base_of(arrival), refs);
            if refers_otherwise(arrival) {
                seen_then(arrival, refs);
            }
        }
        if refs.learn(&*self.ledger, place.connection).await? {
            for arrival in arrivals
                .iter_mut()
                .filter(|arrival| !arrival.forward.unresolved.is_empty())
            {
                arrival.forward = forward(arrival, base_of(arrival), refs);
            }
        }
        for arrival in arrivals.iter_mut() {
            if refers_otherwise(arrival)
                && let Some(seen) = as_known_now(arrival, refs)
                && let Some(known) = &mut arrival.known
            {
                known.link.base = Some(seen);
                arrival.forward = forward(arrival, base_of(arrival), refs);
            }
            if !arrival.forward.unresolved.is_empty() {
                as_last_seen(arrival, refs);
            }
        }
        Ok(())
    }

    /// What named an object that was a record's, to be read again. What refers to the record by what was said elsewhere goes
    /// on to mean it.
    pub(crate) async fn who_named(&self, id: RecordId, at: &ObjectAt) -> Result<Vec<Parked>, LedgerError> {
        let referring = self.referring(&[id]).await?;
        let records = self.ledger.records(&referring).await?;
        let records: BTreeMap<RecordId, &Record> = records.iter().map(|record| (record.id, record)).collect();
        let links = self.ledger.links(&referring).await?;
        let there = links
            .iter()
            .filter(|link| link.connection == at.connection && !link.gone && !link.ignored);
        let named = there.filter_map(|link| {
            let (record, sync) = (
                records.get(&link.record)?,
                self.plan
                    .sync_for(&link.connection, &link.object, link.record.kind)?,
            );
            let references = record.fields.iter();
            let said_there = references.filter(|(path, value)| {
                let said = record
                    .provenance
                    .get(path)
                    .map(|said| (&said.connection, &said.external_id));
                value.as_reference() == Some(id) && said == Some((&link.connection, &link.external_id))
            });
            let fields = said_there.flat_map(|(path, _)| sync.mapping.wire_fields(path).map(str::to_owned));
            let fields: Vec<String> = fields.collect();
            let why = format!("it names {at}, which was the object of {id}");
            (!fields.is_empty()).then(|| Parked {
                fields,
                ..self.read_again(&ObjectAt::of(link), &why)
            })
        });
        Ok(named.collect())
    }

    /// What named objects of one kind that a person has taken away from their records, and that are other records' by these
    /// links now.
    pub(crate) async fn named_as_before(&self, now: &[Link]) -> Result<Vec<Parked>, LedgerError> {
        let mut named = Vec::new();
        let referred_to = now.iter().filter(|link| is_referred_to(link.record.kind));
        let marks: Vec<String> = referred_to
            .map(|link| format!("{}{UNLINKED}", link.external_id))
            .collect();
        let Some(Link {
            connection, object, ..
        }) = now.first().filter(|_| !marks.is_empty())
        else {
            return Ok(named);
        };
        for Linked { link, record } in self.ledger.linked(connection, object, &marks).await? {
            let at = ObjectAt {
                external_id: object_of(&link).0.to_owned(),
                ..ObjectAt::of(&link)
            };
            named.extend(self.who_named(record.id, &at).await?);
        }
        Ok(named)
    }
}

/// What an object says, beside what was last agreed on.
pub(crate) fn forward(arrival: &Arrival<'_>, base: Option<&Fields>, refs: &Refs) -> Forward {
    read(arrival, &arrival.wire, base, refs)
}

/// What was last agreed on with an object.
pub(crate) fn base_of<'a>(arrival: &'a Arrival<'_>) -> Option<&'a Fields> {
    arrival.known.as_ref()?.link.base.as_ref()
}

fn read(arrival: &Arrival<'_>, wire: &Json, base: Option<&Fields>, refs: &Refs) -> Forward {
    let resolve = |object: &str, external_id: &str| refs.record(object, external_id);
    let (mapping, context) = (&arrival.sync.mapping, arrival.sync.context());
    mapping.forward(wire, base, context, &resolve)
}

/// What was last seen of an object, read with what is known now.
fn seen_then(arrival: &Arrival<'_>, refs: &Refs) -> Option<Forward> {
    let wire = arrival.known.as_ref()?.link.wire.as_ref()?;
    Some(read(arrival, wire, base_of(arrival), refs))
}

/// Whether a field holds what it was last seen to hold.
fn is_as_then(arrival: &Arrival<'_>, path: &str) -> bool {
    let known = arrival.known.as_ref();
    let Some(wire) = known.and_then(|known| known.link.wire.as_ref()) else {
        return false;
    };
    let mut fields = arrival.sync.mapping.wire_fields(path);
    fields.all(|field| wire.get(field) == arrival.wire.get(field))
}

/// Whether an object refers to another record than was last agreed on, or names that in another way.
fn refers_otherwise(arrival: &Arrival<'_>) -> bool {
    let seen = base_of(arrival).into_iter().flat_map(Fields::iter);
    let mut referred = seen.filter(|(_, value)| value.as_reference().is_some());
    referred
        .any(|(path, value)| arrival.forward.fields.get(path) != Some(value) || !is_as_then(arrival, path))
}

/// What was last agreed on with an object, where what it named then is another record's now: a person has said that it is,
/// and as long as the object names the same, it says nothing new.
fn as_known_now(arrival: &Arrival<'_>, refs: &Refs) -> Option<Fields> {
    let seen = base_of(arrival)?;
    let mut known = None;
    for (path, value) in seen_then(arrival, refs)?.fields.iter() {
        let before = seen.get(path).and_then(Value::as_reference);
        let (Some(before), Some(now)) = (before, value.as_reference()) else {
            continue;
        };
        if before != now {
            known.get_or_insert_with(|| seen.clone()).set(path, value.clone());
        }
    }
    known
}

/// A reference to an object that is known no more, because its record has another one there now, says what it said when
/// it was last seen.
fn as_last_seen(arrival: &mut Arrival<'_>, refs: &Refs) {
    if let Some(then) = seen_then(arrival, refs)
        && let Some(seen) = arrival.known.as_ref().and_then(|known| known.link.base.as_ref())
    {
        arrival.forward.as_seen(&then.unresolved, seen);
    }
}

/// Whether records of some kind refer to those of another one.
fn is_referred_to(kind: Kind) -> bool {
    let mut fields = Kind::ALL.into_iter().flat_map(Kind::fields);
    fields.any(|field| field.field_type == FieldType::Reference(kind))
}

/// What was last seen of an object, without what it named that is another one's now.
pub(crate) fn without_named(linked: &mut Linked, parked: Option<&Parked>) {
    let anew = parked.filter(|parked| parked.code == READ_AGAIN);
    if let (Some(parked), Some(Json::Object(wire))) = (anew, &mut linked.link.wire) {
        wire.retain(|field, _| !parked.fields.contains(field));
    }
}
