//! Naming: an object refers to others by their ids, and which records those are may become known later than the object, and
//! may become other ones.

use mapping::Forward;
use model::{Fields, Value};
use serde_json::Value as Json;

use crate::Engine;
use crate::absorb::{Arrival, Place};
use crate::engine::SyncError;
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
