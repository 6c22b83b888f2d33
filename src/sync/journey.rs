//! The journey of a change: from where it arrived to every system that it reached.
//!
//! A change is a version of a record. What brought it stands in the history; every write of the record to a system leaves a
//! row with the version that it brought ([`ledger::Pushed`]), so a version has reached a system with the first of them that
//! has it or a later one.

use std::collections::BTreeMap;

use connector::{Outcome, Write};
use ledger::{
    Change, Delivery, DeliveryFilter, Ledger, LedgerError, PUSHED_DETAIL_CHARS_MAX, PushOutcome, Pushed,
};
use model::{EventId, Record, RecordId};

use crate::Engine;
use crate::absorb::Place;
use crate::announce::{SOURCE, dedupe};

/// Writes of a record that are looked at, the newest.
const PUSHED_MAX: usize = 10_000;

/// Where a version of a record came from, and where it went.
#[derive(Clone, Debug)]
pub struct Journey {
    /// The record.
    pub record: RecordId,
    /// Its version.
    pub version: u64,
    /// What it came with; empty when that was not kept.
    pub trace: String,
    /// What changed, and who said so.
    pub changes: Vec<Change>,
    /// The event that it caused, if there is one, and who was to hear it.
    pub event: Option<(EventId, Vec<Delivery>)>,
    /// What became of it at the systems.
    pub stops: Vec<Stop>,
}

/// What became of a version at one object of a connection.
#[derive(Clone, Debug)]
pub struct Stop {
    /// The connection.
    pub connection: String,
    /// The object.
    pub object: String,
    /// The object's id there; empty while it is not known.
    pub external_id: String,
    /// How it ended.
    pub end: Reached,
    /// The writes that brought it, or tried to; oldest first.
    pub writes: Vec<Pushed>,
    /// The version that the system had been written before, if it had been.
    pub before: Option<u64>,
}

/// How a version ended at a system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// It said so itself.
    Source,
    /// It has been written.
    Written,
    /// It has been deleted there, too.
    Deleted,
    /// It refused it, and has not been written since.
    Refused,
    /// It is owed it.
    Owed,
    /// There was nothing to write: it holds it already, or does not hold such fields.
    Nothing,
    /// The object is deleted there.
    Gone,
}

impl Reached {
    /// The word for API and command line.
    pub fn word(self) -> &'static str {
        match self {
            Reached::Source => "source",
            Reached::Written => "written",
            Reached::Deleted => "deleted",
            Reached::Refused => "refused",
            Reached::Owed => "owed",
            Reached::Nothing => "nothing",
            Reached::Gone => "gone",
        }
    }
}

/// Which versions of a record are meant.
#[derive(Clone, Debug)]
pub enum Which {
    /// The last one.
    Last,
    /// This one.
    Version(u64),
    /// Those that came with a trace.
    Trace(String),
}

/// The journeys of versions of a record, oldest first; none where no change is known.
pub async fn journeys(
    ledger: &dyn Ledger,
    record: RecordId,
    which: &Which,
) -> Result<Vec<Journey>, LedgerError> {
    let history = ledger.history(record).await?;
    let versions: Vec<u64> = match which {
        Which::Last => history.last().map(|change| change.version).into_iter().collect(),
        Which::Version(version) => vec![*version],
        Which::Trace(trace) => {
            let mut versions: Vec<u64> = history
                .iter()
                .filter(|change| change.trace == *trace)
                .map(|change| change.version)
                .collect();
            versions.dedup();
            versions
        }
    };
    let mut journeys = Vec::new();
    for version in versions {
        let changes: Vec<Change> = history
            .iter()
            .filter(|change| change.version == version)
            .cloned()
            .collect();
        let Some(first) = changes.first() else {
            continue;
        };
        journeys.push(Journey {
            record,
            version,
            trace: first.trace.clone(),
            event: event_of(ledger, record, version).await?,
            stops: stops(ledger, record, version, &changes).await?,
            changes,
        });
    }
    Ok(journeys)
}

/// The last change of each field.
pub fn explained(history: &[Change]) -> BTreeMap<&str, &Change> {
    history
        .iter()
        .map(|change| (change.path.as_str(), change))
        .collect()
}

async fn event_of(
    ledger: &dyn Ledger,
    record: RecordId,
    version: u64,
) -> Result<Option<(EventId, Vec<Delivery>)>, LedgerError> {
    let Some(id) = ledger.event_named(SOURCE, &dedupe(record, version)).await? else {
        return Ok(None);
    };
    let event = ledger.event(id).await?;
    let ids: Vec<_> = event
        .into_iter()
        .flat_map(|event| event.deliveries)
        .map(|delivery| delivery.id)
        .collect();
    let mut deliveries = Vec::new();
    if !ids.is_empty() {
        let limit = ids.len();
        let filter = DeliveryFilter {
            ids,
            ..DeliveryFilter::default()
        };
        deliveries = ledger.list_deliveries(&filter, None, limit).await?;
        deliveries.sort_by(|one, other| one.endpoint.cmp(&other.endpoint));
    }
    Ok(Some((id, deliveries)))
}

async fn stops(
    ledger: &dyn Ledger,
    record: RecordId,
    version: u64,
    changes: &[Change],
) -> Result<Vec<Stop>, LedgerError> {
    let links = ledger.links(&[record]).await?;
    let pushed = ledger.pushed(record, PUSHED_MAX).await?;
    let owed = ledger.owed_of(record).await?;
    let mut places: Vec<(&str, &str)> = links
        .iter()
        .map(|link| (link.connection.as_str(), link.object.as_str()))
        .collect();
    places.extend(
        owed.iter()
            .map(|push| (push.connection.as_str(), push.object.as_str())),
    );
    places.extend(
        pushed
            .iter()
            .map(|push| (push.connection.as_str(), push.object.as_str())),
    );
    places.sort_unstable();
    places.dedup();
    let stop = |(connection, object): (&str, &str)| {
        let link = links
            .iter()
            .find(|link| link.connection == connection && link.object == object);
        let here = || {
            pushed
                .iter()
                .filter(move |push| push.connection == connection && push.object == object)
        };
        let arrived = here().find(|push| push.version >= version && push.outcome.arrived());
        let until = arrived.map(|push| push.at);
        let writes: Vec<Pushed> = here()
            .filter(|push| push.version >= version && until.is_none_or(|until| push.at <= until))
            .cloned()
            .collect();
        let before = here().rfind(|push| push.version < version && push.outcome.arrived());
        let external_id = link.map(|link| link.external_id.clone()).unwrap_or_default();
        let is_source = changes
            .iter()
            .any(|change| change.connection == connection && change.external_id == external_id);
        let end = match writes.last().map(|push| push.outcome) {
            Some(PushOutcome::Created | PushOutcome::Written) => Reached::Written,
            Some(PushOutcome::Deleted) => Reached::Deleted,
            _ if owed
                .iter()
                .any(|push| push.connection == connection && push.object == object) =>
            {
                Reached::Owed
            }
            Some(PushOutcome::Refused | PushOutcome::Unheard) => Reached::Refused,
            Some(PushOutcome::Gone) => Reached::Gone,
            None if is_source => Reached::Source,
            None if link.is_some_and(|link| link.gone) => Reached::Gone,
            None => Reached::Nothing,
        };
        Stop {
            connection: connection.to_owned(),
            object: object.to_owned(),
            external_id,
            end,
            writes,
            before: before.map(|push| push.version),
        }
    };
    Ok(places.into_iter().map(stop).collect())
}

impl Engine {
    /// What became of a deletion, for its row; nothing when nothing went out.
    pub(crate) fn became_deleted(
        &self,
        place: Place<'_>,
        (record, write): (&Record, &Write),
        outcome: &Outcome,
    ) -> Option<Pushed> {
        let pushed = self.became(place, (record, write), outcome)?;
        Some(match pushed.outcome {
            PushOutcome::Written => Pushed {
                outcome: PushOutcome::Deleted,
                ..pushed
            },
            _ => pushed,
        })
    }

    /// What became of a write, for its row; nothing when nothing went out.
    pub(crate) fn became(
        &self,
        place: Place<'_>,
        (record, write): (&Record, &Write),
        outcome: &Outcome,
    ) -> Option<Pushed> {
        let known = write.id.clone().unwrap_or_default();
        let (outcome, external_id, detail) = match outcome {
            Outcome::Written {
                id,
                created,
                left_out,
                ..
            } => {
                let outcome = match created {
                    true => PushOutcome::Created,
                    false => PushOutcome::Written,
                };
                let left_out = left_out
                    .iter()
                    .map(|left| format!("`{}` was left out: {}", left.field, left.why));
                (outcome, id.clone(), left_out.collect::<Vec<_>>().join("; "))
            }
            Outcome::Gone => (PushOutcome::Gone, known, String::new()),
            Outcome::Refused(error) => (
                PushOutcome::Refused,
                known,
                format!("{}: {}", error.code, error.message),
            ),
            Outcome::Unknown => (PushOutcome::Unheard, known, String::new()),
            Outcome::NotSent(_) => return None,
        };
        Some(Pushed {
            record: record.id,
            version: record.version,
            connection: place.connection.to_owned(),
            object: place.object.to_owned(),
            external_id,
            at: self.world.now(),
            run: place.run,
            outcome,
            detail: detail.chars().take(PUSHED_DETAIL_CHARS_MAX).collect(),
        })
    }
}
